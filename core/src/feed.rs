//! One worker's stream, shared by its viewers.
//!
//! A [`Feed`] is a value: it [takes](Feed::apply) what an [`Encoder`] has made of a [`WatchEvent`], and keeps the newest
//! snapshot and what came after it in a ring that is bounded by count and by bytes. A [`FeedPosition`] is a position in it,
//! and no queue: [`Feed::next`] says what is next for it, and one that the ring has run away from has
//! [lagged](Next::Lagged), which is nobody's business but its own.
//!
//! A viewer whose place is not in the ring [needs a replay](Join::NeedsReplay): a second, short-lived
//! [`Watch`](crate::watch::Watch) from its place, whose frames go to that viewer alone, until one of them stands where
//! the ring has one, too: from [there](Feed::join) it goes on with the feed. Places are compared for equality, and
//! nothing is assumed about their order. A viewer without a place, when the snapshot's successors have left the ring,
//! [needs a snapshot](Join::NeedsSnapshot), and gets it in the same way.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::cursor::{CursorError, CursorKey, Sealer, UpstreamCursor};
use crate::diagnostic::Severity;
use crate::error::{Error, ErrorKind};
use crate::id::WorkerRef;
use crate::policy::Policy;
use crate::watch::{Observed, WatchEvent};

/// The code of the notice that stands between what has happened before and what happens now.
pub const CAUGHT_UP: &str = "caught_up";

/// The code of the notice that the runtime is away.
pub const UPSTREAM_DISCONNECTED: &str = "upstream_disconnected";

/// The code of the notice that it is back, and nothing was missed.
pub const UPSTREAM_RESUMED: &str = "upstream_resumed";

/// The code of the notice that what lies between here and the snapshot that follows is lost.
pub const RESYNCHRONIZED: &str = "resynchronized";

/// The bounds of a feed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FeedLimits {
    /// How many frames the ring holds.
    pub max_frames: usize,
    /// How many bytes they may have together. The newest frame is kept even where it alone has more.
    pub max_bytes: usize,
    /// The largest payload that is passed on, in bytes.
    pub max_event: usize,
}

impl Default for FeedLimits {
    /// 8,192 frames, 8 MiB, 1 MiB an event (BROWSER-API.md, "Observation").
    fn default() -> Self {
        Self { max_frames: 8192, max_bytes: 8 << 20, max_event: 1 << 20 }
    }
}

/// A frame for viewers: encoded once, however many it goes to. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Item {
    kind: ItemKind,
    /// The sealed cursor, where the frame has one.
    cursor: Bytes,
    text: Bytes,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum ItemKind {
    Snapshot(UpstreamCursor),
    Event(UpstreamCursor),
    /// The runtime is away: of interest while it is.
    Away,
    /// Of interest to a viewer that is live, and to no later one.
    Notice,
    /// Said to all who pass: what lies between is lost.
    Gap,
}

impl Item {
    /// The WebSocket text message: JSON in a single line.
    pub fn text(&self) -> &Bytes {
        &self.text
    }

    /// The cursor that a viewer may come back with, where the frame has one.
    pub fn cursor(&self) -> Option<&str> {
        std::str::from_utf8(&self.cursor).ok().filter(|cursor| !cursor.is_empty())
    }

    /// The place behind it, where it has one.
    pub fn place(&self) -> Option<&UpstreamCursor> {
        match &self.kind {
            ItemKind::Snapshot(place) | ItemKind::Event(place) => Some(place),
            ItemKind::Away | ItemKind::Notice | ItemKind::Gap => None,
        }
    }

    /// Whether it tells of an outage: to those who follow, and to nobody else.
    pub fn is_notice(&self) -> bool {
        matches!(self.kind, ItemKind::Away | ItemKind::Notice)
    }

    /// Whether it is a snapshot.
    pub fn is_snapshot(&self) -> bool {
        matches!(self.kind, ItemKind::Snapshot(_))
    }
}

/// Makes the frames of one worker's viewers: sealed, bounded, and under both of the worker's names.
pub struct Encoder {
    sealer: Sealer,
    worker: WorkerRef,
    policy: Arc<dyn Policy>,
    max_event: usize,
}

#[derive(Serialize)]
struct DiagnosticFrame<'a> {
    kind: &'a str,
    diagnostic: Told<'a>,
}

#[derive(Serialize)]
struct Told<'a> {
    code: &'a str,
    severity: Severity,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

