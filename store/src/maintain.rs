//! Looking after a store that no runtime has open: `sekisho-runtime store check|export|compact DIR`.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::journal::{
    self, ItemRow, KeptWorker, Maintained, OpenError, ReadError, StoredEvent, WorkerRow, WriteError,
};

/// Why a store could not be looked after.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MaintainError {
    /// It could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It could not be read or written.
    #[error("the store could not be read or written")]
    Store,
    /// What is exported could not be written.
    #[error("what is exported cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl From<ReadError> for MaintainError {
    fn from(_: ReadError) -> Self {
        Self::Store
    }
}

impl From<WriteError> for MaintainError {
    fn from(_: WriteError) -> Self {
        Self::Store
    }
}

/// What a store is found to be like.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Findings {
    /// The version of its format.
    pub version: i64,
    /// How many workers it has.
    pub workers: u64,
    /// How many items of transcripts.
    pub items: u64,
    /// How many events.
    pub events: u64,
    /// What is wrong with it, in words.
    pub faults: Vec<String>,
}

/// Reads everything in a store and says what is wrong with it. It is opened as its runtime would open it: what an end
/// at once has left is put in order.
pub fn check(folder: &Path) -> Result<Findings, MaintainError> {
    let store = Maintained::open(folder)?;
    let mut findings =
        Findings { version: journal::VERSION, faults: store.integrity()?, ..Findings::default() };
    for worker in store.workers()? {
        findings.workers += 1;
        let (no, worker_id, extent) = match worker {
            Ok(worker) => (worker.row.no, worker.row.worker_id, worker.extent),
            Err(damaged) => {
                let worker_id = damaged.worker_id.unwrap_or_else(|| "of no readable id".to_owned());
                findings.faults.push(format!("the record of the worker {worker_id} is damaged"));
                continue;
            }
        };
        let mut expected = extent.items_gone;
        let mut is_whole = true;
        let items: Result<(), ReadError> = store.each_item(no, |item| {
            expected += 1;
            is_whole &= item.sequence == expected;
            findings.items += 1;
            Ok(())
        });
        if items.is_err() || !is_whole || expected != extent.items {
            findings.faults.push(format!("the transcript of the worker {worker_id} is damaged"));
        }
        let mut last = extent.events_after;
        let mut is_sound = true;
        let events: Result<(), ReadError> = store.each_event(no, |event| {
            is_sound &= event.place > last && serde_json::from_str::<&RawValue>(&event.payload).is_ok();
            last = event.place;
            findings.events += 1;
            Ok(())
        });
        if events.is_err() || !is_sound {
            findings.faults.push(format!("the events of the worker {worker_id} are damaged"));
        }
    }
    Ok(findings)
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line<'a> {
    Runtime {
        version: i64,
        runtime_id: &'a str,
        display_name: Option<&'a str>,
        incarnation: &'a str,
    },
    Worker {
        worker_id: &'a str,
        status: &'a str,
        request: &'a RawValue,
        created_at: i64,
        started_at: Option<i64>,
        ended_at: Option<i64>,
        end: Option<&'a sekisho_core::runtime_api::WorkerEnd>,
        items: u64,
        items_gone: u64,
        last_event_id: u64,
    },
    Item {
        worker_id: &'a str,
        sequence: u64,
        event_id: u64,
        at: i64,
        role: &'a str,
        cont: bool,
        content: &'a str,
    },
    Event {
        worker_id: &'a str,
        event_id: u64,
        at: i64,
        payload: &'a RawValue,
    },
}

/// Writes everything in a store as JSON, a line each: the runtime, and each worker with its items and its events. What is
/// damaged is left out and told in the end.
pub fn export(folder: &Path, output: &mut dyn Write) -> Result<Vec<String>, MaintainError> {
    let store = Maintained::open(folder)?;
    let mut faults = Vec::new();
    export_runtime(&store, output)?;
    for worker in store.workers()? {
        match worker {
            Ok(worker) => faults.extend(export_worker(&store, &worker, output)?),
            Err(damaged) => {
                let worker_id = damaged.worker_id.unwrap_or_else(|| "of no readable id".to_owned());
                faults.push(format!("the record of the worker {worker_id} is damaged"));
            }
        }
    }
    Ok(faults)
}

fn export_runtime(store: &Maintained, output: &mut dyn Write) -> Result<(), MaintainError> {
    let runtime = store.runtime()?;
    let line = Line::Runtime {
        version: journal::VERSION,
        runtime_id: &runtime.runtime_id,
        display_name: runtime.display_name.as_deref(),
        incarnation: &runtime.incarnation,
    };
    write(output, &line)
}

/// Writes a worker with its items and its events, and says which of those are damaged.
fn export_worker(
    store: &Maintained,
    worker: &KeptWorker,
    output: &mut dyn Write,
) -> Result<Vec<String>, MaintainError> {
    let (row, extent) = (&worker.row, &worker.extent);
    let worker_id = row.worker_id.as_str();
    // The request was checked when the record was read.
    let Ok(request) = serde_json::from_str(&row.request) else { return Ok(Vec::new()) };
    let line = Line::Worker {
        worker_id,
        status: journal::status_word(row.status),
        request,
        created_at: row.created_at,
        started_at: row.started_at,
        ended_at: row.ended_at,
        end: row.end.as_ref(),
        items: extent.items,
        items_gone: extent.items_gone,
        last_event_id: extent.last_event_id,
    };
    write(output, &line)?;
    let items = export_items(store, row, output);
    let events = export_events(store, row, output);
    let mut faults = Vec::new();
    for (what, result) in [("transcript", items), ("stream", events)] {
        match result {
            Err(MaintainError::Store) => {
                faults.push(format!("the {what} of the worker {worker_id} is damaged"))
            }
            other => other?,
        }
    }
    Ok(faults)
}

fn export_items(store: &Maintained, row: &WorkerRow, output: &mut dyn Write) -> Result<(), MaintainError> {
    let worker_id = row.worker_id.as_str();
    store.each_item(row.no, |ItemRow { sequence, place, at, role, cont, content, .. }| {
        let (role, content) = (&*role, &*content);
        write(output, &Line::Item { worker_id, sequence, event_id: place, at, role, cont, content })
    })
}

fn export_events(store: &Maintained, row: &WorkerRow, output: &mut dyn Write) -> Result<(), MaintainError> {
    let worker_id = row.worker_id.as_str();
    store.each_event(row.no, |StoredEvent { place, at, payload }| match serde_json::from_str(&payload) {
        Ok(payload) => write(output, &Line::Event { worker_id, event_id: place, at, payload }),
        Err(_) => Err(MaintainError::Store),
    })
}

fn write(output: &mut dyn Write, line: &Line<'_>) -> Result<(), MaintainError> {
    let mut text = serde_json::to_vec(line).map_err(|_| MaintainError::Store)?;
    text.push(b'\n');
    output.write_all(&text).map_err(MaintainError::Output)
}

/// Gives room that a store does not need back to the file system. Says how many bytes the store had, and has now.
pub fn compact(folder: &Path) -> Result<(u64, u64), MaintainError> {
    Ok(Maintained::open(folder)?.compact()?)
}

#[cfg(test)]
mod tests;
