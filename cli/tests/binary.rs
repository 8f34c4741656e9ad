//! The real binary, against real servers and runtimes.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;

use sekisho_tests::client::PATIENCE;
use sekisho_tests::ports::refusing;
use sekisho_tests::processes::{Process, binary, eventually};
use sekisho_tests::relay::Relay;
use sekisho_tests::upstream::{Act, Upstream};
use serde_json::Value;
use tempfile::TempDir;

/// What a command printed, and how it ended.
#[derive(PartialEq, Eq, Debug)]
struct Said {
    status: i32,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A text of the error, which is JSON on standard error.
    fn problem(&self, key: &str) -> String {
        let problem: Value =
            serde_json::from_str(&self.err).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        problem[key].as_str().unwrap_or_default().to_owned()
    }
}

/// The command line in an environment of its own.
fn sekisho(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho"));
    for name in ["SEKISHO_SERVER", "SEKISHO_ACCESS_TOKEN", "SEKISHO_ACCESS_TOKEN_FILE", "NO_COLOR"] {
        command.env_remove(name);
    }
    // No test leaves a key in the state directory of the user who runs it.
    command.args(arguments).stdin(Stdio::null()).env("STATE_DIRECTORY", "/dev/null/none");
    command
}

fn run(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    Said {
        status: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A runtime whose workers are shells, a server in front of it, and the configuration that both ways share.
struct Scene {
    directory: TempDir,
    runtime: Process,
    server: Process,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let token = directory.path().join("token");
        fs::write(&token, "a-token-for-tests").unwrap();
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
        let runtime = Process::start(
            Command::new(binary("sekisho-runtime"))
                .current_dir(&directory)
                .args(["--listen", "127.0.0.1:0", "--runtime-id", "build-box", "--profile", "shell=sh"])
                .args(["--token-file", "token"]),
        );
        let configuration = format!(
            "listen = '127.0.0.1:0'\ncursor_key_file = 'key'\n[embedded]\nenabled = false\n\
             [[remote]]\nruntime_id = 'build-box'\nbase_url = 'http://{}'\ntoken_file = 'token'\n",
            runtime.address()
        );
        fs::write(directory.path().join("sekisho.toml"), configuration).unwrap();
        let server = Self::serve(&directory);
        Self { directory, runtime, server }
    }

    fn serve(directory: &TempDir) -> Process {
        let mut command = Command::new(binary("sekisho-server"));
        Process::start(command.current_dir(directory).args(["--config", "sekisho.toml"]))
    }

    /// Through the server.
    fn through(&self, arguments: &[&str]) -> Command {
        let mut command = sekisho(&["--server", &format!("http://{}", self.server.address())]);
        command.args(arguments).current_dir(&self.directory);
        command
    }

    /// Straight to the runtime.
    fn direct(&self, arguments: &[&str]) -> Command {
        let mut command = sekisho(&["--config", "sekisho.toml"]);
        command.args(arguments).current_dir(&self.directory);
        command
    }

    fn create(&self) -> String {
        let created = run(&mut self.through(&["create", "build-box"]));
        assert_eq!(created.status, 0, "{created:?}");
        created.out.trim().to_owned()
    }

    fn say(&self, worker: &str, text: &str) {
        let said = run(&mut self.through(&["send", worker, text]));
        assert_eq!(said.status, 0, "{said:?}");
    }

    fn await_line(&self, worker: &str, line: &str) {
        eventually(line, || {
            let transcript = run(&mut self.through(&["transcript", worker])).out;
            transcript.lines().any(|found| found == line).then_some(())
        });
    }
}

/// A command that goes on, and its output line by line.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (read, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        // Ends with the output, or when its reader ends.
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| read.send(line)));
        Self { child, lines }
    }

    /// The next line; `None` after the last.
    fn line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("it says nothing"),
        }
    }

    /// The lines before one that holds this.
    fn until(&mut self, expected: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            match self.line() {
                Some(line) if line.contains(expected) => return before,
                Some(line) => before.push(line),
                None => panic!("no {expected} after {before:#?}"),
            }
        }
    }

    /// Waits for the end; the exit status, and what was said on standard error.
    fn end(mut self) -> (Option<i32>, String) {
        let mut err = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (self.child.wait().unwrap().code(), err)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn both_ways_lead_to_the_same_workers() {
    let scene = Scene::new();
    let worker = scene.create();
    let name = worker.strip_prefix("build-box/").and_then(|name| name.rsplit_once('-')).unwrap();
    assert_eq!(name.1.len(), 8, "{worker}");
    let said = run(&mut scene.direct(&["send", &worker, "echo", "$((6", "*", "7))"]));
    assert_eq!((said.status, said.out.as_str()), (0, format!("{worker}: running, item 1\n").as_str()));
    scene.await_line(&worker, "assistant  42");
    let asked: [&[&str]; 6] = [
        &["workers"],
        &["workers", "build-box", "--json"],
        &["worker", &worker],
        &["worker", &worker, "--json"],
        &["transcript", &worker],
        &["transcript", &worker, "--from", "2", "--json"],
    ];
    for arguments in asked {
        let (through, direct) = (run(&mut scene.through(arguments)), run(&mut scene.direct(arguments)));
        assert_eq!(through, direct);
        assert_eq!((through.status, through.err.as_str()), (0, ""));
    }
    let transcript = run(&mut scene.through(&["transcript", &worker]));
    assert_eq!(transcript.out, "user  echo $((6 * 7))\nassistant  42\n");
    let runtimes = run(&mut scene.direct(&["runtimes", "--json"])).json();
    assert_eq!(runtimes["items"][0]["reachability"], "reachable");

    // A cursor of one way is good on the other: they share the key.
    let mut watching = Running::start(scene.through(&["watch", &worker, "--json"]));
    let snapshot: Value = serde_json::from_str(&watching.line().unwrap()).unwrap();
    scene.say(&worker, "echo more");
    let cursor = snapshot["cursor"].as_str().unwrap();
    let mut resumed = Running::start(scene.direct(&["watch", &worker, "--json", "--cursor", cursor]));
    assert!(resumed.line().unwrap().contains("user_message"));
    resumed.until(r#""text":"more\n""#);
    let stopped = run(&mut scene.direct(&["stop", &worker, "--reason", "enough"]));
    assert!(stopped.out.starts_with(&format!("{worker}: ")), "{}", stopped.out);
    for running in [watching, resumed] {
        // By SIGTERM, as a shell would say it.
        assert_eq!(running.end(), (Some(143), String::new()));
    }
}

#[test]
fn transcripts_are_searched() {
    let scene = Scene::new();
    let [older, newer] = [(); 2].map(|()| scene.create());
    scene.say(&older, "seq 1 700");
    scene.await_line(&older, "assistant  700");
    scene.say(&newer, "echo the 123 of the newer");
    scene.await_line(&newer, "assistant  the 123 of the newer");
    let grep = |arguments: &[&str]| {
        let [through, direct] =
            [scene.through(arguments), scene.direct(arguments)].map(|mut command| run(&mut command));
        assert_eq!((&through.out, through.status), (&direct.out, direct.status), "{arguments:?}");
        (through.out, through.status)
    };
    let line = |worker: &str, item: u32, content: &str| format!("{worker}:{item}: {content}\n");
    // What was said to a worker is its first item.
    let of_newer = line(&newer, 2, "the 123 of the newer") + &line(&newer, 1, "echo the 123 of the newer");
    let of_older = line(&older, 124, "123");
    assert_eq!(grep(&["grep", "123"]), (of_newer.clone() + &of_older, 0));
    assert_eq!(grep(&["grep", "123", "build-box", "--max-count", "2"]), (of_newer.clone(), 0));
    assert_eq!(grep(&["grep", "123", &older]), (of_older.clone(), 0));
    let newest_first = line(&older, 701, "700") + &line(&older, 1, "seq 1 700");
    assert_eq!(grep(&["grep", "700", &older]), (newest_first, 0));
    assert_eq!(grep(&["grep", "no such text"]), (String::new(), 1));
    assert_eq!(grep(&["grep", "OF the Newer"]), (String::new(), 1));
    assert_eq!(grep(&["grep", "--ignore-case", "OF the Newer"]), (of_newer.clone(), 0));
    let said_at = |worker: &str, from: &str| {
        let said = run(&mut scene.direct(&["transcript", worker, "--from", from, "--json"])).out;
        let item: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
        item["at"].as_str().unwrap().to_owned()
    };
    let (end, start) = (said_at(&older, "701"), said_at(&newer, "1"));
    assert_eq!(grep(&["grep", "123", "--since", &start]), (of_newer.clone(), 0));
    assert_eq!(grep(&["grep", "123", "--until", &end]), (of_older.clone(), 0));
    assert_eq!(grep(&["grep", "123", "--since", "1h", "--until", &end, "-m1"]), (of_older.clone(), 0));
    assert_eq!(grep(&["grep", "700", &older, "--since", &end]), (line(&older, 701, "700"), 0));
    assert_eq!(grep(&["grep", "123", "--since", &start, "--until", &end]), (String::new(), 1));
    assert_eq!(grep(&["grep", "123", "--until", "2000-01-01T00:00:00Z"]), (String::new(), 1));
    let json: Value = serde_json::from_str(&grep(&["grep", "123", &older, "--json"]).0).unwrap();
    assert_eq!((&json["runtime_id"], &json["item"]["sequence"]), (&"build-box".into(), &124.into()));
    assert_eq!(run(&mut scene.through(&["grep", ""])).status, 2);
    assert_eq!(run(&mut scene.through(&["grep", "x", "no-such-box"])).status, 3);
}

#[test]
fn a_stream_is_the_same_with_a_server_and_without_one() {
    let scene = Scene::new();
    let worker = scene.create();
    // Both begin with the same snapshot, as nothing has happened yet.
    let watch: &[&str] = &["watch", &worker, "--json"];
    let mut both = [scene.through(watch), scene.direct(watch)].map(Running::start);
    let snapshots = both.each_mut().map(|running| running.line().unwrap());
    assert_eq!(snapshots[0], snapshots[1]);
    scene.say(&worker, "echo one; echo two >&2; exit 7");
    let events = both.map(|mut running| {
        let lines: Vec<String> = std::iter::from_fn(|| running.line()).collect();
        (lines, running.end())
    });
    assert_eq!(events[0], events[1]);
    let (lines, _) = &events[0];
    assert!(lines.iter().any(|line| line.contains("one")) && lines.iter().any(|line| line.contains("two")));

    // A cursor of one way is good on the other, and the refusals are the same.
    let cursor = serde_json::from_str::<Value>(&snapshots[0]).unwrap()["cursor"].as_str().unwrap().to_owned();
    let other = run(&mut scene.through(&["create", "build-box"])).out.trim().to_owned();
    let asked: [&[&str]; 4] = [
        &["watch", &worker, "--json", "--cursor", &cursor],
        &["watch", &worker, "--cursor", &cursor],
        &["--json", "watch", &other, "--cursor", &cursor],
        &["transcript", "--follow", &worker],
    ];
    for arguments in asked {
        let (through, direct) = (run(&mut scene.through(arguments)), run(&mut scene.direct(arguments)));
        assert_eq!(through, direct, "{arguments:?}");
    }
    let resumed = run(&mut scene.direct(&["watch", &worker, "--json", "--cursor", &cursor]));
    assert_eq!(resumed.out.lines().collect::<Vec<_>>(), *lines);
}

#[test]
fn what_exit_statuses_say() {
    let scene = Scene::new();
    let worker = scene.create();
    let config = |name: &str, table: String| {
        let path = scene.directory.path().join(name);
        fs::write(&path, format!("[embedded]\nenabled = false\n{table}")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let closed = refusing();
    let gone = config("gone", format!("[[remote]]\nruntime_id = 'gone'\nbase_url = 'http://{closed}'"));
    let silent = Upstream::identified("slow", |_| Act::SendAndStall(String::new()));
    let slow = config(
        "slow",
        format!(
            "[[remote]]\nruntime_id = 'slow'\nresponse_timeout_ms = 200\nbase_url = 'http://{}'",
            silent.address()
        ),
    );
    let red = config("red", "[[remote]]\nruntime_id = 'x'\nbase_url = 'http://h'\ncolour = 'red'".into());
    let (gone, slow, red, url) = (gone.as_str(), slow.as_str(), red.as_str(), format!("http://{closed}"));

    for (status, code, arguments) in [
        (3, "unknown_runtime", &["runtime", "missing"][..]),
        (3, "worker_not_found", &["worker", "build-box/missing"]),
        (2, "cursor_malformed", &["watch", &worker, "--cursor", "x"]),
    ] {
        for mut command in [scene.through(arguments), scene.direct(arguments)] {
            let said = run(command.arg("--json"));
            assert_eq!((said.status, said.problem("code"), said.out.as_str()), (status, code.into(), ""));
        }
    }
    for (status, code, arguments) in [
        (4, "network_error", &["worker", "gone/w", "--config", gone][..]),
        (4, "network_error", &["--config", gone, "send", "gone/w", "x"]),
        (6, "runtime_timeout", &["--config", slow, "send", "slow/w", "x"]),
        (5, "gateway_unreachable", &["runtimes", "--server", &url]),
        (5, "gateway_unreachable", &["watch", "a/b", "--server", &url]),
    ] {
        let said = run(sekisho(&["--json"]).args(arguments));
        assert_eq!((said.status, said.problem("code")), (status, code.into()), "{said:?}");
        assert!(!said.err.contains(&closed.port().to_string()), "{said:?}");
    }
    let unsent = run(&mut sekisho(&["--json", "--config", gone, "send", "gone/w", "x"]));
    assert_eq!(unsent.problem("outcome"), "not_applied");
    let unknown = run(&mut sekisho(&["--config", slow, "send", "slow/w", "x"]));
    assert!(unknown.err.contains("it may have taken effect"), "{unknown:?}");
    for (arguments, named) in [
        (&["worker", "no-slash"][..], "RUNTIME/WORKER"),
        (&["runtimes", "--config", red], "colour"),
        (&["runtimes", "--config", "nowhere.toml"], "--config"),
        (&["runtimes", "--config", gone, "--server", "http://127.0.0.1"], "--server"),
        (&["runtimes", "--server", "ftp://x"], "--server"),
        (&["create", "r", "--task", "x", "--role", "y"], "--role"),
        (&["doctor"], "--config"),
    ] {
        let said = run(&mut sekisho(arguments));
        assert_eq!(said.status, 2, "{said:?}");
        assert!(said.err.contains(named), "{said:?}");
    }
}

#[test]
fn an_access_token_comes_from_a_file_or_a_variable() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("access"), "open-sesame\n").unwrap();
    let configuration = "listen = '127.0.0.1:0'\naccess_token_file = 'access'";
    fs::write(directory.path().join("sekisho.toml"), configuration).unwrap();
    let server = Scene::serve(&directory);
    let url = format!("http://{}", server.address());
    let ask = || {
        let mut command = sekisho(&["runtimes", "--json"]);
        command.env("SEKISHO_SERVER", &url).current_dir(&directory);
        command
    };
    let refused = run(&mut ask());
    assert_eq!((refused.status, refused.problem("code")), (5, "unauthorized".into()));
    assert_eq!(run(ask().args(["--access-token-file", "access"])).status, 0);
    assert_eq!(run(ask().env("SEKISHO_ACCESS_TOKEN", "open-sesame")).status, 0);
    assert_eq!(run(ask().env("SEKISHO_ACCESS_TOKEN_FILE", "access")).status, 0);
    let wrong = run(ask().env("SEKISHO_ACCESS_TOKEN", "open sesame"));
    assert_eq!(wrong.status, 2, "{wrong:?}");
    let mut exposing = sekisho(&["runtimes", "--server", "http://192.0.2.1"]);
    let exposed = run(exposing.env("SEKISHO_ACCESS_TOKEN", "open-sesame"));
    assert!(exposed.status == 2 && exposed.err.contains("--allow-plaintext"), "{exposed:?}");
}

#[test]
fn pipes() {
    let scene = Scene::new();
    let worker = scene.create();
    let mut sending = scene.through(&["send", &worker, "-"]);
    let mut sending = sending.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    sending.stdin.take().unwrap().write_all(b"echo one\necho two\n").unwrap();
    assert!(sending.wait().unwrap().success());
    scene.await_line(&worker, "assistant  two");
    let watch: &[&str] = &["watch", &worker, "--json"];
    for mut command in [scene.through(watch), scene.direct(watch)] {
        let mut watching = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        // As `head -1` does: read a line, and close. The worker says nothing more that could fail to be written.
        BufReader::new(watching.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(first.starts_with(r#"{"cursor":""#) && first.contains("snapshot"), "{first}");
        let mut err = String::new();
        watching.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!((watching.wait().unwrap().code(), err.as_str()), (Some(0), ""));
    }
}

#[test]
fn a_watch_outlives_its_gateway() {
    let mut scene = Scene::new();
    let worker = scene.create();
    let relay = Relay::start(scene.server.address());
    let url = format!("http://{}", relay.address());
    let watch = |more: &[&str]| {
        let mut command = sekisho(&["watch", &worker, "--server", &url]);
        command.args(more);
        Running::start(command)
    };
    let (mut watching, mut readable) = (watch(&["--json"]), watch(&[]));
    // Both have begun when they have shown a state, or what followed it.
    watching.until("snapshot");
    scene.say(&worker, "echo before");
    watching.until(r#""text":"before\n""#);
    readable.until("> echo before");

    scene.server.signal("KILL");
    scene.server = Scene::serve(&scene.directory);
    // Said while the watch is away.
    scene.say(&worker, "echo meanwhile");
    // What a worker says at once may be one event.
    scene.await_line(&worker, "assistant  meanwhile");
    relay.redirect(scene.server.address());
    scene.say(&worker, "echo after");
    let between = watching.until(r#""text":"after\n""#);
    let texts: Vec<&String> = between.iter().filter(|line| line.contains("text_delta")).collect();
    assert!(texts.len() == 1 && texts[0].contains("meanwhile"), "each exactly once: {between:#?}");
    assert_eq!(readable.until("> echo after"), ["before", "> echo meanwhile", "meanwhile"]);

    assert_eq!(run(&mut scene.through(&["cancel", &worker])).status, 0);
    for running in [watching, readable] {
        let (status, err) = running.end();
        assert_eq!(status, Some(137), "{err}");
        assert!(err.contains("trying again") && err.contains("the gateway is back"), "{err}");
    }
}

#[test]
fn a_transcript_is_followed_to_its_end() {
    let scene = Scene::new();
    let worker = scene.create();
    scene.say(&worker, "echo first");
    scene.await_line(&worker, "assistant  first");
    let mut following = Running::start(scene.through(&["transcript", &worker, "--follow", "--from", "2"]));
    assert_eq!(following.line().unwrap(), "assistant  first");
    scene.say(&worker, "seq 600; exit");
    assert_eq!(following.line().unwrap(), "user  seq 600; exit");
    for number in 1..=600 {
        assert_eq!(following.line().unwrap(), format!("assistant  {number}"));
    }
    assert_eq!(following.line().unwrap(), "system  exited with status 0");
    assert_eq!(following.line(), None);
    assert_eq!(following.end(), (Some(0), String::new()));
}

#[test]
fn the_doctor_looks_at_each_phase() {
    let scene = Scene::new();
    let closed: SocketAddr = refusing();
    let path = scene.directory.path().join("sekisho.toml");
    let here = scene.runtime.address();
    let configuration = format!(
        "{}\n[[remote]]\nruntime_id = 'gone'\nbase_url = 'http://{closed}'\n\
         [[remote]]\nruntime_id = 'locked'\nbase_url = 'http://{here}'\n\
         [[remote]]\nruntime_id = 'other'\nbase_url = 'http://{here}'\ntoken_file = 'token'\n",
        fs::read_to_string(&path).unwrap()
    );
    fs::write(&path, configuration).unwrap();
    let well = run(&mut scene.direct(&["doctor", "build-box", "--json"]));
    assert_eq!((well.status, well.err.as_str()), (0, ""));
    let checks = well.json()["checks"].as_array().unwrap().clone();
    let phases: Vec<_> =
        checks.iter().map(|check| (check["phase"].as_str().unwrap(), &check["ok"])).collect();
    let expected = ["name", "connect", "auth", "version", "workers", "observe"];
    assert_eq!(phases, expected.map(|phase| (phase, &Value::Bool(true))));

    let all = run(&mut scene.direct(&["doctor"]));
    assert_eq!(all.status, 4, "{all:?}");
    for expected in ["✗ connect", "✗ auth", "asks for a token", "identity_mismatch", "✓ observe"] {
        assert!(all.out.contains(expected), "{expected} in {}", all.out);
    }
    let shown = run(&mut scene.direct(&["doctor", "--show-endpoints"]));
    for address in [closed, here] {
        assert!(!all.out.contains(&address.port().to_string()), "{}", all.out);
        assert!(shown.out.contains(&format!("http://{address}")), "{}", shown.out);
    }
}

#[test]
fn colours_are_for_terminals() {
    let scene = Scene::new();
    let colored = |more: &[&str]| run(scene.through(&["runtimes"]).args(more)).out.contains('\u{1b}');
    assert!(!colored(&[]));
    assert!(!colored(&["--color", "never"]));
    assert!(colored(&["--color", "always"]));
}

#[test]
fn what_it_tells_about_itself() {
    for shell in ["bash", "zsh", "fish"] {
        let completions = run(&mut sekisho(&["completions", shell]));
        assert!(completions.status == 0 && completions.out.contains("COMPLETE"), "{completions:?}");
    }
    let none = run(&mut sekisho(&["completions", "tcsh"]));
    assert!(none.status == 2 && none.err.contains("bash"), "{none:?}");
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(run(sekisho(&["man"]).arg(directory.path())).status, 0);
    let page = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
    assert!(page("sekisho.1").contains("SEKISHO_SERVER"));
    assert!(page("sekisho-watch.1").contains("cursor"));
    let nowhere = run(&mut sekisho(&["man", "/nowhere/at/all"]));
    assert_eq!(nowhere.status, 1, "{nowhere:?}");
}

#[test]
fn a_shell_completes_runtimes_and_workers() {
    let scene = Scene::new();
    let worker = scene.create();
    let url = format!("http://{}", scene.server.address());
    // As a fish asks.
    let completed = |words: &[&str]| {
        let mut command = sekisho(&["--", "sekisho"]);
        command.args(words).env("COMPLETE", "fish").current_dir(&scene.directory);
        let said = run(&mut command);
        assert_eq!(said.status, 0, "{said:?}");
        let words = said.out.lines().map(|line| line.split('\t').next().unwrap().to_owned());
        words.filter(|word| !word.starts_with('-')).collect::<Vec<_>>()
    };
    for way in [["--server", url.as_str()], ["--config", "sekisho.toml"]] {
        let words = |rest: &[&'static str]| -> Vec<String> { completed(&[&way[..], rest].concat()) };
        assert_eq!(words(&["send", ""]), [worker.as_str()]);
        assert_eq!(words(&["runtime", "bui"]), ["build-box"]);
        assert_eq!(words(&["watch", "build-box"]), [worker.as_str(), "build-box"]);
        assert!(words(&["worker", "nothing"]).is_empty());
    }
    assert!(completed(&["--server", "http://127.0.0.1:9", "worker", ""]).is_empty());
    assert!(completed(&["transcr"]).contains(&"transcript".to_owned()));
}

#[test]
fn the_last_word_of_a_worker_is_heard_and_its_status_is_the_exit_status() {
    let scene = Scene::new();
    let worker = scene.create();
    let both: Vec<Running> =
        [&["watch", &worker][..], &["transcript", "--follow", &worker], &["wait", &worker]]
            .into_iter()
            .flat_map(|arguments| [scene.through(arguments), scene.direct(arguments)])
            .map(Running::start)
            .collect();
    scene.say(
        &worker,
        "trap 'sleep 1; echo the last word; exit 9' TERM; echo ready; while :; do sleep 0.1; done",
    );
    scene.await_line(&worker, "assistant  ready");
    let stopped = run(&mut scene.through(&["stop", &worker]));
    assert_eq!(stopped.status, 0, "{stopped:?}");
    for (index, mut running) in both.into_iter().enumerate() {
        let lines: Vec<String> = std::iter::from_fn(|| running.line()).collect();
        let (status, err) = running.end();
        let is_transcript = index / 2 == 1;
        assert_eq!((status, err.as_str()), (Some(if is_transcript { 0 } else { 9 }), ""), "{lines:?}");
        match index / 2 {
            2 => assert!(lines[0].contains("exit status 9"), "{lines:?}"),
            _ => assert!(lines.iter().any(|line| line.ends_with("the last word")), "{index}: {lines:?}"),
        }
    }
    let ended = run(&mut scene.direct(&["watch", &worker, "--no-exit-code"]));
    assert_eq!(ended.status, 0, "{ended:?}");
}

#[test]
fn several_workers_are_watched_at_once() {
    let scene = Scene::new();
    let (one, two) = (scene.create(), scene.create());
    let mut both = Running::start(scene.through(&["watch", &one, &two]));
    let mut all = Running::start(scene.through(&["watch", "--all"]));
    let mut runtime = Running::start(scene.direct(&["watch", "build-box"]));
    for (worker, text) in [(&one, "first"), (&two, "second")] {
        scene.say(worker, &format!("echo {text}"));
        for running in [&mut both, &mut all, &mut runtime] {
            running.until(&format!("{worker} | {text}"));
        }
    }
    let three = scene.create();
    scene.say(&three, "echo third");
    all.until(&format!("{three} | third"));
    runtime.until(&format!("{three} | third"));
    scene.say(&one, "exit 3");
    scene.say(&two, "exit 5");
    let (status, err) = both.end();
    assert_eq!(status, Some(5), "{err}");
}

#[test]
fn what_workers_are_told_and_how_they_are_told_apart() {
    let scene = Scene::new();
    let done = |arguments: &[&str]| {
        let said = run(&mut scene.through(arguments));
        assert_eq!(said.status, 0, "{arguments:?}: {said:?}");
        said.out
    };
    let create = ["create", "build", "--name", "greeter", "--label", "team=red", "--profile", "shell"];
    let worker = done(&create).trim().to_owned();
    let other = scene.create();
    assert!(done(&["profiles", "build-box"]).contains("shell"));
    // Filters, and names that no table cuts.
    assert!(done(&["workers", "--label", "team=red"]).contains("greeter"));
    assert!(!done(&["workers", "--name", "greeter"]).contains(&other));
    let table = done(&["workers", "--sort", "worker"]);
    assert!(table.contains(&worker) && table.contains(&other) && table.contains("AGE"), "{table}");
    assert!(done(&["worker", &worker]).contains("team=red"));

    // The beginning of an id, where there is only one.
    let short = &worker[..worker.len() - 3];
    assert_eq!(done(&["send", short, "echo", "--json", "-h"]), format!("{worker}: running, item 1\n"));
    scene.await_line(&worker, "assistant  --json -h");
    let several = run(&mut scene.through(&["send", "build-box/shell", "x"]));
    assert!(several.status == 2 && several.err.contains("several ids"), "{several:?}");

    // Empty lines, secrets, an interrupt, and the end of input.
    // What comes before the shell has begun with a line may be taken for its next line.
    done(&["send", &worker, "echo asking; read x; read y; echo got ${#x} ${#y}"]);
    scene.await_line(&worker, "assistant  asking");
    done(&["send", &worker, ""]);
    let mut secret = scene.through(&["send", "--secret", &worker]);
    let mut secret = secret.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    secret.stdin.take().unwrap().write_all(b"hunter2\n").unwrap();
    assert!(secret.wait().unwrap().success());
    scene.await_line(&worker, "assistant  got 0 7");
    let transcript = done(&["transcript", &worker]);
    assert!(transcript.contains("[secret]") && !transcript.contains("hunter2"), "{transcript}");
    done(&["send", &worker, "trap 'echo interrupted' INT; echo trapped; sleep 30; echo on"]);
    scene.await_line(&worker, "assistant  trapped");
    eventually("it is interrupted", || {
        done(&["interrupt", &worker]);
        done(&["transcript", "--tail", "3", &worker]).contains("interrupted").then_some(())
    });
    done(&["send", "--eof", &worker]);
    done(&["wait", "--no-exit-code", &worker]);

    // Only what has ended is forgotten.
    let running = run(&mut scene.through(&["remove", &other, "--json"]));
    assert_eq!((running.status, running.problem("code")), (4, "worker_running".into()), "{running:?}");
    assert_eq!(done(&["prune", "--dry-run"]), format!("{worker}\n"));
    assert_eq!(done(&["prune", "--older-than", "1h", "--dry-run"]), "");
    assert_eq!(run(&mut scene.through(&["prune"])).status, 2, "there is no terminal to ask on");
    assert_eq!(done(&["prune", "--yes"]), format!("{worker}\n"));
    assert_eq!(run(&mut scene.through(&["worker", &worker])).status, 3);
    done(&["cancel", &other]);
    done(&["wait", "--no-exit-code", &other]);
    assert_eq!(done(&["remove", &other]), format!("{other}\n"));
}

#[test]
fn parts_of_a_transcript() {
    let scene = Scene::new();
    let worker = scene.create();
    scene.say(&worker, "printf 'one\\ntwo\\n'");
    scene.await_line(&worker, "assistant  two");
    let shown = |arguments: &[&str]| run(scene.direct(&["transcript", &worker]).args(arguments)).out;
    assert_eq!(shown(&["--tail", "1"]), "assistant  two\n");
    assert_eq!(shown(&["--tail", "2", "--raw"]), "one\ntwo\n");
    assert_eq!(shown(&["--since", "1h"]), shown(&[]));
    assert_eq!(shown(&["--since", "2999-01-01T00:00:00Z"]), "");
    assert!(shown(&["--times", "--from", "2"]).starts_with("20"));
    scene.say(&worker, "echo 'of two\n# rows'");
    scene.await_line(&worker, "      # rows'");
}

#[test]
fn the_list_of_workers_is_live() {
    let scene = Scene::new();
    let worker = scene.create();
    let (watch, json) = (&["workers", "--watch"], &["workers", "--watch", "--json"]);
    let mut watching = [scene.through(watch), scene.direct(watch)].map(Running::start);
    let mut reading = [scene.through(json), scene.direct(json)].map(Running::start);
    for list in &mut watching {
        list.until(&format!("{worker}  running"));
    }
    for list in &mut reading {
        list.until(&format!(
            r#"{{"event":"worker_added","worker":{{"runtime_id":"build-box","worker_id":"{}""#,
            &worker[10..]
        ));
    }
    let other = scene.create();
    scene.say(&worker, "exit 3");
    for list in &mut watching {
        // Which of the two is seen first is left to when the runtime was asked.
        let mut seen = Vec::new();
        while seen.len() < 2 {
            seen.extend(list.line());
        }
        seen.sort();
        let mut expected = [format!("{worker}  stopped  assistant"), format!("{other}  running  assistant")];
        expected.sort();
        assert_eq!(seen, expected);
    }
    for list in &mut reading {
        list.until(r#""status":"stopped""#);
    }

    // What needs attention stands first, once where there is no terminal.
    for mut command in [scene.through(&["top"]), scene.direct(&["top"])] {
        let top = run(&mut command);
        let lines: Vec<&str> = top.out.lines().collect();
        assert_eq!((top.status, lines.len()), (0, 4), "{top:?}");
        assert!(lines[0].starts_with("runtimes 1   asking 0   failed 1   running 1 "), "{top:?}");
        assert!(lines[2].starts_with(&worker) && lines[2].contains("exit 3"), "{top:?}");
        assert!(lines[3].starts_with(&other) && lines[3].contains("runs"), "{top:?}");
    }
    let first = run(&mut scene.through(&["top", "--json"]));
    let first: Value = serde_json::from_str(first.out.lines().next().unwrap()).unwrap();
    assert_eq!(first["attention"], "failed");
    assert_eq!(run(&mut scene.through(&["top", "elsewhere"])).status, 3);
}

#[test]
fn a_live_list_has_what_its_filter_lets_through() {
    let scene = Scene::new();
    let (first, second) = (scene.create(), scene.create());
    let stopped = &["workers", "--watch", "--json", "--status", "stopped"];
    let running = &["workers", "--watch", "--status", "running"];
    let mut stopped = Running::start(scene.through(stopped));
    let mut running = Running::start(scene.through(running));
    stopped.until("runtime_changed");
    running.until(&second);
    scene.say(&first, "exit");
    // It was there before, and was not among these.
    let added: Value = serde_json::from_str(&stopped.line().unwrap()).unwrap();
    assert_eq!(
        (&added["event"], &added["worker"]["worker_id"]),
        (&"worker_added".into(), &first[10..].into())
    );
    assert_eq!(running.line().unwrap(), format!("{first}  gone"));
}

#[test]
fn what_is_not_reached_is_said_first() {
    let scene = Scene::new();
    let worker = scene.create();
    let nothing = refusing();
    let path = scene.directory.path().join("sekisho.toml");
    let more =
        format!("[[remote]]\nruntime_id = 'away'\nbase_url = 'http://{nothing}'\ntoken_file = 'token'\n");
    fs::write(&path, fs::read_to_string(&path).unwrap() + &more).unwrap();
    let top = run(&mut scene.direct(&["top"]));
    let lines: Vec<&str> = top.out.lines().collect();
    assert!(lines[1].starts_with("away is not reached since "), "{top:?}");
    assert!(lines.last().unwrap().starts_with(&worker), "{top:?}");
    let json = run(&mut scene.direct(&["top", "--json"]));
    let told: Vec<Value> = json.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&told[0]["attention"], &told[0]["runtime_id"]), (&"unreached".into(), &"away".into()));
    assert_eq!((&told[1]["attention"], &told[1]["worker_id"]), (&"runs".into(), &worker[10..].into()));
}

#[test]
fn a_live_list_of_no_gateway_fails_at_once() {
    let nothing = refusing();
    for arguments in [&["top"][..], &["workers", "--watch"], &["workers", "--watch", "--json"]] {
        let said = run(sekisho(arguments).args(["--server", &format!("http://{nothing}")]));
        assert_eq!((said.status, &*said.out), (5, ""), "{said:?}");
        assert!(said.err.contains("gateway_unreachable"), "{said:?}");
    }
}

#[test]
fn a_live_list_outlives_its_gateway() {
    let mut scene = Scene::new();
    let worker = scene.create();
    let relay = Relay::start(scene.server.address());
    let url = format!("http://{}", relay.address());
    let command = sekisho(&["workers", "--watch", "--json", "--server", &url]);
    let mut watching = Running::start(command);
    watching.until(&worker[10..]);
    scene.server = Scene::serve(&scene.directory);
    relay.redirect(scene.server.address());
    let other = scene.create();
    // Of what was there before and still is, nothing is said again.
    let between = watching.until(&other[10..]);
    assert!(!between.iter().any(|line| line.contains("worker_added")), "{between:#?}");
}
