//! A disk on which a simulated runtime keeps its store: what was not synced when the power goes may be lost, and the last of
//! what is not may be torn.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use sekisho_core::id::WorkerId;
use sekisho_runtime::store::{
    Backlog, KeptAnswer, Loaded, Page, Store, StoreError, StoredEvent, StoredItem, Ticket, WorkerRecord,
    Write,
};

use super::chance::Chance;
use super::planted::Planted;

/// How many places are set aside at a time, so that none is ever given out twice.
const RESERVED: u64 = 64;

/// The disk, which outlives the runtimes that write to it.
#[derive(Clone, Default)]
pub(super) struct Disk(Arc<Mutex<Content>>);

#[derive(Default)]
struct Content {
    planted: Option<Planted>,
    /// Which runtime may write: the one since the last crash.
    owner: u64,
    incarnation: Option<String>,
    /// What was written, each time all of it or nothing.
    log: Vec<(WorkerId, Vec<Write>)>,
    /// How many of these will survive.
    synced: usize,
    reserved: u64,
    kept: Kept,
}

/// What the log comes to.
#[derive(Default)]
struct Kept {
    workers: BTreeMap<WorkerId, Worker>,
    answers: Vec<KeptAnswer>,
}

struct Worker {
    record: WorkerRecord,
    items: Vec<StoredItem>,
    events: Vec<StoredEvent>,
}

impl Disk {
    pub(super) fn new(planted: Option<Planted>) -> Self {
        let disk = Self::default();
        disk.content().planted = planted;
        disk
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store of one runtime, until the next crash.
    pub(super) fn store(&self) -> DiskStore {
        let owner = self.content().owner;
        DiskStore { disk: self.clone(), owner }
    }

    /// All of it is gone.
    pub(super) fn wipe(&self) {
        let mut content = self.content();
        let (planted, owner) = (content.planted, content.owner + 1);
        *content = Content { planted, owner, ..Content::default() };
    }

    /// The power goes: of what was not synced, a part is left.
    pub(super) fn crash(&self, chance: &mut Chance) {
        let mut content = self.content();
        content.owner += 1;
        let unsynced = content.log.len() - content.synced;
        let left = content.synced + chance.index(unsynced + 1);
        let torn = content.log.get(left).cloned();
        content.log.truncate(left);
        match content.planted {
            // What was torn is taken for whole.
            Some(Planted::KeepsTornWrites) => content.log.extend(torn.map(|(worker_id, mut writes)| {
                writes.pop();
                (worker_id, writes)
            })),
            // The newest is written down once more.
            Some(Planted::DoublesWrites) => {
                let newest = content.log.iter().rposition(|(_, writes)| writes.iter().any(is_item));
                let again = newest.map(|newest| content.log[newest].clone());
                content.log.extend(again);
            }
            _ => {}
        }
        content.synced = content.log.len();
        let mut kept = Kept::default();
        content.log.iter().for_each(|(worker_id, writes)| kept.take(worker_id, writes.clone()));
        content.kept = kept;
    }
}

fn is_item(write: &Write) -> bool {
    matches!(write, Write::Item(_))
}

impl Kept {
    fn take(&mut self, worker_id: &WorkerId, writes: Vec<Write>) {
        for write in writes {
            match (write, self.workers.get_mut(worker_id)) {
                (Write::Record(record), Some(worker)) => worker.record = *record,
                (Write::Record(record), None) => {
                    let (items, events) = Default::default();
                    self.workers.insert(worker_id.clone(), Worker { record: *record, items, events });
                }
                (Write::Item(item), Some(worker)) => {
                    worker.record.transcript_len = item.sequence;
                    worker.items.push(item);
                }
                (Write::Event(event), Some(worker)) => {
                    worker.record.last_event_id = event.event_id;
                    worker.events.push(event);
                }
                (Write::Answer(answer), _) => self.answers.push(answer),
                (Write::Forgotten, _) => drop(self.workers.remove(worker_id)),
                (Write::Item(_) | Write::Event(_), None) => {}
            }
        }
    }
}

/// What a runtime keeps on a [`Disk`].
pub(super) struct DiskStore {
    disk: Disk,
    owner: u64,
}

impl DiskStore {
    /// The disk, unless it is another runtime's by now.
    fn content(&self) -> Result<MutexGuard<'_, Content>, StoreError> {
        let content = self.disk.content();
        if content.owner == self.owner { Ok(content) } else { Err(StoreError::Io) }
    }
}

