//! Searching transcripts.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};

use sekisho_core::browser_api::WorkerView;
use sekisho_core::id::WorkerRef;
use sekisho_core::runtime_api::{Contains, WorkerFilter};
use serde::Serialize;
use serde_json::value::RawValue;

use super::list;
use crate::args::{Time, Watched};
use crate::backend::Backend;
use crate::failure::Failure;
use crate::resolve;
use crate::show::Show;
use crate::text::{STRONG, WARNING, painted, safe_line};
use crate::transcript::{Item, TIMES_UNKNOWN, first_after, search, total};
use crate::worker_list::{self, Extent, Workers};

/// What `grep` exits with where nothing was found, as grep does.
const NOTHING_FOUND: u8 = 1;

/// An item that was found, as `--json` prints it.
#[derive(Serialize)]
struct FoundItem<'a> {
    runtime_id: &'a str,
    worker_id: &'a str,
    item: &'a RawValue,
}

/// What is looked for, and where.
pub(crate) struct GrepOptions {
    pub(crate) contains: Contains,
    pub(crate) since: Option<Time>,
    pub(crate) until: Option<Time>,
    pub(crate) max_count: Option<u64>,
}

/// A transcript, and how many items it has.
type Searched = (WorkerRef, u64);

/// Prints the items that hold a text: of the workers with the newest output first, and of each worker the newest first.
pub(crate) fn grep(
    backend: &dyn Backend,
    options: &GrepOptions,
    scope: Option<Watched>,
    show: Show,
) -> Result<(), Failure> {
    let mut left = options.max_count.unwrap_or(u64::MAX);
    let (mut found, mut failed) = (false, None);
    // Of these runtimes it is known that they tell no times, and told.
    let mut timeless = BTreeSet::new();
    let (all, extent) = searched(backend, options, scope, show)?;
    for (worker, total) in all {
        if timeless.contains(&worker.runtime_id) {
            continue;
        }
        let searched = offsets(backend, &worker, total, options).and_then(|offsets| {
            search(backend, &worker, offsets, &options.contains, |item, json| {
                (found, left) = (true, left - 1);
                print(show, &worker, &item, json)?;
                Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })
        });
        match searched {
            Ok(0) => {}
            Ok(unread) => {
                show.note(WARNING, &format!("{worker}: {unread} items are too large to be searched"))
            }
            Err(failure @ (Failure::Problem { .. } | Failure::Usage(_))) => {
                if let Failure::Usage(_) = failure {
                    timeless.insert(worker.runtime_id.clone());
                }
                show.note(WARNING, &format!("{worker}: {failure}"));
                failed = Some(failure.status());
            }
            Err(failure) => return Err(failure),
        }
        if left == 0 {
            return Ok(());
        }
    }
    extent.whole("to search fewer, name a runtime or a worker")?;
    match failed {
        Some(status) => Failure::of_status(status),
        None => Failure::of_status(if found { 0 } else { NOTHING_FOUND }),
    }
}

/// Where in a transcript is what was said within the times.
fn offsets(
    backend: &dyn Backend,
    worker: &WorkerRef,
    total: u64,
    GrepOptions { since, until, .. }: &GrepOptions,
) -> Result<Range<u64>, Failure> {
    let unknown = || Failure::Usage(format!("--since, --until: {TIMES_UNKNOWN}"));
    let end = match until {
        None => total,
        Some(until) => first_after(backend, worker, total, |at| !until.is_before(at))?.ok_or_else(unknown)?,
    };
    let start = match since {
        None => 0,
        Some(since) => first_after(backend, worker, end, |at| since.is_after(at))?.ok_or_else(unknown)?,
    };
    Ok(start..end)
}

/// Whose transcripts are searched, and whether these are all.
fn searched(
    backend: &dyn Backend,
    options: &GrepOptions,
    scope: Option<Watched>,
    show: Show,
) -> Result<(Vec<Searched>, Extent), Failure> {
    let runtime_id = match scope {
        Some(Watched::Worker(worker)) => {
            let worker = resolve::worker(backend, &worker)?;
            let total = total(backend, &worker)?;
            return Ok((vec![(worker, total)], Extent::Whole));
        }
        Some(Watched::Runtime(runtime_id)) => Some(resolve::runtime(backend, &runtime_id)?),
        None => None,
    };
    let all = worker_list::workers(backend, runtime_id.as_ref(), &WorkerFilter::default())?;
    let Workers { mut items, diagnostics, extent } = all;
    diagnostics.iter().for_each(|diagnostic| list::tell(show, diagnostic.runtime_id.as_ref(), diagnostic));
    items.sort_by_key(|worker| std::cmp::Reverse(worker.facts.last_output_at.clone()));
    let with_total = items.into_iter().filter(|worker| may_have_spoken(worker, options)).map(|worker| {
        (WorkerRef { runtime_id: worker.runtime_id, worker_id: worker.worker_id }, worker.transcript_len)
    });
    Ok((with_total.filter(|(_, total)| *total > 0).collect(), extent))
}

/// Whether a worker was there within the times, as far as is known: nothing is said before it was created, nor after it ended.
fn may_have_spoken(worker: &WorkerView, GrepOptions { since, until, .. }: &GrepOptions) -> bool {
    let is = |time: &Option<Time>, at: &Option<String>, is: fn(&Time, &str) -> bool| {
        time.as_ref().zip(at.as_deref()).is_some_and(|(time, at)| is(time, at))
    };
    !is(since, &worker.facts.ended_at, Time::is_after)
        && !is(until, &worker.facts.created_at, Time::is_before)
}

fn print(show: Show, worker: &WorkerRef, item: &Item, json: &str) -> Result<(), Failure> {
    if show.json {
        let item: &RawValue = serde_json::from_str(json).unwrap_or(RawValue::NULL);
        // Ids and JSON have a JSON form.
        let (runtime_id, worker_id) = (worker.runtime_id.as_str(), worker.worker_id.as_str());
        let text = serde_json::to_vec(&FoundItem { runtime_id, worker_id, item }).unwrap_or_default();
        return show.json_text(&text);
    }
    let head = format!("{worker}:{}:", item.sequence);
    show.line(format!("{} {}", painted(show.color, STRONG, &head), safe_line(item.content.trim_end())))
}
