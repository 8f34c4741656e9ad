//! A store that lasts as long as its runtime.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::{CreateWorker, WorkerStatus};

use super::{
    Census, Change, Entry, MAX_PAGE_BYTES, Page, Standing, Store, StoreError, StoredItem, WorkerRecord,
};
use crate::bounded::Bounded;

/// How many items of a worker's transcript are kept; the oldest go first.
pub(crate) const MAX_ITEMS: usize = 65_536;

/// How much text of a worker's transcript is kept, in bytes; the oldest goes first.
pub(crate) const MAX_ITEM_BYTES: usize = 16 * 1024 * 1024;

struct Worker {
    worker_id: WorkerId,
    made_of: Arc<CreateWorker>,
    standing: Standing,
    items: Bounded<StoredItem>,
    last_event_id: u64,
}

impl Worker {
    fn record(&self) -> WorkerRecord {
        WorkerRecord {
            worker_id: self.worker_id.clone(),
            made_of: Arc::clone(&self.made_of),
            standing: self.standing,
            transcript_len: self.items.total(),
            last_event_id: self.last_event_id,
        }
    }
}

#[derive(Default)]
struct Workers {
    in_order: Vec<Worker>,
    index: BTreeMap<WorkerId, usize>,
}

impl Workers {
    fn find(&self, worker_id: &WorkerId) -> Option<&Worker> {
        self.in_order.get(*self.index.get(worker_id)?)
    }

    fn find_mut(&mut self, worker_id: &WorkerId) -> Option<&mut Worker> {
        self.in_order.get_mut(*self.index.get(worker_id)?)
    }

    fn add(&mut self, worker_id: &WorkerId, made_of: &Arc<CreateWorker>) {
        self.index.insert(worker_id.clone(), self.in_order.len());
        self.in_order.push(Worker {
            worker_id: worker_id.clone(),
            made_of: Arc::clone(made_of),
            standing: Standing { status: WorkerStatus::Running, ended_by: None },
            items: Bounded::new(MAX_ITEMS, MAX_ITEM_BYTES, |item| item.content.len()),
            last_event_id: 0,
        });
    }
}

/// A store that lasts as long as its runtime, with bounds on what it keeps of each worker.
#[derive(Default)]
pub(crate) struct MemoryStore {
    workers: Mutex<Workers>,
}

impl MemoryStore {
    fn lock(&self) -> Result<MutexGuard<'_, Workers>, StoreError> {
        self.workers.lock().map_err(|_| StoreError::Poisoned)
    }
}

