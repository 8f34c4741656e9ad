//! The life of one viewer, and of the stream that all viewers of a worker share.
//!
//! ```text
//!           the feed has the cursor, or it begins with the feed's snapshot
//!  open ──► Joining ───────────────────────────────────────────► Following ──► End
//!              │                                                     ▲
//!              │ the cursor, or what came after the snapshot,        │ the feed has the cursor
//!              │ has left the ring                                   │ of the replay's last frame
//!              └──────────────────► Replaying ───────────────────────┘
//! ```
//!
//! A [`ViewerSession`] decides all that happens to one viewer: whether it may see the worker, where its cursor points,
//! how it comes to the [`Feed`](crate::feed::Feed) of the worker, what it is shown until then, when it is pinged, and why it
//! ends.
//! It holds no frames. It has a [position](crate::feed::FeedPosition) in a feed that all viewers of the worker share,
//! and each [`ViewerSession::poll`] is given that feed.
//!
//! A viewer whose cursor has left the feed's ring has a *replay stream*: a second [`SharedStream`], from its cursor, which
//! it shares with those who come with the same one. It leaves where the feed has the cursor of the frame that the viewer
//! was shown last. Cursors are compared for equality; nothing is assumed about their order. A replay stream that is
//! open and silent for [`CATCH_UP_TIMEOUT`] without having come to such a cursor is given up: a runtime whose cursors
//! never meet cannot be followed without a gap. While the replay stream is disconnected no such time passes, because
//! the watch itself decides how long it tries.
//!
//! How many replay streams there are is bounded ([`ReplayLimits`]), and a viewer waits for its turn, for up to
//! [`REPLAY_PATIENCE`]. A replay stream is as fast as the fastest of its viewers. One that falls behind its ring, or whose
//! replay stream has to make room for others after [`REPLAY_TURN`], asks for another one from where it is.
//!
//! A driver obeys:
//!
//! 1. [`ViewerSession::poll`] with the worker's feed, and that of the replay stream where there is one, until it says [`ViewerOutput::Wait`] or [`ViewerOutput::End`].
//! 2. On [`ViewerOutput::Frame`] and [`ViewerOutput::Ping`], write it, and then feed [`ViewerInput::Written`].
//! 3. On [`ViewerOutput::OpenReplay`], take the feed of the replay stream with the order's number, or make it
//!    ([`SharedStream::replay`]). On [`ViewerOutput::WakeReplay`], poll that stream. On [`ViewerOutput::CloseReplay`], let
//!    go of it. When it has ended, feed [`ViewerInput::ReplayEnded`].
//! 4. On [`ViewerOutput::Wait`], wait for either feed to change, for the viewer's connection, or for the instant.
//! 5. On [`ViewerOutput::End`], drop the replay stream. Where there is a [`Closing`], write its frame, and close with
//!    its code within [`CLOSE_TIMEOUT`].
//!
//! The feed itself comes from a [`SharedStream`], or from a [`FeedReplica`] where the viewer is on another event loop.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Instant;
//!
//! use bytes::Bytes;
//! use sekisho_core::browser_api::StreamRequest;
//! use sekisho_core::cursor::{CursorKey, UpstreamCursor};
//! use sekisho_core::feed::FeedLimits;
//! use sekisho_core::id::WorkerRef;
//! use sekisho_core::policy::AllowAll;
//! use sekisho_core::registry::{Registry, RuntimeSpec};
//! use sekisho_core::viewer::{
//!     SharedStream, SharedStreamInput, StreamContext, ViewerInput, ViewerOutput, ViewerSession,
//! };
//! use sekisho_core::watch::{Observed, WatchEvent};
//!
//! # let spec = RuntimeSpec::remote("box".parse()?, "https://10.0.0.5:7700".parse()?, None);
//! # let registry = Registry::new(vec![spec], 1)?;
//! let now = Instant::now();
//! let key = CursorKey::from_bytes([7; CursorKey::LENGTH]);
//! let context = Arc::new(StreamContext::new(key, Arc::new(AllowAll), FeedLimits::default(), 4096));
//!
//! // Here the worker's watch, driven by a transport, has said that there is a snapshot.
//! let worker = WorkerRef { runtime_id: "box".parse()?, worker_id: "w".parse()? };
//! let mut stream = SharedStream::new(now, &context, worker.clone(), 1);
//! let upstream_cursor = UpstreamCursor::new("c0").expect("not empty");
//! let snapshot = Observed { upstream_cursor, event_id: "snapshot:c0".into(), payload: Bytes::from_static(b"{}") };
//! stream.handle(now, SharedStreamInput::Watch(WatchEvent::Snapshot(snapshot)));
//!
//! let request = StreamRequest { worker, cursor: None, client: None };
//! let mut session = ViewerSession::open(now, &context, &registry, request)?;
//! let mut shown = Vec::new();
//! loop {
//!     match session.poll(now, stream.feed(), None) {
//!         ViewerOutput::Frame(frame) => {
//!             shown.push(frame.text().clone());
//!             session.handle(now, ViewerInput::Written);
//!         }
//!         ViewerOutput::Wait { .. } => break,
//!         other => panic!("{other:?}"),
//!     }
//! }
//! assert_eq!(shown.len(), 2, "the snapshot, and that what follows is live");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod limits;
mod link;
mod message;
mod quota;
mod replays;
mod replica;
mod session;
mod shared_stream;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

