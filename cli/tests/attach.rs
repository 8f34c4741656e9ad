//! `sekisho attach` on a terminal of its own, as a person who sits at one uses it.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Instant;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
use sekisho_tests::client::PATIENCE;
use sekisho_tests::processes::{Process, binary, eventually};

const INTRODUCTION: &str = "/help for more";
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const CTRL_X_CTRL_S: &str = "\x18\x13";
const CTRL_X_CTRL_P: &str = "\x18\x10";

fn sekisho(server: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho"));
    command.env("SEKISHO_SERVER", server).env("TERM", "xterm").env_remove("SEKISHO_ACCESS_TOKEN");
    command.args(["--color", "never"]);
    command
}

/// A server whose embedded runtime runs shells, where it is, and a worker there.
fn shell() -> (Process, String, String) {
    let process = Process::start(Command::new(binary("sekisho-server")).args([
        "--listen",
        "127.0.0.1:0",
        "--exec",
        "sh",
    ]));
    let url = format!("http://{}", process.address());
    let worker = create(&url, "embedded");
    (process, url, worker)
}

fn create(url: &str, runtime_id: &str) -> String {
    let created = sekisho(url).args(["create", runtime_id]).output().unwrap();
    assert!(created.status.success(), "{created:?}");
    String::from_utf8(created.stdout).unwrap().trim().to_owned()
}

fn status_of(url: &str, worker: &str) -> String {
    let shown = String::from_utf8(sekisho(url).args(["worker", worker]).output().unwrap().stdout).unwrap();
    let line = shown.lines().find(|line| line.starts_with("status")).unwrap();
    line.split_whitespace().last().unwrap().to_owned()
}

/// A terminal with the command line attached to a worker.
struct Seat {
    keyboard: File,
    terminal: OwnedFd,
    modes: String,
    shown: Receiver<Vec<u8>>,
    /// What was shown and not looked at.
    seen: String,
    /// What may be the beginning of a control sequence.
    unread: String,
    /// All that was shown, control sequences included.
    raw: String,
    child: Child,
}

impl Seat {
    fn attach(url: &str, worker: &str) -> Self {
        Self::attach_with(url, &["attach", worker])
    }

