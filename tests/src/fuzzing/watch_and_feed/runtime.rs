//! The runtime of a schedule, and what it writes.

use std::collections::VecDeque;

use bytes::Bytes;
use http::Request;
use sekisho_core::error::{Error, ErrorKind};
use sekisho_core::runtime_api::{Envelope, Frame, Observe, SNAPSHOT_PREFIX, StreamDiagnostic};
use sekisho_core::transport::Loss;
use serde_json::value::RawValue;

use crate::fuzzing::worker;

/// How many events the runtime can replay.
const BACKLOG: u64 = 12;

/// What is on its way from the runtime.
pub(super) enum Wire {
    Opened,
    Text(Bytes),
    Pong,
    Refused(u16),
    Lost(Loss),
}

/// A worker whose events are numbered; the cursor of each is its number.
#[derive(Default)]
pub(super) struct Runtime {
    /// The number of the newest event.
    pub(super) head: u64,
    /// What cannot be resumed from: everything before the last loss of state.
    pub(super) lost_before: u64,
    /// Whether it is there.
    pub(super) away: bool,
    /// Whether it has ever broken the rules.
    pub(super) foul: bool,
}

impl Runtime {
    pub(super) fn publish(&mut self) -> Bytes {
        self.head += 1;
        event(self.head)
    }

    pub(super) fn accept(&self, request: &Request<()>) -> VecDeque<Wire> {
        let observe = Observe::from_request(request).unwrap().unwrap();
        assert_eq!(observe.worker_id, worker().worker_id);
        let mut wire = VecDeque::from([Wire::Opened]);
        let Some(cursor) = observe.cursor else {
            wire.push_back(Wire::Text(snapshot(self.head)));
            return wire;
        };
        let from: u64 = cursor.parse().unwrap();
        wire.push_back(Wire::Text(snapshot(from)));
        let missed = self.head.checked_sub(from);
        if from >= self.lost_before && missed.is_some_and(|missed| missed <= BACKLOG) {
            wire.extend((from + 1..=self.head).map(|number| Wire::Text(event(number))));
        } else {
            wire.push_back(Wire::Text(diagnostic("runtime.cursor_unknown_or_expired")));
            wire.push_back(Wire::Lost(Loss::Ended));
        }
        wire
    }
}

pub(super) fn snapshot(number: u64) -> Bytes {
    let id = format!("{SNAPSHOT_PREFIX}{number}");
    envelope(&id, number, &format!(r#"{{"event":"snapshot","data":{number}}}"#))
}

pub(super) fn event(number: u64) -> Bytes {
    // Each secret has its turn, and so does what is too large for viewers.
    let text = match number % 7 {
        3 => "s3cr3t-t0k3n".to_owned(),
        5 => "x".repeat(120),
        _ => "x".repeat(usize::try_from(number % 50).unwrap()),
    };
    envelope(&number.to_string(), number, &format!(r#"{{"event":"text_delta","data":"{number} {text}"}}"#))
}

pub(super) fn envelope(event_id: &str, number: u64, payload: &str) -> Bytes {
    let payload: Box<RawValue> = serde_json::from_str(payload).unwrap();
    let cursor = number.to_string().into();
    let worker_id = worker().worker_id.to_string().into();
    Frame::Event(Envelope { cursor, event_id: event_id.into(), worker_id, payload: &payload }).into_text()
}

pub(super) fn diagnostic(code: &str) -> Bytes {
    Frame::Diagnostic(StreamDiagnostic { code: code.into(), message: "m".into() }).into_text()
}

/// A stream ends with what its runtime has done, and with nothing else.
pub(super) fn assert_fair(error: Option<Error>, runtime: &Runtime) {
    let kind = error.expect("nobody told it to stop").kind();
    let given_up = matches!(
        kind,
        ErrorKind::Network(_)
            | ErrorKind::RuntimeTimeout(_)
            | ErrorKind::RuntimeBusy
            | ErrorKind::RuntimeError
    );
    assert!(given_up || runtime.foul, "{kind:?}");
}
