//! What a server keeps over its own end, and the stores of others that it reads.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::fs;
use std::path::Path;
use std::process::Command;

use sekisho_tests::client::request;
use sekisho_tests::processes::{Process, eventually};
use sekisho_tests::viewer::{Seen, Viewer};
use serde_json::{Value, json};

/// A server whose state directory is this folder.
fn server(state: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho-server"));
    command.env("STATE_DIRECTORY", state).env_remove("RUST_LOG").args(arguments);
    command
}

const ANYWHERE: [&str; 4] = ["--listen", "127.0.0.1:0", "--exec", "cat"];

fn get(server: &Process, path: &str) -> Value {
    let answer = request(server.address(), "GET", path, None);
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}

fn create(server: &Process) -> String {
    let body = r#"{"intent":{"kind":"assistant"}}"#;
    let created = request(server.address(), "POST", "/api/runtimes/embedded/workers", Some(body));
    assert_eq!(created.status, 201, "{created:?}");
    created.json()["worker"]["worker_id"].as_str().unwrap().to_owned()
}

fn say_at_once(server: &Process, worker_id: &str, content: &str) {
    let path = format!("/api/runtimes/embedded/workers/{worker_id}/input");
    let said = request(server.address(), "POST", &path, Some(&json!({ "content": content }).to_string()));
    assert_eq!(said.status, 200, "{said:?}");
}

/// Says something to a worker that repeats it, and waits until it is in the transcript.
fn say(server: &Process, worker_id: &str, content: &str) {
    say_at_once(server, worker_id, content);
    let path = format!("/api/runtimes/embedded/workers/{worker_id}");
    eventually("the worker answers", || {
        let items = get(server, &format!("{path}/transcript"))["transcript"]["items"].clone();
        let items = items.as_array().unwrap();
        items.iter().any(|item| item["role"] == "assistant" && item["content"] == content).then_some(())
    });
}

/// The texts of the events that a viewer sees until it has caught up.
fn caught_up(viewer: &mut Viewer) -> Vec<Value> {
    let mut seen = Vec::new();
    loop {
        match viewer.see() {
            Seen::Event { payload, .. } => seen.push(payload),
            Seen::Diagnostic(code) if code == "caught_up" => return seen,
            Seen::Diagnostic(code) => panic!("{code}"),
            Seen::Closed(code) => panic!("closed with {code} after {seen:?}"),
        }
    }
}

#[test]
fn a_server_that_was_killed_goes_on_where_it_was() {
    let state = tempfile::tempdir().unwrap();
    let mut before = Process::start(&mut server(state.path(), &ANYWHERE));
    let worker_id = create(&before);
    let name = format!("embedded/{worker_id}");
    let mut viewer = Viewer::open(before.address(), &name, None);
    caught_up(&mut viewer);
    let cursor = viewer.cursor.clone().unwrap();
    say(&before, &worker_id, "one");
    say(&before, &worker_id, "two");
    let told = caught_up(&mut Viewer::open(before.address(), &name, Some(&cursor)));
    // What is acknowledged is durable, and so is all that was before it.
    say_at_once(&before, &worker_id, "three");
    before.signal("KILL");
    before.ended();

    let after = Process::start(&mut server(state.path(), &ANYWHERE));
    let worker = get(&after, &format!("/api/runtimes/embedded/workers/{worker_id}"));
    let worker = &worker["worker"];
    assert_eq!((&worker["status"], &worker["end"]["reason"]), (&json!("stopped"), &json!("runtime_lost")));
    let told_now = caught_up(&mut Viewer::open(after.address(), &name, Some(&cursor)));
    assert_eq!(told_now[..told.len()], told[..]);
    assert!(told_now.len() > told.len(), "how it ended is told as well");
    // What is new does not take the place of what was.
    let next = create(&after);
    assert_ne!(next, worker_id);
}

#[test]
fn a_second_server_of_one_user_says_so_and_runs_with_memory() {
    let state = tempfile::tempdir().unwrap();
    let first = Process::start(&mut server(state.path(), &ANYWHERE));
    let worker_id = create(&first);
    let mut second = Process::start(&mut server(state.path(), &ANYWHERE));
    assert_eq!(get(&second, "/api/workers")["items"], json!([]));
    create(&second);
    second.signal("TERM");
    let (status, log) = second.ended();
    assert!(status.success());
    let warned = log.lines().filter(|line| line.contains("embedded.store")).collect::<Vec<_>>();
    assert_eq!(warned.len(), 1, "{log}");
    assert!(warned[0].contains("the store is in use by another process"), "{log}");
    assert!(!log.contains(state.path().to_str().unwrap()), "{log}");
    assert_eq!(get(&first, "/api/workers")["items"][0]["worker_id"], worker_id);
}

#[test]
fn a_state_directory_that_cannot_be_made_is_no_reason_not_to_start() {
    let mut server = Process::start(&mut server(Path::new("/dev/null/none"), &ANYWHERE));
    create(&server);
    server.signal("TERM");
    assert!(server.ended().1.contains("embedded.store"));
}