    fn attach_with(url: &str, arguments: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let terminal =
            rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let size = Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal, size).unwrap();
        let end = || Stdio::from(terminal.try_clone().unwrap());
        let modes = modes(&terminal);
        let mut command = sekisho(url);
        let child = command.args(arguments).stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let keyboard = File::from(master);
        let mut screen = keyboard.try_clone().unwrap();
        let (sender, shown) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = screen.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            keyboard,
            terminal,
            modes,
            shown,
            seen: String::new(),
            unread: String::new(),
            raw: String::new(),
            child,
        }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until something is shown, behind what was waited for before; what was shown until then.
    fn sees(&mut self, text: &str) -> String {
        let deadline = Instant::now() + 3 * PATIENCE;
        loop {
            if let Some(at) = self.seen.find(text) {
                return self.seen.drain(..at + text.len()).collect();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.shown.recv_timeout(left) {
                Ok(bytes) => self.read(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("no {text:?} in {:?}", self.seen.lines().rev().take(20).collect::<Vec<_>>()),
            }
        }
    }

    /// Keeps the text of what was shown, and of what was taken away and drawn again, the last.
    fn read(&mut self, text: &str) {
        self.raw.push_str(text);
        self.unread.push_str(text);
        while let Some(begin) = self.unread.find('\x1b') {
            let rest = self.unread.get(begin + 2..).unwrap_or_default();
            let Some(length) = rest.find(|character: char| character.is_ascii_alphabetic()) else { return };
            let end = begin + 2 + length;
            self.seen.push_str(&self.unread[..begin].replace('\r', ""));
            if self.unread[..=end].ends_with("[J") {
                self.seen.truncate(self.seen.rfind('\n').map_or(0, |end| end + 1));
            }
            self.unread.drain(..=end);
        }
        self.seen.push_str(&std::mem::take(&mut self.unread).replace('\r', ""));
    }

    /// Waits until something was written that is not to be seen.
    fn is_sent(&mut self, sequence: &str) {
        while !self.raw.contains(sequence) {
            let bytes = self.shown.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {sequence:?}"));
            self.read(&String::from_utf8_lossy(&bytes));
        }
    }

    /// Closes the terminal.
    fn hang_up(&mut self) {
        // The thread that reads the screen lets go of it with the next thing that no test waits for.
        self.shown = mpsc::channel().1;
        self.press("x");
        self.keyboard = File::open("/dev/null").unwrap();
    }

    /// Waits until the command has ended; the terminal must be as it was before.
    fn ended(&mut self) -> ExitStatus {
        let status = eventually("it ends", || self.child.try_wait().unwrap());
        assert_eq!(modes(&self.terminal), self.modes);
        status
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn modes(terminal: &OwnedFd) -> String {
    format!("{:?}", tcgetattr(terminal).unwrap())
}

#[test]
fn a_conversation() {
    let (_server, url, worker) = shell();
    let mut seat = Seat::attach(&url, &worker);
    seat.sees(INTRODUCTION);
    seat.sees(&format!("\n{worker}> "));
    assert_ne!(modes(&seat.terminal), seat.modes);
    seat.press("echo $((6 * 7))\r");
    let until = seat.sees("\n42\n");
    assert_eq!(until, "> echo $((6 * 7))\n42\n", "what was said is shown once");
    seat.press("rm -rf /");
    seat.sees("rm -rf /");
    seat.press(CTRL_C);
    seat.press(CTRL_C);
    seat.sees("Ctrl-C once more interrupts");
    seat.press("echo one; echo two\r");
    seat.sees("\none\ntwo\n");
    seat.press("\x1b[200~echo a\recho b\r\x1b[201~");
    seat.sees("echo b");
    seat.press("\r");
    seat.sees("\na\nb\n");
    seat.press(CTRL_D);
    seat.sees("which goes on");
    assert!(seat.ended().success());
    assert_eq!(status_of(&url, &worker), "running");

    let mut again = Seat::attach(&url, &worker);
    let history = again.sees(INTRODUCTION);
    assert!(history.contains("> echo $((6 * 7))\n42\n"), "{history:?}");
    again.press("\x1b[A");
    again.sees("echo b");
    again.press(CTRL_C);
    again.press(CTRL_C);
    again.press(CTRL_C);
    again.sees("which goes on");
    assert!(again.ended().success());
}

#[test]
fn secrets_interrupts_and_empty_lines() {
    let (_server, url, worker) = shell();
    let mut seat = Seat::attach(&url, &worker);
    seat.sees(INTRODUCTION);
    // What comes before the shell has begun with a line may be taken for its next line.
    seat.press("echo asking; read x; read y; echo got ${#x} ${#y}\r");
    seat.sees("\nasking\n");
    seat.press("\r");
    seat.press(CTRL_X_CTRL_P);
    seat.sees("secret (not shown)>");
    seat.press("hunter2\r");
    let shown = seat.sees("\ngot 0 7\n");
    assert!(!shown.contains("hunter2") && shown.contains("[secret]"), "{shown:?}");
    seat.press("trap 'echo interrupted' INT; echo set\r");
    seat.sees("\nset\n");
    seat.press("echo sleeping; sleep 30\r");
    seat.sees("\nsleeping\n");
    seat.press(CTRL_C);
    seat.sees("Ctrl-C once more interrupts");
    seat.press(CTRL_C);
    seat.sees("\ninterrupted\n");
    seat.press("/eof\r");
    seat.sees("has ended: exited");
    seat.ended();
}

#[test]
fn the_workers_own_terminal_is_given_through() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("sekisho.toml");
    let profile = "[embedded.profiles.shell]\nkind = 'terminal'\ncommand = ['sh']\n";
    std::fs::write(&config, format!("listen = '127.0.0.1:0'\n{profile}")).unwrap();
    let server = Process::start(Command::new(binary("sekisho-server")).arg("--config").arg(&config));
    let url = format!("http://{}", server.address());
    let worker = create(&url, "embedded");
    let mut seat = Seat::attach_with(&url, &["attach", "--raw", &worker]);
    seat.press("stty size; tty\r");
    seat.sees("30 100\n");
    seat.sees("/dev/pts/");
    let size = Winsize { ws_row: 31, ws_col: 99, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&seat.terminal, size).unwrap();
    let resized = Command::new("kill").args(["-WINCH", &seat.child.id().to_string()]).status();
    assert!(resized.unwrap().success());
    // The new size comes after what is typed, or before: it is asked for until it is there.
    seat.press("until stty size | grep '31 99'; do sleep 0.05; done\r");
    seat.sees("31 99\n");
    // Ctrl-C is the worker's, and so is an escape sequence that it writes.
    seat.press("PS1='ready'; PS1=\"$PS1> \"; echo slee''; sleep 30\r");
    seat.sees("slee\n");
    seat.press(CTRL_C);
    seat.sees("ready> ");
    seat.press("printf '\\033[1mbold\\n'; echo $((6 * 7))\r");
    seat.sees("42\n");
    seat.press("\x10\x11");
    seat.sees("which goes on");
    assert!(seat.ended().success());
    let mut again = Seat::attach_with(&url, &["attach", "--raw", &worker]);
    again.press("exit 7\r");
    again.sees("has ended: exited, exit status 7");
    assert_eq!(again.ended().code(), Some(7));
}

#[test]
fn the_end_of_the_worker_is_the_end() {
    let (_server, url, worker) = shell();
    let mut seat = Seat::attach(&url, &worker);
    seat.sees(INTRODUCTION);
    seat.press(CTRL_X_CTRL_S);
    seat.sees("stop the worker? (y/N)");
    seat.press("n");
    // A line that begins like a command of ours and is none is the worker's.
    seat.press("/nonsense\r");
    seat.sees("> /nonsense\n");
    seat.sees("/nonsense: not found");
    assert_eq!(status_of(&url, &worker), "running");
    seat.press(CTRL_X_CTRL_S);
    seat.press("y");
    seat.sees("has ended");
    // By SIGTERM, as a shell would say it.
    assert_eq!(seat.ended().code(), Some(143));
    assert_eq!(status_of(&url, &worker), "stopped");
}

#[test]
fn a_signal_leaves_the_terminal_as_it_was() {
    let (_server, url, worker) = shell();
    for (name, number) in [("TERM", 15), ("HUP", 1), ("INT", 2)] {
        let mut seat = Seat::attach(&url, &worker);
        seat.sees(INTRODUCTION);
        seat.press("half a li");
        seat.sees("half a li");
        let process = seat.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &process]).status().unwrap().success());
        assert_eq!(seat.ended().signal(), Some(number));
    }
    assert_eq!(status_of(&url, &worker), "running");
}

