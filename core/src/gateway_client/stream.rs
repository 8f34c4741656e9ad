//! A worker's stream, as a client of the gateway follows it.
//!
//! ```text
//!            ┌───────────────── Pausing ◄─────────────────────────────┐ come back
//!            ▼                                                        │
//!  new ──► Connect ──► Opened ──► frames ──► Closed, Lost or silence ─┤
//!                                                                     ▼ do not come back, Stop
//!                                                                  Stopped
//! ```
//!
//! What to do when a stream ends is in the range of its close code (BROWSER-API.md, "Observation"). Before the first
//! event there is nothing to come back to: what goes wrong then is the end.
//!
//! A driver obeys:
//!
//! 1. [`GatewayStream::poll`] until it says [`GatewayStreamOutput::Wait`] or [`GatewayStreamOutput::Stopped`].
//! 2. On [`GatewayStreamOutput::Connect`], open the stream, and feed what becomes of it to [`GatewayStream::handle`].
//! 3. On [`GatewayStreamOutput::Close`], drop the connection.
//! 4. On [`GatewayStreamOutput::Event`], pass it on.
//! 5. On [`GatewayStreamOutput::Wait`], wait for the connection to have something, or for the instant.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::frame::{Envelope, Frame, Notice};
use super::problem::Problem;
use super::{LIMITS, addressed};
use crate::backoff::{Jitter, doubled};
use crate::browser_api::SUBPROTOCOL;
use crate::error::{ErrorKind, TimeoutPhase};
use crate::id::WorkerRef;
use crate::runtime_api::ask_for_websocket;
use crate::secret::Access;
use crate::transport::{ConnId, Connect, Failure, FailureCause, Loss, REPORT_GRACE, Unopened};

/// The pause before a first reconnect; it doubles with each failure until a frame comes.
pub const FIRST_BACKOFF: Duration = Duration::from_millis(250);

/// The longest pause between two connects.
pub const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// How long a stream that had begun is tried again.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(3600);

/// How long a gateway may be silent, pings included, which it sends every 15 s, before it is taken for gone.
pub const SILENCE: Duration = Duration::from_secs(45);

/// What a follow hears. What does not belong to the present connection is ignored.
#[derive(Debug)]
pub enum GatewayStreamInput {
    /// The stream is open.
    Opened(ConnId),
    /// The gateway answered with something else than an upgrade.
    Refused(ConnId, Response<Bytes>),
    /// A text message.
    Frame(ConnId, Bytes),
    /// A sign of life: a ping.
    Alive(ConnId),
    /// The gateway has closed the stream, with a code if it gave one.
    Closed(ConnId, Option<u16>),
    /// The connection is no more.
    Lost(ConnId, Loss),
    /// Nobody wants to see it any more.
    Stop,
}

impl GatewayStreamInput {
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

/// What a follow says.
#[derive(Debug)]
pub enum GatewayStreamOutput {
    /// Open a stream.
    Connect(Connect),
    /// Drop the connection.
    Close(ConnId),
    /// Pass this on.
    Event(GatewayEvent),
    /// Nothing to do before this instant, but for what the connection has.
    Wait {
        /// When to poll again at the latest.
        until: Instant,
        /// What for.
        why: GatewayStreamWait,
    },
    /// The end: as it was told to, or for this reason. It is said once.
    Stopped(Result<(), Box<Problem>>),
}

/// What a follow waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum GatewayStreamWait {
    /// For the next connect's time to come.
    Backoff,
    /// For the connection to open.
    Connection,
    /// For a frame, or the gateway's silence to have lasted too long.
    Frame,
}

/// What happens on a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum GatewayEvent {
    /// Something happened, or the state of the worker at the beginning.
    Event(Envelope),
    /// The gateway said something about the stream.
    Notice(Notice),
    /// The gateway is away; it is being tried again.
    Away {
        /// In how long.
        retry_after: Duration,
        /// Why it is away.
        problem: Box<Problem>,
    },
    /// The gateway is back, and nothing was missed.
    Back,
    /// What lies between here and the next event, a snapshot, is lost.
    StartedOver,
}

