//! What a worker was created with, as stores keep it. What is not known is passed over.

use sekisho_core::runtime_api::{
    Capability, Intent, Profile, Reference, WireRef, WorkerDetail, WorkerFacts, WorkerStatus,
};
use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct RequestRecord {
    intent: IntentRecord,
    profile: ProfileRecord,
    #[serde(default)]
    requested_capabilities: Vec<CapabilityRecord>,
    #[serde(default)]
    workspace_refs: Vec<ReferenceRecord>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum IntentRecord {
    Assistant { purpose: Option<String> },
    Task { objective: String },
    Role { role: String, purpose: Option<String> },
}

#[derive(Deserialize)]
#[serde(tag = "kind", content = "value", rename_all = "snake_case")]
enum ProfileRecord {
    RuntimeDefault,
    Builtin(String),
    Named(String),
}

#[derive(Deserialize)]
struct CapabilityRecord {
    name: String,
    reason: Option<String>,
}

#[derive(Deserialize)]
struct ReferenceRecord {
    name: String,
    reference: String,
}

impl RequestRecord {
    /// The worker that was created with it. `config_bundle` and `mount_refs` are of the owner's machine alone and are
    /// not read.
    pub(crate) fn into_detail(self, worker_ref: WireRef, status: WorkerStatus) -> WorkerDetail {
        WorkerDetail {
            runtime_id: worker_ref.runtime_id.clone(),
            worker_id: worker_ref.worker_id.clone(),
            worker_ref,
            status,
            intent: match self.intent {
                IntentRecord::Assistant { purpose } => Intent::Assistant { purpose },
                IntentRecord::Task { objective } => Intent::Task { objective },
                IntentRecord::Role { role, purpose } => Intent::Role { role, purpose },
            },
            profile: match self.profile {
                ProfileRecord::RuntimeDefault => Profile::RuntimeDefault,
                ProfileRecord::Builtin(name) => Profile::Builtin(name),
                ProfileRecord::Named(name) => Profile::Named(name),
            },
            config_bundle: None,
            requested_capabilities: self
                .requested_capabilities
                .into_iter()
                .map(|CapabilityRecord { name, reason }| Capability { name, reason })
                .collect(),
            workspace_refs: self
                .workspace_refs
                .into_iter()
                .map(|ReferenceRecord { name, reference }| Reference { name, reference })
                .collect(),
            mount_refs: Vec::new(),
            transcript_len: 0,
            last_event_id: 0,
            facts: WorkerFacts::default(),
        }
    }
}
