use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use super::super::Retention;
use super::super::record::{AnswerRow, EventRow, ItemRow, Payload};
use super::*;

/// A database that fails as long as it is told to, and keeps what it is given otherwise.
#[derive(Clone, Default)]
struct Faulty {
    /// How many batches are still to fail.
    faults: Arc<AtomicU32>,
    batches: Arc<Mutex<Vec<Vec<Record>>>>,
    tidied: Arc<AtomicU32>,
}

impl Engine for Faulty {
    fn apply(&mut self, batch: &[Record]) -> Result<BTreeSet<WorkerNo>, WriteError> {
        let fails = |faults: u32| faults.checked_sub(1);
        if self.faults.fetch_update(Ordering::AcqRel, Ordering::Acquire, fails).is_ok() {
            return Err(WriteError::Full);
        }
        self.batches.lock().unwrap().push(batch.to_vec());
        Ok(BTreeSet::new())
    }

    fn tidy(&mut self, _: Millis) -> Result<bool, WriteError> {
        self.tidied.fetch_add(1, Ordering::AcqRel);
        Ok(false)
    }

    fn close(&mut self) -> Result<(), WriteError> {
        Ok(())
    }
}

impl Faulty {
    fn written(&self) -> Vec<Record> {
        self.batches.lock().unwrap().concat()
    }
}

fn item(worker: WorkerNo, sequence: u64, length: usize) -> Record {
    Record::Item(ItemRow {
        worker,
        sequence,
        place: sequence,
        at: 0,
        role: "user".into(),
        cont: false,
        content: "x".repeat(length).into(),
    })
}

fn event(worker: WorkerNo, place: u64) -> Record {
    Record::Event(EventRow { worker, place, at: 0, output: true, payload: Payload::Json("{}".into()) })
}

fn answer() -> Record {
    Record::Answer(AnswerRow {
        key: "k".into(),
        at: 0,
        worker: Some(1),
        fingerprint: [0; 32],
        reply: "{}".into(),
    })
}

/// Runs a writer around what is done with it.
fn with_writer(engine: &Faulty, options: Options, work: impl FnOnce(&Shared)) {
    let shared = Shared::new(options);
    thread::scope(|scope| {
        scope.spawn(|| shared.run(engine.clone()));
        work(&shared);
        shared.close();
    });
}

fn patient() -> Options {
    // A delay that no test waits for: what is written is written because it was waited for.
    Options { output_delay: Duration::from_secs(3600), ..Options::default() }
}

#[test]
fn one_wait_for_the_disk_is_enough_for_many_notes() {
    let engine = Faulty::default();
    with_writer(&engine, patient(), |shared| {
        for sequence in 1..=100 {
            shared.note([item(1, sequence, 1)]);
        }
        assert_eq!(shared.written(), Ticket(0));
        shared.wait(Ticket(100)).unwrap();
        assert_eq!(shared.written(), Ticket(100));
    });
    let batches = engine.batches.lock().unwrap();
    assert!(batches.len() <= 2, "{}", batches.len());
    assert_eq!(batches.concat(), (1..=100).map(|sequence| item(1, sequence, 1)).collect::<Vec<_>>());
}

#[test]
fn output_is_written_without_being_waited_for() {
    for options in [
        Options { output_delay: Duration::from_millis(1), ..Options::default() },
        Options { durability: Durability::Commit, ..patient() },
    ] {
        let engine = Faulty::default();
        with_writer(&engine, options, |shared| {
            let ticket = shared.note([item(1, 1, 1)]);
            while shared.written() < ticket {
                thread::yield_now();
            }
        });
    }
}

#[test]
fn what_is_left_is_written_at_the_end() {
    let engine = Faulty::default();
    with_writer(&engine, patient(), |shared| {
        shared.note([item(1, 1, 1)]);
    });
    assert_eq!(engine.written(), [item(1, 1, 1)]);
}

#[test]
fn a_disk_that_fails_is_told_and_tried_again() {
    let engine = Faulty::default();
    engine.faults.store(2, Ordering::Release);
    with_writer(&engine, patient(), |shared| {
        let ticket = shared.note([item(1, 1, 1)]);
        assert_eq!(shared.wait(ticket), Err(WriteError::Full));
        assert_eq!(shared.failing(), Some(WriteError::Full));
        shared.note([item(1, 2, 1)]);
        while shared.failing().is_some() {
            thread::yield_now();
        }
        shared.wait(Ticket(2)).unwrap();
    });
    assert_eq!(engine.written(), [item(1, 1, 1), item(1, 2, 1)]);
}

#[test]
fn output_beyond_the_bound_is_given_up_without_a_hole() {
    const MANY: u64 = 5;
    let engine = Faulty::default();
    engine.faults.store(u32::MAX, Ordering::Release);
    with_writer(&engine, patient(), |shared| {
        let ticket = shared.note([item(1, 1, 1), event(1, 1)]);
        assert_eq!(shared.wait(ticket), Err(WriteError::Full));
        for sequence in 2..=MANY + 1 {
            shared.note([event(2, sequence), item(2, sequence, MAX_UNWRITTEN_BYTES / 4)]);
        }
        assert!(shared.has_room(), "workers are not held up by a disk that fails");
        shared.note([answer()]);
        engine.faults.store(0, Ordering::Release);
        let last = shared.note([event(2, 100), item(2, 100, 1)]);
        while shared.wait(last).is_err() {
            thread::yield_now();
        }
    });
    let written = engine.written();
    let held: usize = written.iter().map(Record::size).sum();
    assert!(held <= MAX_UNWRITTEN_BYTES, "{held}");
    assert!(written.contains(&answer()));
    // What is left of each worker comes after what was given up, and follows on it.
    let lost = |worker| {
        written.iter().find_map(|record| match record {
            Record::Lost(lost) if lost.worker == worker => Some((lost.items_gone, lost.events_after)),
            _ => None,
        })
    };
    assert_eq!(lost(1), Some((1, 1)));
    let (items_gone, events_after) = lost(2).unwrap();
    let left: Vec<u64> = written
        .iter()
        .filter_map(|record| match record {
            Record::Item(item) if item.worker == 2 => Some(item.sequence),
            _ => None,
        })
        .collect();
    assert_eq!(left, (items_gone + 1..=MANY + 1).chain([100]).collect::<Vec<_>>());
    assert_eq!(items_gone, events_after);
}

#[test]
fn a_writer_that_falls_behind_is_waited_for() {
    let engine = Faulty::default();
    with_writer(&engine, Options { retention: Retention::default(), ..patient() }, |shared| {
        assert!(shared.has_room());
        // The engine cannot be given this while its batches are held.
        let held = engine.batches.lock().unwrap();
        for sequence in 1..=10 {
            shared.note([item(1, sequence, MAX_PENDING_BYTES / 8)]);
        }
        assert!(!shared.has_room());
        drop(held);
        shared.wait(Ticket(10)).unwrap();
        assert!(shared.has_room());
    });
}

#[test]
fn who_waits_for_a_writer_that_ends_is_told() {
    let engine = Faulty::default();
    engine.faults.store(u32::MAX, Ordering::Release);
    let shared = Shared::new(patient());
    thread::scope(|scope| {
        let ticket = shared.note([item(1, 1, 1)]);
        let shared = &shared;
        let waiting = scope.spawn(move || while shared.wait(ticket) != Err(WriteError::Full) {});
        scope.spawn(move || shared.run(engine));
        waiting.join().unwrap();
        shared.close();
    });
    assert_eq!(shared.failing(), Some(WriteError::Full));
    assert!(shared.wait(Ticket(1)).is_err());
}
