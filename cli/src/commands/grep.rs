//! Searching transcripts.

use std::ops::ControlFlow;

use sekisho_core::id::WorkerRef;
use sekisho_core::runtime_api::WorkerFilter;
use serde::Serialize;
use serde_json::value::RawValue;

use super::list;
use crate::args::Watched;
use crate::backend::Backend;
use crate::failure::Failure;
use crate::resolve;
use crate::show::Show;
use crate::text::{STRONG, WARNING, painted, safe_line};
use crate::transcript::{Item, search, total};
use crate::worker_list::{self, Workers};

/// What `grep` exits with where nothing was found, as grep does.
const NOTHING_FOUND: u8 = 1;

/// An item that was found, as `--json` prints it.
#[derive(Serialize)]
struct FoundItem<'a> {
    runtime_id: &'a str,
    worker_id: &'a str,
    item: &'a RawValue,
}

/// Prints the items that hold a text: of the workers with the newest output first, and of each worker the newest first.
pub(crate) fn grep(
    backend: &dyn Backend,
    text: &str,
    scope: Option<Watched>,
    max_count: Option<u64>,
    show: Show,
) -> Result<(), Failure> {
    let mut left = max_count.unwrap_or(u64::MAX);
    let (mut found, mut failed) = (false, None);
    for (worker, total) in searched(backend, scope, show)? {
        let searched = search(backend, &worker, total, text, |item, json| {
            if left == 0 {
                return Ok(ControlFlow::Break(()));
            }
            (found, left) = (true, left - 1);
            print(show, &worker, &item, json)?;
            Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        match searched {
            Ok(0) => {}
            Ok(unread) => {
                show.note(WARNING, &format!("{worker}: {unread} items are too large to be searched"))
            }
            Err(failure @ Failure::Problem { .. }) => {
                show.note(WARNING, &format!("{worker}: {failure}"));
                failed = Some(failure.status());
            }
            Err(failure) => return Err(failure),
        }
        if left == 0 {
            break;
        }
    }
    match failed {
        Some(status) => Failure::of_status(status),
        None => Failure::of_status(if found { 0 } else { NOTHING_FOUND }),
    }
}

/// Whose transcripts are searched, and how many items each has.
fn searched(
    backend: &dyn Backend,
    scope: Option<Watched>,
    show: Show,
) -> Result<Vec<(WorkerRef, u64)>, Failure> {
    let runtime_id = match scope {
        Some(Watched::Worker(worker)) => {
            let worker = resolve::worker(backend, &worker)?;
            let total = total(backend, &worker)?;
            return Ok(vec![(worker, total)]);
        }
        Some(Watched::Runtime(runtime_id)) => Some(resolve::runtime(backend, &runtime_id)?),
        None => None,
    };
    let all = worker_list::workers(backend, runtime_id.as_ref(), &WorkerFilter::default())?;
    let Workers { mut items, diagnostics } = all;
    diagnostics.iter().for_each(|diagnostic| list::tell(show, diagnostic.runtime_id.as_ref(), diagnostic));
    items.sort_by_key(|worker| std::cmp::Reverse(worker.facts.last_output_at.clone()));
    let with_total = items.into_iter().map(|worker| {
        (WorkerRef { runtime_id: worker.runtime_id, worker_id: worker.worker_id }, worker.transcript_len)
    });
    Ok(with_total.filter(|(_, total)| *total > 0).collect())
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
