//! What the workers of a gateway's own runtime are kept from, and that nothing is left of them.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use sekisho_tests::client::{Answer, request, request_with};
use sekisho_tests::processes::{NO_STATE, Process, eventually};

const SERVER: &str = env!("CARGO_BIN_EXE_sekisho-server");

fn server(command: &str) -> Command {
    let mut server = Command::new(SERVER);
    server.env_remove("RUST_LOG").args(["--listen", "127.0.0.1:0", "--exec", command]);
    server
}

/// A worker of a gateway.
struct Worker {
    gateway: SocketAddr,
    path: String,
    token: Option<&'static str>,
}

impl Worker {
    fn create(gateway: SocketAddr, token: Option<&'static str>) -> Self {
        let nameless = Self { gateway, path: "/api/runtimes/embedded/workers".into(), token };
        let created = nameless.ask("POST", "", Some(r#"{"intent":{"kind":"assistant"}}"#));
        assert_eq!(created.status, 201, "{created:?}");
        let path = format!("{}/{}", nameless.path, created.json()["worker"]["worker_id"].as_str().unwrap());
        Self { path, ..nameless }
    }

    fn ask(&self, method: &str, route: &str, body: Option<&str>) -> Answer {
        let path = format!("{}{route}", self.path);
        let Some(token) = self.token else { return request(self.gateway, method, &path, body) };
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        request_with(self.gateway, method, &path, &headers, body)
    }

    fn say(&self, content: &str) {
        let input = serde_json::json!({ "content": content }).to_string();
        let answer = self.ask("POST", "/input", Some(&input));
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// What it said on standard output so far.
    fn said(&self) -> String {
        let transcript = self.ask("GET", "/transcript", None).json();
        let items = transcript["transcript"]["items"].as_array().unwrap().clone();
        let said = items.iter().filter(|item| item["role"] == "assistant");
        said.map(|item| item["content"].as_str().unwrap().to_owned() + "\n").collect()
    }

    /// Waits for the rest of the line that begins so.
    fn line(&self, beginning: &str) -> String {
        let found = || self.said().lines().find_map(|line| line.strip_prefix(beginning).map(str::to_owned));
        eventually(beginning, found)
    }
}

fn status_of(pid: u32, key: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(value.split_whitespace().next()?.to_owned())
}

/// All processes below one, whatever sessions they are in.
fn descendants(ancestor: u32) -> Vec<u32> {
    let mut tree = vec![ancestor];
    let mut next = 0;
    while let Some(parent) = tree.get(next).map(u32::to_string) {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        tree.extend(pids.filter(|pid| status_of(*pid, "PPid").as_ref() == Some(&parent)));
        next += 1;
    }
    tree.split_off(1)
}

fn is_alive(pid: u32) -> bool {
    status_of(pid, "State").is_some_and(|state| state != "Z")
}

/// When a process began, in ticks of the machine's clock (proc(5), `stat`, field 22); `None` where it is gone.
fn born(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19).map(str::to_owned)
}

/// Starts processes of every kind that is hard to end.
const TREE: &str = "trap '' TERM HUP INT; setsid sleep 1000 & (setsid sh -c 'sleep 1000 & sleep 1000' &) ; \
    (sleep 1000 &) ; sh -c 'kill -STOP $$' & nohup sleep 1000 >/dev/null 2>&1 & echo ready";

#[test]
fn nothing_is_left_however_the_server_ends() {
    // ABRT as in a crash. QUIT would be ignored where what runs the tests ignores it.
    for signal in ["KILL", "TERM", "INT", "ABRT"] {
        let server = Process::start(&mut server("sh"));
        let workers = [0, 1].map(|_| Worker::create(server.address(), None));
        for worker in &workers {
            worker.say(TREE);
            worker.line("ready");
        }
        // A supervisor, and for each worker a launcher, its shell and seven more.
        let tree = eventually("all of both trees", || {
            let tree = descendants(server.id());
            (tree.len() == 1 + 2 * 9).then_some(tree)
        });
        let tree: Vec<_> = tree.into_iter().map(|pid| (pid, born(pid))).collect();
        server.signal(signal);
        let mut told = Vec::new();
        eventually(signal, || {
            // A number that another process has been given since is not one of the tree's.
            let same = |(pid, start): &&(u32, Option<String>)| is_alive(*pid) && born(*pid) == *start;
            let left: Vec<_> =
                tree.iter().filter(same).map(|(pid, _)| (*pid, status_of(*pid, "Name"))).collect();
            if left != told {
                eprintln!("left after {signal}: {left:?}");
                told = left;
            }
            told.is_empty().then_some(())
        });
    }
}

#[test]
fn creates_and_ends_leave_nothing_in_the_server() {
    let server = Process::start(&mut server("sh -c 'sleep 1000 & wait'"));
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count();
    let create = || Worker::create(server.address(), None);
    let end = |worker: &Worker, how: &str| assert_eq!(worker.ask("POST", how, Some("{}")).status, 200);
    // The supervisor and the connections of the test's client are there to stay.
    end(&create(), "/cancel");
    eventually("only the supervisor is left", || (descendants(server.id()).len() == 1).then_some(()));
    let before = descriptors();
    for round in 0..10 {
        let workers: Vec<Worker> = (0..10).map(|_| create()).collect();
        for (number, worker) in workers.iter().enumerate() {
            end(worker, if (round + number) % 2 == 0 { "/stop" } else { "/cancel" });
        }
    }
    eventually("only the supervisor is left", || (descendants(server.id()).len() == 1).then_some(()));
    eventually("all descriptors are closed", || (descriptors() <= before).then_some(()));
}

/// Its helper processes are stopped, as if the machine were too slow to start one.
#[test]
fn a_process_that_is_slow_to_start_holds_up_no_other_client() {
    let server = Process::start(&mut server("sh"));
    let address = server.address();
    Worker::create(address, None);
    let supervisor = status_of_child(server.id(), "sekisho-superv");
    let signal = |signal: &str| {
        assert!(Command::new("kill").args([signal, &supervisor.to_string()]).status().unwrap().success());
    };
    signal("-STOP");
    let creating = std::thread::spawn(move || Worker::create(address, None));
    // It is on the list, and has no answer yet.
    eventually("it is being created", || {
        let workers = request(address, "GET", "/api/workers", None).json();
        (workers["items"].as_array().unwrap().len() == 2).then_some(())
    });
    // On every loop, by far more connections than there are loops.
    let begun = std::time::Instant::now();
    for _ in 0..64 {
        assert_eq!(request(address, "GET", "/api/workers", None).status, 200);
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(5) && !creating.is_finished());
    signal("-CONT");
    creating.join().unwrap();
}

/// The child of a process that goes by this name.
fn status_of_child(parent: u32, name: &str) -> u32 {
    let children = descendants(parent);
    *children.iter().find(|child| status_of(**child, "Name").as_deref() == Some(name)).unwrap()
}

/// A terminal of a test's own, which a server is started in.
struct Terminal {
    ours: File,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    fn open() -> (Self, OwnedFd) {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let theirs = ioctl_tiocgptpeer(&ours, flags).unwrap();
        let (ours, shown) = (File::from(ours), Arc::<Mutex<String>>::default());
        let (mut screen, noted) = (ours.try_clone().unwrap(), shown.clone());
        // It ends with the last process that has the terminal open.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count) = screen.read(&mut bytes) {
                noted.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        (Self { ours, shown }, theirs)
    }

    fn shows(&self) -> String {
        self.shown.lock().unwrap().clone()
    }
}

#[test]
fn the_terminal_of_a_server_is_out_of_reach_for_its_workers() {
    let (mut terminal, theirs) = Terminal::open();
    let stdio = || Stdio::from(theirs.try_clone().unwrap());
    let mut command = Command::new("setsid");
    command.env("STATE_DIRECTORY", NO_STATE).args([
        "--ctty",
        SERVER,
        "--listen",
        "127.0.0.1:0",
        "--exec",
        "bash --norc -i",
    ]);
    let mut server = command.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
    drop((command, theirs));
    let address: SocketAddr = eventually("the address", || {
        let shown = terminal.shows();
        shown.split_once("listening on http://")?.1.split_once("\r\n")?.0.parse().ok()
    });
    let worker = Worker::create(address, None);
    worker.say("echo answer $((6 * 7))");
    assert_eq!(worker.line("answer "), "42");
    for (at, attempt) in [
        "echo m4rk >/dev/tty",
        "head -c 1 </dev/tty",
        "setsid sh -c 'echo m4rk >/dev/tty'",
        "python3 -c \"import os; os.write(os.open('/dev/tty', os.O_RDWR), b'm4rk')\"",
        "exec 3<>/dev/tty",
    ]
    .iter()
    .enumerate()
    {
        worker.say(&format!("({attempt}) 2>/dev/null && echo reached {at} || echo kept {at}"));
        worker.line(&format!("kept {at}"));
    }
    worker.say("echo terminal $(ps -o tty= -p $$)");
    assert_eq!(worker.line("terminal "), "?");
    let tree = descendants(server.id());
    // What is typed there is for the server: Ctrl-C ends it.
    terminal.ours.write_all(b"\x03").unwrap();
    let ended = eventually("the end", || server.try_wait().unwrap());
    assert!(ended.success() && !tree.is_empty(), "{ended}");
    eventually("the end of all", || (!tree.iter().any(|pid| is_alive(*pid))).then_some(()));
    let shown = terminal.shows();
    assert!(!shown.contains("m4rk") && !shown.contains("answer"), "{shown}");
}

/// A process that ends with its test.
struct Decoy(Child);

impl Drop for Decoy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_worker_does_not_find_the_tokens_of_its_server() {
    // Of this run alone: other runs of this test on the machine have their own.
    let token: &'static str = Box::leak(format!("hunter2-hunter2-{}", std::process::id()).into());
    let directory = tempfile::tempdir().unwrap();
    // Where any user can run it.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("gateway");
    fs::copy(SERVER, &program).unwrap();
    let mut command = Command::new(&program);
    command.env("SEKISHO_ACCESS_TOKEN", token).env("OTHER_TOKEN", token).env("HOME", directory.path());
    command.env("XDG_STATE_HOME", directory.path().join("state")).current_dir("/");
    let config = directory.path().join("sekisho.toml");
    let text = "listen = '127.0.0.1:0'\naccess_token_env = 'OTHER_TOKEN'\n[embedded.profiles.sh]\ncommand = ['sh']\n";
    fs::write(&config, text).unwrap();
    fs::create_dir(directory.path().join("state")).unwrap();
    command.arg("--config").arg(&config);
    // Root may read everything: what is asked is whether an ordinary user may.
    if rustix::process::getuid().is_root() {
        std::os::unix::fs::chown(directory.path().join("state"), Some(65534), Some(65534)).unwrap();
        command.uid(65534).gid(65534);
    }
    // Of the same user and not concealed: what is searched for can be found.
    let mut decoy = Command::new("sleep");
    decoy.arg("1000").env("DECOY", token).stdout(Stdio::null()).stderr(Stdio::null());
    if rustix::process::getuid().is_root() {
        decoy.uid(65534).gid(65534);
    }
    let decoy = Decoy(decoy.spawn().unwrap());
    let server = Process::start(&mut command);
    let worker = Worker::create(server.address(), Some(token));
    worker.say(&format!(
        "id -u; grep -la {token} /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null; echo searched"
    ));
    worker.line("searched");
    let said = worker.said();
    let found: Vec<&str> = said.lines().filter(|line| line.starts_with("/proc/")).collect();
    assert_eq!(found, [format!("/proc/{}/environ", decoy.0.id())]);
    assert!(!said.starts_with("0\n"), "{said}");
    worker.say("env | grep -c TOKEN; echo counted");
    worker.line("counted");
    assert!(worker.said().contains("\n0\ncounted"), "{}", worker.said());
    // It does not get at them by way of descriptors and debuggers either.
    let server_id = server.id();
    worker.say(&format!("ls /proc/{server_id}/fd >/dev/null 2>&1 && echo open || echo shut"));
    worker.line("shut");
    worker.say(&format!("cat /proc/{server_id}/maps >/dev/null 2>&1 && echo legible || echo illegible"));
    worker.line("illegible");
}

/// What a container does, as far as processes go.
#[test]
fn as_process_1_a_server_reaps_what_it_inherits_and_leaves_nothing() {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
    let probe = Command::new("unshare").args(["--pid", "--fork", "--mount-proc", "true"]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        println!("skipped: this user may not make a PID namespace");
        return;
    }
    let unshare = Process::start(command.arg(SERVER).args(["--listen", "127.0.0.1:0", "--exec", "sh"]));
    let init = *descendants(unshare.id()).first().unwrap();
    let worker = Worker::create(unshare.address(), None);
    worker.say(TREE);
    worker.line("ready");
    worker.say("echo parent $PPID");
    assert_ne!(worker.line("parent "), "1");
    // Orphans of what others start in there are process 1's.
    let orphan = "(sleep 0.2 & exec sleep 0.1) & (sleep 0.2 &) ; exit";
    let status = Command::new("nsenter")
        .args(["--target", &init.to_string(), "--pid", "--mount", "sh", "-c", orphan])
        .status()
        .unwrap();
    assert!(status.success());
    let children =
        || descendants(init).into_iter().filter(|pid| status_of(*pid, "PPid") == Some(init.to_string()));
    eventually("the orphans are reaped", || (children().count() == 1).then_some(()));
    let tree = descendants(init);
    assert!(tree.len() > 9, "{tree:?}");
    // It passes on what it is told, and exits as its program did.
    Command::new("kill").args(["-TERM", &init.to_string()]).status().unwrap();
    let mut unshare = unshare;
    let (status, logs) = unshare.ended();
    assert!(status.success(), "{status}: {logs}");
    assert!(!tree.iter().any(|pid| is_alive(*pid)));
}
