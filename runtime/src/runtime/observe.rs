//! How a subscription begins.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::Observe;

use super::{Shared, store_fault};
use crate::cursor::Cursor;
use crate::event::{Activity, Greeting, MAX_SNAPSHOT_BYTES, MAX_SNAPSHOT_ITEMS, Snapshot};
use crate::frame::{self, Diagnostic};
use crate::store::{Standing, StoreError, StoredItem};
use crate::stream::Subscription;

/// What a snapshot is made of.
struct Parts {
    items: Vec<StoredItem>,
    status: Activity,
}

impl Shared {
    #[expect(clippy::result_large_err, reason = "a response is what the runtime answers")]
    pub(super) fn subscribe(&self, observe: &Observe) -> Result<Subscription, Response<Bytes>> {
        let Observe { worker_id, cursor } = observe;
        let permit = self.subscriptions.admit().ok_or_else(full)?;
        let refused = |fault| store_fault(fault).response();

        // Under one lock, so that nothing happens between the snapshot and the place from which it goes on.
        let locked = self.lock().map_err(refused)?;
        let standing = self.store.standing(worker_id).map_err(refused)?;
        let (Some(standing), Some(stream)) = (standing, locked.streams.get(worker_id)) else {
            return Err(self.not_found(worker_id).response());
        };
        let (cursor, place, view) = match cursor {
            None => {
                let (place, view) = stream.join();
                (Cursor { epoch: &self.epoch, place }.to_string(), place, Some(view))
            }
            Some(text) => {
                let Some(cursor) = Cursor::parse(text) else {
                    let malformed = Diagnostic::CursorMalformed { cursor: text }.into_frame();
                    return Ok(Subscription::new([malformed], None, permit));
                };
                let known = cursor.epoch == self.epoch;
                match known.then(|| stream.join_after(cursor.place)).flatten() {
                    Some(view) => (text.clone(), cursor.place, Some(view)),
                    // As of a place that is none there is nothing to show but the present.
                    None => (text.clone(), u64::MAX, None),
                }
            }
        };
        let parts = self.parts(worker_id, standing, place).map_err(refused)?;
        drop(locked);

        let mut opening = vec![frame::snapshot(&cursor, worker_id, self.snapshot(worker_id, parts))];
        if view.is_none() {
            opening.push(Diagnostic::CursorUnknown { cursor: &cursor, worker_id }.into_frame());
        }
        Ok(Subscription::new(opening, view, permit))
    }

    /// How the worker stood at a place. Whoever goes on from there would otherwise be shown twice what came since.
    fn parts(&self, worker_id: &WorkerId, standing: Standing, place: u64) -> Result<Parts, StoreError> {
        let items = self.store.newest(worker_id, place, MAX_SNAPSHOT_ITEMS, MAX_SNAPSHOT_BYTES)?;
        let ended = standing.ended_by.is_some_and(|event_id| event_id <= place);
        let status = if ended { Activity::Paused } else { Activity::Idle };
        Ok(Parts { items: items.unwrap_or_default(), status })
    }

    fn snapshot(&self, worker_id: &WorkerId, Parts { items, status }: Parts) -> Snapshot {
        let worker_ref = self.wire_ref(worker_id);
        let entries = items.into_iter().map(|item| item.on_the_wire(&worker_ref)).collect();
        Snapshot { entries, greeting: Greeting::of(worker_id), status }
    }
}

/// There is no code of v1 for it. Whoever asks again in a moment may be lucky.
fn full() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
