//! The life of one stream to a runtime: connect, snapshot, live, resume.
//!
//! ```text
//!             ┌────────────────────────── Pausing ◄──────────────────────────┐ transient
//!             ▼                                                              │
//!  new ──► Connect ──► Opened ──► first frame ──┬─► Live ──► Lost ───────────┤
//!             ▲                                 │    ▲                       │ fatal, given up,
//!             │                                 ▼    │ an event, or quiet    ▼ or Stop
//!             │                            Settling ─┘                    Stopped
//!             └── RefreshCredential ◄── 401       │ the place is gone: again without it
//! ```
//!
//! Without a place to resume from, the first frame is a snapshot of the present. With one, deployed runtimes repeat
//! the place in a snapshot that says nothing, and only then tell if they do not know it: hence *settling*. A place
//! that is gone makes a watch [start over](WatchEvent::Resynchronized) with a fresh snapshot, or
//! [end](OnExpiredCursor::Stop), as it was told.
//!
//! A driver obeys:
//!
//! 1. [`Watch::poll`] until it says [`WatchOutput::Wait`] or [`WatchOutput::Stopped`].
//! 2. On [`WatchOutput::Send`], perform the attempt and feed its result. It asks who is there, before each connection to a
//!    runtime that is not in the same process: events of another machine never come out under the wrong name.
//! 3. On [`WatchOutput::Connect`], open the stream, and feed what becomes of it, under the connection's id: it was
//!    [opened](WatchInput::Opened), [refused](WatchInput::Refused) or [lost](WatchInput::Lost); its
//!    [frames](WatchInput::Frame) and [pongs](WatchInput::Pong).
//! 4. On [`WatchOutput::Ping`], send a ping; on [`WatchOutput::Close`], drop the connection.
//! 5. On [`WatchOutput::Event`], pass it on.
//! 6. On [`WatchOutput::Wait`], wait for the connection to have something, or for the instant.
//! 7. On [`WatchOutput::RefreshCredential`], read the runtime's token anew and [feed it](WatchInput::Credential). A token
//!    that is found to have changed before a frame is fed is fed first: the runtime may repeat it on a stream that was
//!    opened with the old one.

mod identity;

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;

use crate::backoff::{Jitter, doubled};
use crate::call::CallLimits;
use crate::cursor::UpstreamCursor;
use crate::error::{Error, ErrorKind, NetworkPhase, TimeoutPhase};
use crate::heartbeat::{Beat, Heartbeat};
pub use crate::heartbeat::{PING_EVERY, PONG_WITHIN};
use crate::id::WorkerRef;
use crate::runtime_api::{Envelope, Frame, Rejection, StreamDiagnostic};
use crate::secret::{SharedAccess, Token};
use crate::transport::{
    Attempt, AttemptId, ConnId, Connect, Failure, FailureCause, Identity, Loss, Unopened,
};

/// The pause before a first reconnect; it doubles with each failure until a good frame comes.
pub const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// The longest pause between two connects.
pub const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// How long a watch goes on trying without a good frame, unless told otherwise.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

/// How long a runtime is given to say that it does not know a place. Deployed runtimes say it in the same breath as
/// the snapshot before it.
pub const CURSOR_ERROR_GRACE: Duration = Duration::from_millis(500);

/// How many events back a repeated one is noticed. Deployed runtimes keep 1,024 to repeat from.
pub const DEDUP_WINDOW: usize = 1024;

/// How often a stream may end at the same place, each time after it had begun well, before that place is given up.
pub const MAX_STALLS: u32 = 3;

/// What a watch hears. What does not belong to the present connection is ignored.
pub enum WatchInput {
    /// The stream is open.
    Opened(ConnId),
    /// The runtime answered with something else than an upgrade.
    Refused(ConnId, Response<Bytes>),
    /// A text message.
    Frame(ConnId, Bytes),
    /// The answer to a ping.
    Pong(ConnId),
    /// The connection is no more.
    Lost(ConnId, Loss),
    /// The whole response to an attempt.
    Response(AttemptId, Response<Bytes>),
    /// The attempt got none.
    Failed(AttemptId, Failure),
    /// The runtime's token as it is now, `None` where it could not be read. One that was not asked for is used from
    /// the next connection on, and does not leave from now on.
    Credential(Option<Token>),
    /// Nobody wants to see it any more.
    Stop,
}

