use sekisho_core::runtime_api::EndReason;

use super::*;

#[test]
fn events_have_the_shapes_of_the_table() {
    let snapshot = Event::Snapshot(Box::new(Snapshot {
        entries: Vec::new(),
        greeting: Greeting::of(&"worker-00000001".parse().unwrap()),
        status: Activity::Idle,
        requests: Vec::new(),
        items: Vec::new(),
    }));
    for (event, json) in [
        // As recorded from a deployed runtime.
        (
            snapshot,
            r#"{"event":"snapshot","data":{"entries":[],"greeting":{"worker_name":"worker-00000001","cwd":"","provider":"worker-runtime","model":"worker-runtime","scope_summary":"runtime worker observation","tools":[],"context_window":0,"context_tokens":0},"status":"idle"}}"#,
        ),
        (
            Event::user_message("hi".into()),
            r#"{"event":"user_message","data":{"segments":[{"kind":"text","content":"hi"}]}}"#,
        ),
        (Event::Status { status: Activity::Idle }, r#"{"event":"status","data":{"status":"idle"}}"#),
        (Event::Status { status: Activity::Running }, r#"{"event":"status","data":{"status":"running"}}"#),
        (Event::Status { status: Activity::Paused }, r#"{"event":"status","data":{"status":"paused"}}"#),
        (Event::TextDelta { text: "関".into() }, r#"{"event":"text_delta","data":{"text":"関"}}"#),
        (
            Event::stderr("oh".into()),
            r#"{"event":"system_item","data":{"item":{"kind":"stderr","text":"oh"}}}"#,
        ),
        (
            Event::ended(WorkerEnd {
                reason: EndReason::Exited,
                exit_code: Some(3),
                signal: None,
                message: None,
            }),
            r#"{"event":"system_item","data":{"item":{"kind":"ended","reason":"exited","exit_code":3}}}"#,
        ),
        (
            Event::RunEnd { result: RunResult::Finished },
            r#"{"event":"run_end","data":{"result":"finished"}}"#,
        ),
        (
            Event::failure(ErrorCode::ProviderError, "exit status 3"),
            r#"{"event":"error","data":{"code":"provider_error","message":"exit status 3"}}"#,
        ),
        (
            Event::failure(ErrorCode::Internal, "m"),
            r#"{"event":"error","data":{"code":"internal","message":"m"}}"#,
        ),
    ] {
        assert_eq!(serde_json::to_string(&event).unwrap(), json);
        assert_eq!(serde_json::from_str::<Event>(json).unwrap(), event);
    }
}
