//! The retained events of a stored worker, as a stream that ends caught up.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::Bytes;
use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::{
    Envelope, Frame, Observe, SNAPSHOT_PREFIX, StreamDiagnostic, TranscriptItem, WorkerStatus,
};
use sekisho_core::transport::Frames;
use serde_json::value::{RawValue, to_raw_value};

use crate::archive::Archive;
use crate::journal::{ForeignStore, StoredEvent};
use crate::problem::Problem;

/// How many characters of an incarnation a cursor begins with.
const EPOCH_LENGTH: usize = 16;

/// The most events that are read of a worker, and the most bytes of them: what its runtime keeps.
const MAX_EVENTS: usize = 16 * 1024;
const MAX_EVENT_BYTES: usize = 4 * 1024 * 1024;

/// The newest items that a snapshot has, and the most text of them, in bytes.
const MAX_ITEMS: usize = 256;
const MAX_ITEM_BYTES: usize = 64 * 1024;

/// The frames of a stored worker. After the last there is nothing, and no end either: a viewer has caught up.
pub(super) struct StoredFrames {
    frames: VecDeque<Bytes>,
    ends: bool,
}

impl Frames for StoredFrames {
    fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self.frames.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None if self.ends => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

/// The stream of a worker from a cursor on; `None` where there is no such worker.
pub(super) fn open(store: &ForeignStore, observe: &Observe) -> Result<Option<StoredFrames>, Problem> {
    let Observe { worker_id, cursor } = observe;
    let incarnation = store.incarnation()?;
    let epoch = incarnation.get(..EPOCH_LENGTH).unwrap_or(&incarnation);
    let Some(worker) = store.worker(worker_id)? else { return Ok(None) };
    let (head, status) = (worker.last_event_id, worker.status);
    let found = store.events(worker_id, 0, MAX_EVENTS, MAX_EVENT_BYTES)?.unwrap_or_default();
    // Where the stream goes on; `None` where the cursor is of no place that is kept.
    let start = match cursor {
        None => Some(head),
        Some(cursor) => place_of(cursor, epoch).filter(|place| {
            found.before == Some(*place)
                || *place == head
                || found.events.iter().any(|event| event.place == *place)
        }),
    };
    let place = start.unwrap_or(u64::MAX);
    let shown = cursor.clone().unwrap_or_else(|| format!("{epoch}.{head}"));
    let entries = store.newest_items(worker_id, place, MAX_ITEMS, MAX_ITEM_BYTES)?.unwrap_or_default();
    let mut frames = VecDeque::from([snapshot(&shown, worker_id, &entries, status)]);
    let Some(start) = start else {
        frames.push_back(unknown(&shown, worker_id));
        return Ok(Some(StoredFrames { frames, ends: true }));
    };
    for event in found.events.into_iter().filter(|event| event.place > start) {
        frames.extend(frame(epoch, worker_id, event));
    }
    Ok(Some(StoredFrames { frames, ends: false }))
}

/// The place of a cursor `EPOCH.PLACE` of this epoch.
fn place_of(cursor: &str, epoch: &str) -> Option<u64> {
    let (of, place) = cursor.split_once('.')?;
    place.parse().ok().filter(|_| of == epoch)
}

/// What was stored as JSON is JSON, unless it is damaged; then it is left out.
fn frame(epoch: &str, worker_id: &WorkerId, event: StoredEvent) -> Option<Bytes> {
    let payload = RawValue::from_string(event.payload).ok()?;
    let cursor = format!("{epoch}.{}", event.place);
    Some(envelope(&cursor, &cursor, worker_id, &payload))
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

fn snapshot(cursor: &str, worker_id: &WorkerId, entries: &[TranscriptItem], status: WorkerStatus) -> Bytes {
    let status = if status == WorkerStatus::Running { "idle" } else { "paused" };
    let payload = serde_json::json!({
        "event": "snapshot",
        "data": {
            "entries": entries,
            "greeting": {
                "worker_name": worker_id,
                "cwd": "",
                "provider": "worker-runtime",
                "model": "worker-runtime",
                "scope_summary": "runtime worker observation",
                "tools": [],
                "context_window": 0,
                "context_tokens": 0,
            },
            "status": status,
        },
    });
    // A value is JSON already.
    let payload = to_raw_value(&payload).unwrap_or_else(|_| RawValue::NULL.to_owned());
    envelope(cursor, &format!("{SNAPSHOT_PREFIX}{cursor}"), worker_id, &payload)
}

fn unknown(cursor: &str, worker_id: &WorkerId) -> Bytes {
    let cursor: String = cursor.chars().take(64).collect();
    Frame::Diagnostic(StreamDiagnostic {
        code: "runtime.cursor_unknown_or_expired".into(),
        message: format!("the cursor {cursor} is not a place of the stored stream of worker {worker_id}")
            .into(),
    })
    .into_text()
}
