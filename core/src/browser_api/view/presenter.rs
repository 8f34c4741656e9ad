//! From what a runtime said to what clients are shown of it.

use super::{
    AckView, ItemView, MAX_LISTED_TEXT, RequestView, TranscriptView, WorkerCapabilities, WorkerView,
};
use crate::id::WorkerId;
use crate::policy::Policy;
use crate::registry::{Health, RuntimeSpec};
use crate::runtime_api::{
    Ack, Capability, InputAck, Intent, Operation, RequestOption, Transcript, WorkerDetail, WorkerFacts,
    WorkerRequest, WorkerStatus, WorkerSummary,
};

/// Shows what one runtime said, in the light of what is known of it and of the policy.
pub(in crate::browser_api) struct Presenter<'a> {
    pub(in crate::browser_api) spec: &'a RuntimeSpec,
    pub(in crate::browser_api) health: &'a Health,
    pub(in crate::browser_api) policy: &'a dyn Policy,
}

impl Presenter<'_> {
    /// `None` where the runtime calls the worker by something that is no id.
    pub(in crate::browser_api) fn worker(&self, worker: WorkerDetail) -> Option<WorkerView> {
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
            kind: self.spec.kind.name().into(),
            status: worker.status,
            intent: self.intent(worker.intent),
            profile: worker.profile,
            transcript_len: worker.transcript_len,
            last_event_id: worker.last_event_id,
            capabilities: self.capabilities(worker.status),
            facts: self.facts(worker.facts),
            truncated: false,
        })
    }

    /// `None` where the runtime calls the worker by something that is no id.
    pub(in crate::browser_api) fn listed(&self, worker: WorkerSummary) -> Option<WorkerView> {
        let mut view = WorkerView {
            requested_capabilities: None,
            workspace_refs: None,
            runtime_id: self.spec.runtime_id.clone(),
            worker_id: worker.worker_id.parse().ok()?,
            kind: self.spec.kind.name().into(),
            status: worker.status,
            intent: self.intent(worker.intent),
            profile: worker.profile,
            transcript_len: worker.transcript_len,
            last_event_id: worker.last_event_id,
            capabilities: self.capabilities(worker.status),
            facts: self.facts(worker.facts),
            truncated: worker.truncated,
        };
        view.truncated |= shorten(&mut view);
        Some(view)
    }

    pub(in crate::browser_api) fn input_ack(&self, worker_id: &WorkerId, ack: &InputAck) -> AckView {
        AckView {
            runtime_id: self.spec.runtime_id.clone(),
            worker_id: worker_id.clone(),
            status: ack.status,
            transcript_sequence: Some(ack.transcript_sequence),
            event_id: ack.event_id,
        }
    }

    pub(in crate::browser_api) fn ack(&self, worker_id: &WorkerId, ack: &Ack) -> AckView {
        AckView {
            runtime_id: self.spec.runtime_id.clone(),
            worker_id: worker_id.clone(),
            status: ack.status,
            transcript_sequence: None,
            event_id: ack.event_id,
        }
    }

    pub(in crate::browser_api) fn transcript(
        &self,
        worker_id: &WorkerId,
        page: Transcript,
    ) -> TranscriptView {
        // Items count from one. Where some cannot be understood, the first that can may be a later one.
        let first = page.items.first().filter(|_| page.left_out == 0).map_or(0, |item| item.sequence);
        let dropped =
            if first <= page.total_items { first.saturating_sub(page.start.saturating_add(1)) } else { 0 };
        TranscriptView {
            runtime_id: self.spec.runtime_id.clone(),
            worker_id: worker_id.clone(),
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
                    at: item.at,
                    cont: item.cont,
                })
                .collect(),
            next_start: page.next_start,
            dropped,
        }
    }

    /// A request of the worker that was asked about, or else of the one that the runtime names. `None` where something
    /// that should be an id is none.
    pub(in crate::browser_api) fn request(
        &self,
        asked: Option<&WorkerId>,
        request: WorkerRequest,
    ) -> Option<RequestView> {
        let worker_id = match asked {
            Some(worker_id) => worker_id.clone(),
            None => request.worker_ref?.worker_id.parse().ok()?,
        };
        let option = |option: RequestOption| RequestOption { name: self.redact(option.name), ..option };
        Some(RequestView {
            runtime_id: self.spec.runtime_id.clone(),
            worker_id,
            request_id: request.request_id.parse().ok()?,
            kind: request.kind,
            title: self.redact(request.title),
            detail: request.detail.map(|detail| self.redact(detail)),
            tool_call_id: request.tool_call_id,
            options: request.options.into_iter().map(option).collect(),
            opened_at: request.opened_at,
            expires_at: request.expires_at,
        })
    }

    fn redact(&self, text: String) -> String {
        self.policy.redact(&self.spec.runtime_id, text)
    }

    fn intent(&self, mut intent: Intent) -> Intent {
        intent.texts_mut().for_each(|text| *text = self.redact(std::mem::take(text)));
        intent
    }

    fn facts(&self, facts: WorkerFacts) -> WorkerFacts {
        WorkerFacts {
            name: facts.name.map(|name| self.redact(name)),
            labels: facts.labels.into_iter().map(|(key, value)| (key, self.redact(value))).collect(),
            end: facts.end.map(|mut end| {
                end.message = end.message.map(|message| self.redact(message));
                end
            }),
            ..facts
        }
    }

    pub(in crate::browser_api) fn capabilities(&self, status: WorkerStatus) -> WorkerCapabilities {
        let can = |operation: Operation| self.health.can(operation);
        let runs = !status.has_ended();
        WorkerCapabilities {
            send_input: can(Operation::SendInput) && runs,
            stop: can(Operation::StopWorker) && runs,
            cancel: can(Operation::CancelWorker) && runs,
            read_transcript: can(Operation::ReadTranscript),
            observe_events: can(Operation::ObserveEvents),
        }
    }
}

/// Cuts the texts of a row in a list, and tells whether one was too long.
fn shorten(worker: &mut WorkerView) -> bool {
    let mut texts: Vec<&mut String> = worker.intent.texts_mut().chain(worker.profile.texts_mut()).collect();
    let WorkerFacts { name, labels, end, .. } = &mut worker.facts;
    texts.extend(name);
    texts.extend(labels.values_mut());
    texts.extend(end.iter_mut().filter_map(|end| end.message.as_mut()));
    let mut cut = false;
    for text in texts {
        if let Some((end, _)) = text.char_indices().nth(MAX_LISTED_TEXT) {
            text.truncate(end);
            text.push('…');
            cut = true;
        }
    }
    cut
}
