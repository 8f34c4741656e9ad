mod commands;
mod failing;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::config::Simulation;
use crate::limits::Limits;
use crate::profile::{ProfileKind, Program, WorkerProfile};

/// Looks until it is so, for no longer than a test may take.
fn until(is_so: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "waited in vain");
        thread::sleep(Duration::from_millis(2));
    }
}

fn config() -> RuntimeConfig {
    let mut config = RuntimeConfig::new("rt".parse().unwrap());
    // Beside the programs of tests are those that they test: `cargo test` builds both.
    config.launcher =
        std::env::current_exe().unwrap().ancestors().nth(2).map(|folder| folder.join("sekisho-runtime"));
    config
}

fn echo() -> Runtime {
    Runtime::start(config()).unwrap()
}

fn with_program(program: Program) -> Runtime {
    let kind = ProfileKind::Lines(program);
    let profiles = vec![WorkerProfile { name: "quiet".into(), kind, description: None }];
    Runtime::start(RuntimeConfig { profiles, ..config() }).unwrap()
}

/// Workers that take nothing and say nothing.
fn quiet() -> Runtime {
    with_program(Program { command: vec!["sleep".into(), "1000".into()], ..Program::default() })
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
    (answer.0, answer.1["error"]["code"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned())
}

/// Makes a worker, and tells its path.
fn make(runtime: &Runtime) -> String {
    let (status, answer) = post(runtime, WORKERS, ASSISTANT);
    assert_eq!(status, 200, "{answer}");
    format!("{WORKERS}/{}", answer["worker"]["worker_id"].as_str().unwrap())
}

fn input(runtime: &Runtime, worker: &str, body: &str) -> (u16, Value) {
    post(runtime, &format!("{worker}/input"), body)
}

/// Waits until a worker is gone, and tells what is known of it.
fn ended(runtime: &Runtime, worker: &str) -> Value {
    let shared = &runtime.handle.shared;
    let worker_id = worker.strip_prefix("/v1/workers/").unwrap().parse().unwrap();
    let runs = |state: &mut State| state.threads.contains_key(&worker_id);
    drop(shared.done.wait_while(shared.state.lock().unwrap(), runs).unwrap());
    get(runtime, worker).1["worker"].clone()
}

const ASSISTANT: &str = r#"{"intent":{"kind":"assistant"},"profile":{"kind":"runtime_default"}}"#;
const ECHO: &str = r#"{"intent":{"kind":"assistant"},"profile":{"kind":"builtin","value":"builtin:echo"}}"#;
const WORKERS: &str = "/v1/workers";
const HELLO: &str = r#"{"kind":"user","content":"hello"}"#;

#[test]
fn a_runtime_speaks_of_itself() {
    let (status, body) = get(&echo(), "/v1/runtime");
    let runtime = &body["runtime"];
    let features = json!([
        "idempotency",
        "names",
        "placement",
        "interrupt",
        "eof",
        "raw_input",
        "remove",
        "requests",
        "profiles",
        "pages",
        "terminal",
        "secret_input"
    ]);
    assert_eq!((status, &runtime["features"]), (200, &features));
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
    let runtime = quiet();
    for (profile, name) in [
        (r#"{"kind":"runtime_default"}"#, Some("quiet-")),
        (r#"{"kind":"builtin","value":"builtin:echo"}"#, Some("worker-")),
        (r#"{"kind":"named","value":"quiet"}"#, Some("quiet-")),
        (r#"{"kind":"builtin","value":"quiet"}"#, None),
        (r#"{"kind":"builtin","value":"builtin:coder"}"#, None),
        (r#"{"kind":"named","value":"builtin:echo"}"#, None),
        (r#"{"kind":"named","value":"/bin/sh"}"#, None),
        (r#"{"kind":"named","value":""}"#, None),
    ] {
        let answer = create(&runtime, profile);
        match name {
            Some(prefix) => {
                let name = answer.1["worker"]["worker_id"].as_str().unwrap();
                assert_eq!(name.strip_prefix(prefix).map(str::len), Some(8), "{name}");
            }
            None => assert_eq!(refused(answer), (400, "unknown_profile".into()), "{profile}"),
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
        "name": "my worker",
        "labels": {"team": "a", "ticket/id": "関 7"},
    });
    let (status, answer) = post(&runtime, WORKERS, &body.to_string());
    assert_eq!(status, 200);
    for (field, value) in body.as_object().unwrap() {
        assert_eq!(&answer["worker"][field], value);
    }
    let worker_id = answer["worker"]["worker_id"].as_str().unwrap();
    assert_eq!(get(&runtime, &format!("{WORKERS}/{worker_id}")).1, answer);
    let (_, list) = get(&runtime, WORKERS);
    let row = &list["workers"][0];
    assert_eq!((&row["requested_capability_count"], &row["has_config_bundle"]), (&json!(2), &json!(true)));
    assert_eq!((&row["name"], &row["labels"]), (&body["name"], &body["labels"]));
    assert!(row.get("truncated").is_none());
}

#[test]
fn names_and_labels_have_their_form() {
    let runtime = echo();
    let labels = |count: usize| {
        let labels = (0..count).map(|number| (format!("l{number}"), json!("v")));
        Value::Object(labels.collect())
    };
    for (field, value, is_good) in [
        ("name", json!("x".repeat(128)), true),
        ("name", json!("x".repeat(129)), false),
        ("name", json!(""), false),
        ("name", json!("a\nb"), false),
        ("labels", labels(16), true),
        ("labels", labels(17), false),
        ("labels", json!({"a.b_c/d-E9": ""}), true),
        ("labels", json!({"": "v"}), false),
        ("labels", json!({"a b": "v"}), false),
        ("labels", json!({"x".repeat(64): "v"}), false),
        ("labels", json!({"a": "関".repeat(128)}), true),
        ("labels", json!({"a": "関".repeat(129)}), false),
        ("labels", json!({"a": "\u{1b}"}), false),
    ] {
        let mut body: Value = serde_json::from_str(ASSISTANT).unwrap();
        body[field] = value.clone();
        let answer = post(&runtime, WORKERS, &body.to_string());
        match is_good {
            true => assert_eq!(answer.0, 200, "{field} {value}"),
            false => assert_eq!(refused(answer), (400, "invalid_request".into()), "{field} {value}"),
        }
    }
}

#[test]
fn where_a_worker_starts_is_for_its_profile_to_allow() {
    let runtime = with_program(Program {
        command: vec!["sh".into(), "-c".into(), "pwd; echo \"$BRANCH $SEKISHO_WORKER_NAME $SET\"".into()],
        env: [("SET".to_owned(), "by the profile".to_owned())].into(),
        allow_cwd: vec!["/usr/*".into()],
        allow_env: vec!["BRANCH".into()],
        ..Program::default()
    });
    let create = |more: Value| {
        let mut body: Value = serde_json::from_str(ASSISTANT).unwrap();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post(&runtime, WORKERS, &body.to_string())
    };
    for more in [
        json!({"cwd": "/etc"}),
        json!({"cwd": "/usr/../etc"}),
        json!({"cwd": "/usr/share/doc"}),
        json!({"env": {"PATH": "/tmp"}}),
        json!({"env": {"BRANCH": "x", "LD_PRELOAD": "x"}}),
    ] {
        assert_eq!(refused(create(more.clone())), (403, "not_allowed".into()), "{more}");
    }
    assert_eq!(refused(create(json!({"env": {"BRANCH": "\0"}}))), (400, "invalid_request".into()));
    let (status, answer) = create(json!({"cwd": "/usr/share", "env": {"BRANCH": "main"}, "name": "n"}));
    assert_eq!(status, 200, "{answer}");
    // What may be a secret is not shown again.
    assert!(answer["worker"].get("env").is_none() && answer["worker"].get("cwd").is_none());
    let worker = format!("{WORKERS}/{}", answer["worker"]["worker_id"].as_str().unwrap());
    assert_eq!(ended(&runtime, &worker)["end"], json!({"reason": "exited", "exit_code": 0}));
    let transcript = get(&runtime, &format!("{worker}/transcript")).1;
    let items = transcript["transcript"]["items"].as_array().unwrap();
    let said: Vec<_> = items.iter().map(|item| item["content"].as_str().unwrap()).collect();
    assert_eq!(said, ["/usr/share", "main n by the profile", "exited with status 0"]);

    // Echo has no process that could start anywhere.
    let echoes = ECHO.replacen('{', r#"{"cwd":"/usr/share","#, 1);
    assert_eq!(refused(post(&runtime, WORKERS, &echoes)), (403, "not_allowed".into()));
}

#[test]
fn a_program_that_cannot_start_is_an_error_of_create() {
    for (program, message) in [
        (
            Program { command: vec!["/no/such/program".into()], ..Program::default() },
            "its program could not be executed: No such file or directory",
        ),
        (
            Program { command: vec!["sh".into()], cwd: Some("/no/such/folder".into()), ..Program::default() },
            "its directory could not be entered: No such file or directory",
        ),
    ] {
        let runtime = with_program(program);
        let create = || ask(&runtime, Method::POST, WORKERS, &[("idempotency-key", "k")], ASSISTANT);
        let (status, answer) = create();
        assert_eq!((status, &answer["error"]["code"]), (500, &json!("not_started")));
        assert_eq!(answer["error"]["message"], message);
        // It is there to be looked at, and its key is free.
        let row = get(&runtime, WORKERS).1["workers"][0].clone();
        assert_eq!((&row["status"], &row["end"]["reason"]), (&json!("stopped"), &json!("not_started")));
        assert_eq!(refused(create()), (500, "not_started".into()));
        assert_eq!(get(&runtime, "/v1/runtime").1["runtime"]["worker_count"], 2);
    }
}

#[test]
fn echo_answers_with_the_same_text() {
    let runtime = echo();
    let worker = make(&runtime);
    let (_, ack) = input(&runtime, &worker, HELLO);
    assert_eq!((&ack["ack"]["transcript_sequence"], &ack["ack"]["event_id"]), (&json!(1), &json!(3)));
    let transcript = get(&runtime, &format!("{worker}/transcript")).1;
    let items = transcript["transcript"]["items"].as_array().unwrap();
    let said: Vec<_> =
        items.iter().map(|item| (&item["role"], &item["content"], &item["event_id"])).collect();
    assert_eq!(
        said,
        [(&json!("user"), &json!("hello"), &json!(3)), (&json!("assistant"), &json!("hello"), &json!(4))]
    );
    let is_time = |value: &Value| value.as_str().is_some_and(|text| text.len() == 24 && text.ends_with('Z'));
    assert!(items.iter().all(|item| is_time(&item["at"]) && item.get("cont").is_none()));
    let detail = get(&runtime, &worker).1["worker"].clone();
    for field in ["created_at", "started_at", "last_output_at"] {
        assert!(is_time(&detail[field]), "{field}");
    }
    assert_eq!((detail["activity"].as_str(), detail.get("ended_at")), (Some("idle"), None));
}

#[test]
fn transcripts_come_in_pages() {
    let runtime = echo();
    let worker = make(&runtime);
    for _ in 0..150 {
        input(&runtime, &worker, HELLO);
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
        let (status, body) = get(&runtime, &format!("{worker}/transcript{query}"));
        let transcript = &body["transcript"];
        let items = transcript["items"].as_array().unwrap();
        assert_eq!((status, &transcript["total_items"]), (200, &json!(300)), "{query}");
        assert_eq!((items.len(), &transcript["next_start"]), (count, &next), "{query}");
        assert_eq!(items.first().map_or(Value::Null, |item| item["sequence"].clone()), first, "{query}");
    }
}

#[test]
fn a_worker_runs_until_it_is_gone() {
    let stubborn = r#"trap "" TERM; echo ready; while :; do sleep 1000; done"#;
    let runtime = with_program(Program {
        command: vec!["sh".into(), "-c".into(), stubborn.into()],
        ..Program::default()
    });
    let worker = make(&runtime);
    // Before that its shell does not ignore anything yet.
    until(|| get(&runtime, &format!("{worker}/transcript")).1.to_string().contains("ready"));
    let end = |how: &str, body: &str| {
        let ack = post(&runtime, &format!("{worker}/{how}"), body).1;
        (ack["ack"]["status"].clone(), ack["ack"]["event_id"].as_u64().unwrap())
    };
    let (status, first) = end("stop", r#"{"reason":"enough"}"#);
    assert_eq!(status, "running");
    let detail = get(&runtime, &worker).1["worker"].clone();
    assert_eq!((&detail["status"], &detail["stopping"]), (&json!("running"), &json!(true)));
    assert_eq!(refused(input(&runtime, &worker, HELLO)), (409, "worker_not_running".into()));
    assert_eq!(end("stop", ""), (json!("running"), first));
    // It takes its time to stop, but can still be cancelled.
    assert_eq!(end("cancel", r#"{"reason":"at once"}"#), (json!("running"), first));
    let detail = ended(&runtime, &worker);
    assert_eq!(detail["status"], "cancelled");
    assert_eq!(detail["end"], json!({"reason": "cancelled", "signal": 9, "message": "at once"}));
    assert!(detail.get("stopping").is_none() && detail["ended_at"].is_string());
    assert_eq!(end("stop", ""), (json!("cancelled"), first));
    assert_eq!(end("cancel", ""), (json!("cancelled"), first));
    assert_eq!(refused(input(&runtime, &worker, HELLO)), (409, "worker_not_running".into()));
    let summary = get(&runtime, "/v1/runtime").1["runtime"].clone();
    assert_eq!(
        (&summary["worker_count"], &summary["active_worker_count"], &summary["cancelled_worker_count"]),
        (&json!(1), &json!(0), &json!(1))
    );
}

#[test]
fn a_worker_without_a_process_ends_at_once() {
    let runtime = echo();
    let worker = make(&runtime);
    let ack = post(&runtime, &format!("{worker}/stop"), r#"{"reason":"enough"}"#).1["ack"].clone();
    assert_eq!((&ack["status"], &ack["event_id"]), (&json!("stopped"), &json!(3)));
    let detail = get(&runtime, &worker).1["worker"].clone();
    assert_eq!(detail["end"], json!({"reason": "stopped", "message": "enough"}));
    assert_eq!((&detail["transcript_len"], &detail["last_event_id"]), (&json!(1), &json!(4)));
}

#[test]
fn after_shutdown_there_is_only_reading() {
    let runtime = quiet();
    let worker = make(&runtime);
    let echoes = post(&runtime, WORKERS, ECHO).1["worker"]["worker_id"].as_str().unwrap().to_owned();
    runtime.shutdown();
    assert!(runtime.handle.shared.lock().unwrap().threads.is_empty());
    assert_eq!(refused(post(&runtime, WORKERS, ASSISTANT)), (409, "runtime_stopped".into()));
    assert_eq!(refused(input(&runtime, &worker, HELLO)), (409, "runtime_stopped".into()));
    let summary = get(&runtime, "/v1/runtime").1["runtime"].clone();
    assert_eq!((&summary["status"], &summary["stopped_worker_count"]), (&json!("stopped"), &json!(2)));
    for worker in [worker, format!("{WORKERS}/{echoes}")] {
        let end = get(&runtime, &worker).1["worker"]["end"].clone();
        assert_eq!(
            (&end["reason"], &end["message"]),
            (&json!("stopped"), &json!("the runtime is shutting down"))
        );
        assert_eq!(post(&runtime, &format!("{worker}/stop"), "").0, 200);
    }
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
    let worker = make(&runtime);
    let say = |length: usize| {
        input(&runtime, &worker, &format!(r#"{{"kind":"user","content":"{}"}}"#, "x".repeat(length)))
    };
    assert_eq!(say(crate::MAX_INPUT_BYTES).0, 200);
    assert_eq!(refused(say(crate::MAX_INPUT_BYTES + 1)), (400, "invalid_request".into()));
}

#[test]
fn a_runtime_is_full_of_workers_that_run() {
    let limits = Limits { max_workers: 3, ..Limits::default() };
    for profiles in [vec![], vec![WorkerProfile::lines("quiet", ["sleep", "1000"])]] {
        let runtime = Runtime::start(RuntimeConfig { limits: limits.clone(), profiles, ..config() }).unwrap();
        let workers: Vec<_> = (0..3).map(|_| make(&runtime)).collect();
        let response = runtime.handle(&Request::post(WORKERS).body(ASSISTANT.into()).unwrap());
        assert_eq!(
            (response.status().as_u16(), response.headers()["retry-after"].as_bytes()),
            (503, &b"1"[..])
        );
        assert_eq!(refused(post(&runtime, WORKERS, ASSISTANT)), (503, "runtime_full".into()));
        post(&runtime, &format!("{}/cancel", workers[0]), "");
        ended(&runtime, &workers[0]);
        make(&runtime);
    }
}

#[test]
fn workers_that_have_ended_make_room() {
    let limits = Limits { max_ended_workers: 5, ..Limits::default() };
    let runtime = Runtime::start(RuntimeConfig { limits, ..config() }).unwrap();
    let stays = make(&runtime);
    let mut made = Vec::new();
    for _ in 0..50 {
        let worker = make(&runtime);
        input(&runtime, &worker, HELLO);
        assert_eq!(post(&runtime, &format!("{worker}/cancel"), "").0, 200);
        made.push(worker);
    }
    let (_, list) = get(&runtime, WORKERS);
    let listed: Vec<_> =
        list["workers"].as_array().unwrap().iter().map(|row| row["worker_id"].clone()).collect();
    let name = |worker: &String| json!(worker.strip_prefix("/v1/workers/").unwrap());
    let expected: Vec<_> = std::iter::once(&stays).chain(&made[45..]).map(name).collect();
    assert_eq!(listed, expected);
    assert_eq!(refused(get(&runtime, &made[44])), (404, "worker_not_found".into()));
    let locked = runtime.handle.shared.lock().unwrap();
    assert_eq!((locked.streams.len(), locked.records.census().total()), (6, 6));
}

#[test]
fn backlogs_are_bounded_together() {
    let limits = Limits { max_total_backlog_bytes: 200_000, ..Limits::default() };
    let runtime = Runtime::start(RuntimeConfig { limits, ..config() }).unwrap();
    let workers: Vec<_> = (0..5).map(|_| make(&runtime)).collect();
    let long = format!(r#"{{"kind":"user","content":"{}"}}"#, "x".repeat(1000));
    for _ in 0..40 {
        for worker in &workers {
            assert_eq!(input(&runtime, worker, &long).0, 200);
        }
    }
    let locked = runtime.handle.shared.lock().unwrap();
    let kept: Vec<_> = locked.streams.values().map(|stream| stream.bytes()).collect();
    assert!(kept.iter().sum::<usize>() <= 200_000, "{kept:?}");
    assert!(kept.iter().all(|kept| (20_000..60_000).contains(kept)), "{kept:?}");
}

#[test]
fn a_full_worker_is_busy() {
    let runtime = quiet();
    let worker = make(&runtime);
    let long = format!(r#"{{"kind":"user","content":"{}"}}"#, "x".repeat(crate::MAX_INPUT_BYTES));
    let answers: Vec<_> = (0..4).map(|_| input(&runtime, &worker, &long)).collect();
    let (last, first) = answers.split_last().unwrap();
    assert_eq!(first[0].0, 200);
    assert_eq!(refused(last.clone()), (409, "worker_busy".into()));
    // What was refused is not in the transcript.
    let accepted = answers.iter().filter(|answer| answer.0 == 200).count();
    assert_eq!(get(&runtime, &worker).1["worker"]["transcript_len"], accepted);
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
    let worker = format!("{WORKERS}/{}", first.1["worker"]["worker_id"].as_str().unwrap());
    let inputs = format!("{worker}/input");
    let said = keyed(&inputs, "c", HELLO);
    assert_eq!(keyed(&inputs, "c", HELLO), said);
    assert_eq!(get(&runtime, &worker).1["worker"]["transcript_len"], 2);
    let conflict = (409, "idempotency_conflict".to_owned());
    assert_eq!(refused(keyed(&inputs, "c", &HELLO.replace("hello", "other"))), conflict);
    assert_eq!(refused(keyed(&inputs, "a", HELLO)), conflict);
    assert_eq!(refused(keyed("/v1/workers/other/input", "c", HELLO)), conflict);
    // A refusal leaves the key free.
    assert_eq!(keyed(&inputs, "d", r#"{"kind":"user","content":""}"#).0, 400);
    assert_eq!(keyed(&inputs, "d", HELLO).0, 200);
    assert_eq!(keyed(&inputs, "not a key", HELLO).0, 400);
}

#[test]
fn of_two_at_once_one_is_done() {
    let runtime = quiet();
    let create = || ask(&runtime, Method::POST, WORKERS, &[("idempotency-key", "k")], ASSISTANT);
    let answers: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(answers[0].0, 200);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    // It is the worker as it is, the time of its start included.
    let worker = &answers[0].1["worker"];
    assert!(worker["started_at"].is_string(), "{worker}");
    assert_eq!(get(&runtime, &format!("{WORKERS}/{}", worker["worker_id"].as_str().unwrap())), answers[0]);
    assert_eq!(create(), answers[0]);
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
fn simulations_repeat_themselves() {
    let simulation = Some(Simulation { incarnation: 7, now: || SystemTime::UNIX_EPOCH });
    let live = || {
        let runtime = Runtime::start(RuntimeConfig { simulation, ..config() }).unwrap();
        let worker = make(&runtime);
        input(&runtime, &worker, HELLO);
        (get(&runtime, "/v1/runtime"), get(&runtime, WORKERS), get(&runtime, &format!("{worker}/transcript")))
    };
    let (one, other) = (live(), live());
    assert_eq!(one, other);
    assert_eq!(one.1.1["workers"][0]["worker_id"], "worker-00000001");
    assert_eq!(one.1.1["workers"][0]["created_at"], "1970-01-01T00:00:00.000Z");
}
