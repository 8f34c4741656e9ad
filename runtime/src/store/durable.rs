//! A store that outlasts its runtime: the [`Journal`] of `sekisho-store`.
//!
//! What has just happened is in memory until it is durable, and a little longer, since that is what viewers are shown
//! first. Everything else is read back from the disk when it is asked for.

mod convert;
mod tail;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll};

use sekisho_core::id::{RuntimeId, WorkerId};
use sekisho_store::journal::{
    self, Durability, Identity, ItemWindow, Journal, Options, ReadError, Recovered, Retention, WorkerNo,
    WriteError,
};

use super::{
    Backlog, Loaded, MAX_PAGE_BYTES, Page, Store, StoreError, StoreFigures, StoredItem, Ticket, Write,
};
use crate::incarnation;
use crate::limits::Limits;
use tail::Tail;

pub use sekisho_store::journal::{Durability as StoreDurability, OpenError};

/// How a durable store is kept.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DurableOptions {
    /// When what a worker wrote becomes durable. What a client was told always is.
    pub durability: Durability,
    /// How much of all workers together is kept, in bytes; 4 GiB where it is `None`.
    pub max_bytes: Option<u64>,
    /// How old an item of a transcript may become; `None` for any age.
    pub max_age: Option<std::time::Duration>,
}

/// A store in a folder that this process has to itself (`docs/stores.md`).
pub struct DurableStore {
    journal: Journal,
    durability: Durability,
    inside: Mutex<Inside>,
}

struct Inside {
    /// What was found, until it is asked for.
    recovered: Option<Recovered>,
    workers: BTreeMap<WorkerId, Tail>,
    /// Workers that have ended and are not durable yet, in the order of their ends.
    ended: VecDeque<WorkerId>,
}

impl std::fmt::Debug for DurableStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DurableStore").finish_non_exhaustive()
    }
}

impl DurableStore {
    /// Opens the store of a runtime in a folder, which is made where there is none.
    pub fn open(
        folder: &Path,
        runtime_id: &RuntimeId,
        display_name: Option<String>,
        limits: &Limits,
        options: &DurableOptions,
    ) -> Result<Self, OpenError> {
        let incarnation = incarnation::fresh();
        let identity = Identity { runtime_id: runtime_id.clone(), display_name, incarnation };
        let default = Retention::default();
        let retention = Retention {
            items: limits.max_transcript_items as u64,
            item_bytes: limits.max_transcript_bytes as u64,
            events: limits.max_backlog_events as u64,
            event_bytes: limits.max_backlog_bytes as u64,
            max_age: options.max_age,
            total_bytes: options.max_bytes.unwrap_or(default.total_bytes),
        };
        let durability = options.durability;
        let (journal, recovered) =
            Journal::open(folder, &identity, Options { durability, retention, ..Options::default() })?;
        Ok(Self::over(journal, recovered, durability))
    }

    /// The store over a journal that is open already, with what was recovered of it: over one that its caller
    /// [drives](Journal::driven), for example.
    pub fn over(journal: Journal, recovered: Recovered, durability: Durability) -> Self {
        let inside = Inside { recovered: Some(recovered), workers: BTreeMap::new(), ended: VecDeque::new() };
        Self { journal, durability, inside: Mutex::new(inside) }
    }

    fn lock(&self) -> Result<MutexGuard<'_, Inside>, StoreError> {
        self.inside.lock().map_err(|_| StoreError::Poisoned)
    }

    /// The number of a worker that is known.
    fn number(&self, worker_id: &WorkerId) -> Result<Option<WorkerNo>, StoreError> {
        Ok(self.lock()?.workers.get(worker_id).map(|tail| tail.no))
    }
}

