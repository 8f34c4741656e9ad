//! Starting, reloading and ending all of it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sekisho_config::{Config, ConfigError, Embedded};
use sekisho_core::feed::FeedLimits;
use sekisho_core::id::RuntimeId;
use sekisho_core::policy::{AllowAll, Policy};
use sekisho_core::registry::{Adopted, DuplicateRuntime};
use sekisho_core::viewer::StreamContext;
use sekisho_listener::{BindError, Certificate, Listener};
use sekisho_runtime::{ENDS_WITHIN, Runtime, RuntimeConfig};
use sekisho_telemetry::Spans;
use tokio::sync::{broadcast, mpsc, watch};
use tracing::info;

use crate::budget::Budget;
use crate::drain::{Drain, Phase};
use crate::fleet::FleetHub;
use crate::hub::MAX_SUBSCRIBING;
use crate::metrics::{Metrics, Sources};
use crate::setup::{Addresses, Connections, ForTransports, Setup};
use crate::shared_reads::Waiting;
use crate::threads::Shared;

/// How many changes a loop may lag behind the others before it misses some.
const MAX_CHANGES: usize = 1024;

/// A server that listens. Dropping it is shutting it down.
pub struct Server {
    listener: Arc<Listener>,
    admin: Option<Arc<Listener>>,
    metrics: Metrics,
    setup: watch::Sender<Arc<Setup>>,
    phase: watch::Sender<Phase>,
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

/// Why a configuration is not taken over. All stays as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// It is not one.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] BindError),
    /// Two runtimes have the same id.
    #[error(transparent)]
    Duplicate(#[from] DuplicateRuntime),
}

/// What a configuration that was taken over has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reloaded {
    /// Which runtimes are others.
    pub runtimes: Adopted,
    /// The keys whose new values only a restart takes over.
    pub needs_restart: Vec<&'static str>,
}

