use std::sync::Arc;

use sekisho_core::runtime_api::{EndReason, WorkerEnd};

use super::super::{Role, Timestamp};
use super::*;
use crate::records::tests::record;

struct Fixture {
    store: MemoryStore,
    worker_id: WorkerId,
    event_id: u64,
    sequence: u64,
}

fn fixture(limits: Limits) -> Fixture {
    let store = MemoryStore::new(&limits);
    let worker_id: WorkerId = "w".parse().unwrap();
    store.append(&worker_id, vec![Write::Record(Box::new(record("w", 1)))]).unwrap();
    Fixture { store, worker_id, event_id: 1, sequence: 0 }
}

impl Fixture {
    fn say(&mut self, text: &Arc<str>) {
        self.event_id += 1;
        self.sequence += 1;
        say(&self.store, &self.worker_id, self.sequence, self.event_id, text);
    }

    /// How many items are gone, and the sequences of those of a page.
    fn page(&self, start: u64, limit: usize) -> (u64, Vec<u64>) {
        let page = self.store.page(&self.worker_id, start, limit).unwrap();
        (page.dropped, page.items.iter().map(|item| item.sequence).collect())
    }
}

fn say(store: &MemoryStore, worker_id: &WorkerId, sequence: u64, event_id: u64, text: &Arc<str>) {
    let item = StoredItem {
        sequence,
        role: Role::Assistant,
        content: Arc::clone(text),
        event_id,
        at: Timestamp::default(),
        cont: false,
    };
    store.append(worker_id, vec![Write::Item(item)]).unwrap();
}

#[test]
fn transcripts_are_read_by_the_page() {
    let mut fixture = fixture(Limits::default());
    assert_eq!(fixture.page(0, 5), (0, vec![]));
    for _ in 1..=3 {
        fixture.say(&"x".into());
    }
    assert_eq!(fixture.page(0, 256), (0, vec![1, 2, 3]));
    assert_eq!(fixture.page(1, 1), (0, vec![2]));
    assert_eq!(fixture.page(3, 1), (0, vec![]));
    assert_eq!(fixture.page(u64::MAX, 1), (0, vec![]));
    assert_eq!(fixture.page(0, 0), (0, vec![]));
}

#[test]
fn the_oldest_items_go_by_number() {
    let mut fixture = fixture(Limits { max_transcript_items: 100, ..Limits::default() });
    for _ in 0..110 {
        fixture.say(&"x".into());
    }
    assert_eq!(fixture.page(0, 2), (10, vec![11, 12]));
    assert_eq!(fixture.page(11, 1), (10, vec![12]));
}

#[test]
fn the_oldest_items_go_by_size() {
    let mut fixture =
        fixture(Limits { max_transcript_bytes: 16 * (MAX_PAGE_BYTES + ITEM_COST), ..Limits::default() });
    let text: Arc<str> = "x".repeat(MAX_PAGE_BYTES).into();
    for _ in 0..20 {
        fixture.say(&text);
    }
    assert_eq!(fixture.page(0, 256), (4, vec![5]));
}

#[test]
fn all_transcripts_together_are_bounded() {
    let text: Arc<str> = "x".repeat(1000 - ITEM_COST).into();
    let store = MemoryStore::new(&Limits { max_total_transcript_bytes: 64_000, ..Limits::default() });
    let ids: Vec<WorkerId> = (0..4).map(|number| format!("w{number}").parse().unwrap()).collect();
    for worker_id in &ids {
        store.append(worker_id, vec![Write::Record(Box::new(record(worker_id.as_str(), 1)))]).unwrap();
    }
    let end = WorkerEnd { reason: EndReason::Exited, exit_code: None, signal: None, message: None };
    let phase = Phase::Ended { end, at: Timestamp::default(), event_id: 1 };
    for sequence in 1..=16 {
        for worker_id in &ids {
            say(&store, worker_id, sequence, sequence, &text);
        }
    }
    let kept = |worker_id: &WorkerId| store.page(worker_id, 0, 256).unwrap().items.len();
    assert_eq!(ids.iter().map(kept).collect::<Vec<_>>(), [16; 4]);
    let ended = WorkerRecord { phase, ..record("w2", 1) };
    store.append(&ids[2], vec![Write::Record(Box::new(ended))]).unwrap();
    for sequence in 17..=36 {
        say(&store, &ids[0], sequence, sequence, &text);
    }
    // One that has ended keeps its last item; of the others the largest pays.
    let kept: Vec<usize> = ids.iter().map(kept).collect();
    assert_eq!((kept[1], kept[2], kept[3]), (16, 1, 16), "{kept:?}");
    assert!((25..=31).contains(&kept[0]), "{kept:?}");
    assert!(store.lock().unwrap().shares.bytes() <= 64_000);
}

#[test]
fn the_newest_items_are_told_up_to_an_event() {
    let mut fixture = fixture(Limits::default());
    for text in ["1", "22", "333", "4444"] {
        fixture.say(&text.into());
    }
    let newest = |until, limit, max_bytes| {
        let items = fixture.store.newest(&fixture.worker_id, until, limit, max_bytes).unwrap();
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
    assert_eq!(fixture.store.newest(&"other".parse().unwrap(), 1, 1, 1), Ok(vec![]));
}

#[test]
fn what_is_forgotten_is_gone() {
    let mut fixture = fixture(Limits::default());
    fixture.say(&"x".into());
    fixture.store.append(&fixture.worker_id, vec![Write::Forgotten]).unwrap();
    assert_eq!(fixture.page(0, 9), (0, vec![]));
    assert_eq!(fixture.store.append(&fixture.worker_id, vec![Write::Forgotten]), Err(StoreError::Missing));
}
