//! The life of one stream to a runtime: connect, snapshot, live, resume.
//!
//! ```text
//!             ┌────────────────────────── Backoff ◄──────────────────────────┐ transient
//!             ▼                                                              │
//!  new ──► Connect ──► Opened ──► first frame ──┬─► Live ──► Lost ───────────┤
//!             ▲                                 │    ▲                       │ fatal, given up,
//!             │                                 ▼    │ an event, or quiet    ▼ or Stop
//!             │                     CursorErrorGrace ┘                    Stopped
//!             └── RefreshCredential ◄── 401       │ the cursor has expired: again without it
//! ```
//!
//! Without a cursor to resume from, the first frame is a snapshot of the present. With one, deployed runtimes first send
//! a snapshot that repeats the cursor and carries no state, and only then say whether they do not know that cursor. The
//! watch therefore allows a [grace](CURSOR_ERROR_GRACE) for that error before it takes the stream for resumed. When the
//! cursor has expired, the watch [starts over](WatchEvent::Resynchronized) with a new snapshot or
//! [ends](OnExpiredCursor::Stop), as [`OnExpiredCursor`] says.
//!
//! A driver does the following:
//!
//! 1. It calls [`Watch::poll`] until that returns [`WatchOutput::Wait`] or [`WatchOutput::Stopped`].
//! 2. On [`WatchOutput::Send`], it performs the attempt and feeds its result. The attempt asks the runtime for its
//!    identity, before each connection to a runtime that is not in the same process, so that events of another runtime
//!    are never reported under the wrong name.
//! 3. On [`WatchOutput::Connect`], it opens the stream and feeds what happens to it, under the connection's id: that it was
//!    [opened](WatchInput::Opened), [refused](WatchInput::Refused) or [lost](WatchInput::Lost), and its
//!    [frames](WatchInput::Frame) and [pongs](WatchInput::Pong).
//! 4. On [`WatchOutput::Ping`], it sends a ping; on [`WatchOutput::Close`], it drops the connection.
//! 5. On [`WatchOutput::Event`], it passes the event on.
//! 6. On [`WatchOutput::Wait`], it waits for the connection or for the given instant, whichever comes first.
//! 7. On [`WatchOutput::RefreshCredential`], it reads the runtime's token again and [feeds it](WatchInput::Credential). If
//!    the driver finds that the token has changed, it feeds the token before the next frame: the runtime may repeat the
//!    new token on a stream that was opened with the old one.

mod frames;
mod identity;
mod input;
mod output;
mod recent;

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;

use crate::backoff::{Jitter, doubled};
use crate::call::CallLimits;
use crate::cursor::UpstreamCursor;
use crate::error::{Error, ErrorKind, Misuse, NetworkPhase, TimeoutPhase};
use crate::heartbeat::{Beat, Heartbeat};
pub use crate::heartbeat::{PING_EVERY, PONG_WITHIN};
use crate::id::WorkerRef;
use crate::runtime_api::Rejection;
use crate::secret::{SharedAccess, Token};
use crate::transport::{AttemptId, ConnId, Failure, FailureCause, Identity, Loss};

pub use input::WatchInput;
pub use output::{Observed, WatchEvent, WatchOutput, WatchWait};
pub use recent::DEDUP_WINDOW;
use recent::RecentCursors;

/// The pause before the first reconnect. It doubles with each failure until the stream is live again.
pub const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// The longest pause between two connects.
pub const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// How long a watch goes on trying while the stream does not become live, unless configured otherwise.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

/// How long a runtime may take, after the first frame, to say that it does not know the cursor. Deployed runtimes say it
/// immediately after that frame.
pub const CURSOR_ERROR_GRACE: Duration = Duration::from_millis(500);

/// How often the runtime may end the stream at the same cursor, each time after a first frame, before the watch gives up
/// that cursor.
pub const MAX_STALLS: u32 = 3;

