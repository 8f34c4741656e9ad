use serde_json::{Value, json};

use super::super::*;
use super::bench::Bench;
use crate::config::Permissions;
use crate::limits::{MAX_OPEN_REQUESTS, MAX_OPTIONS};

fn selected(id: u64, option: &str) -> Value {
    json!({ "id": id, "result": { "outcome": { "outcome": "selected", "optionId": option } } })
}

fn cancelled(id: u64) -> Value {
    json!({ "id": id, "result": { "outcome": { "outcome": "cancelled" } } })
}

#[test]
fn a_permission_waits_for_a_person() {
    let mut bench = Bench::in_turn();
    bench.asks_permission(7);
    assert_eq!(bench.take_told(), ["status waiting", "request r1-1 Write a file [yes no]"]);
    assert_eq!(bench.wait, Some((None, AgentWait::Answer)));
    let request = bench.agent.open_requests().next().unwrap();
    assert_eq!(
        serde_json::to_value(request).unwrap(),
        json!({
            "request_id": "r1-1",
            "kind": "permission",
            "title": "Write a file",
            "detail": "{\"path\":\"a\"}",
            "tool_call_id": "t",
            "options": [
                { "option_id": "yes", "name": "Allow", "kind": "allow_once" },
                { "option_id": "no", "name": "Reject", "kind": "reject_once" },
            ],
        })
    );
    assert_eq!(bench.answer("r1-1", Some("maybe")), Err(AnswerError::UnknownOption));
    assert_eq!(bench.answer("r9-9", Some("yes")), Err(AnswerError::Gone));
    assert_eq!(bench.answer("r1-1", Some("yes")), Ok(Answered::First));
    assert_eq!(bench.take_written(), [selected(7, "yes")]);
    assert_eq!(bench.take_told(), ["resolved r1-1 yes answered", "status running"]);
    assert_eq!(bench.agent.open_requests().len(), 0);
}

#[test]
fn the_first_answer_wins() {
    let mut bench = Bench::in_turn();
    bench.asks_permission(7);
    assert_eq!(bench.answer("r1-1", None), Ok(Answered::First));
    assert_eq!(bench.answer("r1-1", None), Ok(Answered::Again));
    assert_eq!(bench.answer("r1-1", Some("yes")), Err(AnswerError::AlreadyAnswered));
    assert_eq!(bench.take_written(), [cancelled(7)]);
    bench.asks_permission(8);
    assert_eq!(bench.answer("r1-2", Some("no")), Ok(Answered::First));
    assert_eq!(bench.answer("r1-2", Some("no")), Ok(Answered::Again));
    assert_eq!(bench.answer("r1-2", Some("yes")), Err(AnswerError::AlreadyAnswered));
    assert_eq!(bench.take_written(), [selected(8, "no")]);
}

#[test]
fn an_interrupt_dismisses_what_is_open_and_what_comes_after() {
    let mut bench = Bench::in_turn();
    bench.asks_permission(7);
    bench.asks_permission(8);
    bench.take_told();
    bench.interrupt();
    let cancel = json!({ "method": "session/cancel", "params": { "sessionId": "s" } });
    assert_eq!(bench.take_written(), [cancel, cancelled(7), cancelled(8)]);
    bench.asks_permission(9);
    assert_eq!(bench.take_written(), [cancelled(9)]);
    bench.stops(3, "cancelled");
    assert_eq!(
        bench.take_told(),
        [
            "resolved r1-1 - interrupted",
            "resolved r1-2 - interrupted",
            "status running",
            "error Internal the turn was cancelled",
            "status idle",
        ]
    );
    assert_eq!(bench.answer("r1-1", Some("yes")), Err(AnswerError::Gone));
    bench.prompt("next").unwrap();
    bench.asks_permission(10);
    assert_eq!(bench.agent.open_requests().next().unwrap().request_id, "r1-3");
}

#[test]
fn a_turn_takes_its_questions_with_it() {
    let mut bench = Bench::in_turn();
    bench.asks_permission(7);
    bench.take_told();
    bench.stops(3, "end_turn");
    assert_eq!(bench.take_written(), [cancelled(7)]);
    assert_eq!(bench.take_told(), ["resolved r1-1 - turn_ended", "finished", "status idle"]);
    // One that came between turns stays for as long as it takes.
    bench.asks_permission(8);
    bench.prompt("next").unwrap();
    bench.stops(4, "end_turn");
    assert_eq!(bench.agent.open_requests().len(), 1);
    assert_eq!(bench.agent.status(), Status::Paused);
    assert_eq!(bench.answer("r1-2", Some("yes")), Ok(Answered::First));
    assert_eq!(bench.agent.status(), Status::Idle);
}

#[test]
fn an_agent_may_withdraw_a_question() {
    let mut bench = Bench::in_turn();
    bench.asks_permission(7);
    bench.take_told();
    bench.says(json!({ "method": "$/cancel_request", "params": { "requestId": 8 } }));
    assert!(bench.take_written().is_empty());
    bench.says(json!({ "method": "$/cancel_request", "params": { "requestId": 7 } }));
    assert_eq!(bench.take_written()[0]["error"]["code"], -32800);
    assert_eq!(bench.take_told(), ["resolved r1-1 - withdrawn", "status running"]);
}

fn with(permissions: Permissions) -> Bench {
    let mut bench = Bench::open_with(AgentConfig { permissions, ..AgentConfig::new("/repo") });
    bench.prompt("go").unwrap();
    bench.take_told();
    bench.take_written();
    bench
}

