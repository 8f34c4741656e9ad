//! What a configuration makes of a server: that which a reload replaces.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sekisho_config::{Config, Fixed, Local, Remote};
use sekisho_core::browser_api::{AccessGuard, AllowedHost};
use sekisho_core::id::RuntimeId;
use sekisho_core::memory::Memory;
use sekisho_core::registry::{DuplicateRuntime, Registry};
use sekisho_listener::Listener;
use sekisho_runtime::Runtime;
use sekisho_store::source::LocalSource;
use sekisho_transport_tokio::{HttpClient, OpenConnections, Transport};

/// What a configuration says, as event loops use it.
pub(crate) struct Setup {
    pub(crate) guard: AccessGuard,
    /// Who may come in at the listener for metrics.
    pub(crate) admin_guard: AccessGuard,
    pub(crate) max_request_bytes: usize,
    pub(crate) drain_delay: Duration,
    pub(crate) drain_time: Duration,
    pub(crate) registry: Registry,
    pub(crate) fixed: Fixed,
    remotes: Vec<Remote>,
    locals: Vec<Local>,
}

/// The listeners, as far as they say under which names a server is spoken to.
pub(crate) struct Addresses<'a> {
    pub(crate) main: &'a Listener,
    pub(crate) admin: Option<&'a Listener>,
}

impl Setup {
    /// What this configuration says; with a registry from before, what that knows is kept.
    pub(crate) fn new(
        config: Config,
        addresses: &Addresses<'_>,
        before: Option<&Registry>,
    ) -> Result<Self, DuplicateRuntime> {
        let fixed = config.fixed();
        let Config { allowed_hosts, allowed_origins, access_token, runtimes, .. } = config;
        let registry = match before {
            Some(before) => before.reconfigured(runtimes.specs())?,
            None => Registry::new(runtimes.specs(), RandomState::new().hash_one("sekisho"))?,
        };
        access_token.iter().for_each(|token| registry.hide(token.clone()));
        let hosts = |listener| with_own(&allowed_hosts, listener);
        let guard = AccessGuard::new(hosts(Some(addresses.main)), allowed_origins, access_token);
        Ok(Self {
            guard: if addresses.main.speaks_tls() { guard.https_only() } else { guard },
            admin_guard: AccessGuard::new(hosts(addresses.admin), Vec::new(), None),
            max_request_bytes: config.max_request_bytes,
            drain_delay: config.drain_delay,
            drain_time: config.drain_time,
            registry,
            fixed,
            remotes: runtimes.remotes,
            locals: runtimes.locals,
        })
    }

    /// How an event loop reaches the runtimes.
    pub(crate) fn transports(&self, shared: &ForTransports) -> BTreeMap<RuntimeId, Arc<Transport>> {
        let embedded = shared.embedded.iter().map(|(runtime_id, runtime)| {
            (runtime_id.clone(), Arc::new(Transport::InProcess(Box::new(runtime.clone()))))
        });
        let remotes = self.remotes.iter().map(|remote| {
            let client = HttpClient::new(remote.tls.clone())
                .with_memory(shared.memory.clone())
                .counting(shared.connections.of(&remote.runtime_id));
            let client = match &remote.token_file {
                Some(token_file) => client.with_token_source(token_file.clone()),
                None => client,
            };
            (remote.runtime_id.clone(), Arc::new(Transport::Network(client)))
        });
        let locals = self.locals.iter().map(|Local { runtime_id, store, .. }| {
            let source = LocalSource::new(runtime_id.clone(), store.clone());
            (runtime_id.clone(), Arc::new(Transport::InProcess(Box::new(source))))
        });
        embedded.chain(remotes).chain(locals).collect()
    }
}

/// The allowed hosts, and the address that is listened on.
fn with_own(allowed: &[AllowedHost], listener: Option<&Listener>) -> Vec<AllowedHost> {
    let own = listener.and_then(Listener::local_addr).filter(|address| !address.ip().is_unspecified());
    allowed.iter().cloned().chain(own.and_then(|address| address.to_string().parse().ok())).collect()
}

/// What transports are made with that no configuration changes.
#[derive(Clone)]
pub(crate) struct ForTransports {
    pub(crate) embedded: Option<(RuntimeId, Runtime)>,
    /// What the responses of runtimes are counted in.
    pub(crate) memory: Memory,
    pub(crate) connections: Connections,
}

/// How many connections there are to each runtime, over all event loops.
#[derive(Clone, Default)]
pub(crate) struct Connections(Arc<Mutex<BTreeMap<RuntimeId, OpenConnections>>>);

impl Connections {
    pub(crate) fn of(&self, runtime_id: &RuntimeId) -> OpenConnections {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(runtime_id.clone()).or_default().clone()
    }
}
