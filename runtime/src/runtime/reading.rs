//! Commands that change nothing, but for lists.

use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::{
    Contains, CreateWorker, Fault, FaultCode, Feature, Reply, RuntimeLimits, RuntimeStatus, RuntimeSummary,
    Transcript, WorkerDetail,
};

use super::{Shared, store_fault};
use crate::record::WorkerRecord;

/// How many items of a transcript are in one reply at most.
pub const MAX_TRANSCRIPT_ITEMS: u64 = 256;

/// How many events are in one batch at most.
const MAX_EVENT_BATCH: u64 = 256;

/// What the runtime has beyond v1.
const FEATURES: &[Feature] = &[
    Feature::Idempotency,
    Feature::Names,
    Feature::Placement,
    Feature::Interrupt,
    Feature::Eof,
    Feature::RawInput,
    Feature::Remove,
    Feature::Requests,
    Feature::Profiles,
    Feature::Pages,
    Feature::Terminal,
    Feature::SecretInput,
];

impl Shared {
    pub(super) fn summary(&self) -> Result<Reply, Fault> {
        let locked = self.lock().map_err(store_fault)?;
        let census = locked.records.census();
        Ok(Reply::Runtime(RuntimeSummary {
            runtime_id: self.config.runtime_id.to_string(),
            display_name: self.config.display_name.clone(),
            backend: self.store.backend().to_owned(),
            status: if locked.running { RuntimeStatus::Running } else { RuntimeStatus::Stopped },
            worker_count: census.total(),
            active_worker_count: census.running,
            stopped_worker_count: census.stopped,
            cancelled_worker_count: census.cancelled,
            diagnostic_count: locked.corrupt.len() as u64,
            limits: RuntimeLimits {
                max_transcript_projection_items: MAX_TRANSCRIPT_ITEMS,
                max_event_batch_items: MAX_EVENT_BATCH,
            },
            features: FEATURES
                .iter()
                .chain(self.store.is_durable().then_some(&Feature::Resume))
                .map(|feature| feature.name().to_owned())
                .collect(),
            incarnation: Some(self.incarnation.clone()),
            diagnostics: Vec::new(),
        }))
    }

    pub(super) fn worker(&self, worker_id: &WorkerId) -> Result<Reply, Fault> {
        let locked = self.lock().map_err(store_fault)?;
        let record = self.record(&locked, worker_id)?;
        Ok(Reply::Worker(Box::new(self.worker_detail(record))))
    }

    pub(super) fn transcript(
        &self,
        worker_id: &WorkerId,
        start: Option<u64>,
        limit: Option<u64>,
        contains: Option<&Contains>,
    ) -> Result<Reply, Fault> {
        let (start, limit) = (start.unwrap_or(0), limit.unwrap_or(MAX_TRANSCRIPT_ITEMS));
        if limit > MAX_TRANSCRIPT_ITEMS {
            let message = format!("limit {limit} exceeds maximum {MAX_TRANSCRIPT_ITEMS}");
            return Err(Fault::new(FaultCode::LimitTooLarge, message));
        }
        let total = {
            let locked = self.lock().map_err(store_fault)?;
            self.record(&locked, worker_id)?.transcript_len
        };
        let count = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut items = self.store.page(worker_id, start, count).map_err(store_fault)?.items;
        // What has come since is the next page's.
        items.retain(|item| item.sequence <= total);
        let worker_ref = self.wire_ref(worker_id);
        // Sequences count from one, offsets from nought: one item's sequence is the offset of the next.
        let next = items.last().map_or(start, |item| item.sequence);
        let is_asked_for = Contains::filter(contains);
        items.retain(|item| is_asked_for(&item.content));
        Ok(Reply::Transcript(Transcript {
            items: items.iter().map(|item| item.to_wire(&worker_ref)).collect(),
            worker_ref,
            start,
            limit,
            total_items: total,
            next_start: (next < total).then_some(next),
            left_out: 0,
        }))
    }

    pub(super) fn worker_detail(&self, record: &WorkerRecord) -> WorkerDetail {
        let spec = CreateWorker::clone(&record.spec);
        WorkerDetail {
            worker_ref: self.wire_ref(&record.worker_id),
            runtime_id: self.config.runtime_id.to_string(),
            worker_id: record.worker_id.to_string(),
            status: record.status(),
            intent: spec.intent,
            profile: spec.profile,
            config_bundle: spec.config_bundle,
            requested_capabilities: spec.requested_capabilities,
            workspace_refs: spec.workspace_refs,
            mount_refs: spec.mount_refs,
            transcript_len: record.transcript_len,
            last_event_id: record.last_event_id,
            facts: record.facts(),
        }
    }
}
