//! What browsers are shown of runtimes and workers.

use std::time::SystemTime;

use serde::Serialize;

use crate::error::Error;
use crate::id::{RuntimeId, WorkerId};
use crate::policy::Policy;
use crate::registry::{Health, Reachability, RuntimeKind, RuntimeSpec};
use crate::runtime_api::{
    Ack, Capability, InputAck, Intent, Operation, Profile, Reference, RuntimeStatus, Transcript,
    WorkerDetail, WorkerStatus, WorkerSummary,
};

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Something is missing.
    Warning,
    /// Something failed.
    Error,
}

/// Something to be told beside the reply.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are BROWSER-API.md's")]
pub struct Diagnostic {
    pub code: &'static str,
    pub severity: Severity,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_id: Option<RuntimeId>,
}

impl From<&Error> for Diagnostic {
    fn from(error: &Error) -> Self {
        Self {
            code: error.kind().code(),
            severity: Severity::Error,
            message: error.detail().to_owned(),
            runtime_id: error.runtime_id().cloned(),
        }
    }
}

/// What a runtime can do, as far as is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are BROWSER-API.md's")]
pub struct Capabilities {
    pub list_workers: bool,
    pub get_worker: bool,
    pub create_worker: bool,
    pub send_input: bool,
    pub stop_worker: bool,
    pub cancel_worker: bool,
    pub read_transcript: bool,
    pub observe_events: bool,
}

impl Capabilities {
    fn of(health: &Health) -> Self {
        let has = |operation| !health.unsupported.contains(&operation);
        Self {
            list_workers: has(Operation::ListWorkers),
            get_worker: has(Operation::GetWorker),
            create_worker: has(Operation::CreateWorker),
            send_input: has(Operation::SendInput),
            stop_worker: has(Operation::StopWorker),
            cancel_worker: has(Operation::CancelWorker),
            read_transcript: has(Operation::ReadTranscript),
            observe_events: has(Operation::ObserveEvents),
        }
    }
}

/// A runtime as browsers see it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are BROWSER-API.md's")]
pub struct RuntimeView {
    pub runtime_id: RuntimeId,
    pub display_name: String,
    pub kind: RuntimeKind,
    pub status: RuntimeStatus,
    pub reachability: Reachability,
    pub last_seen_at: Option<String>,
    pub capabilities: Capabilities,
    pub workers: Option<WorkerCounts>,
    pub limits: Option<Limits>,
    pub diagnostics: Vec<Diagnostic>,
}

/// How many workers a runtime has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are BROWSER-API.md's")]
pub struct WorkerCounts {
    pub total: u64,
    pub active: u64,
    pub stopped: u64,
    pub cancelled: u64,
}

/// The bounds of a runtime's replies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are BROWSER-API.md's")]
pub struct Limits {
    pub max_transcript_items: u64,
}

impl RuntimeView {
    pub(super) fn new(
        spec: &RuntimeSpec,
        health: &Health,
        last_seen: Option<SystemTime>,
        diagnostics: Vec<Diagnostic>,
    ) -> Self {
        let summary = health.summary.as_ref();
        let said = summary.and_then(|summary| summary.display_name.as_ref());
        Self {
            runtime_id: spec.runtime_id.clone(),
            display_name: spec
                .display_name
                .as_ref()
                .or(said)
                .cloned()
                .unwrap_or_else(|| spec.runtime_id.to_string()),
            kind: spec.kind,
            status: health.status(),
            reachability: health.reachability,
            last_seen_at: last_seen.map(|at| humantime::format_rfc3339_seconds(at).to_string()),
            capabilities: Capabilities::of(health),
            workers: summary.map(|summary| WorkerCounts {
                total: summary.worker_count,
                active: summary.active_worker_count,
                stopped: summary.stopped_worker_count,
                cancelled: summary.cancelled_worker_count,
            }),
            limits: summary.map(|summary| Limits {
                max_transcript_items: summary.limits.max_transcript_projection_items,
            }),
            diagnostics,
        }
    }
}

/// A worker as browsers see it. Mount references and configuration bundles stay behind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are BROWSER-API.md's")]
pub struct WorkerView {
    pub runtime_id: RuntimeId,
    pub worker_id: WorkerId,
    pub kind: RuntimeKind,
    pub status: WorkerStatus,
    pub intent: Intent,
    pub profile: Profile,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_capabilities: Option<Vec<Capability>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace_refs: Option<Vec<Reference>>,
    pub transcript_len: u64,
    pub last_event_id: u64,
    pub capabilities: WorkerCapabilities,
}

/// What can be done with a worker now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are BROWSER-API.md's")]
pub struct WorkerCapabilities {
    pub send_input: bool,
    pub stop: bool,
    pub cancel: bool,
    pub read_transcript: bool,
    pub observe_events: bool,
}

