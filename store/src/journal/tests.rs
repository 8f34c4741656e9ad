use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::Connection;
use sekisho_core::runtime_api::{EndReason, WorkerEnd, WorkerStatus};
use tempfile::TempDir;

use super::*;

pub(crate) fn identity() -> Identity {
    Identity {
        runtime_id: "r".parse().unwrap(),
        display_name: Some("R".into()),
        incarnation: "0123456789abcdef0123456789abcdef".into(),
    }
}

pub(crate) fn open(folder: &Path) -> (Journal, Recovered) {
    Journal::open(folder, &identity(), Options::default()).unwrap()
}

fn open_with(folder: &Path, retention: Retention) -> (Journal, Recovered) {
    Journal::open(folder, &identity(), Options { retention, ..Options::default() }).unwrap()
}

fn row(no: WorkerNo) -> WorkerRow {
    WorkerRow {
        no,
        worker_id: format!("w-{no}").parse().unwrap(),
        status: WorkerStatus::Running,
        request: r#"{"intent":{"kind":"assistant"},"profile":{"kind":"runtime_default"}}"#.into(),
        name: None,
        labels: [].into(),
        created_at: no * 1000,
        started_at: None,
        ended_at: None,
        stopping: None,
        ended_by: None,
        end: None,
        agent: None,
    }
}

pub(crate) fn worker(no: WorkerNo) -> Record {
    Record::Worker(Box::new(row(no)))
}

pub(crate) fn line(worker: WorkerNo, sequence: u64, place: u64, content: &str) -> [Record; 2] {
    let at = i64::try_from(place).unwrap();
    [
        Record::Event(EventRow {
            worker,
            place,
            at,
            output: true,
            payload: Payload::Lines { first: sequence, count: 1, ended: true },
        }),
        Record::Item(ItemRow {
            worker,
            sequence,
            place,
            at,
            role: "assistant".into(),
            cont: false,
            content: content.into(),
        }),
    ]
}

pub(crate) fn flush(journal: &Journal) {
    journal.wait(journal.noted()).unwrap();
}

fn sequences(journal: &Journal, worker: WorkerNo) -> Vec<u64> {
    let window = ItemWindow { after: 0, limit: usize::MAX, max_bytes: usize::MAX };
    journal.reader().items(worker, window).unwrap().iter().map(|item| item.sequence).collect()
}

/// Opens a store again and again until what is over its bounds has gone: that is done beside the batches.
fn settled(
    folder: &Path,
    retention: Retention,
    is_settled: impl Fn(&Journal) -> bool,
) -> (Journal, Recovered) {
    let (journal, recovered) = open_with(folder, retention);
    while !is_settled(&journal) {
        std::thread::yield_now();
    }
    (journal, recovered)
}

