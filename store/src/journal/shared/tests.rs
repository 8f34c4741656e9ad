use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use super::super::writer::tests::item;
use super::super::{Durability, MAX_PENDING_BYTES, Retention};
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

/// Runs a writer around what is done with it.
fn with_writer(engine: &Faulty, options: Options, work: impl FnOnce(&Shared)) {
    let shared = Shared::new(&options, Box::new(now));
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
        assert_eq!(shared.ask(Writer::written), Ticket(0));
        shared.wait(Ticket(100)).unwrap();
        assert_eq!(shared.ask(Writer::written), Ticket(100));
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
            while shared.ask(Writer::written) < ticket {
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
        assert_eq!(shared.ask(Writer::failing), Some(WriteError::Full));
        shared.note([item(1, 2, 1)]);
        while shared.ask(Writer::failing).is_some() {
            thread::yield_now();
        }
        shared.wait(Ticket(2)).unwrap();
    });
    assert_eq!(engine.written(), [item(1, 1, 1), item(1, 2, 1)]);
}

#[test]
fn a_writer_that_falls_behind_is_waited_for() {
    let engine = Faulty::default();
    with_writer(&engine, Options { retention: Retention::default(), ..patient() }, |shared| {
        assert!(shared.ask(Writer::has_room));
        // The engine cannot be given this while its batches are held.
        let held = engine.batches.lock().unwrap();
        for sequence in 1..=10 {
            shared.note([item(1, sequence, MAX_PENDING_BYTES / 8)]);
        }
        assert!(!shared.ask(Writer::has_room));
        drop(held);
        shared.wait(Ticket(10)).unwrap();
        assert!(shared.ask(Writer::has_room));
    });
}

#[test]
fn who_waits_for_a_writer_that_ends_is_told() {
    let engine = Faulty::default();
    engine.faults.store(u32::MAX, Ordering::Release);
    let shared = Shared::new(&patient(), Box::new(now));
    thread::scope(|scope| {
        let ticket = shared.note([item(1, 1, 1)]);
        let shared = &shared;
        let waiting = scope.spawn(move || while shared.wait(ticket) != Err(WriteError::Full) {});
        scope.spawn(move || shared.run(engine));
        waiting.join().unwrap();
        shared.close();
    });
    assert_eq!(shared.ask(Writer::failing), Some(WriteError::Full));
    assert!(shared.wait(Ticket(1)).is_err());
}

#[test]
fn a_note_of_nothing_is_as_durable_as_the_note_before_it() {
    let engine = Faulty::default();
    with_writer(&engine, patient(), |shared| {
        let before = shared.note([item(1, 1, 1)]);
        let nothing = shared.note([]);
        assert_eq!(nothing, before);
        shared.wait(nothing).unwrap();
    });
    assert_eq!(engine.written(), [item(1, 1, 1)]);
}
