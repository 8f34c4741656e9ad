//! Real processes as workers, through the public interface alone.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

#[path = "observation/follower.rs"]
mod follower;

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use sekisho_core::id::WorkerId;
use sekisho_runtime::{Runtime, RuntimeConfig, WorkerProfile};
use serde_json::{Value, json};

use follower::{Follower, cursor};

fn runtime(command: &[&str], stop_grace: Duration) -> Runtime {
    let profiles = vec![WorkerProfile::lines("main", command.iter().copied())];
    // This program is a test's, which is no helper.
    let launcher = Some(env!("CARGO_BIN_EXE_sekisho-runtime").into());
    let config =
        RuntimeConfig { profiles, stop_grace, launcher, ..RuntimeConfig::new("rt".parse().unwrap()) };
    Runtime::start(config).unwrap()
}

fn post(runtime: &Runtime, path: &str, body: &Value) -> Value {
    let request = Request::post(path).body(Bytes::from(body.to_string())).unwrap();
    serde_json::from_slice(runtime.handle(&request).body()).unwrap()
}

fn create(runtime: &Runtime) -> WorkerId {
    let body = json!({"intent": {"kind": "assistant"}, "profile": {"kind": "runtime_default"}});
    post(runtime, "/v1/workers", &body)["worker"]["worker_id"].as_str().unwrap().parse().unwrap()
}

fn say(runtime: &Runtime, worker_id: &WorkerId, content: &str) -> Value {
    let path = format!("/v1/workers/{worker_id}/input");
    post(runtime, &path, &json!({"kind": "user", "content": content}))
}

fn worker(runtime: &Runtime, worker_id: &WorkerId) -> Value {
    let request = Request::get(format!("/v1/workers/{worker_id}")).body(Bytes::new()).unwrap();
    serde_json::from_slice::<Value>(runtime.handle(&request).body()).unwrap()["worker"].clone()
}

fn items(runtime: &Runtime, worker_id: &WorkerId) -> Vec<(String, String)> {
    let request = Request::get(format!("/v1/workers/{worker_id}/transcript")).body(Bytes::new()).unwrap();
    let body: Value = serde_json::from_slice(runtime.handle(&request).body()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let items = body["transcript"]["items"].as_array().unwrap().clone();
    items.iter().map(|item| (text(&item["role"]), text(&item["content"]))).collect()
}

/// The events after the first, which is the worker's creation, until its end.
fn events_to_the_end(runtime: &Runtime, worker_id: &WorkerId) -> Vec<Value> {
    let mut follower = Follower::of(runtime, worker_id, Some(&cursor(runtime, 2)));
    follower.next().unwrap();
    let mut events = Vec::new();
    while events.last().is_none_or(|last: &Value| last["data"]["item"]["kind"] != "ended") {
        events.push(follower.next().unwrap()["envelope"]["payload"].clone());
    }
    events
}

/// Looks until there is something to see, for no longer than anybody would wait.
fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

const LONG: Duration = Duration::from_secs(1000);

#[test]
fn a_shell_is_a_worker() {
    let runtime = runtime(&["sh"], LONG);
    let worker_id = create(&runtime);
    say(&runtime, &worker_id, "echo one; echo two >&2");
    until("an answer", || (items(&runtime, &worker_id).len() == 3).then_some(()));
    say(&runtime, &worker_id, "exit 0");
    let mut events = events_to_the_end(&runtime, &worker_id);

    let pair = |role: &str, content: &str| (role.to_owned(), content.to_owned());
    let mut items = items(&runtime, &worker_id);
    // The two streams have no order between them.
    items[1..3].sort();
    let expected = [
        pair("user", "echo one; echo two >&2"),
        pair("assistant", "one"),
        pair("stderr", "two"),
        pair("user", "exit 0"),
        pair("system", "exited with status 0"),
    ];
    assert_eq!(items, expected);
    let stderr = json!({"event": "system_item", "data": {"item": {"kind": "stderr", "text": "two\n"}}});
    let position = events.iter().position(|event| *event == stderr).unwrap();
    events.remove(position);
    let message = |content: &str| json!({"event": "user_message", "data": {"segments": [{"kind": "text", "content": content}]}});
    assert_eq!(
        events,
        [
            message("echo one; echo two >&2"),
            json!({"event": "text_delta", "data": {"text": "one\n"}}),
            message("exit 0"),
            json!({"event": "run_end", "data": {"result": "finished"}}),
            json!({"event": "status", "data": {"status": "paused"}}),
            json!({"event": "system_item", "data": {"item": {"kind": "ended", "reason": "exited", "exit_code": 0}}}),
        ]
    );

    // Its end is known by the event that told it first, and it stays readable.
    let ended_by = worker(&runtime, &worker_id)["last_event_id"].as_u64().unwrap() - 2;
    let ack = post(&runtime, &format!("/v1/workers/{worker_id}/stop"), &json!({}))["ack"].clone();
    assert_eq!((&ack["status"], &ack["event_id"]), (&json!("stopped"), &json!(ended_by)));
    assert_eq!(say(&runtime, &worker_id, "x")["error"]["code"], "worker_not_running");
}

#[test]
fn failures_are_told() {
    for (command, message, end) in [
        (
            ["sh", "-c", "exit 3"],
            "the worker exited with status 3",
            json!({"reason": "exited", "exit_code": 3}),
        ),
        (
            ["sh", "-c", "kill -9 $$"],
            "the worker ended by signal 9",
            json!({"reason": "signalled", "signal": 9}),
        ),
        // A shell that ran, whatever it found.
        (
            ["sh", "-c", "/no/such/program"],
            "the worker exited with status 127",
            json!({"reason": "exited", "exit_code": 127}),
        ),
    ] {
        let runtime = runtime(&command, LONG);
        let worker_id = create(&runtime);
        let events = events_to_the_end(&runtime, &worker_id);
        let error = json!({"event": "error", "data": {"code": "provider_error", "message": message}});
        assert!(events.contains(&error), "{command:?}");
        let worker = worker(&runtime, &worker_id);
        assert_eq!((&worker["status"], &worker["end"]), (&json!("stopped"), &end));
    }
}

#[test]
fn what_was_said_before_the_end_is_there_at_the_end() {
    let runtime = runtime(&["sh", "-c", "seq 1 20000; printf 関"], LONG);
    let worker_id = create(&runtime);
    let transcript_len = || worker(&runtime, &worker_id)["transcript_len"].as_u64().unwrap();
    until("the end", || worker(&runtime, &worker_id)["end"].is_object().then_some(()));
    // Its lines, its rest, its end.
    assert_eq!(transcript_len(), 20_002);
    let frames = Follower::of(&runtime, &worker_id, Some(&cursor(&runtime, 2))).ready();
    let events = frames[1..].iter().map(|frame| &frame["envelope"]["payload"]);
    let told: String = events.filter_map(|event| event["data"]["text"].as_str()).collect();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[19_999], lines[20_000]), (20_001, "1", "20000", "関"));
}

