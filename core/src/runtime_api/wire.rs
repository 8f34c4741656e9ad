//! The JSON shapes of v1, fields in the order in which deployed runtimes write them (`docs/runtime-api.md`).
//!
//! Ids that a runtime writes are plain texts here: whether they are of the form, and whether they are the ones
//! that were asked for, is checked where they are used. Texts have no bound of their own but that of the response.

mod orders;
mod question;
mod worker;

use serde::{Deserialize, Serialize};

use super::feature::Feature;
use crate::id::{RuntimeId, WorkerId, WorkerRef};

pub(crate) use orders::Nothing;
pub use orders::{Ack, Input, InputAck, InputKind, Reason, TerminalSize};
pub use question::{Answer, RequestList, RequestOption, WorkerRequest};
pub(crate) use worker::lenient;
pub use worker::{
    Capability, ConfigBundle, CreateWorker, EndReason, Intent, NextAfter, OtherIntent, OtherProfile, Profile,
    Reference, Transcript, TranscriptItem, WorkerActivity, WorkerDetail, WorkerEnd, WorkerFacts, WorkerList,
    WorkerStatus, WorkerSummary,
};

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// What a runtime says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RuntimeSummary {
    /// The name that the process goes by.
    pub runtime_id: String,
    /// What people call it.
    pub display_name: Option<String>,
    /// How it keeps its state: `memory`, `fs_store` and others.
    pub backend: String,
    /// Whether it takes commands.
    pub status: RuntimeStatus,
    /// How many workers it knows.
    pub worker_count: u64,
    /// How many of them run.
    pub active_worker_count: u64,
    /// How many have stopped.
    pub stopped_worker_count: u64,
    /// How many were cancelled.
    pub cancelled_worker_count: u64,
    /// How many diagnostics it keeps for its operator.
    pub diagnostic_count: u64,
    /// The bounds of its replies.
    pub limits: RuntimeLimits,
    /// What the runtime has beyond v1, by the [names of features](Feature::name) and any others; empty where nothing is
    /// known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// New at every start that did not keep the runtime's state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<String>,
    /// What is wrong with it, where it is a store on this machine that is only read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<StoreDiagnostic>,
}

/// What is wrong with a store that is only read, or with one worker of it. Runtimes tell nothing of this kind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoreDiagnostic {
    /// A stable word for the cause, such as `store_corrupt`.
    pub code: String,
    /// The cause in words. It shows no path.
    pub message: String,
}

impl RuntimeSummary {
    /// Whether the runtime says that it has a feature.
    pub fn has(&self, feature: Feature) -> bool {
        self.features.iter().any(|known| known == feature.name())
    }
}

/// What a runtime says of its own state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
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

impl RuntimeStatus {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Unknown => "unknown",
        }
    }
}

/// The bounds of a runtime's replies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RuntimeLimits {
    /// How many items of a transcript are in one reply at most.
    pub max_transcript_projection_items: u64,
    /// How many events the process sends at a time at most.
    pub max_event_batch_items: u64,
}

/// A profile that workers can be made of: what its operator says of it, and never a command, a path or a variable.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
pub struct ProfileSummary {
    /// What [`Profile::Named`] or [`Profile::Builtin`] calls it.
    pub name: String,
    /// What it runs: `lines`, `terminal`, `acp`, `builtin:echo`, or another kind.
    pub kind: String,
    /// Whether [`Profile::RuntimeDefault`] means this one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub default: bool,
    /// Whether its workers are on a terminal, which can be resized and takes raw input.
    #[serde(default, skip_serializing_if = "is_false")]
    pub terminal: bool,
    /// What people should know of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// The profiles of a runtime.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ProfileList {
    /// In the order of the runtime's configuration.
    pub profiles: Vec<ProfileSummary>,
    /// How many more there are that could not be read.
    #[serde(skip)]
    pub left_out: usize,
}

/// Both halves of a worker's name, as a runtime writes them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WireRef {
    /// The runtime's half.
    pub runtime_id: String,
    /// The worker's half.
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

#[cfg(test)]
mod tests;
