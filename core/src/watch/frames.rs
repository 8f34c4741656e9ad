//! What the frames of a stream mean: snapshots, events, repeated events, and diagnostics that end the stream.

use std::borrow::Cow;
use std::time::Instant;

use bytes::Bytes;

use super::output::{Observed, WatchEvent, WatchOutput};
use super::recent::RecentCursors;
use super::{CURSOR_ERROR_GRACE, MAX_STALLS, OnExpiredCursor, Phase, State, Watch};
use crate::cursor::UpstreamCursor;
use crate::error::{Error, ErrorKind};
use crate::runtime_api::{Envelope, Frame, StreamDiagnostic};
use crate::secret::Scrubber;

/// The longest id of an event, in bytes.
const MAX_EVENT_ID: usize = 1024;

impl Watch {
    pub(super) fn frame(&mut self, now: Instant, text: &Bytes) {
        let Ok(frame) = Frame::from_text(text) else {
            return self.fail(Error::new(ErrorKind::MalformedFrame));
        };
        match frame {
            Frame::Event(envelope) => self.envelope(now, text, &envelope),
            Frame::Diagnostic(diagnostic) => self.diagnostic(now, &diagnostic),
        }
    }

    fn envelope(&mut self, now: Instant, text: &Bytes, envelope: &Envelope<'_>) {
        if envelope.worker_id != self.context.worker.worker_id.as_str() {
            return self.fail(Error::new(ErrorKind::IdentityMismatch));
        }
        let State::Connected(connection) = &mut self.state else { return };
        let Some(observed) = observed(self.context.access.scrubber(), text, envelope) else {
            return self.fail(Error::new(ErrorKind::MalformedFrame));
        };
        match connection.phase {
            Phase::FirstFrame { .. } if !envelope.is_snapshot() => {
                self.fail(Error::new(ErrorKind::MalformedFrame));
            }
            Phase::FirstFrame { .. } if self.upstream_cursor.as_ref() == Some(&observed.upstream_cursor) => {
                connection.phase = Phase::CursorErrorGrace { until: now + CURSOR_ERROR_GRACE };
            }
            Phase::FirstFrame { .. } => {
                // A runtime that does not know the cursor may answer with a snapshot of another one.
                if self.upstream_cursor.is_some() && self.on_expired_cursor == OnExpiredCursor::Stop {
                    return self.fail(Error::new(ErrorKind::CursorExpired));
                }
                let resynchronized = self.resynchronizing || self.upstream_cursor.is_some();
                self.snapshot(observed, resynchronized);
            }
            phase @ (Phase::CursorErrorGrace { .. } | Phase::Live) => {
                if matches!(phase, Phase::CursorErrorGrace { .. }) {
                    self.go_live();
                }
                if self.recent.insert(&observed.upstream_cursor) {
                    self.stalls = 0;
                    self.upstream_cursor = Some(observed.upstream_cursor.clone());
                    self.outputs.push_back(WatchOutput::Event(WatchEvent::Event(observed)));
                }
            }
        }
    }

    fn snapshot(&mut self, observed: Observed, resynchronized: bool) {
        if resynchronized {
            // `Resynchronized` ends the outage; `Resumed` would say that no event was missed.
            self.disconnected = false;
        }
        self.resynchronizing = false;
        self.stalls = 0;
        self.recent = RecentCursors::default();
        self.upstream_cursor = Some(observed.upstream_cursor.clone());
        self.go_live();
        if resynchronized {
            self.outputs.push_back(WatchOutput::Event(WatchEvent::Resynchronized));
        }
        self.outputs.push_back(WatchOutput::Event(WatchEvent::Snapshot(observed)));
    }

    /// The runtime serves the stream: earlier failures no longer count.
    pub(super) fn go_live(&mut self) {
        if let State::Connected(connection) = &mut self.state {
            connection.phase = Phase::Live;
        }
        if let Some(cursor) = &self.upstream_cursor {
            self.recent.insert(cursor);
        }
        self.failing_since = None;
        self.failures = 0;
        self.may_refresh = self.context.access.has_credential();
        self.outputs.push_back(WatchOutput::Event(WatchEvent::Live));
        if std::mem::take(&mut self.disconnected) {
            let nothing_missed = self.refuses_lost_cursors;
            self.outputs.push_back(WatchOutput::Event(WatchEvent::Resumed { nothing_missed }));
        }
    }

    fn diagnostic(&mut self, now: Instant, diagnostic: &StreamDiagnostic<'_>) {
        let error = Error::with_detail(ErrorKind::RuntimeError, "the runtime ended the stream");
        match diagnostic.code.as_ref() {
            "runtime.worker_not_found" => self.fail(Error::new(ErrorKind::WorkerNotFound)),
            "runtime.cursor_unknown_or_expired" | "runtime.cursor_malformed"
                if self.upstream_cursor.is_some() =>
            {
                self.close();
                self.abandon_cursor(now, error);
            }
            "runtime.cursor_expired"
            | "runtime.cursor_unknown_or_expired"
            | "runtime.cursor_malformed"
            | "runtime.unavailable"
            | "runtime.upstream_closed"
            | "runtime.websocket_error"
            | "runtime.serialize_failed"
            | "runtime.observation_only" => {
                let had_begun = match &self.state {
                    State::Connected(connection) => !matches!(connection.phase, Phase::FirstFrame { .. }),
                    _ => false,
                };
                self.close();
                self.stalls += u32::from(had_begun);
                if self.stalls >= MAX_STALLS && self.upstream_cursor.is_some() {
                    self.stalls = 0;
                    self.abandon_cursor(now, error);
                } else {
                    self.retry(now, error);
                }
            }
            // A code that v1 does not define need not mean the end of the stream. If it does, the runtime closes the
            // connection.
            _ => {}
        }
    }
}

/// The snapshot or event in an envelope, with all secrets removed from the payload. `None` if its cursor or id is not
/// usable: too long, or with a secret in it.
fn observed(scrubber: &Scrubber, text: &Bytes, envelope: &Envelope<'_>) -> Option<Observed> {
    let cursor = UpstreamCursor::new(&envelope.cursor).filter(|cursor| !scrubber.finds(cursor.as_str()))?;
    // The id of a snapshot is `snapshot:` and its cursor, which has been checked. The id is not checked again, since the
    // colon and the beginning of an innocent cursor may look like the port of the runtime's address.
    let is_clean = envelope.is_snapshot() || !scrubber.finds(&envelope.event_id);
    if envelope.event_id.len() > MAX_EVENT_ID || !is_clean {
        return None;
    }
    let payload = match scrubber.json(envelope.payload.get()) {
        Cow::Borrowed(payload) => text.slice_ref(payload.as_bytes()),
        Cow::Owned(payload) => Bytes::from(payload),
    };
    Some(Observed { upstream_cursor: cursor, event_id: envelope.event_id.as_ref().into(), payload })
}
