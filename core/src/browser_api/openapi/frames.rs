//! The frames of a stream, as schemas: they are written by hand, for they are written often.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::diagnostic::Diagnostic;
use crate::id::{RuntimeId, WorkerId};

/// One message of a stream, or the `data` of one server-sent event.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schemars(rename = "Frame")]
#[expect(dead_code, reason = "only its schema is of use")]
pub(super) enum FrameView {
    /// Something that happened to the worker.
    Event {
        /// What happened, and where it stands.
        envelope: Envelope,
    },
    /// Something about the stream.
    Diagnostic {
        /// What there is to be told.
        diagnostic: Diagnostic,
    },
}

/// An event, and where it stands.
#[derive(Serialize, JsonSchema)]
pub(super) struct Envelope {
    /// Where to go on after it. Opaque; as a server-sent event's `id` as well.
    cursor: String,
    /// What identifies it, for every viewer and at every gateway. That of a snapshot begins with `snapshot:`.
    event_id: String,
    /// The runtime's half of the worker's name.
    runtime_id: RuntimeId,
    /// The worker's own half.
    worker_id: WorkerId,
    /// What happened, as the runtime wrote it: an object with the name of the `event`, and its `data`.
    payload: Value,
}
