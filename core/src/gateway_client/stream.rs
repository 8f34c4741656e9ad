//! A stream through a gateway, over as many connections as it takes: of a worker, or of the fleet.
//!
//! ```text
//!            ┌───────────────── Pausing ◄───────────────────────────────┐ come back
//!            ▼                                                          │
//!  new ──► Connect ──► Opened ──► frames ──► Closed, Lost or no pong ───┤
//!                                                                       ▼ do not come back, Stop
//!                                                                    Stopped
//! ```
//!
//! The range of the close code says what to do when a stream ends (`docs/http-api.md`, "Observation"). Before the first
//! event there is nothing to come back to: a failure then is the end. What differs between the streams, what is asked for and
//! what a frame means, is decided by the [`Subject`].
//!
//! An event, or a diagnostic that is no error, is a sign of life. Nothing else is: a gateway that accepts a connection
//! only to say that it is full or shutting down is asked at growing intervals, and in the end no more
//! ([`GIVE_UP_AFTER`]).
//!
//! A driver obeys:
//!
//! 1. [`GatewayStream::poll`] until it says [`GatewayStreamOutput::Wait`] or [`GatewayStreamOutput::Stopped`].
//! 2. On [`GatewayStreamOutput::Connect`], open the stream, and feed what becomes of it to [`GatewayStream::handle`].
//! 3. On [`GatewayStreamOutput::Ping`], send a ping. On [`GatewayStreamOutput::Close`], drop the connection.
//! 4. On [`GatewayStreamOutput::Event`], pass it on.
//! 5. On [`GatewayStreamOutput::Wait`], wait for the connection to have something, or for the instant.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response};

use super::subject::{Heard, OneWorker, Subject};
use super::{LIMITS, addressed};
use crate::backoff::{Jitter, doubled};
use crate::browser_api::SUBPROTOCOL;
use crate::diagnostic::Diagnostic;
use crate::error::TimeoutPhase;
use crate::frame::Envelope;
use crate::heartbeat::{Beat, Heartbeat};
use crate::problem::Problem;
use crate::runtime_api::ask_for_websocket;
use crate::secret::Access;
use crate::transport::{ConnId, Connect, Failure, FailureCause, Loss, REPORT_GRACE, Unopened, Via};

/// The pause before the first reconnect. It doubles with each failure until there is a sign of life.
pub const FIRST_BACKOFF: Duration = Duration::from_millis(250);

/// The longest pause between two connects, whatever the gateway asks for.
pub const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// How long a stream that has shown an event is tried again without a sign of life.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(3600);

/// What happened to a [`GatewayStream`]. An input that does not belong to the present connection is ignored.
#[derive(Debug)]
pub enum GatewayStreamInput {
    /// The stream is open.
    Opened(ConnId),
    /// The gateway answered with something other than an upgrade.
    Refused(ConnId, Response<Bytes>),
    /// A text message.
    Frame(ConnId, Bytes),
    /// A pong.
    Pong(ConnId),
    /// The gateway has closed the stream, with a code if it gave one.
    Closed(ConnId, Option<u16>),
    /// The connection is gone.
    Lost(ConnId, Loss),
    /// The stream is no longer wanted.
    Stop,
}

