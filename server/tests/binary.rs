//! The real binaries, used as a new user would.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use sekisho_tests::client::{Answer, request};
use sekisho_tests::processes::{NO_STATE, Process, binary, eventually};
use sekisho_tests::upstream::{Upstream, json};
use sekisho_tests::viewer::Viewer;

fn server() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho-server"));
    command.env_remove("RUST_LOG").env("STATE_DIRECTORY", NO_STATE);
    command
}

fn get(address: SocketAddr, path: &str) -> Answer {
    request(address, "GET", path, None)
}

fn post(address: SocketAddr, path: &str, body: &str) -> Answer {
    request(address, "POST", path, Some(body))
}

/// Creates a worker, says something to it, and waits for its answer.
fn converse(address: SocketAddr, runtime_id: &str, said: &str, answer: &str) -> String {
    let created =
        post(address, &format!("/api/runtimes/{runtime_id}/workers"), r#"{"intent":{"kind":"assistant"}}"#);
    assert_eq!(created.status, 201, "{created:?}");
    // Relative to where the create was sent.
    let worker = format!("/api/runtimes/{runtime_id}/{}", created.header("location").unwrap());
    let input = serde_json::json!({ "content": said }).to_string();
    let acknowledged = post(address, &format!("{worker}/input"), &input);
    assert_eq!(acknowledged.status, 200, "{acknowledged:?}");
    eventually("the worker answers", || {
        let transcript = get(address, &format!("{worker}/transcript")).json();
        let items = transcript["transcript"]["items"].as_array().unwrap().clone();
        items.iter().any(|item| item["role"] == "assistant" && item["content"] == answer).then_some(())
    });
    worker
}

#[test]
fn the_first_try() {
    let mut server = Process::start(server().args(["--listen", "127.0.0.1:0", "--exec", "sh"]));
    let worker = converse(server.address(), "embedded", "echo $((6 * 7))", "42");
    assert_eq!(get(server.address(), "/readyz").status, 200);
    let listed = get(server.address(), "/api/workers").json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let stop = || post(server.address(), &format!("{worker}/stop"), "{}");
    assert_eq!(stop().status, 200);
    eventually("the worker has ended", || {
        let status = get(server.address(), &worker).json()["worker"]["status"].clone();
        (status == "stopped").then_some(())
    });
    assert_eq!(stop().json()["ack"]["status"], "stopped", "a stop may be repeated");
    let refused = post(server.address(), &format!("{worker}/input"), r#"{"content":"x"}"#);
    let refused = (refused.status, refused.text("code"), refused.text("outcome"));
    assert_eq!(refused, (409, "worker_not_running".into(), "not_applied".into()));
    server.signal("INT");
    assert!(server.ended().0.success());
}

/// A runtime process and a server in front of it; where they say that they listen.
fn behind(
    directory: &Path,
    listen: &str,
    more: &[&str],
    remote: impl Fn(&str) -> String,
) -> (Process, Process) {
    let token = directory.join("token");
    std::fs::write(&token, "a-token-for-tests\n").unwrap();
    let runtime = Process::start_anywhere(
        Command::new(binary("sekisho-runtime"))
            .args(["--listen", listen, "--runtime-id", "build-box", "--profile", "shell=sh", "--token-file"])
            .arg(&token)
            .args(more),
    );
    let config = directory.join("sekisho.toml");
    let table = remote(runtime.said());
    let text = format!(
        "listen = '127.0.0.1:0'\n[[remote]]\nruntime_id = 'build-box'\ntoken_file = {token:?}\n{table}\n"
    );
    std::fs::write(&config, text).unwrap();
    let server = Process::start(server().arg("--config").arg(&config));
    (runtime, server)
}

#[test]
fn a_runtime_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let (runtime, server) = behind(directory.path(), "127.0.0.1:0", &[], |said| {
        format!("base_url = '{}'", said.replace("listening on ", ""))
    });
    let worker = converse(server.address(), "build-box", "echo from afar", "from afar");
    converse(server.address(), "embedded", "hello", "hello");
    let workers = get(server.address(), "/api/workers").json();
    let runtimes: Vec<_> =
        workers["items"].as_array().unwrap().iter().map(|item| &item["runtime_id"]).collect();
    assert_eq!(runtimes, ["embedded", "build-box"]);
    let summary = get(server.address(), "/api/runtimes/build-box").json();
    assert_eq!(summary["runtime"]["reachability"], "reachable");

    runtime.signal("KILL");
    let gone = eventually("the runtime is gone", || {
        let answer = post(server.address(), &format!("{worker}/input"), r#"{"content":"x"}"#);
        (answer.text("phase") == "connect").then_some(answer)
    });
    assert_eq!((gone.text("code"), gone.text("outcome")), ("network_error".into(), "not_applied".into()));
    let summary = get(server.address(), "/api/runtimes/build-box").json();
    assert_eq!(summary["runtime"]["reachability"], "unreachable");
    assert_eq!(summary["runtime"]["status"], "running", "what it last said of itself");
}

#[test]
fn a_runtime_behind_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("rt.sock");
    let listen = format!("unix:{}", socket.display());
    let base_url = format!("base_url = 'unix://{}'", socket.display());
    let (_runtime, server) = behind(directory.path(), &listen, &[], |_| base_url.clone());
    converse(server.address(), "build-box", "echo through a socket", "through a socket");
}

#[test]
fn a_runtime_that_starts_anew_is_noticed_by_its_viewers() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("rt.sock");
    let listen = format!("unix:{}", socket.display());
    let base_url = format!("base_url = 'unix://{}'", socket.display());
    let (runtime, server) = behind(directory.path(), &listen, &[], |_| base_url.clone());
    let worker = converse(server.address(), "build-box", "echo before", "before");
    let named = worker.replace("/api/runtimes/", "").replace("/workers/", "/");
    let mut viewer = Viewer::open(server.address(), &named, None);
    assert!(viewer.see().is_snapshot());
    drop(runtime);
    let command = || {
        let mut command = Command::new(binary("sekisho-runtime"));
        command.args([
            "--listen",
            &listen,
            "--runtime-id",
            "build-box",
            "--profile",
            "shell=sh",
            "--token-file",
        ]);
        command.arg(directory.path().join("token"));
        command
    };
    let _anew = Process::start_anywhere(&mut command());
    // The new one knows no such worker, and never gives the name to another.
    let (codes, code) = viewer.end();
    assert_eq!((codes.last().map(String::as_str), code), (Some("worker_not_found"), 4504));
    let anew = converse(server.address(), "build-box", "echo after", "after");
    assert_ne!(anew, worker);
    let mut back = Viewer::open(server.address(), &named, viewer.cursor.as_deref());
    let (codes, code) = back.end();
    assert_eq!((codes.last().map(String::as_str), code), (Some("worker_not_found"), 4504));
}

