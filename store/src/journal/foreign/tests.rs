use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::super::tests::{flush, identity, line, open, worker};
use super::super::{Journal, Options, WorkerNo};
use super::*;

fn reader(folder: &Path) -> ForeignStore {
    ForeignStore::new(folder, "r".parse().unwrap())
}

fn id(no: WorkerNo) -> WorkerId {
    format!("w-{no}").parse().unwrap()
}

fn window() -> Window {
    Window { start: 0, limit: 256, max_bytes: 1 << 20 }
}

fn lengths(reader: &ForeignStore) -> Vec<u64> {
    reader.workers().unwrap().workers.iter().map(|worker| worker.transcript_len).collect()
}

/// The names in a folder, and what is in those files that only their owner may write.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn what_its_owner_wrote_is_read_while_it_runs_and_after() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(reader(folder.path()).runtime(), Err(Problem::StoreMissing));
    let (journal, _) = open(folder.path());
    journal.note([worker(1), worker(2)]);
    journal.note(line(1, 1, 5, "one"));
    journal.note(line(1, 2, 6, "two"));
    flush(&journal);
    let check = |status| {
        let before = files(folder.path());
        let reader = reader(folder.path());
        let runtime = reader.runtime().unwrap();
        assert_eq!((runtime.display_name.as_deref(), runtime.status), (Some("R"), status));
        assert_eq!(lengths(&reader), [2, 0]);
        let detail = reader.worker(&id(1)).unwrap().unwrap();
        assert_eq!(detail.facts.created_at.as_deref(), Some("1970-01-01T00:00:01.000Z"));
        assert_eq!(reader.worker(&id(9)).unwrap(), None);
        let page = reader.transcript(&id(1), Window { limit: 1, ..window() }).unwrap().unwrap();
        assert_eq!((page.total, page.items[0].content.as_str(), page.next), (2, "one", Some(1)));
        let page = reader.transcript(&id(1), Window { start: 1, ..window() }).unwrap().unwrap();
        assert_eq!((page.items[0].content.as_str(), page.next), ("two", None));
        let events = reader.events(&id(1), 5, 9, usize::MAX).unwrap().unwrap();
        assert_eq!((events.before, events.events.len()), (Some(5), 1));
        assert_eq!(reader.search(&id(1), "tw", u64::MAX, 9).unwrap().unwrap().items.len(), 1);
        assert_eq!(reader.incarnation().unwrap(), identity().incarnation);
        assert!(files(folder.path()) == before, "a reader has written");
    };
    check(RuntimeStatus::Running);
    journal.close();
    check(RuntimeStatus::Stopped);
    assert_eq!(files(folder.path()).len(), 2, "the database and the lock are all that is left");
}

#[test]
fn every_commit_is_seen_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    journal.note([worker(1)]);
    let reader = reader(folder.path());
    for sequence in 1..=50 {
        journal.note(line(1, sequence, sequence, "x"));
        flush(&journal);
        assert_eq!(lengths(&reader), [sequence]);
    }
}

#[test]
fn what_an_end_at_once_has_left_is_read_without_being_put_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    journal.note([worker(1)]);
    journal.note(line(1, 1, 1, "x"));
    flush(&journal);
    for (name, bytes) in files(folder.path()) {
        fs::write(copy.path().join(name), bytes).unwrap();
    }
    let before = files(copy.path());
    assert_eq!(lengths(&reader(copy.path())), [1]);
    assert!(files(copy.path()) == before, "a reader has written");
    fs::remove_file(copy.path().join("store.db-shm")).unwrap();
    assert_eq!(reader(copy.path()).workers(), Err(Problem::NeedsOwner));
}

