//! What the agent's lines say.

use std::time::Instant;

use serde_json::value::RawValue;

use super::{Agent, Session, State};
use crate::error::AgentFailure;
use crate::event::{AgentEvent, Item, ItemKind, ResolvedBy, Speaker};
use crate::limits::{FLUSH_AFTER, MAX_LINE, MAX_STRAY};
use crate::line::Line;
use crate::raw;
use crate::request::{self, Question};
use crate::rpc::{self, Message, RpcError, RpcId};
use crate::schema::{Block, CancelRequest, SessionUpdate, Update, read};
use crate::text::{Text, beginning, cut};

impl Agent {
    pub(super) fn line(&mut self, now: Instant, line: Line) {
        match line {
            Line::Message(line) => {
                let text = String::from_utf8_lossy(&line);
                match rpc::read(&text) {
                    Some(message) => self.message(now, message),
                    None => self.stray(text.trim_end_matches('\r'), false),
                }
            }
            Line::Stray { text, cont } => self.stray(&String::from_utf8_lossy(&text), cont),
            Line::TooLong { head } => match rpc::notification_of_head(&head) {
                Some(method) => {
                    let method = serde_json::to_string(&cut(&method, 64)).unwrap_or_default();
                    let note = format!(r#"{{"method":{method},"omitted_bytes_over":{MAX_LINE}}}"#);
                    self.item(ItemKind::Other, raw::from_json(note));
                }
                None => self.fail(AgentFailure::LineTooLong),
            },
        }
    }

    /// A line that is no message, in pieces: replacing what is not UTF-8 can make it longer.
    fn stray(&mut self, mut line: &str, mut cont: bool) {
        loop {
            let text = beginning(line, MAX_STRAY);
            self.tell(AgentEvent::Stray { text: text.to_owned(), cont });
            line = &line[text.len()..];
            cont = true;
            if line.is_empty() {
                return;
            }
        }
    }

    fn message(&mut self, now: Instant, message: Message<'_>) {
        match message {
            Message::Response { id, result } => self.response(id, result),
            Message::Request { id, method, params } => self.request(&id, &method, params),
            Message::Notification { method, params } => self.notification(now, &method, params),
        }
    }

    /// An answer to what was asked last; any other is ignored.
    fn response(&mut self, id: Option<u64>, result: Result<&RawValue, RpcError>) {
        match &mut self.state {
            State::Starting { start, asked } if id == Some(*asked) => {
                let progress = start.answer(&self.config, result);
                self.progress(progress);
            }
            State::Open(session) if session.turn.as_ref().is_some_and(|turn| id == Some(turn.asked)) => {
                if let Some(turn) = session.turn.take() {
                    self.end_turn(&turn, result);
                }
            }
            _ => {}
        }
    }

    fn request(&mut self, id: &RpcId, method: &str, params: Option<&RawValue>) {
        let question = match method {
            "session/request_permission" => request::permission(params, |tool| self.tools.title(tool)),
            "elicitation/create" => request::choice(params),
            _ => {
                let message = format!("this client has no method {}", cut(method, 64));
                return self.write(rpc::error(id, rpc::METHOD_NOT_FOUND, &message));
            }
        };
        match question {
            Ok(question) => self.question(id, question),
            Err(message) => self.write(rpc::error(id, rpc::INVALID_PARAMS, message)),
        }
    }

    fn question(&mut self, id: &RpcId, mut question: Question) {
        let (in_turn, interrupted) = match &self.state {
            State::Open(Session { turn, .. }) => {
                (turn.is_some(), turn.as_ref().is_some_and(|turn| turn.interrupted))
            }
            // There is no person to ask before the session is open.
            _ => return self.reply(id, &question.result(None)),
        };
        if interrupted || self.stopping {
            return self.reply(id, &question.result(None));
        }
        if self.requests.is_full() {
            let message = "as many requests are open as may";
            return self.write(rpc::error(id, rpc::INTERNAL_ERROR, message));
        }
        self.finish_run();
        self.requests.name(&mut question);
        let request = question.request.clone();
        if let Some(option_id) = question.answer_of_profile(self.config.permissions) {
            self.reply(id, &question.result(Some(&option_id)));
            let request_id = request.request_id.clone();
            self.tell(AgentEvent::RequestOpened(request));
            return self.resolved(&request_id, Some(&option_id), ResolvedBy::Profile);
        }
        self.requests.push(id.clone(), question, in_turn);
        self.update_status();
        self.tell(AgentEvent::RequestOpened(request));
    }

    fn notification(&mut self, now: Instant, method: &str, params: Option<&RawValue>) {
        match method {
            "session/update" => self.session_update(now, params),
            "$/cancel_request" => self.withdrawn(params),
            // Of the protocol's own, those that are not known may be ignored.
            _ if method.starts_with("$/") => {}
            "elicitation/complete" => {}
            _ => {
                let method = serde_json::to_string(&cut(method, 64)).unwrap_or_default();
                let params =
                    params.map_or_else(|| "null".into(), |params| raw::bounded(params).get().to_owned());
                let update = raw::from_json(format!(r#"{{"method":{method},"params":{params}}}"#));
                self.item(ItemKind::Other, update);
            }
        }
    }

    /// The agent does not wait for an answer any more, but for the confirmation of that.
    fn withdrawn(&mut self, params: Option<&RawValue>) {
        let rpc_id = read::<CancelRequest<'_>>(params).and_then(|params| RpcId::of(params.request_id));
        let Some(open) = rpc_id.and_then(|id| self.requests.take_withdrawn(&id)) else { return };
        self.write(rpc::error(&open.rpc_id, rpc::REQUEST_CANCELLED, "the request was cancelled"));
        self.resolved(&open.question.request.request_id, None, ResolvedBy::Withdrawn);
        self.update_status();
    }

    fn session_update(&mut self, now: Instant, params: Option<&RawValue>) {
        let Some(SessionUpdate { session_id: Text(session_id), update: raw }) = read(params) else {
            return self.item_of(ItemKind::Other, params.unwrap_or(RawValue::NULL));
        };
        let Some(update) = read::<Update<'_>>(Some(raw)) else { return self.item_of(ItemKind::Other, raw) };
        let kind = update.session_update.0.as_str();
        let is_replayed = match &self.state {
            State::Open(session) if session.id != session_id => return self.item_of(ItemKind::Other, raw),
            State::Open(session) => session.is_replaying,
            State::Starting { start, .. } => start.is_resuming(),
            State::Ended(_) => return,
        };
        if let Some(kind) = state_kind(kind) {
            return self.item_of(kind, raw);
        }
        if is_replayed {
            return;
        }
        match kind {
            // The echo of a prompt that the runtime has told already.
            "user_message_chunk" => {}
            "agent_message_chunk" => self.chunk(now, Speaker::Assistant, &update, raw),
            "agent_thought_chunk" => self.chunk(now, Speaker::Thinking, &update, raw),
            "tool_call" | "tool_call_update" => {
                self.finish_run();
                for event in self.tools.update(&update, raw) {
                    self.tell(event);
                }
            }
            _ => self.item_of(ItemKind::Other, raw),
        }
    }

    fn chunk(&mut self, now: Instant, speaker: Speaker, update: &Update<'_>, raw: &RawValue) {
        let Some(text) = read::<Block>(update.content).and_then(Block::into_text) else {
            self.finish_run();
            return self.item_of(ItemKind::Content, raw);
        };
        for said in self.run.add(speaker, update.message_id.as_str(), &text) {
            self.tell(AgentEvent::Said(said));
        }
        self.tell_fragment(speaker, &text);
        // Within a turn its end is also the end of the run.
        let in_turn = matches!(&self.state, State::Open(Session { turn: Some(_), .. }));
        self.quiet_until = (!in_turn && !self.run.is_empty()).then(|| now + FLUSH_AFTER);
    }

    fn item_of(&mut self, kind: ItemKind, raw: &RawValue) {
        self.item(kind, raw::bounded(raw));
    }

    fn item(&mut self, kind: ItemKind, update: Box<RawValue>) {
        self.tell(AgentEvent::Item(Item { kind, update }));
    }
}

/// The kind of an update that tells how the session stands.
fn state_kind(update: &str) -> Option<ItemKind> {
    match update {
        "plan" => Some(ItemKind::Plan),
        "current_mode_update" => Some(ItemKind::Mode),
        "available_commands_update" => Some(ItemKind::Commands),
        "config_option_update" => Some(ItemKind::Options),
        "session_info_update" => Some(ItemKind::Info),
        "usage_update" => Some(ItemKind::Usage),
        _ => None,
    }
}
