//! The commands that ask once and show the answer.

use std::io::{self, Read};
use std::sync::Arc;

use anstyle::Style;
use bytes::Bytes;
use sekisho_core::browser_api::Action;
use sekisho_core::id::{RuntimeId, WorkerRef};
use sekisho_core::runtime_api::{
    Command as RuntimeCommand, CreateWorker, IdempotencyKey, Input, InputKind, Intent, Profile, Reason,
};

use crate::args::{Command, Create, Named};
use crate::backend::{Backend, read};
use crate::failure::Failure;
use crate::show::{Show, Table};
use crate::text::{BAD, FAINT, GOOD, STRONG, WARNING, painted, safe, safe_line};
use crate::views::{
    AckReply, Diagnostic, Items, Runtime, RuntimeReply, Transcript, TranscriptReply, Worker, WorkerReply,
};
use crate::{attach, follow};

/// The most that is read from standard input to be said, in bytes. A gateway takes less, unless configured otherwise.
const MAX_INPUT: u64 = 16 << 20;

const PLAIN: Style = Style::new();

/// Does what a command says.
pub(crate) fn run(backend: Arc<dyn Backend>, command: Command, show: Show) -> Result<(), Failure> {
    // Its other owners are the threads of `attach`.
    let (shared, backend) = (&backend, &*backend);
    match command {
        Command::Runtimes => runtimes(backend, show),
        Command::Runtime { runtime_id } => runtime(backend, runtime_id, show),
        Command::Workers { runtime_id } => workers(backend, runtime_id, show),
        Command::Worker { named: Named { worker } } => self::worker(backend, &worker, show),
        Command::Create(create) => self::create(shared, create, show),
        Command::Send { named: Named { worker }, text, system, idempotency_key } => {
            let content = content(&text)?;
            let kind = if system { InputKind::System } else { InputKind::User };
            let input = input(&worker, Input { kind, content }, idempotency_key)?;
            acknowledged(backend, &worker, &input, show)
        }
        Command::Stop { named: Named { worker }, reason } => {
            acknowledged(backend, &worker, &stop(&worker, reason), show)
        }
        Command::Cancel { named: Named { worker }, reason } => {
            acknowledged(backend, &worker, &cancel(&worker, reason), show)
        }
        Command::Transcript { named: Named { worker }, from, follow: true } => {
            follow::transcript(backend, &worker, from.get() - 1, show)
        }
        Command::Transcript { named: Named { worker }, from, follow: false } => {
            transcript(backend, &worker, from.get() - 1, show).map(drop)
        }
        Command::Watch { named: Named { worker }, cursor } => follow::watch(backend, &worker, cursor, show),
        Command::Attach { named: Named { worker } } => attach::run(shared, &worker, show),
        // They need no backend, and were dealt with before there was one.
        Command::Doctor { .. } | Command::Completions { .. } | Command::Man { .. } => Ok(()),
    }
}

fn runtimes(backend: &dyn Backend, show: Show) -> Result<(), Failure> {
    let body = backend.ask(&Action::Runtimes)?;
    if show.json {
        return show.json_text(&body);
    }
    let Items { items, diagnostics } = read::<Items<Runtime>>(&body)?;
    let mut table = Table::new(&["RUNTIME", "NAME", "KIND", "REACHABLE", "STATUS", "ACTIVE", "ALL"]);
    for runtime in &items {
        let counts = runtime.workers.as_ref();
        let count = |count: Option<u64>| (count.map_or_else(|| "-".into(), |count| count.to_string()), PLAIN);
        table.row([
            (runtime.runtime_id.clone(), STRONG),
            (runtime.display_name.clone(), PLAIN),
            (kind(&runtime.kind).to_owned(), PLAIN),
            (runtime.reachability.clone(), well(&runtime.reachability)),
            (runtime.status.clone(), well(&runtime.status)),
            count(counts.map(|counts| counts.active)),
            count(counts.map(|counts| counts.total)),
        ]);
    }
    show.table(&table)?;
    let of_runtimes = items.iter().flat_map(|runtime| &runtime.diagnostics);
    tell(show, diagnostics.iter().chain(of_runtimes));
    Ok(())
}

fn runtime(backend: &dyn Backend, runtime_id: RuntimeId, show: Show) -> Result<(), Failure> {
    let body = backend.ask(&Action::Runtime(runtime_id))?;
    if show.json {
        return show.json_text(&body);
    }
    let RuntimeReply { runtime } = read(&body)?;
    let mut lines = vec![
        ("runtime", runtime.runtime_id, STRONG),
        ("name", runtime.display_name, PLAIN),
        ("kind", kind(&runtime.kind).to_owned(), PLAIN),
        ("reachable", runtime.reachability.clone(), well(&runtime.reachability)),
        ("status", runtime.status.clone(), well(&runtime.status)),
        ("last seen", runtime.last_seen_at.unwrap_or_else(|| "never".into()), PLAIN),
    ];
    if let Some(counts) = runtime.workers {
        let all = [counts.active, counts.stopped, counts.cancelled];
        let [active, stopped, cancelled] = all;
        let text = format!("{} ({active} active, {stopped} stopped, {cancelled} cancelled)", counts.total);
        lines.push(("workers", text, PLAIN));
    }
    if let Some(limits) = runtime.limits {
        lines.push(("transcript page", format!("at most {} items", limits.max_transcript_items), PLAIN));
    }
    lines.push(("can", can(&runtime.capabilities), PLAIN));
    sheet(show, lines)?;
    tell(show, &runtime.diagnostics);
    Ok(())
}

