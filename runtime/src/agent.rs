//! Workers that are agents: what is known of one beside its record, and how what it says becomes events.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use sekisho_acp::{AgentEvent, Item, ItemKind, Speaker};
use sekisho_core::runtime_api::{RequestOption, WorkerRequest};

use crate::event::{Activity, ErrorCode, Event, RunResult, SystemItem};
use crate::record::{AgentRecord, OpenRequest};
use crate::store::Role;
use crate::timestamp::Timestamp;

/// How many changes of status are remembered for those that resume before the present.
const MAX_STATUSES: usize = 32;

/// How many answers are remembered with the event that told of each.
const MAX_RESOLVED: usize = sekisho_acp::limits::MAX_REMEMBERED_ANSWERS;

/// How much of the text that an agent is saying is shown to a viewer that comes, in bytes.
const MAX_RUN: usize = sekisho_acp::limits::MAX_ITEM_TEXT;

/// What is known of an agent that runs, and lost with its runtime.
#[derive(Default, Debug)]
pub(crate) struct AgentState {
    /// The newest changes of status, with the events that told of them.
    statuses: VecDeque<(u64, Activity)>,
    /// The newest of each kind of which only the newest counts.
    items: BTreeMap<ItemKind, (u64, SystemItem)>,
    /// What it is saying, which no item of the transcript has yet.
    run: Option<(Role, String)>,
    /// The requests that were answered last.
    resolved: VecDeque<(String, u64)>,
}

impl AgentState {
    /// Takes note of what is told by the event of that id.
    pub(crate) fn note(&mut self, event_id: u64, event: &AgentEvent) {
        match event {
            AgentEvent::Status(status) => {
                self.statuses.push_back((event_id, activity(*status)));
                if self.statuses.len() > MAX_STATUSES {
                    self.statuses.pop_front();
                }
            }
            AgentEvent::Item(item) if item.kind.is_state() => {
                self.items.insert(item.kind, (event_id, item_of(item)));
            }
            AgentEvent::TextDelta(text) => self.go_on(Role::Assistant, text),
            AgentEvent::ThinkingDelta(text) => self.go_on(Role::Thinking, text),
            AgentEvent::Said(_) => self.run = None,
            AgentEvent::RequestResolved(resolved) => {
                self.resolved.push_back((resolved.request_id.clone(), event_id));
                if self.resolved.len() > MAX_RESOLVED {
                    self.resolved.pop_front();
                }
            }
            _ => {}
        }
    }

    fn go_on(&mut self, role: Role, text: &str) {
        match &mut self.run {
            Some((current, said)) if *current == role => {
                said.push_str(text);
                if said.len() > MAX_RUN {
                    let surplus = said.len() - MAX_RUN;
                    let cut = (surplus..=said.len()).find(|at| said.is_char_boundary(*at));
                    said.drain(..cut.unwrap_or(said.len()));
                }
            }
            run => *run = Some((role, text.to_owned())),
        }
    }

    /// What it did at a place of its stream.
    pub(crate) fn status_at(&self, place: u64) -> Activity {
        let told = self.statuses.iter().rev().find(|(event_id, _)| *event_id <= place);
        told.map_or(Activity::Idle, |(_, status)| *status)
    }

    /// What counted at a place of its stream, as far as it is remembered.
    pub(crate) fn items_at(&self, place: u64) -> Vec<SystemItem> {
        let told = self.items.values().filter(|(event_id, _)| *event_id <= place);
        told.map(|(_, item)| item.clone()).collect()
    }

    /// What it is saying now.
    pub(crate) fn run(&self) -> Option<(Role, &str)> {
        self.run.as_ref().map(|(role, text)| (*role, text.as_str()))
    }

    /// The event that told of an answer.
    pub(crate) fn resolved_by(&self, request_id: &str) -> Option<u64> {
        self.resolved.iter().rev().find(|(id, _)| id == request_id).map(|(_, event_id)| *event_id)
    }
}

/// Notes in a worker's record what is to be kept of an event, and tells whether that was anything.
pub(crate) fn record(record: &mut AgentRecord, event_id: u64, event: &AgentEvent, at: Timestamp) -> bool {
    match event {
        AgentEvent::Started(started) => {
            record.session_id = Some(started.session_id.clone());
            record.resumable = started.resumable;
        }
        AgentEvent::RequestOpened(asked) => {
            record.requests.push(OpenRequest { opened_by: event_id, request: request(asked.clone(), at) });
        }
        AgentEvent::RequestResolved(resolved) => {
            record.requests.retain(|open| open.request.request_id != resolved.request_id);
        }
        _ => return false,
    }
    true
}