#[test]
fn the_profile_may_answer_with_the_agents_own_option() {
    for (permissions, option) in [(Permissions::Allow, "yes"), (Permissions::Reject, "no")] {
        let mut bench = with(permissions);
        bench.asks_permission(7);
        assert_eq!(bench.take_written(), [selected(7, option)]);
        let resolved = format!("resolved r1-1 {option} profile");
        assert_eq!(bench.take_told(), ["request r1-1 Write a file [yes no]", &resolved]);
        assert_eq!(bench.answer("r1-1", Some(option)), Err(AnswerError::Gone));
    }
}

fn permission(options: &Value) -> Value {
    json!({ "id": 7, "method": "session/request_permission", "params": { "options": options } })
}

#[test]
fn a_permission_for_ever_is_never_given_by_the_profile() {
    let mut bench = with(Permissions::Allow);
    bench.says(permission(&json!([{ "optionId": "always", "name": "Always", "kind": "allow_always" }])));
    assert_eq!(bench.take_told(), ["status waiting", "request r1-1 a tool call [always]"]);
}

#[test]
fn the_title_may_be_that_of_the_tool_call() {
    let mut bench = Bench::in_turn();
    bench.update(json!({ "sessionUpdate": "tool_call", "toolCallId": "t", "title": "Build" }));
    bench.take_told();
    let params = json!({ "toolCall": { "toolCallId": "t" }, "options": [{ "optionId": "a" }] });
    bench.says(json!({ "id": 7, "method": "session/request_permission", "params": params }));
    assert_eq!(bench.take_told()[1], "request r1-1 Build [a]");
}

#[test]
fn questions_that_cannot_be_shown_are_refused() {
    let too_many: Vec<Value> = (0..=MAX_OPTIONS).map(|n| json!({ "optionId": n.to_string() })).collect();
    for options in [
        json!(null),
        json!([]),
        json!([{ "name": "nameless" }]),
        json!([{ "optionId": "" }]),
        json!([{ "optionId": "a" }, { "optionId": "a" }]),
        json!([{ "optionId": "x".repeat(257) }]),
        json!(too_many),
    ] {
        let mut bench = Bench::in_turn();
        bench.says(permission(&options));
        assert_eq!(bench.take_written()[0]["error"]["code"], -32602, "{options}");
        assert!(bench.take_told().is_empty());
    }
}

#[test]
fn open_requests_are_bounded() {
    let mut bench = Bench::in_turn();
    for id in 0..MAX_OPEN_REQUESTS as u64 {
        bench.asks_permission(id);
    }
    assert!(bench.take_written().is_empty());
    bench.asks_permission(99);
    assert_eq!(bench.take_written()[0]["error"]["code"], -32603);
    assert_eq!(bench.agent.open_requests().len(), MAX_OPEN_REQUESTS);
}

fn elicitation(schema: &Value) -> Value {
    json!({ "id": 7, "method": "elicitation/create", "params": {
        "sessionId": "s", "mode": "form", "message": "Which one?", "requestedSchema": schema,
    } })
}

#[test]
fn an_elicitation_may_be_a_choice() {
    let plain = json!({ "type": "string", "enum": ["red", "blue"] });
    let titled = json!({ "type": "string", "title": "Color", "oneOf": [
        { "const": "red", "title": "Red" }, { "const": "blue", "title": "Blue" },
    ] });
    for shape in [plain, titled] {
        let schema = json!({ "type": "object", "properties": { "color": shape }, "required": ["color"] });
        let mut bench = Bench::in_turn();
        bench.says(elicitation(&schema));
        assert_eq!(bench.take_told()[1], "request r1-1 Which one? [red blue decline]");
        assert_eq!(bench.answer("r1-1", Some("blue")), Ok(Answered::First));
        let result = json!({ "action": "accept", "content": { "color": "blue" } });
        assert_eq!(bench.take_written(), [json!({ "id": 7, "result": result })]);
    }
    let schema = json!({ "properties": { "sure": { "type": "boolean" } } });
    for (option, result) in [
        (Some("true"), json!({ "action": "accept", "content": { "sure": true } })),
        (Some("decline"), json!({ "action": "decline" })),
        (None, json!({ "action": "cancel" })),
    ] {
        let mut bench = Bench::in_turn();
        bench.says(elicitation(&schema));
        assert_eq!(bench.answer("r1-1", option), Ok(Answered::First));
        assert_eq!(bench.take_written(), [json!({ "id": 7, "result": result })]);
    }
}

#[test]
fn an_elicitation_that_is_no_choice_is_refused() {
    let string = json!({ "type": "string" });
    for schema in [
        json!(null),
        json!({}),
        json!({ "properties": {} }),
        json!({ "properties": { "name": string } }),
        json!({ "properties": { "a": { "type": "boolean" }, "b": { "type": "boolean" } } }),
        json!({ "properties": { "a": { "type": "boolean" } }, "required": ["b"] }),
        json!({ "properties": { "a": { "type": "string", "enum": [1] } } }),
        json!({ "properties": { "a": { "type": "string", "enum": ["x", "x"] } } }),
    ] {
        let mut bench = Bench::in_turn();
        bench.says(elicitation(&schema));
        assert_eq!(bench.take_written()[0]["error"]["code"], -32602, "{schema}");
    }
    let mut bench = Bench::in_turn();
    let params = json!({ "mode": "url", "message": "go" });
    bench.says(json!({ "id": 7, "method": "elicitation/create", "params": params }));
    assert_eq!(bench.take_written()[0]["error"]["code"], -32602);
}
