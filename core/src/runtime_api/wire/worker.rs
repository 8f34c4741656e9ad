//! Workers, what they are made of, and what they have said.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{StoreDiagnostic, WireRef, is_false};

pub(crate) mod lenient;
mod reading;

/// The state of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WorkerStatus {
    /// It has not ended.
    Running,
    /// It ended by itself or was stopped.
    Stopped,
    /// It was cancelled.
    Cancelled,
    /// Something that v1 does not know.
    #[serde(other)]
    Unknown,
}

impl WorkerStatus {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        }
    }
}

impl WorkerStatus {
    /// Whether a worker of this state has ended.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Stopped | Self::Cancelled)
    }
}

/// What a worker is doing.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WorkerActivity {
    /// It waits for input.
    Idle,
    /// It is at work.
    Running,
    /// It waits for the answer to a request.
    Waiting,
    /// Something that v1 does not know, as it was written.
    #[serde(untagged)]
    Other(String),
}

/// How a worker ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
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
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
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
    /// Something that v1 does not know, as it was written.
    #[serde(untagged)]
    Other(String),
}

/// What a worker is for.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Intent {
    /// To be talked to.
    Assistant {
        /// What about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        purpose: Option<String>,
    },
    /// To get one thing done.
    Task {
        /// Which thing.
        objective: String,
    },
    /// To act in a role.
    Role {
        /// Which role.
        role: String,
        /// What for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        purpose: Option<String>,
    },
    /// Of a kind that v1 does not know. Runtimes may tell of one; no create can ask for one.
    #[serde(skip)]
    #[cfg_attr(feature = "pages", schemars(untagged))]
    Other(OtherIntent),
}

/// An intent of a kind that v1 does not know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
pub struct OtherIntent {
    /// Its kind, as the runtime calls it.
    pub kind: String,
    /// What it is about, where the runtime says so as v1 does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
}

/// A variant of serde's own for what is not known would take the reasons from the errors of all others.
impl Serialize for Intent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize, Default)]
        struct Fields<'a> {
            kind: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            objective: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            role: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            purpose: Option<&'a str>,
        }
        let fields = match self {
            Self::Assistant { purpose } => {
                Fields { kind: "assistant", purpose: purpose.as_deref(), ..Fields::default() }
            }
            Self::Task { objective } => {
                Fields { kind: "task", objective: Some(objective), ..Fields::default() }
            }
            Self::Role { role, purpose } => {
                Fields { kind: "role", role: Some(role), purpose: purpose.as_deref(), ..Fields::default() }
            }
            Self::Other(OtherIntent { kind, purpose }) => {
                Fields { kind, purpose: purpose.as_deref(), ..Fields::default() }
            }
        };
        fields.serialize(serializer)
    }
}

impl Intent {
    /// Its texts: its kind where v1 does not know it, its role, and what it is about.
    pub fn texts(&self) -> impl Iterator<Item = &String> {
        let (first, second) = match self {
            Self::Assistant { purpose } => (None, purpose.as_ref()),
            Self::Task { objective } => (None, Some(objective)),
            Self::Role { role, purpose } => (Some(role), purpose.as_ref()),
            Self::Other(OtherIntent { kind, purpose }) => (Some(kind), purpose.as_ref()),
        };
        first.into_iter().chain(second)
    }

    /// The same, to be changed.
    pub fn texts_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let (first, second) = match self {
            Self::Assistant { purpose } => (None, purpose.as_mut()),
            Self::Task { objective } => (None, Some(objective)),
            Self::Role { role, purpose } => (Some(role), purpose.as_mut()),
            Self::Other(OtherIntent { kind, purpose }) => (Some(kind), purpose.as_mut()),
        };
        first.into_iter().chain(second)
    }

    /// What it is about.
    pub fn about(&self) -> Option<&str> {
        match self {
            Self::Task { objective } => Some(objective),
            Self::Assistant { purpose } | Self::Role { purpose, .. } => purpose.as_deref(),
            Self::Other(other) => other.purpose.as_deref(),
        }
    }
}