#[test]
fn what_was_noted_is_there_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, recovered) = open(folder.path());
    assert_eq!((recovered.last_place, recovered.interrupted, recovered.workers.len()), (0, false, 0));
    journal.note([worker(1), worker(2)]);
    journal.note(line(1, 1, 5, "one"));
    let json = r#"{"event":"status","data":{"status":"idle"}}"#;
    let status = EventRow { worker: 1, place: 7, at: 70, output: false, payload: Payload::Json(json.into()) };
    journal.note([Record::Event(status)]);
    let answer = AnswerRow {
        key: "k".into(),
        at: shared::millis(),
        worker: Some(1),
        fingerprint: [3; 32],
        reply: "\"x\"".into(),
    };
    let too_old = AnswerRow { key: "old".into(), at: 0, ..answer.clone() };
    journal.note([Record::Answer(too_old), Record::Answer(answer.clone())]);
    let ended = WorkerRow {
        status: WorkerStatus::Stopped,
        name: Some("n".into()),
        labels: [("a".to_owned(), "b".to_owned())].into(),
        started_at: Some(1),
        ended_at: Some(2),
        ended_by: Some(7),
        agent: Some("{}".into()),
        end: Some(WorkerEnd { reason: EndReason::Exited, exit_code: Some(3), signal: None, message: None }),
        ..row(1)
    };
    journal.note([Record::Worker(Box::new(ended.clone()))]);
    journal.close();

    let (journal, recovered) = open(folder.path());
    assert_eq!(recovered.incarnation, identity().incarnation);
    assert_eq!((recovered.interrupted, recovered.cut_bytes), (false, 0));
    assert!(recovered.last_place >= 7);
    assert_eq!(recovered.workers.iter().map(|worker| &worker.row).collect::<Vec<_>>(), [&ended, &row(2)]);
    let extent = Extent { last_event_id: 7, items: 1, last_output_at: Some(5), ..Extent::default() };
    assert_eq!((recovered.workers[0].extent, recovered.workers[1].extent), (extent, Extent::default()));
    assert_eq!(recovered.answers, [answer]);
    let events = journal.reader().newest_events(1, 0, 10, usize::MAX).unwrap().events;
    let told: Vec<_> = events.iter().map(|event| (event.place, event.at, event.payload.as_str())).collect();
    assert_eq!(told, [(5, 5, r#"{"event":"text_delta","data":{"text":"one\n"}}"#), (7, 70, json)]);
}

#[test]
fn an_end_at_once_goes_on_behind_every_place_that_was_given_out() {
    let folder = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    journal.note([worker(1)]);
    journal.note(line(1, 1, 5, "one"));
    flush(&journal);
    copy_files(folder.path(), copy.path());
    journal.close();
    assert!(open(folder.path()).1.last_place >= 5);
    let (_, recovered) = open(copy.path());
    assert!(recovered.interrupted && recovered.last_place >= 1 << 30, "{recovered:?}");
    // Clients read places as JSON numbers: a few million such ends are well.
    assert!(recovered.last_place < 1 << 52);
}

#[test]
fn a_copy_that_is_put_back_goes_on_behind_every_place_that_was_given_out() {
    let folder = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    journal.note([worker(1)]);
    journal.close();
    copy_files(folder.path(), copy.path());
    let (journal, recovered) = open(folder.path());
    let later = recovered.last_place + 1;
    journal.note(line(1, 1, later, "one"));
    journal.close();
    // Nobody copies files back within a millisecond.
    let now = shared::millis();
    while shared::millis() <= now {
        std::thread::yield_now();
    }
    let (_, recovered) = open(copy.path());
    assert!(!recovered.interrupted && recovered.last_place > later, "{recovered:?} {later}");
}

fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn one_process_has_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    let again = Journal::open(folder.path(), &identity(), Options::default());
    assert_eq!(again.unwrap_err(), OpenError::InUse);
    journal.close();
    open(folder.path());
}

#[test]
fn what_is_no_store_of_this_runtime_is_refused() {
    let open_error = |folder: &Path| Journal::open(folder, &identity(), Options::default()).unwrap_err();
    let folder = tempfile::tempdir().unwrap();
    let other = Identity { runtime_id: "other".parse().unwrap(), ..identity() };
    drop(Journal::open(folder.path(), &other, Options::default()).unwrap());
    assert_eq!(open_error(folder.path()), OpenError::OtherRuntime);

    let database = |folder: &TempDir| Connection::open(folder.path().join(lock::DATABASE)).unwrap();
    let newer = tempfile::tempdir().unwrap();
    drop(open(newer.path()));
    database(&newer).pragma_update(None, "user_version", 9).unwrap();
    assert_eq!(open_error(newer.path()), OpenError::OtherVersion { found: 9, known: VERSION });

    let foreign = tempfile::tempdir().unwrap();
    database(&foreign).execute_batch("CREATE TABLE t (x)").unwrap();
    assert_eq!(open_error(foreign.path()), OpenError::NotAStore);
    let text = tempfile::tempdir().unwrap();
    fs::write(text.path().join(lock::DATABASE), "no database at all, but some text in a file").unwrap();
    assert_eq!(open_error(text.path()), OpenError::NotAStore);
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(open_error(file.path()), OpenError::Io(_)));
}

#[test]
fn files_are_the_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("a/b");
    let (journal, _) = open(&store);
    journal.note([worker(1)]);
    flush(&journal);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&store), 0o700);
    for entry in fs::read_dir(&store).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{path:?}");
    }
}

