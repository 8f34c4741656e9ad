use std::time::Duration;

use serde_json::{Value, json};

use super::super::*;
use super::bench::Bench;
use crate::error::StartStep;

fn config() -> AgentConfig {
    AgentConfig::new("/repo")
}

fn not_started(bench: &Bench) -> StartError {
    match &bench.end {
        Some(AgentEnd::NotStarted(error)) => error.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_session_is_opened_without_files_and_terminals_of_ours() {
    let server = json!({ "name": "files", "command": "/bin/files", "args": [], "env": [] });
    let mut bench = Bench::new(AgentConfig { mcp_servers: vec![server.clone()], ..config() });
    let written = bench.take_written();
    assert_eq!(written[0]["method"], "initialize");
    assert_eq!(written[0]["params"]["protocolVersion"], 1);
    let capabilities = &written[0]["params"]["clientCapabilities"];
    assert_eq!(capabilities["fs"], json!({ "readTextFile": false, "writeTextFile": false }));
    assert_eq!(capabilities["terminal"], false);
    bench.initialized(json!({
        "protocolVersion": 1,
        "agentCapabilities": { "loadSession": true },
        "agentInfo": { "name": "scribe", "version": "2.1" },
    }));
    let params = json!({ "cwd": "/repo", "mcpServers": [server] });
    assert_eq!(bench.take_written(), [json!({ "id": 2, "method": "session/new", "params": params })]);
    assert!(!bench.agent.is_started());
    bench.result(2, json!({ "sessionId": "s1", "modes": { "currentModeId": "ask", "availableModes": [] } }));
    assert_eq!(
        bench.take_told(),
        [r#"started s1 true Some("scribe 2.1")"#, r#"acp.mode {"availableModes":[],"currentModeId":"ask"}"#,]
    );
    assert!(bench.agent.is_started() && bench.end.is_none());
}

#[test]
fn prompts_wait_for_the_session() {
    let mut bench = Bench::new(config());
    bench.prompt("one").unwrap();
    bench.prompt("two").unwrap();
    assert_eq!(bench.agent.queued_prompts(), 2);
    bench.initialized(json!({ "protocolVersion": 1 }));
    bench.take_written();
    bench.result(2, json!({ "sessionId": "s" }));
    let prompt = |id: u64, text: &str| {
        let prompt = [json!({ "type": "text", "text": text })];
        json!({ "id": id, "method": "session/prompt", "params": { "sessionId": "s", "prompt": prompt } })
    };
    assert_eq!(bench.take_written(), [prompt(3, "one")]);
    bench.stops(3, "end_turn");
    assert_eq!(bench.take_written(), [prompt(4, "two")]);
    assert_eq!(
        bench.take_told(),
        ["started s false None", "status running", "finished", "status idle", "status running"]
    );
}

#[test]
fn an_agent_that_says_nothing_in_time_is_not_started() {
    let mut bench = Bench::new(AgentConfig { start_timeout: Duration::from_secs(5), ..config() });
    assert_eq!(bench.wait, Some((Some(bench.now + Duration::from_secs(5)), AgentWait::Start)));
    bench.passes(Duration::from_secs(4));
    bench.initialized(json!({ "protocolVersion": 1 }));
    assert_eq!(bench.end, None);
    bench.passes(Duration::from_secs(1));
    let expected = StartError::TimedOut { step: StartStep::NewSession, after: Duration::from_secs(5) };
    assert_eq!(not_started(&bench), expected);
    assert_eq!(bench.prompt("late"), Err(PromptError::Ended));
}

#[test]
fn another_version_or_none_is_not_started() {
    for (answer, expected) in [
        (json!({ "protocolVersion": 2 }), StartError::UnsupportedVersion { version: "2".into() }),
        (json!({ "protocolVersion": "1" }), StartError::UnsupportedVersion { version: "\"1\"".into() }),
        (json!({}), StartError::Malformed { step: StartStep::Initialize }),
        (json!(null), StartError::Malformed { step: StartStep::Initialize }),
    ] {
        let mut bench = Bench::new(config());
        bench.initialized(answer);
        assert_eq!(not_started(&bench), expected);
    }
}

#[test]
fn an_agent_that_refuses_or_dies_is_not_started() {
    let mut bench = Bench::new(config());
    bench.error(1, -32603, "no key");
    let refused = StartError::Refused { step: StartStep::Initialize, message: "no key".into() };
    assert_eq!(not_started(&bench), refused);

    let mut bench = Bench::new(config());
    bench.initialized(json!({ "protocolVersion": 1 }));
    bench.result(2, json!({ "sessionId": "" }));
    assert_eq!(not_started(&bench), StartError::Malformed { step: StartStep::NewSession });

    let mut bench = Bench::new(config());
    bench.line("Error: cannot find module");
    bench.output_ends();
    assert_eq!(bench.take_told(), ["stray Error: cannot find module"]);
    assert_eq!(not_started(&bench), StartError::Exited);

    let mut bench = Bench::new(config());
    bench.stop();
    assert!(bench.input_closed && bench.end.is_none());
    bench.output_ends();
    assert_eq!(not_started(&bench), StartError::Stopped);
}

const METHODS: &str = r#"[{"id":"web","name":"Log in"},{"id":"key","name":"Key","type":"env_var"},{"id":7}]"#;

fn with_methods(config: AgentConfig, methods: &str) -> Bench {
    let mut bench = Bench::new(config);
    let methods: Value = serde_json::from_str(methods).unwrap();
    bench.initialized(json!({ "protocolVersion": 1, "authMethods": methods }));
    bench
}

#[test]
fn a_login_that_needs_a_person_is_not_started() {
    let mut bench = with_methods(config(), r#"[{"id":"web","name":"Log in"},{"id":"sso"}]"#);
    bench.error(2, -32000, "Authentication required");
    let methods = vec!["Log in".into(), "sso".into()];
    assert_eq!(not_started(&bench), StartError::LoginRequired { methods });
}

#[test]
fn a_method_that_needs_no_person_is_tried_once() {
    let mut bench = with_methods(config(), METHODS);
    bench.take_written();
    bench.error(2, -32000, "Authentication required");
    let authenticate = json!({ "id": 3, "method": "authenticate", "params": { "methodId": "key" } });
    assert_eq!(bench.take_written(), [authenticate]);
    bench.result(3, json!({}));
    assert_eq!(bench.take_written()[0]["method"], "session/new");
    bench.error(4, -32000, "Authentication required");
    let methods = vec!["Log in".into(), "Key".into()];
    assert_eq!(not_started(&bench), StartError::LoginRequired { methods });
}

#[test]
fn the_method_of_the_profile_comes_first() {
    let wanted = |method: &str| AgentConfig { auth_method: Some(method.into()), ..config() };
    let mut bench = with_methods(wanted("web"), METHODS);
    assert_eq!(bench.take_written()[1]["params"], json!({ "methodId": "web" }));
    bench.result(2, json!(null));
    assert_eq!(bench.take_written()[0]["method"], "session/new");

    let known = vec!["web".into(), "key".into()];
    let unknown = StartError::UnknownAuthMethod { method: "x".into(), known };
    assert_eq!(not_started(&with_methods(wanted("x"), METHODS)), unknown);
}

/// What is asked after a session that was opened with this answer.
fn settings(config: AgentConfig, mut answer: Value) -> (Bench, Vec<Value>) {
    let mut bench = Bench::new(config);
    bench.initialized(json!({ "protocolVersion": 1 }));
    bench.take_written();
    answer["sessionId"] = "s".into();
    bench.result(2, answer);
    let mut asked = Vec::new();
    let mut id = 3;
    loop {
        let written = bench.take_written();
        if written.is_empty() {
            return (bench, asked);
        }
        for mut message in written {
            message.as_object_mut().unwrap().remove("id");
            asked.push(message);
        }
        bench.result(id, json!({}));
        id += 1;
    }
}

#[test]
fn mode_and_model_are_set_by_options_or_by_their_own_methods() {
    let config = || AgentConfig { mode: Some("plan".into()), model: Some("big".into()), ..config() };
    let by_methods = json!({
        "modes": { "currentModeId": "ask", "availableModes": [{ "id": "ask" }, { "id": "plan" }] },
        "models": { "currentModelId": "small", "availableModels": [{ "modelId": "small" }, { "modelId": "big" }] },
    });
    let (bench, asked) = settings(config(), by_methods);
    assert_eq!(
        asked,
        [
            json!({ "method": "session/set_mode", "params": { "sessionId": "s", "modeId": "plan" } }),
            json!({ "method": "session/set_model", "params": { "sessionId": "s", "modelId": "big" } }),
        ]
    );
    assert!(bench.agent.is_started());

    let by_options = json!({ "configOptions": [
        { "id": "m", "category": "mode", "currentValue": "plan", "options": [{ "value": "plan" }] },
        { "id": "model", "currentValue": "small", "options": [
            { "group": "g", "options": [{ "value": "small" }, { "value": "big" }] },
        ] },
    ] });
    let (mut bench, asked) = settings(config(), by_options);
    let params = json!({ "sessionId": "s", "configId": "model", "value": "big" });
    // The mode is set already.
    assert_eq!(asked, [json!({ "method": "session/set_config_option", "params": params })]);
    assert!(bench.take_told().iter().any(|told| told.starts_with("acp.options {\"configOptions\":[")));
}

#[test]
fn a_mode_or_model_that_is_not_there_is_not_started() {
    let modes = json!({ "modes": { "availableModes": [{ "id": "ask" }] } });
    let (bench, _) = settings(AgentConfig { mode: Some("plan".into()), ..config() }, modes);
    let known = vec!["ask".into()];
    assert_eq!(not_started(&bench), StartError::UnknownMode { mode: "plan".into(), known });

    let model = || AgentConfig { model: Some("big".into()), ..config() };
    let unknown = |known| StartError::UnknownModel { model: "big".into(), known };
    let options = json!({ "configOptions": [{ "id": "model", "options": [{ "value": "small" }] }] });
    assert_eq!(not_started(&settings(model(), options).0), unknown(vec!["small".into()]));
    assert_eq!(not_started(&settings(model(), json!({})).0), unknown(vec![]));
}

#[test]
fn questions_before_the_session_are_not_for_persons() {
    let mut bench = Bench::new(config());
    bench.take_written();
    bench.asks_permission(7);
    let cancelled = json!({ "id": 7, "result": { "outcome": { "outcome": "cancelled" } } });
    assert_eq!(bench.take_written(), [cancelled]);
    assert!(bench.take_told().is_empty());
}
