use std::fs;

use rusqlite::Connection;

use super::*;
use crate::journal::Record;
use crate::journal::tests::{flush, line, open, worker};

#[test]
fn a_store_is_checked_exported_and_compacted() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(check(folder.path()), Err(MaintainError::Open(OpenError::Io(io::ErrorKind::NotFound)))));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made where there is nothing");
    let (journal, _) = open(folder.path());
    journal.note([worker(1), worker(2)]);
    for sequence in 1..=3000 {
        journal.note(line(1, sequence, sequence, &"x".repeat(500)));
    }
    journal.note(line(2, 1, 4000, "two"));
    flush(&journal);
    assert!(matches!(check(folder.path()), Err(MaintainError::Open(OpenError::InUse))));
    journal.close();

    let findings = check(folder.path()).unwrap();
    assert_eq!((findings.workers, findings.items, findings.events), (2, 3001, 3001));
    assert_eq!((findings.version, findings.faults), (journal::VERSION, vec![]));
    let mut exported = Vec::new();
    assert!(export(folder.path(), &mut exported).unwrap().is_empty());
    let lines: Vec<serde_json::Value> = exported
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let count = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).count();
    assert_eq!(["runtime", "worker", "item", "event"].map(count), [1, 2, 3001, 3001]);
    assert_eq!(lines.last().unwrap()["payload"]["data"]["text"], "two\n");

    let (journal, _) = open(folder.path());
    journal.note([Record::Forget(1)]);
    journal.close();
    let (before, after) = compact(folder.path()).unwrap();
    assert!(after * 4 < before, "{after} of {before}");
    assert_eq!(check(folder.path()).unwrap().items, 1);
}

#[test]
fn faults_are_found_and_what_is_sound_is_exported() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    journal.note([worker(1), worker(2), worker(3)]);
    for sequence in 1..=3 {
        journal.note(line(1, sequence, sequence, "x"));
    }
    journal.close();
    let database = Connection::open(folder.path().join("store.db")).unwrap();
    database.execute("DELETE FROM item WHERE sequence = 2", []).unwrap();
    database.execute("UPDATE worker SET status = 'asleep' WHERE no = 2", []).unwrap();
    drop(database);
    let faults = check(folder.path()).unwrap().faults;
    assert!(faults.contains(&"the transcript of the worker w-1 is damaged".to_owned()), "{faults:?}");
    assert!(faults.contains(&"the record of the worker w-2 is damaged".to_owned()), "{faults:?}");
    let mut exported = Vec::new();
    assert_eq!(export(folder.path(), &mut exported).unwrap(), ["the record of the worker w-2 is damaged"]);
    assert!(String::from_utf8(exported).unwrap().contains("w-3"));
}