fn workers(backend: &dyn Backend, runtime_id: Option<RuntimeId>, show: Show) -> Result<(), Failure> {
    let body = backend.ask(&match runtime_id {
        None => Action::AllWorkers,
        Some(runtime_id) => Action::Command { runtime_id, command: RuntimeCommand::Workers },
    })?;
    if show.json {
        return show.json_text(&body);
    }
    let Items { items, diagnostics } = read::<Items<Worker>>(&body)?;
    let mut table = Table::new(&["WORKER", "STATUS", "PROFILE", "ITEMS", "INTENT"]);
    for worker in items {
        table.row([
            (format!("{}/{}", worker.runtime_id, worker.worker_id), STRONG),
            (worker.status.clone(), well(&worker.status)),
            (worker.profile.said(), PLAIN),
            (worker.transcript_len.to_string(), PLAIN),
            (worker.intent.said(), PLAIN),
        ]);
    }
    show.table(&table)?;
    tell(show, &diagnostics);
    Ok(())
}

fn worker(backend: &dyn Backend, worker: &WorkerRef, show: Show) -> Result<(), Failure> {
    let body = backend.ask(&of(worker, RuntimeCommand::Worker(worker.worker_id.clone())))?;
    if show.json {
        return show.json_text(&body);
    }
    let WorkerReply { worker } = read(&body)?;
    let mut lines = vec![
        ("worker", format!("{}/{}", worker.runtime_id, worker.worker_id), STRONG),
        ("status", worker.status.clone(), well(&worker.status)),
        ("intent", worker.intent.said(), PLAIN),
        ("profile", worker.profile.said(), PLAIN),
        ("transcript", format!("{} items", worker.transcript_len), PLAIN),
    ];
    for requested in worker.requested_capabilities {
        lines.push(("wants", requested.name, PLAIN));
    }
    for workspace in worker.workspace_refs {
        lines.push(("workspace", format!("{} = {}", workspace.name, workspace.reference), PLAIN));
    }
    lines.push(("can", can(&worker.capabilities), PLAIN));
    sheet(show, lines)
}

fn create(backend: &Arc<dyn Backend>, create: Create, show: Show) -> Result<(), Failure> {
    let Create { runtime_id, profile, task, role, purpose, attach, idempotency_key } = create;
    if attach {
        attach::check(show)?;
    }
    let intent = match (task, role) {
        (Some(objective), _) => Intent::Task { objective },
        (None, Some(role)) => Intent::Role { role, purpose },
        (None, None) => Intent::Assistant { purpose },
    };
    let profile = match profile {
        None => Profile::RuntimeDefault,
        Some(name) if name.starts_with("builtin:") => Profile::Builtin(name),
        Some(name) => Profile::Named(name),
    };
    let worker = CreateWorker::new(intent, profile);
    let key = Some(idempotency_key.map_or_else(fresh_key, Ok)?);
    let command = RuntimeCommand::Create { worker: Box::new(worker), key };
    let body = backend.ask(&Action::Command { runtime_id: runtime_id.clone(), command })?;
    let WorkerReply { worker } = read(&body)?;
    if show.json {
        show.json_text(&body)?;
    } else {
        show.line(safe_line(&format!("{}/{}", worker.runtime_id, worker.worker_id)))?;
    }
    let worker_id = worker.worker_id.parse();
    let worker = WorkerRef { runtime_id, worker_id: worker_id.map_err(|_| not_a_worker())? };
    if backend.keeps(&worker.runtime_id) && !attach {
        show.note(WARNING, "the embedded runtime is part of this command: the worker ends with it");
    }
    if attach { attach::run(backend, &worker, show) } else { Ok(()) }
}

fn not_a_worker() -> Failure {
    Failure::Problem(sekisho_core::gateway_client::Problem::unexpected_body().into())
}

/// What is to be said: the words of the command line, or standard input without its last line end.
fn content(words: &[String]) -> Result<String, Failure> {
    if !words.is_empty() && words != ["-"] {
        return Ok(words.join(" "));
    }
    let failed = |error| Failure::Io { what: "cannot read standard input", error };
    let mut bytes = Vec::new();
    io::stdin().lock().take(MAX_INPUT + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_INPUT {
        return Err(Failure::Usage(format!("standard input has more than {MAX_INPUT} bytes")));
    }
    let mut text =
        String::from_utf8(bytes).map_err(|_| Failure::Usage("standard input is not UTF-8".into()))?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

/// A key that nobody else has, so that whoever is on the way may safely send the same thing again.
fn fresh_key() -> Result<IdempotencyKey, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::Io { what: "cannot make a key", error: io::Error::other(error) })?;
    let key: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // 32 hexadecimal digits are a key.
    Ok(key.parse().expect("a key"))
}

