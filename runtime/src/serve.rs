//! The runtime as a server: what the binary `sekisho-runtime` does.
//!
//! One thread accepts connections and answers them, since answering is quick; workers have threads of their own.

mod body;
mod connection;
mod counts;
mod delivery;
mod pool;
mod settings;
mod store_command;

use std::fmt::Display;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use sekisho_config::{ConfigError, Listen, RuntimeSettings};
use sekisho_core::browser_api::AccessGuard;
use sekisho_listener::{BindError, Listener, service_manager};
use sekisho_telemetry::{Logging, Spans, SpansError};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::{ENDS_WITHIN, Runtime, RuntimeConfig};
use body::Bodies;
use connection::Front;
use counts::Counts;
use pool::Pool;
use settings::Flags;

/// How many connections are open at most that are no streams, unless configured otherwise. Streams have a bound of
/// their own, [`Limits::max_subscriptions`](crate::Limits::max_subscriptions).
const MAX_CONNECTIONS: usize = 128;

/// How much memory the bodies of requests under way take at most, in bytes, unless configured otherwise.
const MAX_TOTAL_BODY_BYTES: usize = 16 * 1024 * 1024;

/// How long requests that are under way and the ends of streams may take when the server ends.
const DRAIN: Duration = Duration::from_secs(10);

/// How long to leave the listener alone when accepting fails, as it does for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(transparent)]
    Settings(#[from] ConfigError),
    #[error(transparent)]
    Start(#[from] crate::StartError),
    #[error(transparent)]
    Spans(#[from] SpansError),
    #[error("listen: {0}")]
    Bind(#[from] BindError),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Serves a runtime as the command line says, until SIGINT or SIGTERM.
///
/// When it is ready it says so in one line on standard output, with the address; everything else goes to standard
/// error, as [`Logging`] says.
pub fn main() -> ExitCode {
    let mut flags = Flags::parse();
    if let Some(settings::Command::Store(command)) = flags.command.take() {
        return store_command::run(&command);
    }
    let logging = match Logging::to_stderr(flags.log_format) {
        Ok(logging) => logging,
        Err(error) => return failed(&error),
    };
    // Before the token is read, which workers of the same user must not find in this process.
    if let Err(error) = crate::launcher::conceal_process() {
        tracing::warn!(%error, "workers of the same user can read this process");
    }
    let settings = RuntimeSettings::read(flags.into()).map_err(ServeError::from);
    let ended = settings.and_then(|settings| serve(settings, &logging));
    logging.flush();
    ended.map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
}

fn failed(error: &dyn Display) -> ExitCode {
    eprintln!("sekisho-runtime: {error}");
    ExitCode::FAILURE
}

fn serve(settings: RuntimeSettings, logging: &Logging) -> Result<(), ServeError> {
    settings.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let spans = Spans::of_environment("sekisho-runtime", env!("CARGO_PKG_VERSION"))?;
    let mut config = RuntimeConfig::from(&settings);
    config.hidden_variables.extend(spans.secret_variables().iter().map(|&name| name.to_owned()));
    let (runtime, warning) = Runtime::start_with(config, &settings.store)?;
    warning.iter().for_each(|warning| tracing::warn!("{warning}"));
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    executor.block_on(accept(&settings, &runtime, logging, &spans))?;
    // What could not be drained is cut off here, before the workers go.
    drop(executor);
    runtime.shutdown();
    spans.end();
    tracing::info!("stopped");
    Ok(())
}

async fn accept(
    settings: &RuntimeSettings,
    runtime: &Runtime,
    logging: &Logging,
    spans: &Spans,
) -> Result<(), ServeError> {
    let mut ends = Ends::new()?;
    let listener = Listener::bind(&settings.listen, settings.tls.as_ref())?;
    let acceptor = listener.acceptor()?;
    // A program that waits for this line may connect as soon as it is there.
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on {}", listener.url())?;
    stdout.flush()?;
    service_manager::ready(&format!("listening on {}", listener.url()));
    tokio::spawn(tell_that_alive());
    tracing::info!(runtime_id = %settings.runtime_id, "ready");

    let limits = &settings.workers.limits;
    let max_body_bytes = limits.max_total_body_bytes.map_or(MAX_TOTAL_BODY_BYTES, Into::into);
    let front = Arc::new(Front {
        runtime: runtime.clone(),
        guard: access_guard(settings),
        bodies: Bodies::new(max_body_bytes),
        counts: Counts::new(settings, runtime, logging, spans.clone()),
    });
    let pool = Pool::new(limits.max_connections.map_or(MAX_CONNECTIONS, Into::into));
    let (drain, draining) = watch::channel(false);
    loop {
        let accepted = tokio::select! { accepted = acceptor.accept() => accepted, () = ends.next() => break };
        match accepted {
            Ok(accepted) => {
                let seat =
                    tokio::select! { seat = pool.enter() => Arc::new(seat), () = ends.next() => break };
                let (front, draining) = (Arc::clone(&front), draining.clone());
                tokio::spawn(async move {
                    let connection = tokio::select! {
                        connection = accepted.handshake() => connection,
                        () = seat.told_to_leave() => return,
                    };
                    match connection {
                        Ok(connection) => {
                            let connection = connection.with_unreadable(connection::unreadable);
                            connection::serve(connection, front, seat, draining).await;
                        }
                        Err(_) => tracing::debug!("a TLS handshake failed"),
                    }
                });
            }
            Err(error) => {
                tracing::warn!(kind = %error.kind(), "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    tracing::info!("stopping");
    service_manager::stopping(DRAIN + ENDS_WITHIN + spans.end_time());
    drop((acceptor, listener, draining));
    drain.send_replace(true);
    tokio::select! {
        // Every connection and every stream listens as long as there is one.
        _ = tokio::time::timeout(DRAIN, drain.closed()) => {}
        // A second signal means not to wait.
        () = ends.next() => {}
    }
    Ok(())
}

/// Tells the service manager again and again that this loop comes round, where that is watched.
async fn tell_that_alive() {
    let Some(every) = service_manager::watchdog() else { return };
    let mut ticks = tokio::time::interval(every);
    loop {
        ticks.tick().await;
        service_manager::alive();
    }
}

/// Where there is no token, the names under which the runtime may be spoken to: a page whose name was made to
/// lead here speaks under its own. A unix socket is out of a page's reach.
fn access_guard(settings: &RuntimeSettings) -> Option<AccessGuard> {
    let addresses: &[SocketAddr] = match &settings.listen {
        Listen::Tcp(addresses) => addresses,
        Listen::Inherited(_) => &[],
        Listen::Unix(_) => return None,
    };
    if settings.token.is_some() {
        return None;
    }
    // An address is a host on any port.
    let own = addresses.iter().filter_map(|address| match address.ip() {
        IpAddr::V4(ip) => ip.to_string().parse().ok(),
        IpAddr::V6(ip) => format!("[{ip}]").parse().ok(),
    });
    let hosts = own.chain(settings.allowed_hosts.iter().cloned()).collect();
    Some(AccessGuard::new(hosts, Vec::new(), None))
}

/// The signals that end the server.
struct Ends {
    interrupt: Signal,
    terminate: Signal,
}

impl Ends {
    fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! { _ = self.interrupt.recv() => {}, _ = self.terminate.recv() => {} }
    }
}
