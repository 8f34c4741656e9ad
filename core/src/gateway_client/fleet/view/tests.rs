use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::gateway_client::fleet::LATELY;
use crate::runtime_api::WorkerStatus;

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"))
}

fn worker(id: &str, status: &str, more: Value) -> Value {
    let capabilities = json!({
        "send_input": true, "stop": true, "cancel": true, "read_transcript": true, "observe_events": true,
    });
    let mut worker = json!({
        "runtime_id": "box", "worker_id": id, "kind": "remote_worker_runtime", "status": status,
        "intent": {"kind": "assistant"}, "profile": {"kind": "runtime_default"}, "transcript_len": 0,
        "last_event_id": 0, "capabilities": capabilities,
    });
    worker.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    worker
}

fn request(worker: &str, request: &str, at: &str) -> Value {
    json!({"runtime_id": "box", "worker_id": worker, "request_id": request, "kind": "choice", "title": "?",
        "options": [], "opened_at": at})
}

fn runtime(id: &str) -> Value {
    json!({"runtime_id": id, "display_name": id, "kind": "remote_worker_runtime", "reachability": "reachable"})
}

fn view(workers: &[Value], requests: &[Value]) -> FleetView {
    let mut view = FleetView::default();
    let state = RuntimeState {
        runtime: read(runtime("box")),
        workers: workers.iter().cloned().map(read).collect(),
        requests: requests.iter().cloned().map(read).collect(),
    };
    view.insert(state).unwrap();
    view
}

fn change(view: &mut FleetView, change: Value) {
    view.apply(read(change)).unwrap();
}

fn time(at: &str) -> SystemTime {
    humantime::parse_rfc3339_weak(at).unwrap()
}

fn ids(view: &FleetView) -> Vec<&str> {
    view.workers().map(|worker| worker.worker_id.as_str()).collect()
}

#[test]
fn what_needs_most_stands_first() {
    let view = view(
        &[
            worker(
                "done",
                "stopped",
                json!({"end": {"reason": "exited", "exit_code": 0}, "ended_at": "2026-01-04T00:00:00Z"}),
            ),
            worker(
                "ended-long-ago",
                "cancelled",
                json!({"end": {"reason": "cancelled"}, "ended_at": "2026-01-01T00:00:00Z"}),
            ),
            worker("idle", "running", json!({"activity": "idle", "last_output_at": "2026-01-03T00:00:00Z"})),
            worker("quiet", "running", json!({"last_output_at": "2026-01-01T00:00:00Z"})),
            worker("busy", "running", json!({"last_output_at": "2026-01-02T00:00:00Z"})),
            worker(
                "at-work",
                "running",
                json!({"activity": "running", "last_output_at": "2026-01-01T00:00:00Z"}),
            ),
            worker(
                "failed-long-ago",
                "stopped",
                json!({"end": {"reason": "exited", "exit_code": 2}, "ended_at": "2026-01-03T00:00:00Z"}),
            ),
            worker(
                "failed",
                "stopped",
                json!({"end": {"reason": "exited", "exit_code": 2}, "ended_at": "2026-01-04T23:30:00Z"}),
            ),
            worker(
                "lost",
                "stopped",
                json!({"end": {"reason": "runtime_lost"}, "ended_at": "2026-01-04T23:40:00Z"}),
            ),
            worker("asks-unlisted", "running", json!({"requests": 1})),
            worker("asks", "running", json!({})),
            worker("asks-longer", "running", json!({})),
        ],
        &[
            request("asks", "r1", "2026-01-02T00:00:00Z"),
            request("asks-longer", "r2", "2026-01-03T00:00:00Z"),
            request("asks-longer", "r1", "2026-01-01T00:00:00Z"),
        ],
    );
    let order: Vec<_> = view
        .by_attention(time("2026-01-05T00:00:00Z"))
        .into_iter()
        .map(|(worker, attention)| (worker.worker_id.as_str(), attention))
        .collect();
    assert_eq!(
        order,
        [
            ("asks-longer", Attention::Asks),
            ("asks", Attention::Asks),
            ("asks-unlisted", Attention::Asks),
            ("lost", Attention::Failed),
            ("failed", Attention::Failed),
            ("at-work", Attention::Runs),
            ("busy", Attention::Runs),
            ("quiet", Attention::Runs),
            ("idle", Attention::Runs),
            ("done", Attention::Ended),
            ("failed-long-ago", Attention::Ended),
            ("ended-long-ago", Attention::Ended),
        ]
    );
}