/// One stream of one worker, through a gateway. See the [module](self).
#[derive(Debug)]
pub struct GatewayStream {
    access: Access,
    worker: WorkerRef,
    /// Where to go on.
    cursor: Option<String>,
    jitter: Jitter,
    state: State,
    connections: u32,
    failures: u32,
    /// Whether an event has ever come.
    begun: bool,
    /// Whether [`GatewayEvent::Away`] has been said and not been taken back.
    away: bool,
    /// When something was last heard.
    heard: Instant,
    /// The diagnostic that may turn out to be the last frame.
    closing_diagnostic: Option<(ErrorKind, String)>,
    outputs: VecDeque<GatewayStreamOutput>,
}

#[derive(Debug)]
enum State {
    Pausing { until: Instant },
    Connecting { id: ConnId, until: Instant },
    Connected { id: ConnId },
    Stopped,
}

impl GatewayStream {
    pub(super) fn new(
        now: Instant,
        access: Access,
        worker: WorkerRef,
        cursor: Option<String>,
        seed: u64,
    ) -> Self {
        Self {
            access,
            worker,
            cursor,
            jitter: Jitter::new(seed),
            state: State::Pausing { until: now },
            connections: 0,
            failures: 0,
            begun: false,
            away: false,
            heard: now,
            closing_diagnostic: None,
            outputs: VecDeque::new(),
        }
    }

    /// Where it would go on now.
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// Takes what happened.
    pub fn handle(&mut self, now: Instant, input: GatewayStreamInput) {
        let current = match self.state {
            State::Connecting { id, .. } | State::Connected { id } => Some(id),
            State::Pausing { .. } | State::Stopped => None,
        };
        match input {
            GatewayStreamInput::Stop => {
                self.outputs.extend(current.map(GatewayStreamOutput::Close));
                self.stop(Ok(()));
            }
            GatewayStreamInput::Opened(id) if current == Some(id) => {
                self.state = State::Connected { id };
                self.heard = now;
            }
            GatewayStreamInput::Refused(id, response) if current == Some(id) => {
                let problem = Problem::from_response(&response, false);
                match problem.status {
                    Some(500..) => self.come_back(now, problem),
                    _ => self.stop(Err(problem.into())),
                }
            }
            GatewayStreamInput::Frame(id, text) if current == Some(id) => {
                self.heard = now;
                match Frame::from_text(&text) {
                    Some(Frame::Event(envelope)) => self.event(envelope),
                    Some(Frame::Notice(notice)) => self.notice(notice),
                    None => {
                        self.outputs.push_back(GatewayStreamOutput::Close(id));
                        let problem = Problem::not_a_gateway("a frame of the stream makes no sense");
                        self.stop(Err(problem.into()));
                    }
                }
            }
            GatewayStreamInput::Alive(id) if current == Some(id) => self.heard = now,
            GatewayStreamInput::Closed(id, code) if current == Some(id) => self.closed(now, code),
            GatewayStreamInput::Lost(id, loss) if current == Some(id) => self.lost(now, loss),
            _ => {}
        }
    }

    /// What to do next. To be called until it says to wait, or that it has stopped.
    pub fn poll(&mut self, now: Instant) -> GatewayStreamOutput {
        if self.outputs.is_empty() {
            self.handle_timeout(now);
        }
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        let (until, why) = match self.state {
            State::Pausing { until } => (until, GatewayStreamWait::Backoff),
            State::Connecting { until, .. } => (until, GatewayStreamWait::Connection),
            State::Connected { .. } => (self.heard + SILENCE, GatewayStreamWait::Frame),
            State::Stopped => {
                let problem = Problem::not_a_gateway("the stream was polled past its end");
                return GatewayStreamOutput::Stopped(Err(problem.into()));
            }
        };
        GatewayStreamOutput::Wait { until, why }
    }

