use std::sync::Arc;
use std::time::Duration;

use sekisho_core::runtime_api::{CreateWorker, EndReason, Intent, Profile, WorkerEnd};

use super::*;

fn id(name: &str) -> WorkerId {
    name.parse().unwrap()
}

/// A worker that runs.
pub(crate) fn record(name: &str, created_by: u64) -> WorkerRecord {
    let spec = CreateWorker::new(Intent::Assistant { purpose: None }, Profile::RuntimeDefault);
    WorkerRecord {
        worker_id: id(name),
        spec: Arc::new(spec),
        created_by,
        created_at: Timestamp::from_millis(created_by),
        started_at: None,
        last_output_at: None,
        phase: Phase::Running,
        activity: Default::default(),
        agent: None,
        transcript_len: 0,
        last_event_id: created_by,
    }
}

fn ended(name: &str, created_by: u64, at: u64) -> WorkerRecord {
    let end = WorkerEnd { reason: EndReason::Exited, exit_code: Some(0), signal: None, message: None };
    let phase = Phase::Ended { end, at: Timestamp::from_millis(at), event_id: created_by + 1 };
    WorkerRecord { phase, ..record(name, created_by) }
}

fn names<'a>(records: impl Iterator<Item = &'a WorkerRecord>) -> Vec<&'a str> {
    records.map(|record| record.worker_id.as_str()).collect()
}

/// Forgets all that has to make room, and tells in which order.
fn make_room(records: &mut Records, now: u64, limits: &Limits) -> Vec<String> {
    let mut gone = Vec::new();
    while let Some(worker_id) = records.surplus(Timestamp::from_millis(now), limits).cloned() {
        records.remove(&worker_id);
        gone.push(worker_id.to_string());
    }
    gone
}

#[test]
fn lists_are_in_the_order_of_creation() {
    let mut records = Records::default();
    for (name, number) in [("z", 3), ("a", 5), ("m", 9)] {
        records.put(record(name, number));
    }
    records.put(ended("a", 5, 1));
    assert_eq!(names(records.after(0)), ["z", "a", "m"]);
    assert_eq!(names(records.after(records.place(&id("a")).unwrap())), ["m"]);
    assert_eq!(names(records.after(u64::MAX)), Vec::<&str>::new());
    // A page goes on where it was, although the worker that it ended with is gone.
    records.remove(&id("a"));
    assert_eq!(names(records.after(records.place(&id("a")).unwrap())), ["m"]);
    assert_eq!((records.place(&id("missing")), records.is_known(&id("a"))), (None, true));
}

#[test]
fn workers_are_counted_by_status() {
    let mut records = Records::default();
    records.put(record("a", 1));
    records.put(record("b", 2));
    records.put(ended("b", 2, 1));
    records.put(ended("b", 2, 1));
    assert_eq!(records.census(), Census { running: 1, stopped: 1, cancelled: 0 });
    records.remove(&id("b"));
    assert!(records.remove(&id("b")).is_none());
    assert_eq!(records.census(), Census { running: 1, ..Census::default() });
}

#[test]
fn those_that_ended_make_room_by_number_in_the_order_of_their_ends() {
    let limits = Limits { max_ended_workers: 2, ..Limits::default() };
    let mut records = Records::default();
    for (name, number) in [("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5)] {
        records.put(record(name, number));
    }
    for (name, number) in [("d", 4), ("a", 1), ("c", 3), ("b", 2)] {
        records.put(ended(name, number, 1));
    }
    assert_eq!(make_room(&mut records, 1, &limits), ["d", "a"]);
    assert_eq!(names(records.after(0)), ["b", "c", "e"]);
}

#[test]
fn those_that_ended_make_room_by_age() {
    let limits = Limits { keep_ended: Duration::from_millis(10), ..Limits::default() };
    let mut records = Records::default();
    records.put(ended("a", 1, 100));
    records.put(ended("b", 2, 105));
    records.put(record("c", 3));
    assert_eq!(make_room(&mut records, 109, &limits), [""; 0]);
    assert_eq!(make_room(&mut records, 110, &limits), ["a"]);
    assert_eq!(make_room(&mut records, 1000, &limits), ["b"]);
    assert_eq!(names(records.after(0)), ["c"]);
}

#[test]
fn those_that_ended_make_room_by_size() {
    let mut records = Records::default();
    let objective = "x".repeat(60_000);
    for number in 1..=600 {
        let spec = CreateWorker::new(Intent::Task { objective: objective.clone() }, Profile::RuntimeDefault);
        records.put(WorkerRecord { spec: Arc::new(spec), ..ended(&format!("w{number}"), number, 1) });
    }
    let gone = make_room(&mut records, 1, &Limits::default());
    assert_eq!(gone.first().map(String::as_str), Some("w1"));
    assert!((40..100).contains(&gone.len()), "{}", gone.len());
    assert!(records.ended_bytes <= MAX_ENDED_BYTES);
}

#[test]
fn forgotten_names_are_bounded() {
    let mut records = Records::default();
    for number in 0..MAX_FORGOTTEN as u64 + 1 {
        let name = format!("w{number}");
        records.put(ended(&name, number, 1));
        records.remove(&id(&name));
    }
    assert_eq!((records.forgotten.len(), records.forgotten_in_order.len()), (MAX_FORGOTTEN, MAX_FORGOTTEN));
    assert!(!records.is_known(&id("w0")) && records.is_known(&id("w1")));
}