impl WatchInput {
    /// What became of an attempt.
    pub fn report(id: AttemptId, result: Result<Response<Bytes>, Failure>) -> Self {
        match result {
            Ok(response) => Self::Response(id, response),
            Err(failure) => Self::Failed(id, failure),
        }
    }

    /// What became of opening a stream.
    pub fn opened(id: ConnId, result: Result<(), Unopened>) -> Self {
        match result {
            Ok(()) => Self::Opened(id),
            Err(Unopened::Refused(response)) => Self::Refused(id, response),
            Err(Unopened::Malformed) => Self::Lost(id, Loss::Malformed),
            Err(Unopened::Failed(failure)) => Self::Lost(id, Loss::Failed(failure.cause)),
        }
    }
}

impl fmt::Debug for WatchInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened(id) => write!(f, "Opened({id:?})"),
            Self::Refused(id, response) => write!(f, "Refused({id:?}, {})", response.status()),
            // How long it is tells how long the secrets are that a runtime wrote into it.
            Self::Frame(id, _) => write!(f, "Frame({id:?})"),
            Self::Pong(id) => write!(f, "Pong({id:?})"),
            Self::Lost(id, loss) => write!(f, "Lost({id:?}, {loss:?})"),
            Self::Response(id, response) => write!(f, "Response({id:?}, {})", response.status()),
            Self::Failed(id, failure) => write!(f, "Failed({id:?}, {failure:?})"),
            Self::Credential(token) => write!(f, "Credential({token:?})"),
            Self::Stop => f.write_str("Stop"),
        }
    }
}

/// What a watch says.
#[derive(Debug)]
#[must_use = "what a watch says is to be done"]
pub enum WatchOutput {
    /// Start this attempt: the question who is there.
    Send(Attempt),
    /// Open a stream.
    Connect(Connect),
    /// Ping the runtime.
    Ping(ConnId),
    /// Drop the connection.
    Close(ConnId),
    /// Read the runtime's token anew, and say what it is.
    RefreshCredential,
    /// Pass this on.
    Event(WatchEvent),
    /// Nothing to do before this instant, but for what the connection has.
    Wait {
        /// When to poll again at the latest.
        until: Instant,
        /// What for.
        why: WatchWait,
    },
    /// The end: as it was told to, or for this reason. It is said once.
    Stopped(Result<(), Error>),
}

/// What a watch waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum WatchWait {
    /// For the next connect's time to come.
    Backoff,
    /// For the answer who is there.
    Identity,
    /// For the connection to open.
    Connection,
    /// For the token.
    Credential,
    /// For the first frame.
    FirstFrame,
    /// For the runtime to say that it does not know the place, or not.
    Settling,
    /// For the next ping's time to come.
    Ping,
    /// For a pong.
    Pong,
}

/// What happens on a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WatchEvent {
    /// A connection is open, and the runtime serves the stream: said once for each connection, before anything that it
    /// brings.
    Live,
    /// The state of the worker at a place; events follow from there.
    Snapshot(Observed),
    /// Something happened.
    Event(Observed),
    /// The runtime is away; it is being tried again.
    Disconnected {
        /// In how long.
        retry_after: Duration,
    },
    /// It is back, and nothing was missed.
    Resumed,
    /// It is back, but no longer has the place to resume from: a snapshot follows, and what lies between is lost.
    Resynchronized,
}

/// A snapshot or event, without a secret in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Observed {
    /// The place after it.
    pub place: UpstreamCursor,
    /// What identifies it.
    pub event_id: Box<str>,
    /// What happened: JSON, as the runtime wrote it, but for secrets.
    pub payload: Bytes,
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observed({}, {} bytes)", self.event_id, self.payload.len())
    }
}

/// What to do where the runtime no longer has the place to resume from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OnExpiredCursor {
    /// Start over with a snapshot, and say so: for those who follow.
    Resynchronize,
    /// End with [`CursorExpired`](ErrorKind::CursorExpired): for those who asked for this very place.
    Stop,
}

/// What a watch needs to know.
pub(crate) struct WatchContext {
    pub(crate) worker: WorkerRef,
    pub(crate) access: SharedAccess,
    pub(crate) limits: CallLimits,
    pub(crate) give_up_after: Duration,
    pub(crate) jitter: Jitter,
}

