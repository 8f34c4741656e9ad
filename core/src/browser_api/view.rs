//! What clients are shown of runtimes and workers: the server writes these types, and its clients read them.

mod presenter;

use std::borrow::Cow;
use std::time::SystemTime;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(super) use presenter::Presenter;

use crate::diagnostic::Diagnostic;
use crate::id::{RequestId, RuntimeId, WorkerId};
use crate::registry::{Health, Reachability, RuntimeSpec};
use crate::runtime_api::{
    Capability, Feature, Intent, Operation, Profile, ProfileSummary, Reference, RequestOption, RuntimeStatus,
    WorkerFacts, WorkerStatus,
};

/// A list, or a page of one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema), schemars(rename = "{T}Page"))]
pub struct Items<T> {
    /// What can be shown.
    pub items: Vec<T>,
    /// What cannot, and why.
    pub diagnostics: Vec<Diagnostic>,
    /// What to ask for as `after` to get the next page, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_after: Option<String>,
}

/// The profiles of a runtime, as clients see them: just as it tells them.
pub type ProfileView = ProfileSummary;

/// What a runtime can do, as far as is known: a truth for each [operation](Operation::name), and for `idempotency`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capabilities(Vec<(Cow<'static, str>, bool)>);

impl Capabilities {
    fn of(health: &Health) -> Self {
        let operations = Operation::ALL.iter().filter(|operation| **operation != Operation::ReadRuntime);
        let mut all: Vec<_> =
            operations.map(|operation| (operation.name().into(), health.can(*operation))).collect();
        all.push((Feature::Idempotency.name().into(), health.has(Feature::Idempotency)));
        Self(all)
    }

    /// All of them, in the order in which they were told.
    pub fn iter(&self) -> impl Iterator<Item = (&str, bool)> {
        self.0.iter().map(|(name, can)| (&**name, *can))
    }

    /// Whether the runtime can do what has this name; it cannot do what it does not tell of.
    pub fn can(&self, name: &str) -> bool {
        self.iter().any(|(known, can)| known == name && can)
    }
}

#[cfg(feature = "pages")]
impl schemars::JsonSchema for Capabilities {
    fn schema_name() -> Cow<'static, str> {
        "Capabilities".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let description =
            "What a runtime can do, as far as is known: a truth for each operation, and for `idempotency`.";
        schemars::json_schema!({
            "description": description, "type": "object", "additionalProperties": { "type": "boolean" },
        })
    }
}

