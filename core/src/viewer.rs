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
//! how it comes to the [`Feed`] of the worker, what it is shown until then, when it is pinged, and why it ends.
//! It holds no frames. It has a [position](crate::feed::FeedPosition) in a feed that all viewers of the worker share,
//! and each [`ViewerSession::poll`] is given that feed.
//!
//! A viewer whose cursor has left the feed's ring has a *replay stream*: a second [`Watch`](crate::watch::Watch), from
//! its cursor, whose frames go to this viewer alone. It ends where the feed has the cursor of the frame that the viewer
//! was shown last. Cursors are compared for equality; nothing is assumed about their order. A replay stream that is
//! open and silent for [`CATCH_UP_TIMEOUT`] without having come to such a cursor is given up: a runtime whose cursors
//! never meet cannot be followed without a gap. While the replay stream is disconnected no such time passes, because
//! the watch itself decides how long it tries.
//!
//! A driver obeys:
//!
//! 1. [`ViewerSession::poll`] with the worker's feed, until it says [`ViewerOutput::Wait`] or [`ViewerOutput::End`].
//! 2. On [`ViewerOutput::Frame`] and [`ViewerOutput::Ping`], write it, and then feed [`ViewerInput::Written`].
//! 3. On [`ViewerOutput::OpenReplay`], make a [`Watch`](crate::watch::Watch) with
//!    [`Registry::watch`](crate::registry::Registry::watch). While the session waits, and not before, feed what happens
//!    next on it ([`ViewerInput::Replay`]): a replay is as fast as its viewer. On [`ViewerOutput::CloseReplay`], drop it.
//! 4. On [`ViewerOutput::Wait`], wait for the feed to change, for the replay stream, for the viewer's connection, or for
//!    the instant.
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
//! let request = StreamRequest { worker, cursor: None };
//! let mut session = ViewerSession::open(now, &context, &registry, request)?;
//! let mut shown = Vec::new();
//! loop {
//!     match session.poll(now, stream.feed()) {
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
mod quota;
mod replica;
mod shared_stream;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

pub use limits::{
    CATCH_UP_TIMEOUT, CLOSE_TIMEOUT, EVENTS_AHEAD, FIRST_FRAME_TIMEOUT, FRAGMENT, GATHER, GOING_AWAY_EACH,
    GOING_AWAY_OVER, LINGER, MAX_UPDATES_BEHIND, MAX_VIEWER_MESSAGE, VIEWER_READ_BUFFER,
};
pub use replica::{FeedCopy, FeedReplica, FeedUpdate};
pub use shared_stream::{SharedStream, SharedStreamInput, SharedStreamOutput, SharedStreamWait};

use crate::browser_api::StreamRequest;
use crate::cursor::{CursorKey, UpstreamCursor};
use crate::error::{Error, ErrorKind};
use crate::feed::{Encoder, Feed, FeedLimits, FeedPosition, Item, Join, Next, caught_up, closing_diagnostic};
use crate::heartbeat::{Beat, Heartbeat, PING_EVERY};
use crate::id::WorkerRef;
use crate::policy::Policy;
use crate::registry::Registry;
use crate::watch::{OnExpiredCursor, WatchEvent};
use quota::{Permit, Quota};

/// What all streams of a gateway are made with, and how many viewers there are.
pub struct StreamContext {
    cursor_key: CursorKey,
    policy: Arc<dyn Policy>,
    limits: FeedLimits,
    quota: Arc<Quota>,
}

impl StreamContext {
    /// The streams of a gateway with this key, at most `max_viewers` of them at the same time.
    pub fn new(
        cursor_key: CursorKey,
        policy: Arc<dyn Policy>,
        limits: FeedLimits,
        max_viewers: usize,
    ) -> Self {
        Self { cursor_key, policy, limits, quota: Arc::new(Quota::new(max_viewers)) }
    }

    /// The bounds of each feed.
    pub fn limits(&self) -> FeedLimits {
        self.limits
    }

    /// How many viewers there are.
    pub fn viewers(&self) -> usize {
        self.quota.count()
    }

