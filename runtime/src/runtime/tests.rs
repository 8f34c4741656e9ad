use std::panic::{AssertUnwindSafe, catch_unwind};

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::config::ProcessProfile;

fn config() -> RuntimeConfig {
    RuntimeConfig::new("rt".parse().unwrap())
}

fn echo() -> Runtime {
    Runtime::start(config()).unwrap()
}

fn quiet() -> Runtime {
    let command = ["sh", "-c", "exec sleep 1000"].map(String::from).to_vec();
    let profiles = vec![ProcessProfile { name: "quiet".into(), command }];
    // Beside the programs of tests are those that they test: `cargo test` builds both.
    let launcher =
        std::env::current_exe().unwrap().ancestors().nth(2).map(|folder| folder.join("sekisho-runtime"));
    Runtime::start(RuntimeConfig { profiles, launcher, ..config() }).unwrap()
}

fn ask(runtime: &Runtime, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = runtime.handle(&request.body(Bytes::copy_from_slice(body.as_bytes())).unwrap());
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap_or_default())
}

fn get(runtime: &Runtime, path: &str) -> (u16, Value) {
    ask(runtime, Method::GET, path, &[], "")
}

fn post(runtime: &Runtime, path: &str, body: &str) -> (u16, Value) {
    ask(runtime, Method::POST, path, &[], body)
}

fn refused(answer: (u16, Value)) -> (u16, String) {
    (answer.0, answer.1["error"]["code"].as_str().unwrap().to_owned())
}

const ASSISTANT: &str = r#"{"intent":{"kind":"assistant"},"profile":{"kind":"runtime_default"}}"#;
const WORKERS: &str = "/v1/workers";
const INPUT: &str = "/v1/workers/worker-00000001/input";
const HELLO: &str = r#"{"kind":"user","content":"hello"}"#;

#[test]
fn a_runtime_speaks_of_itself() {
    let (status, body) = get(&echo(), "/v1/runtime");
    let runtime = &body["runtime"];
    assert_eq!((status, &runtime["features"]), (200, &json!(["idempotency"])));
    assert_eq!(runtime["backend"], "memory");
    let incarnation = runtime["incarnation"].as_str().unwrap();
    assert_eq!(incarnation.len(), 32);
    assert_ne!(get(&echo(), "/v1/runtime").1["runtime"]["incarnation"], incarnation);
}

#[test]
fn without_the_token_every_route_is_closed() {
    let runtime = Runtime::start(RuntimeConfig { token: "s3cret".parse().ok(), ..config() }).unwrap();
    for path in ["/v1/runtime", "/v1/workers", "/v1/nothing", "/", "/v1/workers/x/events/ws"] {
        for headers in [&[][..], &[("authorization", "Bearer wrong")], &[("authorization", "s3cret")]] {
            let answer = ask(&runtime, Method::GET, path, headers, "");
            assert_eq!(refused(answer), (401, "unauthorized".into()), "{path}");
        }
    }
    let admitted = |path| ask(&runtime, Method::GET, path, &[("authorization", "Bearer s3cret")], "").0;
    assert_eq!((admitted("/v1/runtime"), admitted("/v1/nothing")), (200, 404));
    assert!(!format!("{runtime:?}").contains("s3cret"));
}