impl Serialize for Capabilities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, can) in &self.0 {
            map.serialize_entry(name, can)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Capabilities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Capabilities;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of truths")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Capabilities, A::Error> {
                let mut all = Vec::new();
                while let Some((name, can)) = map.next_entry::<String, bool>()? {
                    all.push((name.into(), can));
                }
                Ok(Capabilities(all))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// `{"runtime":…}`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
pub struct RuntimeReply {
    /// The runtime.
    pub runtime: RuntimeView,
}

/// A runtime as clients see it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
pub struct RuntimeView {
    /// Its name.
    pub runtime_id: RuntimeId,
    /// What people call it.
    pub display_name: String,
    /// Where it runs: the [name](crate::registry::RuntimeKind::name) of a kind.
    pub kind: Cow<'static, str>,
    /// What it last said of itself.
    pub status: RuntimeStatus,
    /// Whether the gateway reaches it.
    pub reachability: Reachability,
    /// When it last answered: RFC 3339, UTC, in seconds.
    pub last_seen_at: Option<String>,
    /// What it can do.
    pub capabilities: Capabilities,
    /// How many workers it has, where that is known.
    pub workers: Option<WorkerCounts>,
    /// The bounds of its replies, where they are known.
    pub limits: Option<Limits>,
    /// What is wrong with it.
    #[serde(default)]
    pub diagnostics: Vec<Diagnostic>,
}

/// How many workers a runtime has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
pub struct WorkerCounts {
    /// In all.
    pub total: u64,
    /// That run.
    pub active: u64,
    /// That have stopped.
    pub stopped: u64,
    /// That were cancelled.
    pub cancelled: u64,
}

/// The bounds of a runtime's replies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
pub struct Limits {
    /// How many items of a transcript are in one reply at most.
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
        Self {
            runtime_id: spec.runtime_id.clone(),
            display_name: health.display_name(spec).to_owned(),
            kind: spec.kind.name().into(),
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

/// `{"worker":…}`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
pub struct WorkerReply {
    /// The worker.
    pub worker: WorkerView,
    /// What is to be told beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
}

/// A worker as clients see it. Mount references and configuration bundles stay behind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
pub struct WorkerView {
    /// The runtime's half of its name.
    pub runtime_id: RuntimeId,
    /// Its own half.
    pub worker_id: WorkerId,
    /// Where its runtime runs: the [name](crate::registry::RuntimeKind::name) of a kind.
    pub kind: Cow<'static, str>,
    /// Its state.
    pub status: WorkerStatus,
    /// What it is for.
    #[serde(deserialize_with = "crate::runtime_api::lenient::intent")]
    pub intent: Intent,
    /// What it runs.
    #[serde(deserialize_with = "crate::runtime_api::lenient::profile")]
    pub profile: Profile,
    /// What it was meant to be able to do; not told in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_capabilities: Option<Vec<Capability>>,
    /// The workspaces that it was given; not told in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_refs: Option<Vec<Reference>>,
    /// How many items its transcript has.
    pub transcript_len: u64,
    /// The number of its newest event.
    pub last_event_id: u64,
    /// What can be done with it now.
    pub capabilities: WorkerCapabilities,
    /// What not every runtime tells.
    #[serde(flatten)]
    pub facts: WorkerFacts,
    /// Whether texts were cut, as they are in lists, to [`MAX_LISTED_TEXT`] characters.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// The longest text of a row in a list of workers, in characters, without the `…` that stands where it was cut.
pub const MAX_LISTED_TEXT: usize = 512;

/// What can be done with a worker now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
pub struct WorkerCapabilities {
    /// It takes input.
    pub send_input: bool,
    /// It can be told to end.
    pub stop: bool,
    /// It can be made to end.
    pub cancel: bool,
    /// Its transcript can be read.
    pub read_transcript: bool,
    /// It can be watched.
    pub observe_events: bool,
}

impl WorkerCapabilities {
    /// All of them by name.
    pub fn iter(self) -> impl Iterator<Item = (&'static str, bool)> {
        let Self { send_input, stop, cancel, read_transcript, observe_events } = self;
        let all = [
            ("send_input", send_input),
            ("stop", stop),
            ("cancel", cancel),
            ("read_transcript", read_transcript),
            ("observe_events", observe_events),
        ];
        all.into_iter()
    }
}

/// `{"ack":…}`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
pub struct AckReply {
    /// The acknowledgement.
    pub ack: AckView,
    /// What is to be told beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
}

/// That something was done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
pub struct AckView {
    /// The runtime's half of the worker's name.
    pub runtime_id: RuntimeId,
    /// The worker's own half.
    pub worker_id: WorkerId,
    /// The worker's present state.
    pub status: WorkerStatus,
    /// Of an input, the sequence of the transcript's item that it became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transcript_sequence: Option<u64>,
    /// The number of the event that told it.
    pub event_id: u64,
}

/// `{"transcript":…}`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
pub struct TranscriptReply {
    /// The page.
    pub transcript: TranscriptView,
    /// What cannot be shown of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A page of a worker's transcript.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
pub struct TranscriptView {
    /// The runtime's half of the worker's name.
    pub runtime_id: RuntimeId,
    /// The worker's own half.
    pub worker_id: WorkerId,
    /// How many items come before the page.
    pub start: u64,
    /// How many items were asked for at most.
    pub limit: u64,
    /// How many items the transcript has.
    pub total_items: u64,
    /// The items, oldest first: all of the page, or those that hold the text that was asked for.
    pub items: Vec<ItemView>,
    /// How many items come before the next page, where there is one.
    pub next_start: Option<u64>,
    /// How many items from `start` on the runtime no longer keeps: the page begins after them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u64,
}

/// One entry of a transcript.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
pub struct ItemView {
    /// Counts the worker's items from one.
    pub sequence: u64,
    /// Who said it.
    pub role: String,
    /// What was said.
    pub content: String,
    /// The number of the event that told it.
    pub event_id: u64,
    /// When it was said, where the runtime tells: RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Whether it continues the item before it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cont: bool,
}

/// `{"requests":…}`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
pub struct RequestsReply {
    /// The open requests, oldest first.
    pub requests: Vec<RequestView>,
    /// What cannot be shown, and why.
    pub diagnostics: Vec<Diagnostic>,
}

/// A question of a worker that waits for an answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
pub struct RequestView {
    /// The runtime's half of the worker's name.
    pub runtime_id: RuntimeId,
    /// The worker's own half.
    pub worker_id: WorkerId,
    /// Names it among the worker's requests.
    pub request_id: RequestId,
    /// What is asked for: `permission`, `choice`, or another kind.
    pub kind: String,
    /// The question in one line.
    pub title: String,
    /// What there is to know about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The tool call that waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// The answers that there are.
    pub options: Vec<RequestOption>,
    /// When it was asked: RFC 3339.
    pub opened_at: String,
    /// When it will be dismissed, if its profile says so: RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// What the gateway says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
pub struct HealthReply {
    /// `ok`, `ready` or `draining`.
    pub status: Cow<'static, str>,
}
