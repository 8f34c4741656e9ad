//! The runtimes and workers, in tables and sheets.

use std::collections::BTreeSet;

use anstyle::Style;
use sekisho_core::browser_api::{Action, AllWorkers};
use sekisho_core::id::{RuntimeId, WorkerRef};
use sekisho_core::runtime_api::Command;

use crate::backend::{Backend, read};
use crate::failure::Failure;
use crate::requests::of;
use crate::show::{Show, Table};
use crate::text::{BAD, FAINT, GOOD, STRONG, WARNING, painted, safe_line};
use crate::views::{Diagnostic, Items, Runtime, RuntimeReply, Worker, WorkerReply};

const PLAIN: Style = Style::new();

pub(crate) fn runtimes(backend: &dyn Backend, show: Show) -> Result<(), Failure> {
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
    // A problem of one runtime may stand with it and beside the list.
    let of_runtimes = items.iter().flat_map(|runtime| {
        runtime.diagnostics.iter().map(move |diagnostic| (Some(&runtime.runtime_id), diagnostic))
    });
    let beside = diagnostics.iter().map(|diagnostic| (diagnostic.runtime_id.as_ref(), diagnostic));
    let mut told = BTreeSet::new();
    for (runtime_id, diagnostic) in of_runtimes.chain(beside) {
        if told.insert((runtime_id, &diagnostic.code)) {
            tell(show, runtime_id, diagnostic);
        }
    }
    Ok(())
}

pub(crate) fn runtime(backend: &dyn Backend, runtime_id: &RuntimeId, show: Show) -> Result<(), Failure> {
    let body = backend.ask(&Action::Runtime(runtime_id.clone()))?;
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
    runtime.diagnostics.iter().for_each(|diagnostic| tell(show, None, diagnostic));
    Ok(())
}

pub(crate) fn workers(
    backend: &dyn Backend,
    runtime_id: Option<&RuntimeId>,
    show: Show,
) -> Result<(), Failure> {
    let body = backend.ask(&match runtime_id {
        None => Action::AllWorkers(AllWorkers::default()),
        Some(runtime_id) => Action::Command { runtime_id: runtime_id.clone(), command: Command::workers() },
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
    diagnostics.iter().for_each(|diagnostic| tell(show, diagnostic.runtime_id.as_ref(), diagnostic));
    Ok(())
}

pub(crate) fn worker(backend: &dyn Backend, worker: &WorkerRef, show: Show) -> Result<(), Failure> {
    let body = backend.ask(&of(worker, Command::Worker(worker.worker_id.clone())))?;
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

/// Names and values, one a line.
fn sheet(show: Show, lines: Vec<(&str, String, Style)>) -> Result<(), Failure> {
    let width = lines.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
    for (name, value, style) in lines {
        let name = painted(show.color, FAINT, &format!("{name:width$}"));
        show.line(format!("{name}  {}", painted(show.color, style, &safe_line(&value))))?;
    }
    Ok(())
}

fn tell(show: Show, runtime_id: Option<&String>, Diagnostic { code, message, .. }: &Diagnostic) {
    let about = runtime_id.map(|id| format!("{id}: ")).unwrap_or_default();
    show.note(WARNING, &format!("{about}{message} ({code})"));
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

/// The style of a status.
fn well(status: &str) -> Style {
    match status {
        "running" | "reachable" => GOOD,
        "unreachable" | "unauthorized" => BAD,
        "unknown" => WARNING,
        _ => PLAIN,
    }
}
