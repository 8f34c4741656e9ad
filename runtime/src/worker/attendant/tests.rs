//! Real processes, from their start to their end. Their helper processes are the binary beside this test.

mod input;
mod leftovers;
mod output;
mod start;
mod terminals;

use std::fs;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex};
use std::thread::{self, JoinHandle};

use bytes::Bytes;

use super::super::{TerminalSettings, TerminalSize};
use super::*;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(1000);

/// How long anything may take to happen.
const AT_MOST: Duration = Duration::from_secs(30);

/// Notes what is told, and lets it be waited for.
#[derive(Default)]
struct Notes {
    inside: Mutex<Noted>,
    more: Condvar,
}

#[derive(Default)]
struct Noted {
    pid: Option<i32>,
    /// The text of standard output, or of the terminal.
    output: String,
    error: String,
    /// All lines in the order in which they were told, those of standard error marked.
    lines: Vec<String>,
    fragments: usize,
    has_ended: bool,
    /// What is not kept.
    unkept: Option<&'static str>,
    crowded: bool,
}

impl Notes {
    fn note(&self, note: impl FnOnce(&mut Noted)) {
        note(&mut self.inside.lock().unwrap());
        self.more.notify_all();
    }

    /// Waits until what was noted is like that.
    fn until<T>(&self, what: &str, look: impl Fn(&Noted) -> Option<T>) -> T {
        let until = Instant::now() + AT_MOST;
        let mut noted = self.inside.lock().unwrap();
        loop {
            if let Some(seen) = look(&noted) {
                return seen;
            }
            let rest = until.saturating_duration_since(Instant::now());
            assert!(!rest.is_zero(), "waited in vain for {what}: {:?} {:?}", noted.output, noted.error);
            noted = self.more.wait_timeout(noted, rest).unwrap().0;
        }
    }
}

impl OutputSink for Arc<Notes> {
    fn started(&self, pid: i32) {
        self.note(|noted| noted.pid = Some(pid));
    }

    fn said(&self, source: Source, fragment: &Fragment) -> Result<(), StoreFailed> {
        let mut kept = Ok(());
        self.note(|noted| {
            let (text, mark) = match source {
                Source::Output => (&mut noted.output, ""),
                Source::Error => (&mut noted.error, "! "),
            };
            text.push_str(fragment.text());
            noted.fragments += 1;
            noted.lines.extend(fragment.lines().map(|line| {
                let continues = if line.continues { "+ " } else { "" };
                format!("{mark}{continues}{}", line.text)
            }));
            if noted.unkept.is_some_and(|unkept| fragment.text().contains(unkept)) {
                kept = Err(StoreFailed);
            }
        });
        kept
    }

    fn has_room(&self) -> bool {
        !self.inside.lock().unwrap().crowded
    }
}

/// A worker that runs, and ends with its test.
struct Running {
    handle: Arc<Handle>,
    notes: Arc<Notes>,
    thread: Option<JoinHandle<End>>,
}

/// The program that the helpers of tests run.
fn helper() -> PathBuf {
    let path = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("sekisho-runtime");
    assert!(path.exists(), "the binary is not built: run `cargo test`");
    path
}

fn spec(command: &[&str]) -> ProgramSpec {
    ProgramSpec::new(command.iter().map(|part| (*part).to_owned()).collect())
}

fn sh(script: &str) -> ProgramSpec {
    spec(&["sh", "-c", script])
}

fn on_terminal(spec: ProgramSpec) -> ProgramSpec {
    let size = TerminalSize { cols: 100, rows: 30 };
    ProgramSpec { terminal: Some(TerminalSettings { size, term: "xterm".into(), echo: false }), ..spec }
}

fn run(spec: ProgramSpec) -> Running {
    run_under(&Arc::new(Supervisor::new(Some(helper()))), spec, Notes::default())
}

fn run_under(supervisor: &Arc<Supervisor>, program: ProgramSpec, notes: Notes) -> Running {
    let handle = Arc::new(Handle::new(program.terminal.is_some()).unwrap());
    let notes = Arc::new(notes);
    let launch = Launch { program, supervisor: Arc::clone(supervisor) };
    let (sink, its_handle) = (Arc::clone(&notes), Arc::clone(&handle));
    let thread = thread::spawn(move || {
        let end = attend(&launch, &its_handle, &sink);
        sink.note(|noted| noted.has_ended = true);
        end
    });
    Running { handle, notes, thread: Some(thread) }
}

impl Running {
    fn say(&self, line: &str) {
        self.handle.write(line.into()).unwrap();
    }

    /// Waits until it has said this.
    fn hear(&self, text: &str) {
        self.notes.until(text, |noted| noted.output.contains(text).then_some(()));
    }

    fn pid(&self) -> i32 {
        self.notes.until("the start", |noted| noted.pid)
    }

    /// Its process, and all that this started, by number.
    fn processes(&self) -> Vec<i32> {
        descendants(self.launcher())
    }

    /// Whether one of its processes goes by this name.
    fn is_running(&self, name: &str) -> bool {
        let name_of = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        self.processes().iter().any(|pid| name_of(pid).trim_end() == name)
    }

    fn launcher(&self) -> i32 {
        parent_of(self.pid()).unwrap()
    }

    /// Waits for its end; how that was, and all that it said.
    fn end(mut self) -> (End, Noted) {
        self.notes.until("the end", |noted| noted.has_ended.then_some(()));
        let end = self.thread.take().unwrap().join().unwrap();
        let noted = std::mem::take(&mut *self.notes.inside.lock().unwrap());
        (end, noted)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn exited(code: i32) -> End {
    End::Exited(ExitStatus::from_raw(code << 8))
}

fn signalled(signal: i32) -> End {
    End::Exited(ExitStatus::from_raw(signal))
}

/// State and parent of a process.
fn stat(pid: i32) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn parent_of(pid: i32) -> Option<i32> {
    Some(stat(pid)?.1)
}

fn all_processes() -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn descendants(ancestor: i32) -> Vec<i32> {
    let mut tree = vec![ancestor];
    let mut next = 0;
    while let Some(parent) = tree.get(next).copied() {
        tree.extend(all_processes().into_iter().filter(|pid| parent_of(*pid) == Some(parent)));
        next += 1;
    }
    tree.split_off(1)
}

fn is_alive(pid: i32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z')
}

fn until(what: &str, look: impl Fn() -> bool) {
    let until = Instant::now() + AT_MOST;
    while !look() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
