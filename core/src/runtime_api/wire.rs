//! The JSON shapes of v1, fields in the order in which deployed runtimes write them.
//!
//! Ids that a runtime writes are plain texts here: whether they are of the form, and whether they are the ones
//! that were asked for, is checked by whoever uses them.

use serde::{Deserialize, Serialize};

use crate::id::{RuntimeId, WorkerId, WorkerRef};

/// The feature of a runtime that honours idempotency keys.
pub const FEATURE_IDEMPOTENCY: &str = "idempotency";

/// What a runtime says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are RUNTIME-API.md's")]
pub struct RuntimeSummary {
    pub runtime_id: String,
    pub display_name: Option<String>,
    pub backend: String,
    pub status: RuntimeStatus,
    pub worker_count: u64,
    pub active_worker_count: u64,
    pub stopped_worker_count: u64,
    pub cancelled_worker_count: u64,
    pub diagnostic_count: u64,
    pub limits: RuntimeLimits,
    /// What the runtime has beyond v1; empty where nothing is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// New at every start that did not keep the runtime's state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<String>,
}

/// What a runtime says of its own state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeStatus {
    /// It takes commands.
    Running,
    /// It has been stopped.
    Stopped,
    /// Nothing was said, or something that v1 does not know.
    #[serde(other)]
    Unknown,
}

/// The bounds of a runtime's replies, in items.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are RUNTIME-API.md's")]
pub struct RuntimeLimits {
    pub max_transcript_projection_items: u64,
    pub max_event_batch_items: u64,
}

/// Both halves of a worker's name, as a runtime writes them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are RUNTIME-API.md's")]
pub struct WireRef {
    pub runtime_id: String,
    pub worker_id: String,
}

impl From<&WorkerRef> for WireRef {
    fn from(worker: &WorkerRef) -> Self {
        Self { runtime_id: worker.runtime_id.to_string(), worker_id: worker.worker_id.to_string() }
    }
}

impl WireRef {
    /// Whether this names the given worker of the given runtime.
    pub fn is(&self, runtime_id: &RuntimeId, worker_id: &WorkerId) -> bool {
        self.runtime_id == runtime_id.as_str() && self.worker_id == worker_id.as_str()
    }
}

/// The state of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerStatus {
    /// It takes input.
    Running,
    /// It ended by itself or was stopped.
    Stopped,
    /// It was cancelled.
    Cancelled,
    /// Something that v1 does not know.
    #[serde(other)]
    Unknown,
}

/// What a worker is for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are RUNTIME-API.md's")]
pub enum Intent {
    /// To be talked to.
    Assistant {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        purpose: Option<String>,
    },
    /// To get one thing done.
    Task { objective: String },
    /// To act as somebody.
    Role {
        role: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        purpose: Option<String>,
    },
}

/// What a worker runs. Profiles are the runtime operator's: a name never is an executable or a path.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(tag = "kind", content = "value", rename_all = "snake_case", deny_unknown_fields)]
pub enum Profile {
    /// Whatever the runtime takes for its default.
    #[default]
    RuntimeDefault,
    /// A profile that comes with the runtime.
    Builtin(String),
    /// A profile that the runtime's operator configured.
    Named(String),
}

