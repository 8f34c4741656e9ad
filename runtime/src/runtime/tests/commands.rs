//! The commands that our own runtime has beyond v1.

use super::*;
use crate::profile::TerminalProfile;

fn delete(runtime: &Runtime, path: &str) -> (u16, Value) {
    ask(runtime, Method::DELETE, path, &[], "")
}

fn contents(runtime: &Runtime, worker: &str) -> Vec<(String, String)> {
    let transcript = get(runtime, &format!("{worker}/transcript")).1;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let items = transcript["transcript"]["items"].as_array().unwrap().clone();
    items.iter().map(|item| (text(&item["role"]), text(&item["content"]))).collect()
}

fn shell(script: &str) -> Program {
    Program { command: ["sh", "-c", script].map(str::to_owned).to_vec(), ..Program::default() }
}

fn pair(role: &str, content: &str) -> (String, String) {
    (role.to_owned(), content.to_owned())
}

#[test]
fn an_interrupt_is_not_the_end() {
    // A loop that goes on whenever the signal comes: before, within or after a read.
    let script = r#"trap "echo interrupted" INT; echo ready; while :; do read -r line && echo "$line"; done"#;
    let runtime = with_program(shell(script));
    let worker = make(&runtime);
    until(|| contents(&runtime, &worker).len() == 1);
    let interrupt = |key: &str| {
        ask(&runtime, Method::POST, &format!("{worker}/interrupt"), &[("idempotency-key", key)], "")
    };
    let (status, first) = interrupt("a");
    assert_eq!((status, &first["ack"]["status"]), (200, &json!("running")));
    until(|| contents(&runtime, &worker).len() == 2);
    assert_eq!(interrupt("a").1, first, "once for each key");
    input(&runtime, &worker, HELLO);
    until(|| contents(&runtime, &worker).len() == 4);
    let said = contents(&runtime, &worker);
    let expected =
        [("assistant", "ready"), ("assistant", "interrupted"), ("user", "hello"), ("assistant", "hello")];
    assert_eq!(said, expected.map(|(role, content)| pair(role, content)));
    post(&runtime, &format!("{worker}/cancel"), "");
    ended(&runtime, &worker);
    assert_eq!(
        refused(post(&runtime, &format!("{worker}/interrupt"), "")),
        (409, "worker_not_running".into())
    );
    assert_eq!(refused(post(&runtime, "/v1/workers/none/interrupt", "")), (404, "worker_not_found".into()));
}