#[test]
fn transcripts_are_read_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    journal.note([worker(1)]);
    for sequence in 1..=5 {
        journal.note(line(1, sequence, 10 * sequence, "four"));
    }
    flush(&journal);
    let items = |after, limit, max_bytes| {
        let items = journal.reader().items(1, ItemWindow { after, limit, max_bytes }).unwrap();
        items.iter().map(|item| item.sequence).collect::<Vec<_>>()
    };
    assert_eq!(items(0, 2, 100), [1, 2]);
    assert_eq!(items(3, 9, 100), [4, 5]);
    assert_eq!(items(0, 9, 9), [1, 2]);
    assert_eq!(items(0, 9, 0), [1]);
    assert!(items(5, 9, 100).is_empty());
    let newest = |before, until, limit, max_bytes| {
        let items = journal.reader().newest_items(1, before, until, limit, max_bytes).unwrap();
        items.iter().map(|item| item.sequence).collect::<Vec<_>>()
    };
    assert_eq!(newest(u64::MAX, u64::MAX, 2, 100), [4, 5]);
    assert_eq!(newest(5, u64::MAX, 2, 100), [3, 4]);
    assert_eq!(newest(u64::MAX, 39, 9, 100), [1, 2, 3]);
    assert_eq!(newest(u64::MAX, u64::MAX, 9, 9), [4, 5]);
    assert!(newest(u64::MAX, u64::MAX, 9, 3).is_empty());
    let places = |after, limit, max_bytes| {
        let events = journal.reader().newest_events(1, after, limit, max_bytes).unwrap().events;
        events.iter().map(|event| event.place).collect::<Vec<_>>()
    };
    assert_eq!(places(0, 2, usize::MAX), [40, 50]);
    assert_eq!(places(30, 9, usize::MAX), [40, 50]);
    assert_eq!(places(0, 9, 0), [50]);
}

#[test]
fn texts_are_found_newest_first() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    journal.note([worker(1), worker(2)]);
    for sequence in 1..=6 {
        let text = if sequence % 2 == 0 { "a needle here" } else { "hay" };
        journal.note(line(1, sequence, sequence, text));
    }
    journal.note(line(2, 1, 7, "needle"));
    flush(&journal);
    let search = |text: &str, before, limit| {
        let page = journal.reader().search(1, text, before, limit).unwrap();
        (page.items.iter().map(|item| item.sequence).collect::<Vec<_>>(), page.next_before)
    };
    assert_eq!(search("needle", u64::MAX, 2), (vec![6, 4], Some(4)));
    assert_eq!(search("needle", 4, 2), (vec![2], None));
    assert_eq!(search("Needle", u64::MAX, 2), (vec![], None));
    assert_eq!(search("hay", u64::MAX, 3), (vec![5, 3, 1], None));
}

#[test]
fn the_oldest_go_when_there_are_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    journal.note([worker(1), worker(2)]);
    for sequence in 1..=100 {
        journal.note(line(1, sequence, sequence, "ten bytes."));
        journal.note(line(2, sequence, 100 + sequence, "x"));
    }
    journal.close();
    for (retention, first_item, first_event) in [
        (Retention { items: 99, ..Retention::default() }, 1, 1),
        (Retention { items: 80, ..Retention::default() }, 21, 21),
        (Retention { item_bytes: 500, ..Retention::default() }, 51, 51),
        (Retention { events: 30, ..Retention::default() }, 51, 71),
    ] {
        let places = |journal: &Journal| {
            let events = journal.reader().newest_events(1, 0, usize::MAX, usize::MAX).unwrap().events;
            events.first().map(|event| event.place)
        };
        let (journal, _) = settled(folder.path(), retention, |journal| {
            sequences(journal, 1).first() == Some(&first_item) && places(journal) == Some(first_event)
        });
        journal.close();
        let extent = open_with(folder.path(), retention).1.workers[0].extent;
        assert_eq!(
            (extent.items, extent.items_gone + 1, extent.events_after + 1),
            (100, first_item, first_event)
        );
    }
}

#[test]
fn what_is_too_old_goes() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    journal.note([worker(1)]);
    for sequence in 1..=3 {
        let [event, item] = line(1, sequence, sequence, "x");
        let Record::Item(item) = item else { panic!() };
        let at = if sequence == 3 { shared::millis() } else { item.at };
        journal.note([event, Record::Item(ItemRow { at, ..item })]);
    }
    journal.close();
    let retention = Retention { max_age: Some(Duration::from_secs(3600)), ..Retention::default() };
    settled(folder.path(), retention, |journal| sequences(journal, 1) == [3]);
}

#[test]
fn what_ended_first_makes_room_for_all() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    for no in 1..=3 {
        let ended_at = (no != 2).then_some(10 - no);
        journal.note([Record::Worker(Box::new(WorkerRow { ended_at, ..row(no) }))]);
        for sequence in 1..=10 {
            journal.note(line(no, sequence, 100 * u64::try_from(no).unwrap() + sequence, "ten bytes."));
        }
    }
    journal.close();
    let lengths = |journal: &Journal| [1, 2, 3].map(|no| sequences(journal, no).len());
    for (total_bytes, left) in [(200, [10, 10, 0]), (100, [0, 10, 0]), (50, [0, 5, 0])] {
        let retention = Retention { total_bytes, ..Retention::default() };
        settled(folder.path(), retention, |journal| lengths(journal) == left);
    }
}

