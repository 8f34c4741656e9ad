//! Any agent at all: what holds whatever it writes and whenever it is told what.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::*;
use super::bench::epoch;
use crate::event::{ErrorCode, RunResult};
use crate::limits::MAX_UNWRITTEN;

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    Line(String),
    Bytes(Vec<u8>),
    /// The answer to our last request.
    Result(Value),
    Prompt,
    Interrupt,
    Answer(u64, Option<usize>),
    Stop,
    OutputEnded,
    InputClosed,
    Pass(u64),
    /// Whether the agent reads from now on.
    Reads(bool),
}

fn update() -> impl Strategy<Value = Value> {
    let content = prop_oneof![
        "[a-z\\n]{0,4}".prop_map(|text| json!({ "type": "text", "text": text })),
        Just(json!({ "type": "image", "data": "x" })),
        Just(json!(7)),
    ];
    let chunk = (prop_oneof!["agent_message_chunk", "agent_thought_chunk", "user_message_chunk"], content)
        .prop_map(|(kind, content)| json!({ "sessionUpdate": kind, "content": content }));
    let status = prop_oneof!["pending", "in_progress", "completed", "failed", "odd"];
    let tool = (prop_oneof!["tool_call", "tool_call_update"], "[abc]", status).prop_map(|(kind, id, status)| {
        json!({ "sessionUpdate": kind, "toolCallId": id, "title": "t", "status": status })
    });
    prop_oneof![4 => chunk, 3 => tool, 1 => Just(json!({ "sessionUpdate": "plan", "entries": [] }))]
}

fn message() -> impl Strategy<Value = Value> {
    let options = json!([
        { "optionId": "yes", "name": "y", "kind": "allow_once" },
        { "optionId": "no", "name": "n", "kind": "reject_once" },
    ]);
    let permission = (0..4_u64).prop_map(move |id| {
        json!({ "id": id, "method": "session/request_permission", "params": { "options": options } })
    });
    prop_oneof![
        6 => update().prop_map(|update| {
            json!({ "method": "session/update", "params": { "sessionId": "s", "update": update } })
        }),
        3 => permission,
        1 => (0..4_u64).prop_map(|id| json!({ "method": "$/cancel_request", "params": { "requestId": id } })),
        1 => Just(json!({ "id": null, "method": "fs/read_text_file" })),
        1 => (0..9_u64).prop_map(|id| json!({ "id": id, "error": { "code": -1, "message": "m" } })),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let answers = prop_oneof![
        3 => Just(json!({ "protocolVersion": 1, "sessionId": "s", "stopReason": "end_turn" })),
        1 => Just(json!({ "protocolVersion": 1, "sessionId": "s", "stopReason": "cancelled" })),
    ];
    let rare = |rare: Step| {
        prop::bool::weighted(0.1).prop_map(move |is_rare| if is_rare { rare.clone() } else { Step::Prompt })
    };
    prop_oneof![
        8 => message().prop_map(|mut message| {
            message["jsonrpc"] = "2.0".into();
            Step::Line(message.to_string())
        }),
        1 => "[{}\\[\\]\":a ]{0,8}".prop_map(Step::Line),
        1 => prop::collection::vec(any::<u8>(), 0..12).prop_map(Step::Bytes),
        5 => answers.prop_map(Step::Result),
        3 => Just(Step::Prompt),
        2 => Just(Step::Interrupt),
        3 => (1..6_u64, prop::option::of(0..3_usize)).prop_map(|(n, option)| Step::Answer(n, option)),
        1 => rare(Step::Stop),
        1 => rare(Step::OutputEnded),
        1 => rare(Step::InputClosed),
        1 => (0..40_u64).prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::Reads),
    ]
}

/// What an observer knows who sees nothing but outputs.
#[derive(Default)]
struct Observer {
    /// How many of our requests were written.
    asked: u64,
    /// By the id of the agent's questions, how many are not answered.
    owed: BTreeMap<String, i64>,
    open: BTreeSet<String>,
    resolved: BTreeSet<String>,
    in_turn: bool,
    interrupted: bool,
    fragments: String,
    items: String,
    end: Option<AgentEnd>,
}

impl Observer {
    fn wrote(&mut self, line: &[u8]) {
        let message: Value = serde_json::from_slice(line).unwrap();
        match (message.get("method").and_then(Value::as_str), message.get("id")) {
            (Some(_), Some(id)) => {
                assert_eq!(id.as_u64().unwrap(), self.asked + 1);
                self.asked += 1;
            }
            (Some(method), None) => assert_eq!(method, "session/cancel"),
            (None, Some(id)) => *self.owed.entry(id.to_string()).or_default() -= 1,
            (None, None) => panic!("{message}"),
        }
    }

    fn saw(&mut self, event: &AgentEvent) {
        match event {
            AgentEvent::Status(Status::Running) if !self.in_turn => {
                self.in_turn = true;
                self.interrupted = false;
            }
            AgentEvent::RunEnd(result) => {
                assert!(self.in_turn, "a turn ended twice");
                assert!(*result == RunResult::LimitReached || !self.interrupted, "finished, and cancelled");
                self.in_turn = false;
            }
            AgentEvent::Error { code, .. } => {
                assert!(self.in_turn, "a turn ended twice");
                assert!(*code == ErrorCode::Internal || !self.interrupted);
                self.in_turn = false;
            }
            AgentEvent::RequestOpened(request) => {
                let id = request.request_id.clone();
                assert!(!self.resolved.contains(&id) && self.open.insert(id));
            }
            AgentEvent::RequestResolved(resolved) => {
                assert!(self.open.remove(&resolved.request_id));
                assert!(self.resolved.insert(resolved.request_id.clone()), "resolved twice");
            }
            AgentEvent::TextDelta(text) | AgentEvent::ThinkingDelta(text) => self.fragments.push_str(text),
            AgentEvent::Said(said) => self.items.push_str(&said.text),
            _ => {}
        }
    }
}