    fn encoder(&self, worker: WorkerRef) -> Encoder {
        Encoder::new(&self.cursor_key, worker, self.policy.clone(), self.limits.max_event)
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

/// What a viewer's session hears. What does not belong to its state is ignored.
#[derive(Clone, Debug)]
pub enum ViewerInput {
    /// What was last to be written is written: there is room for more.
    Written,
    /// What happened next on the replay stream.
    Replay(WatchEvent),
    /// The replay stream has ended.
    ReplayEnded(Result<(), Error>),
    /// The shared stream has ended. What the feed still has is shown first.
    StreamEnded(Error),
    /// The viewer has answered a ping. Where there is no wire, the driver answers.
    Pong,
    /// The viewer has sent a text or binary message, or one over [`MAX_VIEWER_MESSAGE`].
    Message,
    /// The gateway shuts down.
    Drain,
    /// The viewer is gone.
    Gone,
}

/// What a viewer's session says.
#[derive(Clone, Debug)]
pub enum ViewerOutput {
    /// Write this frame.
    Frame(Item),
    /// Ping the viewer.
    Ping,
    /// Open a replay stream.
    OpenReplay {
        /// After this cursor; without one, from a snapshot.
        cursor: Option<UpstreamCursor>,
        /// What it does where the runtime no longer has the cursor.
        on_expired: OnExpiredCursor,
    },
    /// Drop the replay stream.
    CloseReplay,
    /// Nothing to do before this instant, but for what is heard and for what the feed has.
    Wait {
        /// When to poll again at the latest.
        until: Instant,
        /// What happens then.
        why: ViewerWait,
    },
    /// The end: how to close, or `None` where the viewer is gone. A session that is polled past its end says `None`.
    End(Option<Closing>),
}

/// What a viewer's session waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ViewerWait {
    /// For [`ViewerInput::Written`]. The instant is no deadline.
    Write,
    /// For the next ping to be due.
    Ping,
    /// For a pong.
    Pong,
    /// For the replay stream to come to a cursor that the feed has.
    CatchUp,
    /// For the viewer's turn to go while the gateway shuts down.
    Drain,
}

/// How a viewer's stream is closed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Closing(Error);

impl Closing {
    /// Why the stream ends.
    pub fn error(&self) -> &Error {
        &self.0
    }

    /// Why the stream ends, to be answered in its place where no frame has been written yet.
    pub fn into_error(self) -> Error {
        self.0
    }

    /// The last frame.
    pub fn frame(&self) -> Item {
        closing_diagnostic(&self.0)
    }

    /// The code to close with. Its range tells the viewer whether to come back (`docs/observation.md`).
    pub fn close_code(&self) -> u16 {
        self.0.kind().close_code()
    }

    /// The reason to close with.
    pub fn reason(&self) -> &'static str {
        self.0.kind().code()
    }
}

impl From<Error> for Closing {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

/// One viewer of one worker. See the [module](self).
pub struct ViewerSession {
    context: Arc<StreamContext>,
    worker: WorkerRef,
    permit: Permit,
    stage: Stage,
    heartbeat: Heartbeat,
    /// Since when something is being written.
    writing_since: Option<Instant>,
    /// When to go, once the gateway shuts down.
    leave_at: Option<Instant>,
    /// Why the shared stream has ended, if it has.
    stream_ended: Option<Error>,
    outputs: VecDeque<ViewerOutput>,
}

enum Stage {
    /// Not yet in the feed.
    Joining(Option<UpstreamCursor>),
    /// On a replay stream, until it meets the feed.
    Replaying(Box<Replay>),
    /// In the feed.
    Following(FeedPosition),
    Ended,
}

struct Replay {
    encoder: Encoder,
    /// The cursor of the last frame shown; none before the first snapshot.
    cursor: Option<UpstreamCursor>,
    /// Whether a gap was told whose snapshot has not come.
    after_gap: bool,
    /// Since when the stream has been open and silent; `None` while it is not open.
    silent_since: Option<Instant>,
}

impl ViewerSession {
    /// Lets a viewer in.
    ///
    /// # Errors
    ///
    /// [`TooManyViewers`](ErrorKind::TooManyViewers), [`UnknownRuntime`](ErrorKind::UnknownRuntime),
    /// [`Denied`](ErrorKind::Denied), [`CursorMalformed`](ErrorKind::CursorMalformed) and
    /// [`CursorUnknown`](ErrorKind::CursorUnknown).
    pub fn open(
        now: Instant,
        context: &Arc<StreamContext>,
        registry: &Registry,
        request: StreamRequest,
    ) -> Result<Self, Error> {
        let StreamRequest { worker, cursor } = request;
        let permit = context.quota.admit()?;
        registry.permit_observation(&*context.policy, &worker)?;
        let open = |cursor: String| context.encoder(worker.clone()).open(&cursor);
        let cursor = cursor.map(open).transpose()?;
        Ok(Self {
            context: context.clone(),
            worker,
            permit,
            stage: Stage::Joining(cursor),
            heartbeat: Heartbeat::new(now),
            writing_since: None,
            leave_at: None,
            stream_ended: None,
            outputs: VecDeque::new(),
        })
    }