impl Encoder {
    /// An encoder for one worker's frames.
    pub fn new(key: &CursorKey, worker: WorkerRef, policy: Arc<dyn Policy>, max_event: usize) -> Self {
        Self { sealer: Sealer::new(key, worker.clone()), worker, policy, max_event }
    }

    /// The place that a viewer's cursor stands for.
    pub fn open(&mut self, cursor: &str) -> Result<UpstreamCursor, Error> {
        let kind = match self.sealer.open(cursor) {
            Ok(place) => return Ok(place),
            Err(CursorError::Malformed) => ErrorKind::CursorMalformed,
            Err(CursorError::Unknown) => ErrorKind::CursorUnknown,
        };
        let WorkerRef { runtime_id, worker_id } = &self.worker;
        Err(Error::new(kind).of_runtime(runtime_id).of_worker(Some(worker_id)))
    }

    /// The frame for something that a watch said; `None` where viewers are not told of it.
    pub fn encode(&mut self, event: WatchEvent) -> Option<Item> {
        Some(match event {
            WatchEvent::Live => return None,
            WatchEvent::Snapshot(observed) => self.envelope(observed, ItemKind::Snapshot),
            WatchEvent::Event(observed) => self.envelope(observed, ItemKind::Event),
            WatchEvent::Disconnected { retry_after } => {
                let message = "the runtime is away; it is being tried again";
                let notice = notice(UPSTREAM_DISCONNECTED, Severity::Warning, message, Some(retry_after));
                Item { kind: ItemKind::Away, ..notice }
            }
            WatchEvent::Resumed => {
                let message = "the runtime is back, and nothing was missed";
                notice(UPSTREAM_RESUMED, Severity::Info, message, None)
            }
            WatchEvent::Resynchronized => {
                let message = "the runtime is back, but what came before the snapshot that follows is lost";
                Item { kind: ItemKind::Gap, ..notice(RESYNCHRONIZED, Severity::Warning, message, None) }
            }
        })
    }

    fn envelope(&mut self, observed: Observed, kind: impl Fn(UpstreamCursor) -> ItemKind) -> Item {
        let Observed { place, event_id, payload } = observed;
        let cursor = self.sealer.seal(&place);
        // A text has a JSON form, whatever it holds.
        let event_id = serde_json::to_string(&event_id).unwrap_or_default();
        let mut text =
            Vec::with_capacity(payload.len().min(self.max_event) + cursor.len() + event_id.len() + 400);
        // Both ids and the cursor are made of characters that JSON has no need to escape.
        for part in [
            r#"{"kind":"event","envelope":{"cursor":""#,
            &cursor,
            r#"","event_id":"#,
            &event_id,
            r#","runtime_id":""#,
            self.worker.runtime_id.as_str(),
            r#"","worker_id":""#,
            self.worker.worker_id.as_str(),
            r#"","payload":"#,
        ] {
            text.extend_from_slice(part.as_bytes());
        }
        if payload.len() > self.max_event {
            let bytes = payload.len();
            text.extend(
                format!(r#"{{"event":"sekisho.event_too_large","data":{{"bytes":{bytes}}}}}"#).bytes(),
            );
        } else {
            let payload = self.policy.redact_event(&self.worker, payload);
            // White space between tokens: within a string, a line break is always escaped.
            let in_one_line = |byte: &u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte };
            text.extend(payload.iter().map(in_one_line));
        }
        text.extend_from_slice(b"}}");
        Item { kind: kind(place), cursor: cursor.into(), text: text.into() }
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("worker", &self.worker).finish_non_exhaustive()
    }
}

fn notice(code: &str, severity: Severity, message: &str, retry_after: Option<Duration>) -> Item {
    let retry_after_ms = retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    let told =
        DiagnosticFrame { kind: "diagnostic", diagnostic: Told { code, severity, message, retry_after_ms } };
    // Plain structs of texts and numbers: there is no map with keys that JSON could not have.
    let text = serde_json::to_vec(&told).expect("plain data").into();
    Item { kind: ItemKind::Notice, cursor: Bytes::new(), text }
}

/// What a viewer is told where its replay ends and the live stream begins.
pub fn caught_up() -> Item {
    notice(CAUGHT_UP, Severity::Info, "what follows is live", None)
}

/// The last that a viewer is told before its stream is closed with the error's
/// [close code](ErrorKind::close_code).
pub fn closing_diagnostic(error: &Error) -> Item {
    notice(error.kind().code(), Severity::Error, error.detail(), error.retry_after())
}