#[test]
fn profiles_are_the_operators() {
    let create = |runtime: &Runtime, profile: &str| {
        post(runtime, WORKERS, &format!(r#"{{"intent":{{"kind":"assistant"}},"profile":{profile}}}"#))
    };
    for (profile, status) in [
        (r#"{"kind":"runtime_default"}"#, 200),
        (r#"{"kind":"builtin","value":"builtin:echo"}"#, 200),
        (r#"{"kind":"named","value":"quiet"}"#, 200),
        (r#"{"kind":"builtin","value":"quiet"}"#, 400),
        (r#"{"kind":"builtin","value":"builtin:coder"}"#, 400),
        (r#"{"kind":"named","value":"builtin:echo"}"#, 400),
        (r#"{"kind":"named","value":"/bin/sh"}"#, 400),
        (r#"{"kind":"named","value":""}"#, 400),
    ] {
        let answer = create(&quiet(), profile);
        assert_eq!(answer.0, status, "{profile}");
        if status == 400 {
            assert_eq!(refused(answer).1, "invalid_request", "{profile}");
        }
    }
    assert_eq!(create(&echo(), r#"{"kind":"runtime_default"}"#).0, 200);
}

#[test]
fn what_a_worker_was_made_of_is_given_back() {
    let runtime = echo();
    let body = json!({
        "intent": {"kind": "task", "objective": "x"},
        "profile": {"kind": "builtin", "value": "builtin:echo"},
        "config_bundle": {"id": "c"},
        "requested_capabilities": [{"name": "read"}, {"name": "write", "reason": "r"}],
        "workspace_refs": [{"name": "n", "reference": "r"}],
        "mount_refs": [{"name": "m", "reference": "r"}],
    });
    let (status, answer) = post(&runtime, WORKERS, &body.to_string());
    assert_eq!(status, 200);
    for (field, value) in body.as_object().unwrap() {
        assert_eq!(&answer["worker"][field], value);
    }
    assert_eq!(get(&runtime, "/v1/workers/worker-00000001").1, answer);
    let (_, list) = get(&runtime, WORKERS);
    assert_eq!(list["workers"][0]["requested_capability_count"], 2);
    assert_eq!(list["workers"][0]["has_config_bundle"], true);
}

#[test]
fn echo_answers_with_the_same_text() {
    let runtime = echo();
    post(&runtime, WORKERS, ASSISTANT);
    let (_, ack) = post(&runtime, INPUT, HELLO);
    assert_eq!((&ack["ack"]["transcript_sequence"], &ack["ack"]["event_id"]), (&json!(1), &json!(3)));
    let transcript = get(&runtime, "/v1/workers/worker-00000001/transcript").1;
    let items = transcript["transcript"]["items"].as_array().unwrap();
    let said: Vec<_> =
        items.iter().map(|item| (&item["role"], &item["content"], &item["event_id"])).collect();
    assert_eq!(
        said,
        [(&json!("user"), &json!("hello"), &json!(3)), (&json!("assistant"), &json!("hello"), &json!(4))]
    );
}

#[test]
fn transcripts_come_in_pages() {
    let runtime = echo();
    post(&runtime, WORKERS, ASSISTANT);
    for _ in 0..150 {
        post(&runtime, INPUT, HELLO);
    }
    for (query, first, count, next) in [
        ("", json!(1), 256, json!(256)),
        ("?start=256", json!(257), 44, Value::Null),
        ("?start=10&limit=5", json!(11), 5, json!(15)),
        ("?start=299&limit=1", json!(300), 1, Value::Null),
        ("?start=300", Value::Null, 0, Value::Null),
        ("?start=18446744073709551615&limit=0", Value::Null, 0, Value::Null),
        ("?limit=0", Value::Null, 0, json!(0)),
    ] {
        let (status, body) = get(&runtime, &format!("/v1/workers/worker-00000001/transcript{query}"));
        let transcript = &body["transcript"];
        let items = transcript["items"].as_array().unwrap();
        assert_eq!((status, &transcript["total_items"]), (200, &json!(300)), "{query}");
        assert_eq!((items.len(), &transcript["next_start"]), (count, &next), "{query}");
        assert_eq!(items.first().map_or(Value::Null, |item| item["sequence"].clone()), first, "{query}");
    }
}

#[test]
fn an_ended_worker_keeps_its_first_end() {
    let runtime = quiet();
    post(&runtime, WORKERS, ASSISTANT);
    post(&runtime, WORKERS, ASSISTANT);
    let end = |worker: u32, how: &str| {
        let ack = post(&runtime, &format!("/v1/workers/worker-0000000{worker}/{how}"), "").1;
        (ack["ack"]["status"].clone(), ack["ack"]["event_id"].clone())
    };
    assert_eq!(end(1, "stop"), (json!("stopped"), json!(4)));
    assert_eq!(end(1, "stop"), (json!("stopped"), json!(4)));
    assert_eq!(end(1, "cancel"), (json!("stopped"), json!(4)));
    assert_eq!(end(2, "cancel"), (json!("cancelled"), json!(5)));
    assert_eq!(end(2, "stop"), (json!("cancelled"), json!(5)));
    let (status, answer) = post(&runtime, INPUT, HELLO);
    assert_eq!(status, 400);
    assert_eq!(answer["error"]["message"], "invalid request: worker worker-00000001 is not running");
    let summary = get(&runtime, "/v1/runtime").1["runtime"].clone();
    assert_eq!(
        (&summary["worker_count"], &summary["active_worker_count"], &summary["stopped_worker_count"]),
        (&json!(2), &json!(0), &json!(1))
    );
}

#[test]
fn after_shutdown_there_is_only_reading() {
    let runtime = quiet();
    post(&runtime, WORKERS, ASSISTANT);
    post(
        &runtime,
        WORKERS,
        &ASSISTANT.replace(r#""kind":"runtime_default""#, r#""kind":"builtin","value":"builtin:echo""#),
    );
    runtime.shutdown();
    assert!(runtime.handle.shared.lock().unwrap().threads.is_empty());
    assert_eq!(refused(post(&runtime, WORKERS, ASSISTANT)), (409, "runtime_stopped".into()));
    assert_eq!(refused(post(&runtime, INPUT, HELLO)), (409, "runtime_stopped".into()));
    let summary = get(&runtime, "/v1/runtime").1["runtime"].clone();
    assert_eq!((&summary["status"], &summary["stopped_worker_count"]), (&json!("stopped"), &json!(2)));
    assert_eq!(post(&runtime, "/v1/workers/worker-00000002/stop", "").0, 200);
    runtime.shutdown();
}

#[test]
fn bounds_are_told() {
    let runtime = echo();
    let long = format!(
        r#"{{"intent":{{"kind":"task","objective":"{}"}},"profile":{{"kind":"runtime_default"}}}}"#,
        "x".repeat(MAX_CREATE_BYTES)
    );
    assert_eq!(refused(post(&runtime, WORKERS, &long)), (400, "invalid_request".into()));
    assert_eq!(post(&runtime, WORKERS, ASSISTANT).0, 200);
    let input = |length: usize| format!(r#"{{"kind":"user","content":"{}"}}"#, "x".repeat(length));
    assert_eq!(post(&runtime, INPUT, &input(crate::MAX_INPUT_BYTES)).0, 200);
    assert_eq!(
        refused(post(&runtime, INPUT, &input(crate::MAX_INPUT_BYTES + 1))),
        (400, "invalid_request".into())
    );
    for _ in 1..MAX_WORKERS {
        assert_eq!(post(&runtime, WORKERS, ASSISTANT).0, 200);
    }
    assert_eq!(refused(post(&runtime, WORKERS, ASSISTANT)), (400, "invalid_request".into()));
}

#[test]
fn processes_are_bounded() {
    let runtime = quiet();
    for _ in 0..MAX_PROCESSES {
        assert_eq!(post(&runtime, WORKERS, ASSISTANT).0, 200);
    }
    let (status, answer) = post(&runtime, WORKERS, ASSISTANT);
    assert_eq!((status, answer["error"]["code"].clone()), (400, json!("invalid_request")));
    assert!(answer["error"]["message"].as_str().unwrap().contains("128"), "{answer}");
    // The number of a worker that was not made is not spent.
    post(&runtime, "/v1/workers/worker-00000001/cancel", "");
    let shared = &runtime.handle.shared;
    let full = |state: &mut State| state.threads.len() == MAX_PROCESSES;
    drop(shared.done.wait_while(shared.state.lock().unwrap(), full).unwrap());
    let (_, created) = post(&runtime, WORKERS, ASSISTANT);
    assert_eq!(created["worker"]["worker_id"], "worker-00000129");
}

#[test]
fn a_full_worker_is_busy() {
    let runtime = quiet();
    post(&runtime, WORKERS, ASSISTANT);
    let input = format!(r#"{{"kind":"user","content":"{}"}}"#, "x".repeat(crate::MAX_INPUT_BYTES));
    let answers: Vec<_> = (0..4).map(|_| post(&runtime, INPUT, &input)).collect();
    let (last, first) = answers.split_last().unwrap();
    assert_eq!(first[0].0, 200);
    assert_eq!(refused(last.clone()), (409, "worker_busy".into()));
    // What was refused is not in the transcript.
    let accepted = answers.iter().filter(|answer| answer.0 == 200).count();
    let worker = get(&runtime, "/v1/workers/worker-00000001").1;
    assert_eq!(worker["worker"]["transcript_len"], accepted);
}

#[test]
fn a_key_works_once() {
    let runtime = echo();
    let keyed = |path: &str, key: &str, body: &str| {
        ask(&runtime, Method::POST, path, &[("idempotency-key", key)], body)
    };
    let first = keyed(WORKERS, "a", ASSISTANT);
    assert_eq!(first.0, 200);
    assert_eq!(keyed(WORKERS, "a", ASSISTANT), first);
    assert_ne!(keyed(WORKERS, "b", ASSISTANT), first);
    let said = keyed(INPUT, "c", HELLO);
    assert_eq!(keyed(INPUT, "c", HELLO), said);
    assert_eq!(get(&runtime, "/v1/workers/worker-00000001").1["worker"]["transcript_len"], 2);
    let conflict = (409, "idempotency_conflict".to_owned());
    assert_eq!(refused(keyed(INPUT, "c", &HELLO.replace("hello", "other"))), conflict);
    assert_eq!(refused(keyed(INPUT, "a", HELLO)), conflict);
    assert_eq!(refused(keyed("/v1/workers/worker-00000002/input", "c", HELLO)), conflict);
    // A refusal leaves the key free.
    assert_eq!(keyed(INPUT, "d", r#"{"kind":"user","content":""}"#).0, 400);
    assert_eq!(keyed(INPUT, "d", HELLO).0, 200);
    assert_eq!(keyed(INPUT, "not a key", HELLO).0, 400);
}

#[test]
fn of_two_at_once_one_is_done() {
    let runtime = quiet();
    let create = || ask(&runtime, Method::POST, WORKERS, &[("idempotency-key", "k")], ASSISTANT);
    let answers: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(get(&runtime, "/v1/runtime").1["runtime"]["worker_count"], 1);
}

#[test]
fn a_head_is_answered_like_a_get() {
    let runtime = echo();
    let head = runtime.handle(&Request::head("/v1/workers").body(Bytes::new()).unwrap());
    let get = runtime.handle(&Request::get("/v1/workers").body(Bytes::new()).unwrap());
    assert_eq!((head.status(), head.body()), (StatusCode::OK, get.body()));
}

#[test]
fn a_failed_thread_is_told_and_not_spread() {
    let runtime = echo();
    let shared = &runtime.handle.shared;
    let poisoned = catch_unwind(AssertUnwindSafe(|| {
        let _guard = shared.state.lock();
        panic!("on purpose");
    }));
    assert!(poisoned.is_err());
    assert_eq!(refused(post(&runtime, WORKERS, ASSISTANT)), (500, "state_poisoned".into()));
    assert_eq!(refused(get(&runtime, "/v1/runtime")), (500, "state_poisoned".into()));
    runtime.shutdown();
}

#[test]
fn ends_are_told_in_words() {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;
    let exited = |code: i32| End::Exited(ExitStatus::from_raw(code << 8));
    let provider = |message: &str| Event::failure(ErrorCode::ProviderError, message);
    for (end, event) in [
        (exited(0), Event::RunEnd { result: RunResult::Finished }),
        (exited(3), provider("the process ended with exit status 3")),
        // A shell ran, whatever it found.
        (exited(127), provider("the process ended with exit status 127")),
        (End::Exited(ExitStatus::from_raw(9)), provider("the process was ended by signal 9")),
        (
            End::NotStarted(NotStarted { step: Step::Program, errno: 13 }),
            provider("the process could not start: its program could not be executed: Permission denied"),
        ),
        (End::Unkept, Event::failure(ErrorCode::Internal, "the runtime could not keep the worker")),
    ] {
        assert_eq!(event_of(end), event);
    }
}
