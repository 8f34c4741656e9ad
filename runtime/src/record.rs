//! What is known of one worker beside what it said.

use std::sync::Arc;

use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::{
    CreateWorker, EndReason, WorkerActivity, WorkerEnd, WorkerFacts, WorkerRequest, WorkerStatus,
};
use serde::{Deserialize, Serialize};

use crate::event::Activity;
use crate::timestamp::Timestamp;

/// One worker without its transcript and its events.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkerRecord {
    /// Its name, which is never given again.
    pub worker_id: WorkerId,
    /// What its creator asked for.
    pub spec: Arc<CreateWorker>,
    /// The id of the event that told of its creation. It orders workers by age.
    pub created_by: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its process started; `None` before that, and for one that never did.
    pub started_at: Option<Timestamp>,
    /// When it last wrote something.
    pub last_output_at: Option<Timestamp>,
    /// How far its life has got.
    pub phase: Phase,
    /// What it is doing, as far as it says so. It is lost with the runtime.
    #[serde(skip)]
    pub activity: Activity,
    /// What is kept of it where it is an agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentRecord>,
    /// How many items its transcript ever had.
    pub transcript_len: u64,
    /// Its newest event.
    pub last_event_id: u64,
}

/// What is kept of a worker that is an agent.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AgentRecord {
    /// The agent's name for its session, by which it can be taken up again. It is told to no client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Whether the agent can take its session up again.
    #[serde(default)]
    pub resumable: bool,
    /// How many times it was started before.
    #[serde(default)]
    pub starts_before: u32,
    /// Its questions that wait for an answer, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<OpenRequest>,
}

/// A question that waits for an answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OpenRequest {
    /// The event that told of it.
    pub opened_by: u64,
    /// The question as it is told.
    pub request: WorkerRequest,
}

/// How far a worker's life has got.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It takes input.
    Running,
    /// It was told to end, and something of it is still there.
    Stopping(Ordered),
    /// It is gone.
    Ended {
        /// How it ended.
        end: WorkerEnd,
        /// When.
        at: Timestamp,
        /// The event that first told of it: of the order to end where there was one.
        event_id: u64,
    },
}

/// The order to end a worker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ordered {
    /// Whether it is to end at once.
    pub cancel: bool,
    /// Why, in the words of the client.
    pub reason: Option<String>,
    /// The event that told of it.
    pub event_id: u64,
}

impl WorkerRecord {
    /// The record of a worker whose creation is told by that event.
    pub(crate) fn new(worker_id: WorkerId, spec: Arc<CreateWorker>, event_id: u64, now: Timestamp) -> Self {
        Self {
            worker_id,
            spec,
            created_by: event_id,
            created_at: now,
            started_at: None,
            last_output_at: None,
            phase: Phase::Running,
            activity: Activity::Idle,
            agent: None,
            transcript_len: 0,
            last_event_id: event_id,
        }
    }

    /// The status of v1. A worker runs for as long as anything of it is there.
    pub fn status(&self) -> WorkerStatus {
        match &self.phase {
            Phase::Running | Phase::Stopping(_) => WorkerStatus::Running,
            Phase::Ended { end, .. } if end.reason == EndReason::Cancelled => WorkerStatus::Cancelled,
            Phase::Ended { .. } => WorkerStatus::Stopped,
        }
    }

    /// Whether it is gone.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended { .. })
    }

    /// Its questions that wait for an answer, oldest first.
    pub fn open_requests(&self) -> impl Iterator<Item = &OpenRequest> {
        self.agent.iter().flat_map(|agent| &agent.requests)
    }

    /// Whether it is an agent that went with its runtime, and can be taken up again. One that could not be started then
    /// can be tried once more.
    pub fn is_resumable(&self) -> bool {
        let Some(agent) = self.agent.as_ref().filter(|agent| agent.resumable && agent.session_id.is_some())
        else {
            return false;
        };
        match &self.phase {
            Phase::Ended { end, .. } => match end.reason {
                EndReason::RuntimeLost => true,
                EndReason::NotStarted => agent.starts_before > 0,
                _ => false,
            },
            Phase::Running | Phase::Stopping(_) => false,
        }
    }

    /// The event that told that it takes no input any more, where it does not.
    pub fn closed_by(&self) -> Option<u64> {
        match &self.phase {
            Phase::Running => None,
            Phase::Stopping(Ordered { event_id, .. }) | Phase::Ended { event_id, .. } => Some(*event_id),
        }
    }

    /// What is told of it beyond v1.
    pub(crate) fn facts(&self) -> WorkerFacts {
        let (ended_at, end) = match &self.phase {
            Phase::Running | Phase::Stopping(_) => (None, None),
            Phase::Ended { end, at, .. } => (Some(at), Some(end.clone())),
        };
        WorkerFacts {
            name: self.spec.name.clone(),
            labels: self.spec.labels.clone(),
            created_at: Some(self.created_at.to_string()),
            started_at: self.started_at.map(|at| at.to_string()),
            last_output_at: self.last_output_at.map(|at| at.to_string()),
            ended_at: ended_at.map(Timestamp::to_string),
            stopping: matches!(self.phase, Phase::Stopping(_)),
            activity: (!self.has_ended()).then_some(match self.activity {
                Activity::Idle => WorkerActivity::Idle,
                Activity::Running => WorkerActivity::Running,
                Activity::Paused => WorkerActivity::Waiting,
            }),
            requests: self.agent.as_ref().map(|agent| agent.requests.len() as u64),
            resumable: self.is_resumable(),
            end,
        }
    }

    /// About how much memory it takes, in bytes.
    pub(crate) fn size(&self) -> usize {
        const FIXED: usize = 512;
        let CreateWorker { intent, requested_capabilities, workspace_refs, mount_refs, labels, env, .. } =
            &*self.spec;
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let intent: usize = intent.texts().map(String::len).sum();
        const EACH: usize = 64;
        let capabilities =
            requested_capabilities.iter().map(|it| it.name.len() + text(&it.reason) + EACH).sum::<usize>();
        let references = workspace_refs.iter().chain(mount_refs);
        let references = references.map(|it| it.name.len() + it.reference.len() + EACH).sum::<usize>();
        let pairs = labels.iter().chain(env).map(|(name, value)| name.len() + value.len() + EACH);
        FIXED + intent + capabilities + references + pairs.sum::<usize>()
    }
}

/// A worker's end for people: the last item of its transcript.
pub(crate) fn words(end: &WorkerEnd) -> String {
    let how = match (&end.reason, end.exit_code, end.signal) {
        (EndReason::Exited, Some(code), _) => format!("exited with status {code}"),
        (EndReason::Exited, None, _) => "ended".to_owned(),
        (EndReason::Signalled, _, Some(signal)) => format!("ended by signal {signal}"),
        (EndReason::Signalled, _, None) => "ended by a signal".to_owned(),
        (EndReason::NotStarted, ..) => "could not start".to_owned(),
        (EndReason::Stopped, Some(code), _) => format!("stopped, with exit status {code}"),
        (EndReason::Stopped, None, Some(signal)) => format!("stopped by signal {signal}"),
        (EndReason::Stopped, None, None) => "stopped".to_owned(),
        (EndReason::Cancelled, ..) => "cancelled".to_owned(),
        (EndReason::RuntimeLost, ..) => "ended with its runtime".to_owned(),
        (EndReason::StoreFailed, ..) => "ended since what it wrote could not be kept".to_owned(),
        (EndReason::Other(_), ..) => "ended".to_owned(),
    };
    match &end.message {
        Some(message) => format!("{how}: {message}"),
        None => how,
    }
}

#[cfg(test)]
mod tests;
