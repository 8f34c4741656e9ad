use std::fs;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use sekisho_core::runtime_api::{CreateWorker, Intent, Profile};
use serde_json::{Value, json};

use super::*;
use crate::profile::{ProfileKind, Program, WorkerProfile};
use crate::record::{Phase, WorkerRecord};
use crate::store::Role;
use crate::store::StoredEvent;
use crate::timestamp::Timestamp;
use crate::{Runtime, RuntimeConfig};

fn open(folder: &Path) -> DurableStore {
    let runtime_id = "r".parse().unwrap();
    DurableStore::open(folder, &runtime_id, None, &Limits::default(), &DurableOptions::default()).unwrap()
}

fn runtime(folder: &Path) -> Runtime {
    Runtime::with_store(RuntimeConfig::new("r".parse().unwrap()), Box::new(open(folder))).unwrap()
}

fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn ask(runtime: &Runtime, method: &str, path: &str, key: Option<&str>, body: &Value) -> Response<Bytes> {
    let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
    runtime.handle(&request.body(body).unwrap())
}

fn get(runtime: &Runtime, path: &str) -> Value {
    let response = ask(runtime, "GET", path, None, &Value::Null);
    assert_eq!(response.status(), StatusCode::OK, "{path}: {:?}", response.body());
    serde_json::from_slice(response.body()).unwrap()
}

fn create(runtime: &Runtime, key: Option<&str>) -> String {
    let body = json!({"intent": {"kind": "assistant"}, "profile": {"kind": "runtime_default"}, "name": "n"});
    let response = ask(runtime, "POST", "/v1/workers", key, &body);
    assert_eq!(response.status(), StatusCode::OK);
    let created: Value = serde_json::from_slice(response.body()).unwrap();
    created["worker"]["worker_id"].as_str().unwrap().to_owned()
}

fn say(runtime: &Runtime, worker_id: &str, key: Option<&str>, content: &str) -> Response<Bytes> {
    let body = json!({"kind": "user", "content": content});
    ask(runtime, "POST", &format!("/v1/workers/{worker_id}/input"), key, &body)
}

/// The frames that are there now, of a stream from a cursor on.
fn frames(runtime: &Runtime, worker_id: &str, cursor: Option<&str>) -> Vec<Value> {
    let query = cursor.map(|cursor| format!("?cursor={cursor}")).unwrap_or_default();
    let uri = format!("/v1/workers/{worker_id}/events/ws{query}");
    let request = Request::get(uri).header("connection", "upgrade").header("upgrade", "websocket");
    let mut stream = runtime.observe(&request.body(Bytes::new()).unwrap()).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let mut frames = Vec::new();
    while let Poll::Ready(Some(frame)) = stream.poll_frame(&mut context) {
        frames.push(serde_json::from_slice(&frame).unwrap());
    }
    frames
}