/// What a watch does when the runtime can no longer resume from the cursor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OnExpiredCursor {
    /// It starts over with a snapshot and reports [`WatchEvent::Resynchronized`]: for streams of the present.
    Resynchronize,
    /// It ends with [`CursorExpired`](ErrorKind::CursorExpired): for streams that are to continue from exactly this
    /// cursor.
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
    on_expired_cursor: OnExpiredCursor,
    /// Where to resume.
    upstream_cursor: Option<UpstreamCursor>,
    recent: RecentCursors,
    state: State,
    /// The number of connections so far, and the id of the newest.
    connections: u32,
    /// Since when the stream has not been live. `None` while it is, and after that until the first failure.
    failing_since: Option<Instant>,
    /// Whether [`WatchEvent::Disconnected`] has been reported and the stream has not become live since.
    disconnected: bool,
    /// Whether the runtime is known to refuse a cursor whose events it no longer has.
    refuses_lost_cursors: bool,
    /// Whether the next snapshot is to be reported with [`WatchEvent::Resynchronized`].
    resynchronizing: bool,
    /// The number of failures since the stream was live.
    failures: u32,
    /// How often the runtime has ended the stream at this cursor.
    stalls: u32,
    /// Whether the token may be read again when the runtime refuses it.
    may_refresh: bool,
    /// The token that was sent last.
    sent_token: Option<Token>,
    /// The number of identity requests so far, and the id of the newest.
    identity_requests: u32,
    /// The number of identity requests for the present connection.
    identity_tries: u32,
    outputs: VecDeque<WatchOutput>,
}

enum State {
    /// There is no connection, and the next step is being decided.
    Idle,
    Backoff {
        until: Instant,
    },
    /// The runtime has been asked for its identity.
    Identifying {
        id: AttemptId,
        identity: Identity,
        until: Instant,
    },
    Connecting {
        id: ConnId,
        until: Instant,
    },
    /// The token is being read again, after the runtime refused the last one with this error.
    Refreshing {
        error: Error,
        until: Instant,
    },
    Connected(Connection),
    Stopped,
}

/// The state of one connection.
struct Connection {
    id: ConnId,
    phase: Phase,
    heartbeat: Heartbeat,
}

#[derive(Clone, Copy)]
enum Phase {
    FirstFrame {
        until: Instant,
    },
    /// The first frame has repeated the cursor. The runtime may still say that it does not know it.
    CursorErrorGrace {
        until: Instant,
    },
    Live,
}

impl Watch {
    pub(crate) fn new(
        now: Instant,
        context: WatchContext,
        upstream_cursor: Option<UpstreamCursor>,
        on_expired_cursor: OnExpiredCursor,
    ) -> Self {
        Self {
            may_refresh: context.access.has_credential(),
            context,
            on_expired_cursor,
            upstream_cursor,
            recent: RecentCursors::default(),
            state: State::Backoff { until: now },
            connections: 0,
            failing_since: Some(now),
            disconnected: false,
            refuses_lost_cursors: false,
            resynchronizing: false,
            failures: 0,
            stalls: 0,
            sent_token: None,
            identity_requests: 0,
            identity_tries: 0,
            outputs: VecDeque::new(),
        }
    }

    /// The worker whose stream this is.
    pub fn worker(&self) -> &WorkerRef {
        &self.context.worker
    }

    /// The runtime's cursor from which the stream would resume now. `None` if it would begin with a snapshot.
    pub fn upstream_cursor(&self) -> Option<&UpstreamCursor> {
        self.upstream_cursor.as_ref()
    }

    /// Whether the stream is open and the runtime serves it.
    pub fn is_live(&self) -> bool {
        matches!(&self.state, State::Connected(Connection { phase: Phase::Live, .. }))
    }

    /// Takes what has happened.
    pub fn handle(&mut self, now: Instant, input: WatchInput) {
        self.context.access.refresh();
        let current_attempt = match &self.state {
            State::Identifying { id, .. } => Some(*id),
            _ => None,
        };
        let current_conn = match &self.state {
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
            WatchInput::Opened(id) if current_conn == Some(id) => {
                if matches!(self.state, State::Connecting { .. }) {
                    self.state = State::Connected(Connection {
                        id,
                        phase: Phase::FirstFrame { until: now + self.context.limits.response },
                        heartbeat: Heartbeat::new(now),
                    });
                }
            }
            WatchInput::Refused(id, response) if current_conn == Some(id) => self.refused(now, &response),
            WatchInput::Frame(id, text) if current_conn == Some(id) => self.frame(now, &text),
            WatchInput::Pong(id) if current_conn == Some(id) => {
                if let State::Connected(connection) = &mut self.state {
                    connection.heartbeat.pong();
                }
            }
            WatchInput::Lost(id, Loss::Failed(FailureCause::NotIdentified)) if current_conn == Some(id) => {
                self.not_identified(now);
            }
            WatchInput::Lost(id, loss) if current_conn == Some(id) => self.lost(now, loss),
            WatchInput::Response(id, response) if current_attempt == Some(id) => {
                self.identity_response(now, &response)
            }
            WatchInput::Failed(id, failure) if current_attempt == Some(id) => {
                self.identity_failed(now, failure)
            }
            _ => {}
        }
    }