#[test]
fn what_is_forgotten_is_gone_with_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    journal.note([worker(1), worker(2)]);
    for sequence in 1..=20_000 {
        journal.note(line(1, sequence, sequence, "x"));
    }
    journal.note([Record::Forget(1)]);
    flush(&journal);
    while !sequences(&journal, 1).is_empty() {
        std::thread::yield_now();
    }
    journal.close();
    let (_, recovered) = open(folder.path());
    assert_eq!(recovered.workers.iter().map(|worker| worker.row.no).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_damaged_worker_costs_itself_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    journal.note([worker(1), worker(2), worker(3)]);
    journal.note(line(3, 1, 1, "x"));
    journal.close();
    let damage = |sql: &str| {
        let database = Connection::open(folder.path().join(lock::DATABASE)).unwrap();
        assert_eq!(database.execute(sql, []).unwrap(), 1);
    };
    damage("UPDATE worker SET status = 'asleep' WHERE no = 1");
    damage("UPDATE worker SET request = '{' WHERE no = 2");
    let (journal, recovered) = open(folder.path());
    let damaged: Vec<_> = recovered.damaged.iter().map(|damaged| damaged.worker_id.as_deref()).collect();
    assert_eq!(damaged, [Some("w-1"), Some("w-2")]);
    assert_eq!(recovered.workers[0].row, row(3));

    // An item that is there already shows that something is wrong: the others of the batch are kept.
    journal.note([worker(4)]);
    journal.note(line(3, 1, 2, "again"));
    journal.note(line(4, 1, 3, "x"));
    flush(&journal);
    assert_eq!([3, 4].map(|no| journal.is_damaged(no)), [true, false]);
    journal.note(line(3, 2, 4, "more"));
    journal.note(line(4, 2, 5, "more"));
    flush(&journal);
    assert_eq!([3, 4].map(|no| sequences(&journal, no)), [vec![1], vec![1, 2]]);
}

/// Page after page of the database is overwritten, and whatever is found then is found without a panic and without an
/// end: the store opens or says why not, and each worker is read or is damaged.
#[test]
fn a_damaged_page_is_never_more_than_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    for no in 1..=30 {
        journal.note([worker(no)]);
        for sequence in 1..=30 {
            journal.note(line(no, sequence, sequence, &"x".repeat(200)));
        }
    }
    journal.close();
    let whole = fs::read(folder.path().join(lock::DATABASE)).unwrap();
    let (mut opened, mut readable) = (0, 0);
    for page in 1..whole.len() / 4096 {
        let damaged = tempfile::tempdir().unwrap();
        let mut bytes = whole.clone();
        bytes[page * 4096..(page + 1) * 4096].fill(0xa5);
        fs::write(damaged.path().join(lock::DATABASE), bytes).unwrap();
        match Journal::open(damaged.path(), &identity(), Options::default()) {
            Ok((journal, recovered)) => {
                opened += 1;
                let window = ItemWindow { after: 0, limit: usize::MAX, max_bytes: usize::MAX };
                let read = |no| journal.reader().items(no, window).is_ok_and(|items| items.len() == 30);
                readable += recovered.workers.iter().filter(|worker| read(worker.row.no)).count();
            }
            Err(error) => assert!(matches!(error, OpenError::Damaged | OpenError::NotAStore), "{error:?}"),
        }
    }
    let pages = whole.len() / 4096 - 1;
    assert!(opened * 4 > pages * 3, "{opened} of {pages}");
    assert!(readable > opened * 25, "{readable} of {}", opened * 30);
}

#[test]
fn nothing_shows_where_a_store_is() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().file_name().unwrap().to_str().unwrap().to_owned();
    let (journal, recovered) = open(folder.path());
    let again = Journal::open(folder.path(), &identity(), Options::default()).unwrap_err();
    let shown = format!("{journal:?} {recovered:?} {:?} {again:?} {again}", journal.reader());
    assert!(!shown.contains(&name), "{shown}");
}

#[test]
fn what_was_cut_off_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    for no in 1..=3 {
        journal.note([worker(no)]);
        flush(&journal);
    }
    copy_files(folder.path(), copy.path());
    let log = copy.path().join("store.db-wal");
    let whole = fs::read(&log).unwrap();
    assert_eq!(wal::torn_bytes(&log), 0);
    fs::write(&log, &whole[..whole.len() - 1]).unwrap();
    let torn = wal::torn_bytes(&log);
    assert!((1..=8 * 4120).contains(&torn), "{torn}");
    let (_, recovered) = open(copy.path());
    assert_eq!((recovered.cut_bytes, recovered.workers.len()), (torn, 2));
}

