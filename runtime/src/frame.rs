//! The frames that our own streams are made of.

use std::borrow::Cow;

use bytes::Bytes;
use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::{Envelope, Frame, SNAPSHOT_PREFIX, StreamDiagnostic};
use serde_json::value::{RawValue, to_raw_value};

use crate::event::{Event, Snapshot};

/// How much of a cursor that is none is repeated, in characters.
const MAX_REPEATED: usize = 64;

/// An event as JSON.
pub(crate) fn payload(event: &Event) -> Box<RawValue> {
    // Plain structs of texts: there is no map with keys that JSON could not have.
    to_raw_value(event).expect("plain data")
}

/// An event, which goes by its own place.
pub(crate) fn event(cursor: &str, worker_id: &WorkerId, payload: &RawValue) -> Bytes {
    envelope(cursor, cursor, worker_id, payload)
}

/// What a stream begins with.
pub(crate) fn snapshot(cursor: &str, worker_id: &WorkerId, snapshot: Snapshot) -> Bytes {
    let event_id = format!("{SNAPSHOT_PREFIX}{cursor}");
    envelope(cursor, &event_id, worker_id, &payload(&Event::Snapshot(Box::new(snapshot))))
}

fn envelope(cursor: &str, event_id: &str, worker_id: &WorkerId, payload: &RawValue) -> Bytes {
    Frame::Event(Envelope {
        cursor: cursor.into(),
        event_id: event_id.into(),
        worker_id: worker_id.as_str().into(),
        payload,
    })
    .into_text()
}

/// Why a stream ends: the last that is said in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Diagnostic<'a> {
    /// The cursor is none.
    CursorMalformed { cursor: &'a str },
    /// The cursor is of another epoch, of the future, of too long ago or of another worker.
    CursorUnknown { cursor: &'a str, worker_id: &'a WorkerId },
    /// The worker was forgotten.
    WorkerNotFound,
    /// The subscriber fell behind the backlog.
    CursorExpired,
    /// The runtime ends.
    Unavailable,
    /// The subscriber said something.
    #[cfg_attr(not(feature = "serve"), allow(dead_code, reason = "only over a wire can anything be said"))]
    ObservationOnly,
}

impl Diagnostic<'_> {
    fn code(self) -> &'static str {
        match self {
            Self::CursorMalformed { .. } => "runtime.cursor_malformed",
            Self::CursorUnknown { .. } => "runtime.cursor_unknown_or_expired",
            Self::WorkerNotFound => "runtime.worker_not_found",
            Self::CursorExpired => "runtime.cursor_expired",
            Self::Unavailable => "runtime.unavailable",
            Self::ObservationOnly => "runtime.observation_only",
        }
    }

    /// In the words of deployed runtimes where those were recorded.
    fn message(self) -> Cow<'static, str> {
        match self {
            Self::CursorMalformed { cursor } => {
                let cursor: String = cursor.chars().take(MAX_REPEATED).collect();
                format!("malformed worker observation cursor: {cursor}").into()
            }
            Self::CursorUnknown { cursor, worker_id } => format!(
                "invalid request: worker observation cursor {cursor} is unknown for worker {worker_id}"
            )
            .into(),
            Self::WorkerNotFound => "the worker was removed".into(),
            Self::CursorExpired => "the subscriber fell behind the events that are kept".into(),
            Self::Unavailable => "the runtime is shutting down".into(),
            Self::ObservationOnly => "runtime worker event WebSocket is observation-only".into(),
        }
    }

    pub(crate) fn into_frame(self) -> Bytes {
        Frame::Diagnostic(StreamDiagnostic { code: self.code().into(), message: self.message() }).into_text()
    }
}

#[cfg(test)]
mod tests;
