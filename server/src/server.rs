//! Starting and ending all of it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sekisho_config::{Config, Embedded, Remote};
use sekisho_core::browser_api::AccessGuard;
use sekisho_core::feed::FeedLimits;
use sekisho_core::id::RuntimeId;
use sekisho_core::memory::Memory;
use sekisho_core::policy::{AllowAll, Policy};
use sekisho_core::registry::{DuplicateRuntime, Registry};
use sekisho_core::viewer::StreamContext;
use sekisho_listener::{BindError, Listener};
use sekisho_runtime::{Runtime, RuntimeConfig};
use sekisho_store::source::LocalSource;
use sekisho_transport_tokio::{HttpClient, Transport};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::spawn_local;
use tracing::info;

use crate::budget::Budget;
use crate::drain::{Drain, Phase};
use crate::event_loop;
use crate::fleet::FleetHub;
use crate::gateway::Gateway;
use crate::hub::{Hub, MAX_SUBSCRIBING, Subscribe};
use crate::refusals::Refusals;
use crate::respond::Service;
use crate::upstreams::{Changes, Upstreams};

/// How many changes a loop may lag behind the others before it misses some.
const MAX_CHANGES: usize = 1024;

/// A server that listens. Dropping it is shutting it down.
#[derive(Debug)]
pub struct Server {
    listener: Arc<Listener>,
    admin: Option<Arc<Listener>>,
    metrics: Metrics,
    phase: watch::Sender<Phase>,
    drain_delay: Duration,
    beats: Arc<[AtomicU64]>,
    loops: Vec<JoinHandle<io::Result<()>>>,
    embedded: Option<Runtime>,
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Nothing can listen there.
    #[error("{key}: {error}")]
    Listen {
        /// The key of the configuration.
        key: &'static str,
        /// Why not.
        error: BindError,
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

/// What all event loops are made with.
#[derive(Clone)]
struct Shared {
    access_guard: Arc<AccessGuard>,
    /// Who may come in at the listener for metrics.
    admin_guard: Arc<AccessGuard>,
    metrics: Metrics,
    sources: Arc<Sources>,
    max_request_bytes: usize,
    budget: Budget,
    refusals: Arc<Refusals>,
    policy: Arc<dyn Policy>,
    streams: Arc<StreamContext>,
    subscribe: Arc<[mpsc::Sender<Subscribe>]>,
    fleet: FleetHub,
    changes: Changes,
    drain: Drain,
    drain_time: Duration,
    beats: Arc<[AtomicU64]>,
    registry: Registry,
    embedded: Option<(RuntimeId, Runtime)>,
    remotes: Arc<[Remote]>,
    locals: Arc<[(RuntimeId, LocalSource)]>,
}

impl Server {
    /// Listens and serves, on threads of its own.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let Config { listen, tls, mut allowed_hosts, allowed_origins, access_token, runtimes, .. } = config;
        let registry = Registry::new(runtimes.specs(), RandomState::new().hash_one("sekisho"))?;
        access_token.iter().for_each(|token| registry.hide(token.clone()));
        runtimes.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let embedded = runtimes.embedded.as_ref().map(start_embedded).transpose()?;
        let count = thread::available_parallelism().map_or(1, usize::from);
        let listener = Arc::new(Listener::bind(&listen, tls.as_ref())?);
        if let Some(address) = listener.local_addr().filter(|address| !address.ip().is_unspecified()) {
            allowed_hosts.extend(address.to_string().parse());
        }
        let access_guard = AccessGuard::new(allowed_hosts, allowed_origins, access_token);
        let access_guard = if tls.is_some() { access_guard.https_only() } else { access_guard };
        let policy: Arc<dyn Policy> = Arc::new(AllowAll);
        let limits = FeedLimits { max_event: runtimes.max_event_bytes, ..FeedLimits::default() };
        let streams = StreamContext::new(runtimes.cursor_key, policy.clone(), limits, config.max_viewers);
        let (subscribe, asked): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel(MAX_SUBSCRIBING)).unzip();
        let phase = watch::Sender::default();
        let beats: Arc<[AtomicU64]> = (0..count).map(|_| AtomicU64::default()).collect();
        let shared = Shared {
            access_guard: Arc::new(access_guard),
            max_request_bytes: config.max_request_bytes,
            budget: Budget::default(),
            refusals: Arc::default(),
            policy,
            streams: Arc::new(streams),
            subscribe: subscribe.into(),
            fleet: FleetHub::default(),
            changes: broadcast::Sender::new(MAX_CHANGES),
            drain: Drain::new(phase.subscribe()),
            drain_time: config.drain_time,
            beats: beats.clone(),
            registry,
            embedded: embedded.clone(),
            remotes: runtimes.remotes.into(),
            locals: runtimes
                .locals
                .into_iter()
                .map(|local| (local.runtime_id.clone(), LocalSource::new(local.runtime_id, local.store)))
                .collect(),
        };
        let embedded = embedded.map(|(_, runtime)| runtime);
        let (drain_delay, loops) = (config.drain_delay, Vec::new());
        let mut server = Self { listener, phase, drain_delay, beats, loops, embedded };
        for (number, asked) in asked.into_iter().enumerate() {
            let event_loop = shared.clone().start_loop(number, server.listener.clone(), asked)?;
            server.loops.push(event_loop);
        }
        info!(loops = count, "serving");
        Ok(server)
    }

