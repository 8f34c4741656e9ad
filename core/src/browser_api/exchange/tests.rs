use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::call::{CallInput, CallLimits, CallOutput};
use crate::error::NetworkPhase;
use crate::policy::AllowAll;
use crate::registry::{RuntimeKind, RuntimeSpec};
use crate::runtime_api::{CreateWorker, Intent, Profile};
use crate::secret::Access;
use crate::transport::{Failure, FailureCause};
use crate::watch::GIVE_UP_AFTER;

const SUMMARY: &str = r#"{"runtime":{"runtime_id":"ID","display_name":"said","backend":"memory","status":"running",
    "worker_count":3,"active_worker_count":1,"stopped_worker_count":1,"cancelled_worker_count":1,"diagnostic_count":0,
    "limits":{"max_transcript_projection_items":256,"max_event_batch_items":256}}}"#;
const LISTED: &str = r#"{"worker_ref":{"runtime_id":"ID","worker_id":"W"},"runtime_id":"ID","worker_id":"W",
    "status":"running","intent":{"kind":"task","objective":"x"},"profile":{"kind":"runtime_default"},
    "requested_capability_count":1,"has_config_bundle":true,"transcript_len":4,"last_event_id":9}"#;
const DETAIL: &str = r#"{"worker":{"worker_ref":{"runtime_id":"ID","worker_id":"W"},"runtime_id":"ID","worker_id":"W",
    "status":"stopped","intent":{"kind":"assistant"},"profile":{"kind":"named","value":"shell"},
    "config_bundle":{"id":"bundle"},"requested_capabilities":[{"name":"read","reason":"to look"}],
    "mount_refs":[{"name":"m","reference":"r"}],"transcript_len":4,"last_event_id":9}}"#;

fn registry() -> Registry {
    let spec = |id: &str, display_name: Option<&str>| RuntimeSpec {
        runtime_id: id.parse().unwrap(),
        display_name: display_name.map(str::to_owned),
        kind: RuntimeKind::Remote,
        access: Access::remote("http://127.0.0.1:1".parse().unwrap(), None),
        limits: CallLimits::default(),
        max_in_flight: 8,
        give_up_after: GIVE_UP_AFTER,
    };
    Registry::new(vec![spec("one", Some("One")), spec("two", None)], 1).unwrap()
}

/// Carries out an action against runtimes that answer as told, `None` being no connection.
fn carry_out(policy: &dyn Policy, action: Action, answers: &[Option<(u16, &str)>]) -> Response<Bytes> {
    #[expect(clippy::disallowed_methods, reason = "an instant has no other origin")]
    let instant = Instant::now();
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let mut registry = registry();
    let (exchange, calls) = Exchange::begin(&mut registry, policy, instant, false, action);
    assert_eq!(calls.len(), answers.len());
    let mut ends = Vec::new();
    for (mut call, answer) in calls.into_iter().zip(answers) {
        let mut clock = instant;
        ends.push(loop {
            match call.poll(clock) {
                CallOutput::Send(attempt) => call.handle(
                    clock,
                    match answer {
                        Some((status, body)) => {
                            let body = body.replace("ID", call.runtime_id().as_str());
                            CallInput::Response(
                                attempt.id,
                                Response::builder().status(*status).body(body.into()).unwrap(),
                            )
                        }
                        None => {
                            let refused = Failure::unsent(FailureCause::Network(NetworkPhase::Connect));
                            CallInput::Failed(attempt.id, refused)
                        }
                    },
                ),
                CallOutput::RefreshCredential => call.handle(clock, CallInput::Credential(None)),
                CallOutput::Wait { until, .. } => clock = until,
                CallOutput::Done(end) => break end,
            }
        });
        registry.finish(instant, call);
    }
    exchange.response(&registry, policy, Now { instant, wall }, ends)
}

