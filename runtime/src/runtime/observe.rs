//! How a subscription begins.

use bytes::Bytes;
use http::Response;
use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::{Observe, WorkerRequest};
use serde::Serialize;

use super::create::full;
use super::state::State;
use super::{Shared, store_fault};
use crate::agent::AgentState;
use crate::cursor::Cursor;
use crate::event::{
    Activity, Greeting, MAX_SNAPSHOT_BYTES, MAX_SNAPSHOT_EXTRAS, MAX_SNAPSHOT_ITEMS, Snapshot, SystemItem,
};
use crate::frame::{self, Diagnostic};
use crate::record::WorkerRecord;
use crate::store::{StoreError, StoredItem};
use crate::stream::Subscription;

/// What a snapshot is made of.
struct Parts {
    entries: Vec<StoredItem>,
    /// What an agent is saying, which is no item yet.
    unfinished: Option<StoredItem>,
    status: Activity,
    requests: Vec<WorkerRequest>,
    items: Vec<SystemItem>,
}

impl Shared {
    #[expect(clippy::result_large_err, reason = "a response is what the runtime answers")]
    pub(super) fn subscribe(&self, observe: &Observe) -> Result<Subscription, Response<Bytes>> {
        let Observe { worker_id, cursor } = observe;
        let permit = self
            .subscriptions
            .admit()
            .ok_or_else(|| full("as many streams are open as may be").response())?;
        let refused = |fault| store_fault(fault).response();

        // Under one lock, so that nothing happens between the snapshot and the place from which it goes on.
        let mut locked = self.lock().map_err(refused)?;
        let record = self.record(&locked, worker_id).map_err(|fault| fault.response())?;
        let record = record.clone();
        let stream = self.stream(&mut locked, worker_id).map_err(refused)?;
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
        let parts = self.parts(&locked, &record, place).map_err(refused)?;
        drop(locked);

        let mut opening = vec![frame::snapshot(&cursor, worker_id, self.snapshot(worker_id, parts))];
        if view.is_none() {
            opening.push(Diagnostic::CursorUnknown { cursor: &cursor, worker_id }.into_frame());
        }
        Ok(Subscription::new(opening, view, permit))
    }

    /// How the worker stood at a place. A subscriber that goes on from there would otherwise be shown twice what came
    /// since.
    fn parts(&self, state: &State, record: &WorkerRecord, place: u64) -> Result<Parts, StoreError> {
        let worker_id = &record.worker_id;
        let mut entries = self.store.newest(worker_id, place, MAX_SNAPSHOT_ITEMS, MAX_SNAPSHOT_BYTES)?;
        let agent = state.agents.get(worker_id).map(|slot| &slot.state);
        let is_closed = record.closed_by().is_some_and(|event_id| event_id <= place);
        let unfinished = agent.filter(|_| place >= record.last_event_id).and_then(AgentState::run);
        let open = record.open_requests().filter(|open| open.opened_by <= place);
        let mut requests: Vec<WorkerRequest> = open.map(|open| open.request.clone()).collect();
        let mut items = agent.map(|agent| agent.items_at(place)).unwrap_or_default();
        // The bounds are on what is sent: JSON may make six bytes of one.
        let mut room = Room(MAX_SNAPSHOT_EXTRAS);
        requests.retain(|request| room.takes(encoded_length(request)));
        items.retain(|item| room.takes(encoded_length(item)));
        let mut room = Room(MAX_SNAPSHOT_BYTES);
        // It is bounded to less than that.
        unfinished.iter().for_each(|(_, text)| room.0 = room.0.saturating_sub(json_length(text)));
        let kept = entries.iter().rev().take_while(|item| room.takes(json_length(&item.content))).count();
        entries.drain(..entries.len() - kept);
        Ok(Parts {
            entries,
            unfinished: unfinished.map(|(role, text)| StoredItem {
                sequence: record.transcript_len + 1,
                role,
                content: text.into(),
                event_id: record.last_event_id,
                at: self.now(),
                cont: false,
            }),
            status: match (is_closed, agent) {
                (true, _) => Activity::Paused,
                (false, Some(agent)) => agent.status_at(place),
                (false, None) => Activity::Idle,
            },
            requests,
            items,
        })
    }

    fn snapshot(&self, worker_id: &WorkerId, parts: Parts) -> Snapshot {
        let Parts { entries, unfinished, status, requests, items } = parts;
        let worker_ref = self.wire_ref(worker_id);
        let entries = entries.into_iter().chain(unfinished).map(|item| item.to_wire(&worker_ref)).collect();
        Snapshot { entries, greeting: Greeting::of(worker_id), status, requests, items }
    }
}

/// What is left of a bound, in bytes of JSON.
struct Room(usize);

impl Room {
    /// Whether so much more is within the bound, where it then is counted.
    fn takes(&mut self, length: usize) -> bool {
        let rest = self.0.checked_sub(length);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }
}

/// How long a value is in JSON, in bytes.
fn encoded_length(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(0, |text| text.len())
}

/// How long a text is in JSON, in bytes, without its quotes.
fn json_length(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum()
}

#[cfg(test)]
mod tests {
    use super::{Room, encoded_length, json_length};

    #[test]
    fn what_is_over_a_bound_takes_nothing_of_it() {
        let mut room = Room(10);
        let taken = [4, 7, 6, 1].map(|length| room.takes(length));
        assert_eq!((taken, room.0), ([true, false, true, false], 0));
        assert_eq!(encoded_length(&"\0"), 8);
    }

    #[test]
    fn escapes_are_counted() {
        for text in ["", "plain", "\0\u{1}\u{1f}", "\"\\\n\r\t\u{8}\u{c}\u{7f}\u{80}", "関\u{2028}/"] {
            assert_eq!(json_length(text) + 2, serde_json::to_string(text).unwrap().len(), "{text:?}");
        }
    }
}
