use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sekisho_acp::limits::{MAX_DELTA, MAX_ITEM_TEXT, MAX_RAW, MAX_STRAY, MAX_TOOL_OUTPUT};
use sekisho_acp::{
    Agent, AgentConfig, AgentEnd, AgentEvent, AgentInput, AgentOutput, Answered, ErrorCode, Permissions,
    RunResult, Status,
};
use serde_json::Value;

use super::epoch;

/// How many outputs one step may have at most: the largest input is a few thousand bytes, and each of its lines tells
/// a few things.
const MAX_OUTPUTS: usize = 100_000;

/// The input is what an agent writes, in parts that a byte of 0 divides: the first byte of a part says what it is. Most
/// are output; the rest are orders. Whatever it is, what is told is consistent, bounded and readable.
pub fn agent_lines(data: &[u8]) {
    let (first, parts) = data.split_first().unwrap_or((&0, &[]));
    let mut world = World::new(*first);
    for part in parts.split(|byte| *byte == 0) {
        let Some((what, bytes)) = part.split_first() else { continue };
        world.step(*what, bytes);
    }
    world.handle(AgentInput::OutputEnded);
    assert!(world.end.is_some());
    assert!(world.open.is_empty() && !world.in_turn);
    assert_eq!(world.fragments, world.items, "the transcript is not what was said");
}

struct World {
    now: Instant,
    agent: Agent,
    end: Option<AgentEnd>,
    open: BTreeSet<String>,
    in_turn: bool,
    interrupted: bool,
    fragments: String,
    items: String,
}

impl World {
    /// With an open session, unless the bit says otherwise.
    fn new(flags: u8) -> Self {
        let permissions =
            [Permissions::Ask, Permissions::Allow, Permissions::Reject][usize::from(flags >> 1) % 3];
        let resume = (flags & 0x10 != 0).then(|| "s".to_owned());
        let now = epoch();
        let config = AgentConfig { permissions, resume, ..AgentConfig::new("/") };
        let mut world = Self {
            now,
            agent: Agent::new(now, config),
            end: None,
            open: BTreeSet::new(),
            in_turn: false,
            interrupted: false,
            fragments: String::new(),
            items: String::new(),
        };
        world.settle();
        if flags & 1 == 0 {
            let capabilities = r#"{"loadSession":true}"#;
            for (id, result) in [
                (1, format!(r#"{{"protocolVersion":1,"agentCapabilities":{capabilities}}}"#)),
                (2, r#"{"sessionId":"s"}"#.to_owned()),
            ] {
                let line = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}\n");
                world.handle(AgentInput::Output(line.as_bytes()));
            }
            assert!(world.agent.is_started());
        }
        world
    }

    fn step(&mut self, what: u8, bytes: &[u8]) {
        match what {
            b'p' => _ = self.agent.prompt(String::from_utf8_lossy(bytes).into_owned()),
            b'i' => {
                self.interrupted |= self.in_turn;
                self.agent.interrupt();
            }
            b'a' => self.answer(bytes),
            b's' => {
                self.interrupted |= self.in_turn;
                self.agent.stop();
            }
            b'c' => self.agent.handle(AgentInput::InputClosed),
            b't' => self.now += Duration::from_millis(500),
            _ => self.agent.handle(AgentInput::Output(bytes)),
        }
        self.settle();
    }

    fn answer(&mut self, bytes: &[u8]) {
        let index = usize::from(bytes.first().copied().unwrap_or_default());
        let Some(request) = self.agent.open_requests().next().cloned() else { return };
        // One past the options dismisses it.
        let option = request.options.get(index % (request.options.len() + 1));
        let option = option.map(|option| option.option_id.as_str());
        assert_eq!(self.agent.answer(&request.request_id, option), Ok(Answered::First));
        assert_eq!(self.agent.answer(&request.request_id, option), Ok(Answered::Again));
    }

    fn handle(&mut self, input: AgentInput<'_>) {
        self.agent.handle(input);
        self.settle();
    }

    fn settle(&mut self) {
        for _ in 0..MAX_OUTPUTS {
            match self.agent.poll(self.now) {
                AgentOutput::Write(line) => {
                    let text = line.strip_suffix(b"\n").unwrap();
                    let message: Value = serde_json::from_slice(text).unwrap();
                    assert_eq!(message["jsonrpc"], "2.0");
                    self.agent.handle(AgentInput::Written);
                }
                AgentOutput::CloseInput => {}
                AgentOutput::Event(event) => self.saw(&event),
                AgentOutput::Wait { until, .. } => {
                    assert!(until.is_none_or(|until| until > self.now));
                    assert_eq!(self.agent.status() == Status::Paused, !self.open.is_empty());
                    return;
                }
                AgentOutput::Ended(end) => {
                    assert!(self.end.replace(end.clone()).is_none_or(|before| before == end));
                    return;
                }
            }
        }
        panic!("it never comes to rest");
    }

    fn saw(&mut self, event: &AgentEvent) {
        match event {
            AgentEvent::Status(Status::Running) if !self.in_turn => {
                (self.in_turn, self.interrupted) = (true, false);
            }
            AgentEvent::TextDelta(text) | AgentEvent::ThinkingDelta(text) => {
                assert!((1..=MAX_DELTA).contains(&text.len()));
                self.fragments.push_str(text);
            }
            AgentEvent::Said(said) => {
                assert!((1..=MAX_ITEM_TEXT).contains(&said.text.len()));
                self.items.push_str(&said.text);
            }
            AgentEvent::RunEnd(result) => {
                assert!(self.in_turn && !(self.interrupted && *result == RunResult::Finished));
                self.in_turn = false;
            }
            AgentEvent::Error { code, .. } => {
                assert!(self.in_turn && !(self.interrupted && *code != ErrorCode::Internal));
                self.in_turn = false;
            }
            AgentEvent::ToolResult(result) => {
                assert!(result.output.as_ref().is_none_or(|output| output.len() <= MAX_TOOL_OUTPUT));
            }
            AgentEvent::Stray { text, .. } => assert!(text.len() <= MAX_STRAY && !text.contains('\n')),
            AgentEvent::Item(item) => {
                assert!(item.update.get().len() <= MAX_RAW);
                // What is passed on can be read by those who are strict.
                serde_json::from_str::<Value>(item.update.get()).unwrap();
            }
            AgentEvent::RequestOpened(request) => {
                assert!(!request.options.is_empty() && self.open.insert(request.request_id.clone()));
            }
            AgentEvent::RequestResolved(resolved) => assert!(self.open.remove(&resolved.request_id)),
            _ => {}
        }
    }
}