impl Server {
    /// Listens and serves, on threads of its own.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with(config, Spans::default())
    }

    /// The same, where the spans of its requests go somewhere. To end them is the caller's, once the server has ended.
    pub fn start_with(config: Config, spans: Spans) -> Result<Self, StartError> {
        let at = |key| move |error| StartError::Listen { key, error };
        config.runtimes.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let embedded = config.runtimes.embedded.as_ref();
        let embedded = embedded.map(|embedded| start_embedded(embedded, &spans)).transpose()?;
        let listener = Arc::new(Listener::bind(&config.listen, config.tls.as_ref()).map_err(at("listen"))?);
        let admin = config.admin_listen.as_ref().map(|listen| Listener::bind(listen, None)).transpose();
        let admin = admin.map_err(at("admin_listen"))?.map(Arc::new);
        let policy: Arc<dyn Policy> = Arc::new(AllowAll);
        let limits = FeedLimits { max_event: config.runtimes.max_event_bytes, ..FeedLimits::default() };
        let key = config.runtimes.cursor_key.clone();
        let streams = StreamContext::new(key, policy.clone(), limits, config.max_viewers);
        let addresses = Addresses { main: &listener, admin: admin.as_deref() };
        let setup = watch::Sender::new(Arc::new(Setup::new(config, &addresses, None)?));
        let count = thread::available_parallelism().map_or(1, usize::from);
        let (subscribe, asked): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel(MAX_SUBSCRIBING)).unzip();
        let phase = watch::Sender::default();
        let beats: Arc<[AtomicU64]> = (0..count).map(|_| AtomicU64::default()).collect();
        let (budget, connections) = (Budget::default(), Connections::default());
        let metrics = Metrics::new(&spans);
        if let Some((runtime_id, runtime)) = &embedded {
            metrics.add_runtime(runtime_id, runtime.clone());
        }
        let shared = Shared {
            setup: setup.subscribe(),
            transports: ForTransports {
                embedded: embedded.clone(),
                memory: budget.upstream().clone(),
                connections: connections.clone(),
            },
            metrics: metrics.clone(),
            spans,
            sources: Arc::new(Sources { connections, budget: budget.clone(), listener: listener.clone() }),
            budget,
            refusals: Arc::default(),
            policy,
            streams: Arc::new(streams),
            subscribe: subscribe.into(),
            fleet: FleetHub::default(),
            reads: Waiting::default(),
            changes: broadcast::Sender::new(MAX_CHANGES),
            drain: Drain::new(phase.subscribe()),
            beats: beats.clone(),
            listener: listener.clone(),
            admin: admin.clone(),
        };
        let embedded = embedded.map(|(_, runtime)| runtime);
        let mut server = Self { listener, admin, metrics, setup, phase, beats, loops: Vec::new(), embedded };
        for (number, asked) in asked.into_iter().enumerate() {
            let event_loop = shared.clone().start(number, asked).map_err(StartError::Loop)?;
            server.loops.push(event_loop);
        }
        info!(loops = count, "serving");
        Ok(server)
    }

    /// Goes on with another configuration: with its runtimes, who may come in, its certificate and its bounds of bodies and
    /// of shutting down. What is under way is not disturbed, but for the streams from runtimes that are gone or elsewhere.
    ///
    /// # Errors
    ///
    /// Where it cannot be read or taken over: all stays as it is then.
    pub fn reload(
        &self,
        read: impl FnOnce() -> Result<Config, ConfigError>,
    ) -> Result<Reloaded, ReloadError> {
        let reloaded = read().map_err(ReloadError::from).and_then(|config| self.take_over(config));
        self.metrics.reloaded(reloaded.is_ok());
        reloaded
    }

    fn take_over(&self, config: Config) -> Result<Reloaded, ReloadError> {
        let before = self.setup.borrow().clone();
        let (fixed, tls) = (config.fixed(), config.tls.clone());
        let needs_restart = before.fixed.changed_keys(&fixed);
        config.runtimes.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let config = config.with_embedded_of(&before.fixed);
        let addresses = Addresses { main: &self.listener, admin: self.admin.as_deref() };
        // All that can fail comes first: what is refused has changed nothing.
        let tls = tls.filter(|_| self.listener.speaks_tls());
        let certificate = tls.as_ref().map(Certificate::read).transpose()?;
        let setup = Setup::new(config, &addresses, Some(&before.registry))?;
        if let Some(certificate) = certificate {
            self.listener.use_certificate(certificate);
        }
        let runtimes = before.registry.clone().adopt(&setup.registry);
        self.setup.send_replace(Arc::new(setup));
        Ok(Reloaded { runtimes, needs_restart })
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

    /// Where metrics are answered without a token, where that is configured; with the port that the system chose.
    pub fn admin_url(&self) -> Option<String> {
        self.admin.as_ref().map(|admin| admin.url())
    }

    /// Adds a number to the metrics that the embedding program counts, and that only grows.
    ///
    /// # Panics
    ///
    /// Where there is a metric of this name already, or it is no name of a metric.
    pub fn add_counter(&self, name: &str, help: &str, read: impl Fn() -> u64 + Send + Sync + 'static) {
        self.metrics.add_counter(name, help, read);
    }

    /// How long [`Server::shutdown`] takes at most, as the configuration is now.
    pub fn shutdown_time(&self) -> Duration {
        let setup = self.setup.borrow();
        setup.drain_delay + setup.drain_time + ENDS_WITHIN
    }

    /// Says that it is not ready, for `drain_delay`, while all goes on as before; then finishes what is in flight, for at
    /// most `drain_time`, and ends the embedded workers. Blocks until then.
    pub fn shutdown(mut self) {
        self.phase.send_replace(Phase::Leaving);
        let delay = self.setup.borrow().drain_delay;
        thread::sleep(delay);
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

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn start_embedded(
    embedded: &Embedded,
    spans: &Spans,
) -> Result<(RuntimeId, Runtime), sekisho_runtime::StartError> {
    let mut config = RuntimeConfig::with_workers(embedded.runtime_id.clone(), &embedded.workers);
    config.display_name = Some(embedded.display_name.clone());
    config.hidden_variables.extend(spans.secret_variables().iter().map(|&name| name.to_owned()));
    let (runtime, warning) = Runtime::start_with(config, &embedded.store)?;
    warning.iter().for_each(|warning| tracing::warn!("{warning}"));
    Ok((embedded.runtime_id.clone(), runtime))
}