    /// What to do next. Call it until it returns [`WatchOutput::Wait`] or [`WatchOutput::Stopped`].
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
            State::Backoff { until } => (*until, WatchWait::Backoff),
            State::Identifying { until, .. } => (*until, WatchWait::Identity),
            State::Connecting { until, .. } => (*until, WatchWait::Connection),
            State::Refreshing { until, .. } => (*until, WatchWait::Credential),
            State::Connected(connection) => connection.wait(now),
            State::Stopped => return WatchOutput::Stopped(Err(Misuse::PolledAfterEnd.into())),
        };
        WatchOutput::Wait { until, why }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Idle => self.begin(now),
            State::Backoff { until } if *until <= now => self.begin(now),
            State::Identifying { until, .. } if *until <= now => {
                self.identity_failed(now, Failure::sent(FailureCause::Timeout(TimeoutPhase::Response)));
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
                if matches!(connection.phase, Phase::CursorErrorGrace { until } if until <= now) {
                    self.go_live();
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
                self.state = State::Refreshing { error, until: now + self.context.limits.response };
                self.outputs.push_back(WatchOutput::RefreshCredential);
            }
            ErrorKind::RuntimeBusy | ErrorKind::RuntimeError | ErrorKind::RuntimeStopped => {
                self.retry(now, error)
            }
            _ => self.fail(error),
        }
    }

    fn credential(&mut self, now: Instant, token: Option<Token>) {
        let token = token.filter(|token| Some(token) != self.sent_token.as_ref());
        if let Some(token) = &token {
            self.context.access.use_token(token.clone());
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Refreshing { .. } if token.is_some() => self.begin(now),
            State::Refreshing { error, .. } => self.fail(error),
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
                // The same frame would follow again on each resumption from this cursor.
                return self.abandon_cursor(now, Error::new(ErrorKind::ResponseTooLarge));
            }
        };
        match error.kind() {
            ErrorKind::MalformedResponse | ErrorKind::ResponseTooLarge => self.fail(error),
            _ => self.retry(now, error),
        }
    }

    /// Pauses and connects again, unless the stream has not been live for too long.
    fn retry(&mut self, now: Instant, error: Error) {
        let since = *self.failing_since.get_or_insert(now);
        let pause = self.context.jitter.spread(doubled(FIRST_BACKOFF, self.failures, LONGEST_BACKOFF));
        let pause = pause.max(error.retry_after().unwrap_or_default());
        let until = now + pause;
        if until >= since + self.context.give_up_after {
            return self.fail(error);
        }
        self.failures = self.failures.saturating_add(1);
        if !self.disconnected && self.has_been_live() {
            self.disconnected = true;
            self.outputs.push_back(WatchOutput::Event(WatchEvent::Disconnected { retry_after: pause }));
        }
        self.state = State::Backoff { until };
    }

    /// Whether the stream has ever been live.
    fn has_been_live(&self) -> bool {
        !self.recent.is_empty()
    }

    /// Does what was configured for a cursor from which the stream cannot be resumed.
    fn abandon_cursor(&mut self, now: Instant, error: Error) {
        match self.on_expired_cursor {
            OnExpiredCursor::Stop => self.fail(Error::new(ErrorKind::CursorExpired)),
            OnExpiredCursor::Resynchronize => {
                self.resynchronizing |= self.has_been_live();
                self.upstream_cursor = None;
                self.retry(now, error);
            }
        }
    }
}

impl Connection {
    fn wait(&mut self, now: Instant) -> (Instant, WatchWait) {
        let ping = match self.heartbeat.poll(now) {
            Beat::WaitForPong(until) => (until, WatchWait::Pong),
            Beat::WaitToPing(until) => (until, WatchWait::Ping),
            // `handle_timeout` has already handled what is due.
            Beat::Ping | Beat::Overdue => (now, WatchWait::Ping),
        };
        match self.phase {
            Phase::FirstFrame { until } if until <= ping.0 => (until, WatchWait::FirstFrame),
            Phase::CursorErrorGrace { until } if until <= ping.0 => (until, WatchWait::CursorErrorGrace),
            _ => ping,
        }
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