#[test]
fn two_servers_do_not_share_a_port() {
    let first = Process::start(server().args(["--listen", "127.0.0.1:0"]));
    let second = server().arg("--listen").arg(first.address().to_string()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("cannot listen"), "{second:?}");
}

#[test]
fn a_runtime_behind_tls() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(file("cert"), issued.cert.pem()).unwrap();
    std::fs::write(file("key"), issued.signing_key.serialize_pem()).unwrap();
    let (cert, key) = (file("cert"), file("key"));
    let tls = ["--tls-cert", cert.as_str(), "--tls-key", key.as_str()];
    let (_runtime, server) = behind(directory.path(), "127.0.0.1:0", &tls, |said| {
        let port = said.rsplit(':').next().unwrap();
        format!("base_url = 'https://localhost:{port}'\nca_file = {cert:?}")
    });
    converse(server.address(), "build-box", "echo under seal", "under seal");
}

#[test]
fn what_is_in_flight_is_finished() {
    let directory = tempfile::tempdir().unwrap();
    let (answer, wait) = mpsc::sync_channel(1);
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::start(move |_| {
        wait.lock().unwrap().recv().unwrap();
        json(200, r#"{"workers":[]}"#)
    });
    let config = directory.path().join("sekisho.toml");
    let remote = format!(
        "listen = '127.0.0.1:0'\n[[remote]]\nruntime_id = 'rt'\nbase_url = 'http://{}'",
        upstream.address()
    );
    std::fs::write(&config, remote).unwrap();
    let mut server = Process::start(server().arg("--config").arg(&config));
    let address = server.address();
    let asking = std::thread::spawn(move || get(address, "/api/runtimes/rt/workers"));
    eventually("the request is under way", || (upstream.asked() == 1).then_some(()));
    server.signal("TERM");
    eventually("it is no longer ready", || (get(address, "/readyz").status == 503).then_some(()));
    answer.send(()).unwrap();
    assert_eq!(asking.join().unwrap().status, 200);
    assert!(server.ended().0.success());
}

#[test]
fn no_worker_survives_its_server() {
    let server = Process::start(server().args(["--listen", "127.0.0.1:0", "--exec", "sh"]));
    let worker = converse(server.address(), "embedded", "echo ready", "ready");
    post(
        server.address(),
        &format!("{worker}/input"),
        r#"{"content":"sleep 1000 & echo child $! parent $$"}"#,
    );
    let pids: Vec<String> = eventually("the worker tells its processes", || {
        let transcript = get(server.address(), &format!("{worker}/transcript")).body;
        let told = transcript.split("\"child ").nth(1)?.split('"').next()?.replace("parent ", "");
        Some(told.split(' ').map(str::to_owned).collect())
    });
    assert_eq!(pids.len(), 2);
    server.signal("KILL");
    for pid in pids {
        eventually("its process is gone", || (!is_running(&pid)).then_some(()));
    }
}

/// A process that has ended and has not been waited for is no longer running.
fn is_running(pid: &str) -> bool {
    let listed = Command::new("ps").args(["-o", "stat=", "-p", pid]).stderr(Stdio::null()).output().unwrap();
    let state = String::from_utf8_lossy(&listed.stdout).trim().to_owned();
    !state.is_empty() && !state.starts_with('Z')
}

#[test]
fn a_wrong_configuration_is_told_before_anything_listens() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("sekisho.toml");
    for (text, named) in [
        ("[[remote]]\nruntime_id = 'r'\nbase_url = 'http://u:hunter2@h'", "remote[1].base_url"),
        ("lisen = 'x'", "`lisen`"),
        ("listen = '0.0.0.0:0'", "listen: not a loopback address"),
    ] {
        std::fs::write(&config, text).unwrap();
        let output = server().arg("--config").arg(&config).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(named) && !told.contains("hunter2") && output.stdout.is_empty(), "{told}");
    }
    assert_eq!(server().arg("--no-such-flag").output().unwrap().status.code(), Some(2));
}