    /// The address, with the port that the system chose where the configuration has 0.
    ///
    /// # Panics
    ///
    /// Where it listens on a Unix socket.
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr().expect("the caller knows that it listens on TCP")
    }

    /// Where it listens, for people: `http://`, `https://` or `unix:`.
    pub fn url(&self) -> String {
        self.listener.url()
    }

    /// How often each event loop has come round to its regular work. One whose number stays the same for a second or
    /// more is stuck.
    pub fn beats(&self) -> Vec<u64> {
        self.beats.iter().map(|beats| beats.load(Ordering::Relaxed)).collect()
    }

    /// Says that it is not ready, for `drain_delay`, while all goes on as before; then finishes what is in flight, for at
    /// most `drain_time`, and ends the embedded workers. Blocks until then.
    pub fn shutdown(mut self) {
        self.phase.send_replace(Phase::Leaving);
        thread::sleep(self.drain_delay);
        self.stop();
    }

    fn stop(&mut self) {
        self.phase.send_replace(Phase::Draining);
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

impl Shared {
    /// Starts one event loop, and returns once it listens.
    fn start_loop(
        self,
        number: usize,
        listener: Arc<Listener>,
        asked: mpsc::Receiver<Subscribe>,
    ) -> Result<JoinHandle<io::Result<()>>, StartError> {
        let failed = |error: io::Error| StartError::Loop(error.kind());
        let (ready, is_ready) = std::sync::mpsc::channel();
        let run = move || {
            // The thread that starts the loops waits for it.
            let ready = || ready.send(()).unwrap_or_default();
            self.run_loop(number, &listener, asked, ready)
        };
        let name = format!("sekisho-loop-{number}");
        let event_loop = thread::Builder::new().name(name).spawn(run).map_err(failed)?;
        match is_ready.recv() {
            Ok(()) => Ok(event_loop),
            // It has ended before it listened.
            Err(_) => {
                let error = event_loop.join().ok().and_then(Result::err);
                Err(failed(error.unwrap_or(io::ErrorKind::Other.into())))
            }
        }
    }

    fn run_loop(
        self,
        number: usize,
        listener: &Listener,
        asked: mpsc::Receiver<Subscribe>,
        ready: impl FnOnce(),
    ) -> io::Result<()> {
        // Not a `LocalSet`: each time one of its tasks is woken, it wakes itself through the kernel.
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        runtime.block_on(async {
            let acceptor = listener.acceptor()?;
            let changes = self.changes.subscribe();
            let transports = transports(self.embedded, &self.remotes, &self.locals, self.budget.upstream());
            let upstreams = Rc::new(Upstreams::new(number, self.registry, transports, self.changes));
            let hub = Rc::new(Hub::new(number, upstreams.clone(), self.streams, self.subscribe));
            ready();
            let learning = upstreams.clone();
            spawn_local(async move { learning.apply_changes(changes).await });
            let beats = self.beats.clone();
            spawn_local(upstreams.clone().look_after(move || {
                beats[number].fetch_add(1, Ordering::Relaxed);
            }));
            spawn_local(hub.clone().answer(asked));
            // Whichever loop has it: viewers read the feed from wherever they are.
            if number == 0 {
                let fleet = self.fleet.clone();
                spawn_local(fleet.drive(upstreams.clone(), self.policy.clone()));
            }
            let gateway = Rc::new(Gateway::new(upstreams, hub, self.fleet, self.policy, self.drain));
            let service = {
                let (bytes, budget) = (self.max_request_bytes, self.budget);
                Service::new(gateway, self.access_guard, bytes, budget, self.refusals)
            };
            event_loop::run(Rc::new(service), acceptor, self.drain_time).await;
            io::Result::Ok(())
        })?;
        // A name that is still being resolved is not waited for.
        runtime.shutdown_background();
        Ok(())
    }
}

fn start_embedded(embedded: &Embedded) -> Result<(RuntimeId, Runtime), sekisho_runtime::StartError> {
    let mut config = RuntimeConfig::with_workers(embedded.runtime_id.clone(), &embedded.workers);
    config.display_name = Some(embedded.display_name.clone());
    let (runtime, warning) = Runtime::start_with(config, &embedded.store)?;
    warning.iter().for_each(|warning| tracing::warn!("{warning}"));
    Ok((embedded.runtime_id.clone(), runtime))
}

fn transports(
    embedded: Option<(RuntimeId, Runtime)>,
    remotes: &[Remote],
    locals: &[(RuntimeId, LocalSource)],
    memory: &Memory,
) -> BTreeMap<RuntimeId, Arc<Transport>> {
    let embedded =
        embedded.map(|(runtime_id, runtime)| (runtime_id, Arc::new(Transport::InProcess(Box::new(runtime)))));
    let remotes = remotes.iter().map(|remote| {
        let client = HttpClient::new(remote.tls.clone()).with_memory(memory.clone());
        let client = match &remote.token_file {
            Some(token_file) => client.with_token_source(token_file.clone()),
            None => client,
        };
        (remote.runtime_id.clone(), Arc::new(Transport::Network(client)))
    });
    let locals = locals.iter().map(|(runtime_id, source)| {
        (runtime_id.clone(), Arc::new(Transport::InProcess(Box::new(source.clone()))))
    });
    embedded.into_iter().chain(remotes).chain(locals).collect()
}
