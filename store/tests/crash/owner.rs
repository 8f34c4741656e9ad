//! The owner that is killed: a few workers that write without end, each in its own thread.

use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::SystemTime;

use sekisho_core::runtime_api::WorkerStatus;
use sekisho_store::journal::{
    AnswerRow, EventRow, Identity, ItemRow, Journal, Options, Payload, Record, Retention, WorkerNo, WorkerRow,
};

pub(crate) const WORKERS: i64 = 4;

pub(crate) fn identity() -> Identity {
    Identity {
        runtime_id: "crash".parse().expect("an id"),
        display_name: None,
        incarnation: "0123456789abcdef0123456789abcdef".into(),
    }
}

/// Small bounds, so that what is over them is let go of all the time.
pub(crate) fn options() -> Options {
    let retention = Retention { items: 2000, events: 500, total_bytes: 1 << 20, ..Retention::default() };
    Options { retention, ..Options::default() }
}

/// What the item of a sequence says: a reader can tell from it whether it is the right one.
pub(crate) fn content(worker: WorkerNo, sequence: u64) -> String {
    let length = usize::try_from((sequence * 7919) % 600).expect("small");
    format!("{worker}:{sequence}:{}", "x".repeat(length))
}

/// Whether an item is waited for, and so acknowledged.
fn is_input(sequence: u64) -> bool {
    sequence.is_multiple_of(7)
}

pub(crate) fn run(folder: &Path) {
    let (journal, recovered) = Journal::open(folder, &identity(), options()).expect("the store opens");
    // Events are noted in the order of their places.
    let place = Mutex::new(recovered.last_place);
    let told = AtomicU64::new(0);
    say(&format!("places {}", recovered.last_place));
    thread::scope(|scope| {
        for no in 1..=WORKERS {
            let known = recovered.workers.iter().find(|worker| worker.row.no == no);
            let mut sequence = known.map_or(0, |worker| worker.extent.items);
            let (journal, place, told) = (&journal, &place, &told);
            scope.spawn(move || {
                if sequence == 0 {
                    journal.wait(journal.note([Record::Worker(Box::new(row(no)))])).expect("a disk");
                    say(&format!("created {no}"));
                }
                loop {
                    sequence += 1;
                    let (ticket, at) = {
                        let mut place = place.lock().expect("no thread panics");
                        *place += 1;
                        (journal.note(entry(no, sequence, *place)), *place)
                    };
                    if is_input(sequence) {
                        journal.wait(ticket).expect("a disk");
                        say(&format!("item {no} {sequence} {at}"));
                    } else if told.fetch_add(1, Ordering::Relaxed).is_multiple_of(64) {
                        say(&format!("told {at}"));
                    }
                    while !journal.has_room() {
                        thread::yield_now();
                    }
                }
            });
        }
    });
}

pub(crate) fn entry(worker: WorkerNo, sequence: u64, place: u64) -> Vec<Record> {
    let content = content(worker, sequence);
    let at = i64::try_from(sequence).expect("small");
    let payload = match sequence % 3 {
        0 => Payload::Lines { first: sequence, count: 1, ended: true },
        _ => Payload::Json(format!(r#"{{"event":"told","data":"{content}"}}"#).into()),
    };
    let mut records = vec![
        Record::Event(EventRow { worker, place, at, output: !is_input(sequence), payload }),
        Record::Item(ItemRow {
            worker,
            sequence,
            place,
            at,
            role: "user".into(),
            cont: false,
            content: content.into(),
        }),
    ];
    if is_input(sequence) {
        records.push(Record::Answer(AnswerRow {
            key: format!("{worker}-{sequence}").into(),
            at: now(),
            worker: Some(worker),
            fingerprint: [7; 32],
            reply: sequence.to_string().into(),
        }));
    }
    records
}

pub(crate) fn row(no: WorkerNo) -> WorkerRow {
    WorkerRow {
        no,
        worker_id: format!("worker-{no}").parse().expect("an id"),
        status: WorkerStatus::Running,
        request: r#"{"intent":{"kind":"assistant"},"profile":{"kind":"runtime_default"}}"#.into(),
        name: None,
        labels: [("number".to_owned(), no.to_string())].into(),
        created_at: no,
        started_at: None,
        ended_at: None,
        stopping: None,
        ended_by: None,
        end: None,
        agent: None,
    }
}

fn now() -> i64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
    i64::try_from(since.as_millis()).expect("not so far in the future")
}

/// Tells the parent. The full stop says that the line is whole.
fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(format!("{line}.\n").as_bytes()).and_then(|()| output.flush());
}
