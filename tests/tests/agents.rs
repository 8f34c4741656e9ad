//! The machine of the Agent Client Protocol against agents that are processes: our own, and two that others wrote.
//!
//! Those of others are run where `SEKISHO_ACP_AGENTS` names the folder that `docs/agents.md` says how to make.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use sekisho_acp::{
    AgentConfig, AgentEnd, AgentEvent, AgentFailure, Answered, ErrorCode, ItemKind, Permissions, PromptError,
    RunResult, StartError, StartStep, Status,
};
use sekisho_tests::agent_process::AgentProcess;

fn scripted_with(arguments: &[&str], config: AgentConfig) -> AgentProcess {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scripted-agent"));
    AgentProcess::start(command.args(arguments), config)
}

fn scripted(arguments: &[&str]) -> AgentProcess {
    scripted_with(arguments, AgentConfig::new("/"))
}

fn is_idle(event: &AgentEvent) -> bool {
    matches!(event, AgentEvent::Status(Status::Idle))
}

fn opens(event: &AgentEvent) -> bool {
    matches!(event, AgentEvent::RequestOpened(_))
}

/// What the turn of a prompt tells, to its end.
fn turn(agent: &mut AgentProcess, prompt: &str) -> Vec<AgentEvent> {
    let from = agent.told.len();
    agent.agent.prompt(prompt.into()).unwrap();
    agent.settle();
    let end = agent.wait_for(from, is_idle);
    agent.told[from..=end].to_vec()
}

/// The text of a turn, and how it ended.
fn text_and_end(told: &[AgentEvent]) -> (String, String) {
    let text = told.iter().filter_map(|event| match event {
        AgentEvent::TextDelta(text) => Some(text.as_str()),
        _ => None,
    });
    let end = told.iter().rev().find_map(|event| match event {
        AgentEvent::RunEnd(result) => Some(format!("{result:?}")),
        AgentEvent::Error { code, message } => Some(format!("{code:?}: {message}")),
        _ => None,
    });
    (text.collect(), end.unwrap())
}

fn items(told: &[AgentEvent]) -> Vec<ItemKind> {
    told.iter()
        .filter_map(|event| match event {
            AgentEvent::Item(item) => Some(item.kind),
            _ => None,
        })
        .collect()
}

#[test]
fn a_scripted_turn_has_all_that_a_turn_can_have() {
    let mut agent = scripted(&["--banner", "scripted 1.0"]);
    let told = turn(&mut agent, "think Hello plan mode options title usage image news read fail files done");
    assert_eq!(text_and_end(&told), ("Hello no files done ".into(), "Finished".into()));
    assert!(told.iter().any(|event| matches!(event, AgentEvent::ThinkingDelta(_))));
    let results: Vec<(&str, bool)> = told
        .iter()
        .filter_map(|event| match event {
            AgentEvent::ToolResult(result) => Some((result.summary.as_str(), result.is_error)),
            _ => None,
        })
        .collect();
    assert_eq!(results, [("# README …", false), ("no such file", true)]);
    let kinds = items(&told);
    for kind in [
        ItemKind::Plan,
        ItemKind::Mode,
        ItemKind::Options,
        ItemKind::Info,
        ItemKind::Usage,
        ItemKind::Content,
        ItemKind::Other,
        ItemKind::ToolCall,
    ] {
        assert!(kinds.contains(&kind), "{kind:?}");
    }
    assert!(agent.told.iter().any(|event| matches!(event, AgentEvent::Stray { .. })));
    for (prompt, end) in [
        ("limit", "LimitReached"),
        ("refuse", "ProviderError: the agent refused to go on"),
        ("error", "ProviderError: the script says so"),
        ("emoji log html broken", "Finished"),
    ] {
        assert_eq!(text_and_end(&turn(&mut agent, prompt)).1, end, "{prompt}");
    }
}

