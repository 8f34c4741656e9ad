//! A disk that is full for a while: the owner may make its files no larger.

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use sekisho_store::journal::{ItemWindow, Journal, Options, Record};

use super::owner::{entry, identity, row};

/// What the owner says of each item, and then whether it could read its transcript.
const KEPT: &str = "kept";
const REFUSED: &str = "refused";
const READ: &str = "read";

/// The owner: it goes on, whatever it is told, and says how it goes.
pub(crate) fn run(folder: &Path) {
    let (journal, _) = Journal::open(folder, &identity(), Options::default()).expect("the store opens");
    journal.wait(journal.note([Record::Worker(Box::new(row(1)))])).expect("there is room yet");
    let say = |line: String| {
        let mut output = std::io::stdout().lock();
        output.write_all(line.as_bytes()).and_then(|()| output.flush()).is_ok()
    };
    for sequence in 1.. {
        let kept = journal.wait(journal.note(entry(1, sequence, sequence))).is_ok();
        let window = ItemWindow { after: 0, limit: 10, max_bytes: usize::MAX };
        let read = if journal.reader().items(1, window).is_ok() { READ } else { "unreadable" };
        if !say(format!("{} {read} {sequence}\n", if kept { KEPT } else { REFUSED })) {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Fills the disk of an owner, and makes room again.
pub(crate) fn is_full_for_a_while(folder: &Path) {
    // What would end a process that makes a file too large is left unheard.
    let mut owner = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().expect("this program"))
        .arg("--patient")
        .arg(folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell");
    let pid = Pid::from_child(&owner);
    let room = |bytes: Option<u64>| {
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(Some(pid), Resource::Fsize, limit).expect("the owner is ours");
    };
    let mut lines = BufReader::new(owner.stdout.take().expect("a pipe")).lines();
    let mut until = |what: &str, count: usize| {
        let mut last = 0;
        let mut seen = 0;
        while seen < count {
            let line = lines.next().expect("the owner goes on").expect("a pipe");
            assert!(line.contains(READ) && !line.contains("unreadable"), "reading goes on: {line}");
            seen = if line.starts_with(what) { seen + 1 } else { 0 };
            last = line.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number");
        }
        last
    };
    let before: u64 = until(KEPT, 5);
    room(Some(0));
    until(REFUSED, 3);
    room(None);
    let after: u64 = until(KEPT, 5);
    assert!(after > before);
    owner.kill().expect("the owner is ours");
    owner.wait().expect("the owner was started here");
    let (journal, recovered) =
        Journal::open(folder, &identity(), Options::default()).expect("the store opens");
    let items = recovered.workers[0].extent.items;
    assert!(items >= after, "{items} of {after}");
    let window = ItemWindow { after: 0, limit: usize::MAX, max_bytes: usize::MAX };
    let sequences: Vec<u64> =
        journal.reader().items(1, window).expect("items").iter().map(|item| item.sequence).collect();
    // What could not be written at the time has been written since.
    assert_eq!(sequences, (1..=items).collect::<Vec<_>>());
}