impl Store for MemoryStore {
    fn backend(&self) -> &'static str {
        "memory"
    }

    fn append(&self, worker_id: &WorkerId, entry: Entry) -> Result<u64, StoreError> {
        let mut workers = self.lock()?;
        let Entry { event, change } = entry;
        if let Some(Change::Created(made_of)) = &change {
            workers.add(worker_id, made_of);
        }
        let worker = workers.find_mut(worker_id).ok_or(StoreError::Missing)?;
        let event_id = event.event_id;
        match change {
            None | Some(Change::Created(_)) => {}
            Some(Change::Said(role, content)) => {
                let sequence = worker.items.total() + 1;
                worker.items.push(StoredItem { sequence, role, content, event_id });
            }
            Some(Change::Ended(status)) => worker.standing = Standing { status, ended_by: Some(event_id) },
        }
        worker.last_event_id = event_id;
        Ok(worker.items.total())
    }

    fn commit(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn standing(&self, worker_id: &WorkerId) -> Result<Option<Standing>, StoreError> {
        Ok(self.lock()?.find(worker_id).map(|worker| worker.standing))
    }

    fn worker(&self, worker_id: &WorkerId) -> Result<Option<WorkerRecord>, StoreError> {
        Ok(self.lock()?.find(worker_id).map(Worker::record))
    }

    fn workers(&self) -> Result<Vec<WorkerRecord>, StoreError> {
        Ok(self.lock()?.in_order.iter().map(Worker::record).collect())
    }

    fn census(&self) -> Result<Census, StoreError> {
        let mut census = Census::default();
        for worker in &self.lock()?.in_order {
            match worker.standing.status {
                WorkerStatus::Running => census.running += 1,
                WorkerStatus::Cancelled => census.cancelled += 1,
                WorkerStatus::Stopped | WorkerStatus::Unknown => census.stopped += 1,
            }
        }
        Ok(census)
    }

    fn page(&self, worker_id: &WorkerId, start: u64, limit: usize) -> Result<Option<Page>, StoreError> {
        let workers = self.lock()?;
        let Some(Worker { items, .. }) = workers.find(worker_id) else { return Ok(None) };
        let skip = usize::try_from(start.saturating_sub(items.dropped())).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let fits = |item: &&StoredItem| {
            let first = bytes == 0;
            bytes += item.content.len();
            first || bytes <= MAX_PAGE_BYTES
        };
        let items_of_page = items.queue().iter().skip(skip).take(limit).take_while(fits).cloned().collect();
        Ok(Some(Page { total: items.total(), items: items_of_page }))
    }

    fn newest(
        &self,
        worker_id: &WorkerId,
        until: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Option<Vec<StoredItem>>, StoreError> {
        let workers = self.lock()?;
        let Some(Worker { items, .. }) = workers.find(worker_id) else { return Ok(None) };
        let end = items.queue().partition_point(|item| item.event_id <= until);
        let mut bytes = 0;
        let fits = |item: &&StoredItem| {
            bytes += item.content.len();
            bytes <= max_bytes
        };
        let mut newest: Vec<_> =
            items.queue().range(..end).rev().take(limit).take_while(fits).cloned().collect();
        newest.reverse();
        Ok(Some(newest))
    }
}

#[cfg(test)]
mod tests {
    use sekisho_core::runtime_api::{Intent, Profile};

    use super::super::Role;
    use super::*;
    use crate::event::{Activity, Event, NumberedEvent};

    struct Fixture {
        store: MemoryStore,
        worker_id: WorkerId,
        event_id: u64,
    }

    fn fixture() -> Fixture {
        let store = MemoryStore::default();
        let worker_id: WorkerId = "w".parse().unwrap();
        let made_of = CreateWorker::new(Intent::Assistant { purpose: None }, Profile::RuntimeDefault);
        let change = Some(Change::Created(Arc::new(made_of)));
        store.append(&worker_id, entry(1, Event::Status { status: Activity::Idle }, change)).unwrap();
        Fixture { store, worker_id, event_id: 1 }
    }

    fn entry(event_id: u64, event: Event, change: Option<Change>) -> Entry {
        Entry { event: NumberedEvent { event_id, event }, change }
    }

    impl Fixture {
        fn say(&mut self, text: &Arc<str>) -> u64 {
            self.event_id += 1;
            let event = Event::TextDelta { text: Arc::clone(text) };
            let change = Some(Change::Said(Role::Assistant, Arc::clone(text)));
            self.store.append(&self.worker_id, entry(self.event_id, event, change)).unwrap()
        }

        fn page(&self, start: u64, limit: usize) -> (u64, Vec<u64>) {
            let page = self.store.page(&self.worker_id, start, limit).unwrap().unwrap();
            (page.total, page.items.iter().map(|item| item.sequence).collect())
        }
    }

    #[test]
    fn transcripts_are_read_by_the_page() {
        let mut fixture = fixture();
        assert_eq!(fixture.page(0, 5), (0, vec![]));
        for sequence in 1..=3 {
            assert_eq!(fixture.say(&"x".into()), sequence);
        }
        assert_eq!(fixture.page(0, 256), (3, vec![1, 2, 3]));
        assert_eq!(fixture.page(1, 1), (3, vec![2]));
        assert_eq!(fixture.page(3, 1), (3, vec![]));
        assert_eq!(fixture.page(u64::MAX, 1), (3, vec![]));
        assert_eq!(fixture.page(0, 0), (3, vec![]));
    }

    #[test]
    fn the_oldest_items_go_but_still_count() {
        let mut fixture = fixture();
        let text: Arc<str> = "x".into();
        for _ in 0..MAX_ITEMS + 10 {
            fixture.say(&text);
        }
        assert_eq!(fixture.page(0, 2), (MAX_ITEMS as u64 + 10, vec![11, 12]));
        assert_eq!(fixture.page(11, 1), (MAX_ITEMS as u64 + 10, vec![12]));
    }

    #[test]
    fn text_is_bounded_too() {
        let mut fixture = fixture();
        let text: Arc<str> = "x".repeat(MAX_PAGE_BYTES).into();
        for _ in 0..20 {
            fixture.say(&text);
        }
        assert_eq!(fixture.page(0, 256), (20, vec![5]));
        let oversized: Arc<str> = "x".repeat(MAX_ITEM_BYTES + 1).into();
        fixture.say(&oversized);
        assert_eq!(fixture.page(0, 256), (21, vec![21]));
        fixture.say(&"".into());
        assert_eq!(fixture.page(0, 256), (22, vec![22]));
    }

    #[test]
    fn the_newest_items_are_told_up_to_an_event() {
        let mut fixture = fixture();
        for text in ["1", "22", "333", "4444"] {
            fixture.say(&text.into());
        }
        let newest = |until, limit, max_bytes| {
            let items = fixture.store.newest(&fixture.worker_id, until, limit, max_bytes).unwrap().unwrap();
            items.iter().map(|item| item.sequence).collect::<Vec<_>>()
        };
        for (until, limit, max_bytes, expected) in [
            (u64::MAX, 9, 99, &[1, 2, 3, 4][..]),
            (5, 9, 99, &[1, 2, 3, 4]),
            (4, 9, 99, &[1, 2, 3]),
            (1, 9, 99, &[]),
            (5, 2, 99, &[3, 4]),
            (5, 0, 99, &[]),
            (5, 9, 7, &[3, 4]),
            (5, 9, 6, &[4]),
            (5, 9, 3, &[]),
            (4, 9, 5, &[2, 3]),
        ] {
            assert_eq!(newest(until, limit, max_bytes), expected, "{until} {limit} {max_bytes}");
        }
        assert_eq!(fixture.store.newest(&"other".parse().unwrap(), 1, 1, 1), Ok(None));
    }

    #[test]
    fn an_end_is_an_event() {
        let Fixture { store, worker_id, .. } = fixture();
        assert_eq!(store.census(), Ok(Census { running: 1, ..Census::default() }));
        let change = Some(Change::Ended(WorkerStatus::Cancelled));
        store.append(&worker_id, entry(7, Event::Status { status: Activity::Paused }, change)).unwrap();
        let standing = Standing { status: WorkerStatus::Cancelled, ended_by: Some(7) };
        assert_eq!(store.standing(&worker_id), Ok(Some(standing)));
        assert_eq!(store.worker(&worker_id).unwrap().unwrap().last_event_id, 7);
        assert_eq!(store.census(), Ok(Census { cancelled: 1, ..Census::default() }));
        let unknown = "other".parse().unwrap();
        assert_eq!(store.standing(&unknown), Ok(None));
        assert_eq!(
            store.append(&unknown, entry(8, Event::stderr("x".into()), None)),
            Err(StoreError::Missing)
        );
    }
}
