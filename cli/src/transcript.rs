//! Transcripts, read page by page.

use std::ops::{ControlFlow, Range};

use sekisho_core::error::ErrorKind;
use sekisho_core::gateway_client::Problem;
use sekisho_core::id::WorkerRef;
use sekisho_core::runtime_api::{Command, Contains};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::backend::{Backend, read};
use crate::failure::Failure;
use crate::render::Entry;
use crate::requests::of;

/// How many items are asked for at once. A runtime may give fewer.
const PAGE: u64 = 256;

/// How many items of a history are shown before what a worker says now.
const HISTORY: u64 = 256;

/// An item, as far as it is shown.
#[derive(Deserialize)]
pub(crate) struct Item {
    pub(crate) sequence: u64,
    pub(crate) role: String,
    pub(crate) content: String,
    #[serde(default)]
    pub(crate) at: Option<String>,
    #[serde(default)]
    pub(crate) cont: bool,
}

#[derive(Deserialize)]
struct Reply {
    transcript: Page,
}

#[derive(Deserialize)]
struct Page {
    total_items: u64,
    items: Vec<Box<RawValue>>,
    next_start: Option<u64>,
    #[serde(default)]
    dropped: u64,
}

/// The newest items, as entries of a history, and how many items there are in all.
pub(crate) fn newest(backend: &dyn Backend, worker: &WorkerRef) -> Result<(Vec<Entry>, u64), Failure> {
    since(backend, worker, total(backend, worker)?.saturating_sub(HISTORY))
}

/// The items from an offset on, as entries of a history, and how many items there are in all.
pub(crate) fn since(
    backend: &dyn Backend,
    worker: &WorkerRef,
    start: u64,
) -> Result<(Vec<Entry>, u64), Failure> {
    let mut entries = Vec::new();
    let next = pages(backend, worker, start, |found| {
        if let Found::Item { item, .. } = found {
            entries.push(Entry { role: item.role, content: item.content, continues: item.cont });
        }
        Ok(())
    })?;
    Ok((entries, next))
}

/// How many items there are.
pub(crate) fn total(backend: &dyn Backend, worker: &WorkerRef) -> Result<u64, Failure> {
    Ok(page(backend, worker, 0, 1, None)?.total_items)
}

/// Why items cannot be chosen by their times.
pub(crate) const TIMES_UNKNOWN: &str = "the runtime does not tell when items were said";

/// The offset of the first of `total` items that was not said `before`, which is asked of their times; `None` where the
/// runtime does not tell them.
pub(crate) fn first_after(
    backend: &dyn Backend,
    worker: &WorkerRef,
    total: u64,
    before: impl Fn(&str) -> bool,
) -> Result<Option<u64>, Failure> {
    // Times do not go back: it is found by halving.
    let (mut low, mut high) = (0, total);
    while low < high {
        let middle = low + (high - low) / 2;
        let Some(at) = said_at(backend, worker, middle)? else { return Ok(None) };
        if before(&at) { low = middle + 1 } else { high = middle }
    }
    Ok(Some(low))
}

/// When the item at an offset was said, if the runtime tells.
fn said_at(backend: &dyn Backend, worker: &WorkerRef, offset: u64) -> Result<Option<String>, Failure> {
    let items = page(backend, worker, offset, 1, None)?.items;
    Ok(items.first().and_then(|item| serde_json::from_str::<Item>(item.get()).ok()?.at))
}

/// One page. One that is too large as a whole is asked for in smaller ones, down to one item.
fn page(
    backend: &dyn Backend,
    worker: &WorkerRef,
    start: u64,
    limit: u64,
    contains: Option<&Contains>,
) -> Result<Page, Failure> {
    let mut limit = limit;
    loop {
        let (worker_id, contains) = (worker.worker_id.clone(), contains.cloned());
        let command = Command::Transcript { worker_id, start: Some(start), limit: Some(limit), contains };
        match backend.ask(&of(worker, command)) {
            Ok(body) => return Ok(read::<Reply>(&body)?.transcript),
            Err(problem) if limit > 1 && (is_too_large(&problem) || has_smaller_pages(&problem)) => {
                limit /= 2
            }
            Err(problem) => return Err(problem.into()),
        }
    }
}

fn is_too_large(problem: &Problem) -> bool {
    problem.code == ErrorKind::ResponseTooLarge.code()
}

/// Whether a runtime says that its pages have fewer items.
fn has_smaller_pages(problem: &Problem) -> bool {
    problem.runtime_code.as_deref() == Some("limit_too_large")
}

/// What a transcript has next.
pub(crate) enum Found<'a> {
    /// An item, and how it was written.
    Item { item: Item, json: &'a str },
    /// The item of this number, counted from one, is too large to be read.
    TooLarge(u64),
    /// So many items are no longer kept.
    Dropped(u64),
}

/// Passes on all items from an offset on; where it would go on.
pub(crate) fn pages(
    backend: &dyn Backend,
    worker: &WorkerRef,
    mut start: u64,
    mut pass_on: impl FnMut(Found<'_>) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    loop {
        let Page { items, next_start, dropped, .. } = match page(backend, worker, start, PAGE, None) {
            Ok(page) => page,
            Err(Failure::Problem { problem, .. }) if is_too_large(&problem) => {
                start += 1;
                pass_on(Found::TooLarge(start))?;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        if dropped > 0 {
            pass_on(Found::Dropped(dropped))?;
        }
        let count = dropped + items.len() as u64;
        for json in &items {
            let item = serde_json::from_str(json.get()).map_err(|_| Box::new(Problem::unexpected_body()))?;
            pass_on(Found::Item { item, json: json.get() })?;
        }
        match next_start {
            // A runtime that does not get any further, or has nothing to show for it, is asked no more.
            Some(next) if next > start && count > 0 => start = next,
            _ => return Ok(start + count),
        }
    }
}

/// Passes on those items at these offsets that hold a text, newest first, until `pass_on` wants no more. The items of a
/// page that is too large to be read are passed over, and counted.
pub(crate) fn search(
    backend: &dyn Backend,
    worker: &WorkerRef,
    offsets: Range<u64>,
    contains: &Contains,
    mut pass_on: impl FnMut(Item, &str) -> Result<ControlFlow<()>, Failure>,
) -> Result<u64, Failure> {
    let (mut end, mut size, mut unread) = (offsets.end, PAGE, 0);
    while end > offsets.start {
        let start = end.saturating_sub(size).max(offsets.start);
        let found = match page(backend, worker, start, end - start, Some(contains)) {
            Ok(found) => found,
            Err(Failure::Problem { problem, .. }) if is_too_large(&problem) => {
                (end, unread) = (end - 1, unread + 1);
                continue;
            }
            Err(failure) => return Err(failure),
        };
        // A runtime may give fewer than it was asked for: then the end of the part is asked for, and smaller parts.
        if let Some(next) = found.next_start.filter(|next| *next < end && *next > start) {
            size = (next - start).max(1);
            continue;
        }
        for json in found.items.iter().rev() {
            let item: Item =
                serde_json::from_str(json.get()).map_err(|_| Box::new(Problem::unexpected_body()))?;
            // Where the beginning is no longer kept, a page begins after it, with what was searched before.
            if item.sequence <= end && pass_on(item, json.get())?.is_break() {
                return Ok(unread);
            }
        }
        end = if found.dropped > 0 { offsets.start } else { start };
    }
    Ok(unread)
}
