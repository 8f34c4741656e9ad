//! Transcripts, read page by page.

use sekisho_core::error::ErrorKind;
use sekisho_core::gateway_client::Problem;
use sekisho_core::id::WorkerRef;
use sekisho_core::runtime_api::Command;
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
        entries.extend(found.item.map(|item| Entry {
            role: item.role,
            content: item.content,
            continues: item.cont,
        }));
        Ok(())
    })?;
    Ok((entries, next))
}

/// How many items there are.
pub(crate) fn total(backend: &dyn Backend, worker: &WorkerRef) -> Result<u64, Failure> {
    Ok(page(backend, worker, 0, 1)?.total_items)
}

/// When the item at an offset was said, if the runtime tells.
pub(crate) fn said_at(
    backend: &dyn Backend,
    worker: &WorkerRef,
    offset: u64,
) -> Result<Option<String>, Failure> {
    let items = page(backend, worker, offset, 1)?.items;
    Ok(items.first().and_then(|item| serde_json::from_str::<Item>(item.get()).ok()?.at))
}

/// One page. One that is too large as a whole is asked for in smaller ones, down to one item.
fn page(backend: &dyn Backend, worker: &WorkerRef, start: u64, limit: u64) -> Result<Page, Failure> {
    let mut limit = limit;
    loop {
        let worker_id = worker.worker_id.clone();
        let command = Command::Transcript { worker_id, start: Some(start), limit: Some(limit) };
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

/// An item that was found.
pub(crate) struct Found<'a> {
    /// `None` where it is too large to be read.
    pub(crate) item: Option<Item>,
    /// As it was written.
    pub(crate) json: &'a str,
    /// Counted from one.
    pub(crate) number: u64,
}

/// Passes on all items from an offset on; where it would go on.
pub(crate) fn pages(
    backend: &dyn Backend,
    worker: &WorkerRef,
    mut start: u64,
    mut pass_on: impl FnMut(Found<'_>) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    loop {
        let Page { items, next_start, .. } = match page(backend, worker, start, PAGE) {
            Ok(page) => page,
            Err(Failure::Problem { problem, .. }) if is_too_large(&problem) => {
                start += 1;
                pass_on(Found { item: None, json: "null", number: start })?;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let count = items.len() as u64;
        for (number, json) in (start + 1..).zip(&items) {
            let item = serde_json::from_str(json.get()).map_err(|_| Box::new(Problem::unexpected_body()))?;
            pass_on(Found { item: Some(item), json: json.get(), number })?;
        }
        match next_start {
            // A runtime that does not get any further, or has nothing to show for it, is asked no more.
            Some(next) if next > start && count > 0 => start = next,
            _ => return Ok(start + count),
        }
    }
}