#[test]
fn a_permission_waits_and_is_answered() {
    let mut agent = scripted(&[]);
    for (option, summary) in [("allow", "wrote 12 bytes"), ("reject", "not allowed")] {
        let from = agent.told.len();
        agent.agent.prompt("I will write write done".into()).unwrap();
        agent.settle();
        let opened = agent.wait_for(from, opens);
        let request = agent.agent.open_requests().next().unwrap().request_id.clone();
        assert_eq!(agent.agent.answer(&request, Some(option)), Ok(Answered::First));
        agent.settle();
        agent.wait_for(opened + 1, opens);
        agent.agent.interrupt();
        agent.settle();
        let end = agent.wait_for(from, is_idle);
        let told = &agent.told[from..=end];
        assert_eq!(text_and_end(told).1, "Internal: the turn was cancelled");
        let first = told.iter().find_map(|event| match event {
            AgentEvent::ToolResult(result) => Some(result.summary.as_str()),
            _ => None,
        });
        assert_eq!(first, Some(summary));
    }
    let told = turn(&mut agent, "withdraw form");
    assert_eq!(text_and_end(&told), ("no color ".into(), "Finished".into()));
}

#[test]
fn a_choice_is_answered() {
    let mut agent = scripted(&[]);
    agent.agent.prompt("choose".into()).unwrap();
    agent.settle();
    agent.wait_for(0, opens);
    let request = agent.agent.open_requests().next().unwrap().request_id.clone();
    assert_eq!(agent.agent.answer(&request, Some("green")), Ok(Answered::First));
    agent.settle();
    agent.wait_for(0, is_idle);
    assert_eq!(text_and_end(&agent.told), ("green, then ".into(), "Finished".into()));
}

#[test]
fn a_turn_is_interrupted_wherever_it_is() {
    let mut agent = scripted(&[]);
    for (prompt, reached) in [
        ("Hello forever", (|event| matches!(event, AgentEvent::TextDelta(_))) as fn(&AgentEvent) -> bool),
        ("write", opens),
        ("read forever", |event| matches!(event, AgentEvent::ToolCallStart { .. })),
        ("flood:100000000", |event| matches!(event, AgentEvent::TextDelta(_))),
    ] {
        let from = agent.told.len();
        agent.agent.prompt(prompt.into()).unwrap();
        agent.settle();
        agent.wait_for(from, reached);
        agent.agent.interrupt();
        agent.settle();
        let end = agent.wait_for(from, is_idle);
        assert_eq!(text_and_end(&agent.told[from..=end]).1, "Internal: the turn was cancelled", "{prompt}");
        assert_eq!(text_and_end(&turn(&mut agent, "next")), ("next ".into(), "Finished".into()));
    }
}

#[test]
fn an_agent_that_cannot_be_used_is_not_started() {
    for (arguments, expected) in [
        (&["--login"][..], StartError::LoginRequired { methods: vec!["Log in to an account".into()] }),
        (&["--protocol", "7"], StartError::UnsupportedVersion { version: "7".into() }),
    ] {
        assert_eq!(scripted(arguments).wait_for_end(), AgentEnd::NotStarted(expected));
    }
    let start_timeout = Duration::from_millis(300);
    let mut agent = scripted_with(&["--silent"], AgentConfig { start_timeout, ..AgentConfig::new("/") });
    let expected = StartError::TimedOut { step: StartStep::Initialize, after: start_timeout };
    assert_eq!(agent.wait_for_end(), AgentEnd::NotStarted(expected));
    assert_eq!(text_and_end(&turn(&mut scripted(&["--key"]), "hi")).0, "hi ");
}

#[test]
fn an_agent_that_dies_has_an_end() {
    assert_eq!(scripted(&["--short-lived"]).wait_for_end(), AgentEnd::Exited);
    for (prompt, end) in [
        ("Hello die", AgentEnd::Exited),
        ("Hello die!", AgentEnd::Exited),
        ("endless", AgentEnd::Failed(AgentFailure::LineTooLong)),
    ] {
        let mut agent = scripted(&[]);
        agent.agent.prompt(prompt.into()).unwrap();
        agent.settle();
        assert_eq!(agent.wait_for_end(), end, "{prompt}");
        assert_eq!(text_and_end(&agent.told).1, "Internal: the agent ended within the turn");
        assert_eq!(agent.agent.prompt("late".into()), Err(PromptError::Ended));
    }
    let mut agent = scripted(&[]);
    turn(&mut agent, "long:20 Hello");
    agent.agent.stop();
    agent.settle();
    assert_eq!(agent.wait_for_end(), AgentEnd::Stopped);
}