fn cursors(frames: &[Value]) -> Vec<String> {
    frames.iter().map(|frame| frame["envelope"]["cursor"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_happened_is_there_after_an_end_at_once() {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let before = runtime(folder.path());
    let first = get(&before, "/v1/runtime");
    assert_eq!(first["runtime"]["backend"], "sqlite");
    let worker_id = create(&before, Some("create"));
    let snapshot = frames(&before, &worker_id, None);
    let start = &cursors(&snapshot)[0];
    assert_eq!(say(&before, &worker_id, Some("input"), "one").status(), StatusCode::OK);
    assert_eq!(say(&before, &worker_id, None, "two").status(), StatusCode::OK);
    let told = frames(&before, &worker_id, Some(start));
    let transcript = get(&before, &format!("/v1/workers/{worker_id}/transcript"));
    // Everything that was acknowledged is on the disk.
    copy_files(folder.path(), copy.path());

    let after = runtime(copy.path());
    assert_eq!(get(&after, "/v1/runtime")["runtime"]["incarnation"], first["runtime"]["incarnation"]);
    let worker = &get(&after, &format!("/v1/workers/{worker_id}"))["worker"];
    assert_eq!((&worker["status"], &worker["end"]["reason"]), (&json!("stopped"), &json!("runtime_lost")));
    assert_eq!(worker["name"], "n");
    let kept = get(&after, &format!("/v1/workers/{worker_id}/transcript"));
    let (old, new) = (&transcript["transcript"]["items"], &kept["transcript"]["items"]);
    assert_eq!(old.as_array().unwrap()[..], new.as_array().unwrap()[..4]);

    // A viewer goes on from any place that it has seen, without a gap or a double.
    let all = frames(&after, &worker_id, Some(start));
    assert_eq!(cursors(&all)[..told.len()], cursors(&told)[..]);
    assert_eq!(all[1..told.len()], told[1..]);
    assert!(all.len() > told.len(), "how it ended is told");
    let last = cursors(&told).pop().unwrap();
    assert_eq!(frames(&after, &worker_id, Some(&last))[1..], all[told.len()..]);
    let place = |cursor: &str| cursor.split_once('.').unwrap().1.parse::<u64>().unwrap();
    let next = format!("{}.{}", last.split_once('.').unwrap().0, place(&last) + 1);
    let refused = frames(&after, &worker_id, Some(&next));
    assert_eq!(refused.last().unwrap()["diagnostic"]["code"], "runtime.cursor_unknown_or_expired");
}

#[test]
fn a_key_is_for_one_command_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let before = runtime(folder.path());
    let worker_id = create(&before, Some("create"));
    let ack = say(&before, &worker_id, Some("input"), "one");
    before.shutdown();
    drop(before);
    let after = runtime(folder.path());
    assert_eq!(create(&after, Some("create")), worker_id);
    assert_eq!(say(&after, &worker_id, Some("input"), "one").body(), ack.body());
    assert_eq!(say(&after, &worker_id, Some("input"), "another").status(), StatusCode::CONFLICT);
    assert_eq!(get(&after, "/v1/workers")["workers"].as_array().unwrap().len(), 1);
    let transcript = get(&after, &format!("/v1/workers/{worker_id}/transcript"));
    let said = transcript["transcript"]["items"].as_array().unwrap().iter();
    assert_eq!(said.filter(|item| item["role"] == "user").count(), 1);
}

#[test]
fn a_key_of_what_could_not_start_is_free_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = || {
        let program = Program { command: vec!["/no/such/program".into()], ..Program::default() };
        let kind = ProfileKind::Lines(program);
        let profiles = vec![WorkerProfile { name: "none".into(), kind, description: None }];
        let config = RuntimeConfig { profiles, ..RuntimeConfig::new("r".parse().unwrap()) };
        Runtime::with_store(config, Box::new(open(folder.path()))).unwrap()
    };
    let body = json!({"intent": {"kind": "assistant"}, "profile": {"kind": "runtime_default"}});
    for tried in 1..=2 {
        let runtime = runtime();
        let answer = ask(&runtime, "POST", "/v1/workers", Some("k"), &body);
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR, "{answer:?}");
        assert_eq!(get(&runtime, "/v1/workers")["workers"].as_array().unwrap().len(), tried);
    }
}

#[test]
fn an_orderly_end_is_no_loss() {
    let folder = tempfile::tempdir().unwrap();
    let before = runtime(folder.path());
    let worker_id = create(&before, None);
    before.shutdown();
    assert_eq!(get(&before, "/v1/workers")["workers"].as_array().unwrap().len(), 1, "reading goes on");
    drop(before);
    let after = runtime(folder.path());
    assert_eq!(get(&after, &format!("/v1/workers/{worker_id}"))["worker"]["end"]["reason"], "stopped");
    // Places only grow.
    let place = |worker_id: &str| {
        get(&after, &format!("/v1/workers/{worker_id}"))["worker"]["last_event_id"].as_u64().unwrap()
    };
    let (next, before) = (create(&after, None), place(&worker_id));
    assert!(place(&next) > before, "{before}");
}