/// The newest snapshot of a worker and what came after it. See the [module](self).
#[derive(Clone, Debug)]
pub struct Feed {
    limits: FeedLimits,
    ring: VecDeque<Item>,
    /// The number of the ring's first frame.
    first: u64,
    bytes: usize,
    /// The newest snapshot, and the number of the frame after it.
    snapshot: Option<(Item, u64)>,
    /// The newest place. What has come since tells of outages at most.
    newest: Option<UpstreamCursor>,
}

/// A viewer's position in a feed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FeedPosition {
    next: u64,
    /// Where the replay ends, until it has.
    live_from: Option<u64>,
}

/// How a viewer can begin.
#[derive(Clone, Debug)]
pub enum Join {
    /// From here, after this snapshot where it has no place of its own.
    Ready(FeedPosition, Option<Item>),
    /// The feed has nothing yet: once it has, ask again.
    NotYet,
    /// The ring no longer has what came after the snapshot: a fresh one is needed.
    NeedsSnapshot,
    /// The ring does not have the place: what came after it must be replayed.
    NeedsReplay,
}

/// What is next for a viewer.
#[derive(Clone, Debug)]
pub enum Next {
    /// This frame.
    Frame(Item),
    /// To be told that it is live now.
    CaughtUp,
    /// Nothing for the time being.
    Nothing,
    /// The ring no longer has what would be next.
    Lagged,
}

impl Feed {
    /// A feed that has nothing yet.
    pub fn new(limits: FeedLimits) -> Self {
        Self { limits, ring: VecDeque::new(), first: 0, bytes: 0, snapshot: None, newest: None }
    }

    /// Takes the next frame.
    pub fn apply(&mut self, item: Item) {
        if item.is_snapshot() {
            self.snapshot = Some((item.clone(), self.end() + 1));
        }
        if let Some(place) = item.place() {
            self.newest = Some(place.clone());
        }
        self.bytes += item.text.len();
        self.ring.push_back(item);
        // The newest frame stays in any case: without it, a viewer that keeps up would have lagged.
        while self.ring.len() > 1
            && (self.ring.len() > self.limits.max_frames || self.bytes > self.limits.max_bytes)
        {
            let Some(oldest) = self.ring.pop_front() else { break };
            self.bytes -= oldest.text.len();
            self.first += 1;
        }
    }

    /// How many frames the ring holds, and how many bytes they have.
    pub fn retained(&self) -> (usize, usize) {
        (self.ring.len(), self.bytes)
    }

    fn end(&self) -> u64 {
        self.first + self.ring.len() as u64
    }

    /// Lets a viewer in, after `place` or, without one, with a snapshot.
    pub fn join(&self, place: Option<&UpstreamCursor>) -> Join {
        let Some((snapshot, after_snapshot)) = &self.snapshot else { return Join::NotYet };
        let ready = |next, opening| Join::Ready(FeedPosition { next, live_from: Some(self.end()) }, opening);
        // A ring that has nothing left but outages has lost nothing that a newcomer needs.
        let is_newest = |place: Option<&UpstreamCursor>| self.newest.as_ref() == place;
        let retained = *after_snapshot >= self.first || is_newest(snapshot.place());
        let after_snapshot = self.first.max(*after_snapshot);
        match place {
            None if retained => ready(after_snapshot, Some(snapshot.clone())),
            None => Join::NeedsSnapshot,
            Some(place) => match self.ring.iter().rposition(|item| item.place() == Some(place)) {
                Some(index) => ready(self.first + index as u64 + 1, None),
                None if retained && snapshot.place() == Some(place) => ready(after_snapshot, None),
                None if is_newest(Some(place)) => ready(self.first, None),
                None => Join::NeedsReplay,
            },
        }
    }

    /// What is next for a viewer, who then is past it.
    pub fn next(&self, position: &mut FeedPosition) -> Next {
        loop {
            let Some(index) = position.next.checked_sub(self.first) else { return Next::Lagged };
            if position.live_from.is_some_and(|live_from| position.next >= live_from) {
                position.live_from = None;
                return Next::CaughtUp;
            }
            let Some(item) = usize::try_from(index).ok().and_then(|index| self.ring.get(index)) else {
                return Next::Nothing;
            };
            position.next += 1;
            // That the runtime was away is nothing to a viewer that was not there; that it is away now is.
            let is_over = position.live_from.is_some_and(|live_from| position.next < live_from);
            let is_news = item.kind == ItemKind::Away && !is_over;
            if position.live_from.is_none() || !item.is_notice() || is_news {
                return Next::Frame(item.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
