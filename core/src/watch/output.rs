//! What a watch tells its driver.

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::cursor::UpstreamCursor;
use crate::error::Error;
use crate::transport::{Attempt, ConnId, Connect};

/// What a driver is to do next.
#[derive(Debug)]
#[must_use = "the driver has to do what the watch says"]
pub enum WatchOutput {
    /// Start this attempt, which asks the runtime for its identity.
    Send(Attempt),
    /// Open a stream.
    Connect(Connect),
    /// Ping the runtime.
    Ping(ConnId),
    /// Drop the connection.
    Close(ConnId),
    /// Read the runtime's token again and feed it.
    RefreshCredential,
    /// Pass this event on.
    Event(WatchEvent),
    /// Wait until this instant or until the connection or attempt has a result, whichever comes first.
    Wait {
        /// When to poll again at the latest.
        until: Instant,
        /// What the watch waits for.
        why: WatchWait,
    },
    /// The end: `Ok` after [`WatchInput::Stop`](super::WatchInput::Stop), else the reason. It is reported once: a
    /// watch that is polled after it says that this is a [`Misuse`](crate::error::Misuse).
    Stopped(Result<(), Error>),
}

/// What a watch waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum WatchWait {
    /// The end of the pause before the next connect.
    Backoff,
    /// The runtime's answer about its identity.
    Identity,
    /// The connection to open.
    Connection,
    /// The runtime's token.
    Credential,
    /// The first frame.
    FirstFrame,
    /// The end of the [time](super::CURSOR_ERROR_GRACE) in which the runtime may still say that it does not know the
    /// cursor.
    CursorErrorGrace,
    /// The time of the next ping.
    Ping,
    /// A pong.
    Pong,
}

/// What happens on a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WatchEvent {
    /// A connection is open and the runtime serves the stream. Reported once for each connection, before all that comes
    /// over it.
    Live,
    /// The state of the worker at a cursor; the events after that cursor follow.
    Snapshot(Observed),
    /// Something happened to the worker.
    Event(Observed),
    /// The connection is lost; the watch tries again.
    Disconnected {
        /// The time until the next connect.
        retry_after: Duration,
    },
    /// The stream is connected again after the last cursor.
    Resumed {
        /// Whether no event was missed. It is not known of a runtime that takes any cursor, also one whose events it has
        /// lost: deployed runtimes keep the events of all workers in one ring, and do so once others have pushed out those
        /// of a quiet worker.
        nothing_missed: bool,
    },
    /// The stream is connected again, but the runtime can no longer resume from the last cursor: a snapshot follows, and
    /// the events between are lost.
    Resynchronized,
}

/// A snapshot or event, with all secrets removed.
#[derive(Clone, PartialEq, Eq)]
pub struct Observed {
    /// The runtime's cursor behind it, to resume from.
    pub upstream_cursor: UpstreamCursor,
    /// Its id, as the runtime gave it.
    pub event_id: Box<str>,
    /// Its payload: JSON as the runtime wrote it, except for removed secrets.
    pub payload: Bytes,
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observed({}, {} bytes)", self.event_id, self.payload.len())
    }
}
