use serde_json::{Value, json};

use super::*;

#[test]
fn diagnostics_have_their_codes_and_repeat_little() {
    let long = "関".repeat(1000);
    let worker_id: WorkerId = "w".parse().unwrap();
    for (diagnostic, code) in [
        (Diagnostic::CursorMalformed { cursor: &long }, "runtime.cursor_malformed"),
        (
            Diagnostic::CursorUnknown { cursor: "c", worker_id: &worker_id },
            "runtime.cursor_unknown_or_expired",
        ),
        (Diagnostic::WorkerNotFound, "runtime.worker_not_found"),
        (Diagnostic::CursorExpired, "runtime.cursor_expired"),
        (Diagnostic::Unavailable, "runtime.unavailable"),
        (Diagnostic::ObservationOnly, "runtime.observation_only"),
    ] {
        let frame: Value = serde_json::from_slice(&diagnostic.into_frame()).unwrap();
        assert_eq!((&frame["kind"], &frame["diagnostic"]["code"]), (&json!("diagnostic"), &json!(code)));
        let message = frame["diagnostic"]["message"].as_str().unwrap();
        assert!((1..200).contains(&message.chars().count()), "{message}");
    }
}
