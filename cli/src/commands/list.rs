//! The runtimes, workers and profiles, in tables and sheets.

use std::collections::BTreeSet;
use std::time::SystemTime;

use anstyle::Style;
use sekisho_core::browser_api::{
    Action, Capabilities, Items, ProfileView, RuntimeReply, RuntimeView, WorkerReply, WorkerView,
};
use sekisho_core::diagnostic::Diagnostic;
use sekisho_core::id::{RuntimeId, WorkerRef};
use sekisho_core::runtime_api::{Command, Intent, Profile, WorkerActivity, WorkerEnd, WorkerFilter};

use crate::age::ago;
use crate::args::SortKey;
use crate::backend::{Backend, read};
use crate::failure::Failure;
use crate::render::end_in_words;
use crate::requests::of;
use crate::show::{Show, Table};
use crate::text::{BAD, FAINT, GOOD, STRONG, WARNING, painted, safe_line};
use crate::worker_list;

const PLAIN: Style = Style::new();

/// How one gets at what is beyond the end of a list.
pub(super) const CHOOSE_FEWER: &str = "name a runtime, or choose by --name, --label or --status";

pub(crate) fn runtimes(backend: &dyn Backend, show: Show) -> Result<(), Failure> {
    let body = backend.ask(&Action::Runtimes)?;
    if show.json {
        return show.json_text(&body);
    }
    let Items { items, diagnostics, .. } = read::<Items<RuntimeView>>(&body)?;
    let mut table = Table::new(&["RUNTIME", "NAME", "KIND", "REACHABLE", "STATUS", "ACTIVE", "ALL"], 1);
    for runtime in &items {
        let counts = runtime.workers.as_ref();
        let count = |count: Option<u64>| (count.map_or_else(|| "-".into(), |count| count.to_string()), PLAIN);
        let (reachability, status) = (word(&runtime.reachability), word(&runtime.status));
        table.row([
            (runtime.runtime_id.to_string(), STRONG),
            (runtime.display_name.clone(), PLAIN),
            (kind(&runtime.kind).to_owned(), PLAIN),
            (reachability.clone(), style_of(&reachability)),
            (status.clone(), style_of(&status)),
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
        if told.insert((runtime_id, diagnostic.code.to_string())) {
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
    let (reachability, status) = (word(&runtime.reachability), word(&runtime.status));
    let mut lines = vec![
        ("runtime", runtime.runtime_id.to_string(), STRONG),
        ("name", runtime.display_name, PLAIN),
        ("kind", kind(&runtime.kind).to_owned(), PLAIN),
        ("reachable", reachability.clone(), style_of(&reachability)),
        ("status", status.clone(), style_of(&status)),
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

/// Lists the workers that the filter lets through.
pub(crate) fn workers(
    backend: &dyn Backend,
    runtime_id: Option<&RuntimeId>,
    filter: &WorkerFilter,
    sort: Option<SortKey>,
    show: Show,
) -> Result<(), Failure> {
    if show.json {
        let extent = worker_list::pages(backend, runtime_id, filter, |body| {
            show.json_text(body)?;
            Ok(read::<Items<serde::de::IgnoredAny>>(body)?.next_after)
        })?;
        return extent.whole(CHOOSE_FEWER);
    }
    let mut workers = worker_list::workers(backend, runtime_id, filter)?;
    sorted(&mut workers.items, sort.unwrap_or(SortKey::Created));
    show.table(&table(&workers.items, SystemTime::now()))?;
    workers.diagnostics.iter().for_each(|diagnostic| tell(show, diagnostic.runtime_id.as_ref(), diagnostic));
    workers.extent.whole(CHOOSE_FEWER)
}

pub(super) fn sorted(workers: &mut [WorkerView], key: SortKey) {
    let newest = |time: &Option<String>| std::cmp::Reverse(time.clone());
    match key {
        SortKey::Created => {}
        SortKey::Worker => workers.sort_by_key(full_name),
        SortKey::Name => workers.sort_by_key(|worker| (worker.facts.name.clone(), full_name(worker))),
        SortKey::Status => workers.sort_by_key(|worker| (status(worker), full_name(worker))),
        SortKey::Output => workers.sort_by_key(|worker| newest(&worker.facts.last_output_at)),
        SortKey::Ended => workers.sort_by_key(|worker| newest(&worker.facts.ended_at)),
    }
}

pub(super) fn full_name(worker: &WorkerView) -> String {
    format!("{}/{}", worker.runtime_id, worker.worker_id)
}

/// A column of the table of workers.
type Column = (&'static str, fn(&WorkerView, SystemTime) -> String);

/// The table of workers. Columns of which no runtime tells anything are left out.
pub(super) fn table(workers: &[WorkerView], now: SystemTime) -> Table {
    let columns: [Column; 8] = [
        ("WORKER", |worker, _| full_name(worker)),
        ("NAME", |worker, _| worker.facts.name.clone().unwrap_or_default()),
        ("STATUS", |worker, _| status(worker)),
        ("PROFILE", |worker, _| profile(&worker.profile)),
        ("AGE", |worker, now| worker.facts.created_at.as_deref().map(|at| ago(at, now)).unwrap_or_default()),
        ("END", |worker, now| ended(worker, now)),
        ("ITEMS", |worker, _| worker.transcript_len.to_string()),
        ("INTENT", |worker, _| intent(&worker.intent)),
    ];
    let is_told = |(title, cell): &Column| {
        !matches!(*title, "NAME" | "AGE" | "END")
            || workers.iter().any(|worker| !cell(worker, now).is_empty())
    };
    let columns: Vec<Column> = columns.into_iter().filter(is_told).collect();
    let titles: Vec<&str> = columns.iter().map(|(title, _)| *title).collect();
    // Names are what is typed: they are never cut.
    let names = titles.iter().filter(|title| matches!(**title, "WORKER" | "NAME")).count();
    let mut table = Table::new(&titles, names);
    for worker in workers {
        table.row(columns.iter().map(|(title, cell)| {
            let text = cell(worker, now);
            let style = match *title {
                "WORKER" => STRONG,
                "STATUS" => style_of(&text),
                _ => PLAIN,
            };
            (text, style)
        }));
    }
    table
}

/// A worker's state in a word: also that it is about to end, or waits for an answer.
pub(super) fn status(worker: &WorkerView) -> String {
    let status = word(&worker.status);
    match (&*status, worker.facts.stopping, &worker.facts.activity) {
        ("running", true, _) => "stopping".into(),
        ("running", false, Some(WorkerActivity::Waiting)) => "waiting".into(),
        _ => status,
    }
}

/// How a worker ended; nothing where its runtime does not tell.
pub(super) fn how_it_ended(worker: &WorkerView) -> String {
    match &worker.facts.end {
        Some(WorkerEnd { exit_code: Some(code), .. }) => format!("exit {code}"),
        Some(WorkerEnd { signal: Some(signal), .. }) => format!("signal {signal}"),
        Some(end) => word(&end.reason).replace('_', " "),
        None => String::new(),
    }
}

/// How a worker ended, and how long ago.
fn ended(worker: &WorkerView, now: SystemTime) -> String {
    let how = how_it_ended(worker);
    let when = worker.facts.ended_at.as_deref().map(|at| ago(at, now)).unwrap_or_default();
    match (how.is_empty(), when.is_empty()) {
        (false, false) => format!("{how}, {when} ago"),
        (true, false) => format!("{when} ago"),
        (_, true) => how,
    }
}

pub(crate) fn worker(backend: &dyn Backend, worker: &WorkerRef, show: Show) -> Result<(), Failure> {
    let body = backend.ask(&of(worker, Command::Worker(worker.worker_id.clone())))?;
    if show.json {
        return show.json_text(&body);
    }
    let WorkerReply { worker, .. } = read(&body)?;
    let status = status(&worker);
    let mut lines = vec![("worker", full_name(&worker), STRONG)];
    let facts = &worker.facts;
    lines.extend(facts.name.clone().map(|name| ("name", name, PLAIN)));
    lines.extend(facts.labels.iter().map(|(key, value)| ("label", format!("{key}={value}"), PLAIN)));
    lines.push(("status", status.clone(), style_of(&status)));
    lines.push(("intent", intent(&worker.intent), PLAIN));
    lines.push(("profile", profile(&worker.profile), PLAIN));
    lines.push(("transcript", format!("{} items", worker.transcript_len), PLAIN));
    let times = [
        ("created", &facts.created_at),
        ("started", &facts.started_at),
        ("last output", &facts.last_output_at),
        ("ended", &facts.ended_at),
    ];
    lines.extend(times.into_iter().filter_map(|(title, time)| Some((title, time.clone()?, PLAIN))));
    lines.extend(facts.end.as_ref().map(|end| ("end", end_in_words(Some(end)), PLAIN)));
    if let Some(requests) = facts.requests.filter(|requests| *requests > 0) {
        lines.push(("open requests", requests.to_string(), WARNING));
    }
    for requested in worker.requested_capabilities.into_iter().flatten() {
        lines.push(("wants", requested.name, PLAIN));
    }
    for workspace in worker.workspace_refs.into_iter().flatten() {
        lines.push(("workspace", format!("{} = {}", workspace.name, workspace.reference), PLAIN));
    }
    let can = serde_json::to_value(worker.capabilities).unwrap_or_default();
    let can = can.as_object().into_iter().flatten().map(|(name, can)| (name.as_str(), *can == true));
    lines.push(("can", able(can), PLAIN));
    sheet(show, lines)
}

/// Lists what workers of a runtime can run.
pub(crate) fn profiles(backend: &dyn Backend, runtime_id: &RuntimeId, show: Show) -> Result<(), Failure> {
    let action = Action::Command { runtime_id: runtime_id.clone(), command: Command::Profiles };
    let body = backend.ask(&action)?;
    if show.json {
        return show.json_text(&body);
    }
    let Items { items, diagnostics, .. } = read::<Items<ProfileView>>(&body)?;
    let mut table = Table::new(&["PROFILE", "KIND", "DEFAULT", "DESCRIPTION"], 1);
    for profile in items {
        table.row([
            (profile.name, STRONG),
            (profile.kind, PLAIN),
            (if profile.default { "yes" } else { "" }.into(), GOOD),
            (profile.description.unwrap_or_default(), PLAIN),
        ]);
    }
    show.table(&table)?;
    diagnostics.iter().for_each(|diagnostic| tell(show, None, diagnostic));
    Ok(())
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

pub(super) fn tell(
    show: Show,
    runtime_id: Option<&RuntimeId>,
    Diagnostic { code, message, .. }: &Diagnostic,
) {
    let about = runtime_id.map(|id| format!("{id}: ")).unwrap_or_default();
    show.note(WARNING, &format!("{about}{message} ({code})"));
}

/// A value of an enumeration as the API writes it.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => "unknown".into(),
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

/// An intent in a few words.
pub(super) fn intent(intent: &Intent) -> String {
    let value = serde_json::to_value(intent).unwrap_or_default();
    let kind = value["kind"].as_str().unwrap_or("unknown").to_owned();
    let more = ["objective", "role", "purpose"].iter().filter_map(|key| value[*key].as_str());
    let more: Vec<&str> = more.collect();
    if more.is_empty() { kind } else { format!("{kind}: {}", more.join(", ")) }
}

/// A profile's name.
fn profile(profile: &Profile) -> String {
    let value = serde_json::to_value(profile).unwrap_or_default();
    let named = value["value"].as_str().or_else(|| value["kind"].as_str());
    named.unwrap_or("unknown").replace("runtime_default", "runtime default")
}

fn can(capabilities: &Capabilities) -> String {
    able(capabilities.iter())
}

fn able<'a>(capabilities: impl Iterator<Item = (&'a str, bool)>) -> String {
    let able: Vec<String> =
        capabilities.filter(|(_, able)| *able).map(|(name, _)| name.replace('_', " ")).collect();
    if able.is_empty() { "nothing".into() } else { able.join(", ") }
}

/// The style of a status.
pub(super) fn style_of(status: &str) -> Style {
    match status {
        "running" | "reachable" => GOOD,
        "unreachable" | "unauthorized" | "misdirected" => BAD,
        "unknown" | "waiting" | "stopping" => WARNING,
        _ => PLAIN,
    }
}