/// What a worker runs. Profiles are the runtime operator's: a name never is an executable or a path.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
#[serde(tag = "kind", content = "value", rename_all = "snake_case", deny_unknown_fields)]
pub enum Profile {
    /// The one that the runtime takes for its default.
    #[default]
    RuntimeDefault,
    /// A profile that comes with the runtime.
    Builtin(String),
    /// A profile that the runtime's operator configured.
    Named(String),
    /// Of a kind that v1 does not know. Runtimes may tell of one; no create can ask for one.
    #[serde(skip)]
    #[cfg_attr(feature = "pages", schemars(untagged))]
    Other(OtherProfile),
}

/// A profile of a kind that v1 does not know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
pub struct OtherProfile {
    /// Its kind, as the runtime calls it.
    pub kind: String,
    /// Its name, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl Serialize for Profile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            kind: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            value: Option<&'a str>,
        }
        let (kind, value) = match self {
            Self::RuntimeDefault => ("runtime_default", None),
            Self::Builtin(name) => ("builtin", Some(name.as_str())),
            Self::Named(name) => ("named", Some(name.as_str())),
            Self::Other(OtherProfile { kind, value }) => (kind.as_str(), value.as_deref()),
        };
        Fields { kind, value }.serialize(serializer)
    }
}

impl Profile {
    /// Its texts: its kind where v1 does not know it, and its name.
    pub(crate) fn texts_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let (kind, name) = match self {
            Self::RuntimeDefault => (None, None),
            Self::Builtin(name) | Self::Named(name) => (None, Some(name)),
            Self::Other(OtherProfile { kind, value }) => (Some(kind), value.as_mut()),
        };
        kind.into_iter().chain(name)
    }
}

/// Something that a worker was meant to be able to do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Capability {
    /// What.
    pub name: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A name for something outside, such as a workspace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// What the worker calls it.
    pub name: String,
    /// What the runtime knows it by.
    pub reference: String,
}

/// The configuration that a worker was created with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConfigBundle {
    /// What the runtime knows it by.
    pub id: String,
}

/// What our own runtime tells of a worker beyond v1, in lists as well as by itself. All of it may be absent.
///
/// Times are RFC 3339, UTC, with milliseconds.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
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
    /// Whether it can be taken up again, its runtime having gone away.
    #[serde(default, skip_serializing_if = "is_false")]
    pub resumable: bool,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<WorkerEnd>,
}

/// A worker in a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "reading::WorkerSummary")]
pub struct WorkerSummary {
    /// Both halves of its name.
    pub worker_ref: WireRef,
    /// The runtime's half again.
    pub runtime_id: String,
    /// The worker's half again.
    pub worker_id: String,
    /// Its state.
    pub status: WorkerStatus,
    /// What it is for.
    pub intent: Intent,
    /// What it runs.
    pub profile: Profile,
    /// How many capabilities it was meant to have.
    pub requested_capability_count: u64,
    /// Whether it was created with a configuration.
    pub has_config_bundle: bool,
    /// How many items its transcript has.
    pub transcript_len: u64,
    /// The number of its newest event.
    pub last_event_id: u64,
    /// What v1 does not have.
    #[serde(flatten)]
    pub facts: WorkerFacts,
    /// Whether a text of this row was cut short.
    #[serde(default, skip_serializing_if = "is_false")]
    pub truncated: bool,
}

/// Workers, all or a page of them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct WorkerList {
    /// Oldest first.
    pub workers: Vec<WorkerSummary>,
    /// Where the next page begins.
    #[serde(default, skip_serializing_if = "NextAfter::is_whole")]
    pub next_after: NextAfter,
    /// How many more there are that could not be read.
    #[serde(skip)]
    pub left_out: usize,
    /// What is wrong with the list, where it is of a store on this machine that is only read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<StoreDiagnostic>,
}

