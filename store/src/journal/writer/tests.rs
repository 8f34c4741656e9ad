use std::time::Instant;

use proptest::prelude::{Just, ProptestConfig, Strategy, prop_oneof, proptest};
use proptest::test_runner::TestCaseResult;
use proptest::{collection, prop_assert, prop_assert_eq};

use super::super::record::{AnswerRow, EventRow, ItemRow, Payload};
use super::*;

pub(in crate::journal) fn item(worker: WorkerNo, sequence: u64, length: usize) -> Record {
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

fn options() -> Options {
    Options { output_delay: DELAY, ..Options::default() }
}

const DELAY: Duration = Duration::from_millis(50);
const MILLI: Duration = Duration::from_millis(1);

/// A writer that has nothing to do but what is noted, and the moment.
fn tidy_writer() -> (Writer, Instant) {
    let (mut writer, now) = (Writer::new(&options()), Instant::now());
    assert_eq!(writer.step(now), Order::Tidy);
    writer.tidied(now, false);
    (writer, now)
}

fn batch(writer: &mut Writer, now: Instant) -> Vec<Record> {
    match writer.step(now) {
        Order::Apply(batch) => batch,
        other => panic!("{other:?}"),
    }
}

#[test]
fn output_waits_for_more_and_what_is_wanted_does_not() {
    let (mut writer, now) = tidy_writer();
    let first = writer.note(now, [item(1, 1, 1)]);
    let second = writer.note(now + MILLI, [item(1, 2, 1), event(1, 2)]);
    assert_eq!(writer.step(now + MILLI), Order::Wait(now + DELAY));
    assert_eq!(batch(&mut writer, now + DELAY), [item(1, 1, 1), item(1, 2, 1), event(1, 2)]);
    assert_eq!((writer.outcome(first), writer.written()), (None, Ticket(0)));
    // What is noted meanwhile waits from then on, and is wanted.
    let third = writer.note(now + DELAY, [item(1, 3, 1)]);
    writer.applied(now + DELAY, vec![], Ok(BTreeSet::from([7])));
    assert_eq!((writer.outcome(second), writer.outcome(third)), (Some(Ok(())), None));
    assert!(writer.is_damaged(7) && !writer.is_damaged(1));
    writer.tidied(now + DELAY, false);
    assert_eq!(writer.step(now + DELAY), Order::Wait(now + DELAY * 2));
    writer.want(third);
    assert_eq!(batch(&mut writer, now + DELAY), [item(1, 3, 1)]);
}

#[test]
fn what_is_to_be_durable_at_once_waits_for_nothing() {
    let now = Instant::now();
    let mut writer = Writer::new(&Options { durability: Durability::Commit, ..options() });
    writer.note(now, [item(1, 1, 1)]);
    assert_eq!(batch(&mut writer, now), [item(1, 1, 1)]);
    let (mut writer, now) = tidy_writer();
    writer.note(now, [item(1, 1, BATCH_BYTES)]);
    assert_eq!(batch(&mut writer, now), [item(1, 1, BATCH_BYTES)]);
}

#[test]
fn who_sleeps_is_woken_by_what_is_new_alone() {
    let (mut writer, now) = tidy_writer();
    assert!(!writer.has_news());
    let ticket = writer.note(now, [item(1, 1, 1)]);
    assert!(writer.has_news() && !writer.has_news());
    writer.note(now, [item(1, 2, 1)]);
    assert!(!writer.has_news(), "it wakes for the first by itself");
    writer.want(ticket);
    assert!(writer.has_news());
    writer.want(ticket);
    assert!(!writer.has_news());
    writer.note(now, [item(1, 3, BATCH_BYTES)]);
    assert!(writer.has_news());
    writer.close();
    assert!(writer.has_news());
}

#[test]
fn a_note_of_nothing_waits_for_nothing_of_its_own() {
    let (mut writer, now) = tidy_writer();
    assert_eq!(writer.outcome(writer.noted()), Some(Ok(())));
    assert_eq!(writer.note(now, []), Ticket(0));
    assert!(matches!(writer.step(now), Order::Wait(_)));
}

#[test]
fn attempts_are_further_and_further_apart_until_one_succeeds() {
    let (mut writer, mut now) = tidy_writer();
    let ticket = writer.note(now, [item(1, 1, 1)]);
    let mut waits = Vec::new();
    writer.want(ticket);
    for _ in 0..7 {
        let taken = batch(&mut writer, now);
        writer.applied(now, taken, Err(WriteError::Io));
        assert_eq!(writer.outcome(ticket), Some(Err(WriteError::Io)));
        let Order::Wait(until) = writer.step(now) else { panic!("it goes on") };
        waits.push(until - now);
        now = until;
    }
    assert_eq!(waits, [100, 200, 400, 800, 1600, 2000, 2000].map(Duration::from_millis));
    writer.note(now, [item(1, 2, 1)]);
    let taken = batch(&mut writer, now);
    assert_eq!(taken, [item(1, 1, 1), item(1, 2, 1)]);
    writer.applied(now, taken, Ok(BTreeSet::new()));
    assert_eq!((writer.outcome(Ticket(2)), writer.failing()), (Some(Ok(())), None));
    // The next failure is the first again.
    writer.note(now, [item(1, 3, 1)]);
    writer.want(Ticket(3));
    let taken = batch(&mut writer, now);
    writer.applied(now, taken, Err(WriteError::Full));
    assert_eq!(writer.step(now), Order::Wait(now + RETRY_AFTER));
}

#[test]
fn a_writer_that_is_closed_writes_what_it_can_and_ends() {
    let (mut writer, now) = tidy_writer();
    writer.note(now, [item(1, 1, 1)]);
    writer.close();
    let taken = batch(&mut writer, now);
    writer.applied(now, taken, Ok(BTreeSet::new()));
    assert_eq!((writer.step(now), writer.written()), (Order::Ended, Ticket(1)));

    let (mut writer, now) = tidy_writer();
    let ticket = writer.note(now, [item(1, 1, 1)]);
    writer.close();
    let taken = batch(&mut writer, now);
    writer.applied(now, taken, Err(WriteError::Full));
    assert_eq!(writer.step(now), Order::Ended);
    writer.leave();
    assert_eq!(writer.outcome(ticket), Some(Err(WriteError::Full)));
}

#[test]
fn who_waits_for_a_writer_that_has_left_is_told() {
    let (mut writer, now) = tidy_writer();
    let ticket = writer.note(now, [item(1, 1, 1)]);
    writer.leave();
    assert_eq!(writer.outcome(ticket), Some(Err(WriteError::Io)));
}

#[test]
fn other_work_is_done_after_each_batch_until_there_is_none_and_then_now_and_then() {
    let mut writer = Writer::new(&options());
    let now = Instant::now();
    for has_more in [true, true, false] {
        assert_eq!(writer.step(now), Order::Tidy);
        writer.tidied(now, has_more);
    }
    assert_eq!(writer.step(now), Order::Wait(now + TIDY_EVERY));
    assert_eq!(writer.step(now + TIDY_EVERY), Order::Tidy);
    writer.tidied(now + TIDY_EVERY, false);
    let now = now + TIDY_EVERY;
    writer.note(now, [item(1, 1, 1)]);
    let taken = batch(&mut writer, now + DELAY);
    writer.applied(now + DELAY, taken, Ok(BTreeSet::new()));
    assert_eq!(writer.step(now + DELAY), Order::Tidy);
}

#[test]
fn output_beyond_the_bound_is_given_up_without_a_hole() {
    const MANY: u64 = 5;
    let (mut writer, now) = tidy_writer();
    writer.note(now, [item(1, 1, 1), event(1, 1)]);
    let taken = batch(&mut writer, now + DELAY);
    writer.applied(now, taken, Err(WriteError::Full));
    for sequence in 2..=MANY + 1 {
        writer.note(now, [event(2, sequence), item(2, sequence, MAX_UNWRITTEN_BYTES / 4)]);
        assert!(writer.unwritten_bytes() <= MAX_UNWRITTEN_BYTES);
    }
    assert!(writer.has_room(), "workers are not held up by a disk that fails");
    writer.note(now, [answer()]);
    writer.note(now, [event(2, 100), item(2, 100, 1)]);
    let written = batch(&mut writer, now + RETRY_AFTER + DELAY);
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

/// What befalls a writer.
#[derive(Clone, Copy, Debug)]
enum Happens {
    /// So much is noted.
    Note(usize),
    /// The last note is waited for.
    Want,
    /// Time passes, and the writer is obeyed.
    Pass(u64),
    /// The disk is done with what it has, or fails.
    Done(bool),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (0..3usize).prop_map(Happens::Note),
        1 => Just(Happens::Note(BATCH_BYTES / 4)),
        2 => Just(Happens::Want),
        3 => (0..300u64).prop_map(Happens::Pass),
        3 => proptest::bool::weighted(0.6).prop_map(Happens::Done),
    ]
}

/// A writer, a disk and what is known of both without asking the writer.
struct World {
    writer: Writer,
    now: Instant,
    noted: Vec<Record>,
    kept: Vec<Record>,
    under_way: Option<Vec<Record>>,
    wanted: u64,
    failed_at: Option<Instant>,
}

impl World {
    fn obey(&mut self) -> TestCaseResult {
        loop {
            match self.writer.step(self.now) {
                Order::Apply(batch) => {
                    prop_assert!(!batch.is_empty());
                    // It goes on where the last one ended, whatever failed between.
                    let from = self.kept.len();
                    prop_assert_eq!(&self.noted[from..from + batch.len()], &batch[..]);
                    self.under_way = Some(batch);
                    return Ok(());
                }
                Order::Tidy => self.writer.tidied(self.now, false),
                Order::Wait(until) => {
                    prop_assert!(until > self.now);
                    let unwritten = self.noted.len() > self.kept.len();
                    let bound = match self.failed_at {
                        Some(failed_at) if failed_at + LONGEST_RETRY > self.now => LONGEST_RETRY,
                        _ => DELAY,
                    };
                    prop_assert!(!unwritten || until <= self.now + bound, "{:?}", until - self.now);
                    let is_wanted = self.wanted > self.kept.len() as u64;
                    prop_assert!(!is_wanted || self.failed_at.is_some(), "what is wanted waits");
                    return Ok(());
                }
                Order::Ended => panic!("nobody closed it"),
            }
        }
    }

    fn happen(&mut self, what: Happens) -> TestCaseResult {
        match what {
            Happens::Note(length) => {
                let record = item(1, self.noted.len() as u64 + 1, length);
                self.noted.push(record.clone());
                // Each note is one record here: tickets count both.
                prop_assert_eq!(self.writer.note(self.now, [record]), Ticket(self.noted.len() as u64));
            }
            Happens::Want => {
                self.wanted = self.noted.len() as u64;
                self.writer.want(Ticket(self.wanted));
            }
            Happens::Pass(millis) => {
                self.now += Duration::from_millis(millis);
                if self.under_way.is_none() {
                    self.obey()?;
                }
            }
            Happens::Done(well) => {
                if let Some(batch) = self.under_way.take() {
                    match well {
                        true => self.kept.extend(batch.iter().cloned()),
                        false => self.failed_at = Some(self.now),
                    }
                    let result = if well { Ok(BTreeSet::new()) } else { Err(WriteError::Io) };
                    if well {
                        self.failed_at = None;
                    }
                    self.writer.applied(self.now, batch, result);
                }
            }
        }
        // Nobody is told that something is durable which is not on the disk.
        prop_assert_eq!(self.writer.written(), Ticket(self.kept.len() as u64));
        let outcome = self.writer.outcome(self.writer.noted());
        prop_assert_eq!(outcome == Some(Ok(())), self.kept.len() == self.noted.len());
        prop_assert_eq!(self.writer.failing().is_some(), self.failed_at.is_some());
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever fails, all that was noted comes to the disk in its order and once, and nobody is told so before.
    #[test]
    fn all_that_is_noted_is_written_in_order_and_once(schedule in collection::vec(happens(), 1..60)) {
        let mut world = World {
            writer: Writer::new(&options()),
            now: Instant::now(),
            noted: Vec::new(),
            kept: Vec::new(),
            under_way: None,
            wanted: 0,
            failed_at: None,
        };
        for what in schedule {
            world.happen(what)?;
        }
        for _ in 0..3 {
            world.happen(Happens::Done(true))?;
            world.happen(Happens::Pass(2_000))?;
        }
        prop_assert!(world.kept == world.noted);
    }
}
