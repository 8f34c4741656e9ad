use std::time::Duration;

use serde_json::json;

use super::super::*;
use super::bench::Bench;
use crate::limits::{FLUSH_AFTER, MAX_PROMPT, MAX_QUEUED_PROMPTS};

#[test]
fn a_turn_is_told_from_its_prompt_to_its_end() {
    let mut bench = Bench::open();
    bench.prompt("hello").unwrap();
    assert_eq!(bench.wait, Some((None, AgentWait::Turn)));
    let text = |kind: &str, text: &str| json!({ "sessionUpdate": kind, "content": { "type": "text", "text": text } });
    bench.update(text("user_message_chunk", "hello"));
    bench.update(text("agent_thought_chunk", "hm"));
    bench.text("Hel");
    bench.text("lo\n");
    bench.stops(3, "end_turn");
    assert_eq!(
        bench.take_told(),
        [
            "status running",
            "thinking hm",
            "said thinking hm",
            "text Hel",
            "text lo\n",
            "said assistant Hello\n",
            "finished",
            "status idle",
        ]
    );
    assert_eq!(bench.agent.status(), Status::Idle);
}

#[test]
fn every_reason_to_stop_has_its_event() {
    for (reason, expected) in [
        ("end_turn", "finished"),
        ("max_tokens", "limit reached"),
        ("max_turn_requests", "limit reached"),
        ("refusal", "error ProviderError the agent refused to go on"),
        ("cancelled", "error Internal the turn was cancelled"),
        ("_bored", "error ProviderError the agent ended the turn with \"_bored\""),
    ] {
        let mut bench = Bench::in_turn();
        bench.stops(3, reason);
        assert_eq!(bench.take_told(), [expected, "status idle"]);
    }
    let mut bench = Bench::in_turn();
    bench.result(3, json!({}));
    assert_eq!(bench.take_told()[0], "error ProviderError the agent ended the turn without a reason");
    let mut bench = Bench::in_turn();
    bench.error(3, -32603, "over quota");
    assert_eq!(bench.take_told(), ["error ProviderError over quota", "status idle"]);
}

#[test]
fn fragments_that_arrive_together_are_one() {
    let mut bench = Bench::in_turn();
    let line = |text: &str| {
        let content = json!({ "type": "text", "text": text });
        let update = json!({ "sessionUpdate": "agent_message_chunk", "content": content });
        let params = json!({ "sessionId": "s", "update": update });
        json!({ "jsonrpc": "2.0", "method": "session/update", "params": params }).to_string()
    };
    bench.output(format!("{}\n{}\n{}", line("a"), line("b"), line("c")).as_bytes());
    assert_eq!(bench.take_told(), ["text ab"]);
    bench.output(b"\n");
    assert_eq!(bench.take_told(), ["text c"]);
    bench.stops(3, "end_turn");
    assert_eq!(bench.take_told()[0], "said assistant abc");
}

#[test]
fn an_interrupted_turn_never_says_finished() {
    for answer in ["end_turn", "cancelled", "max_tokens"] {
        let mut bench = Bench::in_turn();
        bench.interrupt();
        bench.interrupt();
        let cancel = json!({ "method": "session/cancel", "params": { "sessionId": "s" } });
        assert_eq!(bench.take_written(), [cancel]);
        assert!(bench.take_told().is_empty(), "the agent has not ended the turn yet");
        bench.text("bye");
        bench.stops(3, answer);
        assert_eq!(
            bench.take_told(),
            ["text bye", "said assistant bye", "error Internal the turn was cancelled", "status idle"]
        );
        bench.prompt("again").unwrap();
        bench.stops(4, "end_turn");
        assert_eq!(bench.take_told(), ["status running", "finished", "status idle"]);
    }
    let mut bench = Bench::in_turn();
    bench.interrupt();
    bench.error(3, -32603, "AbortError");
    assert_eq!(bench.take_told(), ["error Internal the turn was cancelled", "status idle"]);
}

#[test]
fn an_interrupt_without_a_turn_writes_nothing() {
    let mut bench = Bench::open();
    bench.interrupt();
    assert!(bench.take_written().is_empty() && bench.take_told().is_empty());
}

