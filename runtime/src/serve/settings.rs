//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use sekisho_config::RuntimeFlags;
use sekisho_telemetry::Format;

/// Serves a worker runtime: child processes as workers, over the worker-runtime API v1.
#[derive(Parser, Default, Debug)]
#[command(name = "sekisho-runtime", version, args_conflicts_with_subcommands = true)]
pub(super) struct Flags {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    /// Where to listen: HOST:PORT or unix:/PATH [default: 127.0.0.1:7700]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// The name that this runtime goes by
    #[arg(long, value_name = "ID")]
    runtime_id: Option<String>,
    /// A name for people
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    /// A file that holds the token which every request has to present
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A program for workers, in a shell's words; may be repeated, the first is the default
    #[arg(long = "profile", value_name = "NAME=COMMAND")]
    profiles: Vec<String>,
    /// A TOML file with the same settings; flags win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A folder that keeps what the runtime has to remember, or `memory` [default: in the state directory]
    #[arg(long, value_name = "DIR")]
    store: Option<String>,
    /// The certificate chain to serve TLS with, PEM
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// The form of the log; without it, text on a terminal and JSON elsewhere
    #[arg(long, value_name = "text|json")]
    pub(super) log_format: Option<Format>,
    /// Listen beyond this machine without a token: everyone who can reach the port can run the profiles
    #[arg(long)]
    insecure_no_token: bool,
}

/// What is done in place of serving.
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Look after a store that no runtime has open
    #[command(subcommand)]
    Store(StoreCommand),
}

/// What is done with a store.
#[derive(Subcommand, Debug)]
pub(super) enum StoreCommand {
    /// Read everything in it, and say what is wrong with it
    Check {
        /// The store's folder
        dir: PathBuf,
    },
    /// Write everything in it to standard output as JSON, a line each
    Export {
        /// The store's folder
        dir: PathBuf,
    },
    /// Give room that it does not need back to the file system
    Compact {
        /// The store's folder
        dir: PathBuf,
    },
}

impl From<Flags> for RuntimeFlags {
    fn from(flags: Flags) -> Self {
        let Flags {
            command: _,
            listen,
            runtime_id,
            display_name,
            token_file,
            profiles,
            config,
            store,
            tls_cert,
            tls_key,
            log_format: _,
            insecure_no_token,
        } = flags;
        Self {
            config,
            listen,
            runtime_id,
            display_name,
            token_file,
            profiles,
            store,
            tls_cert,
            tls_key,
            insecure_no_token,
        }
    }
}
