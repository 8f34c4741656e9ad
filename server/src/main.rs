//! The sekisho gateway. See `sekisho-server --help`, and the README.

use std::convert::Infallible;
use std::fmt::Display;
use std::future::pending;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sekisho_listener::service_manager;
use sekisho_runtime::ENDS_WITHIN;
use sekisho_server::{Config, ConfigError, Server, describe};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use tracing::{info, warn};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The gateway between people and the machines that run their workers.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The configuration, in TOML; without one, the embedded runtime alone
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Where to listen, in place of what the configuration says
    #[arg(long, value_name = "ADDRESS:PORT|unix:/PATH", global = true)]
    listen: Option<String>,
    /// A command line that becomes the embedded runtime's default profile
    #[arg(long, value_name = "COMMAND", global = true)]
    exec: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Say whether the configuration is good, and what a server would do with it; nothing is started or made
    Check,
}

fn main() -> ExitCode {
    sekisho_runtime::launcher::run_if_asked();
    let args = Args::parse();
    if let Some(Command::Check) = &args.command {
        return ended(args.configuration(Config::look_at).map(|config| print!("{}", describe(&config))));
    }
    log_to_stderr();
    // Before tokens are read, which workers of the same user must not find in this process.
    if let Err(error) = sekisho_runtime::launcher::conceal_process() {
        warn!(%error, "workers of the same user can read this process");
    }
    ended(run(&args))
}

impl Args {
    /// The configuration that a file gives, as `read`, and the flags.
    fn configuration(
        &self,
        read: impl Fn(Option<&Path>) -> Result<Config, ConfigError>,
    ) -> Result<Config, ConfigError> {
        let mut config = read(self.config.as_deref())?;
        if let Some(address) = &self.listen {
            config = config.listen_on(address)?;
        }
        if let Some(command) = &self.exec {
            config = config.exec(command)?;
        }
        Ok(config)
    }
}

fn ended<E: Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sekisho-server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let config = args.configuration(Config::read)?;
    let stops_within = config.drain_delay + config.drain_time + ENDS_WITHIN;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before the server says that it is ready, it must be able to hear that it is to shut down.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let server = Server::start(config)?;
        writeln!(io::stdout(), "listening on {}", server.url())?;
        service_manager::ready(&format!("listening on {}", server.url()));
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            never = tell_that_alive(&server) => match never {},
        }
        service_manager::stopping(stops_within);
        info!("finishing what is in flight; once more to go at once");
        let shutdown = tokio::task::spawn_blocking(|| server.shutdown());
        tokio::select! {
            ended = shutdown => ended?,
            _ = interrupt.recv() => std::process::exit(130),
            _ = terminate.recv() => std::process::exit(143),
        }
        Ok(())
    })
}

/// Tells the service manager again and again that the server is alive, where that is watched: as long as each of its event
/// loops comes round.
async fn tell_that_alive(server: &Server) -> Infallible {
    let Some(every) = service_manager::watchdog() else { return pending().await };
    let mut before = Vec::new();
    loop {
        let beats = server.beats();
        if before.iter().zip(&beats).all(|(before, now)| before != now) {
            service_manager::alive();
            before = beats;
        }
        sleep(every).await;
    }
}

/// Levels come from `RUST_LOG`, as in `info` or `sekisho_server=debug`.
fn log_to_stderr() {
    let levels = std::env::var("RUST_LOG").ok().and_then(|levels| levels.parse().ok());
    let levels = levels.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines =
        tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    tracing_subscriber::registry().with(lines).with(levels).init();
}
