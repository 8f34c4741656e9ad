use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::*;
use crate::event::{Item, RunResult};

/// Where a test's time begins.
#[expect(clippy::disallowed_methods, reason = "nothing depends on when that is")]
pub(super) fn epoch() -> Instant {
    Instant::now()
}

/// A machine, what it wrote and what it told.
pub(super) struct Bench {
    pub(super) now: Instant,
    pub(super) agent: Agent,
    written: Vec<Value>,
    told: Vec<AgentEvent>,
    pub(super) wait: Option<(Option<Instant>, AgentWait)>,
    pub(super) end: Option<AgentEnd>,
    pub(super) input_closed: bool,
    /// Whether what is to be written is.
    pub(super) reads: bool,
}

impl Bench {
    pub(super) fn new(config: AgentConfig) -> Self {
        let now = epoch();
        let mut bench = Self {
            now,
            agent: Agent::new(now, config),
            written: Vec::new(),
            told: Vec::new(),
            wait: None,
            end: None,
            input_closed: false,
            reads: true,
        };
        bench.settle();
        bench
    }

    /// With an open session.
    pub(super) fn open() -> Self {
        Self::open_with(AgentConfig::new("/repo"))
    }

    pub(super) fn open_with(config: AgentConfig) -> Self {
        let mut bench = Self::new(config);
        bench.initialized(json!({ "protocolVersion": 1 }));
        bench.result(2, json!({ "sessionId": "s" }));
        assert_eq!(bench.wait, Some((None, AgentWait::Prompt)));
        bench.take_written();
        bench.take_told();
        bench
    }

    /// With a turn under way, that of the request 3.
    pub(super) fn in_turn() -> Self {
        let mut bench = Self::open();
        bench.prompt("go").unwrap();
        bench.take_written();
        bench.take_told();
        bench
    }

    pub(super) fn initialized(&mut self, result: Value) {
        self.result(1, result);
    }

    pub(super) fn settle(&mut self) {
        loop {
            match self.agent.poll(self.now) {
                AgentOutput::Write(line) => {
                    let line = line.strip_suffix(b"\n").unwrap();
                    assert!(!line.contains(&b'\n'));
                    self.written.push(serde_json::from_slice(line).unwrap());
                    if self.reads {
                        self.agent.handle(AgentInput::Written);
                    }
                }
                AgentOutput::CloseInput => {
                    assert!(!self.input_closed);
                    self.input_closed = true;
                }
                AgentOutput::Event(event) => self.told.push(event),
                AgentOutput::Wait { until, why } => {
                    assert!(until.is_none_or(|until| until > self.now), "{why:?}");
                    return self.wait = Some((until, why));
                }
                AgentOutput::Ended(end) => {
                    self.wait = None;
                    return self.end = Some(end);
                }
            }
        }
    }

    pub(super) fn output(&mut self, bytes: &[u8]) {
        self.agent.handle(AgentInput::Output(bytes));
        self.settle();
    }

    pub(super) fn line(&mut self, line: &str) {
        self.output(format!("{line}\n").as_bytes());
    }

    pub(super) fn says(&mut self, mut message: Value) {
        message["jsonrpc"] = "2.0".into();
        self.line(&message.to_string());
    }

    pub(super) fn result(&mut self, id: u64, result: Value) {
        self.says(json!({ "id": id, "result": result }));
    }

    pub(super) fn error(&mut self, id: u64, code: i64, message: &str) {
        self.says(json!({ "id": id, "error": { "code": code, "message": message } }));
    }

    pub(super) fn stops(&mut self, id: u64, reason: &str) {
        self.result(id, json!({ "stopReason": reason }));
    }

    pub(super) fn update(&mut self, update: Value) {
        self.says(json!({ "method": "session/update", "params": { "sessionId": "s", "update": update } }));
    }

    pub(super) fn text(&mut self, text: &str) {
        let content = json!({ "type": "text", "text": text });
        self.update(json!({ "sessionUpdate": "agent_message_chunk", "content": content }));
    }

    pub(super) fn asks_permission(&mut self, id: u64) {
        self.says(json!({ "id": id, "method": "session/request_permission", "params": {
            "sessionId": "s",
            "toolCall": { "toolCallId": "t", "title": "Write a file", "rawInput": { "path": "a" } },
            "options": [
                { "optionId": "yes", "name": "Allow", "kind": "allow_once" },
                { "optionId": "no", "name": "Reject", "kind": "reject_once" },
            ],
        } }));
    }

    pub(super) fn prompt(&mut self, text: &str) -> Result<(), PromptError> {
        let result = self.agent.prompt(text.to_owned());
        self.settle();
        result
    }

    pub(super) fn answer(&mut self, request: &str, option: Option<&str>) -> Result<Answered, AnswerError> {
        let result = self.agent.answer(request, option);
        self.settle();
        result
    }

    pub(super) fn interrupt(&mut self) {
        self.agent.interrupt();
        self.settle();
    }

    pub(super) fn stop(&mut self) {
        self.agent.stop();
        self.settle();
    }

    pub(super) fn output_ends(&mut self) {
        self.agent.handle(AgentInput::OutputEnded);
        self.settle();
    }

    pub(super) fn passes(&mut self, time: Duration) {
        self.now += time;
        self.settle();
    }

    /// What was written since this was last asked, less what JSON-RPC always says.
    pub(super) fn take_written(&mut self) -> Vec<Value> {
        let written = std::mem::take(&mut self.written);
        let bare = written.into_iter().map(|mut message| {
            assert_eq!(message.as_object_mut().unwrap().remove("jsonrpc"), Some("2.0".into()));
            message
        });
        bare.collect()
    }

    /// What was told since this was last asked, in words.
    pub(super) fn take_told(&mut self) -> Vec<String> {
        self.told.drain(..).map(|event| shown(&event)).collect()
    }
}

fn shown(event: &AgentEvent) -> String {
    match event {
        AgentEvent::Started(started) => {
            format!("started {} {} {:?}", started.session_id, started.resumable, started.agent)
        }
        AgentEvent::Status(status) => format!("status {}", status.activity()),
        AgentEvent::TextDelta(text) => format!("text {text}"),
        AgentEvent::ThinkingDelta(text) => format!("thinking {text}"),
        AgentEvent::Said(said) => {
            format!("said {}{} {}", said.speaker.role(), if said.cont { "…" } else { "" }, said.text)
        }
        AgentEvent::ToolCallStart { id, name } => format!("tool {id} {name}"),
        AgentEvent::ToolResult(result) => {
            let mark = if result.is_error { " !" } else { "" };
            format!("result {}{mark} {} {:?}", result.id, result.summary, result.output)
        }
        AgentEvent::RunEnd(RunResult::Finished) => "finished".into(),
        AgentEvent::RunEnd(RunResult::LimitReached) => "limit reached".into(),
        AgentEvent::Error { code, message } => format!("error {code:?} {message}"),
        AgentEvent::Stray { text, cont } => format!("stray{} {text}", if *cont { "…" } else { "" }),
        AgentEvent::Item(Item { kind, update }) => format!("{} {}", kind.as_str(), update.get()),
        AgentEvent::RequestOpened(request) => {
            let options: Vec<&str> = request.options.iter().map(|option| option.option_id.as_str()).collect();
            format!("request {} {} [{}]", request.request_id, request.title, options.join(" "))
        }
        AgentEvent::RequestResolved(resolved) => {
            let option = resolved.option_id.as_deref().unwrap_or("-");
            format!("resolved {} {option} {}", resolved.request_id, resolved.reason.as_str())
        }
    }
}