#[test]
fn a_store_that_was_named_has_to_be_had() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("sekisho.toml");
    let with = |store: &str| {
        fs::write(&config, format!("listen = '127.0.0.1:0'\n[embedded]\nstore = '{store}'\n")).unwrap();
        server(folder.path(), &["--config", config.to_str().unwrap()])
    };
    let store = folder.path().join("store");
    let first = Process::start(&mut with(store.to_str().unwrap()));
    create(&first);
    let refused = with(store.to_str().unwrap()).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success());
    assert!(said.contains("embedded.store: the store is in use by another process"), "{said}");
    let refused = with("/dev/null/none").output().unwrap();
    assert!(!refused.status.success());
    // A server that is told to keep nothing leaves nothing.
    let state = tempfile::tempdir().unwrap();
    fs::write(&config, "listen = '127.0.0.1:0'\ncursor_key_file = 'key'\n[embedded]\nstore = 'memory'\n")
        .unwrap();
    let mut memory = server(state.path(), &["--config", config.to_str().unwrap()]);
    let memory = Process::start(memory.current_dir(&folder));
    create(&memory);
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
}

/// The recorded store of a deployed runtime.
fn recorded() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../store/tests/fixtures/deployed-schema1");
    folder.canonicalize().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn stores_of_others_are_read_while_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let owner = Process::start(&mut server(folder.path(), &ANYWHERE));
    let worker_id = create(&owner);
    say(&owner, &worker_id, "hello");
    let config = folder.path().join("reader.toml");
    let local = |runtime_id: &str, store: &str| {
        format!("[[local]]\nruntime_id = '{runtime_id}'\nstore = '{store}'\n")
    };
    let own = folder.path().join("embedded");
    let text = format!(
        "listen = '127.0.0.1:0'\n[embedded]\nenabled = false\n{}{}{}",
        local("archive", &recorded()),
        local("embedded", own.to_str().unwrap()),
        local("missing", folder.path().join("none").to_str().unwrap()),
    );
    // The embedded runtime is turned off here, so that its id is free for the store of the other one.
    fs::write(&config, text).unwrap();
    let mut reader =
        Process::start(&mut server(Path::new("/dev/null/none"), &["--config", config.to_str().unwrap()]));

    let runtimes = get(&reader, "/api/runtimes");
    let runtime = |runtime_id: &str| {
        let mut runtimes = runtimes["items"].as_array().unwrap().iter();
        runtimes.find(|runtime| runtime["runtime_id"] == runtime_id).unwrap().clone()
    };
    for runtime_id in ["archive", "embedded", "missing"] {
        let runtime = runtime(runtime_id);
        assert_eq!(
            (&runtime["kind"], &runtime["reachability"]),
            (&json!("local_compatibility"), &json!("reachable"))
        );
        let capabilities = &runtime["capabilities"];
        let can = |name: &str| capabilities[name] == true;
        assert!(can("list_workers") && can("get_worker") && can("read_transcript"), "{capabilities}");
        assert!(!can("create_worker") && !can("send_input") && !can("stop_worker"), "{capabilities}");
        assert_eq!(can("observe_events"), runtime_id == "embedded");
    }
    assert_eq!(runtime("missing")["diagnostics"][0]["code"], "store_missing");
    assert_eq!(runtime("archive")["display_name"], "Archive");

    let listed = get(&reader, "/api/workers");
    assert_eq!(listed["items"].as_array().unwrap().len(), 4);
    assert_eq!(listed["diagnostics"][0]["code"], "store_missing");
    let transcript = get(&reader, "/api/runtimes/archive/workers/worker-00000001/transcript");
    assert_eq!(transcript["transcript"]["items"][0]["content"], "l0\nsecond 日本");
    let refused =
        request(reader.address(), "POST", "/api/runtimes/archive/workers/worker-00000001/stop", Some("{}"));
    assert_eq!((refused.status, refused.text("code")), (501, "unsupported".into()));

    let mine = format!("/api/runtimes/embedded/workers/{worker_id}/transcript");
    let repeated = |content: &str| {
        // What a worker says is on the disk a moment later.
        eventually("what was written", || {
            let items = get(&reader, &mine)["transcript"]["items"].clone();
            (items.as_array().unwrap().iter().filter(|item| item["content"] == content).count() == 2)
                .then_some(())
        });
    };
    repeated("hello");
    say(&owner, &worker_id, "more");
    repeated("more");
    let mut viewer = Viewer::open(reader.address(), &format!("embedded/{worker_id}"), None);
    assert_eq!(caught_up(&mut viewer)[0]["event"], "snapshot");
    let mut viewer = Viewer::open(reader.address(), "archive/worker-00000001", None);
    assert_eq!(viewer.end(), (vec!["unsupported".to_owned()], 4501));

    reader.signal("TERM");
    let log = reader.ended().1;
    assert!(!log.contains(folder.path().to_str().unwrap()) && !log.contains(&recorded()), "{log}");
}
