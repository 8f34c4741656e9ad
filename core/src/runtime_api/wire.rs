//! The JSON shapes of v1, fields in the order in which deployed runtimes write them.
//!
//! Ids that a runtime writes are plain texts here: whether they are of the form, and whether they are the ones
//! that were asked for, is checked by whoever uses them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{RuntimeId, WorkerId, WorkerRef};

/// The feature of a runtime that honours idempotency keys.
pub const FEATURE_IDEMPOTENCY: &str = "idempotency";

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

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

/// What a worker is doing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerActivity {
    /// It takes input.
    Idle,
    /// It is at work.
    Running,
    /// It waits for the answer to a request.
    Waiting,
    /// Something that v1 does not know.
    #[serde(other)]
    Unknown,
}

/// How a worker ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkerEnd {
    /// What ended it.
    pub reason: EndReason,
    /// What its process exited with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The number of the signal that ended its process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// The reason that a stop or cancel was given, or what the system said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What ended a worker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Its process exited by itself.
    Exited,
    /// A signal ended its process that no stop or cancel had sent.
    Signalled,
    /// Its process could not be started.
    NotStarted,
    /// It was stopped.
    Stopped,
    /// It was cancelled.
    Cancelled,
    /// Its runtime went away, and the process with it.
    RuntimeLost,
    /// What it wrote could not be kept.
    StoreFailed,
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

/// What our own runtime tells of a worker beyond v1, in lists as well as by itself. All of it may be absent.
///
/// Times are RFC 3339, UTC, with milliseconds.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct WorkerFacts {
    /// What its creator called it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What its creator filed it under.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// When it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// When its process started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it last wrote something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_output_at: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// Whether it was told to end and has not yet.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stopping: bool,
    /// What it is doing, where the runtime can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<WorkerActivity>,
    /// How many of its requests wait for an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<WorkerEnd>,
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
    /// What v1 does not have.
    #[serde(flatten)]
    pub facts: WorkerFacts,
    /// Whether a text of this row was cut short.
    #[serde(default, skip_serializing_if = "is_false")]
    pub truncated: bool,
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
    /// What v1 does not have.
    #[serde(flatten)]
    pub facts: WorkerFacts,
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
    /// What to call it; for runtimes with the feature `names`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What to file it under; for runtimes with the feature `names`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Where its process starts, if its profile allows that; for runtimes with the feature `placement`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Variables for its process, if its profile allows them; for runtimes with the feature `placement`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
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
            name: None,
            labels: BTreeMap::new(),
            cwd: None,
            env: BTreeMap::new(),
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
    /// When it was said: RFC 3339, UTC, with milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Whether it continues the item before it: a piece of a line that was too long for one item.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cont: bool,
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
