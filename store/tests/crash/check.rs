//! What must hold of a store whose owner was killed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use sekisho_store::archive::{Archive, Window};
use sekisho_store::journal::{ForeignStore, ItemWindow, Journal, KeptWorker};
use sekisho_store::problem::Problem;

use super::owner::{content, identity, options};

/// What the owner has told of one worker.
#[derive(Clone, Default)]
pub(crate) struct Told {
    /// The newest item that was acknowledged.
    pub(crate) acknowledged: u64,
    /// The largest place that was told to anybody.
    place: u64,
}

impl Told {
    pub(crate) fn hear(told: &mut BTreeMap<String, Self>, lines: &[String]) {
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |position: usize| words[position].parse::<u64>().expect("a number");
            match words[0] {
                "created" => drop(told.entry(words[1].to_owned()).or_default()),
                "item" => {
                    let worker = told.entry(words[1].to_owned()).or_default();
                    worker.acknowledged = worker.acknowledged.max(number(2));
                    worker.place = worker.place.max(number(3));
                }
                "told" => {
                    let any = told.entry("any".to_owned()).or_default();
                    any.place = any.place.max(number(1));
                }
                // Where the owner went on from must be behind everything that was told before.
                "places" => {
                    let largest = told.values().map(|told| told.place).max().unwrap_or(0);
                    assert!(number(1) >= largest, "{line} after {largest}");
                }
                _ => panic!("{line}"),
            }
        }
    }
}

/// Opens a store as its next owner would. `lasting` is whether what was acknowledged must be there.
pub(crate) fn check(folder: &Path, told: &BTreeMap<String, Told>, lasting: bool) {
    // Nothing is let go of while this looks.
    let (journal, recovered) = match Journal::open(folder, &identity(), options()) {
        Ok(opened) => opened,
        // A log that lost all of it leaves a database in which nothing was begun.
        Err(error) if !lasting => panic!("a torn log must not keep a store from being opened: {error}"),
        Err(error) => panic!("the store does not open: {error}"),
    };
    assert!(recovered.damaged.is_empty());
    let largest = told.values().map(|told| told.place).max().unwrap_or(0);
    assert!(recovered.last_place >= largest, "{} is before {largest}", recovered.last_place);
    let keys: BTreeSet<String> = recovered.answers.iter().map(|answer| answer.key.to_string()).collect();
    for (no, told) in told.iter().filter(|(no, _)| *no != "any") {
        let worker = recovered.workers.iter().find(|worker| worker.row.no.to_string() == *no);
        let worker = worker.unwrap_or_else(|| panic!("worker {no} is gone"));
        let items = worker.extent.items;
        assert!(items >= told.acknowledged, "worker {no}: {items} of {}", told.acknowledged);
        let key = format!("{no}-{}", told.acknowledged);
        assert!(told.acknowledged == 0 || keys.contains(&key), "the answer under {key} is gone");
    }
    for worker in &recovered.workers {
        check_worker(&journal, worker);
    }
}

fn check_worker(journal: &Journal, KeptWorker { row, extent }: &KeptWorker) {
    let window = ItemWindow { after: 0, limit: usize::MAX, max_bytes: usize::MAX };
    let items = journal.reader().items(row.no, window).expect("items");
    let events = journal.reader().newest_events(row.no, 0, usize::MAX, usize::MAX).expect("events").events;
    let first = items.first().map_or(extent.items, |item| item.sequence - 1);
    // More may have gone since the record was read.
    assert!(first >= extent.items_gone);
    let expected: Vec<u64> = (first + 1..=extent.items).collect();
    assert_eq!(items.iter().map(|item| item.sequence).collect::<Vec<_>>(), expected, "worker {}", row.no);
    for item in &items {
        assert_eq!(*item.content, content(row.no, item.sequence));
    }
    assert!(events.is_sorted_by(|one, next| one.place < next.place));
    if let (Some(event), Some(item)) = (events.last(), items.last()) {
        assert_eq!((event.place, item.place), (extent.last_event_id, extent.last_event_id), "half of a note");
    }
    let places: BTreeSet<u64> = items.iter().map(|item| item.place).collect();
    for event in &events {
        assert!(places.contains(&event.place), "an event without its item");
    }
}

/// Reads a store for a while as its owner writes it: always a beginning of what is written, and more each time.
pub(crate) fn read_beside(folder: &Path, time: Duration) {
    let reader = ForeignStore::new(folder, identity().runtime_id);
    let until = Instant::now() + time;
    let mut known: BTreeMap<String, u64> = BTreeMap::new();
    while Instant::now() < until {
        let listed = match reader.workers() {
            Ok(listed) => listed,
            Err(Problem::Busy) => continue,
            Err(problem) => panic!("the store {problem}"),
        };
        assert!(listed.problems.is_empty());
        for worker in listed.workers {
            let window = Window { start: 0, limit: usize::MAX, max_bytes: usize::MAX };
            let worker_id = worker.worker_id.parse().expect("an id");
            let page = match reader.transcript(&worker_id, window) {
                Ok(page) => page.expect("the worker is there"),
                Err(Problem::Busy) => continue,
                Err(problem) => panic!("the store {problem}"),
            };
            let known = known.entry(worker.worker_id).or_default();
            assert!(page.total >= worker.transcript_len && worker.transcript_len >= *known);
            *known = page.total;
            let first = page.items.first().map_or(page.total + 1, |item| item.sequence);
            let sequences: Vec<u64> = page.items.iter().map(|item| item.sequence).collect();
            assert_eq!(sequences, (first..=page.total).collect::<Vec<_>>());
        }
    }
}
