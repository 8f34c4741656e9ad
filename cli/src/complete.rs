//! Completion of runtimes and workers, asked of the server or of the runtimes that the command line names.

use std::ffi::{OsStr, OsString};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};
use clap_complete::env::{CompleteEnv, Shells};
use clap_complete::{ArgValueCompleter, CompletionCandidate};
use sekisho_core::browser_api::{Action, AllWorkers, Items, ProfileView, RuntimeView, WorkerView};
use sekisho_core::id::RuntimeId;
use sekisho_core::runtime_api::Command as RuntimeCommand;
use serde::de::DeserializeOwned;

use crate::args::{Cli, Global};
use crate::backend::{self, read};
use crate::failure::Failure;

/// The variable by which a shell asks for completions.
const VARIABLE: &str = "COMPLETE";

/// How long an answer is waited for: a shell stands still meanwhile.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Answers a shell that asks for completions, and ends the process.
pub(crate) fn answer_if_asked() {
    CompleteEnv::with_factory(|| with_completers(Cli::command())).var(VARIABLE).complete();
}

/// The commands, with what completes each value that is named after a thing of the API.
fn with_completers(cli: Command) -> Command {
    cli.mut_subcommands(|command| {
        command.mut_args(|argument| {
            let name = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
            match name.as_deref() {
                Some("RUNTIME") => argument.add(ArgValueCompleter::new(runtimes)),
                Some("RUNTIME/WORKER") => argument.add(ArgValueCompleter::new(workers)),
                Some("RUNTIME[/WORKER]") => argument.add(ArgValueCompleter::new(watched)),
                Some("PROFILE") => argument.add(ArgValueCompleter::new(profiles)),
                _ => argument,
            }
        })
    })
}

/// The script with which a shell asks this program for completions.
pub(crate) fn script(shell: &str) -> Result<Vec<u8>, Failure> {
    let shells = Shells::builtins();
    let Some(completer) = shells.completer(shell) else {
        let names: Vec<&str> = shells.names().collect();
        return Err(Failure::Usage(format!("no completions for {shell}: there are {}", names.join(", "))));
    };
    let mut script = Vec::new();
    completer
        .write_registration(VARIABLE, "sekisho", "sekisho", "sekisho", &mut script)
        .map_err(Failure::output)?;
    Ok(script)
}

/// The runtimes that begin like this.
fn runtimes(current: &OsStr) -> Vec<CompletionCandidate> {
    let rows = rows::<RuntimeView>(Action::Runtimes);
    let candidates = rows.into_iter().map(|row| (row.runtime_id.to_string(), Some(row.display_name)));
    matching(current, candidates)
}

/// The workers that begin like this.
fn workers(current: &OsStr) -> Vec<CompletionCandidate> {
    let rows = rows::<WorkerView>(Action::AllWorkers(AllWorkers::default()));
    let candidates = rows.into_iter().map(|row| {
        let help = row.facts.name.or(row.facts.created_at);
        (format!("{}/{}", row.runtime_id, row.worker_id), help)
    });
    matching(current, candidates)
}

/// The workers and runtimes that begin like this.
fn watched(current: &OsStr) -> Vec<CompletionCandidate> {
    let mut candidates = workers(current);
    candidates.extend(runtimes(current));
    candidates
}

/// The profiles that begin like this, of the runtime that the command line names.
fn profiles(current: &OsStr) -> Vec<CompletionCandidate> {
    let matches = matches(words());
    let runtime_id = matches
        .subcommand()
        .and_then(|(_, create)| create.try_get_one::<RuntimeId>("runtime_id").ok().flatten().cloned());
    let Some(runtime_id) = runtime_id else { return Vec::new() };
    let action = Action::Command { runtime_id, command: RuntimeCommand::Profiles };
    let rows = rows::<ProfileView>(action);
    matching(current, rows.into_iter().map(|profile| (profile.name, profile.description)))
}

fn matching(
    current: &OsStr,
    candidates: impl Iterator<Item = (String, Option<String>)>,
) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str() else { return Vec::new() };
    let mut found: Vec<(String, Option<String>)> =
        candidates.filter(|(candidate, _)| candidate.starts_with(current)).collect();
    found.sort();
    let candidate = |(value, help): (String, Option<String>)| {
        CompletionCandidate::new(crate::text::safe_line(&value))
            .help(help.map(|help| crate::text::safe_line(&help).into()))
    };
    found.into_iter().map(candidate).collect()
}

/// The rows of a list; none where there is no answer in time. A completion has no place for an error.
fn rows<T: DeserializeOwned + Send + 'static>(action: Action) -> Vec<T> {
    let (sender, answer) = mpsc::channel();
    thread::spawn(move || {
        let _ = sender.send(ask(&action));
    });
    answer.recv_timeout(TIMEOUT).ok().flatten().unwrap_or_default()
}

fn ask<T: DeserializeOwned>(action: &Action) -> Option<Vec<T>> {
    let backend = backend::open(&global()?).ok()?;
    let body = backend.ask(action).ok()?;
    Some(read::<Items<T>>(&body).ok()?.items)
}

/// The global options of the command line that is being completed, which stands behind `--`.
fn global() -> Option<Global> {
    Global::from_arg_matches(&matches(words())).ok()
}

fn words() -> impl Iterator<Item = OsString> {
    std::env::args_os().skip_while(|word| word != "--").skip(1)
}

fn matches(words: impl Iterator<Item = OsString>) -> ArgMatches {
    // What is not complete is of no interest.
    Cli::command().ignore_errors(true).get_matches_from(words)
}
