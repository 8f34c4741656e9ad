#![allow(clippy::disallowed_methods, reason = "the clock of a test begins somewhere")]

use std::time::Instant;

use serde_json::{Value, json};

use super::*;
use crate::gateway_client::{Gateway, GatewayStream, GatewayStreamInput, GatewayStreamOutput};
use crate::transport::{ConnId, Loss};

/// A stream with a clock that jumps to the next deadline.
struct Pair {
    stream: GatewayStream<TheFleet>,
    now: Instant,
}

impl Pair {
    fn new() -> Self {
        let gateway = Gateway::new("http://127.0.0.1:8787/gate".parse().unwrap(), "s3cret".parse().ok());
        let now = Instant::now();
        Self { stream: gateway.open_fleet_stream(now, 7), now }
    }

    fn open(&mut self) -> ConnId {
        loop {
            match self.stream.poll(self.now) {
                GatewayStreamOutput::Connect(connect) => {
                    assert_eq!(connect.request.uri(), "/gate/api/workers/events/ws");
                    assert_eq!(connect.request.headers()["authorization"], "Bearer s3cret");
                    self.stream.handle(self.now, GatewayStreamInput::Opened(connect.id));
                    return connect.id;
                }
                GatewayStreamOutput::Wait { until, .. } => self.now = until,
                GatewayStreamOutput::Event(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn frames(&mut self, id: ConnId, frames: &[Value]) {
        for frame in frames {
            self.stream.handle(self.now, GatewayStreamInput::Frame(id, frame.to_string().into()));
        }
    }

    fn told(&mut self) -> Vec<GatewayEvent<FleetEvent>> {
        let mut told = Vec::new();
        while let GatewayStreamOutput::Event(event) = self.stream.poll(self.now) {
            told.push(event);
        }
        told
    }

    fn stopped(&mut self) -> String {
        loop {
            match self.stream.poll(self.now) {
                GatewayStreamOutput::Stopped(result) => return result.unwrap_err().code.into_owned(),
                GatewayStreamOutput::Event(_) | GatewayStreamOutput::Close(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn snapshot(position: u64, runtimes: u64) -> Value {
    json!({ "kind": "snapshot", "position": position, "runtimes": runtimes })
}

fn about(runtime_id: &str) -> Value {
    let (name, kind) = (runtime_id, "remote_worker_runtime");
    json!({ "runtime_id": runtime_id, "display_name": name, "kind": kind, "reachability": "reachable" })
}

fn worker(runtime_id: &str, worker_id: &str, name: &str) -> Value {
    json!({
        "runtime_id": runtime_id, "worker_id": worker_id, "kind": "remote_worker_runtime", "status": "running",
        "intent": { "kind": "assistant" }, "profile": { "kind": "runtime_default" }, "name": name,
        "transcript_len": 0, "last_event_id": 0,
        "capabilities": {
            "send_input": true, "stop": true, "cancel": true, "read_transcript": true, "observe_events": true,
        },
    })
}

fn request(runtime_id: &str, worker_id: &str, request_id: &str) -> Value {
    json!({
        "runtime_id": runtime_id, "worker_id": worker_id, "request_id": request_id, "kind": "choice",
        "title": "which", "options": [], "opened_at": "2026-01-31T12:00:00Z",
    })
}

fn asks(title: &str, mut request: Value) -> Value {
    request["title"] = title.into();
    request
}

fn questions<'a>(state: &'a FleetView, runtime_id: &str, worker_id: &str) -> Vec<&'a str> {
    let open = state.requests_of(&runtime_id.parse().unwrap(), &worker_id.parse().unwrap());
    open.iter().map(|open| &*open.title).collect()
}

fn member(runtime_id: &str, workers: &[Value], requests: &[Value]) -> Value {
    json!({ "kind": "runtime", "runtime": about(runtime_id), "workers": workers, "requests": requests })
}

fn change(position: u64, change: Value) -> Value {
    json!({ "kind": "change", "position": position, "change": change })
}

fn begins() -> [Value; 3] {
    [
        snapshot(4, 2),
        member("a", &[worker("a", "1", "one")], &[request("a", "1", "q")]),
        member("b", &[], &[]),
    ]
}

fn names(state: &FleetView) -> Vec<String> {
    state
        .workers()
        .map(|one| format!("{}/{} {}", one.runtime_id, one.worker_id, one.facts.name.as_deref().unwrap()))
        .collect()
}

#[test]
fn a_snapshot_is_passed_on_once_it_is_complete_and_then_each_change() {
    let mut pair = Pair::new();
    let id = pair.open();
    pair.frames(id, &begins()[..2]);
    assert!(pair.told().is_empty());
    pair.frames(id, &begins()[2..]);
    let told = pair.told();
    let [GatewayEvent::Event(FleetEvent::Snapshot(state))] = &told[..] else { panic!("{told:?}") };
    let mut state = state.clone();
    assert_eq!((state.runtimes().count(), names(&state)), (2, vec!["a/1 one".to_owned()]));
    assert_eq!(questions(&state, "a", "1"), ["which"]);

    let changes = [
        json!({ "event": "worker_changed", "worker": worker("a", "1", "uno") }),
        json!({ "event": "worker_added", "worker": worker("b", "2", "two") }),
        json!({ "event": "worker_added", "worker": worker("a", "3", "three") }),
        json!({ "event": "request_resolved", "runtime_id": "a", "worker_id": "1", "request_id": "q" }),
        json!({ "event": "request_opened", "request": request("b", "2", "r") }),
        // Something else is told of the same request.
        json!({ "event": "request_opened", "request": asks("what", request("b", "2", "r")) }),
        json!({ "event": "worker_gone", "runtime_id": "a", "worker_id": "1" }),
        json!({ "event": "runtime_changed", "runtime": about("c") }),
        json!({ "event": "worker_added", "worker": worker("c", "4", "four") }),
        json!({ "event": "runtime_gone", "runtime_id": "a" }),
        // Nothing is known of this one.
        json!({ "event": "worker_added", "worker": worker("a", "5", "five") }),
    ];
    let frames: Vec<Value> =
        changes.into_iter().zip(5..).map(|(what, position)| change(position, what)).collect();
    pair.frames(id, &frames);
    for event in pair.told() {
        let GatewayEvent::Event(FleetEvent::Change(change)) = event else { panic!("{event:?}") };
        state.apply(change).unwrap();
    }
    assert_eq!(names(&state), ["b/2 two", "c/4 four"]);
    assert_eq!(questions(&state, "b", "2"), ["what"]);
}

#[test]
fn it_begins_anew_after_a_loss_and_where_it_was_too_slow() {
    let mut pair = Pair::new();
    let id = pair.open();
    pair.frames(id, &begins());
    pair.told();
    // Too slow: the same connection goes on with another snapshot.
    pair.frames(
        id,
        &[
            snapshot(90, 1),
            member("a", &[], &[]),
            change(91, json!({ "event": "runtime_gone", "runtime_id": "a" })),
        ],
    );
    assert!(matches!(
        &pair.told()[..],
        [GatewayEvent::Event(FleetEvent::Snapshot(_)), GatewayEvent::Event(FleetEvent::Change(_))]
    ));
    pair.stream.handle(pair.now, GatewayStreamInput::Lost(id, Loss::Ended));
    assert!(matches!(&pair.told()[..], [GatewayEvent::Away { .. }]));
    let id = pair.open();
    // Another gateway, or the same one started again, counts anew.
    pair.frames(id, &[snapshot(0, 0)]);
    let told = pair.told();
    let [GatewayEvent::Back { nothing_missed: false }, GatewayEvent::Event(FleetEvent::Snapshot(state))] =
        &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!(state, &FleetView::default());
}

#[test]
fn what_to_do_is_in_the_range_of_the_close_code() {
    for (code, said, begun, end) in [
        (1001, "going_away", true, None),
        (4003, "too_many_viewers", true, None),
        (4400, "", true, None),
        (1001, "going_away", false, Some("going_away")),
        (4003, "too_many_viewers", false, Some("too_many_viewers")),
        (1008, "observation_only", true, Some("observation_only")),
        (4503, "denied", true, Some("denied")),
    ] {
        let mut pair = Pair::new();
        let id = pair.open();
        if begun {
            pair.frames(id, &begins());
        }
        if !said.is_empty() {
            pair.frames(
                id,
                &[json!({ "kind": "diagnostic", "diagnostic": { "code": said, "severity": "error" } })],
            );
        }
        pair.stream.handle(pair.now, GatewayStreamInput::Closed(id, Some(code)));
        match end {
            Some(end) => assert_eq!(pair.stopped(), end),
            None => {
                assert!(matches!(pair.told().last(), Some(GatewayEvent::Away { .. })), "{code}");
                pair.open();
            }
        }
    }
}

#[test]
fn what_is_new_to_a_client_is_passed_over() {
    let mut pair = Pair::new();
    let id = pair.open();
    pair.frames(id, &begins());
    pair.frames(
        id,
        &[
            change(5, json!({ "event": "worker_promoted", "rank": 2 })),
            change(6, json!({ "event": "runtime_gone", "runtime_id": "a", "why": "new" })),
        ],
    );
    let told = pair.told();
    assert!(
        matches!(&told[1..], [GatewayEvent::Event(FleetEvent::Change(FleetChange::RuntimeGone { .. }))]),
        "{told:?}"
    );
}

#[test]
fn what_no_gateway_says_ends_it() {
    let gone = |position| change(position, json!({ "event": "runtime_gone", "runtime_id": "a" }));
    for wrong in [
        vec![json!("hello")],
        vec![json!({ "kind": "weather" })],
        vec![gone(1)],
        vec![member("a", &[], &[])],
        vec![snapshot(1, 2), gone(2)],
        vec![snapshot(1, 2), member("a", &[], &[]), member("a", &[], &[])],
        vec![snapshot(1, 0), gone(1)],
        vec![snapshot(1, 0), gone(3)],
        vec![snapshot(u64::MAX, 0), gone(0)],
        vec![snapshot(1, 0), member("a", &[], &[])],
        vec![snapshot(1, 0), change(2, json!({ "event": "worker_added", "worker": {} }))],
    ] {
        let mut pair = Pair::new();
        let id = pair.open();
        pair.frames(id, &wrong);
        assert_eq!(pair.stopped(), "not_a_gateway", "{wrong:?}");
    }
}

#[test]
fn the_changes_between_two_states_make_one_the_other() {
    let state = |frames: &[Value]| {
        let mut pair = Pair::new();
        let id = pair.open();
        pair.frames(id, frames);
        match pair.told().pop() {
            Some(GatewayEvent::Event(FleetEvent::Snapshot(state))) => state,
            other => panic!("{other:?}"),
        }
    };
    let states = [
        FleetView::default(),
        state(&begins()),
        state(&[snapshot(1, 1), member("a", &[worker("a", "2", "two"), worker("a", "3", "three")], &[])]),
        state(&[
            snapshot(1, 2),
            member("a", &[worker("a", "2", "due"), worker("a", "3", "three")], &[request("a", "3", "q")]),
            member("c", &[worker("c", "1", "one")], &[]),
        ]),
    ];
    for before in &states {
        for now in &states {
            let mut made = before.clone();
            let changes = now.changes_since(before);
            changes.iter().for_each(|change| made.apply(change.clone()).unwrap());
            assert_eq!(&made, now, "{changes:#?}");
            assert_eq!(changes.is_empty(), before == now);
        }
    }
}