#[test]
fn a_terminal_that_is_closed_ends_it() {
    let (_server, url, worker) = shell();
    let mut seat = Seat::attach(&url, &worker);
    seat.sees(INTRODUCTION);
    seat.hang_up();
    eventually("it ends", || seat.child.try_wait().unwrap());
    assert_eq!(status_of(&url, &worker), "running");
}

#[test]
fn a_lot_of_output_is_shown_in_order_and_without_gaps() {
    let (_server, url, worker) = shell();
    let mut seat = Seat::attach(&url, &worker);
    seat.sees(INTRODUCTION);
    // Long lines, as a runtime lets go of what is said in many short ones before a gateway has taken it.
    seat.press("p=$(head -c 4000 /dev/zero | tr '\\0' x)\r");
    seat.press("for n in $(seq 100001 100400); do echo $n; echo $p; done; echo $((1 + 2))rd\r");
    let shown = seat.sees("\n3rd\n");
    assert_eq!(shown.matches('x').count(), 400 * 4000 + 1, "all of them, and the one of `tr`");
    let numbers: Vec<u32> = shown.lines().filter_map(|line| line.parse().ok()).collect();
    let gaps: Vec<_> = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert!(gaps.is_empty(), "{gaps:?}");
    assert_eq!((numbers.first(), numbers.last()), (Some(&100_001), Some(&100_400)));
    seat.press(CTRL_D);
    assert!(seat.ended().success());
}

/// A server before the runtime at this address, on a port if it is given.
fn server(directory: &Path, listen: &str, runtime: &Process) -> Process {
    let base_url = runtime.said().replace("listening on ", "");
    let (config, token, key) =
        (directory.join("sekisho.toml"), directory.join("token"), directory.join("cursor.key"));
    let text = format!(
        "listen = '{listen}'\ncursor_key_file = {key:?}\n[[remote]]\nruntime_id = 'build-box'\ntoken_file = {token:?}\nbase_url = '{base_url}'\n"
    );
    std::fs::write(&config, text).unwrap();
    Process::start(Command::new(binary("sekisho-server")).arg("--config").arg(config))
}

