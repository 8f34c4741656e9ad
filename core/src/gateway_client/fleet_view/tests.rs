use serde_json::{Value, json};

use super::*;

fn frame(frame: Value) -> FleetFrame {
    FleetFrame::from_text(frame.to_string().as_bytes()).unwrap_or_else(|| panic!("{frame}"))
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
    assert!(!view.is_complete());
    view.apply(frame(json!({"kind": "snapshot", "position": 4, "runtimes": 1})));
    assert!(!view.is_complete());
    view.apply(frame(
        json!({"kind": "runtime", "runtime": runtime("box"), "workers": workers, "requests": requests}),
    ));
    assert!(view.is_complete());
    view
}

fn change(view: &mut FleetView, position: u64, change: Value) -> Option<FleetChange> {
    view.apply(frame(json!({"kind": "change", "position": position, "change": change})))
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
            worker("quiet", "running", json!({"last_output_at": "2026-01-01T00:00:00Z"})),
            worker("busy", "running", json!({"last_output_at": "2026-01-02T00:00:00Z"})),
            worker(
                "failed",
                "stopped",
                json!({"end": {"reason": "exited", "exit_code": 2}, "ended_at": "2026-01-02T00:00:00Z"}),
            ),
            worker(
                "lost",
                "stopped",
                json!({"end": {"reason": "runtime_lost"}, "ended_at": "2026-01-03T00:00:00Z"}),
            ),
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
        .by_attention()
        .into_iter()
        .map(|(worker, attention)| (worker.worker_id.as_str(), attention))
        .collect();
    assert_eq!(
        order,
        [
            ("asks-longer", Attention::Asks),
            ("asks", Attention::Asks),
            ("lost", Attention::Failed),
            ("failed", Attention::Failed),
            ("busy", Attention::Runs),
            ("quiet", Attention::Runs),
            ("done", Attention::Ended),
            ("ended-long-ago", Attention::Ended),
        ]
    );
}

#[test]
fn changes_are_applied() {
    let mut view = view(&[worker("a", "running", json!({}))], &[]);
    change(&mut view, 5, json!({"event": "worker_added", "worker": worker("b", "running", json!({}))}));
    change(&mut view, 6, json!({"event": "worker_changed", "worker": worker("a", "stopped", json!({}))}));
    assert_eq!(ids(&view), ["a", "b"]);
    assert_eq!(view.workers().next().unwrap().status, WorkerStatus::Stopped);
    change(
        &mut view,
        7,
        json!({"event": "request_opened", "request": request("b", "r1", "2026-01-02T00:00:00Z")}),
    );
    let open = |view: &FleetView| view.requests_of(&"box".parse().unwrap(), &"b".parse().unwrap()).count();
    assert_eq!(open(&view), 1);
    let resolved =
        json!({"event": "request_resolved", "runtime_id": "box", "worker_id": "b", "request_id": "r1"});
    change(&mut view, 8, resolved);
    assert_eq!(open(&view), 0);
    let of_tomorrow = change(&mut view, 9, json!({"event": "worker_praised", "by": "a manager"}));
    assert_eq!(of_tomorrow, Some(FleetChange::Unknown));
    let mut unreached = runtime("box");
    unreached["reachability"] = "unreachable".into();
    unreached["failing_since"] = "2026-01-01T00:00:00Z".into();
    change(&mut view, 10, json!({"event": "runtime_changed", "runtime": unreached}));
    change(&mut view, 11, json!({"event": "runtime_changed", "runtime": runtime("new")}));
    assert_eq!(view.unreached().map(|runtime| runtime.runtime_id.as_str()).collect::<Vec<_>>(), ["box"]);
    change(&mut view, 12, json!({"event": "worker_gone", "runtime_id": "box", "worker_id": "a"}));
    assert_eq!(ids(&view), ["b"]);
    change(&mut view, 13, json!({"event": "runtime_gone", "runtime_id": "box"}));
    assert_eq!((ids(&view).len(), view.runtimes().count()), (0, 1));
    // What was there before a snapshot is thrown away.
    view.apply(frame(json!({"kind": "snapshot", "position": 20, "runtimes": 0})));
    assert!(view.is_complete() && view.runtimes().next().is_none());
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
    changes.into_iter().for_each(|change| applied.change(change));
    assert_eq!(after.changes_since(&applied), []);
    let mut from_nothing = FleetView::default();
    all.into_iter().for_each(|change| from_nothing.change(change));
    assert_eq!(before.changes_since(&from_nothing), []);
    assert_eq!(names(FleetView::default().changes_since(&before)), ["runtime_gone"]);
}
