use std::num::NonZeroU16;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::browser_api::{MAX_LISTED_TEXT, problem};
use crate::call::{CallInput, CallLimits, CallOutput};
use crate::error::{Misuse, NetworkPhase};
use crate::policy::AllowAll;
use crate::registry::{RuntimeKind, RuntimeSpec};
use crate::runtime_api::{
    Answer, Contains, CreateWorker, Input, InputKind, Intent, Profile, TerminalSize, WorkerFilter,
    WorkerStatus,
};
use crate::secret::Access;
use crate::transport::{Attempt, Failure, FailureCause};
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

/// What our own runtime says of itself.
fn capable_summary() -> String {
    let names: Vec<&str> = Feature::ALL.iter().map(|feature| feature.name()).collect();
    let features = format!(r#""features":{},"worker_count""#, json!(names));
    SUMMARY.replacen(r#""worker_count""#, &features, 1)
}

/// Carries out an action against runtimes that answer as told, `None` being no connection.
fn carry_out(policy: &dyn Policy, action: Action, answers: &[Option<(u16, &str)>]) -> Response<Bytes> {
    carry_out_at(&mut registry(), policy, action, answers)
}

/// The same, where the registry may know something already.
fn carry_out_at(
    registry: &mut Registry,
    policy: &dyn Policy,
    action: Action,
    answers: &[Option<(u16, &str)>],
) -> Response<Bytes> {
    #[expect(clippy::disallowed_methods, reason = "an instant has no other origin")]
    let instant = Instant::now();
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let (exchange, calls) = Exchange::begin(registry, policy, instant, false, action);
    assert_eq!(calls.len(), answers.len());
    let mut ends = Vec::new();
    for (mut call, answer) in calls.into_iter().zip(answers) {
        let mut clock = instant;
        ends.push(loop {
            match call.poll(clock) {
                CallOutput::Send(attempt) => call.handle(
                    clock,
                    match answer {
                        // Who is there is asked before anything is changed.
                        Some((200..=204, _)) if asks_who_is_there(&call, &attempt) => {
                            let knows_more = registry.health(call.runtime_id()).unwrap().has(Feature::Pages);
                            let summary = if knows_more { capable_summary() } else { SUMMARY.to_owned() };
                            let body = summary.replace("ID", call.runtime_id().as_str());
                            CallInput::Response(attempt.id, Response::new(body.into()))
                        }
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
    let response = exchange.response(registry, policy, Now { instant, wall }, ends);
    response.unwrap_or_else(|error| problem(&error))
}

fn asks_who_is_there(call: &Call, attempt: &Attempt) -> bool {
    call.command().operation() != Operation::ReadRuntime
        && attempt.request.method() == "GET"
        && attempt.request.uri().path() == "/v1/runtime"
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
        "stop_worker": true, "cancel_worker": true, "read_transcript": true, "observe_events": true,
        "interrupt_worker": false, "resize_worker": false, "resume_worker": false, "remove_worker": false,
        "list_requests": false, "list_all_requests": false, "answer_requests": false, "list_profiles": false,
        "idempotency": false});
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
    let response = carry_out(
        &AllowAll,
        Action::AllWorkers(AllWorkers::default()),
        &[Some((200, &list)), Some((500, ""))],
    );
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
    let response = carry_out(&AllowAll, to_one(Command::workers()), &[Some((200, &list))]);
    assert_eq!(response.status(), 200);
    assert_eq!(body(&response)["items"][0]["worker_id"], "W");
    assert_eq!(body(&response)["diagnostics"], json!([]));
    let failed = carry_out(&AllowAll, to_one(Command::workers()), &[Some((500, ""))]);
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
    assert_eq!(response.headers()["location"], "workers/W", "relative to where it was sent");
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

    let read =
        to_one(Command::Transcript { worker_id: worker_id(), start: None, limit: None, contains: None });
    let page = r#"{"transcript":{"worker_ref":{"runtime_id":"ID","worker_id":"W"},"start":0,"limit":256,"total_items":1,
        "items":[{"sequence":1,"worker_ref":{"runtime_id":"ID","worker_id":"W"},"role":"user","content":"hello",
        "event_id":8}],"next_start":null}}"#;
    let response = carry_out(&AllowAll, read, &[Some((200, page))]);
    let expected = json!({"transcript": {"runtime_id": "one", "worker_id": "W", "start": 0, "limit": 256,
        "total_items": 1, "items": [{"sequence": 1, "role": "user", "content": "hello", "event_id": 8}],
        "next_start": null}});
    assert_eq!(body(&response), expected);
}

#[test]
fn a_transcript_is_searched_page_by_page() {
    let page = |first: u64, contents: &[&str]| {
        let item = |(sequence, content): (u64, &&str)| {
            json!({"sequence": sequence, "worker_ref": {"runtime_id": "one", "worker_id": "W"}, "role": "user",
                "content": content, "event_id": 8})
        };
        let items: Vec<_> = (first..).zip(contents).map(item).collect();
        json!({"transcript": {"worker_ref": {"runtime_id": "one", "worker_id": "W"}, "start": 2, "limit": 4,
            "total_items": 9, "items": items, "next_start": 6}})
        .to_string()
    };
    let read_with = |first, contents: &[&str], contains: Option<&str>, ignore_case| {
        let worker_id = "W".parse().unwrap();
        let contains = contains.map(|text| Contains { text: text.to_owned(), ignore_case });
        let command = Command::Transcript { worker_id, start: Some(2), limit: Some(4), contains };
        let transcript = page(first, contents);
        body(&carry_out(&AllowAll, to_one(command), &[Some((200, &transcript))]))["transcript"].clone()
    };
    let read = |first, contents: &[&str], contains| read_with(first, contents, contains, false);
    let found = |transcript: &Value| -> Vec<u64> {
        transcript["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["sequence"].as_u64().unwrap())
            .collect()
    };
    let contents = ["a needle", "hay", "needles", "at http://127.0.0.1:1"];
    let all = read(3, &contents, None);
    assert_eq!((found(&all), all.get("dropped")), (vec![3, 4, 5, 6], None));
    let some = read(3, &contents, Some("needle"));
    assert_eq!((found(&some), &some["next_start"]), (vec![3, 5], &json!(6)));
    assert!(found(&read(3, &contents, Some("NEEDLE"))).is_empty());
    assert_eq!(found(&read_with(3, &contents, Some("NEEDLE"), true)), [3, 5]);
    // What is hidden cannot be searched for.
    assert!(found(&read(3, &contents, Some("127.0"))).is_empty());
    assert!(found(&read_with(3, &contents, Some("HTTP"), true)).is_empty());
    assert_eq!(found(&read(3, &contents, Some("at "))), [6]);
    assert_eq!(read(5, &contents[..2], None)["dropped"], 2, "items 3 and 4 are no longer kept");
}

/// Shows runtime `one` to no client, and no content at all.
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
    let workers = carry_out(&Strict, Action::AllWorkers(AllWorkers::default()), &[Some((200, &list))]);
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
        assert_eq!(exchange.response(&registry, &AllowAll, now, vec![]).unwrap().status(), status);
    }
}

#[test]
fn results_that_are_not_those_of_the_calls_are_a_misuse() {
    let mut registry = registry();
    #[expect(clippy::disallowed_methods, reason = "an instant has no other origin")]
    let instant = Instant::now();
    let now = Now { instant, wall: SystemTime::UNIX_EPOCH };
    let workers = || Ok(Reply::Workers(vec![].into()));
    let cases = [
        (vec![], Misuse::ResultCount),
        (vec![workers(), workers()], Misuse::ResultCount),
        (vec![Ok(Reply::Removed), workers()], Misuse::ResultCount),
        (vec![workers()], Misuse::ForeignResult),
    ];
    for (ends, misuse) in cases {
        let action = Action::Command {
            runtime_id: "one".parse().unwrap(),
            command: Command::Worker("w".parse().unwrap()),
        };
        let (exchange, calls) = Exchange::begin(&mut registry, &AllowAll, instant, false, action);
        assert_eq!(calls.len(), 1);
        let error = exchange.response(&registry, &AllowAll, now, ends).unwrap_err();
        assert_eq!(error.misuse(), Some(misuse));
        calls.into_iter().for_each(|call| drop(registry.finish(instant, call)));
    }
}

/// A registry whose runtimes have said that they have everything.
fn capable() -> Registry {
    let (mut registry, summary) = (registry(), capable_summary());
    let answer = Some((200, summary.as_str()));
    let response = carry_out_at(&mut registry, &AllowAll, Action::Runtimes, &[answer, answer]);
    assert!(
        body(&response)["items"][0]["capabilities"].as_object().unwrap().values().all(|can| *can == true)
    );
    registry
}

fn w() -> crate::id::WorkerId {
    "W".parse().unwrap()
}

#[test]
fn what_a_runtime_does_not_have_is_not_sent() {
    let input = |input| to_one(Command::Input { worker_id: w(), input, key: None });
    let plain = Input::new(InputKind::User, "x");
    let size = TerminalSize { cols: NonZeroU16::MIN, rows: NonZeroU16::MIN };
    let named = CreateWorker {
        name: Some("scout".into()),
        ..CreateWorker::new(Intent::Assistant { purpose: None }, Profile::default())
    };
    let placed = CreateWorker {
        cwd: Some("/srv".into()),
        ..CreateWorker::new(Intent::Assistant { purpose: None }, Profile::default())
    };
    let answer = Answer::Option("allow".into());
    for (action, feature) in [
        (to_one(Command::Interrupt { worker_id: w(), key: None }), "interrupt"),
        (to_one(Command::Resize { worker_id: w(), size }), "terminal"),
        (to_one(Command::Resume(w())), "resume"),
        (to_one(Command::Remove(w())), "remove"),
        (to_one(Command::Requests(w())), "requests"),
        (
            to_one(Command::Answer { worker_id: w(), request_id: "q".parse().unwrap(), answer, key: None }),
            "requests",
        ),
        (to_one(Command::Profiles), "profiles"),
        (to_one(Command::Create { worker: Box::new(named), key: None }), "names"),
        (to_one(Command::Create { worker: Box::new(placed), key: None }), "placement"),
        (input(Input::eof()), "eof"),
        (input(Input { raw: true, ..plain.clone() }), "raw_input"),
        (input(Input { secret: true, ..plain.clone() }), "secret_input"),
    ] {
        let mut registry = registry();
        let summary = carry_out_at(
            &mut registry,
            &AllowAll,
            Action::Runtime("one".parse().unwrap()),
            &[Some((200, SUMMARY))],
        );
        assert_eq!(summary.status(), 200);
        let changes = action.changes_something();
        let refused = carry_out_at(&mut registry, &AllowAll, action, &[]);
        assert_eq!((refused.status().as_u16(), &body(&refused)["code"]), (501, &json!("unsupported")));
        assert!(body(&refused)["detail"].as_str().unwrap().contains(&format!("`{feature}`")), "{feature}");
        assert_eq!(body(&refused)["outcome"] == "not_applied", changes, "{feature}");
    }
    let ack = r#"{"ack":{"worker_ref":{"runtime_id":"ID","worker_id":"W"},"status":"running",
        "transcript_sequence":1,"event_id":10}}"#;
    assert_eq!(carry_out(&AllowAll, input(plain), &[Some((200, ack))]).status(), 200, "v1 has plain input");
}

#[test]
fn commands_beyond_v1() {
    let mut registry = capable();
    let ack =
        r#"{"ack":{"worker_ref":{"runtime_id":"ID","worker_id":"W"},"status":"running","event_id":10}}"#;
    let interrupt = to_one(Command::Interrupt { worker_id: w(), key: "k".parse().ok() });
    let response = carry_out_at(&mut registry, &AllowAll, interrupt, &[Some((200, ack))]);
    let expected =
        json!({"ack": {"runtime_id": "one", "worker_id": "W", "status": "running", "event_id": 10}});
    assert_eq!(body(&response), expected);

    let removed = carry_out_at(&mut registry, &AllowAll, to_one(Command::Remove(w())), &[Some((204, ""))]);
    assert_eq!((removed.status().as_u16(), removed.body().len()), (204, 0));

    let profiles = r#"{"profiles":[{"name":"shell","kind":"lines","default":true},{"name":7}]}"#;
    let response =
        carry_out_at(&mut registry, &AllowAll, to_one(Command::Profiles), &[Some((200, profiles))]);
    assert_eq!(body(&response)["items"], json!([{"name": "shell", "kind": "lines", "default": true}]));
    assert_eq!(body(&response)["diagnostics"][0]["code"], "malformed_response");
}

#[test]
fn requests_of_all_runtimes_come_oldest_first() {
    let mut registry = capable();
    let request = |id: &str, at: &str| {
        format!(
            r#"{{"worker_ref":{{"runtime_id":"ID","worker_id":"W"}},"request_id":"{id}","kind":"permission",
            "title":"May I?","options":[{{"option_id":"y","name":"Yes","kind":"allow_once"}}],"opened_at":"{at}"}}"#
        )
    };
    let (early, late) = ("2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z");
    let one = format!(r#"{{"requests":[{},{{}}]}}"#, request("b", late));
    let two = format!(r#"{{"requests":[{}]}}"#, request("a", early));
    let answers = [Some((200, one.as_str())), Some((200, two.as_str()))];
    let shown = body(&carry_out_at(&mut registry, &AllowAll, Action::AllRequests, &answers));
    let places: Vec<_> = shown["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (&it["runtime_id"], &it["request_id"]))
        .collect();
    assert_eq!(places, [(&json!("two"), &json!("a")), (&json!("one"), &json!("b"))]);
    assert_eq!(shown["diagnostics"][0]["code"], "malformed_response", "an odd one costs itself");

    let of_worker = to_one(Command::Requests(w()));
    let shown = body(&carry_out_at(&mut registry, &AllowAll, of_worker, &[answers[0]]));
    let expected = json!({"runtime_id": "one", "worker_id": "W", "request_id": "b", "kind": "permission",
        "title": "May I?", "options": [{"option_id": "y", "name": "Yes", "kind": "allow_once"}],
        "opened_at": late});
    assert_eq!(shown["requests"], json!([expected]));
}

#[test]
fn a_key_that_is_not_honoured_is_told() {
    let ack = r#"{"ack":{"worker_ref":{"runtime_id":"ID","worker_id":"W"},"status":"running",
        "transcript_sequence":1,"event_id":10}}"#;
    let input = |key: Option<&str>| {
        let input = Input::new(InputKind::User, "x");
        to_one(Command::Input { worker_id: w(), input, key: key.map(|key| key.parse().unwrap()) })
    };
    let told = |registry: &mut Registry, key| {
        let response = carry_out_at(registry, &AllowAll, input(key), &[Some((200, ack))]);
        body(&response).get("diagnostics").map(|all| all[0]["code"].clone())
    };
    assert_eq!(told(&mut registry(), Some("k")), Some(json!(KEY_NOT_HONOURED)));
    assert_eq!(told(&mut registry(), None), None);
    assert_eq!(told(&mut capable(), Some("k")), None);
}

