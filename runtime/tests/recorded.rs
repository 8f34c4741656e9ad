//! Our runtime against what a deployed one was recorded saying.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use bytes::Bytes;
use http::{Request, Response, header};
use sekisho_runtime::{ProcessProfile, Runtime, RuntimeConfig};
use serde_json::{Value, json};

const RECORDED: &str = include_str!("../../core/src/runtime_api/recorded-exchanges.json");

const TOKEN: &str = "recorded-token";

/// A runtime whose workers take everything and say nothing, as the recorded ones did.
fn runtime() -> Runtime {
    let command = ["sh", "-c", "exec cat >/dev/null"].map(String::from).to_vec();
    let config = RuntimeConfig {
        display_name: Some("Remote A".into()),
        token: TOKEN.parse().ok(),
        profiles: vec![ProcessProfile { name: "careful".into(), command }],
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
        _ => {}
    }
    body
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
        let body = text(&request["body"]).replace("builtin:coder", "builtin:echo");
        let authorized = request["authorized"].as_bool().unwrap();
        let response = send(&runtime, &text(&request["method"]), &text(&request["path"]), authorized, &body);

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
                if name == "runtime_summary" {
                    let summary = ours["runtime"].as_object_mut().unwrap();
                    assert_eq!(summary.remove("features"), Some(json!(["idempotency"])));
                    assert!(summary.remove("incarnation").is_some());
                }
                assert_eq!(ours, theirs, "{name}");
                if name != "runtime_summary" && name != "create_task" {
                    assert_eq!(response.body(), text(&recorded["body"]).as_bytes(), "{name}");
                }
            }
        }
    }
    runtime.shutdown();
}