#[test]
fn the_server_is_lost_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "a-token-for-tests\n").unwrap();
    let runtime = Process::start(
        Command::new(binary("sekisho-runtime"))
            .args(["--listen", "127.0.0.1:0", "--runtime-id", "build-box", "--profile", "shell=sh"])
            .arg("--token-file")
            .arg(&token),
    );
    let mut gateway = server(directory.path(), "127.0.0.1:0", &runtime);
    let address = gateway.address().to_string();
    let url = format!("http://{address}");
    let worker = create(&url, "build-box");
    let mut seat = Seat::attach(&url, &worker);
    seat.sees(INTRODUCTION);
    let stop = directory.path().join("stop");
    seat.press(&format!(
        "n=100001; while ! test -e {}; do echo $n; n=$((n+1)); sleep 0.02; done; echo $((1 + 2))rd\r",
        stop.display()
    ));
    let mut shown = seat.sees("\n100005\n");

    gateway.signal("KILL");
    gateway.ended();
    shown += &seat.sees("The gateway cannot be reached");
    seat.press("echo too early\r");
    shown += &seat.sees("waits until");

    let _gateway = server(directory.path(), &address, &runtime);
    shown += &seat.sees("and nothing was missed");
    std::fs::write(stop, "").unwrap();
    shown += &seat.sees("\n3rd\n");
    let numbers: Vec<u32> = shown.lines().filter_map(|line| line.parse().ok()).collect();
    let expected: Vec<u32> = (100_001..).take(numbers.len()).collect();
    assert!(numbers.len() > 5 && numbers == expected, "{numbers:?}");
    seat.sees("too early\n");
    seat.press(CTRL_D);
    assert!(seat.ended().success());
}

/// A server whose embedded runtime runs agents that need no model.
fn agents(directory: &Path, listen: &str) -> (Process, String) {
    let config = directory.join("sekisho.toml");
    let agent = binary("scripted-agent");
    let profile = format!("[embedded.profiles.agent]\nkind = 'acp'\ncwd = '/'\ncommand = [{agent:?}]\n");
    std::fs::write(&config, format!("listen = '{listen}'\n{profile}")).unwrap();
    let server = Process::start(Command::new(binary("sekisho-server")).arg("--config").arg(&config));
    let url = format!("http://{}", server.address());
    (server, url)
}

#[test]
fn a_question_is_answered_by_the_number_of_an_option() {
    let directory = tempfile::tempdir().unwrap();
    let (_server, url) = agents(directory.path(), "127.0.0.1:0");
    let worker = create(&url, "embedded");
    let mut seat = Seat::attach(&url, &worker);
    seat.sees(INTRODUCTION);
    seat.press("write write choose done\r");
    seat.sees("? Write notes.txt (r1-1)\n  1. ");
    seat.sees("(1-3 answers r1-1)> ");
    seat.press("7\r");
    seat.sees("1-3 answers r1-1; a space before a digit");
    seat.press("1\r");
    seat.sees("r1-1: allow");
    seat.sees("(1-3 answers r1-2)> ");
    // Another answer comes first, while the digit is typed: it is not taken for the next question.
    seat.press("1");
    let answered = sekisho(&url).args(["answer", &worker, "r1-2", "reject"]).output().unwrap();
    assert!(answered.status.success(), "{answered:?}");
    seat.sees("r1-2: reject");
    seat.sees("? Which color? (r1-3)");
    seat.press("\r");
    seat.sees("another answer was first (request_already_answered)");
    // One that comes later is shown what is open, and answers it.
    let mut late = Seat::attach(&url, &worker);
    late.sees("? Which color? (r1-3)\n  1. ");
    late.sees("answers r1-3)> ");
    late.press("2\r");
    seat.sees("— r1-3: ");
    seat.sees("done");
    // Where no question is open, a digit is a message as any other.
    late.sees("done");
    late.press("1\r");
    late.sees("> 1\n");
    for mut seat in [seat, late] {
        seat.press(CTRL_D);
        assert!(seat.ended().success());
    }
}