impl Store for DiskStore {
    fn backend(&self) -> &'static str {
        "simulated"
    }

    fn load(&self) -> Result<Loaded, StoreError> {
        let content = self.content()?;
        Ok(Loaded {
            incarnation: content.incarnation.clone(),
            last_event_id: content.reserved,
            workers: content.kept.workers.values().map(|worker| worker.record.clone()).collect(),
            answers: content.kept.answers.clone(),
            ..Loaded::default()
        })
    }

    fn begin(&self, incarnation: &str) -> Result<(), StoreError> {
        self.content()?.incarnation = Some(incarnation.to_owned());
        Ok(())
    }

    fn append(&self, worker_id: &WorkerId, writes: Vec<Write>) -> Result<Ticket, StoreError> {
        let mut content = self.content()?;
        for write in &writes {
            if let Write::Event(StoredEvent { event_id, .. }) = write
                && *event_id > content.reserved
            {
                content.reserved = event_id + RESERVED;
            }
        }
        content.kept.take(worker_id, writes.clone());
        content.log.push((worker_id.clone(), writes));
        Ok(Ticket(content.log.len() as u64))
    }

    /// What is waited for is synced.
    fn poll_durable(&self, ticket: Ticket, _: &mut Context<'_>) -> Poll<Result<(), StoreError>> {
        let synced = self.content().map(|mut content| {
            if content.planted != Some(Planted::LosesWrites) {
                content.synced = content.synced.max(usize::try_from(ticket.0).unwrap_or(usize::MAX));
            }
        });
        Poll::Ready(synced)
    }

    fn page(&self, worker_id: &WorkerId, start: u64, limit: usize) -> Result<Page, StoreError> {
        let content = self.content()?;
        let Some(worker) = content.kept.workers.get(worker_id) else { return Ok(Page::default()) };
        let items = worker.items.iter().filter(|item| item.sequence > start).take(limit).cloned().collect();
        Ok(Page { dropped: 0, items })
    }

    fn newest(
        &self,
        worker_id: &WorkerId,
        until: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredItem>, StoreError> {
        let content = self.content()?;
        let Some(worker) = content.kept.workers.get(worker_id) else { return Ok(Vec::new()) };
        let mut bytes = 0;
        let fits = |item: &&StoredItem| {
            bytes += item.content.len();
            bytes <= max_bytes
        };
        let told = worker.items.iter().rev().filter(|item| item.event_id <= until);
        let mut newest: Vec<StoredItem> = told.take(limit).take_while(fits).cloned().collect();
        newest.reverse();
        Ok(newest)
    }

    fn backlog(&self, worker_id: &WorkerId, limit: usize, max_bytes: usize) -> Result<Backlog, StoreError> {
        let content = self.content()?;
        let Some(worker) = content.kept.workers.get(worker_id) else { return Ok(Backlog::default()) };
        let mut bytes = 0;
        let fits = |event: &&StoredEvent| {
            bytes += event.payload.len();
            bytes <= max_bytes
        };
        let mut events: Vec<StoredEvent> =
            worker.events.iter().rev().take(limit).take_while(fits).cloned().collect();
        events.reverse();
        let before =
            worker.events.len().checked_sub(events.len() + 1).map(|index| worker.events[index].event_id);
        Ok(Backlog { before, events })
    }

    fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