impl GatewayStreamInput {
    /// Whether the connection that brought this is over: the driver lets go of it before it feeds this.
    pub fn ends_link(&self) -> bool {
        match self {
            Self::Refused(..) | Self::Closed(..) | Self::Lost(..) => true,
            Self::Opened(_) | Self::Frame(..) | Self::Pong(_) | Self::Stop => false,
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

/// What a driver is to do.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is taken at once, and there are never many")]
pub enum GatewayStreamOutput<E = Envelope> {
    /// Open a stream.
    Connect(Connect),
    /// Send a ping.
    Ping(ConnId),
    /// Drop the connection.
    Close(ConnId),
    /// Pass this on.
    Event(GatewayEvent<E>),
    /// Wait for something on the connection.
    Wait {
        /// When to poll again at the latest.
        until: Instant,
        /// The reason for that instant.
        why: GatewayStreamWait,
    },
    /// The end: [`GatewayStreamInput::Stop`], or a problem. It is said once.
    Stopped(Result<(), Box<Problem>>),
}

/// What a [`GatewayStream`] waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum GatewayStreamWait {
    /// For the time of the next connect.
    Backoff,
    /// For the connection to open.
    Connection,
    /// For a frame, until the next ping is due.
    Frame,
    /// For a frame or a pong, until the pong is overdue.
    Pong,
}

/// What happens on a stream, of whose subject this is an event: of a worker an [`Envelope`], of the fleet a
/// [`FleetEvent`](super::FleetEvent).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum GatewayEvent<E = Envelope> {
    /// An event, or the state at the beginning.
    Event(E),
    /// The gateway said something about the stream.
    Diagnostic(Diagnostic),
    /// The gateway cannot be reached. It is tried again.
    Away {
        /// The time until it is tried.
        retry_after: Duration,
        /// Why it cannot be reached.
        problem: Box<Problem>,
    },
    /// The gateway has given a sign of life after [`GatewayEvent::Away`].
    Back {
        /// Whether it is known that no event was missed. Where it is not, an event, a diagnostic or
        /// [`GatewayEvent::StartedOver`] that follows tells.
        nothing_missed: bool,
    },
    /// What lies between here and the next event, a snapshot, is lost.
    StartedOver,
}

/// One stream through a gateway. See the [module](self).
#[derive(Debug)]
pub struct GatewayStream<S: Subject = OneWorker> {
    access: Access,
    subject: S,
    jitter: Jitter,
    state: State,
    connections: u32,
    /// Connections that ended without a sign of life since the last one that had one.
    failures: u32,
    /// Whether an event has ever come.
    begun: bool,
    /// Whether [`GatewayEvent::Away`] has been said and not been taken back.
    away: bool,
    /// When there was a sign of life.
    alive_at: Instant,
    /// The error that may turn out to be the last frame.
    closing_diagnostic: Option<Diagnostic>,
    outputs: VecDeque<GatewayStreamOutput<S::Event>>,
}

#[derive(Debug)]
enum State {
    Pausing { until: Instant },
    Connecting { id: ConnId, until: Instant },
    Connected { id: ConnId, heartbeat: Heartbeat },
    Stopped,
}

impl GatewayStream {
    /// The cursor that the next connection would go on after.
    pub fn cursor(&self) -> Option<&str> {
        self.subject.cursor()
    }
}

impl<S: Subject> GatewayStream<S> {
    pub(super) fn new(now: Instant, access: Access, subject: S, seed: u64) -> Self {
        Self {
            access,
            subject,
            jitter: Jitter::new(seed),
            state: State::Pausing { until: now },
            connections: 0,
            failures: 0,
            begun: false,
            away: false,
            alive_at: now,
            closing_diagnostic: None,
            outputs: VecDeque::new(),
        }
    }

    /// Gives the gateway this much more time for its pong: for a driver that did not read for so long.
    pub fn extend(&mut self, time: Duration) {
        if let State::Connected { heartbeat, .. } = &mut self.state {
            heartbeat.extend(time);
        }
    }

    /// Takes what happened.
    pub fn handle(&mut self, now: Instant, input: GatewayStreamInput) {
        let current = match self.state {
            State::Connecting { id, .. } | State::Connected { id, .. } => Some(id),
            State::Pausing { .. } | State::Stopped => None,
        };
        match input {
            GatewayStreamInput::Stop => {
                self.outputs.extend(current.map(GatewayStreamOutput::Close));
                self.stop(Ok(()));
            }
            GatewayStreamInput::Opened(id) if current == Some(id) => {
                self.state = State::Connected { id, heartbeat: Heartbeat::new(now) };
            }
            GatewayStreamInput::Refused(id, response) if current == Some(id) => {
                let problem = Problem::from_response(&response, false);
                match problem.status {
                    Some(500..) => self.come_back(now, problem),
                    _ => self.stop(Err(problem.into())),
                }
            }
            GatewayStreamInput::Frame(id, text) if current == Some(id) => match self.subject.read(&text) {
                Ok(heard) => self.heard(now, heard),
                Err(malformed) => {
                    self.outputs.push_back(GatewayStreamOutput::Close(id));
                    self.stop(Err(Problem::not_a_gateway(malformed.0).into()));
                }
            },
            GatewayStreamInput::Pong(id) if current == Some(id) => {
                if let State::Connected { heartbeat, .. } = &mut self.state {
                    heartbeat.pong();
                }
            }
            GatewayStreamInput::Closed(id, code) if current == Some(id) => self.closed(now, code),
            GatewayStreamInput::Lost(id, loss) if current == Some(id) => self.lost(now, loss),
            _ => {}
        }
    }

    /// What to do next. To be called until it says to wait, or that it has stopped.
    pub fn poll(&mut self, now: Instant) -> GatewayStreamOutput<S::Event> {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        let wait = self.handle_timeout(now);
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        let (until, why) = wait.unwrap_or((now, GatewayStreamWait::Backoff));
        GatewayStreamOutput::Wait { until, why }
    }

    /// Does what is due. What to wait for, where nothing is.
    fn handle_timeout(&mut self, now: Instant) -> Option<(Instant, GatewayStreamWait)> {
        let overdue = Loss::Failed(FailureCause::Timeout(TimeoutPhase::Response));
        match &mut self.state {
            State::Pausing { until } if *until <= now => self.connect(now),
            State::Pausing { until } => return Some((*until, GatewayStreamWait::Backoff)),
            State::Connecting { id, until } if *until <= now => {
                self.outputs.push_back(GatewayStreamOutput::Close(*id));
                self.lost(now, overdue);
            }
            State::Connecting { until, .. } => return Some((*until, GatewayStreamWait::Connection)),
            State::Connected { id, heartbeat } => match heartbeat.poll(now) {
                Beat::Ping => self.outputs.push_back(GatewayStreamOutput::Ping(*id)),
                Beat::Overdue => {
                    self.outputs.push_back(GatewayStreamOutput::Close(*id));
                    self.lost(now, overdue);
                }
                Beat::WaitToPing(until) => return Some((until, GatewayStreamWait::Frame)),
                Beat::WaitForPong(until) => return Some((until, GatewayStreamWait::Pong)),
            },
            State::Stopped => {
                let problem = Problem::not_a_gateway("the stream was polled after its end");
                self.outputs.push_back(GatewayStreamOutput::Stopped(Err(problem.into())));
            }
        }
        None
    }