/// What only an owner can put in order waits for one, or for what the one that is there is about to do.
#[test]
fn what_is_left_unfinished_needs_an_owner() {
    let whole = tempfile::tempdir().unwrap();
    let (journal, _) = open(whole.path());
    journal.note([worker(1)]);
    flush(&journal);
    let left = |names: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files(whole.path()) {
            let bytes = if names.contains(&&*name) { bytes } else { Vec::new() };
            if name != "store.db-shm" {
                fs::write(folder.path().join(name), bytes).unwrap();
            }
        }
        folder
    };
    // A log without its index; a database in which nothing was written.
    for folder in [left(&["store.db", "store.db-wal"]), left(&[])] {
        assert_eq!(reader(folder.path()).workers(), Err(Problem::NeedsOwner));
        let lock = fs::File::open(folder.path().join("lock")).unwrap();
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
        assert_eq!(reader(folder.path()).workers(), Err(Problem::Busy));
        drop(lock);
        assert_eq!(reader(folder.path()).workers(), Err(Problem::NeedsOwner));
        // An owner does mend it.
        drop(open(folder.path()));
        assert!(reader(folder.path()).workers().is_ok());
    }
}

#[test]
fn problems_are_told() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let other = ForeignStore::new(folder.path(), "other".parse().unwrap());
    assert_eq!(other.runtime(), Err(Problem::OtherRuntime));
    let database = folder.path().join(lock::DATABASE);
    let change = |sql: &str| Connection::open(&database).unwrap().execute_batch(sql).unwrap();
    change("PRAGMA user_version = 3");
    assert_eq!(reader(folder.path()).workers(), Err(Problem::OtherVersion { found: 3, known: 1 }));
    change("PRAGMA user_version = 1; PRAGMA application_id = 5");
    assert_eq!(reader(folder.path()).workers(), Err(Problem::Damaged));
    fs::write(&database, "some text that is no database").unwrap();
    assert_eq!(reader(folder.path()).workers(), Err(Problem::Damaged));
    fs::remove_file(&database).unwrap();
    fs::create_dir(&database).unwrap();
    assert_eq!(reader(folder.path()).workers(), Err(Problem::NotAFile));
    let name = folder.path().file_name().unwrap().to_str().unwrap();
    assert!(!format!("{:?}", reader(folder.path())).contains(name));
}

#[test]
fn a_damaged_worker_costs_itself_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    journal.note([worker(1), worker(2), worker(3)]);
    journal.close();
    let damage =
        |sql| Connection::open(folder.path().join(lock::DATABASE)).unwrap().execute(sql, []).unwrap();
    damage("UPDATE worker SET request = '{}' WHERE no = 2");
    damage("UPDATE worker SET status = 'asleep' WHERE no = 3");
    let found = reader(folder.path()).workers().unwrap();
    assert_eq!(found.workers.len(), 1);
    let problem = |no| WorkerProblem { worker_id: id(no).to_string(), problem: Problem::Damaged };
    assert_eq!(found.problems, [problem(2), problem(3)]);
    assert_eq!(reader(folder.path()).worker(&id(3)), Err(Problem::Damaged));
}

/// A reader that comes at any moment of an owner's life sees a beginning of what was noted, and never an error.
#[test]
fn an_owner_that_comes_and_goes_is_never_misread() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    journal.note([worker(1)]);
    journal.close();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // However this thread ends.
            let _done = SetOnDrop(&done);
            let mut sequence = 0;
            for _ in 0..20 {
                let (journal, _) = Journal::open(folder.path(), &identity(), Options::default()).unwrap();
                for _ in 0..200 {
                    sequence += 1;
                    journal.note(line(1, sequence, sequence, &"x".repeat(500)));
                    if sequence.is_multiple_of(20) {
                        flush(&journal);
                    }
                }
            }
        });
        let reader = reader(folder.path());
        let mut known = 0;
        loop {
            let finished = done.load(Ordering::Acquire);
            let all = Window { start: 0, limit: usize::MAX, max_bytes: usize::MAX };
            match reader.transcript(&id(1), all) {
                Ok(page) => {
                    let page = page.unwrap();
                    assert!(page.total >= known);
                    known = page.total;
                    let sequences: Vec<_> = page.items.iter().map(|item| item.sequence).collect();
                    assert_eq!(sequences, (1..=known).collect::<Vec<_>>());
                }
                // The owner may come and go more often than a reader tries.
                Err(problem) => {
                    assert!(matches!(problem, Problem::Busy | Problem::NeedsOwner), "{problem:?}")
                }
            }
            if finished {
                break;
            }
        }
        assert_eq!(known, 4000);
    });
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