    fn handle_timeout(&mut self, now: Instant) {
        let overdue = |id| (id, Loss::Failed(FailureCause::Timeout(TimeoutPhase::Response)));
        let (id, loss) = match self.state {
            State::Pausing { until } if until <= now => return self.connect(now),
            State::Connecting { id, until } if until <= now => overdue(id),
            State::Connected { id } if self.heard + SILENCE <= now => overdue(id),
            _ => return,
        };
        self.outputs.push_back(GatewayStreamOutput::Close(id));
        self.lost(now, loss);
    }

    fn connect(&mut self, now: Instant) {
        self.connections += 1;
        self.closing_diagnostic = None;
        let id = ConnId::of(self.connections);
        self.state = State::Connecting { id, until: now + LIMITS.connect + LIMITS.response + REPORT_GRACE };
        self.outputs.push_back(GatewayStreamOutput::Connect(Connect {
            id,
            target: self.access.target(),
            request: self.request(),
            limits: LIMITS.of_streams(),
        }));
    }

    fn request(&self) -> Request<()> {
        let WorkerRef { runtime_id, worker_id } = &self.worker;
        let mut path = format!("/api/runtimes/{runtime_id}/workers/{worker_id}/events/ws");
        if let Some(cursor) = &self.cursor {
            path.push_str(&format!("?cursor={}", utf8_percent_encode(cursor, NON_ALPHANUMERIC)));
        }
        let mut request = Request::new(());
        // Constants, ids, and a query of percent-encoded characters.
        *request.uri_mut() = path.try_into().expect("made of checked parts");
        let headers = request.headers_mut();
        ask_for_websocket(headers);
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        addressed(&self.access, request)
    }

    fn event(&mut self, envelope: Envelope) {
        self.failures = 0;
        self.begun = true;
        self.cursor = Some(envelope.cursor.clone());
        if std::mem::take(&mut self.away) {
            self.outputs.push_back(GatewayStreamOutput::Event(GatewayEvent::Back));
        }
        self.outputs.push_back(GatewayStreamOutput::Event(GatewayEvent::Event(envelope)));
    }

    fn notice(&mut self, notice: Notice) {
        // Coming back to a worker that is quiet brings no event, but the word that there is none.
        if std::mem::take(&mut self.away) {
            self.failures = 0;
            self.outputs.push_back(GatewayStreamOutput::Event(GatewayEvent::Back));
        }
        // The codes of errors are said last; what comes of them is told with the close.
        match ErrorKind::from_code(&notice.code) {
            Some(kind) => self.closing_diagnostic = Some((kind, notice.message)),
            None => self.outputs.push_back(GatewayStreamOutput::Event(GatewayEvent::Notice(notice))),
        }
    }

    fn closed(&mut self, now: Instant, code: Option<u16>) {
        let problem = match self.closing_diagnostic.take() {
            Some((kind, message)) => Problem::from_closing_diagnostic(kind, &message),
            None => Problem::not_a_gateway("the stream was closed without a word"),
        };
        match code {
            Some(4400..=4499) if self.begun => {
                self.cursor = None;
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
                // A gateway that went away between its last word and the close.
                if self.closing_diagnostic.is_some() {
                    return self.closed(now, None);
                }
                Problem::from_transport_failure(
                    Failure::unsent(FailureCause::Network(crate::error::NetworkPhase::Receive)),
                    false,
                )
            }
            Loss::Malformed => Problem::not_a_gateway("the stream is not a WebSocket of a gateway's"),
            Loss::TooLarge => Problem::not_a_gateway("a frame of the stream is over all bounds"),
        };
        self.come_back(now, problem);
    }

    fn come_back(&mut self, now: Instant, problem: Problem) {
        if !self.begun || now.saturating_duration_since(self.heard) >= GIVE_UP_AFTER {
            return self.stop(Err(problem.into()));
        }
        let pause = self.jitter.spread(doubled(FIRST_BACKOFF, self.failures, LONGEST_BACKOFF));
        self.failures += 1;
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
