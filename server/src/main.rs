//! The sekisho gateway. See `sekisho-server --help`, and the README.

use std::convert::Infallible;
use std::error::Error;
use std::fmt::Display;
use std::future::pending;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sekisho_core::id::RuntimeId;
use sekisho_core::registry::Adopted;
use sekisho_listener::service_manager;
use sekisho_server::{Config, ConfigError, ReloadError, Reloaded, Server, describe};
use sekisho_telemetry::{Format, InvalidLevels, Levels, Logging, Spans};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;
use tracing::{info, warn};

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
    /// The form of the log; without it, text on a terminal and JSON elsewhere
    #[arg(long, value_name = "text|json", global = true)]
    log_format: Option<Format>,
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
        return ended(args.look_at());
    }
    let logging = match Logging::to_stderr(args.log_format) {
        Ok(logging) => logging,
        Err(error) => return ended(Err(error)),
    };
    // Before tokens are read, which workers of the same user must not find in this process.
    if let Err(error) = sekisho_runtime::launcher::conceal_process() {
        warn!(%error, "workers of the same user can read this process");
    }
    let result = run(&args, &logging);
    logging.flush();
    ended(result)
}

impl Args {
    /// Says what a server would do.
    fn look_at(&self) -> Result<(), ConfigError> {
        let config = self.configuration(Config::look_at)?;
        levels(&config)?;
        print!("{}", describe(&config));
        Ok(())
    }

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

fn run(args: &Args, logging: &Logging) -> Result<(), Box<dyn Error>> {
    let config = args.configuration(Config::read)?;
    logging.use_levels(levels(&config)?);
    let spans = Spans::of_environment("sekisho-server", env!("CARGO_PKG_VERSION"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before the server says that it is ready, it must be able to hear that it is to reload or to shut down.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let hangup = signal(SignalKind::hangup())?;
        let server = Server::start_with(config, spans.clone())?;
        let lost = logging.lost_lines();
        server.add_counter("sekisho_log_lines_lost_total", "Lines that nothing read in time.", lost);
        let mut listening = format!("listening on {}\n", server.url());
        listening.extend(server.admin_url().map(|url| format!("metrics on {url}\n")));
        // In one piece: who reads the first line may not wait for another.
        io::stdout().write_all(listening.as_bytes())?;
        service_manager::ready(&format!("listening on {}", server.url()));
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            never = tell_that_alive(&server) => match never {},
            never = reload_when_told(args, &server, logging, hangup) => match never {},
        }
        service_manager::stopping(server.shutdown_time() + spans.end_time());
        info!("finishing what is in flight; once more to go at once");
        let shutdown = tokio::task::spawn_blocking(move || {
            server.shutdown();
            spans.end();
        });
        let status = tokio::select! {
            ended = shutdown => return Ok(ended?),
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => 143,
        };
        logging.flush();
        std::process::exit(status)
    })
}

/// How much is logged, as the configuration says.
fn levels(config: &Config) -> Result<Levels, ConfigError> {
    let levels = config.log.as_deref().map(str::parse).transpose();
    levels
        .map(Option::unwrap_or_default)
        .map_err(|error: InvalidLevels| ConfigError::at("log", error.to_string()))
}

/// Takes the configuration over anew at each SIGHUP.
async fn reload_when_told(args: &Args, server: &Server, logging: &Logging, mut hangup: Signal) -> Infallible {
    loop {
        hangup.recv().await;
        service_manager::reloading();
        if let Err(error) = reload(args, server, logging) {
            warn!(%error, "the configuration from before stays in use");
        }
        service_manager::ready(&format!("listening on {}", server.url()));
    }
}

/// Takes the configuration over.
fn reload(args: &Args, server: &Server, logging: &Logging) -> Result<(), ReloadError> {
    let mut read = Levels::default();
    let Reloaded { runtimes, needs_restart } = server.reload(|| {
        let config = args.configuration(Config::read)?;
        read = levels(&config)?;
        Ok(config)
    })?;
    logging.use_levels(read);
    let list = |ids: &[RuntimeId]| ids.iter().map(RuntimeId::as_str).collect::<Vec<_>>().join(" ");
    let Adopted { added, replaced, gone } = &runtimes;
    info!(added = list(added), replaced = list(replaced), gone = list(gone), "the configuration is reloaded");
    if !needs_restart.is_empty() {
        warn!(keys = needs_restart.join(" "), "these keys have changed, and need a restart");
    }
    Ok(())
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
