//! The real binary: over TCP, over a unix socket, and under `kill -9`.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

#[path = "binary/room.rs"]
mod room;
#[path = "binary/websocket.rs"]
mod websocket;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Stands in the environment of everything that a server starts, but for its helper processes.
const MARK: &str = "SEKISHO_TEST_MARK";

struct Server {
    process: Child,
    url: String,
    mark: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        let mut process = command(arguments).env(MARK, &mark).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url =
            line.strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).trim_end().to_owned();
        Self { process, url, mark }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.url.strip_prefix("http://").unwrap()).unwrap()
    }

    fn ask(&self, request: &str, headers: &str, body: &str) -> (u16, Value) {
        let (status, _, body) = exchange(self.connect(), request, headers, body);
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    fn create(&self) -> String {
        let body = r#"{"intent":{"kind":"assistant"},"profile":{"kind":"runtime_default"}}"#;
        let (status, answer) = self.ask("POST /v1/workers", "", body);
        assert_eq!(status, 200, "{answer}");
        answer["worker"]["worker_id"].as_str().unwrap().to_owned()
    }

    fn transcript(&self, worker_id: &str) -> Vec<String> {
        let (_, answer) = self.ask(&format!("GET /v1/workers/{worker_id}/transcript"), "", "");
        let items = answer["transcript"]["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["content"].as_str().unwrap().to_owned()).collect()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    fn end(&mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        self.process.wait().unwrap()
    }

    /// The processes of its workers that are alive.
    fn marked(&self) -> Vec<u32> {
        let mark = format!("{MARK}={}", self.mark);
        let marked = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        pids().filter(|pid| *pid != self.process.id()).filter(marked).collect()
    }

    /// All processes below the server: helpers, programs, and what these started.
    fn tree(&self) -> Vec<u32> {
        let mut tree = vec![self.process.id()];
        let mut next = 0;
        while let Some(parent) = tree.get(next).copied() {
            tree.extend(pids().filter(|pid| parent_of(*pid) == Some(parent)));
            next += 1;
        }
        tree.split_off(1)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho-runtime"));
    // Nothing is kept in the state directory of the user who runs the tests.
    command
        .env("STATE_DIRECTORY", "/dev/null/none")
        .env("RUST_LOG", "error")
        .args(["--runtime-id", "rt"])
        .args(arguments);
    command
}

fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn parent_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

fn alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// One request on a connection of its own: status, head and body of the answer.
fn exchange(
    mut stream: impl Read + Write,
    request: &str,
    headers: &str,
    body: &str,
) -> (u16, String, String) {
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

/// Looks until it is so, for no longer than anybody would wait.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

const TCP: [&str; 2] = ["--listen", "127.0.0.1:0"];

#[test]
fn v1_over_tcp() {
    let mut server =
        Server::start(&[&TCP[..], &["--profile", "shell=sh", "--display-name", "The one"]].concat());
    let (status, answer) = server.ask("GET /v1/runtime", "", "");
    assert_eq!((status, &answer["runtime"]["display_name"]), (200, &json!("The one")));

    let worker_id = server.create();
    let input = format!("POST /v1/workers/{worker_id}/input");
    let said = server.ask(&input, "", r#"{"kind":"user","content":"echo $((6 * 7))"}"#);
    assert_eq!((said.0, &said.1["ack"]["transcript_sequence"]), (200, &json!(1)));
    until("an answer", || server.transcript(&worker_id) == ["echo $((6 * 7))", "42"]);

    let (status, head, body) = exchange(server.connect(), "HEAD /v1/workers", "", "");
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(head.contains("content-type: application/json") && !head.contains("content-length: 0"), "{head}");
    assert_eq!(exchange(server.connect(), "GET /v2", "", "").0, 404);
    let (status, head, _) = exchange(server.connect(), "DELETE /v1/workers", "", "");
    assert!(status == 405 && head.contains("allow: get,head,post"), "{head}");

    // Every process of a worker goes with the server that is told to end.
    assert!(!server.marked().is_empty());
    assert_eq!(server.end(Signal::TERM).code(), Some(0));
    assert!(server.marked().is_empty());
}

#[test]
fn bodies_are_bounded() {
    let server = Server::start(&TCP);
    let worker_id = server.create();
    let input = format!("POST /v1/workers/{worker_id}/input");
    let content = |length: usize| format!(r#"{{"kind":"user","content":"{}"}}"#, "x".repeat(length));
    assert_eq!(server.ask(&input, "", &content(1024 * 1024 - 100)).0, 200);
    let (status, answer) = server.ask(&input, "", &content(1024 * 1024));
    assert_eq!((status, &answer["error"]["code"]), (413, &json!("invalid_request")));
}

#[test]
fn a_token_is_asked_of_everybody() {
    let mut token = tempfile::NamedTempFile::new().unwrap();
    writeln!(token, "s3cret").unwrap();
    let server = Server::start(&[&TCP[..], &["--token-file", token.path().to_str().unwrap()]].concat());
    for request in ["GET /v1/runtime", "GET /nothing", "POST /v1/workers"] {
        let (status, answer) = server.ask(request, "", "");
        assert_eq!((status, &answer["error"]["code"]), (401, &json!("unauthorized")), "{request}");
    }
    let bearer = "authorization: Bearer s3cret\r\n";
    assert_eq!(server.ask("GET /v1/runtime", bearer, "").0, 200);
    assert_eq!(server.ask("GET /v1/runtime", &format!("{bearer}origin: https://x\r\n"), "").0, 200);
}

#[test]
fn pages_are_not_spoken_to_without_a_token() {
    let server = Server::start(&TCP);
    for header in ["origin: https://evil.example\r\n", "sec-fetch-site: cross-site\r\n"] {
        let (status, answer) = server.ask("GET /v1/runtime", header, "");
        assert_eq!((status, &answer["error"]["code"]), (401, &json!("unauthorized")));
    }
}

#[test]
fn a_runtime_without_a_token_is_spoken_to_by_names_of_its_machine() {
    let ask = |server: &Server, host: &str| {
        let mut stream = server.connect();
        let head = format!("GET /v1/runtime HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("runtime.toml");
    fs::write(&config, "allowed_hosts = ['build-box']").unwrap();
    let server = Server::start(&[&TCP[..], &["--config", config.to_str().unwrap()]].concat());
    for (host, status) in [
        ("localhost", 200),
        ("127.0.0.1:7700", 200),
        ("[::1]", 200),
        ("build-box:7700", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example:80", 403),
    ] {
        assert_eq!(ask(&server, host), status, "{host}");
    }
}

#[test]
fn connections_that_ask_nothing_make_room() {
    let server = Server::start(&TCP);
    let worker_id = server.create();
    let timed = |what: &str| {
        let begun = Instant::now();
        assert_eq!(server.ask(&format!("GET /v1/workers/{worker_id}"), "", "").0, 200);
        assert!(begun.elapsed() < Duration::from_secs(2), "{what}: {:?}", begun.elapsed());
    };
    // Some say nothing at all, some begin a request and do not end it.
    let mut strangers = Vec::new();
    for number in 0..300 {
        let mut stream = server.connect();
        if number % 2 == 0 {
            stream.write_all(b"GET /v1/runtime HTTP/1.1\r\nhost: loc").unwrap();
        }
        strangers.push(stream);
        if number % 50 == 49 {
            timed("beside strangers");
        }
    }
    // Pools of gateways, which keep their connections.
    let mut idle = Vec::new();
    for _ in 0..200 {
        let mut stream = server.connect();
        stream.write_all(b"GET /v1/runtime HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let mut begin = [0; 15];
        stream.read_exact(&mut begin).unwrap();
        assert_eq!(&begin, b"HTTP/1.1 200 OK");
        idle.push(stream);
    }
    timed("beside idle connections");
    drop(strangers);
}

#[test]
fn a_token_is_asked_before_a_body_is_read() {
    let mut token = tempfile::NamedTempFile::new().unwrap();
    writeln!(token, "s3cret").unwrap();
    let server = Server::start(&[&TCP[..], &["--token-file", token.path().to_str().unwrap()]].concat());
    // What is refused for its head is not asked for its body.
    let mut stream = server.connect();
    let head = "POST /v1/workers HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    // One that writes on hears why.
    let (status, _, body) = exchange(server.connect(), "POST /v1/workers", "", &"x".repeat(200 * 1024));
    assert!(status == 401 && body.contains("unauthorized"), "{body}");
}

#[test]
fn bodies_under_way_are_bounded_together() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("runtime.toml");
    fs::write(&config, "limits.max_total_body_bytes = 4194304").unwrap();
    let server = Server::start(&[&TCP[..], &["--config", config.to_str().unwrap()]].concat());
    let begin = || {
        let mut stream = server.connect();
        let head = "POST /v1/workers HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1048576\r\n\r\n{";
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let under_way: Vec<_> = (0..4).map(|_| begin()).collect();
    until("the bound", || server.ask("POST /v1/workers", "", &"x".repeat(1024)).0 == 503);
    let (status, head, body) = exchange(server.connect(), "POST /v1/workers", "", &"x".repeat(1024));
    assert!(status == 503 && head.contains("retry-after: 1") && body.contains("runtime_full"), "{body}");
    assert_eq!(server.ask("GET /v1/runtime", "", "").0, 200, "without a body there is room");
    drop(under_way);
    until("room", || server.ask("POST /v1/workers", "", "{").0 == 400);
}

#[test]
fn v1_over_a_unix_socket() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rt.sock");
    // What a server that was killed leaves behind is no hindrance.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listen = format!("unix:{}", path.display());
    let mut server = Server::start(&["--listen", &listen]);
    assert_eq!(server.url, listen);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);
    let (status, _, body) = exchange(UnixStream::connect(&path).unwrap(), "GET /v1/runtime", "", "");
    assert!(status == 200 && body.contains(r#""runtime_id":"rt""#), "{body}");

    let second = command(&["--listen", &listen]).output().unwrap();
    assert!(!second.status.success());
    assert_eq!(server.end(Signal::INT).code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn it_does_not_listen_beyond_the_machine_without_a_token() {
    let output = command(&["--listen", "0.0.0.0:0"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(error.contains("there is no token"), "{error}");
}

#[test]
fn a_request_that_is_under_way_is_finished() {
    let mut server = Server::start(&TCP);
    let mut stream = server.connect();
    stream
        .write_all(
            b"POST /v1/workers HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 68\r\n\r\n",
        )
        .unwrap();
    // The server asks for the body: the request is under way.
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.contains("100 Continue"), "{line}");
    reader.read_line(&mut line).unwrap();
    server.signal(Signal::TERM);
    until("the port to close", || TcpStream::connect(server.url.strip_prefix("http://").unwrap()).is_err());
    stream.write_all(br#"{"intent":{"kind":"assistant"},"profile":{"kind":"runtime_default"}}"#).unwrap();
    let mut answer = String::new();
    reader.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains(r#""worker_id":"worker-"#), "{answer}");
    assert_eq!(server.process.wait().unwrap().code(), Some(0));
}

#[test]
fn nothing_survives_kill_9() {
    let tree = r#"tree=sh -c 'trap "" TERM HUP INT; setsid sleep 1000 & (setsid sleep 1000 &); sh -c "sleep 1000 & echo up; wait" & wait'"#;
    let mut server = Server::start(&[&TCP[..], &["--profile", tree]].concat());
    for worker_id in [server.create(), server.create()] {
        until("the tree", || server.transcript(&worker_id) == ["up"]);
    }
    // What is just becoming another program has no environment to be seen.
    until("all of both trees", || server.marked().len() == 10);
    let tree = server.tree();
    assert_eq!(tree.len(), 1 + 2 + 10, "a supervisor, launchers, and what they look after");
    assert_eq!(server.end(Signal::KILL).code(), None);
    until("the end of all", || !tree.iter().any(|pid| alive(*pid)));
}

#[test]
fn nothing_survives_kill_9_at_any_moment() {
    for moment in 1..=20 {
        let mut server = Server::start(&[&TCP[..], &["--profile", "sleep=sleep 1000"]].concat());
        for _ in 0..moment {
            server.create();
        }
        // Some of these are threads yet, some helpers, some programs.
        let tree = server.tree();
        server.end(Signal::KILL);
        until("the end of all", || server.marked().is_empty() && !tree.iter().any(|pid| alive(*pid)));
    }
}

#[test]
fn a_store_is_looked_after_while_no_runtime_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("store");
    let path = dir.to_str().unwrap();
    let look_after = |verb: &str| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_sekisho-runtime")).args(["store", verb, path]).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, _, said) = look_after("check");
    assert_eq!(code, Some(2), "{said}");
    assert!(!dir.exists() && !said.contains(path), "{said}");
    let server = Server::start(&["--store", path]);
    let (code, _, said) = look_after("check");
    assert_eq!(code, Some(2));
    assert!(said.contains("in use by another process"), "{said}");
    drop(server);
    let (code, told, said) = look_after("check");
    assert_eq!((code, told.contains("the store is sound")), (Some(0), true), "{told} {said}");
    let (code, exported, _) = look_after("export");
    let line: serde_json::Value = serde_json::from_str(exported.lines().next().unwrap()).unwrap();
    assert_eq!((code, &line["kind"], &line["runtime_id"]), (Some(0), &"runtime".into(), &"rt".into()));
    assert_eq!(look_after("compact").0, Some(0));
}
