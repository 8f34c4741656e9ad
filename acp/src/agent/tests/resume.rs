use serde_json::{Value, json};

use super::super::*;
use super::bench::Bench;

fn resuming(capabilities: Value) -> Bench {
    let config = AgentConfig { resume: Some("s".into()), starts_before: 1, ..AgentConfig::new("/repo") };
    let mut bench = Bench::new(config);
    bench.take_written();
    bench.initialized(json!({ "protocolVersion": 1, "agentCapabilities": capabilities }));
    bench
}

#[test]
fn what_a_loaded_session_repeats_is_not_told() {
    let mut bench = resuming(json!({ "loadSession": true }));
    let params = json!({ "sessionId": "s", "cwd": "/repo", "mcpServers": [] });
    assert_eq!(bench.take_written(), [json!({ "id": 2, "method": "session/load", "params": params })]);
    let replay = |bench: &mut Bench| {
        let content = json!({ "type": "text", "text": "go" });
        bench.update(json!({ "sessionUpdate": "user_message_chunk", "content": content }));
        bench.text("as I said");
        bench.update(json!({ "sessionUpdate": "tool_call", "toolCallId": "t", "title": "Build" }));
    };
    replay(&mut bench);
    bench.update(json!({ "sessionUpdate": "available_commands_update", "availableCommands": [] }));
    bench.result(2, json!(null));
    // Some go on with it after the answer.
    replay(&mut bench);
    assert_eq!(
        bench.take_told(),
        [
            r#"acp.commands {"availableCommands":[],"sessionUpdate":"available_commands_update"}"#,
            "started s true None",
        ]
    );
    bench.prompt("on").unwrap();
    bench.text("new");
    bench.asks_permission(7);
    assert_eq!(
        bench.take_told(),
        [
            "status running",
            "text new",
            "said assistant new",
            "status waiting",
            "request r2-1 Write a file [yes no]",
        ]
    );
}

#[test]
fn a_session_is_resumed_without_a_replay_where_it_can_be() {
    let mut bench = resuming(json!({ "loadSession": true, "sessionCapabilities": { "resume": {} } }));
    assert_eq!(bench.take_written()[0]["method"], "session/resume");
    bench.result(2, json!({ "sessionId": "another" }));
    assert_eq!(bench.take_told(), ["started s true None"]);
}

#[test]
fn an_agent_that_cannot_load_is_not_started() {
    for capabilities in [json!({}), json!(null), json!({ "sessionCapabilities": { "resume": null } })] {
        let bench = resuming(capabilities);
        assert_eq!(bench.end, Some(AgentEnd::NotStarted(StartError::CannotResume)));
    }
    let mut bench = resuming(json!({ "loadSession": true }));
    bench.error(2, -32002, "no such session");
    assert!(matches!(bench.end, Some(AgentEnd::NotStarted(StartError::Refused { .. }))));
}