/// The status of v1.
pub(crate) fn activity(status: sekisho_acp::Status) -> Activity {
    match status {
        sekisho_acp::Status::Idle => Activity::Idle,
        sekisho_acp::Status::Running => Activity::Running,
        sekisho_acp::Status::Paused => Activity::Paused,
    }
}

/// The role of what an agent says.
pub(crate) fn role(speaker: Speaker) -> Role {
    match speaker {
        Speaker::Assistant => Role::Assistant,
        Speaker::Thinking => Role::Thinking,
    }
}

/// A question as it is told.
pub(crate) fn request(request: sekisho_acp::Request, opened_at: Timestamp) -> WorkerRequest {
    let option = |option: sekisho_acp::RequestOption| RequestOption {
        option_id: option.option_id,
        name: option.name,
        kind: option.kind,
    };
    WorkerRequest {
        worker_ref: None,
        request_id: request.request_id,
        kind: match request.kind {
            sekisho_acp::RequestKind::Permission => "permission".into(),
            sekisho_acp::RequestKind::Choice => "choice".into(),
        },
        title: request.title,
        detail: request.detail,
        tool_call_id: request.tool_call_id,
        options: request.options.into_iter().map(option).collect(),
        opened_at: opened_at.to_string(),
        expires_at: None,
    }
}

/// What an event of an agent is in its worker's stream; nothing where it is for the record or the transcript alone.
pub(crate) fn event(event: AgentEvent, at: Timestamp) -> Option<Event> {
    let item = |item| Event::SystemItem { item };
    Some(match event {
        AgentEvent::Status(status) => Event::Status { status: activity(status) },
        AgentEvent::TextDelta(text) => Event::TextDelta { text: text.into() },
        AgentEvent::ThinkingDelta(text) => Event::ThinkingDelta { text: text.into() },
        AgentEvent::ToolCallStart { id, name } => Event::ToolCallStart { id, name },
        AgentEvent::ToolResult(sekisho_acp::ToolResult { id, summary, output, is_error }) => {
            Event::ToolResult { id, summary, output, is_error }
        }
        AgentEvent::RunEnd(sekisho_acp::RunResult::Finished) => Event::RunEnd { result: RunResult::Finished },
        AgentEvent::RunEnd(sekisho_acp::RunResult::LimitReached) => {
            Event::RunEnd { result: RunResult::LimitReached }
        }
        AgentEvent::Error { code: sekisho_acp::ErrorCode::ProviderError, message } => {
            Event::failure(ErrorCode::ProviderError, message)
        }
        AgentEvent::Error { code: sekisho_acp::ErrorCode::Internal, message } => {
            Event::failure(ErrorCode::Internal, message)
        }
        AgentEvent::Stray { text, .. } => Event::stderr(text.into()),
        AgentEvent::Item(update) => item(item_of(&update)),
        AgentEvent::RequestOpened(asked) => item(SystemItem::Request { request: request(asked, at) }),
        AgentEvent::RequestResolved(resolved) => item(SystemItem::RequestResolved {
            dismissed: resolved.option_id.is_none(),
            request_id: resolved.request_id,
            option_id: resolved.option_id,
            reason: resolved.reason.as_str().into(),
        }),
        _ => return None,
    })
}

/// Whether an event of an agent is one in its worker's stream.
pub(crate) fn is_told(event: &AgentEvent) -> bool {
    !matches!(event, AgentEvent::Started(_) | AgentEvent::Said(_))
}

/// The transcript item that goes with an event.
pub(crate) fn said(event: &AgentEvent) -> Option<(Role, Arc<str>, bool)> {
    match event {
        AgentEvent::Said(said) => Some((role(said.speaker), said.text.as_str().into(), said.cont)),
        AgentEvent::Stray { text, cont } => Some((Role::Stderr, text.as_str().into(), *cont)),
        _ => None,
    }
}

fn item_of(Item { kind, update }: &Item) -> SystemItem {
    // The machine passes on what strict readers can read.
    let update = serde_json::from_str(update.get()).unwrap_or_default();
    match kind {
        ItemKind::Content => SystemItem::AcpContent { update },
        ItemKind::ToolCall => SystemItem::AcpToolCall { update },
        ItemKind::Plan => SystemItem::AcpPlan { update },
        ItemKind::Mode => SystemItem::AcpMode { update },
        ItemKind::Commands => SystemItem::AcpCommands { update },
        ItemKind::Options => SystemItem::AcpOptions { update },
        ItemKind::Info => SystemItem::AcpInfo { update },
        ItemKind::Usage => SystemItem::AcpUsage { update },
        _ => SystemItem::AcpOther { update },
    }
}

#[cfg(test)]
mod tests;