fn acknowledged(
    backend: &dyn Backend,
    worker: &WorkerRef,
    action: &Action,
    show: Show,
) -> Result<(), Failure> {
    let body = backend.ask(action)?;
    if show.json {
        return show.json_text(&body);
    }
    show.line(safe_line(&acknowledgement(worker, &body)?))
}

/// What a worker's runtime has answered to something said or done to it, in one line.
pub(crate) fn acknowledgement(worker: &WorkerRef, body: &Bytes) -> Result<String, Failure> {
    let AckReply { ack } = read(body)?;
    let item = ack.transcript_sequence.map(|sequence| format!(", item {sequence}")).unwrap_or_default();
    Ok(format!("{worker}: {}{item}", ack.status))
}

/// Shows a transcript page by page, from an offset on; where it would go on.
pub(crate) fn transcript(
    backend: &dyn Backend,
    worker: &WorkerRef,
    mut start: u64,
    show: Show,
) -> Result<u64, Failure> {
    loop {
        let body = page(backend, worker, start)?;
        let TranscriptReply { transcript: Transcript { items, next_start } } = read(&body)?;
        for item in &items {
            if show.json {
                show.json_line(item)?;
            } else {
                let role = painted(show.color, FAINT, &safe_line(&item.role));
                show.line(format!("{role}  {}", safe(&item.content)))?;
            }
        }
        match next_start {
            // A runtime that does not get any further, or has nothing to show for it, is asked no more.
            Some(next) if next > start && !items.is_empty() => start = next,
            _ => return Ok(start + items.len() as u64),
        }
    }
}

fn page(backend: &dyn Backend, worker: &WorkerRef, start: u64) -> Result<Bytes, Failure> {
    let worker_id = worker.worker_id.clone();
    let command = RuntimeCommand::Transcript { worker_id, start: Some(start), limit: None };
    Ok(backend.ask(&of(worker, command))?)
}

/// Says something to a worker, under a key of its own unless it has one.
pub(crate) fn input(
    worker: &WorkerRef,
    input: Input,
    key: Option<IdempotencyKey>,
) -> Result<Action, Failure> {
    let worker_id = worker.worker_id.clone();
    let key = Some(key.map_or_else(fresh_key, Ok)?);
    Ok(of(worker, RuntimeCommand::Input { worker_id, input, key }))
}

/// Ends a worker in an orderly way.
pub(crate) fn stop(worker: &WorkerRef, reason: Option<String>) -> Action {
    of(worker, RuntimeCommand::Stop { worker_id: worker.worker_id.clone(), reason: Reason { reason } })
}

/// Ends a worker at once.
pub(crate) fn cancel(worker: &WorkerRef, reason: Option<String>) -> Action {
    of(worker, RuntimeCommand::Cancel { worker_id: worker.worker_id.clone(), reason: Reason { reason } })
}

/// A command to the runtime of a worker.
pub(crate) fn of(worker: &WorkerRef, command: RuntimeCommand) -> Action {
    Action::Command { runtime_id: worker.runtime_id.clone(), command }
}

/// Names and values, one a line.
fn sheet(show: Show, lines: Vec<(&str, String, Style)>) -> Result<(), Failure> {
    let width = lines.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
    for (name, value, style) in lines {
        let name = painted(show.color, FAINT, &format!("{name:width$}"));
        show.line(format!("{name}  {}", painted(show.color, style, &safe_line(&value))))?;
    }
    Ok(())
}

fn tell<'a>(show: Show, diagnostics: impl IntoIterator<Item = &'a Diagnostic>) {
    for Diagnostic { code, message, runtime_id } in diagnostics {
        let about = runtime_id.as_ref().map(|id| format!("{id}: ")).unwrap_or_default();
        show.note(WARNING, &format!("{about}{message} ({code})"));
    }
}

/// A kind of runtime in one word.
fn kind(kind: &str) -> &str {
    match kind {
        "embedded_worker_runtime" => "embedded",
        "local_compatibility" => "local",
        "remote_worker_runtime" => "remote",
        other => other,
    }
}

fn can(capabilities: &std::collections::BTreeMap<String, bool>) -> String {
    let able: Vec<String> =
        capabilities.iter().filter(|(_, able)| **able).map(|(name, _)| name.replace('_', " ")).collect();
    match able.is_empty() {
        true => "nothing".into(),
        false => able.join(", "),
    }
}

/// How well a status is.
fn well(status: &str) -> Style {
    match status {
        "running" | "reachable" => GOOD,
        "unreachable" | "unauthorized" => BAD,
        "unknown" => WARNING,
        _ => PLAIN,
    }
}
