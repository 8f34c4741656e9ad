use sekisho_acp::{Resolved, ResolvedBy, Said, Status};
use serde_json::{Value, json, value::RawValue};

use super::*;

fn item(kind: ItemKind, update: &Value) -> AgentEvent {
    AgentEvent::Item(Item { kind, update: RawValue::from_string(update.to_string()).unwrap() })
}

fn question() -> sekisho_acp::Request {
    let option = |option_id: &str, kind: &str| sekisho_acp::RequestOption {
        option_id: option_id.into(),
        name: option_id.into(),
        kind: kind.into(),
    };
    sekisho_acp::Request {
        request_id: "r1-1".into(),
        kind: sekisho_acp::RequestKind::Permission,
        title: "Write".into(),
        detail: None,
        tool_call_id: Some("t".into()),
        options: vec![option("yes", "allow_once"), option("no", "reject_once")],
    }
}

#[test]
fn events_of_agents_have_the_shapes_of_the_table() {
    let result = |output: Option<&str>| sekisho_acp::ToolResult {
        id: "t".into(),
        summary: "done".into(),
        output: output.map(str::to_owned),
        is_error: false,
    };
    let resolved = |option_id: Option<&str>, reason| Resolved {
        request_id: "r1-1".into(),
        option_id: option_id.map(str::to_owned),
        reason,
    };
    for (event, expected) in [
        (AgentEvent::Status(Status::Paused), json!({ "event": "status", "data": { "status": "paused" } })),
        (AgentEvent::TextDelta("a".into()), json!({ "event": "text_delta", "data": { "text": "a" } })),
        (
            AgentEvent::ThinkingDelta("a".into()),
            json!({ "event": "thinking_delta", "data": { "text": "a" } }),
        ),
        (
            AgentEvent::ToolCallStart { id: "t".into(), name: "Read".into() },
            json!({ "event": "tool_call_start", "data": { "id": "t", "name": "Read" } }),
        ),
        (
            AgentEvent::ToolResult(result(None)),
            json!({ "event": "tool_result", "data": { "id": "t", "summary": "done", "is_error": false } }),
        ),
        (
            AgentEvent::ToolResult(result(Some("x"))),
            json!({ "event": "tool_result", "data": { "id": "t", "summary": "done", "output": "x", "is_error": false } }),
        ),
        (
            AgentEvent::RunEnd(sekisho_acp::RunResult::LimitReached),
            json!({ "event": "run_end", "data": { "result": "limit_reached" } }),
        ),
        (
            AgentEvent::Error { code: sekisho_acp::ErrorCode::Internal, message: "m".into() },
            json!({ "event": "error", "data": { "code": "internal", "message": "m" } }),
        ),
        (
            AgentEvent::Stray { text: "x".into(), cont: false },
            json!({ "event": "system_item", "data": { "item": { "kind": "stderr", "text": "x" } } }),
        ),
        (
            item(ItemKind::ToolCall, &json!({ "kind": "edit" })),
            json!({ "event": "system_item", "data": { "item": { "kind": "acp.tool_call", "update": { "kind": "edit" } } } }),
        ),
        (
            AgentEvent::RequestOpened(question()),
            json!({ "event": "system_item", "data": { "item": { "kind": "request", "request": {
                "request_id": "r1-1",
                "kind": "permission",
                "title": "Write",
                "tool_call_id": "t",
                "options": [
                    { "option_id": "yes", "name": "yes", "kind": "allow_once" },
                    { "option_id": "no", "name": "no", "kind": "reject_once" },
                ],
                "opened_at": "1970-01-01T00:00:00.007Z",
            } } } }),
        ),
        (
            AgentEvent::RequestResolved(resolved(Some("yes"), ResolvedBy::Answer)),
            json!({ "event": "system_item", "data": { "item": {
                "kind": "request_resolved", "request_id": "r1-1", "option_id": "yes", "dismissed": false,
                "reason": "answered",
            } } }),
        ),
        (
            AgentEvent::RequestResolved(resolved(None, ResolvedBy::Interrupt)),
            json!({ "event": "system_item", "data": { "item": {
                "kind": "request_resolved", "request_id": "r1-1", "dismissed": true, "reason": "interrupted",
            } } }),
        ),
    ] {
        assert!(is_told(&event));
        let event = super::event(event, Timestamp::from_millis(7)).unwrap();
        assert_eq!(serde_json::to_value(&event).unwrap(), expected);
        assert_eq!(serde_json::from_value::<Event>(expected).unwrap(), event);
    }
    let said = AgentEvent::Said(Said { speaker: Speaker::Assistant, text: "a".into(), cont: false });
    assert!(!is_told(&said) && super::event(said, Timestamp::from_millis(7)).is_none());
}

