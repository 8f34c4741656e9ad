//! The frames that viewers are shown, encoded.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::cursor::{CursorError, CursorKey, Sealer, UpstreamCursor};
use crate::diagnostic::{Diagnostic, Severity};
use crate::error::{Error, ErrorKind};
use crate::frame::diagnostic_text;
use crate::id::WorkerRef;
use crate::memory::{Held, Memory};
use crate::policy::Policy;
use crate::watch::{Observed, WatchEvent};

/// The code of the notice that stands between what has happened before and what happens now.
pub const CAUGHT_UP: &str = "caught_up";

/// The code of the notice that the runtime is away.
pub const UPSTREAM_DISCONNECTED: &str = "upstream_disconnected";

/// The code of the notice that it is back.
pub const UPSTREAM_RESUMED: &str = "upstream_resumed";

/// The code of the notice that what lies between here and the snapshot that follows is lost.
pub const RESYNCHRONIZED: &str = "resynchronized";

/// What stands around the id and the data of a server-sent event (HTML, 9.2.6).
const BEFORE_ID: &str = "id: ";
const BETWEEN_ID_AND_DATA: &str = "\ndata: ";
const BEFORE_DATA: &str = "data: ";
const AFTER_DATA: &str = "\n\n";

/// How the text of an event begins.
const BEFORE_CURSOR: &str = r#"{"kind":"event","envelope":{"cursor":""#;

/// A frame for viewers: encoded once, however many it goes to. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Item(Arc<Encoded>);

#[derive(Debug)]
struct Encoded {
    kind: ItemKind,
    /// The server-sent event, of which the text is a part.
    event: Bytes,
    text: Bytes,
    /// Where in the event the sealed cursor stands; nowhere where the frame has none.
    cursor: Range<usize>,
    /// Counts the event among the frames that are kept; `None` for what is said to one viewer alone.
    _held: Option<Held>,
}

#[derive(PartialEq, Eq, Debug)]
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
        &self.0.text
    }

    /// The same as an event of `text/event-stream`, with the cursor as its id. What an item takes in memory.
    pub fn event(&self) -> &Bytes {
        &self.0.event
    }

    /// The cursor that a viewer may come back with, where the frame has one.
    pub fn cursor(&self) -> Option<&str> {
        let cursor = self.0.event.get(self.0.cursor.clone())?;
        std::str::from_utf8(cursor).ok().filter(|cursor| !cursor.is_empty())
    }

    /// The runtime's own cursor behind it, if it has one.
    pub fn upstream_cursor(&self) -> Option<&UpstreamCursor> {
        match &self.0.kind {
            ItemKind::Snapshot(cursor) | ItemKind::Event(cursor) => Some(cursor),
            ItemKind::Away | ItemKind::Notice | ItemKind::Gap => None,
        }
    }

    /// Whether it tells of an outage, to viewers that are live.
    pub fn is_notice(&self) -> bool {
        matches!(self.0.kind, ItemKind::Away | ItemKind::Notice)
    }

    /// Whether it tells that the runtime is away.
    pub(super) fn is_away(&self) -> bool {
        self.0.kind == ItemKind::Away
    }

    /// Whether it is a snapshot.
    pub fn is_snapshot(&self) -> bool {
        matches!(self.0.kind, ItemKind::Snapshot(_))
    }
}

/// Makes the frames of one worker's viewers: sealed, bounded, and under both of the worker's names.
pub struct Encoder {
    sealer: Sealer,
    worker: WorkerRef,
    policy: Arc<dyn Policy>,
    max_event: usize,
    memory: Option<Memory>,
    /// Where the beginning of an event is put together.
    scratch: String,
}

impl Encoder {
    /// An encoder for one worker's frames.
    pub fn new(key: &CursorKey, worker: WorkerRef, policy: Arc<dyn Policy>, max_event: usize) -> Self {
        let (sealer, scratch) = (Sealer::new(key, worker.clone()), String::new());
        Self { sealer, worker, policy, max_event, memory: None, scratch }
    }

    /// The same, with its frames counted in this memory for as long as anything has them.
    pub(crate) fn counted_in(self, memory: Memory) -> Self {
        Self { memory: Some(memory), ..self }
    }

