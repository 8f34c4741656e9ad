//! The sekisho command line. See `sekisho --help`, and docs/cli.md.

mod age;
mod args;
mod attach;
mod backend;
mod commands;
mod complete;
mod doctor;
mod endpoint;
mod failure;
mod history;
mod reference;
mod render;
mod requests;
mod resolve;
mod secret_prompt;
mod show;
mod streaming;
mod terminal;
mod text;
mod transcript;
mod worker_list;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use sekisho_core::gateway_client::Problem;

use crate::args::{Cli, Command, with_literal_message};
use crate::failure::Failure;
use crate::show::Show;
use crate::text::{BAD, json_safe};

fn main() -> ExitCode {
    sekisho_runtime::launcher::run_if_asked();
    complete::answer_if_asked();
    let cli = Cli::parse_from(with_literal_message(&Cli::command(), std::env::args_os()));
    let show = Show::new(&cli.global);
    match run(cli, show) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure, show);
            failure.exit_code()
        }
    }
}

fn run(cli: Cli, show: Show) -> Result<(), Failure> {
    let Cli { global, command } = cli;
    match command {
        Command::Completions { shell } => reference::completions(&shell),
        Command::Man { folder } => reference::manual_pages(&folder),
        Command::Doctor { runtime_ids, show_endpoints } => {
            doctor::run(&global, &runtime_ids, show_endpoints, show)
        }
        command => {
            let backend = backend::open(&global)?;
            let hint = |problem: &Problem| backend.hint(problem);
            commands::run(&backend, command, show).map_err(|failure| failure.with_hint(hint))
        }
    }
}

/// Says why on standard error: in one line, or as JSON where everything is.
fn report(failure: &Failure, show: Show) {
    match failure {
        Failure::ReaderGone | Failure::Status(_) => {}
        Failure::Problem { problem, .. } if show.json => {
            if let Ok(json) = serde_json::to_string(problem) {
                eprintln!("{}", json_safe(&json));
            }
        }
        failure => show.note(BAD, &failure.to_string()),
    }
}
