//! A store that lasts as long as its runtime.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll};

use sekisho_core::id::WorkerId;

use super::{Backlog, Loaded, MAX_PAGE_BYTES, Page, Store, StoreError, StoredItem, Ticket, Write};
use crate::bounded::Bounded;
use crate::limits::{ITEM_COST, Limits};
use crate::record::{Phase, WorkerRecord};
use crate::shares::Shares;

/// A store that lasts as long as its runtime: the transcripts of its workers, with bounds for each and for all. The
/// rest the runtime has in memory itself.
pub struct MemoryStore {
    limits: Limits,
    inside: Mutex<Inside>,
}

struct Inside {
    transcripts: BTreeMap<WorkerId, Bounded<StoredItem>>,
    shares: Shares<WorkerId>,
    ends: u64,
}

fn size(item: &StoredItem) -> usize {
    item.content.len() + ITEM_COST
}

impl MemoryStore {
    pub(super) const BACKEND: &str = "memory";

    /// An empty store with these bounds.
    pub fn new(limits: &Limits) -> Self {
        let inside = Inside {
            transcripts: BTreeMap::new(),
            shares: Shares::new(limits.max_total_transcript_bytes),
            ends: 0,
        };
        Self { limits: limits.clone(), inside: Mutex::new(inside) }
    }

    fn lock(&self) -> Result<MutexGuard<'_, Inside>, StoreError> {
        self.inside.lock().map_err(|_| StoreError::Poisoned)
    }
}

impl Inside {
    fn take(&mut self, worker_id: &WorkerId, write: Write, limits: &Limits) -> Result<(), StoreError> {
        match write {
            Write::Record(record) => self.note(&record, limits),
            Write::Item(item) => {
                let items = self.transcripts.get_mut(worker_id).ok_or(StoreError::Missing)?;
                items.push(item);
                self.shares.set(worker_id, items.bytes());
                self.reduce();
            }
            Write::Forgotten => {
                self.transcripts.remove(worker_id);
                self.shares.remove(worker_id);
            }
            // The runtime has those in memory itself.
            Write::Event(_) | Write::Answer(_) => {}
        }
        Ok(())
    }

    fn note(&mut self, record: &WorkerRecord, limits: &Limits) {
        let WorkerRecord { worker_id, .. } = record;
        if !self.transcripts.contains_key(worker_id) {
            let items = Bounded::new(limits.max_transcript_items, limits.max_transcript_bytes, size);
            self.transcripts.insert(worker_id.clone(), items);
            self.shares.set(worker_id, 0);
        }
        if matches!(record.phase, Phase::Ended { .. }) {
            self.ends += 1;
            self.shares.ended(worker_id, self.ends);
        }
    }

    /// Lets go of the oldest items where all transcripts together are over their bound.
    fn reduce(&mut self) {
        let mut exhausted = Vec::new();
        while let Some(reduction) = self.shares.reduction(&exhausted) {
            let Some(items) = self.transcripts.get_mut(&reduction.owner) else { return };
            if items.reduce(reduction.max_bytes).is_none() {
                exhausted.push(reduction.owner);
                continue;
            }
            self.shares.set(&reduction.owner, items.bytes());
        }
    }
}

impl Store for MemoryStore {
    fn backend(&self) -> &'static str {
        Self::BACKEND
    }

    fn load(&self) -> Result<Loaded, StoreError> {
        Ok(Loaded::default())
    }

    fn begin(&self, _incarnation: &str) -> Result<(), StoreError> {
        Ok(())
    }

    fn append(&self, worker_id: &WorkerId, writes: Vec<Write>) -> Result<Ticket, StoreError> {
        let mut inside = self.lock()?;
        let makes_it = matches!(writes.first(), Some(Write::Record(_)));
        if !makes_it && !inside.transcripts.contains_key(worker_id) {
            return Err(StoreError::Missing);
        }
        for write in writes {
            inside.take(worker_id, write, &self.limits)?;
        }
        Ok(Ticket::default())
    }

    fn poll_durable(&self, _ticket: Ticket, _context: &mut Context<'_>) -> Poll<Result<(), StoreError>> {
        Poll::Ready(Ok(()))
    }

    fn page(&self, worker_id: &WorkerId, start: u64, limit: usize) -> Result<Page, StoreError> {
        let inside = self.lock()?;
        let Some(items) = inside.transcripts.get(worker_id) else { return Ok(Page::default()) };
        let skip = usize::try_from(start.saturating_sub(items.dropped())).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let fits = |item: &&StoredItem| {
            let first = bytes == 0;
            bytes += item.content.len();
            first || bytes <= MAX_PAGE_BYTES
        };
        let items_of_page = items.queue().iter().skip(skip).take(limit).take_while(fits).cloned().collect();
        Ok(Page { dropped: items.dropped(), items: items_of_page })
    }

    fn newest(
        &self,
        worker_id: &WorkerId,
        until: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredItem>, StoreError> {
        let inside = self.lock()?;
        let Some(items) = inside.transcripts.get(worker_id) else { return Ok(Vec::new()) };
        let end = items.queue().partition_point(|item| item.event_id <= until);
        let mut bytes = 0;
        let fits = |item: &&StoredItem| {
            bytes += item.content.len();
            bytes <= max_bytes
        };
        let mut newest: Vec<_> =
            items.queue().range(..end).rev().take(limit).take_while(fits).cloned().collect();
        newest.reverse();
        Ok(newest)
    }

    fn backlog(&self, _: &WorkerId, _: usize, _: usize) -> Result<Backlog, StoreError> {
        Ok(Backlog::default())
    }

    fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