/// Something that a worker was meant to be able to do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are RUNTIME-API.md's")]
pub struct Capability {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A name for something outside, such as a workspace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are RUNTIME-API.md's")]
pub struct Reference {
    pub name: String,
    pub reference: String,
}

/// The configuration that a worker was created with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are RUNTIME-API.md's")]
pub struct ConfigBundle {
    pub id: String,
}

/// A worker in a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are RUNTIME-API.md's")]
pub struct WorkerSummary {
    pub worker_ref: WireRef,
    pub runtime_id: String,
    pub worker_id: String,
    pub status: WorkerStatus,
    pub intent: Intent,
    pub profile: Profile,
    pub requested_capability_count: u64,
    pub has_config_bundle: bool,
    pub transcript_len: u64,
    pub last_event_id: u64,
}

/// A worker by itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are RUNTIME-API.md's")]
pub struct WorkerDetail {
    pub worker_ref: WireRef,
    pub runtime_id: String,
    pub worker_id: String,
    pub status: WorkerStatus,
    pub intent: Intent,
    pub profile: Profile,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_bundle: Option<ConfigBundle>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requested_capabilities: Vec<Capability>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workspace_refs: Vec<Reference>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mount_refs: Vec<Reference>,
    pub transcript_len: u64,
    pub last_event_id: u64,
}

/// The body of a create.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are RUNTIME-API.md's")]
pub struct CreateWorker {
    pub intent: Intent,
    pub profile: Profile,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_bundle: Option<ConfigBundle>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requested_capabilities: Vec<Capability>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workspace_refs: Vec<Reference>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mount_refs: Vec<Reference>,
}

impl CreateWorker {
    /// A worker with nothing asked for beyond its intent and profile.
    pub fn new(intent: Intent, profile: Profile) -> Self {
        Self {
            intent,
            profile,
            config_bundle: None,
            requested_capabilities: Vec::new(),
            workspace_refs: Vec::new(),
            mount_refs: Vec::new(),
        }
    }
}

/// Who speaks to the worker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    /// Its user.
    #[default]
    User,
    /// The system around it.
    System,
}

/// The body of an input.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are RUNTIME-API.md's")]
pub struct Input {
    pub kind: InputKind,
    pub content: String,
}

/// The body of a stop or cancel.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are RUNTIME-API.md's")]
pub struct Reason {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The answer to an input.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are RUNTIME-API.md's")]
pub struct InputAck {
    pub worker_ref: WireRef,
    pub status: WorkerStatus,
    pub transcript_sequence: u64,
    pub event_id: u64,
}

/// The answer to a stop or cancel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are RUNTIME-API.md's")]
pub struct Ack {
    pub worker_ref: WireRef,
    pub status: WorkerStatus,
    pub event_id: u64,
}

/// A page of a worker's transcript.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are RUNTIME-API.md's")]
pub struct Transcript {
    pub worker_ref: WireRef,
    pub start: u64,
    pub limit: u64,
    pub total_items: u64,
    pub items: Vec<TranscriptItem>,
    pub next_start: Option<u64>,
}

/// One entry of a transcript.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are RUNTIME-API.md's")]
pub struct TranscriptItem {
    pub sequence: u64,
    pub worker_ref: WireRef,
    pub role: String,
    pub content: String,
    pub event_id: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nested_field_that_nobody_knows_is_refused() {
        for json in [
            r#"{"kind":"assistant","colour":"red"}"#,
            r#"{"kind":"task","objective":"x","purpose":"y"}"#,
            r#"{"kind":"task"}"#,
            r#"{"kind":"butler"}"#,
        ] {
            assert!(serde_json::from_str::<Intent>(json).is_err(), "{json}");
        }
        for json in [r#"{"kind":"runtime_default","path":"/bin/sh"}"#, r#"{"kind":"named"}"#] {
            assert!(serde_json::from_str::<Profile>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn profiles_are_tagged() {
        for (profile, json) in [
            (Profile::RuntimeDefault, r#"{"kind":"runtime_default"}"#),
            (Profile::Builtin("builtin:echo".into()), r#"{"kind":"builtin","value":"builtin:echo"}"#),
            (Profile::Named("shell".into()), r#"{"kind":"named","value":"shell"}"#),
        ] {
            assert_eq!(serde_json::to_string(&profile).unwrap(), json);
            assert_eq!(serde_json::from_str::<Profile>(json).unwrap(), profile);
        }
    }

    #[test]
    fn a_status_of_tomorrow_is_unknown() {
        assert_eq!(serde_json::from_str::<WorkerStatus>(r#""resting""#).unwrap(), WorkerStatus::Unknown);
        assert_eq!(serde_json::from_str::<RuntimeStatus>(r#""resting""#).unwrap(), RuntimeStatus::Unknown);
    }
}
