use super::*;

/// As Linux lists them: of three files, one waiting for another's lock.
const LIST: &str = "\
1: FLOCK  ADVISORY  WRITE 15363 fe:00:5587030 0 EOF
1: -> FLOCK  ADVISORY  WRITE 15364 fe:00:5587030 0 EOF
2: FLOCK  ADVISORY  READ 15363 fe:00:10133507 0 EOF
3: POSIX  ADVISORY  WRITE 6993 fe:00:10027012 128 128
4: OFDLCK ADVISORY  WRITE -1 00:2a:77 0 EOF
";

#[test]
fn an_exclusive_lock_of_the_file_is_an_owners() {
    let is_locked = |number| is_locked(LIST.as_bytes(), number);
    assert!(is_locked(5_587_030));
    // Shared, of a part of the file, of another kind, of another file.
    for other in [10_133_507, 10_027_012, 77, 558_703, 5_587_031] {
        assert!(!is_locked(other), "{other}");
    }
}

#[test]
fn an_owner_is_seen_without_its_noticing() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!may_have_owner(folder.path()));
    let lock = take(folder.path()).unwrap();
    assert!(may_have_owner(folder.path()));
    drop(lock);
    assert!(!may_have_owner(folder.path()) || !Path::new(LOCKS).exists());
    take(folder.path()).unwrap();
}