impl From<Vec<WorkerSummary>> for WorkerList {
    fn from(workers: Vec<WorkerSummary>) -> Self {
        Self { workers, ..Self::default() }
    }
}

/// What there is after a list of workers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum NextAfter {
    /// The list is no page, but all there is; nothing stands on the wire.
    #[default]
    Whole,
    /// The page is the last; `null` stands on the wire.
    Nothing,
    /// The next page is the one after this worker's id.
    Worker(String),
}

impl NextAfter {
    fn is_whole(&self) -> bool {
        *self == Self::Whole
    }

    /// The worker after which the next page begins, where there is one.
    pub fn worker(&self) -> Option<&str> {
        match self {
            Self::Worker(worker_id) => Some(worker_id),
            Self::Whole | Self::Nothing => None,
        }
    }
}

impl Serialize for NextAfter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.worker().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for NextAfter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let next: Option<String> = Deserialize::deserialize(deserializer)?;
        Ok(next.map_or(Self::Nothing, Self::Worker))
    }
}

/// A worker by itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "reading::WorkerDetail")]
pub struct WorkerDetail {
    /// Both halves of its name.
    pub worker_ref: WireRef,
    /// The runtime's half again.
    pub runtime_id: String,
    /// The worker's half again.
    pub worker_id: String,
    /// Its state.
    pub status: WorkerStatus,
    /// What it is for.
    pub intent: Intent,
    /// What it runs.
    pub profile: Profile,
    /// The configuration that it was created with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_bundle: Option<ConfigBundle>,
    /// What it was meant to be able to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requested_capabilities: Vec<Capability>,
    /// The workspaces that it was given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workspace_refs: Vec<Reference>,
    /// What else of the runtime's machine it was given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mount_refs: Vec<Reference>,
    /// How many items its transcript has.
    pub transcript_len: u64,
    /// The number of its newest event.
    pub last_event_id: u64,
    /// What v1 does not have.
    #[serde(flatten)]
    pub facts: WorkerFacts,
}

/// The body of a create.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CreateWorker {
    /// What it is for.
    pub intent: Intent,
    /// What it runs.
    pub profile: Profile,
    /// The configuration that it is created with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_bundle: Option<ConfigBundle>,
    /// What it is meant to be able to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requested_capabilities: Vec<Capability>,
    /// The workspaces that it is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workspace_refs: Vec<Reference>,
    /// What else of the runtime's machine it is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mount_refs: Vec<Reference>,
    /// What to call it; for runtimes with [`Feature::Names`](super::super::Feature::Names).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What to file it under; for runtimes with [`Feature::Names`](super::super::Feature::Names).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// In which directory its process starts, if its profile allows that; for runtimes with
    /// [`Feature::Placement`](super::super::Feature::Placement).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Variables for its process, if its profile allows them; for runtimes with
    /// [`Feature::Placement`](super::super::Feature::Placement).
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

/// A page of a worker's transcript.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Transcript {
    /// Whose it is.
    pub worker_ref: WireRef,
    /// How many items come before the page.
    pub start: u64,
    /// How many items were asked for at most.
    pub limit: u64,
    /// How many items the transcript has.
    pub total_items: u64,
    /// The items, oldest first.
    pub items: Vec<TranscriptItem>,
    /// How many items come before the next page, where there is one.
    pub next_start: Option<u64>,
    /// How many more items the page has that could not be read.
    #[serde(skip)]
    pub left_out: usize,
}

/// One entry of a transcript.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TranscriptItem {
    /// Counts the worker's items from one.
    pub sequence: u64,
    /// Whose it is.
    pub worker_ref: WireRef,
    /// Who said it: `user`, `system`, `assistant`, `stderr`, or another.
    pub role: String,
    /// What was said.
    pub content: String,
    /// The number of the event that told it.
    pub event_id: u64,
    /// When it was said: RFC 3339, UTC, with milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Whether it continues the item before it: a piece of a line that was too long for one item.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cont: bool,
}