    /// The runtime's own cursor that a viewer's cursor contains.
    pub fn open(&mut self, cursor: &str) -> Result<UpstreamCursor, Error> {
        let kind = match self.sealer.open(cursor) {
            Ok(upstream_cursor) => return Ok(upstream_cursor),
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
                let diagnostic = Diagnostic::new(UPSTREAM_DISCONNECTED, Severity::Warning, message);
                diagnostic_frame(ItemKind::Away, diagnostic.with_retry_after(retry_after))
            }
            WatchEvent::Resumed { nothing_missed } => {
                let message = match nothing_missed {
                    true => "the runtime is back, and nothing was missed",
                    false => "the runtime is back",
                };
                notice(Diagnostic::new(UPSTREAM_RESUMED, Severity::Info, message))
            }
            WatchEvent::Resynchronized => {
                let message = "the runtime is back, but what came before the snapshot that follows is lost";
                diagnostic_frame(ItemKind::Gap, Diagnostic::new(RESYNCHRONIZED, Severity::Warning, message))
            }
        })
    }

    fn envelope(&mut self, observed: Observed, kind: impl Fn(UpstreamCursor) -> ItemKind) -> Item {
        let Observed { upstream_cursor, event_id, payload } = observed;
        let Self { sealer, worker, policy, max_event, memory, scratch: text } = self;
        text.clear();
        text.push_str(BEFORE_ID);
        sealer.seal_into(&upstream_cursor, text);
        let cursor = BEFORE_ID.len()..text.len();
        text.push_str(BETWEEN_ID_AND_DATA);
        let begins = text.len();
        text.push_str(BEFORE_CURSOR);
        text.extend_from_within(cursor.clone());
        // Both ids and the cursor are made of characters that JSON has no need to escape.
        text.push_str(r#"","event_id":"#);
        push_json(text, &event_id);
        text.push_str(r#","runtime_id":""#);
        text.push_str(worker.runtime_id.as_str());
        text.push_str(r#"","worker_id":""#);
        text.push_str(worker.worker_id.as_str());
        text.push_str(r#"","payload":"#);
        let event = match payload.len() > *max_event {
            true => {
                let bytes = payload.len();
                let payload = format!(r#"{{"event":"sekisho.event_too_large","data":{{"bytes":{bytes}}}}}"#);
                in_one_piece(text, payload.as_bytes())
            }
            false => in_one_piece(text, &policy.redact_event(worker, payload)),
        };
        let text = event.slice(begins..event.len() - AFTER_DATA.len());
        let held = memory.as_ref().map(|memory| memory.hold(event.len()));
        Item(Arc::new(Encoded { kind: kind(upstream_cursor), event, text, cursor, _held: held }))
    }
}

/// What comes before a payload, the payload in one line, and what comes after it.
fn in_one_piece(head: &str, payload: &[u8]) -> Bytes {
    const TAIL: &[u8] = b"}}\n\n";
    let mut text = Vec::with_capacity(head.len() + payload.len() + TAIL.len());
    text.extend_from_slice(head.as_bytes());
    if payload.contains(&b'\n') || payload.contains(&b'\r') {
        // White space between tokens: within a string, a line break is always escaped.
        text.extend(payload.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
    } else {
        text.extend_from_slice(payload);
    }
    text.extend_from_slice(TAIL);
    text.into()
}

/// A text as JSON has it. Ids of events have nothing to escape as a rule.
fn push_json(json: &mut String, text: &str) {
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        json.push('"');
        json.push_str(text);
        json.push('"');
    } else {
        // A text has a JSON form, whatever it holds.
        json.push_str(&serde_json::to_string(text).unwrap_or_default());
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("worker", &self.worker).finish_non_exhaustive()
    }
}

fn diagnostic_frame(kind: ItemKind, diagnostic: Diagnostic) -> Item {
    frame(kind, &diagnostic_text(&diagnostic))
}

/// A frame of another kind of stream: JSON in a single line, which no viewer comes back to.
pub(crate) fn plain_frame(text: &[u8]) -> Item {
    frame(ItemKind::Notice, text)
}

fn frame(kind: ItemKind, text: &[u8]) -> Item {
    let event = Bytes::from([BEFORE_DATA.as_bytes(), text, AFTER_DATA.as_bytes()].concat());
    let text = event.slice(BEFORE_DATA.len()..event.len() - AFTER_DATA.len());
    Item(Arc::new(Encoded { kind, event, text, cursor: 0..0, _held: None }))
}

fn notice(diagnostic: Diagnostic) -> Item {
    diagnostic_frame(ItemKind::Notice, diagnostic)
}

/// What a viewer is told where its replay ends and the live stream begins.
pub fn caught_up() -> Item {
    notice(Diagnostic::new(CAUGHT_UP, Severity::Info, "what follows is live"))
}

/// The last that a viewer is told before its stream is closed with the error's
/// [close code](ErrorKind::close_code).
pub fn closing_diagnostic(error: &Error) -> Item {
    let diagnostic = Diagnostic::new(error.kind().code(), Severity::Error, error.detail().to_owned());
    notice(match error.retry_after() {
        Some(wait) => diagnostic.with_retry_after(wait),
        None => diagnostic,
    })
}
