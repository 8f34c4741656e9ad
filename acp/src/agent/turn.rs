//! Turns: their beginning, their end, and what ends with them.

use serde_json::json;
use serde_json::value::RawValue;

use super::{Agent, Session, State, Turn};
use crate::error::AgentEnd;
use crate::event::{AgentEvent, ErrorCode, Item, ItemKind, Resolved, ResolvedBy, RunResult, Status};
use crate::raw;
use crate::request::Open;
use crate::rpc::{self, RpcError};
use crate::schema::{PromptAnswer, read};
use crate::start::Ready;
use crate::text::cut;

impl Agent {
    /// The session is open: prompts that wait can go.
    pub(super) fn opened(&mut self, ready: Ready) {
        self.tell(AgentEvent::Started(ready.started()));
        let is_replaying = self.config.resume.is_some();
        self.state = State::Open(Session { id: ready.session_id, turn: None, is_replaying });
        if let Some(update) = ready.modes {
            self.tell(AgentEvent::Item(Item { kind: ItemKind::Mode, update }));
        }
        if let Some(options) = ready.options {
            let update = raw::from_json(format!(r#"{{"configOptions":{}}}"#, options.get()));
            self.tell(AgentEvent::Item(Item { kind: ItemKind::Options, update }));
        }
        self.next_turn();
    }

    /// Whether a prompt would be sent at once.
    pub(super) fn takes_prompt(&self) -> bool {
        matches!(&self.state, State::Open(Session { turn: None, .. })) && self.prompts.is_empty()
    }

    pub(super) fn begin_turn(&mut self, text: &str) {
        self.finish_run();
        self.tools.forget_finished();
        let State::Open(session) = &self.state else { return };
        let params = json!({ "sessionId": session.id, "prompt": [{ "type": "text", "text": text }] });
        let asked = self.ask("session/prompt", &params);
        // Writing can be what ends it.
        if let State::Open(session) = &mut self.state {
            session.turn = Some(Turn { asked, interrupted: false });
            session.is_replaying = false;
            // A question from between turns may be open: it is told again that it is what is waited for.
            self.status = Status::Running;
            self.tell(AgentEvent::Status(Status::Running));
        }
        self.update_status();
    }

    fn next_turn(&mut self) {
        if matches!(&self.state, State::Open(Session { turn: None, .. }))
            && let Some(prompt) = self.prompts.pop_front()
        {
            self.begin_turn(&prompt);
        }
    }

    /// The agent answered the prompt: the turn is over.
    pub(super) fn end_turn(&mut self, turn: &Turn, answer: Result<&RawValue, RpcError>) {
        self.finish_run();
        let open = self.requests.take_of_turn();
        self.dismiss(open, ResolvedBy::TurnEnd);
        let event = match turn.interrupted {
            // Whatever the agent calls it: clients send their next prompt at `finished`.
            true => {
                self.abandon_tools();
                failure(ErrorCode::Internal, "the turn was cancelled")
            }
            false => outcome(answer),
        };
        self.tell(event);
        self.update_status();
        self.next_turn();
    }

    /// Asks the agent to end the turn under way. What is open is to be dismissed after that.
    pub(super) fn cancel_turn(&mut self) {
        let State::Open(Session { id, turn: Some(turn), .. }) = &mut self.state else { return };
        if !std::mem::replace(&mut turn.interrupted, true) {
            let line = rpc::notification("session/cancel", &json!({ "sessionId": id }));
            self.write(line);
        }
    }

    pub(super) fn dismiss_all(&mut self, reason: ResolvedBy) {
        let open = self.requests.take_all();
        self.dismiss(open, reason);
        self.update_status();
    }

    fn dismiss(&mut self, open: Vec<Open>, reason: ResolvedBy) {
        for Open { rpc_id, question, .. } in open {
            self.reply(&rpc_id, &question.result(None));
            self.resolved(&question.request.request_id, None, reason);
        }
    }

    pub(super) fn resolved(&mut self, request_id: &str, option_id: Option<&str>, reason: ResolvedBy) {
        self.tell(AgentEvent::RequestResolved(Resolved {
            request_id: request_id.to_owned(),
            option_id: option_id.map(str::to_owned),
            reason,
        }));
    }

    fn abandon_tools(&mut self) {
        for event in self.tools.abandon() {
            self.tell(event);
        }
    }

    /// The end: of the run, of what is open, of the turn, and of the agent.
    pub(super) fn end(&mut self, end: AgentEnd) {
        let before = std::mem::replace(&mut self.state, State::Ended(end));
        self.close_input();
        self.lines.clear();
        self.finish_run();
        let open = self.requests.take_all();
        let reason = if self.stopping { ResolvedBy::Stop } else { ResolvedBy::AgentEnd };
        self.dismiss(open, reason);
        if let State::Open(Session { turn: Some(turn), .. }) = before {
            self.abandon_tools();
            self.tell(failure(
                ErrorCode::Internal,
                match (self.stopping, turn.interrupted) {
                    (true, _) => "the agent was stopped within the turn",
                    (false, true) => "the turn was cancelled, and the agent ended",
                    (false, false) => "the agent ended within the turn",
                },
            ));
        }
        if self.status != Status::Idle {
            self.status = Status::Idle;
            self.tell(AgentEvent::Status(Status::Idle));
        }
    }
}

fn failure(code: ErrorCode, message: impl Into<String>) -> AgentEvent {
    AgentEvent::Error { code, message: message.into() }
}

/// How a turn ended that was not interrupted.
fn outcome(answer: Result<&RawValue, RpcError>) -> AgentEvent {
    let answer = match answer {
        Ok(answer) => read::<PromptAnswer>(Some(answer)),
        Err(error) => return failure(ErrorCode::ProviderError, error.message),
    };
    match answer.as_ref().map(|answer| answer.stop_reason.0.as_str()) {
        Some("end_turn") => AgentEvent::RunEnd(RunResult::Finished),
        Some("max_tokens" | "max_turn_requests") => AgentEvent::RunEnd(RunResult::LimitReached),
        Some("refusal") => failure(ErrorCode::ProviderError, "the agent refused to go on"),
        Some("cancelled") => failure(ErrorCode::Internal, "the turn was cancelled"),
        Some(other) => {
            let other = cut(other, 64);
            failure(ErrorCode::ProviderError, format!("the agent ended the turn with {other:?}"))
        }
        None => failure(ErrorCode::ProviderError, "the agent ended the turn without a reason"),
    }
}
