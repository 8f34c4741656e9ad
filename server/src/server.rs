//! Starting and ending all of it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sekisho_config::{Config, Embedded, Remote};
use sekisho_core::browser_api::AccessGuard;
use sekisho_core::feed::FeedLimits;
use sekisho_core::id::RuntimeId;
use sekisho_core::policy::AllowAll;
use sekisho_core::registry::{DuplicateRuntime, Registry};
use sekisho_runtime::{Runtime, RuntimeConfig};
use sekisho_transport_tokio::{HttpClient, Transport};
use tokio::net::TcpSocket;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{broadcast, mpsc, watch};
use tracing::info;

use crate::event_loop::{self, Busy};
use crate::gateway::{Gateway, Shared, Viewers};
use crate::hub::{Hub, MAX_SUBSCRIBING, Streams};

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
    loops: Vec<JoinHandle<io::Result<()>>>,
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
        let Config { listen, mut allowed_hosts, allowed_origins, access_token, runtimes, .. } = config;
        let registry = Registry::new(runtimes.specs(), RandomState::new().hash_one("sekisho"))?;
        runtimes.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let start = |embedded: &Embedded| {
            let mut config = RuntimeConfig::with_workers(embedded.runtime_id.clone(), &embedded.workers);
            config.display_name = Some(embedded.display_name.clone());
            Runtime::start(config)
        };
        let embedded = runtimes.embedded.as_ref().map(start).transpose()?;
        let limits = FeedLimits { max_event: runtimes.max_event_bytes, ..FeedLimits::default() };

        let count = thread::available_parallelism().map_or(1, usize::from);
        let mut address = listen;
        let mut sockets = Vec::with_capacity(count);
        let failed = |error: io::Error| StartError::Listen { address: listen, kind: error.kind() };
        // The sockets below share their port with whoever shares, another server included: that one is found here.
        drop(std::net::TcpListener::bind(listen).map_err(failed)?);
        for _ in 0..count {
            let socket = bind(address).map_err(failed)?;
            // With port 0 the first socket finds the port that the others share.
            address = socket.local_addr().map_err(failed)?;
            sockets.push(socket);
        }
        if !address.ip().is_unspecified() {
            allowed_hosts.extend(address.to_string().parse());
        }

        let (asking, asked): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel(MAX_SUBSCRIBING)).unzip();
        let drain = watch::Sender::new(false);
        let shared = Shared {
            streams: Streams { key: runtimes.cursor_key, limits, loops: asking.into() },
            busy: Arc::new(Busy::default()),
            drain: drain.subscribe(),
            viewers: Arc::new(Viewers::new(config.max_viewers)),
            access_guard: Arc::new(AccessGuard::new(allowed_hosts, allowed_origins, access_token)),
            policy: Arc::new(AllowAll),
            max_request_bytes: config.max_request_bytes,
            changes: broadcast::Sender::new(MAX_CHANGES),
        };
        let mut server = Self { local_addr: address, drain, loops: Vec::new(), embedded };
        let remotes = Arc::new(runtimes.remotes);
        for (number, (socket, asked)) in sockets.into_iter().zip(asked).enumerate() {
            let (shared, registry) = (shared.clone(), registry.clone());
            let (remotes, embedded) = (remotes.clone(), server.embedded.clone());
            let embedded_id = runtimes.embedded.as_ref().map(|embedded| embedded.runtime_id.clone());
            let changes = shared.changes.subscribe();
            let (ready, is_ready) = std::sync::mpsc::channel();
            let serve = move || {
                // Not a `LocalSet`: each time one of its tasks is woken, it wakes itself through the kernel.
                let runtime =
                    Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
                let transports = transports(embedded_id.zip(embedded), &remotes);
                let gateway = Rc::new(Gateway::new(number, shared, registry, transports));
                runtime.block_on(async {
                    let listener = socket.listen(BACKLOG)?;
                    let _ = ready.send(());
                    let (following, pruning) = (gateway.clone(), gateway.clone());
                    tokio::task::spawn_local(async move { following.follow(changes).await });
                    tokio::task::spawn_local(async move { pruning.prune().await });
                    tokio::task::spawn_local(Hub::answer(gateway.clone(), asked));
                    event_loop::run(gateway, listener, DRAIN_TIME).await;
                    io::Result::Ok(())
                })?;
                // A name that is still being resolved is not waited for.
                runtime.shutdown_background();
                Ok(())
            };
            let name = format!("sekisho-loop-{number}");
            let failed = |error: io::Error| StartError::Loop(error.kind());
            let event_loop = thread::Builder::new().name(name).spawn(serve).map_err(failed)?;
            if is_ready.recv().is_err() {
                // It has ended before it listened.
                let error = event_loop.join().ok().and_then(Result::err);
                return Err(failed(error.unwrap_or(io::ErrorKind::Other.into())));
            }
            server.loops.push(event_loop);
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

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn transports(
    embedded: Option<(RuntimeId, Runtime)>,
    remotes: &[Remote],
) -> BTreeMap<RuntimeId, Arc<Transport>> {
    let embedded =
        embedded.map(|(runtime_id, runtime)| (runtime_id, Arc::new(Transport::InProcess(Box::new(runtime)))));
    let remotes = remotes.iter().map(|remote| {
        let client = HttpClient::new(remote.tls.clone());
        let client = match &remote.token_file {
            Some(token_file) => client.with_token_source(token_file.clone()),
            None => client,
        };
        (remote.runtime_id.clone(), Arc::new(Transport::Network(client)))
    });
    embedded.into_iter().chain(remotes).collect()
}
