//! Starting and ending all of it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sekisho_core::browser_api::Door;
use sekisho_core::call::CallLimits;
use sekisho_core::id::RuntimeId;
use sekisho_core::policy::AllowAll;
use sekisho_core::registry::{DuplicateRuntime, Registry, RuntimeKind, RuntimeSpec};
use sekisho_core::secret::Access;
use sekisho_core::watch::GIVE_UP_AFTER;
use sekisho_runtime::{Runtime, RuntimeConfig};
use sekisho_transport_tokio::{Client, Transport};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Builder;
use tokio::sync::{broadcast, watch};
use tokio::task::LocalSet;
use tracing::info;

use crate::config::{Config, Embedded, Remote};
use crate::event_loop::{self, Busy};
use crate::gateway::{Gateway, Shared};

/// How long what is in flight may take to finish once the server is to go.
pub const DRAIN_TIME: Duration = Duration::from_secs(10);

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// How many changes a loop may lag behind the others before it misses some.
const MAX_CHANGES: usize = 1024;

/// A server that listens. Dropping it is shutting it down.
#[derive(Debug)]
pub struct Server {
    local_addr: SocketAddr,
    drain: watch::Sender<bool>,
    loops: Vec<JoinHandle<()>>,
    embedded: Option<Runtime>,
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Nothing can listen there.
    #[error("cannot listen on {address}: {kind}")]
    Listen {
        /// Where it was to listen.
        address: SocketAddr,
        /// What the system said.
        kind: io::ErrorKind,
    },
    /// An event loop could not be made.
    #[error("cannot start an event loop: {0}")]
    Loop(io::ErrorKind),
    /// The embedded runtime could not start.
    #[error("the embedded runtime: {0}")]
    Embedded(#[from] sekisho_runtime::StartError),
    /// Two runtimes have the same id.
    #[error(transparent)]
    Duplicate(#[from] DuplicateRuntime),
}

impl Server {
    /// Listens and serves, on threads of its own.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let Config { listen, mut allowed_hosts, allowed_origins, access_token, .. } = config;
        let embedded = config.embedded.as_ref().map(start_embedded).transpose()?;
        let specs = config.embedded.iter().map(embedded_spec).chain(config.remotes.iter().map(remote_spec));
        let registry = Registry::new(specs.collect(), RandomState::new().hash_one("sekisho"))?;

        let failed = |error: io::Error| StartError::Loop(error.kind());
        let count = thread::available_parallelism().map_or(1, usize::from);
        let mut address = listen;
        let mut runtimes = Vec::with_capacity(count);
        for _ in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
            let entered = runtime.enter();
            let listener =
                bind(address).map_err(|error| StartError::Listen { address, kind: error.kind() })?;
            // With port 0 the first listener finds the port that the others share.
            address = listener.local_addr().map_err(failed)?;
            drop(entered);
            runtimes.push((runtime, listener));
        }
        if !address.ip().is_unspecified() {
            allowed_hosts.extend(address.to_string().parse());
        }

        let shared = Shared {
            door: Arc::new(Door::new(allowed_hosts, allowed_origins, access_token)),
            policy: Arc::new(AllowAll),
            max_request_bytes: config.max_request_bytes,
            changes: broadcast::Sender::new(MAX_CHANGES),
        };
        let mut server =
            Self { local_addr: address, drain: watch::Sender::new(false), loops: Vec::new(), embedded };
        let busy = Arc::new(Busy::default());
        let remotes = Arc::new(config.remotes);
        for (number, (runtime, listener)) in runtimes.into_iter().enumerate() {
            let (shared, registry, busy) = (shared.clone(), registry.clone(), busy.clone());
            let (remotes, embedded, drain) =
                (remotes.clone(), server.embedded.clone(), server.drain.subscribe());
            let embedded_id = config.embedded.as_ref().map(|embedded| embedded.runtime_id.clone());
            let changes = shared.changes.subscribe();
            let serve = move || {
                let transports = transports(embedded_id.zip(embedded), &remotes);
                let gateway = Rc::new(Gateway::new(number, shared, registry, transports));
                LocalSet::new().block_on(&runtime, async {
                    let following = gateway.clone();
                    tokio::task::spawn_local(async move { following.follow(changes).await });
                    event_loop::run(gateway, listener, busy, drain, DRAIN_TIME).await;
                });
                // A name that is still being resolved is not waited for.
                runtime.shutdown_background();
            };
            let name = format!("sekisho-loop-{number}");
            server.loops.push(thread::Builder::new().name(name).spawn(serve).map_err(failed)?);
        }
        info!(loops = count, "serving");
        Ok(server)
    }

    /// Where it listens: with the port that was found, where the configuration had 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Finishes what is in flight, for at most [`DRAIN_TIME`], then ends the embedded workers. Blocks until then.
    pub fn shutdown(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        self.drain.send_replace(true);
        for event_loop in self.loops.drain(..) {
            // A loop that panicked has nothing left to finish.
            let _ = event_loop.join();
        }
        if let Some(embedded) = self.embedded.take() {
            embedded.shutdown();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn start_embedded(embedded: &Embedded) -> Result<Runtime, sekisho_runtime::StartError> {
    let mut config = RuntimeConfig::new(embedded.runtime_id.clone());
    config.display_name = Some(embedded.display_name.clone());
    config.profiles = embedded.profiles.clone();
    config.hidden_variables = embedded.hidden_variables.clone();
    Runtime::start(config)
}

fn embedded_spec(embedded: &Embedded) -> RuntimeSpec {
    RuntimeSpec {
        runtime_id: embedded.runtime_id.clone(),
        display_name: Some(embedded.display_name.clone()),
        kind: RuntimeKind::Embedded,
        access: Access::in_process(),
        limits: CallLimits::default(),
        // It answers at once: nothing is ever in flight to it.
        max_in_flight: usize::MAX,
        give_up_after: GIVE_UP_AFTER,
    }
}

fn remote_spec(remote: &Remote) -> RuntimeSpec {
    RuntimeSpec {
        runtime_id: remote.runtime_id.clone(),
        display_name: remote.display_name.clone(),
        kind: RuntimeKind::Remote,
        access: Access::remote(remote.base_url.clone(), remote.token.clone()),
        limits: remote.limits,
        max_in_flight: remote.max_in_flight,
        give_up_after: GIVE_UP_AFTER,
    }
}

fn transports(
    embedded: Option<(RuntimeId, Runtime)>,
    remotes: &[Remote],
) -> BTreeMap<RuntimeId, Rc<Transport>> {
    let embedded = embedded.map(|(runtime_id, runtime)| {
        let transport = Transport::InProcess(Arc::new(move |request| runtime.handle(request)));
        (runtime_id, Rc::new(transport))
    });
    let remotes = remotes.iter().map(|remote| {
        let client = Client::new(remote.tls.clone());
        let client = match &remote.token_file {
            Some(token_file) => client.with_token_file(token_file.clone()),
            None => client,
        };
        (remote.runtime_id.clone(), Rc::new(Transport::Network(client)))
    });
    embedded.into_iter().chain(remotes).collect()
}