#[test]
fn sessions_are_taken_up_again() {
    let config = || AgentConfig { resume: Some("scripted-old".into()), ..AgentConfig::new("/") };
    for arguments in [&[][..], &["--resumes"]] {
        let mut agent = scripted_with(arguments, config());
        let told = turn(&mut agent, "now");
        assert_eq!(text_and_end(&told), ("now ".into(), "Finished".into()));
        assert_eq!(text_and_end(&agent.told).0, "now ");
    }
    let mut agent = scripted_with(&["--forgetful"], config());
    assert_eq!(agent.wait_for_end(), AgentEnd::NotStarted(StartError::CannotResume));
    let known = vec!["small".into(), "large".into()];
    let model = AgentConfig { model: Some("huge".into()), ..AgentConfig::new("/") };
    let mut agent = scripted_with(&["--choices"], model);
    assert_eq!(
        agent.wait_for_end(),
        AgentEnd::NotStarted(StartError::UnknownModel { model: "huge".into(), known })
    );
    let config =
        AgentConfig { mode: Some("code".into()), model: Some("large".into()), ..AgentConfig::new("/") };
    assert_eq!(text_and_end(&turn(&mut scripted_with(&["--choices"], config), "hi")).0, "hi ");
}

/// The folder with agents that others wrote, or a word that there is none.
fn foreign(file: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("SEKISHO_ACP_AGENTS").map(PathBuf::from) else {
        println!("skipped: SEKISHO_ACP_AGENTS is not set; docs/agents.md says how to make that folder");
        return None;
    };
    let path = folder.join(file);
    if !path.exists() {
        println!("skipped: there is no {file} in the folder that SEKISHO_ACP_AGENTS names");
        return None;
    }
    Some(folder)
}

#[test]
fn the_example_agent_of_the_typescript_sdk() {
    let file = "node_modules/@agentclientprotocol/sdk/dist/examples/agent.js";
    let Some(folder) = foreign(file) else { return };
    let mut command = Command::new("node");
    if Command::new("node").arg("--version").output().is_err() {
        return println!("skipped: there is no node");
    }
    let mut agent = AgentProcess::start(command.arg(folder.join(file)), AgentConfig::new("/"));
    agent.agent.prompt("hello".into()).unwrap();
    agent.settle();
    agent.wait_for(0, opens);
    let request = agent.agent.open_requests().next().unwrap().clone();
    assert_eq!(request.title, "Modifying critical configuration file");
    assert_eq!(agent.agent.answer(&request.request_id, Some("allow")), Ok(Answered::First));
    agent.settle();
    let end = agent.wait_for(0, is_idle);
    let (text, result) = text_and_end(&agent.told);
    assert!(text.starts_with("I'll help you") && text.contains("Perfect!"), "{text}");
    assert_eq!(result, "Finished");
    assert_eq!(
        agent.told.iter().filter(|event| matches!(event, AgentEvent::ToolResult(_))).count(),
        2,
        "{:#?}",
        agent.told
    );
    // Again, and interrupted within the permission.
    agent.agent.prompt("again".into()).unwrap();
    agent.settle();
    let opened = agent.wait_for(end + 1, opens);
    agent.agent.interrupt();
    agent.settle();
    agent.wait_for(opened, is_idle);
    assert!(agent.told.iter().rev().any(|event| {
        matches!(event, AgentEvent::Error { code: ErrorCode::Internal, message } if message.contains("cancelled"))
    }));
}

#[test]
fn the_echo_agent_of_the_python_sdk() {
    let file = "agent_client_protocol-0.12.1/examples/echo_agent.py";
    let python = "venv/bin/python";
    let (Some(folder), Some(_)) = (foreign(file), foreign(python)) else { return };
    let mut command = Command::new(folder.join(python));
    let config = AgentConfig { permissions: Permissions::Reject, ..AgentConfig::new("/") };
    let mut agent = AgentProcess::start(command.arg(folder.join(file)), config);
    for prompt in ["hello", "世界\n\u{1}"] {
        let told = turn(&mut agent, prompt);
        assert_eq!(text_and_end(&told), (prompt.into(), "Finished".into()));
        assert!(told.iter().any(|event| matches!(event, AgentEvent::RunEnd(RunResult::Finished))));
    }
    agent.agent.stop();
    agent.settle();
    assert_eq!(agent.wait_for_end(), AgentEnd::Stopped);
}