#[test]
fn changes_are_applied() {
    let mut view = view(&[worker("a", "running", json!({}))], &[]);
    change(&mut view, json!({"event": "worker_added", "worker": worker("b", "running", json!({}))}));
    change(&mut view, json!({"event": "worker_changed", "worker": worker("a", "stopped", json!({}))}));
    assert_eq!(ids(&view), ["a", "b"]);
    assert_eq!(view.workers().next().unwrap().status, WorkerStatus::Stopped);
    change(
        &mut view,
        json!({"event": "request_opened", "request": request("b", "r1", "2026-01-02T00:00:00Z")}),
    );
    let open = |view: &FleetView| view.requests_of(&"box".parse().unwrap(), &"b".parse().unwrap()).len();
    assert_eq!(open(&view), 1);
    let resolved =
        json!({"event": "request_resolved", "runtime_id": "box", "worker_id": "b", "request_id": "r1"});
    change(&mut view, resolved);
    assert_eq!(open(&view), 0);
    change(&mut view, json!({"event": "worker_praised", "by": "a manager"}));
    let mut unreached = runtime("box");
    unreached["reachability"] = "unreachable".into();
    unreached["failing_since"] = "2026-01-01T00:00:00Z".into();
    change(&mut view, json!({"event": "runtime_changed", "runtime": unreached}));
    change(&mut view, json!({"event": "runtime_changed", "runtime": runtime("new")}));
    assert_eq!(view.unreached().map(|runtime| runtime.runtime_id.as_str()).collect::<Vec<_>>(), ["box"]);
    change(&mut view, json!({"event": "worker_gone", "runtime_id": "box", "worker_id": "a"}));
    assert_eq!(ids(&view), ["b"]);
    change(&mut view, json!({"event": "runtime_gone", "runtime_id": "box"}));
    assert_eq!((ids(&view).len(), view.runtimes().count()), (0, 1));
}

#[test]
fn what_a_new_state_changes_is_told() {
    let request = request("a", "r1", "2026-01-02T00:00:00Z");
    let before = view(&[worker("a", "running", json!({})), worker("b", "running", json!({}))], &[request]);
    let names = |changes: Vec<FleetChange>| {
        let name = |change| {
            serde_json::to_value::<FleetChange>(change).unwrap()["event"].as_str().unwrap().to_owned()
        };
        changes.into_iter().map(name).collect::<Vec<_>>()
    };
    let all = before.changes_since(&FleetView::default());
    assert_eq!(names(all.clone()), ["runtime_changed", "worker_added", "worker_added", "request_opened"]);
    assert_eq!(before.changes_since(&before), []);
    let after = view(&[worker("a", "stopped", json!({})), worker("c", "running", json!({}))], &[]);
    let changes = after.changes_since(&before);
    assert_eq!(names(changes.clone()), ["worker_gone", "worker_changed", "worker_added", "request_resolved"]);
    // They lead from the one to the other.
    let mut applied = before.clone();
    changes.into_iter().for_each(|change| applied.apply(change).unwrap());
    assert_eq!(after, applied);
    let mut from_nothing = FleetView::default();
    all.into_iter().for_each(|change| from_nothing.apply(change).unwrap());
    assert_eq!(before, from_nothing);
    assert_eq!(names(FleetView::default().changes_since(&before)), ["runtime_gone"]);
}

#[test]
fn a_failure_needs_attention_for_a_while() {
    let ended = "2026-01-01T00:00:00Z";
    let of = |status: &str, more: Value, later: Duration| {
        let worker = read(worker("w", status, more));
        Attention::of(&worker, false, time(ended) + later)
    };
    let failed = || json!({"end": {"reason": "signalled", "signal": 9}, "ended_at": ended});
    let second = Duration::from_secs(1);
    assert_eq!(of("stopped", failed(), LATELY), Attention::Failed);
    assert_eq!(of("stopped", failed(), LATELY + second), Attention::Ended);
    // The clock of the runtime's machine is ahead, and a runtime that does not tell when.
    let of_tomorrow = json!({"end": {"reason": "not_started"}, "ended_at": "2026-01-02T00:00:00Z"});
    assert_eq!(of("stopped", of_tomorrow, second), Attention::Failed);
    assert_eq!(of("stopped", json!({"end": {"reason": "store_failed"}}), second), Attention::Failed);
    assert_eq!(of("stopped", json!({}), second), Attention::Ended);
    assert_eq!(of("cancelled", json!({"end": {"reason": "cancelled"}}), second), Attention::Ended);
    assert_eq!(of("running", json!({"activity": "waiting"}), second), Attention::Asks);
    assert_eq!(of("dreaming", json!({}), second), Attention::Runs);
    assert!(Attention::ALL.is_sorted());
}
