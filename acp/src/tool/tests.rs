use serde_json::{Value, json};

use super::*;

/// What becomes of updates of one tool call, in words.
fn told(updates: &[Value]) -> Vec<String> {
    let mut tools = Tools::default();
    let mut told = Vec::new();
    for update in updates {
        let mut update = update.clone();
        update["sessionUpdate"] = "tool_call_update".into();
        if update.get("toolCallId").is_none() {
            update["toolCallId"] = "t".into();
        }
        let raw = raw::from_json(update.to_string());
        for event in tools.update(&read(Some(&raw)).unwrap(), &raw) {
            told.push(match event {
                AgentEvent::ToolCallStart { name, .. } => format!("start {name}"),
                AgentEvent::ToolResult(result) => {
                    let mark = if result.is_error { "!" } else { "" };
                    format!("{mark}{}|{}", result.summary, result.output.unwrap_or_else(|| "-".into()))
                }
                AgentEvent::Item(item) => item.kind.as_str().to_owned(),
                other => panic!("{other:?}"),
            });
        }
    }
    told
}

fn text(text: &str) -> Value {
    json!({ "type": "content", "content": { "type": "text", "text": text } })
}

#[test]
fn a_result_is_what_the_agent_says_it_is() {
    for (update, expected) in [
        (json!({ "status": "completed" }), "done|-"),
        (json!({ "status": "failed" }), "!failed|-"),
        (json!({ "status": "completed", "content": [text("a"), text("b")] }), "a …|a\nb"),
        (json!({ "status": "failed", "rawOutput": "no such file" }), "!no such file|no such file"),
        (json!({ "status": "completed", "rawOutput": { "ok": true } }), "{\"ok\":true}|{\"ok\":true}"),
        (json!({ "status": "completed", "rawOutput": {} }), "done|-"),
        (json!({ "status": "completed", "content": "odd", "rawOutput": null }), "done|-"),
        (json!({ "status": "completed", "content": [7, text("a")] }), "a|a"),
    ] {
        let told = told(&[json!({ "title": "Read" }), update.clone()]);
        assert_eq!((told[0].as_str(), told.last().unwrap().as_str()), ("start Read", expected), "{update}");
    }
}

#[test]
fn an_update_may_come_first_and_may_be_all_there_is() {
    assert_eq!(told(&[json!({ "status": "completed" })]), ["start t", "done|-"]);
    assert_eq!(told(&[json!({ "title": "", "status": "in_progress" })]), ["start t", "acp.tool_call"]);
    assert_eq!(told(&[json!({ "title": "a", "status": "pending", "content": [] })]), ["start a"]);
    assert_eq!(told(&[json!({ "title": "a", "kind": "edit" })]), ["start a", "acp.tool_call"]);
    assert_eq!(told(&[json!({ "toolCallId": "" }), json!({ "toolCallId": 7 })]), ["acp.other", "acp.other"]);
}

#[test]
fn a_tool_call_has_one_result() {
    let completed = json!({ "status": "completed" });
    assert_eq!(told(&[completed.clone(), completed]), ["start t", "done|-", "acp.tool_call"]);
}

#[test]
fn a_call_that_begins_anew_is_another() {
    let mut tools = Tools::default();
    let mut starts = 0;
    for (kind, status) in [
        ("tool_call", "pending"),
        ("tool_call_update", "completed"),
        ("tool_call", "completed"),
        ("tool_call_update", "in_progress"),
        ("tool_call", "pending"),
        ("tool_call", "pending"),
    ] {
        let update = json!({ "sessionUpdate": kind, "toolCallId": "t", "title": "a", "status": status });
        let raw = raw::from_json(update.to_string());
        let events = tools.update(&read(Some(&raw)).unwrap(), &raw);
        starts += events.iter().filter(|event| matches!(event, AgentEvent::ToolCallStart { .. })).count();
    }
    assert_eq!((starts, tools.0.len()), (2, 1));
    tools.forget_finished();
    assert_eq!(tools.0.len(), 1);
}

#[test]
fn what_was_given_before_counts() {
    let begun = json!({ "status": "in_progress", "content": [text("a")] });
    let told = told(&[begun, json!({ "status": "completed", "rawOutput": "b" })]);
    assert_eq!(told.last().unwrap(), "a|a");
}

#[test]
fn a_diff_is_passed_on_beside_the_result() {
    let diff = json!({ "type": "diff", "path": "/a", "oldText": null, "newText": "x" });
    assert_eq!(
        told(&[json!({ "status": "completed", "content": [diff] })]),
        ["start t", "acp.tool_call", "changes /a|changes /a"]
    );
}