/// One stream of one worker. See the [module](self).
#[must_use = "a watch does nothing unless it is polled"]
pub struct Watch {
    context: WatchContext,
    at_lost_place: OnExpiredCursor,
    /// Where to resume.
    place: Option<UpstreamCursor>,
    recent: Recent,
    state: State,
    connections: u32,
    /// Without a good frame since then.
    since: Option<Instant>,
    /// Whether [`WatchEvent::Disconnected`] has been said and not been taken back.
    away: bool,
    /// Whether a snapshot is to be announced as a new beginning.
    starting_over: bool,
    failures: u32,
    stalls: u32,
    may_refresh: bool,
    /// The token that was shown last.
    shown: Option<Token>,
    /// Names the questions who is there, and counts those before the present connection.
    asked: u32,
    questions: u32,
    outputs: VecDeque<WatchOutput>,
}

enum State {
    /// There is no connection, and what follows is being decided.
    Idle,
    Pausing {
        until: Instant,
    },
    /// Who is there?
    Asking {
        id: AttemptId,
        identity: Identity,
        until: Instant,
    },
    Connecting {
        id: ConnId,
        until: Instant,
    },
    Refreshing {
        refused: Error,
        until: Instant,
    },
    Connected(Connection),
    Stopped,
}

/// All that belongs to one connection, and goes with it.
struct Connection {
    id: ConnId,
    phase: Phase,
    heartbeat: Heartbeat,
}

#[derive(Clone, Copy)]
enum Phase {
    FirstFrame { until: Instant },
    Settling { until: Instant },
    Live,
}

impl Watch {
    pub(crate) fn new(
        now: Instant,
        context: WatchContext,
        place: Option<UpstreamCursor>,
        at_lost_place: OnExpiredCursor,
    ) -> Self {
        Self {
            may_refresh: context.access.has_credential(),
            context,
            at_lost_place,
            place,
            recent: Recent::default(),
            state: State::Pausing { until: now },
            connections: 0,
            since: Some(now),
            away: false,
            starting_over: false,
            failures: 0,
            stalls: 0,
            shown: None,
            asked: 0,
            questions: 0,
            outputs: VecDeque::new(),
        }
    }

    /// The worker that is being watched.
    pub fn worker(&self) -> &WorkerRef {
        &self.context.worker
    }

    /// Where it would resume now.
    pub fn place(&self) -> Option<&UpstreamCursor> {
        self.place.as_ref()
    }

    /// Whether its stream is open, and a good one.
    pub fn is_live(&self) -> bool {
        matches!(&self.state, State::Connected(Connection { phase: Phase::Live, .. }))
    }

    /// Takes what happened.
    pub fn handle(&mut self, now: Instant, input: WatchInput) {
        self.context.access.refresh();
        let asked = match &self.state {
            State::Asking { id, .. } => Some(*id),
            _ => None,
        };
        let current = match &self.state {
            State::Connecting { id, .. } => Some(*id),
            State::Connected(connection) => Some(connection.id),
            _ => None,
        };
        match input {
            WatchInput::Stop => {
                self.close();
                self.stop(Ok(()));
            }
            WatchInput::Credential(token) => self.credential(now, token),
            WatchInput::Opened(id) if current == Some(id) => {
                if matches!(self.state, State::Connecting { .. }) {
                    self.state = State::Connected(Connection {
                        id,
                        phase: Phase::FirstFrame { until: now + self.context.limits.response },
                        heartbeat: Heartbeat::new(now),
                    });
                }
            }
            WatchInput::Refused(id, response) if current == Some(id) => self.refused(now, &response),
            WatchInput::Frame(id, text) if current == Some(id) => self.frame(now, &text),
            WatchInput::Pong(id) if current == Some(id) => {
                if let State::Connected(connection) = &mut self.state {
                    connection.heartbeat.pong();
                }
            }
            WatchInput::Lost(id, Loss::Failed(FailureCause::NotIdentified)) if current == Some(id) => {
                self.not_identified(now);
            }
            WatchInput::Lost(id, loss) if current == Some(id) => self.lost(now, loss),
            WatchInput::Response(id, response) if asked == Some(id) => self.answered(now, &response),
            WatchInput::Failed(id, failure) if asked == Some(id) => self.unanswered(now, failure),
            _ => {}
        }
    }