#[test]
fn prompts_wait_and_are_bounded() {
    let mut bench = Bench::in_turn();
    for _ in 0..MAX_QUEUED_PROMPTS {
        bench.prompt("next").unwrap();
    }
    assert_eq!(bench.prompt("one more"), Err(PromptError::Busy));
    assert_eq!(bench.prompt(&"x".repeat(MAX_PROMPT + 1)), Err(PromptError::TooLong));
    bench.stops(3, "end_turn");
    assert_eq!(bench.take_told(), ["finished", "status idle", "status running"]);
    assert_eq!(bench.prompt("one more"), Ok(()));
    // An interrupt is for the turn under way alone.
    bench.interrupt();
    bench.stops(4, "cancelled");
    assert_eq!(bench.agent.queued_prompts(), MAX_QUEUED_PROMPTS - 1);
}

#[test]
fn tools_begin_and_end() {
    let mut bench = Bench::in_turn();
    bench.text("a");
    let begin =
        json!({ "sessionUpdate": "tool_call", "toolCallId": "t", "title": "Read", "status": "pending" });
    bench.update(begin);
    let update =
        |status: &str| json!({ "sessionUpdate": "tool_call_update", "toolCallId": "t", "status": status });
    bench.update(update("in_progress"));
    let mut completed = update("completed");
    completed["content"] = json!([{ "type": "content", "content": { "type": "text", "text": "one\ntwo" } }]);
    bench.update(completed);
    assert_eq!(
        bench.take_told(),
        [
            "text a",
            "said assistant a",
            "tool t Read",
            r#"acp.tool_call {"sessionUpdate":"tool_call_update","status":"in_progress","toolCallId":"t"}"#,
            r#"result t one … Some("one\ntwo")"#,
        ]
    );
}

#[test]
fn tools_of_a_cancelled_turn_have_a_result() {
    let mut bench = Bench::in_turn();
    bench.update(json!({ "sessionUpdate": "tool_call", "toolCallId": "t", "title": "Build" }));
    bench.interrupt();
    bench.stops(3, "cancelled");
    assert_eq!(
        bench.take_told(),
        ["tool t Build", "result t ! cancelled None", "error Internal the turn was cancelled", "status idle"]
    );
}