    /// The worker that is seen.
    pub fn worker(&self) -> &WorkerRef {
        &self.worker
    }

    /// Whether it is in the feed, and no longer on its way there.
    pub fn is_following(&self) -> bool {
        matches!(self.stage, Stage::Following(_))
    }

    /// Takes what happened.
    pub fn handle(&mut self, now: Instant, input: ViewerInput) {
        match input {
            ViewerInput::Written => self.written(now),
            _ if matches!(self.stage, Stage::Ended) => {}
            ViewerInput::Replay(event) => self.replayed(now, event),
            ViewerInput::ReplayEnded(result) => {
                if matches!(self.stage, Stage::Replaying(_)) {
                    // A replay stream is never told to stop: it is dropped.
                    let error = result.err().unwrap_or_else(|| Error::new(ErrorKind::Internal));
                    self.end(Some(error));
                }
            }
            ViewerInput::StreamEnded(error) => drop(self.stream_ended.get_or_insert(error)),
            ViewerInput::Pong => self.heartbeat.pong(),
            ViewerInput::Message => self.end(Some(Error::new(ErrorKind::ObservationOnly))),
            ViewerInput::Drain => {
                self.leave_at.get_or_insert_with(|| now + self.permit.going_away_in());
            }
            ViewerInput::Gone => {
                self.outputs.clear();
                self.end(None);
            }
        }
    }

    /// What to do next. To be called until it says to wait, or that this is the end. `feed` is the worker's, the same
    /// one each time.
    pub fn poll(&mut self, now: Instant, feed: &Feed) -> ViewerOutput {
        if self.writing_since.is_some() {
            return ViewerOutput::Wait { until: now + PING_EVERY, why: ViewerWait::Write };
        }
        if self.outputs.is_empty() && !matches!(self.stage, Stage::Ended) {
            self.advance(now, feed);
        }
        let output = match self.outputs.pop_front() {
            Some(output) => output,
            None if matches!(self.stage, Stage::Ended) => ViewerOutput::End(None),
            None => self.wait(now),
        };
        if matches!(output, ViewerOutput::Frame(_) | ViewerOutput::Ping) {
            self.writing_since = Some(now);
        }
        output
    }

    fn written(&mut self, now: Instant) {
        let Some(since) = self.writing_since.take() else { return };
        let blocked = now.saturating_duration_since(since);
        self.heartbeat.extend(blocked);
        if let Stage::Replaying(replay) = &mut self.stage
            && let Some(silent_since) = &mut replay.silent_since
        {
            *silent_since += blocked;
        }
    }

    fn replayed(&mut self, now: Instant, event: WatchEvent) {
        let Stage::Replaying(replay) = &mut self.stage else { return };
        match &event {
            WatchEvent::Disconnected { .. } => replay.silent_since = None,
            WatchEvent::Live => replay.silent_since = Some(now),
            _ => replay.silent_since = replay.silent_since.map(|_| now),
        }
        let Some(item) = replay.encoder.encode(event) else { return };
        // An outage of the replay stream is none of the feed's, which would never say that it is over.
        if item.is_notice() {
            return;
        }
        match item.upstream_cursor() {
            Some(cursor) => {
                replay.cursor = Some(cursor.clone());
                replay.after_gap = false;
            }
            None => replay.after_gap = true,
        }
        self.outputs.push_back(ViewerOutput::Frame(item));
    }