#[cfg(feature = "durable")]
#[test]
fn the_end_of_input_is_acknowledged_to_a_program_that_goes_on() {
    use crate::store::DurableStore;

    let folder = tempfile::tempdir().unwrap();
    let config = RuntimeConfig { profiles: quiet().handle.shared.config.profiles.clone(), ..config() };
    let options = Default::default();
    let store =
        DurableStore::open(folder.path(), &config.runtime_id, None, &config.limits, &options).unwrap();
    let runtime = Runtime::with_store(config, Box::new(store)).unwrap();
    let worker = make(&runtime);
    // When this is durable, nothing is left to be written.
    assert_eq!(input(&runtime, &worker, HELLO).0, 200);
    assert_eq!(input(&runtime, &worker, r#"{"kind":"eof"}"#).0, 200);
    assert_eq!(get(&runtime, &worker).1["worker"]["status"], "running");
}

#[test]
fn the_end_of_input_is_an_input() {
    let runtime = with_program(shell("cat; echo over"));
    for (runtime, expected) in [
        (runtime, &["hello", "hello", "over", "exited with status 0"][..]),
        (echo(), &["hello", "hello", "exited with status 0"]),
    ] {
        let worker = make(&runtime);
        input(&runtime, &worker, HELLO);
        until(|| contents(&runtime, &worker).len() == 2);
        let (status, ack) = input(&runtime, &worker, r#"{"kind":"eof"}"#);
        assert_eq!((status, &ack["ack"]["transcript_sequence"]), (200, &json!(2)));
        assert_eq!(ended(&runtime, &worker)["end"], json!({"reason": "exited", "exit_code": 0}));
        let said: Vec<_> = contents(&runtime, &worker).into_iter().map(|(_, content)| content).collect();
        assert_eq!(said, expected);
        assert_eq!(refused(input(&runtime, &worker, HELLO)), (409, "worker_not_running".into()));
    }
}

#[test]
fn a_secret_is_delivered_and_kept_nowhere() {
    let runtime = with_program(shell(r#"read line; printf '%s' "$line" | wc -c"#));
    let worker = make(&runtime);
    let stream = format!("{worker}/events/ws");
    let mut frames = runtime.observe(&Request::get(stream).body(Bytes::new()).unwrap()).unwrap();
    let (status, _) = input(&runtime, &worker, r#"{"kind":"user","content":"hunter2-5","secret":true}"#);
    assert_eq!(status, 200);
    ended(&runtime, &worker);
    let said = contents(&runtime, &worker);
    assert_eq!(said[..2], [pair("user", "[secret]"), pair("assistant", "9")]);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    while let std::task::Poll::Ready(Some(frame)) = frames.poll_frame(&mut context) {
        assert!(!String::from_utf8_lossy(&frame).contains("hunter2"));
    }
    let echoes = echo();
    let worker = make(&echoes);
    input(&echoes, &worker, r#"{"kind":"user","content":"hunter2","secret":true}"#);
    assert_eq!(contents(&echoes, &worker), [pair("user", "[secret]"), pair("assistant", "[secret]")]);
}

#[test]
fn terminals_have_a_size_and_take_keys() {
    let program = shell("stty -echo; stty size; read line; stty size; read -r line; echo \"<$line>\"");
    let kind = ProfileKind::Terminal(program, TerminalProfile { cols: 100, rows: 30, echo: false });
    let profiles = vec![WorkerProfile { name: "term".into(), kind, description: None }];
    let runtime = Runtime::start(RuntimeConfig { profiles, ..config() }).unwrap();
    let worker = make(&runtime);
    let says = |text: &str| contents(&runtime, &worker).iter().any(|(_, content)| content == text);
    until(|| says("30 100"));
    let resize = |body: &str| post(&runtime, &format!("{worker}/resize"), body);
    assert_eq!(resize(r#"{"cols":80,"rows":25}"#).0, 200);
    assert_eq!(resize(r#"{"cols":0,"rows":25}"#).0, 400);
    input(&runtime, &worker, r#"{"kind":"user","content":"next"}"#);
    until(|| says("25 80"));
    // Keys, of which none is Enter until one is.
    for keys in ["ab", "c", "\\r"] {
        let body = format!(r#"{{"kind":"user","content":"{keys}","raw":true}}"#);
        assert_eq!(input(&runtime, &worker, &body).0, 200);
    }
    until(|| says("<abc>"));
    let lines = quiet();
    let worker = make(&lines);
    let raw = r#"{"kind":"user","content":"x","raw":true}"#;
    assert_eq!(refused(input(&lines, &worker, raw)), (409, "no_terminal".into()));
    let resized = post(&lines, &format!("{worker}/resize"), r#"{"cols":80,"rows":25}"#);
    assert_eq!(refused(resized), (409, "no_terminal".into()));
}

#[test]
fn a_terminal_shows_what_is_typed_where_its_profile_says_so() {
    let typed = r#"{"kind":"user","content":"typed\r","raw":true}"#;
    for echo in [true, false] {
        let program = shell("echo ready; read -r line; echo done");
        let kind = ProfileKind::Terminal(program, TerminalProfile { echo, ..TerminalProfile::default() });
        let profiles = vec![WorkerProfile { name: "term".into(), kind, description: None }];
        let runtime = Runtime::start(RuntimeConfig { profiles, ..config() }).unwrap();
        let worker = make(&runtime);
        let says = |text: &str| contents(&runtime, &worker).iter().any(|(_, content)| content == text);
        until(|| says("ready"));
        assert_eq!(input(&runtime, &worker, typed).0, 200);
        until(|| says("done"));
        let shown =
            contents(&runtime, &worker).iter().any(|(role, text)| role == "assistant" && text == "typed");
        assert_eq!(shown, echo);
    }
}

#[test]
fn a_worker_that_has_ended_can_be_removed() {
    let runtime = quiet();
    let worker = make(&runtime);
    let stream = format!("{worker}/events/ws");
    let mut frames = runtime.observe(&Request::get(stream).body(Bytes::new()).unwrap()).unwrap();
    assert_eq!(refused(delete(&runtime, &worker)), (409, "worker_running".into()));
    post(&runtime, &format!("{worker}/cancel"), "");
    ended(&runtime, &worker);
    assert_eq!(delete(&runtime, &worker), (204, Value::Null));
    assert_eq!(refused(delete(&runtime, &worker)), (404, "worker_not_found".into()));
    assert_eq!(refused(get(&runtime, &worker)), (404, "worker_not_found".into()));
    assert_eq!(refused(get(&runtime, &format!("{worker}/transcript"))), (404, "worker_not_found".into()));
    assert_eq!(get(&runtime, "/v1/runtime").1["runtime"]["worker_count"], 0);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut last = Bytes::new();
    while let std::task::Poll::Ready(Some(frame)) = frames.poll_frame(&mut context) {
        last = frame;
    }
    assert!(String::from_utf8_lossy(&last).contains("runtime.worker_not_found"));
}

#[test]
fn profiles_are_listed_without_what_they_run() {
    let kind = ProfileKind::Terminal(shell("true"), TerminalProfile::default());
    let profiles = vec![
        WorkerProfile { description: Some("a shell".into()), ..WorkerProfile::lines("sh", ["sh"]) },
        WorkerProfile { name: "term".into(), kind, description: None },
        WorkerProfile { name: "same".into(), kind: ProfileKind::Echo, description: None },
    ];
    let runtime = Runtime::start(RuntimeConfig { profiles, ..config() }).unwrap();
    assert_eq!(
        get(&runtime, "/v1/profiles"),
        (
            200,
            json!({"profiles": [
                {"name": "sh", "kind": "lines", "default": true, "description": "a shell"},
                {"name": "term", "kind": "terminal", "terminal": true},
                {"name": "same", "kind": "builtin:echo"},
                {"name": "builtin:echo", "kind": "builtin:echo"},
            ]})
        )
    );
    let default = get(&echo(), "/v1/profiles").1;
    assert_eq!(default["profiles"][0]["default"], true);
}

#[test]
fn lists_come_in_pages_and_by_what_workers_are() {
    let runtime = echo();
    let mut made = Vec::new();
    for number in 0..7 {
        let labels = json!({"parity": if number % 2 == 0 { "even" } else { "odd" }, "all": ""});
        let body = json!({
            "intent": {"kind": "assistant"}, "profile": {"kind": "runtime_default"},
            "name": format!("n{number}"), "labels": labels,
        });
        let answer = post(&runtime, WORKERS, &body.to_string()).1;
        made.push(answer["worker"]["worker_id"].as_str().unwrap().to_owned());
    }
    post(&runtime, &format!("{WORKERS}/{}/stop", made[3]), "");
    let list = |query: &str| {
        let (status, body) = get(&runtime, &format!("{WORKERS}?{query}"));
        assert_eq!(status, 200, "{query}");
        let rows = body["workers"].as_array().unwrap();
        let numbers: Vec<_> =
            rows.iter().map(|row| made.iter().position(|id| row["worker_id"] == **id).unwrap()).collect();
        (numbers, body.get("next_after").cloned())
    };
    let next = |number: usize| Some(json!(made[number]));
    assert_eq!(list(""), ((0..7).collect(), None));
    assert_eq!(list("limit=3"), (vec![0, 1, 2], next(2)));
    assert_eq!(list(&format!("limit=4&after={}", made[2])), (vec![3, 4, 5, 6], Some(Value::Null)));
    assert_eq!(list(&format!("limit=4&after={}", made[6])), (vec![], Some(Value::Null)));
    assert_eq!(list("status=stopped"), (vec![3], None));
    assert_eq!(list("status=running&limit=4"), (vec![0, 1, 2, 4], next(4)));
    assert_eq!(list("name=n5"), (vec![5], None));
    assert_eq!(list("label=parity%3Dodd&label=all%3D"), (vec![1, 3, 5], None));
    assert_eq!(list("label=parity%3Dodd&limit=2"), (vec![1, 3], next(3)));
    // A page goes on although what it ended with is gone.
    assert_eq!(delete(&runtime, &format!("{WORKERS}/{}", made[3])).0, 204);
    assert_eq!(list(&format!("limit=2&after={}", made[3])), (vec![4, 5], next(5)));
    assert_eq!(refused(get(&runtime, "/v1/workers?after=missing")), (400, "invalid_query".into()));
}

#[test]
fn long_objectives_are_listed_whole() {
    let runtime = echo();
    let objective = "x".repeat(60_000);
    let body =
        json!({"intent": {"kind": "task", "objective": objective}, "profile": {"kind": "runtime_default"}});
    for _ in 0..200 {
        let worker =
            post(&runtime, WORKERS, &body.to_string()).1["worker"]["worker_id"].as_str().unwrap().to_owned();
        post(&runtime, &format!("{WORKERS}/{worker}/stop"), "");
    }
    let response = runtime.handle(&Request::get(WORKERS).body(Bytes::new()).unwrap());
    assert!(response.body().len() < 512 * 1024, "{}", response.body().len());
    let list: Value = serde_json::from_slice(response.body()).unwrap();
    let rows = list["workers"].as_array().unwrap();
    assert_eq!(rows.len(), 200);
    assert!(rows.iter().all(|row| row["truncated"] == true));
    let worker_id = rows[0]["worker_id"].as_str().unwrap();
    assert_eq!(
        get(&runtime, &format!("{WORKERS}/{worker_id}")).1["worker"]["intent"]["objective"],
        objective
    );
}