#[test]
fn what_v1_has_no_event_for_is_an_item() {
    let mut bench = Bench::in_turn();
    for (update, kind) in [
        (json!({ "sessionUpdate": "plan", "entries": [] }), "acp.plan"),
        (json!({ "sessionUpdate": "current_mode_update", "currentModeId": "ask" }), "acp.mode"),
        (json!({ "sessionUpdate": "available_commands_update", "availableCommands": [] }), "acp.commands"),
        (json!({ "sessionUpdate": "config_option_update", "configOptions": [] }), "acp.options"),
        (json!({ "sessionUpdate": "session_info_update", "title": "x" }), "acp.info"),
        (json!({ "sessionUpdate": "usage_update", "used": 1, "size": 2 }), "acp.usage"),
        (json!({ "sessionUpdate": "notice", "title": "x" }), "acp.other"),
        (json!({ "sessionUpdate": "agent_message_chunk", "content": { "type": "image" } }), "acp.content"),
        (json!({ "sessionUpdate": "agent_message_chunk" }), "acp.content"),
        (json!({ "sessionUpdate": "tool_call", "title": "nameless" }), "acp.other"),
        (json!({ "sessionUpdate": 7 }), "acp.other"),
        (json!(null), "acp.other"),
    ] {
        bench.update(update.clone());
        assert_eq!(bench.take_told(), [format!("{kind} {update}")]);
    }
    let params = json!({ "sessionId": "other", "update": { "sessionUpdate": "plan" } });
    bench.says(json!({ "method": "session/update", "params": params }));
    assert_eq!(bench.take_told(), [r#"acp.other {"sessionUpdate":"plan"}"#]);
    bench.says(json!({ "method": "_vendor/news", "params": { "a": 1 } }));
    assert_eq!(bench.take_told(), [r#"acp.other {"method":"_vendor/news","params":{"a":1}}"#]);
    bench.says(json!({ "method": "$/progress", "params": {} }));
    assert!(bench.take_told().is_empty());
}

#[test]
fn methods_of_files_and_terminals_are_not_there() {
    let mut bench = Bench::in_turn();
    for method in ["fs/read_text_file", "terminal/create", "_vendor/ask"] {
        bench.says(json!({ "id": "a", "method": method, "params": {} }));
        let error = json!({ "code": -32601, "message": format!("this client has no method {method}") });
        assert_eq!(bench.take_written(), [json!({ "id": "a", "error": error })]);
    }
    assert!(bench.take_told().is_empty());
}

#[test]
fn what_is_no_json_rpc_is_a_stray_line() {
    let mut bench = Bench::in_turn();
    for line in ["listening", "<html>", r#"{"level":"info"}"#, r#"{"jsonrpc":"2.0","id":3,"#, "[1]"] {
        bench.line(line);
        assert_eq!(bench.take_told(), [format!("stray {line}")]);
    }
    bench.output(b"\xFF\xFE\n");
    assert_eq!(bench.take_told(), ["stray \u{FFFD}\u{FFFD}"]);
    // Answers to what was not asked say nothing.
    bench.result(99, json!({}));
    bench.says(json!({ "id": "3", "result": { "stopReason": "end_turn" } }));
    assert!(bench.take_told().is_empty());
    bench.stops(3, "end_turn");
    assert_eq!(bench.take_told(), ["finished", "status idle"]);
}

#[test]
fn text_between_turns_is_an_item_after_a_while() {
    let mut bench = Bench::open();
    bench.text("by the");
    bench.passes(FLUSH_AFTER / 2);
    bench.text(" way");
    assert_eq!(bench.wait, Some((Some(bench.now + FLUSH_AFTER), AgentWait::Quiet)));
    bench.passes(FLUSH_AFTER - Duration::from_millis(1));
    assert_eq!(bench.take_told(), ["text by the", "text  way"]);
    bench.passes(Duration::from_millis(1));
    assert_eq!(bench.take_told(), ["said assistant by the way"]);
    assert_eq!(bench.wait, Some((None, AgentWait::Prompt)));
}

#[test]
fn an_agent_that_dies_within_a_turn_ends_the_turn() {
    let mut bench = Bench::in_turn();
    bench.prompt("next").unwrap();
    bench.update(json!({ "sessionUpdate": "tool_call", "toolCallId": "t", "title": "Build" }));
    bench.text("I will");
    bench.asks_permission(7);
    bench.take_told();
    bench.output(b"{\"jsonrpc\":\"2.0\",\"id\":3,\"resu");
    bench.output_ends();
    assert_eq!(
        bench.take_told(),
        [
            "stray {\"jsonrpc\":\"2.0\",\"id\":3,\"resu",
            "resolved r1-1 - agent_ended",
            "result t ! cancelled None",
            "error Internal the agent ended within the turn",
            "status idle",
        ]
    );
    assert_eq!(bench.end, Some(AgentEnd::Exited));
    assert_eq!(bench.prompt("late"), Err(PromptError::Ended));
    assert_eq!(bench.answer("r1-1", Some("yes")), Err(AnswerError::Gone));
}

#[test]
fn the_last_line_may_lack_its_end() {
    let mut bench = Bench::in_turn();
    bench.output(br#"{"jsonrpc":"2.0","id":3,"result":{"stopReason":"end_turn"}}"#);
    bench.output_ends();
    assert_eq!(bench.take_told(), ["finished", "status idle"]);
    assert_eq!(bench.end, Some(AgentEnd::Exited));
}

#[test]
fn stop_closes_its_input_when_all_is_written() {
    let mut bench = Bench::in_turn();
    bench.asks_permission(7);
    bench.prompt("next").unwrap();
    bench.take_told();
    bench.reads = false;
    bench.stop();
    assert_eq!(bench.take_written().len(), 1);
    assert!(!bench.input_closed);
    bench.agent.handle(AgentInput::Written);
    bench.reads = true;
    bench.settle();
    assert!(bench.input_closed);
    assert_eq!(bench.wait, Some((None, AgentWait::Exit)));
    assert_eq!(bench.prompt("late"), Err(PromptError::Ended));
    bench.stops(3, "cancelled");
    bench.output_ends();
    assert_eq!(
        bench.take_told(),
        ["resolved r1-1 - stopped", "status running", "error Internal the turn was cancelled", "status idle"]
    );
    assert_eq!(bench.end, Some(AgentEnd::Stopped));
}

#[test]
fn an_agent_that_closes_its_input_takes_no_prompt() {
    let mut bench = Bench::in_turn();
    bench.agent.handle(AgentInput::InputClosed);
    bench.settle();
    assert_eq!(bench.prompt("x"), Err(PromptError::Ended));
    bench.stops(3, "end_turn");
    assert_eq!(bench.take_told(), ["finished", "status idle"]);
}