#[test]
fn a_process_that_closed_its_input_is_told_of() {
    let runtime = runtime(&["sh", "-c", "exec 0<&-; echo closed; exec sleep 1000"], LONG);
    let worker_id = create(&runtime);
    let refused = until("the refusal", || say(&runtime, &worker_id, "x").get("error").cloned());
    assert_eq!(refused["code"], "worker_not_running");
    assert!(refused["message"].as_str().unwrap().contains("its standard input is closed"), "{refused}");
}

#[test]
fn a_process_that_ignores_being_asked_is_killed() {
    let stubborn = ["sh", "-c", r#"trap "" TERM; echo $$; while :; do sleep 1000; done"#];
    // With a long grace an answer that waited for the process would not come.
    for (orders, grace, status) in [
        (&["stop"][..], Duration::from_millis(50), "stopped"),
        (&["cancel"], LONG, "cancelled"),
        (&["stop", "cancel"], LONG, "cancelled"),
    ] {
        let runtime = runtime(&stubborn, grace);
        let worker_id = create(&runtime);
        let pid = until("the pid", || items(&runtime, &worker_id).first().map(|item| item.1.clone()));
        for order in orders {
            let ack = post(&runtime, &format!("/v1/workers/{worker_id}/{order}"), &json!({}))["ack"].clone();
            assert_eq!(ack["status"], "running");
        }
        let process = format!("/proc/{pid}");
        let end = until("the end", || worker(&runtime, &worker_id).get("end").cloned());
        assert_eq!(end, json!({"reason": status, "signal": 9}));
        assert!(!std::path::Path::new(&process).exists());
    }
}

#[test]
fn shutdown_leaves_nothing() {
    let runtime = runtime(
        &["sh", "-c", r#"trap "" TERM; sleep 1000 & echo $$ $!; wait; wait"#],
        Duration::from_millis(50),
    );
    let workers: Vec<WorkerId> = (0..5).map(|_| create(&runtime)).collect();
    let pids = workers
        .iter()
        .map(|worker_id| until("the pids", || items(&runtime, worker_id).first().map(|item| item.1.clone())));
    let pids: Vec<String> =
        pids.flat_map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
    assert_eq!(pids.len(), 10);
    runtime.shutdown();
    for pid in pids {
        // A grandchild is init's to reap, which it does when it gets to it.
        until("the end", || match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => stat.contains(") Z ").then_some(()),
            Err(_) => Some(()),
        });
    }
    assert_eq!(worker(&runtime, &workers[0])["status"], "stopped");
}