impl Store for DurableStore {
    fn backend(&self) -> &'static str {
        "sqlite"
    }

    fn load(&self) -> Result<Loaded, StoreError> {
        let mut inside = self.lock()?;
        let recovered = inside.recovered.take().ok_or(StoreError::Missing)?;
        let loaded = convert::loaded(recovered);
        for record in &loaded.workers {
            inside.workers.insert(record.worker_id.clone(), Tail::of(record));
        }
        Ok(loaded)
    }

    /// The state was begun when the store was made.
    fn begin(&self, _incarnation: &str) -> Result<(), StoreError> {
        Ok(())
    }

    fn append(&self, worker_id: &WorkerId, writes: Vec<Write>) -> Result<Ticket, StoreError> {
        let mut inside = self.lock()?;
        let known = inside.workers.get(worker_id).map(|tail| tail.no);
        let no = match (known, writes.first()) {
            (Some(no), _) => no,
            (None, Some(Write::Record(record))) => convert::number_of(record),
            (None, _) => return Err(StoreError::Missing),
        };
        if self.journal.is_damaged(no) && !matches!(writes.first(), Some(Write::Forgotten)) {
            return Err(StoreError::Corrupt);
        }
        let records = convert::records(no, &writes, |worker_id| Some(inside.workers.get(worker_id)?.no));
        let ticket = self.journal.note(records);
        inside.take_in(worker_id, writes, ticket);
        let written = self.journal.written();
        if let Some(tail) = inside.workers.get_mut(worker_id) {
            tail.trim(written);
        }
        inside.let_go(written);
        Ok(Ticket(ticket.0))
    }

    fn poll_durable(&self, ticket: Ticket, context: &mut Context<'_>) -> Poll<Result<(), StoreError>> {
        self.journal.poll_durable(journal::Ticket(ticket.0), context).map_err(write_error)
    }

    fn failing(&self) -> Option<StoreError> {
        self.journal.failing().map(write_error)
    }

    fn has_room(&self, worker_id: &WorkerId) -> bool {
        let is_behind = || {
            let newest = self.lock().ok().and_then(|inside| inside.workers.get(worker_id)?.newest_ticket());
            newest.is_some_and(|newest| newest > self.journal.written())
        };
        match self.durability {
            Durability::Commit if self.failing().is_none() => !is_behind(),
            _ => self.journal.has_room(),
        }
    }

    fn page(&self, worker_id: &WorkerId, start: u64, limit: usize) -> Result<Page, StoreError> {
        let inside = self.lock()?;
        let Some(tail) = inside.workers.get(worker_id) else { return Ok(Page::default()) };
        let no = tail.no;
        let from = tail.from();
        let recent = tail.page(start, limit);
        drop(inside);
        let mut items: Vec<StoredItem> = Vec::new();
        if start.saturating_add(1) < from {
            let window = ItemWindow { after: start, limit, max_bytes: MAX_PAGE_BYTES };
            let stored = self.journal.reader().items(no, window).map_err(read_error)?;
            let stored = stored.into_iter().take_while(|item| item.sequence < from);
            items = stored.map(convert::item).collect::<Result<_, _>>()?;
            // A page that is full ends before what is in memory begins.
            if items.last().is_some_and(|item| item.sequence + 1 < from) {
                return Ok(Page { dropped: dropped(&items), items });
            }
        }
        let mut bytes: usize = items.iter().map(|item| item.content.len()).sum();
        for item in recent {
            bytes += item.content.len();
            if items.len() >= limit || bytes > MAX_PAGE_BYTES && !items.is_empty() {
                break;
            }
            items.push(item);
        }
        Ok(Page { dropped: if items.is_empty() { 0 } else { dropped(&items).min(start) }, items })
    }

    fn newest(
        &self,
        worker_id: &WorkerId,
        until: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredItem>, StoreError> {
        let inside = self.lock()?;
        let Some(tail) = inside.workers.get(worker_id) else { return Ok(Vec::new()) };
        let (no, from) = (tail.no, tail.from());
        let (recent, is_full) = tail.newest(until, limit, max_bytes);
        drop(inside);
        if is_full || from <= 1 {
            return Ok(recent);
        }
        let bytes: usize = recent.iter().map(|item| item.content.len()).sum();
        let reader = self.journal.reader();
        let stored = reader
            .newest_items(no, from, until, limit - recent.len(), max_bytes - bytes)
            .map_err(read_error)?;
        let stored: Result<Vec<StoredItem>, _> = stored.into_iter().map(convert::item).collect();
        Ok(stored?.into_iter().chain(recent).collect())
    }

    fn backlog(&self, worker_id: &WorkerId, limit: usize, max_bytes: usize) -> Result<Backlog, StoreError> {
        let Some(no) = self.number(worker_id)? else { return Ok(Backlog::default()) };
        let found = self.journal.reader().newest_events(no, 0, limit, max_bytes).map_err(read_error)?;
        Ok(convert::backlog(found))
    }

    fn figures(&self) -> Option<StoreFigures> {
        let journal::Commits { committed, failed, time } = self.journal.commits();
        Some(StoreFigures { committed, failed, commit_time: time })
    }

    fn close(&self) -> Result<(), StoreError> {
        self.journal.finish().map_err(write_error)
    }
}

/// How many items are missing before the first of a page.
fn dropped(items: &[StoredItem]) -> u64 {
    items.first().map_or(0, |item| item.sequence - 1)
}

impl Inside {
    /// Keeps in memory what is not durable yet.
    fn take_in(&mut self, worker_id: &WorkerId, writes: Vec<Write>, ticket: journal::Ticket) {
        for write in writes {
            match write {
                Write::Record(record) => {
                    if record.has_ended() {
                        self.ended.push_back(worker_id.clone());
                    }
                    self.workers.entry(worker_id.clone()).or_insert_with(|| Tail::of(&record));
                }
                Write::Item(item) => {
                    if let Some(tail) = self.workers.get_mut(worker_id) {
                        tail.push(item, ticket);
                    }
                }
                Write::Forgotten => drop(self.workers.remove(worker_id)),
                Write::Event(_) | Write::Answer(_) => {}
            }
        }
        if let Some(tail) = self.workers.get_mut(worker_id) {
            tail.noted(ticket);
        }
    }

    /// Lets go of what is durable: all of it of workers that have ended, and what is beyond a little of others.
    fn let_go(&mut self, written: journal::Ticket) {
        while let Some(worker_id) = self.ended.front() {
            if let Some(tail) = self.workers.get_mut(worker_id)
                && !tail.clear(written)
            {
                break;
            }
            self.ended.pop_front();
        }
    }
}

fn write_error(error: WriteError) -> StoreError {
    match error {
        WriteError::Damaged => StoreError::Corrupt,
        _ => StoreError::Io,
    }
}

fn read_error(error: ReadError) -> StoreError {
    match error {
        ReadError::Damaged => StoreError::Corrupt,
        _ => StoreError::Io,
    }
}

#[cfg(test)]
mod tests;