#[derive(Serialize)]
pub(super) struct InputAckView<'a> {
    runtime_id: &'a RuntimeId,
    worker_id: &'a WorkerId,
    status: WorkerStatus,
    transcript_sequence: u64,
    event_id: u64,
}

#[derive(Serialize)]
pub(super) struct AckView<'a> {
    runtime_id: &'a RuntimeId,
    worker_id: &'a WorkerId,
    status: WorkerStatus,
    event_id: u64,
}

#[derive(Serialize)]
pub(super) struct TranscriptView<'a> {
    runtime_id: &'a RuntimeId,
    worker_id: &'a WorkerId,
    start: u64,
    limit: u64,
    total_items: u64,
    items: Vec<ItemView>,
    next_start: Option<u64>,
}

#[derive(Serialize)]
struct ItemView {
    sequence: u64,
    role: String,
    content: String,
    event_id: u64,
}

/// Shows what one runtime said, in the light of what is known of it and of the policy.
pub(super) struct Presenter<'a> {
    pub(super) spec: &'a RuntimeSpec,
    pub(super) health: &'a Health,
    pub(super) policy: &'a dyn Policy,
}

impl Presenter<'_> {
    /// `None` where the runtime calls the worker by something that is no id.
    pub(super) fn worker(&self, worker: WorkerDetail) -> Option<WorkerView> {
        Some(WorkerView {
            requested_capabilities: Some(
                worker
                    .requested_capabilities
                    .into_iter()
                    .map(|it| Capability { reason: it.reason.map(|reason| self.redact(reason)), ..it })
                    .collect(),
            ),
            workspace_refs: Some(worker.workspace_refs),
            runtime_id: self.spec.runtime_id.clone(),
            worker_id: worker.worker_id.parse().ok()?,
            kind: self.spec.kind,
            status: worker.status,
            intent: self.intent(worker.intent),
            profile: worker.profile,
            transcript_len: worker.transcript_len,
            last_event_id: worker.last_event_id,
            capabilities: self.capabilities(worker.status),
        })
    }

    /// `None` where the runtime calls the worker by something that is no id.
    pub(super) fn listed(&self, worker: WorkerSummary) -> Option<WorkerView> {
        Some(WorkerView {
            requested_capabilities: None,
            workspace_refs: None,
            runtime_id: self.spec.runtime_id.clone(),
            worker_id: worker.worker_id.parse().ok()?,
            kind: self.spec.kind,
            status: worker.status,
            intent: self.intent(worker.intent),
            profile: worker.profile,
            transcript_len: worker.transcript_len,
            last_event_id: worker.last_event_id,
            capabilities: self.capabilities(worker.status),
        })
    }

    pub(super) fn input_ack<'a>(&'a self, worker_id: &'a WorkerId, ack: &InputAck) -> InputAckView<'a> {
        InputAckView {
            runtime_id: &self.spec.runtime_id,
            worker_id,
            status: ack.status,
            transcript_sequence: ack.transcript_sequence,
            event_id: ack.event_id,
        }
    }

    pub(super) fn ack<'a>(&'a self, worker_id: &'a WorkerId, ack: &Ack) -> AckView<'a> {
        AckView { runtime_id: &self.spec.runtime_id, worker_id, status: ack.status, event_id: ack.event_id }
    }

    pub(super) fn transcript<'a>(&'a self, worker_id: &'a WorkerId, page: Transcript) -> TranscriptView<'a> {
        TranscriptView {
            runtime_id: &self.spec.runtime_id,
            worker_id,
            start: page.start,
            limit: page.limit,
            total_items: page.total_items,
            items: page
                .items
                .into_iter()
                .map(|item| ItemView {
                    sequence: item.sequence,
                    role: item.role,
                    content: self.redact(item.content),
                    event_id: item.event_id,
                })
                .collect(),
            next_start: page.next_start,
        }
    }

    fn redact(&self, text: String) -> String {
        self.policy.redact(&self.spec.runtime_id, text)
    }

    fn intent(&self, intent: Intent) -> Intent {
        match intent {
            Intent::Assistant { purpose } => {
                Intent::Assistant { purpose: purpose.map(|purpose| self.redact(purpose)) }
            }
            Intent::Task { objective } => Intent::Task { objective: self.redact(objective) },
            Intent::Role { role, purpose } => {
                Intent::Role { role, purpose: purpose.map(|purpose| self.redact(purpose)) }
            }
        }
    }

    fn capabilities(&self, status: WorkerStatus) -> WorkerCapabilities {
        let runtime = Capabilities::of(self.health);
        let ended = matches!(status, WorkerStatus::Stopped | WorkerStatus::Cancelled);
        WorkerCapabilities {
            send_input: runtime.send_input && !ended,
            stop: runtime.stop_worker && !ended,
            cancel: runtime.cancel_worker && !ended,
            read_transcript: runtime.read_transcript,
            observe_events: runtime.observe_events,
        }
    }
}