    fn connect(&mut self, now: Instant) {
        self.connections += 1;
        self.closing_diagnostic = None;
        self.subject.connecting();
        let id = ConnId::of(self.connections);
        self.state = State::Connecting { id, until: now + LIMITS.connect + LIMITS.response + REPORT_GRACE };
        self.outputs.push_back(GatewayStreamOutput::Connect(Connect {
            id,
            target: self.access.target(),
            request: self.request(),
            via: Via::Any,
            limits: LIMITS.of_streams(),
        }));
    }

    fn request(&self) -> Request<()> {
        let mut request = Request::new(());
        // Constants, ids, and a query of percent-encoded characters.
        *request.uri_mut() = self.subject.path().try_into().expect("made of checked parts");
        let headers = request.headers_mut();
        ask_for_websocket(headers);
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        addressed(&self.access, request)
    }

    fn heard(&mut self, now: Instant, Heard { event, nothing_missed }: Heard<S::Event>) {
        match event {
            // An error is said last, and what comes of it is in the close code.
            Some(GatewayEvent::Diagnostic(diagnostic)) if diagnostic.is_error() => {
                self.closing_diagnostic = Some(diagnostic);
            }
            event => {
                self.sign_of_life(now, nothing_missed);
                self.begun |= matches!(event, Some(GatewayEvent::Event(_)));
                self.outputs.extend(event.map(GatewayStreamOutput::Event));
            }
        }
    }

    fn sign_of_life(&mut self, now: Instant, nothing_missed: bool) {
        self.failures = 0;
        self.alive_at = now;
        if std::mem::take(&mut self.away) {
            self.outputs.push_back(GatewayStreamOutput::Event(GatewayEvent::Back { nothing_missed }));
        }
    }

    fn closed(&mut self, now: Instant, code: Option<u16>) {
        let problem = match self.closing_diagnostic.take() {
            Some(notice) => Problem::from_closing_diagnostic(&notice),
            None => Problem::not_a_gateway("the stream was closed without a diagnostic"),
        };
        match code {
            Some(4400..=4499) if self.begun => {
                self.subject.start_over();
                self.outputs.push_back(GatewayStreamOutput::Event(GatewayEvent::StartedOver));
                self.come_back(now, problem);
            }
            Some(1008 | 4400..) => self.stop(Err(problem.into())),
            _ => self.come_back(now, problem),
        }
    }

    fn lost(&mut self, now: Instant, loss: Loss) {
        let problem = match loss {
            Loss::Failed(cause) => Problem::from_transport_failure(Failure::unsent(cause), false),
            Loss::Ended => {
                // The gateway went away between its last diagnostic and the close.
                if self.closing_diagnostic.is_some() {
                    return self.closed(now, None);
                }
                Problem::from_transport_failure(
                    Failure::unsent(FailureCause::Network(crate::error::NetworkPhase::Receive)),
                    false,
                )
            }
            Loss::Malformed => Problem::not_a_gateway("what answers is not a WebSocket"),
            Loss::TooLarge => Problem::not_a_gateway("a frame of the stream is too large"),
        };
        self.come_back(now, problem);
    }

    fn come_back(&mut self, now: Instant, problem: Problem) {
        if !self.begun || now.saturating_duration_since(self.alive_at) >= GIVE_UP_AFTER {
            return self.stop(Err(problem.into()));
        }
        let asked = Duration::from_secs(problem.retry_after.unwrap_or(0)).min(LONGEST_BACKOFF);
        // Those who were sent away together do not return together.
        let pause = match asked {
            Duration::ZERO => self.jitter.spread(doubled(FIRST_BACKOFF, self.failures, LONGEST_BACKOFF)),
            asked => {
                asked.max(doubled(FIRST_BACKOFF, self.failures, LONGEST_BACKOFF))
                    + self.jitter.spread(FIRST_BACKOFF)
            }
        };
        self.failures = self.failures.saturating_add(1);
        self.away = true;
        self.state = State::Pausing { until: now + pause };
        self.outputs.push_back(GatewayStreamOutput::Event(GatewayEvent::Away {
            retry_after: pause,
            problem: problem.into(),
        }));
    }

    fn stop(&mut self, result: Result<(), Box<Problem>>) {
        if !matches!(self.state, State::Stopped) {
            self.state = State::Stopped;
            self.outputs.push_back(GatewayStreamOutput::Stopped(result));
        }
    }
}

#[cfg(test)]
mod tests;