fn body(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

fn to_one(command: Command) -> Action {
    Action::Command { runtime_id: "one".parse().unwrap(), command }
}

#[test]
fn every_runtime_is_listed_reachable_or_not() {
    let response = carry_out(&AllowAll, Action::Runtimes, &[Some((200, SUMMARY)), None]);
    assert_eq!(response.status(), 200);
    let every = json!({"list_workers": true, "get_worker": true, "create_worker": true, "send_input": true,
        "stop_worker": true, "cancel_worker": true, "read_transcript": true, "observe_events": true});
    let diagnostic = json!({"code": "network_error", "severity": "error",
        "message": "no connection to the runtime", "runtime_id": "two"});
    let expected = json!({
        "items": [
            {"runtime_id": "one", "display_name": "One", "kind": "remote_worker_runtime", "status": "running",
                "reachability": "reachable", "last_seen_at": "2001-09-09T01:46:40Z", "capabilities": every,
                "workers": {"total": 3, "active": 1, "stopped": 1, "cancelled": 1},
                "limits": {"max_transcript_items": 256}, "diagnostics": []},
            {"runtime_id": "two", "display_name": "two", "kind": "remote_worker_runtime", "status": "unknown",
                "reachability": "unreachable", "last_seen_at": null, "capabilities": every,
                "workers": null, "limits": null, "diagnostics": [diagnostic]},
        ],
        "diagnostics": [diagnostic],
    });
    assert_eq!(body(&response), expected);
}

#[test]
fn one_runtime() {
    let runtime = |id: &str| Action::Runtime(id.parse().unwrap());
    let reachable = carry_out(&AllowAll, runtime("two"), &[Some((200, SUMMARY))]);
    assert_eq!(body(&reachable)["runtime"]["display_name"], "said");
    let unreachable = carry_out(&AllowAll, runtime("one"), &[None]);
    assert_eq!(unreachable.status(), 200);
    assert_eq!(body(&unreachable)["runtime"]["diagnostics"][0]["code"], "network_error");
    let unknown = carry_out(&AllowAll, runtime("three"), &[]);
    assert_eq!(unknown.status(), 404);
    assert_eq!(body(&unknown)["code"], "unknown_runtime");
}

#[test]
fn a_failing_runtime_costs_its_own_rows_and_one_diagnostic() {
    let list = format!(r#"{{"workers":[{LISTED},{}]}}"#, LISTED.replace('W', "a/b"));
    let response = carry_out(&AllowAll, Action::AllWorkers, &[Some((200, &list)), Some((500, ""))]);
    assert_eq!(response.status(), 200);
    let body = body(&response);
    assert_eq!(body["items"].as_array().unwrap().len(), 1);
    let expected = json!({"runtime_id": "one", "worker_id": "W", "kind": "remote_worker_runtime", "status": "running",
        "intent": {"kind": "task", "objective": "x"}, "profile": {"kind": "runtime_default"},
        "transcript_len": 4, "last_event_id": 9,
        "capabilities": {"send_input": true, "stop": true, "cancel": true, "read_transcript": true,
            "observe_events": true}});
    assert_eq!(body["items"][0], expected);
    let codes: Vec<_> =
        body["diagnostics"].as_array().unwrap().iter().map(|it| (&it["code"], &it["runtime_id"])).collect();
    assert_eq!(
        codes,
        [(&json!("invalid_identifier"), &json!("one")), (&json!("runtime_error"), &json!("two"))]
    );
}

#[test]
fn the_workers_of_one_runtime() {
    let list = format!(r#"{{"workers":[{LISTED}]}}"#);
    let response = carry_out(&AllowAll, to_one(Command::Workers), &[Some((200, &list))]);
    assert_eq!(response.status(), 200);
    assert_eq!(body(&response)["items"][0]["worker_id"], "W");
    assert_eq!(body(&response)["diagnostics"], json!([]));
    let failed = carry_out(&AllowAll, to_one(Command::Workers), &[Some((500, ""))]);
    assert_eq!((failed.status().as_u16(), &body(&failed)["code"]), (502, &json!("runtime_error")));
}

#[test]
fn a_worker_is_shown_without_mounts_and_bundles() {
    let get = to_one(Command::Worker("W".parse().unwrap()));
    let response = carry_out(&AllowAll, get, &[Some((200, DETAIL))]);
    let expected = json!({"worker": {"runtime_id": "one", "worker_id": "W", "kind": "remote_worker_runtime", "status": "stopped",
        "intent": {"kind": "assistant"}, "profile": {"kind": "named", "value": "shell"},
        "requested_capabilities": [{"name": "read", "reason": "to look"}], "workspace_refs": [],
        "transcript_len": 4, "last_event_id": 9,
        "capabilities": {"send_input": false, "stop": false, "cancel": false, "read_transcript": true,
            "observe_events": true}}});
    assert_eq!(body(&response), expected);
}

fn create() -> Action {
    to_one(Command::Create {
        worker: Box::new(CreateWorker::new(Intent::Assistant { purpose: None }, Profile::default())),
        key: None,
    })
}

#[test]
fn a_new_worker_has_a_location() {
    let response = carry_out(&AllowAll, create(), &[Some((200, DETAIL))]);
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["location"], "/api/runtimes/one/workers/W");
    let unusable = carry_out(&AllowAll, create(), &[Some((200, &DETAIL.replace('W', "a/b")))]);
    assert_eq!(unusable.status(), 502);
    assert_eq!(body(&unusable)["outcome"], "unknown");
}

#[test]
fn acks_and_transcripts() {
    let worker_id = || "W".parse().unwrap();
    let stop = to_one(Command::Stop { worker_id: worker_id(), reason: Default::default() });
    let ack =
        r#"{"ack":{"worker_ref":{"runtime_id":"ID","worker_id":"W"},"status":"stopped","event_id":10}}"#;
    let response = carry_out(&AllowAll, stop, &[Some((200, ack))]);
    let expected =
        json!({"ack": {"runtime_id": "one", "worker_id": "W", "status": "stopped", "event_id": 10}});
    assert_eq!(body(&response), expected);

    let read = to_one(Command::Transcript { worker_id: worker_id(), start: None, limit: None });
    let page = r#"{"transcript":{"worker_ref":{"runtime_id":"ID","worker_id":"W"},"start":0,"limit":256,"total_items":1,
        "items":[{"sequence":1,"worker_ref":{"runtime_id":"ID","worker_id":"W"},"role":"user","content":"hello",
        "event_id":8}],"next_start":null}}"#;
    let response = carry_out(&AllowAll, read, &[Some((200, page))]);
    let expected = json!({"transcript": {"runtime_id": "one", "worker_id": "W", "start": 0, "limit": 256,
        "total_items": 1, "items": [{"sequence": 1, "role": "user", "content": "hello", "event_id": 8}],
        "next_start": null}});
    assert_eq!(body(&response), expected);
}

