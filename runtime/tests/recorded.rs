//! Our runtime against what a deployed one was recorded saying.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use bytes::Bytes;
use http::{Request, Response, header};
use sekisho_runtime::{Runtime, RuntimeConfig, Simulation, WorkerProfile};
use serde_json::{Value, json};

const RECORDED: &str = include_str!("../../core/src/runtime_api/recorded-exchanges.json");

const TOKEN: &str = "recorded-token";

/// A runtime whose workers take everything and say nothing, as the recorded ones did.
fn runtime() -> Runtime {
    // Workers are named as those of deployed runtimes are.
    let simulation = Simulation { incarnation: 1, now: std::time::SystemTime::now };
    let config = RuntimeConfig {
        display_name: Some("Remote A".into()),
        token: TOKEN.parse().ok(),
        profiles: vec![WorkerProfile::lines("careful", ["sh", "-c", "exec cat >/dev/null"])],
        // This program is a test's, which is no helper.
        launcher: Some(env!("CARGO_BIN_EXE_sekisho-runtime").into()),
        simulation: Some(simulation),
        ..RuntimeConfig::new("remote-a".parse().unwrap())
    };
    Runtime::start(config).unwrap()
}

fn send(runtime: &Runtime, method: &str, path: &str, authorized: bool, body: &str) -> Response<Bytes> {
    let mut request = Request::builder().method(method).uri(path);
    if authorized {
        request = request.header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
    }
    runtime.handle(&request.body(Bytes::copy_from_slice(body.as_bytes())).unwrap())
}

/// The recorded body as ours has to be.
fn adapted(name: &str, recorded: &str) -> Value {
    let mut body: Value = serde_json::from_str(recorded).unwrap_or_default();
    match name {
        "runtime_summary" => body["runtime"]["diagnostic_count"] = json!(0),
        "create_task" => body["worker"]["profile"]["value"] = json!("builtin:echo"),
        // A worker of ours runs until its process is gone.
        "stop_with_reason" | "stop_again" | "cancel_with_reason" => body["ack"]["status"] = json!("running"),
        _ => {}
    }
    body
}

/// Takes out of it what ours has beyond v1, and tells how much that was.
fn take_additions(value: &mut Value) -> usize {
    const ADDITIONS: [&str; 6] = ["features", "incarnation", "created_at", "started_at", "activity", "at"];
    match value {
        Value::Object(object) => {
            let before = object.len();
            object.retain(|key, _| !ADDITIONS.contains(&key.as_str()));
            before - object.len() + object.values_mut().map(take_additions).sum::<usize>()
        }
        Value::Array(values) => values.iter_mut().map(take_additions).sum(),
        _ => 0,
    }
}

#[test]
fn the_recorded_exchanges_happen_again() {
    let runtime = runtime();
    for _ in 0..3 {
        let body = r#"{"intent":{"kind":"assistant"},"profile":{"kind":"runtime_default"}}"#;
        assert_eq!(send(&runtime, "POST", "/v1/workers", true, body).status(), 200);
    }
    let exchanges: Vec<Value> = serde_json::from_str(RECORDED).unwrap();
    assert_eq!(exchanges.len(), 24);
    for exchange in &exchanges {
        let (request, recorded) = (&exchange["request"], &exchange["response"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = text(&exchange["name"]);
        if name == "transcript_default" {
            // Its second item was said outside of the recording.
            let body = r#"{"kind":"system","content":"be brief — 日本語 ok"}"#;
            assert_eq!(send(&runtime, "POST", "/v1/workers/worker-00000001/input", true, body).status(), 200);
        }
        if name == "input_empty" {
            // Deployed runtimes refuse an empty content with 400. A worker of ours that has a process takes it as an
            // empty line, such as the answer to a prompt that offers a default (docs/runtime-api.md).
            continue;
        }
        let body = text(&request["body"]).replace("builtin:coder", "builtin:echo");
        let authorized = request["authorized"].as_bool().unwrap();
        let response = send(&runtime, &text(&request["method"]), &text(&request["path"]), authorized, &body);

        if name == "input_after_stop" {
            // What the state forbids is a conflict, and no fault of the request's.
            assert_eq!(response.status(), 409);
            continue;
        }
        assert_eq!(response.status().as_u16(), recorded["status"].as_u64().unwrap() as u16, "{name}");
        for header in ["content-type", "allow"] {
            let ours = response.headers().get(header).map(|value| value.to_str().unwrap());
            assert_eq!(ours, recorded["headers"][header].as_str(), "{name}: {header}");
        }
        let mut ours: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        let theirs = adapted(&name, &text(&recorded["body"]));
        match theirs["error"]["code"].as_str() {
            // How a parser puts it is its own.
            Some("invalid_json" | "invalid_query") => {
                assert_eq!(ours["error"]["code"], theirs["error"]["code"], "{name}");
                assert!(ours["error"]["message"].is_string(), "{name}");
            }
            _ => {
                let additions = take_additions(&mut ours);
                if name == "cancel_with_reason" {
                    // The end of the worker that was stopped may have come before.
                    ours["ack"]["event_id"] = theirs["ack"]["event_id"].clone();
                }
                assert_eq!(ours, theirs, "{name}");
                let recorded: Value = serde_json::from_str(&text(&recorded["body"])).unwrap_or_default();
                if additions == 0 && theirs == recorded {
                    assert_eq!(response.body(), text(&exchange["response"]["body"]).as_bytes(), "{name}");
                }
            }
        }
    }
    runtime.shutdown();
}
