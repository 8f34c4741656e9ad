use serde_json::{Value, json};

use super::super::*;
use super::bench::Bench;
use crate::event::ToolResult;
use crate::limits::{
    MAX_DELTA, MAX_ITEM_TEXT, MAX_LINE, MAX_PROMPT, MAX_RAW, MAX_STRAY, MAX_SUMMARY, MAX_TOOL_OUTPUT,
    MAX_TOOLS,
};

/// Feeds bytes as a pipe does, and counts what is told.
fn pour(bench: &mut Bench, bytes: &[u8]) -> usize {
    let mut told = 0;
    for piece in bytes.chunks(64 << 10) {
        bench.output(piece);
        told += bench.take_told().len();
    }
    told
}

#[test]
fn a_message_that_is_too_long_ends_the_agent() {
    let mut bench = Bench::in_turn();
    let mut line = br#"{"jsonrpc":"2.0","id":3,"result":{"stopReason":"end_turn","x":""#.to_vec();
    line.resize(MAX_LINE + (1 << 20), b'x');
    pour(&mut bench, &line);
    assert_eq!(bench.end, Some(AgentEnd::Failed(AgentFailure::LineTooLong)));
}

#[test]
fn an_update_that_is_too_long_costs_itself() {
    let mut bench = Bench::in_turn();
    let mut line = br#"{"jsonrpc":"2.0","method":"session/update","params":{"x":""#.to_vec();
    line.resize(2 * MAX_LINE, b'x');
    line.extend_from_slice(b"\"}}\n");
    assert_eq!(pour(&mut bench, &line), 1);
    bench.stops(3, "end_turn");
    assert_eq!(bench.take_told(), ["finished", "status idle"]);
}

#[test]
fn a_long_line_that_is_no_message_is_pieces() {
    let mut bench = Bench::in_turn();
    let line = vec![b'x'; 100 * MAX_STRAY];
    assert_eq!(pour(&mut bench, &line), 99);
    bench.line("");
    assert_eq!(bench.take_told(), [format!("stray… {}", "x".repeat(MAX_STRAY))]);
}

#[test]
fn an_agent_that_does_not_read_is_given_up() {
    let mut bench = Bench::in_turn();
    bench.reads = false;
    let line = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\"}\n".repeat(1000);
    for _ in 0..1000 {
        bench.output(line.as_bytes());
        if bench.end.is_some() {
            return assert_eq!(bench.end, Some(AgentEnd::Failed(AgentFailure::NotReading)));
        }
    }
    panic!("it was never given up");
}

#[test]
fn the_longest_prompt_fits_whatever_json_makes_of_it() {
    let mut bench = Bench::open();
    bench.reads = false;
    bench.prompt(&"\u{1}".repeat(MAX_PROMPT)).unwrap();
    assert_eq!((bench.end.clone(), bench.agent.status()), (None, Status::Running));
}

#[test]
fn long_texts_are_fragments_and_pieces() {
    let mut bench = Bench::in_turn();
    let text = "関".repeat(MAX_ITEM_TEXT / 2);
    bench.text(&text);
    bench.stops(3, "end_turn");
    let (mut fragments, mut items) = (String::new(), String::new());
    for told in bench.take_told() {
        if let Some(fragment) = told.strip_prefix("text ") {
            assert!(fragment.len() <= MAX_DELTA);
            fragments.push_str(fragment);
        } else if let Some(item) = told.strip_prefix("said assistant") {
            let item = item.trim_start_matches('…').trim_start();
            assert!(item.len() <= MAX_ITEM_TEXT);
            items.push_str(item);
        }
    }
    assert!(fragments == text && items == text);
}

#[test]
fn updates_are_passed_on_up_to_a_size() {
    let mut bench = Bench::in_turn();
    let large = "x".repeat(MAX_RAW);
    bench.update(json!({ "sessionUpdate": "plan", "entries": [{ "content": large }], "note": "kept" }));
    let told = bench.take_told();
    let update: Value = serde_json::from_str(told[0].strip_prefix("acp.plan ").unwrap()).unwrap();
    assert_eq!(update["note"], "kept");
    assert!(update["entries"]["omitted_bytes"].as_u64().unwrap() > MAX_RAW as u64);
}

#[test]
fn outputs_of_tools_are_cut() {
    let mut bench = Bench::in_turn();
    let text = "y".repeat(2 * MAX_TOOL_OUTPUT);
    let update = json!({
        "sessionUpdate": "tool_call_update", "toolCallId": "t", "status": "completed",
        "content": [{ "type": "content", "content": { "type": "text", "text": text } }],
    });
    let params = json!({ "sessionId": "s", "update": update });
    let line = json!({ "jsonrpc": "2.0", "method": "session/update", "params": params });
    bench.agent.handle(AgentInput::Output(format!("{line}\n").as_bytes()));
    let AgentOutput::Event(AgentEvent::ToolCallStart { .. }) = bench.agent.poll(bench.now) else { panic!() };
    let AgentOutput::Event(AgentEvent::ToolResult(ToolResult { output: Some(output), summary, .. })) =
        bench.agent.poll(bench.now)
    else {
        panic!()
    };
    assert!(output.len() <= MAX_TOOL_OUTPUT && output.ends_with(" more bytes"), "{}", output.len());
    assert!(summary.len() <= MAX_SUMMARY);
}

#[test]
fn tool_calls_are_forgotten_oldest_first() {
    let mut bench = Bench::in_turn();
    for n in 0..=MAX_TOOLS {
        bench.update(json!({ "sessionUpdate": "tool_call", "toolCallId": n.to_string(), "title": "t" }));
    }
    bench.take_told();
    bench.interrupt();
    bench.stops(3, "cancelled");
    let told = bench.take_told();
    assert_eq!(told.iter().filter(|told| told.starts_with("result ")).count(), MAX_TOOLS);
    assert!(!told.contains(&"result 0 ! cancelled None".to_owned()));
}