/// A store as the first version wrote it. It is never made anew: what was once released stays readable.
#[test]
fn a_store_of_the_first_version_is_opened_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store-version-1");
    copy_files(&kept, folder.path());
    let (journal, recovered) = open(folder.path());
    assert!(recovered.last_place >= 9 && !recovered.interrupted);
    let ids: Vec<_> = recovered.workers.iter().map(|worker| worker.row.worker_id.as_str()).collect();
    assert_eq!(ids, ["w-1", "w-2"]);
    let first = &recovered.workers[0];
    assert_eq!(first.row.end.as_ref().unwrap().exit_code, Some(3));
    assert_eq!((first.extent.items, first.extent.last_event_id), (2, 7));
    assert_eq!(recovered.workers[1].row.stopping.as_ref().unwrap().reason.as_deref(), Some("enough"));
    assert_eq!(sequences(&journal, 1), [1, 2]);
    let events = journal.reader().newest_events(1, 0, 10, usize::MAX).unwrap().events;
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].payload, r#"{"event":"text_delta","data":{"text":"one\ntwo\n"}}"#);
}

/// Lines that were said together share a row, and are read as if they did not.
#[test]
fn rows_of_many_lines_are_read_line_by_line() {
    const TOTAL: u64 = 2000;
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    journal.note([worker(1)]);
    let content = |sequence: u64| match sequence % 50 {
        // What has a line feed in it has a row of its own.
        0 => "two\nlines".to_owned(),
        1 => String::new(),
        _ => format!("line {sequence}"),
    };
    let (mut sequence, mut place) = (0, 0);
    while sequence < TOTAL {
        place += 10;
        let count = (place % 700 + 1).min(TOTAL - sequence);
        let at = i64::try_from(place).unwrap();
        let payload = Payload::Lines { first: sequence + 1, count, ended: true };
        let mut records = vec![Record::Event(EventRow { worker: 1, place, at, output: true, payload })];
        for _ in 0..count {
            sequence += 1;
            records.push(Record::Item(ItemRow {
                worker: 1,
                sequence,
                place,
                at,
                role: "assistant".into(),
                cont: sequence.is_multiple_of(333),
                content: content(sequence).into(),
            }));
        }
        journal.note(records);
    }
    flush(&journal);
    let database = Connection::open(folder.path().join(lock::DATABASE)).unwrap();
    let rows: i64 = database.query_row("SELECT count(*) FROM item", [], |row| row.get(0)).unwrap();
    assert!(rows < 300, "{rows}");
    let reader = journal.reader();
    for after in [0, 1, 9, 10, 49, 50, 51, 500, 1999, 2000] {
        let items = reader.items(1, ItemWindow { after, limit: 60, max_bytes: usize::MAX }).unwrap();
        let expected = (after + 1..=TOTAL.min(after + 60))
            .map(|sequence| (sequence, content(sequence), sequence.is_multiple_of(333)));
        let found = items.iter().map(|item| (item.sequence, item.content.to_string(), item.cont));
        assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        let newest = reader.newest_items(1, after, u64::MAX, 60, usize::MAX).unwrap();
        let expected: Vec<u64> = (after.saturating_sub(60).max(1)..after).collect();
        assert_eq!(newest.iter().map(|item| item.sequence).collect::<Vec<_>>(), expected);
    }
    let mut found = Vec::new();
    let mut before = Some(u64::MAX);
    while let Some(at) = before {
        let page = reader.search(1, "line 1", at, 7).unwrap();
        found.extend(page.items.iter().map(|item| item.sequence));
        before = page.next_before;
    }
    let expected = (1..=TOTAL).rev().filter(|sequence| content(*sequence).contains("line 1"));
    assert_eq!(found, expected.collect::<Vec<_>>());
    let events = reader.newest_events(1, 0, usize::MAX, usize::MAX).unwrap().events;
    let told: String = events
        .iter()
        .map(|event| {
            let event: serde_json::Value = serde_json::from_str(&event.payload).unwrap();
            event["data"]["text"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(told, (1..=TOTAL).map(|sequence| content(sequence) + "\n").collect::<String>());
    drop(database);
    journal.close();
    let retention = Retention { items: 1000, ..Retention::default() };
    let left = |journal: &Journal| sequences(journal, 1);
    let (journal, _) = settled(folder.path(), retention, |journal| left(journal).len() <= 1000);
    assert_eq!(left(&journal).last(), Some(&TOTAL));
    assert!(left(&journal).len() >= 1000 - 512);
}