    /// What to do next. To be called until it says to wait, or that it has stopped.
    pub fn poll(&mut self, now: Instant) -> WatchOutput {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        self.handle_timeout(now);
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        let (until, why) = match &mut self.state {
            State::Idle => (now, WatchWait::Backoff),
            State::Pausing { until } => (*until, WatchWait::Backoff),
            State::Asking { until, .. } => (*until, WatchWait::Identity),
            State::Connecting { until, .. } => (*until, WatchWait::Connection),
            State::Refreshing { until, .. } => (*until, WatchWait::Credential),
            State::Connected(connection) => connection.wait(now),
            State::Stopped => {
                let detail = "the watch was polled past its end";
                return WatchOutput::Stopped(Err(Error::with_detail(ErrorKind::Internal, detail)));
            }
        };
        WatchOutput::Wait { until, why }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Idle => self.begin(now),
            State::Pausing { until } if *until <= now => self.begin(now),
            State::Asking { until, .. } if *until <= now => {
                self.unanswered(now, Failure::sent(FailureCause::Timeout(TimeoutPhase::Response)));
            }
            State::Connecting { until, .. } if *until <= now => {
                self.close();
                self.lost(now, Loss::Failed(FailureCause::Timeout(TimeoutPhase::Response)));
            }
            State::Refreshing { until, .. } if *until <= now => self.credential(now, None),
            State::Connected(connection) => {
                let beat = connection.heartbeat.poll(now);
                let late = matches!(connection.phase, Phase::FirstFrame { until } if until <= now);
                if late || beat == Beat::Overdue {
                    self.close();
                    self.lost(now, Loss::Failed(FailureCause::Timeout(TimeoutPhase::Response)));
                    return;
                }
                if beat == Beat::Ping {
                    self.outputs.push_back(WatchOutput::Ping(connection.id));
                }
                if matches!(connection.phase, Phase::Settling { until } if until <= now) {
                    self.settled();
                }
            }
            _ => {}
        }
    }

    /// Drops the connection, if there is one.
    fn close(&mut self) {
        if let State::Connecting { id, .. } | State::Connected(Connection { id, .. }) = self.state {
            self.outputs.push_back(WatchOutput::Close(id));
            self.state = State::Idle;
        }
    }

    fn stop(&mut self, result: Result<(), Error>) {
        if !matches!(self.state, State::Stopped) {
            self.state = State::Stopped;
            self.outputs.push_back(WatchOutput::Stopped(result));
        }
    }

    fn fail(&mut self, error: Error) {
        self.close();
        let WorkerRef { runtime_id, worker_id } = &self.context.worker;
        let error = error.of_runtime(runtime_id).of_worker(Some(worker_id));
        self.stop(Err(error));
    }

    fn refused(&mut self, now: Instant, response: &Response<Bytes>) {
        self.state = State::Idle;
        let rejection = Rejection::of(true, self.context.access.scrubber(), response);
        self.rejected(now, rejection);
    }

    fn rejected(&mut self, now: Instant, rejection: Rejection) {
        let error = rejection.into_error();
        match error.kind() {
            ErrorKind::RuntimeAuthFailed if self.may_refresh => {
                self.may_refresh = false;
                self.state = State::Refreshing { refused: error, until: now + self.context.limits.response };
                self.outputs.push_back(WatchOutput::RefreshCredential);
            }
            ErrorKind::RuntimeBusy | ErrorKind::RuntimeError | ErrorKind::RuntimeStopped => {
                self.retry(now, error)
            }
            _ => self.fail(error),
        }
    }

    fn credential(&mut self, now: Instant, token: Option<Token>) {
        let token = token.filter(|token| Some(token) != self.shown.as_ref());
        if let Some(token) = &token {
            self.context.access.use_token(token.clone());
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Refreshing { .. } if token.is_some() => self.begin(now),
            State::Refreshing { refused, .. } => self.fail(refused),
            state => self.state = state,
        }
    }

    fn lost(&mut self, now: Instant, loss: Loss) {
        self.state = State::Idle;
        let error = match loss {
            Loss::Failed(cause) => Failure::sent(cause).into_error(),
            Loss::Ended => Failure::sent(FailureCause::Network(NetworkPhase::Receive)).into_error(),
            Loss::Malformed => return self.fail(Error::new(ErrorKind::MalformedFrame)),
            Loss::TooLarge => {
                // Whoever resumed here would meet the same frame again, and again.
                let error = Error::new(ErrorKind::ResponseTooLarge);
                return self.place_is_lost(now, error);
            }
        };
        match error.kind() {
            ErrorKind::MalformedResponse | ErrorKind::ResponseTooLarge => self.fail(error),
            _ => self.retry(now, error),
        }
    }

    /// Pauses and connects again, unless that has been going on for too long.
    fn retry(&mut self, now: Instant, error: Error) {
        let since = *self.since.get_or_insert(now);
        let pause = self.context.jitter.spread(doubled(FIRST_BACKOFF, self.failures, LONGEST_BACKOFF));
        let pause = pause.max(error.retry_after().unwrap_or_default());
        let until = now + pause;
        if until >= since + self.context.give_up_after {
            return self.fail(error);
        }
        self.failures = self.failures.saturating_add(1);
        if !self.away && self.is_under_way() {
            self.away = true;
            self.outputs.push_back(WatchOutput::Event(WatchEvent::Disconnected { retry_after: pause }));
        }
        self.state = State::Pausing { until };
    }

    /// Whether anything good has ever come.
    fn is_under_way(&self) -> bool {
        !self.recent.is_empty()
    }

    fn place_is_lost(&mut self, now: Instant, error: Error) {
        match self.at_lost_place {
            OnExpiredCursor::Stop => self.fail(Error::new(ErrorKind::CursorExpired)),
            OnExpiredCursor::Resynchronize => {
                self.starting_over |= self.is_under_way();
                self.place = None;
                self.retry(now, error);
            }
        }
    }

    fn frame(&mut self, now: Instant, text: &Bytes) {
        let Ok(frame) = Frame::from_text(text) else {
            return self.fail(Error::new(ErrorKind::MalformedFrame));
        };
        match frame {
            Frame::Event(envelope) => self.event(now, text, &envelope),
            Frame::Diagnostic(diagnostic) => self.diagnostic(now, &diagnostic),
        }
    }

    fn event(&mut self, now: Instant, text: &Bytes, envelope: &Envelope<'_>) {
        if envelope.worker_id != self.context.worker.worker_id.as_str() {
            return self.fail(Error::new(ErrorKind::IdentityMismatch));
        }
        let scrubber = self.context.access.scrubber();
        let payload = match scrubber.json(envelope.payload.get()) {
            std::borrow::Cow::Borrowed(payload) => text.slice_ref(payload.as_bytes()),
            std::borrow::Cow::Owned(payload) => Bytes::from(payload),
        };
        let place = UpstreamCursor::new(&envelope.cursor).filter(|place| !scrubber.finds(place.as_str()));
        // Of a snapshot's id all but the wire's own `snapshot:` is the cursor, which may well begin as a port would go on.
        let clean = envelope.is_snapshot() || !scrubber.finds(&envelope.event_id);
        let named = envelope.event_id.len() <= MAX_EVENT_ID && clean;
        let State::Connected(connection) = &mut self.state else { return };
        let (Some(place), true) = (place, named) else {
            return self.fail(Error::new(ErrorKind::MalformedFrame));
        };
        let observed = Observed { place, event_id: envelope.event_id.as_ref().into(), payload };
        match connection.phase {
            Phase::FirstFrame { .. } if !envelope.is_snapshot() => {
                self.fail(Error::new(ErrorKind::MalformedFrame));
            }
            Phase::FirstFrame { .. } if self.place.as_ref() == Some(&observed.place) => {
                connection.phase = Phase::Settling { until: now + CURSOR_ERROR_GRACE };
            }
            Phase::FirstFrame { .. } => {
                // A snapshot of another place than the one asked for is the runtime's way of not knowing that one.
                if self.place.is_some() && self.at_lost_place == OnExpiredCursor::Stop {
                    return self.fail(Error::new(ErrorKind::CursorExpired));
                }
                let starting_over = self.starting_over || self.place.is_some();
                self.snapshot(observed, starting_over);
            }
            phase @ (Phase::Settling { .. } | Phase::Live) => {
                if matches!(phase, Phase::Settling { .. }) {
                    self.settled();
                }
                if self.recent.insert(&observed.place) {
                    self.stalls = 0;
                    self.place = Some(observed.place.clone());
                    self.outputs.push_back(WatchOutput::Event(WatchEvent::Event(observed)));
                }
            }
        }
    }

    fn snapshot(&mut self, observed: Observed, starting_over: bool) {
        if starting_over {
            // It is back, but not where it was.
            self.away = false;
        }
        self.starting_over = false;
        self.stalls = 0;
        self.recent = Recent::default();
        self.recent.insert(&observed.place);
        self.place = Some(observed.place.clone());
        self.settled();
        if starting_over {
            self.outputs.push_back(WatchOutput::Event(WatchEvent::Resynchronized));
        }
        self.outputs.push_back(WatchOutput::Event(WatchEvent::Snapshot(observed)));
    }

    /// The stream is a good one: what failures there were are forgotten.
    fn settled(&mut self) {
        if let State::Connected(connection) = &mut self.state {
            connection.phase = Phase::Live;
        }
        if let Some(place) = &self.place {
            self.recent.insert(place);
        }
        self.since = None;
        self.failures = 0;
        self.may_refresh = self.context.access.has_credential();
        self.outputs.push_back(WatchOutput::Event(WatchEvent::Live));
        if std::mem::take(&mut self.away) {
            self.outputs.push_back(WatchOutput::Event(WatchEvent::Resumed));
        }
    }

    fn diagnostic(&mut self, now: Instant, diagnostic: &StreamDiagnostic<'_>) {
        let lost = Error::with_detail(ErrorKind::RuntimeError, "the runtime ended the stream");
        match diagnostic.code.as_ref() {
            "runtime.worker_not_found" => self.fail(Error::new(ErrorKind::WorkerNotFound)),
            "runtime.cursor_unknown_or_expired" | "runtime.cursor_malformed" if self.place.is_some() => {
                self.close();
                self.place_is_lost(now, lost);
            }
            "runtime.cursor_expired"
            | "runtime.cursor_unknown_or_expired"
            | "runtime.cursor_malformed"
            | "runtime.unavailable"
            | "runtime.upstream_closed"
            | "runtime.websocket_error"
            | "runtime.serialize_failed"
            | "runtime.observation_only" => {
                let begun = match &self.state {
                    State::Connected(connection) => !matches!(connection.phase, Phase::FirstFrame { .. }),
                    _ => false,
                };
                self.close();
                self.stalls += u32::from(begun);
                if self.stalls >= MAX_STALLS && self.place.is_some() {
                    self.stalls = 0;
                    self.place_is_lost(now, lost);
                } else {
                    self.retry(now, lost);
                }
            }
            // A word that v1 does not know is not the end: if it is, the connection's will follow.
            _ => {}
        }
    }
}

/// The longest id of an event, in bytes.
const MAX_EVENT_ID: usize = 1024;

impl Connection {
    fn wait(&mut self, now: Instant) -> (Instant, WatchWait) {
        let ping = match self.heartbeat.poll(now) {
            Beat::WaitForPong(until) => (until, WatchWait::Pong),
            Beat::WaitToPing(until) => (until, WatchWait::Ping),
            // What is due was said before.
            Beat::Ping | Beat::Overdue => (now, WatchWait::Ping),
        };
        match self.phase {
            Phase::FirstFrame { until } if until <= ping.0 => (until, WatchWait::FirstFrame),
            Phase::Settling { until } if until <= ping.0 => (until, WatchWait::Settling),
            _ => ping,
        }
    }
}

/// The last places seen, to notice an event that comes again.
#[derive(Default)]
struct Recent {
    order: VecDeque<UpstreamCursor>,
    known: BTreeSet<UpstreamCursor>,
}

impl Recent {
    /// Whether it had not been there.
    fn insert(&mut self, place: &UpstreamCursor) -> bool {
        if !self.known.insert(place.clone()) {
            return false;
        }
        self.order.push_back(place.clone());
        if self.order.len() > DEDUP_WINDOW
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("worker", &self.context.worker)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