/// A list of workers with these names, which are their ids too; every second one has stopped.
fn named(names: &[String], next_after: &str) -> String {
    let rows = names.iter().enumerate().map(|(index, name)| {
        let status = if index % 2 == 0 { "running" } else { "stopped" };
        let row = LISTED.replace('W', name).replace("running", status);
        row.replacen(r#""transcript_len""#, &format!(r#""name":"{name}","transcript_len""#), 1)
    });
    format!(r#"{{"workers":[{}]{next_after}}}"#, rows.collect::<Vec<_>>().join(","))
}

fn shown_ids(response: &Response<Bytes>) -> Vec<String> {
    let body = body(response);
    body["items"].as_array().unwrap().iter().map(|it| it["worker_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_list_of_a_runtime_without_pages_is_paged_here() {
    let names: Vec<String> = (0..500).map(|number| format!("w{number:03}")).collect();
    let list = named(&names, "");
    let ask = |filter: WorkerFilter| {
        carry_out(&AllowAll, to_one(Command::Workers(filter)), &[Some((200, list.as_str()))])
    };
    let after = |id: &str| WorkerFilter { after: id.parse().ok(), ..WorkerFilter::default() };
    let first = ask(WorkerFilter::default());
    assert_eq!(shown_ids(&first), names[..200]);
    assert_eq!(body(&first)["next_after"], "w199");
    assert_eq!(shown_ids(&ask(WorkerFilter { limit: Some(1000), ..after("w199") })), names[200..400]);
    let last = ask(after("w399"));
    assert_eq!((shown_ids(&last), body(&last).get("next_after")), (names[400..].to_vec(), None));

    let stopped = WorkerFilter { status: Some(WorkerStatus::Stopped), limit: Some(2), ..after("w001") };
    let page = ask(stopped);
    assert_eq!(
        (shown_ids(&page), &body(&page)["next_after"]),
        (vec!["w003".into(), "w005".into()], &json!("w005"))
    );
    let one = ask(WorkerFilter { name: Some("w007".into()), ..WorkerFilter::default() });
    assert_eq!((shown_ids(&one), body(&one).get("next_after")), (vec!["w007".into()], None));
    let nowhere = ask(after("gone"));
    assert_eq!((nowhere.status().as_u16(), &body(&nowhere)["code"]), (400, &json!("invalid_request")));
}

#[test]
fn a_runtime_with_pages_is_asked_for_one() {
    let mut registry = capable();
    #[expect(clippy::disallowed_methods, reason = "an instant has no other origin")]
    let now = Instant::now();
    let filter = WorkerFilter { limit: Some(900), after: "w1".parse().ok(), ..WorkerFilter::default() };
    let action = to_one(Command::Workers(filter.clone()));
    let (_, calls) = Exchange::begin(&mut registry, &AllowAll, now, false, action.clone());
    let sent = WorkerFilter { limit: Some(200), ..filter };
    assert_eq!(calls[0].command(), &Command::Workers(sent));
    drop(calls);
    let page = named(&["w2".into(), "w3".into()], r#","next_after":"w3""#);
    let response = carry_out_at(&mut registry, &AllowAll, action, &[Some((200, &page))]);
    assert_eq!(
        (shown_ids(&response), &body(&response)["next_after"]),
        (vec!["w2".into(), "w3".into()], &json!("w3"))
    );
}

#[test]
fn the_workers_of_all_runtimes_come_in_pages() {
    let names: Vec<String> = (0..3).map(|number| format!("w{number}")).collect();
    let list = named(&names, "");
    let answer = Some((200, list.as_str()));
    let ask = |after: Option<&str>, answers: &[Option<(u16, &str)>]| {
        let filter = WorkerFilter { limit: Some(2), ..WorkerFilter::default() };
        let after = after.map(|after| after.parse().unwrap());
        let shown = carry_out(&AllowAll, Action::AllWorkers(AllWorkers { filter, after }), answers);
        (shown_ids(&shown), body(&shown).get("next_after").cloned())
    };
    assert_eq!(ask(None, &[answer, answer]), (names[..2].to_vec(), Some(json!("one/w1"))));
    let across = vec!["w2".to_owned(), "w0".to_owned()];
    assert_eq!(ask(Some("one/w1"), &[answer, answer]), (across, Some(json!("two/w0"))));
    assert_eq!(ask(Some("two/w0"), &[answer]), (names[1..].to_vec(), None));
    assert_eq!(ask(Some("one/w2"), &[None, answer]).0, names[..2], "one is away, and its rows with it");
}

#[test]
fn texts_in_lists_are_cut() {
    let long = "関".repeat(MAX_LISTED_TEXT + 1);
    let list = format!(r#"{{"workers":[{}]}}"#, LISTED.replacen(r#""x""#, &json!(long).to_string(), 1));
    let response = carry_out(&AllowAll, to_one(Command::workers()), &[Some((200, &list))]);
    let row = &body(&response)["items"][0];
    assert_eq!(row["intent"]["objective"], format!("{}…", "関".repeat(MAX_LISTED_TEXT)));
    assert_eq!(row["truncated"], true);
}

#[test]
fn intents_and_profiles_that_are_not_known_are_shown_as_they_are() {
    let odd = |text: &str| {
        text.replace(r#""kind":"task","objective":"x""#, r#""kind":"butler","objective":"tea","at":[5]"#)
            .replace(r#""intent":{"kind":"assistant"}"#, r#""intent":{"kind":"butler","purpose":"tea"}"#)
            .replace(r#"{"kind":"runtime_default"}"#, r#"{"kind":"image","value":"debian"}"#)
            .replace(r#"{"kind":"named","value":"shell"}"#, r#"{"kind":"image","value":"debian","size":1}"#)
    };
    let (intent, profile) =
        (json!({"kind": "butler", "purpose": "tea"}), json!({"kind": "image", "value": "debian"}));
    let list = format!(r#"{{"workers":[{}]}}"#, odd(LISTED));
    let listed = body(&carry_out(&AllowAll, to_one(Command::workers()), &[Some((200, &list))]));
    let command = to_one(Command::Worker("W".parse().unwrap()));
    let single = body(&carry_out(&AllowAll, command, &[Some((200, &odd(DETAIL)))]));
    for worker in [&listed["items"][0], &single["worker"]] {
        assert_eq!((&worker["intent"], &worker["profile"]), (&intent, &profile));
        let view: crate::browser_api::WorkerView = serde_json::from_value(worker.clone()).unwrap();
        assert_eq!(serde_json::to_value(view).unwrap(), *worker, "a client reads them, too");
    }
    assert_eq!(listed["diagnostics"], json!([]));
}

#[test]
fn one_odd_row_costs_that_row() {
    let odd = [
        LISTED.replace(r#""kind":"task""#, r#""kind":7"#),
        LISTED.replace(r#""transcript_len":4"#, r#""transcript_len":"many""#),
        "null".to_owned(),
    ];
    let half = LISTED.replacen(r#""x""#, r#""cut \ud83d""#, 1);
    let list = format!(r#"{{"workers":[{},{half},{LISTED}]}}"#, odd.join(","));
    let response = carry_out(&AllowAll, to_one(Command::workers()), &[Some((200, &list))]);
    let body = body(&response);
    let objectives: Vec<_> = body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["intent"]["objective"].as_str().unwrap())
        .collect();
    assert_eq!(objectives, ["cut \u{fffd}", "x"]);
    let expected = json!([{"code": "malformed_response", "severity": "warning", "runtime_id": "one",
        "message": "the runtime lists 3 more that cannot be understood"}]);
    assert_eq!(body["diagnostics"], expected);
}
