//! The runtimes and workers, in tables and sheets.

use std::collections::BTreeSet;

use anstyle::Style;
use sekisho_core::browser_api::{Action, Items, RuntimeReply, RuntimeView, WorkerReply};
use sekisho_core::diagnostic::Diagnostic;
use sekisho_core::id::{RuntimeId, WorkerRef};
use sekisho_core::runtime_api::{Command, Intent, Profile};

use crate::backend::{self, Backend, read};
use crate::failure::Failure;
use crate::requests::of;
use crate::show::{Show, Table};
use crate::text::{BAD, FAINT, GOOD, STRONG, WARNING, painted, safe_line};

const PLAIN: Style = Style::new();

pub(crate) fn runtimes(backend: &dyn Backend, show: Show) -> Result<(), Failure> {
    let body = backend.ask(&Action::Runtimes)?;
    if show.json {
        return show.json_text(&body);
    }
    let Items { items, diagnostics, .. } = read::<Items<RuntimeView>>(&body)?;
    let mut table = Table::new(&["RUNTIME", "NAME", "KIND", "REACHABLE", "STATUS", "ACTIVE", "ALL"]);
    for runtime in &items {
        let counts = runtime.workers.as_ref();
        let count = |count: Option<u64>| (count.map_or_else(|| "-".into(), |count| count.to_string()), PLAIN);
        table.row([
            (runtime.runtime_id.to_string(), STRONG),
            (runtime.display_name.clone(), PLAIN),
            (kind(&runtime.kind).to_owned(), PLAIN),
            (runtime.reachability.name().to_owned(), well(runtime.reachability.name())),
            (runtime.status.name().to_owned(), well(runtime.status.name())),
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
        ("runtime", runtime.runtime_id.to_string(), STRONG),
        ("name", runtime.display_name, PLAIN),
        ("kind", kind(&runtime.kind).to_owned(), PLAIN),
        ("reachable", runtime.reachability.name().to_owned(), well(runtime.reachability.name())),
        ("status", runtime.status.name().to_owned(), well(runtime.status.name())),
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
    lines.push(("can", can(runtime.capabilities.iter()), PLAIN));
    sheet(show, lines)?;
    runtime.diagnostics.iter().for_each(|diagnostic| tell(show, None, diagnostic));
    Ok(())
}

pub(crate) fn workers(
    backend: &dyn Backend,
    runtime_id: Option<&RuntimeId>,
    show: Show,
) -> Result<(), Failure> {
    let list = backend::workers(backend, runtime_id)?;
    if show.json {
        return show.json_text(&serde_json::to_vec(&list).unwrap_or_default());
    }
    let Items { items, diagnostics, .. } = list;
    let mut table = Table::new(&["WORKER", "STATUS", "PROFILE", "ITEMS", "INTENT"]);
    for worker in items {
        table.row([
            (format!("{}/{}", worker.runtime_id, worker.worker_id), STRONG),
            (worker.status.name().to_owned(), well(worker.status.name())),
            (profile(worker.profile), PLAIN),
            (worker.transcript_len.to_string(), PLAIN),
            (intent(worker.intent), PLAIN),
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
    let WorkerReply { worker, .. } = read(&body)?;
    let mut lines = vec![
        ("worker", format!("{}/{}", worker.runtime_id, worker.worker_id), STRONG),
        ("status", worker.status.name().to_owned(), well(worker.status.name())),
        ("intent", intent(worker.intent), PLAIN),
        ("profile", profile(worker.profile), PLAIN),
        ("transcript", format!("{} items", worker.transcript_len), PLAIN),
    ];
    for requested in worker.requested_capabilities.into_iter().flatten() {
        lines.push(("wants", requested.name, PLAIN));
    }
    for workspace in worker.workspace_refs.into_iter().flatten() {
        lines.push(("workspace", format!("{} = {}", workspace.name, workspace.reference), PLAIN));
    }
    lines.push(("can", can(worker.capabilities.iter()), PLAIN));
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

fn tell(show: Show, runtime_id: Option<&RuntimeId>, Diagnostic { code, message, .. }: &Diagnostic) {
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

fn can<'a>(capabilities: impl Iterator<Item = (&'a str, bool)>) -> String {
    let able: Vec<String> =
        capabilities.filter(|(_, able)| *able).map(|(name, _)| name.replace('_', " ")).collect();
    match able.is_empty() {
        true => "nothing".into(),
        false => able.join(", "),
    }
}

/// What a worker is for, in a few words.
fn intent(intent: Intent) -> String {
    let (kind, more) = match intent {
        Intent::Assistant { purpose } => ("assistant", [purpose, None]),
        Intent::Task { objective } => ("task", [Some(objective), None]),
        Intent::Role { role, purpose } => ("role", [Some(role), purpose]),
    };
    let more: Vec<String> = more.into_iter().flatten().collect();
    match more.is_empty() {
        true => kind.to_owned(),
        false => format!("{kind}: {}", more.join(", ")),
    }
}

/// The name of a profile.
fn profile(profile: Profile) -> String {
    match profile {
        Profile::RuntimeDefault => "runtime default".to_owned(),
        Profile::Builtin(name) | Profile::Named(name) => name,
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