#[test]
fn questions_are_watched_from_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let (mut server, url) = agents(directory.path(), "127.0.0.1:0");
    let worker = create(&url, "embedded");
    let mut watching = sekisho(&url);
    watching.args(["--json", "requests", "--watch"]).stdout(Stdio::piped());
    let mut watching = watching.stderr(Stdio::piped()).spawn().unwrap();
    let mut notes = BufReader::new(watching.stderr.take().unwrap()).lines().map_while(Result::ok);
    let out = BufReader::new(watching.stdout.take().unwrap());
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let next = || {
        let line: String = lines.recv_timeout(3 * PATIENCE).unwrap();
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        (text(&line["event"]), text(&line["request"]["request_id"]))
    };
    let does = |arguments: &[&str]| {
        let done = sekisho(&url).args(arguments).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    does(&["send", &worker, "write write done"]);
    assert_eq!(next(), ("opened".into(), "r1-1".into()));
    does(&["answer", &worker, "r1-1", "allow"]);
    assert_eq!(next(), ("gone".into(), "r1-1".into()));
    assert_eq!(next(), ("opened".into(), "r1-2".into()));
    // The gateway goes, and its own runtime with it.
    server.signal("KILL");
    server.ended();
    assert!(notes.any(|note| note.contains("trying again")));
    let _server = agents(directory.path(), url.trim_start_matches("http://"));
    assert_eq!(next(), ("gone".into(), "r1-2".into()));
    assert!(notes.next().unwrap().contains("answered again after"), "the outage is told once");
    // The output is no longer read once the next line has come.
    drop(lines);
    does(&["send", &create(&url, "embedded"), "ask"]);
    let status = eventually("it ends", || watching.try_wait().unwrap());
    assert!(status.success(), "{status}");
}

#[test]
fn without_a_terminal_it_tells_what_to_use() {
    for arguments in [&["attach", "a/b"][..], &["--json", "attach", "a/b"], &["create", "a", "--attach"]] {
        let refused = sekisho("http://127.0.0.1:1").args(arguments).stdin(Stdio::null()).output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("use `send` and `watch`"), "{said:?}");
    }
}

/// What shows the screen that was there before, lines that are too long, and the cursor.
const SCREEN_AS_BEFORE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

#[test]
fn a_live_list_gives_the_terminal_back() {
    let (_server, url, _worker) = shell();
    for (arguments, key) in [(&["top"][..], "q"), (&["workers", "--watch"], CTRL_C)] {
        let mut seat = Seat::attach_with(&url, arguments);
        seat.sees("running 1");
        assert_ne!(modes(&seat.terminal), seat.modes);
        // An arrow and F2 are no q.
        seat.press("\x1b[A\x1bOQ");
        create(&url, "embedded");
        seat.sees("running 2");
        seat.press(key);
        assert!(seat.ended().success());
        seat.is_sent(SCREEN_AS_BEFORE);
        stop_one(&url);
    }
}

/// Removes the second worker again.
fn stop_one(url: &str) {
    let listed = String::from_utf8(sekisho(url).args(["workers"]).output().unwrap().stdout).unwrap();
    let worker = listed.lines().last().unwrap().split_whitespace().next().unwrap().to_owned();
    assert!(sekisho(url).args(["cancel", &worker]).output().unwrap().status.success());
    eventually("it is gone", || {
        sekisho(url).args(["remove", &worker]).output().unwrap().status.success().then_some(())
    });
}

#[test]
fn a_live_list_obeys_signals_and_sizes() {
    let (_server, url, _worker) = shell();
    for (signal, number) in [(Signal::TERM, 15), (Signal::INT, 2), (Signal::HUP, 1)] {
        let mut seat = Seat::attach_with(&url, &["top"]);
        seat.sees("running 1");
        let size = Winsize { ws_row: 2, ws_col: 40, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&seat.terminal, size).unwrap();
        kill_process(Pid::from_child(&seat.child), Signal::WINCH).unwrap();
        seat.sees("… and 2 more");
        kill_process(Pid::from_child(&seat.child), signal).unwrap();
        assert_eq!(seat.ended().signal(), Some(number));
        seat.is_sent(SCREEN_AS_BEFORE);
    }
}

#[test]
fn a_live_list_can_be_left_while_its_gateway_says_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let mut seat = Seat::attach_with(&url, &["top"]);
    let _connection = silent.accept().unwrap();
    let began = Instant::now();
    seat.press("q");
    assert!(seat.ended().success());
    assert!(began.elapsed() < PATIENCE, "before the gateway's time is over");
    seat.is_sent(SCREEN_AS_BEFORE);
}