/// Shows runtime `one` to nobody and no content at all.
struct Strict;

impl Policy for Strict {
    fn permits(&self, _: Operation, runtime_id: &RuntimeId, _: Option<&crate::id::WorkerId>) -> bool {
        runtime_id.as_str() != "one"
    }

    fn redact(&self, _: &RuntimeId, _: String) -> String {
        "…".into()
    }
}

#[test]
fn the_policy_is_asked() {
    let denied = carry_out(&Strict, create(), &[]);
    assert_eq!(denied.status(), 403);
    assert_eq!(
        (&body(&denied)["code"], &body(&denied)["outcome"]),
        (&json!("denied"), &json!("not_applied"))
    );
    let runtimes = carry_out(&Strict, Action::Runtimes, &[Some((200, SUMMARY))]);
    assert_eq!(body(&runtimes)["items"].as_array().unwrap().len(), 1);
    let list = format!(r#"{{"workers":[{LISTED}]}}"#);
    let workers = carry_out(&Strict, Action::AllWorkers, &[Some((200, &list))]);
    assert_eq!(body(&workers)["items"][0]["intent"]["objective"], "…");
}

#[test]
fn health_and_readiness_ask_nobody() {
    let mut registry = registry();
    #[expect(clippy::disallowed_methods, reason = "an instant has no other origin")]
    let instant = Instant::now();
    for (action, draining, status) in
        [(Action::Health, true, 200), (Action::Ready, false, 200), (Action::Ready, true, 503)]
    {
        let (exchange, calls) = Exchange::begin(&mut registry, &AllowAll, instant, draining, action);
        assert!(calls.is_empty());
        let now = Now { instant, wall: SystemTime::UNIX_EPOCH };
        assert_eq!(exchange.response(&registry, &AllowAll, now, vec![]).status(), status);
    }
}