pub use limits::{
    CATCH_UP_TIMEOUT, CLOSE_TIMEOUT, CONTROL_BUFFER, EVENTS_AHEAD, FIRST_FRAME_TIMEOUT, GATHER,
    GOING_AWAY_EACH, GOING_AWAY_OVER, LINGER, MAX_FRAME_MEMORY, MAX_UNFINISHED_MESSAGE, MAX_UPDATES_BEHIND,
    MAX_VIEWER_MESSAGE, MIN_RING, REPLAY_AHEAD, REPLAY_AHEAD_BYTES, REPLAY_LOOKS, REPLAY_PATIENCE,
    REPLAY_TURN, REPLAY_WAITS, VIEWER_READ_BUFFER,
};
pub(crate) use link::{Due, Link};
pub use message::{Closing, ViewerInput, ViewerOutput, ViewerWait};
pub use replays::{ReplayLimits, ReplayOrder};
pub use replica::{FeedCopy, FeedReplica, FeedUpdate};
pub use session::ViewerSession;
pub use shared_stream::{SharedStream, SharedStreamInput, SharedStreamOutput, SharedStreamWait};

use crate::cursor::CursorKey;
use crate::error::{Error, ErrorKind};
use crate::feed::{Encoder, FeedLimits};
use crate::id::WorkerRef;
use crate::memory::Memory;
use crate::policy::Policy;
use quota::Quota;
use replays::Replays;

/// What all streams of a gateway are made with, and how many viewers there are.
pub struct StreamContext {
    cursor_key: CursorKey,
    policy: Arc<dyn Policy>,
    limits: FeedLimits,
    quota: Arc<Quota>,
    replays: Arc<Replays>,
    frames: Memory,
}

impl StreamContext {
    /// The streams of a gateway with this key, at most `max_viewers` of them at the same time.
    pub fn new(
        cursor_key: CursorKey,
        policy: Arc<dyn Policy>,
        limits: FeedLimits,
        max_viewers: usize,
    ) -> Self {
        let replays = Arc::new(Replays::new(ReplayLimits::default()));
        let frames = Memory::new(MAX_FRAME_MEMORY);
        Self { cursor_key, policy, limits, quota: Arc::new(Quota::new(max_viewers)), replays, frames }
    }

    /// The same with another bound of how many bytes the frames of all feeds have together.
    pub fn with_frame_memory(self, max_bytes: usize) -> Self {
        Self { frames: Memory::new(max_bytes), ..self }
    }

    /// The same with other bounds of how many replay streams there are at once.
    pub fn with_replays(self, limits: ReplayLimits) -> Self {
        Self { replays: Arc::new(Replays::new(limits)), ..self }
    }

    /// The bounds of each feed.
    pub fn limits(&self) -> FeedLimits {
        self.limits
    }

    /// How many bytes the frames of all feeds have.
    pub fn frame_memory(&self) -> usize {
        self.frames.held()
    }

    /// How many viewers there are.
    pub fn viewers(&self) -> usize {
        self.quota.count()
    }

    /// How many replay streams are open or waited for.
    pub fn replays(&self) -> usize {
        self.replays.count()
    }

    /// Lets one more viewer in, of whatever.
    pub(crate) fn admit(&self, now: Instant) -> Result<Link, Error> {
        Ok(Link::new(now, self.quota.admit()?))
    }

    /// The bounds of a replay's feed: what its viewers may be apart, and one event of any size.
    fn replay_limits(&self) -> FeedLimits {
        let FeedLimits { max_event, .. } = self.limits;
        FeedLimits { max_frames: 4 * REPLAY_AHEAD, max_bytes: 4 * REPLAY_AHEAD_BYTES + max_event, max_event }
    }

    fn encoder(&self, worker: WorkerRef) -> Encoder {
        Encoder::new(&self.cursor_key, worker, self.policy.clone(), self.limits.max_event)
            .counted_in(self.frames.clone())
    }
}

impl fmt::Debug for StreamContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamContext")
            .field("limits", &self.limits)
            .field("quota", &self.quota)
            .finish_non_exhaustive()
    }
}

/// What a viewer is told that comes while the gateway shuts down. It is sent off before it is shown anything, so that one
/// that comes back at once waits longer each time.
pub fn shutting_down() -> Error {
    Error::new(ErrorKind::GoingAway).with_retry_after(Some(GOING_AWAY_OVER))
}

#[cfg(test)]
mod tests;
