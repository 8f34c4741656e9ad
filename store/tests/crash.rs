//! A store whose owner is killed at random moments while it writes as fast as it can.
//!
//! `cargo test -p sekisho-store --test crash` does this 20 times in each manner; `-- --rounds 1000` is the long run,
//! and `-- --seed N` repeats one. After each end the store is opened and everything in it is checked:
//!
//! - what was acknowledged is there, in order and once, with the event and the item of one note both or neither;
//! - no place is given out twice, so that no cursor of a viewer comes to mean another event;
//! - a copy of the files of one moment is as good as the files themselves;
//! - what a log lost at its end costs the end of what was noted and nothing else.
//!
//! Before that a disk is full for a while: what has to be durable is refused, reading goes on, and everything is written
//! once there is room.

mod crash {
    pub(crate) mod check;
    pub(crate) mod disk;
    pub(crate) mod owner;
}

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};
use std::{fs, thread};

use crash::check::{Told, check};
use rustix::process::{Pid, Signal, kill_process};

/// A generator that a seed makes the same numbers of (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| {
        let position = arguments.iter().position(|argument| argument == name)?;
        arguments.get(position + 1).map(String::as_str)
    };
    if let Some(folder) = after("--owner") {
        crash::owner::run(Path::new(folder));
        return ExitCode::SUCCESS;
    }
    if let Some(folder) = after("--patient") {
        crash::disk::run(Path::new(folder));
        return ExitCode::SUCCESS;
    }
    // What asks a test binary for the list of its tests is given one.
    if arguments.iter().any(|argument| argument == "--list") {
        println!("crash: test");
        return ExitCode::SUCCESS;
    }
    let rounds = after("--rounds").map_or(20, |rounds| rounds.parse().expect("a number of rounds"));
    let random = || SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").subsec_nanos().into();
    let seed = after("--seed").map_or_else(random, |seed| seed.parse().expect("a seed"));
    println!("crash: {rounds} rounds, seed {seed}");
    let folder = tempfile::tempdir().expect("a folder");
    crash::disk::is_full_for_a_while(&folder.path().join("full"));
    let mut chance = Chance(seed);
    let mut told = BTreeMap::new();
    for round in 1..=rounds {
        let lived = Duration::from_micros(chance.below(150_000));
        let copied = round % 2 == 0;
        one_round(folder.path(), lived, copied, &mut told, &mut chance);
        if round % 100 == 0 {
            println!("crash: {round} rounds");
        }
    }
    let items: u64 = told.values().map(|told: &Told| told.acknowledged).sum();
    println!("crash: ok, {} workers and {items} acknowledged items", told.len());
    ExitCode::SUCCESS
}

fn one_round(
    folder: &Path,
    lived: Duration,
    copied: bool,
    told: &mut BTreeMap<String, Told>,
    chance: &mut Chance,
) {
    let store = folder.join("store");
    let (mut owner, lines) = start(&store);
    let pid = Pid::from_child(&owner.0);
    // The first word comes when the store is open.
    let mut heard = vec![lines.recv().expect("the owner starts")];
    crash::check::read_beside(&store, lived);
    let copy = folder.join("copy");
    let mut heard_at_copy = None;
    if copied {
        kill_process(pid, Signal::STOP).expect("the owner is ours");
        wait_until_stopped(&owner);
        copy_files(&store, &copy);
        heard.extend(lines.try_iter());
        heard_at_copy = Some(heard.len());
        kill_process(pid, Signal::CONT).expect("the owner is ours");
        thread::sleep(lived / 4);
    }
    owner.kill();
    heard.extend(lines);
    if let Some(heard_at_copy) = heard_at_copy {
        let mut then = told.clone();
        Told::hear(&mut then, &heard[..heard_at_copy]);
        check(&copy, &then, true);
        cut_log(&store, &copy, chance);
        check(&copy, &BTreeMap::new(), false);
    }
    Told::hear(told, &heard);
    check(&store, told, true);
}

/// Copies a store as a loss of power may leave it: without the end of its log. What has been moved into the database
/// was on the disk before that, and is never lost.
fn cut_log(store: &Path, copy: &Path, chance: &mut Chance) {
    const LOG_HEADER: u64 = 32;
    const FRAME: u64 = 24 + 4096;
    copy_files(store, copy);
    let (log, index) = (copy.join("store.db-wal"), copy.join("store.db-shm"));
    // How many frames have been moved, and how many were about to be
    // (https://www.sqlite.org/walformat.html#the_wal_index_file_format).
    let index = fs::read(index).unwrap_or_default();
    let count = |at: usize| {
        index.get(at..at + 4).map_or(0, |bytes| u32::from_ne_bytes(bytes.try_into().expect("four bytes")))
    };
    let moved = LOG_HEADER + FRAME * u64::from(count(96).max(count(128)));
    let length = fs::metadata(&log).map_or(0, |log| log.len());
    if length > moved {
        let file = fs::OpenOptions::new().write(true).open(log).expect("a copy");
        file.set_len(moved + chance.below(length - moved)).expect("a copy");
    }
}

/// The process that writes. It ends with the round, also where that fails.
struct Owner(Child);

impl Owner {
    fn kill(&mut self) {
        self.0.kill().expect("the owner is ours");
        self.0.wait().expect("the owner was started here");
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.kill();
    }
}

fn start(store: &Path) -> (Owner, mpsc::Receiver<String>) {
    let mut owner = Command::new(std::env::current_exe().expect("this program"))
        .arg("--owner")
        .arg(store)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program starts");
    let output = BufReader::new(owner.stdout.take().expect("a pipe"));
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        // A line that the end has torn was not told.
        for line in output.split(b'\n').map_while(Result::ok) {
            if let Some(line) = line.strip_suffix(b".") {
                let _ = sender.send(String::from_utf8_lossy(line).into_owned());
            }
        }
    });
    (Owner(owner), lines)
}

/// A stop is complete when every thread has come to it.
fn wait_until_stopped(owner: &Owner) {
    let tasks = format!("/proc/{}/task", owner.0.id());
    let has_stopped = |stat: String| {
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['T', 'Z', 'X']))
    };
    loop {
        let mut tasks = fs::read_dir(&tasks).expect("the owner is there").flatten();
        // A thread that has gone meanwhile has stopped, too.
        if tasks.all(|task| fs::read_to_string(task.path().join("stat")).map_or(true, has_stopped)) {
            return;
        }
        thread::yield_now();
    }
}

fn copy_files(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a store") {
        let entry = entry.expect("a store");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}