struct World {
    now: Instant,
    agent: Agent,
    observer: Observer,
    reads: bool,
    /// A line is being written.
    writing: bool,
}

impl World {
    fn settle(&mut self) {
        // A step tells a few things at most.
        for _ in 0..10_000 {
            match self.agent.poll(self.now) {
                AgentOutput::Write(line) => {
                    assert!(!self.writing, "one at a time");
                    self.observer.wrote(&line);
                    match self.reads {
                        true => self.agent.handle(AgentInput::Written),
                        false => self.writing = true,
                    }
                }
                AgentOutput::CloseInput => assert!(!self.writing),
                AgentOutput::Event(event) => self.observer.saw(&event),
                AgentOutput::Wait { until, .. } => {
                    assert!(until.is_none_or(|until| until > self.now), "it waits for what has come");
                    break;
                }
                AgentOutput::Ended(end) => {
                    let before = self.observer.end.replace(end.clone());
                    assert!(before.is_none_or(|before| before == end), "an end is final");
                    break;
                }
            }
        }
        assert!(self.agent.outputs.is_empty(), "it never comes to rest");
        assert!(self.agent.unwritten <= MAX_UNWRITTEN);
        let open: BTreeSet<String> =
            self.agent.open_requests().map(|request| request.request_id.clone()).collect();
        assert_eq!(open, self.observer.open);
        if self.observer.end.is_some() {
            assert!(open.is_empty() && !self.observer.in_turn);
            assert_eq!(self.observer.fragments, self.observer.items);
        } else {
            assert_eq!(self.agent.status() == Status::Paused, !open.is_empty());
        }
    }

    fn line(&mut self, line: &str) {
        // Whatever came before is a line of its own.
        self.agent.handle(AgentInput::Output(format!("\n{line}\n").as_bytes()));
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Line(line) => {
                if let Ok(message) = serde_json::from_str::<Value>(line)
                    && message["method"].is_string()
                    && let Some(id) = message.get("id")
                {
                    *self.observer.owed.entry(id.to_string()).or_default() += 1;
                }
                self.line(line);
            }
            Step::Bytes(bytes) => self.agent.handle(AgentInput::Output(bytes)),
            Step::Result(result) => {
                let message = json!({ "jsonrpc": "2.0", "id": self.observer.asked, "result": result });
                self.line(&message.to_string());
            }
            Step::Prompt => _ = self.agent.prompt("go".into()),
            Step::Interrupt => {
                self.observer.interrupted |= self.observer.in_turn;
                self.agent.interrupt();
            }
            Step::Answer(n, option) => {
                let id = format!("r1-{n}");
                let was_open = self.observer.open.contains(&id);
                let answer = option.map(|option| ["yes", "no", "maybe"][option]);
                match self.agent.answer(&id, answer) {
                    Ok(Answered::First) => assert!(was_open && answer != Some("maybe")),
                    Err(AnswerError::UnknownOption) => assert!(was_open && answer == Some("maybe")),
                    Ok(Answered::Again) | Err(AnswerError::AlreadyAnswered | AnswerError::Gone) => {
                        assert!(!was_open);
                    }
                }
            }
            Step::Stop => {
                self.observer.interrupted |= self.observer.in_turn;
                self.agent.stop();
            }
            Step::OutputEnded => self.agent.handle(AgentInput::OutputEnded),
            Step::InputClosed => self.agent.handle(AgentInput::InputClosed),
            Step::Pass(seconds) => self.now += Duration::from_secs(*seconds),
            Step::Reads(reads) => {
                self.reads = *reads;
                if *reads && std::mem::take(&mut self.writing) {
                    self.agent.handle(AgentInput::Written);
                }
            }
        }
        self.settle();
    }
}

/// Whether the agent hears all that it is told, and all that it says is heard.
fn is_heard(steps: &[Step]) -> bool {
    !steps.iter().any(|step| {
        matches!(
            step,
            Step::InputClosed | Step::Stop | Step::OutputEnded | Step::Bytes(_) | Step::Reads(false)
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_an_agent_does(starts in any::<bool>(), steps in prop::collection::vec(step(), 0..80)) {
        let now = epoch();
        let agent = Agent::new(now, AgentConfig::new("/repo"));
        let mut world = World { now, agent, observer: Observer::default(), reads: true, writing: false };
        world.settle();
        if starts {
            world.step(&Step::Result(json!({ "protocolVersion": 1 })));
            world.step(&Step::Result(json!({ "sessionId": "s" })));
            assert!(world.agent.is_started());
        }
        for step in &steps {
            world.step(step);
        }
        // Each question was answered once, or is open.
        if is_heard(&steps) && world.observer.end.is_none() {
            let owed: i64 = world.observer.owed.values().sum();
            prop_assert_eq!(owed, world.observer.open.len() as i64);
        }
        world.step(&Step::OutputEnded);
        prop_assert!(world.observer.end.is_some());
        for step in &steps {
            world.step(step);
        }
    }

    #[test]
    fn whatever_bytes_come(bytes in prop::collection::vec(any::<u8>(), 0..400), piece in 1..50_usize) {
        let now = epoch();
        let mut agent = Agent::new(now, AgentConfig::new("/repo"));
        for piece in bytes.chunks(piece) {
            agent.handle(AgentInput::Output(piece));
            while !matches!(agent.poll(now), AgentOutput::Wait { .. } | AgentOutput::Ended(_)) {}
        }
    }
}