#[test]
fn every_kind_of_item_has_its_name() {
    for kind in [
        ItemKind::Content,
        ItemKind::ToolCall,
        ItemKind::Plan,
        ItemKind::Mode,
        ItemKind::Commands,
        ItemKind::Options,
        ItemKind::Info,
        ItemKind::Usage,
        ItemKind::Other,
    ] {
        let AgentEvent::Item(update) = item(kind, &json!({})) else { unreachable!() };
        assert_eq!(serde_json::to_value(item_of(&update)).unwrap()["kind"], kind.as_str());
    }
}

#[test]
fn a_state_is_that_of_its_place() {
    let mut state = AgentState::default();
    state.note(3, &AgentEvent::Status(Status::Running));
    state.note(5, &item(ItemKind::Plan, &json!({ "n": 1 })));
    state.note(6, &AgentEvent::Status(Status::Idle));
    state.note(8, &item(ItemKind::Plan, &json!({ "n": 2 })));
    state.note(9, &item(ItemKind::ToolCall, &json!({})));
    for (place, status) in
        [(2, Activity::Idle), (3, Activity::Running), (5, Activity::Running), (6, Activity::Idle)]
    {
        assert_eq!(state.status_at(place), status);
    }
    assert!(state.items_at(7).is_empty(), "the plan of that place is not known any more");
    assert_eq!(state.items_at(9), [SystemItem::AcpPlan { update: json!({ "n": 2 }) }]);
}

#[test]
fn what_is_being_said_is_known_until_it_is_an_item() {
    let mut state = AgentState::default();
    state.note(1, &AgentEvent::TextDelta("Hel".into()));
    state.note(2, &AgentEvent::TextDelta("lo".into()));
    assert_eq!(state.run(), Some((Role::Assistant, "Hello")));
    state.note(3, &AgentEvent::ThinkingDelta("hm".into()));
    assert_eq!(state.run(), Some((Role::Thinking, "hm")));
    state.note(4, &AgentEvent::TextDelta("関".repeat(MAX_RUN)));
    assert!(state.run().is_some_and(|(_, text)| text.len() <= MAX_RUN || text.len() == 3 * MAX_RUN));
    state.note(5, &AgentEvent::TextDelta("x".into()));
    assert!(state.run().is_some_and(|(_, text)| text.len() <= MAX_RUN && text.ends_with('x')));
    let said = AgentEvent::Said(Said { speaker: Speaker::Assistant, text: "a".into(), cont: false });
    state.note(6, &said);
    assert_eq!(state.run(), None);
}

#[test]
fn answers_are_remembered_with_their_events() {
    let mut state = AgentState::default();
    for n in 0..=MAX_RESOLVED {
        let resolved =
            Resolved { request_id: format!("r1-{n}"), option_id: None, reason: ResolvedBy::Answer };
        state.note(n as u64, &AgentEvent::RequestResolved(resolved));
    }
    assert_eq!(state.resolved_by("r1-0"), None);
    assert_eq!(state.resolved_by("r1-7"), Some(7));
}
