//! How workers are read. A flattened field would have serde keep all that it does not know until it has seen everything,
//! and what it keeps has to be of bounded depth and its numbers in range; what these pass over need only be JSON.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    Capability, ConfigBundle, Intent, Profile, Reference, WireRef, WorkerActivity, WorkerEnd, WorkerFacts,
    WorkerStatus, lenient,
};

#[derive(Deserialize)]
pub(super) struct WorkerSummary {
    worker_ref: WireRef,
    runtime_id: String,
    worker_id: String,
    status: WorkerStatus,
    #[serde(deserialize_with = "lenient::intent")]
    intent: Intent,
    #[serde(deserialize_with = "lenient::profile")]
    profile: Profile,
    requested_capability_count: u64,
    has_config_bundle: bool,
    transcript_len: u64,
    last_event_id: u64,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    started_at: Option<String>,
    #[serde(default)]
    last_output_at: Option<String>,
    #[serde(default)]
    ended_at: Option<String>,
    #[serde(default)]
    stopping: bool,
    #[serde(default)]
    activity: Option<WorkerActivity>,
    #[serde(default)]
    requests: Option<u64>,
    #[serde(default)]
    resumable: bool,
    #[serde(default)]
    end: Option<WorkerEnd>,
    #[serde(default)]
    truncated: bool,
}

#[derive(Deserialize)]
pub(super) struct WorkerDetail {
    worker_ref: WireRef,
    runtime_id: String,
    worker_id: String,
    status: WorkerStatus,
    #[serde(deserialize_with = "lenient::intent")]
    intent: Intent,
    #[serde(deserialize_with = "lenient::profile")]
    profile: Profile,
    #[serde(default)]
    config_bundle: Option<ConfigBundle>,
    #[serde(default)]
    requested_capabilities: Vec<Capability>,
    #[serde(default)]
    workspace_refs: Vec<Reference>,
    #[serde(default)]
    mount_refs: Vec<Reference>,
    transcript_len: u64,
    last_event_id: u64,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    started_at: Option<String>,
    #[serde(default)]
    last_output_at: Option<String>,
    #[serde(default)]
    ended_at: Option<String>,
    #[serde(default)]
    stopping: bool,
    #[serde(default)]
    activity: Option<WorkerActivity>,
    #[serde(default)]
    requests: Option<u64>,
    #[serde(default)]
    resumable: bool,
    #[serde(default)]
    end: Option<WorkerEnd>,
}

impl From<WorkerSummary> for super::WorkerSummary {
    fn from(read: WorkerSummary) -> Self {
        let WorkerSummary {
            worker_ref,
            runtime_id,
            worker_id,
            status,
            intent,
            profile,
            requested_capability_count,
            has_config_bundle,
            transcript_len,
            last_event_id,
            name,
            labels,
            created_at,
            started_at,
            last_output_at,
            ended_at,
            stopping,
            activity,
            requests,
            resumable,
            end,
            truncated,
        } = read;
        Self {
            worker_ref,
            runtime_id,
            worker_id,
            status,
            intent,
            profile,
            requested_capability_count,
            has_config_bundle,
            transcript_len,
            last_event_id,
            truncated,
            facts: WorkerFacts {
                name,
                labels,
                created_at,
                started_at,
                last_output_at,
                ended_at,
                stopping,
                activity,
                requests,
                resumable,
                end,
            },
        }
    }
}

impl From<WorkerDetail> for super::WorkerDetail {
    fn from(read: WorkerDetail) -> Self {
        let WorkerDetail {
            worker_ref,
            runtime_id,
            worker_id,
            status,
            intent,
            profile,
            config_bundle,
            requested_capabilities,
            workspace_refs,
            mount_refs,
            transcript_len,
            last_event_id,
            name,
            labels,
            created_at,
            started_at,
            last_output_at,
            ended_at,
            stopping,
            activity,
            requests,
            resumable,
            end,
        } = read;
        Self {
            worker_ref,
            runtime_id,
            worker_id,
            status,
            intent,
            profile,
            config_bundle,
            requested_capabilities,
            workspace_refs,
            mount_refs,
            transcript_len,
            last_event_id,
            facts: WorkerFacts {
                name,
                labels,
                created_at,
                started_at,
                last_output_at,
                ended_at,
                stopping,
                activity,
                requests,
                resumable,
                end,
            },
        }
    }
}