#[test]
fn what_is_forgotten_stays_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = RuntimeConfig::new("r".parse().unwrap());
    config.limits.max_ended_workers = 1;
    let before = Runtime::with_store(config, Box::new(open(folder.path()))).unwrap();
    for _ in 0..3 {
        let worker_id = create(&before, None);
        ask(&before, "POST", &format!("/v1/workers/{worker_id}/cancel"), None, &Value::Null);
    }
    let left = get(&before, "/v1/workers")["workers"].clone();
    drop(before);
    let after = runtime(folder.path());
    assert_eq!(get(&after, "/v1/workers")["workers"], left);
    assert_eq!(left.as_array().unwrap().len(), 1);
}

fn record(worker_id: &WorkerId) -> WorkerRecord {
    WorkerRecord {
        worker_id: worker_id.clone(),
        spec: CreateWorker::new(Intent::Assistant { purpose: None }, Profile::RuntimeDefault).into(),
        created_by: 2,
        created_at: Timestamp::from_millis(1),
        started_at: None,
        last_output_at: None,
        phase: Phase::Running,
        activity: crate::Activity::default(),
        agent: None,
        transcript_len: 0,
        last_event_id: 2,
    }
}

fn line(sequence: u64, role: Role, content: &str) -> Vec<Write> {
    let event_id = 10 + sequence;
    let text = serde_json::to_string(&format!("{content}\n")).unwrap();
    let payload = format!(r#"{{"event":"text_delta","data":{{"text":{text}}}}}"#).into();
    let at = Timestamp::from_millis(sequence);
    let item = StoredItem { sequence, role, content: content.into(), event_id, at, cont: false };
    vec![Write::Event(StoredEvent { event_id, payload }), Write::Item(item)]
}

/// Whatever is on the disk already and whatever is not: pages are those of the whole transcript.
#[test]
fn memory_and_disk_are_one_transcript() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let worker_id: WorkerId = "w".parse().unwrap();
    store.load().unwrap();
    assert_eq!(store.page(&worker_id, 0, 10), Ok(Page::default()));
    assert_eq!(store.append(&worker_id, line(1, Role::User, "x")), Err(StoreError::Missing));
    store.append(&worker_id, vec![Write::Record(Box::new(record(&worker_id)))]).unwrap();
    let total = 1500;
    let mut ticket = Ticket::default();
    for sequence in 1..=total {
        let content = "x".repeat(usize::try_from(sequence % 400).unwrap());
        ticket = store.append(&worker_id, line(sequence, Role::Assistant, &content)).unwrap();
        if sequence % 97 == 0 {
            let from = (sequence / 3).saturating_sub(20);
            let page = store.page(&worker_id, from, 256).unwrap();
            let sequences: Vec<u64> = page.items.iter().map(|item| item.sequence).collect();
            assert_eq!(sequences, (from + 1..=sequence.min(from + 256)).collect::<Vec<_>>());
            let newest = store.newest(&worker_id, 10 + sequence / 2, 100, 1 << 20).unwrap();
            let until = sequence / 2;
            let sequences: Vec<u64> = newest.iter().map(|item| item.sequence).collect();
            assert_eq!(sequences, (until.saturating_sub(99).max(1)..=until).collect::<Vec<_>>());
        }
    }
    assert_eq!(store.newest(&worker_id, u64::MAX, 10, 0), Ok(Vec::new()));
    let page = store.page(&worker_id, total - 1, 5).unwrap();
    assert_eq!(page.items.len(), 1);
    while store.poll_durable(ticket, &mut Context::from_waker(Waker::noop())).is_pending() {
        std::thread::yield_now();
    }
    // What is told of items is kept once, and read back as it was told.
    let backlog = store.backlog(&worker_id, 10, 1 << 20).unwrap();
    let told: Vec<Write> = backlog.events.into_iter().map(Write::Event).collect();
    let expected: Vec<Write> = (total - 9..=total)
        .map(|sequence| {
            let content = "x".repeat(usize::try_from(sequence % 400).unwrap());
            line(sequence, Role::Assistant, &content).remove(0)
        })
        .collect();
    assert_eq!((told, backlog.before), (expected, Some(total)));
    store.close().unwrap();
    assert_eq!(store.failing(), Some(StoreError::Io));
}