    fn advance(&mut self, now: Instant, feed: &Feed) {
        match self.heartbeat.poll(now) {
            Beat::Overdue => return self.end(None),
            Beat::Ping => return self.outputs.push_back(ViewerOutput::Ping),
            Beat::WaitToPing(_) | Beat::WaitForPong(_) => {}
        }
        if self.leave_at.is_some_and(|at| at <= now) {
            return self.end(Some(Error::new(ErrorKind::GoingAway)));
        }
        self.join(feed);
        if !self.outputs.is_empty() {
            return;
        }
        if let Stage::Following(position) = &mut self.stage {
            match feed.next(position) {
                Next::Frame(item) => return self.outputs.push_back(ViewerOutput::Frame(item)),
                Next::CaughtUp => return self.outputs.push_back(ViewerOutput::Frame(caught_up())),
                Next::Lagged => return self.end(Some(Error::new(ErrorKind::ViewerLagged))),
                Next::Nothing => {}
            }
        }
        if let Some(error) = self.stream_ended.take() {
            return self.end(Some(error));
        }
        if self.catch_up_until().is_some_and(|until| until <= now) {
            self.end(Some(Error::new(ErrorKind::CursorExpired)));
        }
    }

    /// Goes on in the feed, where that has what this viewer needs next.
    fn join(&mut self, feed: &Feed) {
        let joined = match &self.stage {
            Stage::Joining(cursor) => feed.join(cursor.as_ref()),
            Stage::Replaying(replay) if !replay.after_gap => feed.join(replay.cursor.as_ref()),
            Stage::Replaying(_) | Stage::Following(_) | Stage::Ended => return,
        };
        match joined {
            Join::Ready(position, snapshot) => {
                let before = std::mem::replace(&mut self.stage, Stage::Following(position));
                if let Stage::Replaying(_) = before {
                    self.outputs.push_back(ViewerOutput::CloseReplay);
                }
                self.outputs.extend(snapshot.map(ViewerOutput::Frame));
            }
            Join::NotYet => {}
            Join::NeedsSnapshot | Join::NeedsReplay => {
                let Stage::Joining(cursor) = &mut self.stage else { return };
                let cursor = cursor.take();
                let on_expired = match cursor {
                    // This viewer wants what came after this very cursor.
                    Some(_) => OnExpiredCursor::Stop,
                    None => OnExpiredCursor::Resynchronize,
                };
                let encoder = self.context.encoder(self.worker.clone());
                let replay = Replay { encoder, cursor: cursor.clone(), after_gap: false, silent_since: None };
                self.stage = Stage::Replaying(Box::new(replay));
                self.outputs.push_back(ViewerOutput::OpenReplay { cursor, on_expired });
            }
        }
    }

    fn catch_up_until(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Replaying(replay) => replay.silent_since.map(|since| since + CATCH_UP_TIMEOUT),
            _ => None,
        }
    }

    fn wait(&mut self, now: Instant) -> ViewerOutput {
        let (mut until, mut why) = match self.heartbeat.poll(now) {
            Beat::WaitForPong(until) => (until, ViewerWait::Pong),
            Beat::WaitToPing(until) => (until, ViewerWait::Ping),
            // What is due was said before.
            Beat::Ping | Beat::Overdue => (now, ViewerWait::Ping),
        };
        let others = [(self.catch_up_until(), ViewerWait::CatchUp), (self.leave_at, ViewerWait::Drain)];
        for (at, reason) in others {
            if let Some(at) = at.filter(|at| *at < until) {
                (until, why) = (at, reason);
            }
        }
        ViewerOutput::Wait { until, why }
    }

    fn end(&mut self, error: Option<Error>) {
        self.stage = Stage::Ended;
        self.outputs.push_back(ViewerOutput::End(error.map(Closing)));
    }
}

impl fmt::Debug for ViewerSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Joining(_) => "joining",
            Stage::Replaying(_) => "replaying",
            Stage::Following(_) => "following",
            Stage::Ended => "ended",
        };
        f.debug_struct("ViewerSession")
            .field("worker", &self.worker)
            .field("stage", &stage)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
