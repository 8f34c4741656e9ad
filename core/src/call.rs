//! The life of one command: attempts, deadlines, backoff, and what to say in the end.
//!
//! ```text
//!            ┌────────────────────────── Backoff ◄─────────────────────────┐
//!            ▼                                                             │ transient, and harmless
//!  new ──► Send ──► waiting for the attempt ──► Response or Failed ────────┤   to repeat
//!            ▲                                     │                       │
//!            │ another token                       │ 401, the first time   │ anything else, or
//!            └──── Credential ◄── RefreshCredential┘                       ▼   out of attempts or time
//!                                                                         Done
//! ```
//!
//! A driver obeys:
//!
//! 1. [`Call::poll`] until it says [`CallOutput::Wait`] or [`CallOutput::Done`].
//! 2. On [`CallOutput::Send`], start the attempt within its [`AttemptLimits`], and feed what comes of it to
//!    [`Call::handle`] under the attempt's id.
//! 3. On [`CallOutput::RefreshCredential`], read the runtime's token anew and feed it; whenever it comes to know
//!    otherwise that the token has changed, it may feed the new one, too: the runtime may repeat it to a call that
//!    was made with the old one.
//! 4. On [`CallOutput::Wait`], wait for the attempt to end or for the instant, whichever is first; then poll.
//! 5. On [`CallOutput::Done`], drop an attempt that is still under way and hand the call to
//!    [`Registry::finish`](super::registry::Registry::finish), which learns from it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;

use crate::backoff::{Jitter, doubled};
use crate::error::{Error, ErrorKind, NetworkPhase, Outcome, TimeoutPhase};
use crate::id::RuntimeId;
use crate::runtime_api::{Command, Reply};
use crate::secret::{Access, Token};
use crate::transport::{
    Attempt, AttemptId, AttemptLimits, ConnectLimits, Failure, FailureCause, MAX_IDLE, MAX_IDLE_FOR_ONCE,
    REPORT_GRACE,
};

/// The pause before a first repetition; it doubles with each further one.
pub const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// The longest pause between two attempts, but for a runtime that asks for a longer one.
pub const LONGEST_BACKOFF: Duration = Duration::from_secs(2);

/// How often a command is attempted at most, where repeating it is harmless.
pub const MAX_ATTEMPTS: u32 = 3;

/// The bounds of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallLimits {
    /// For a connection: name resolution, TCP and TLS together.
    pub connect: Duration,
    /// For the head of a response, from when the request is sent; and again for the whole of its body.
    pub response: Duration,
    /// The largest response body, in bytes.
    pub max_response_body: usize,
}

impl Default for CallLimits {
    /// 2 s to connect, 10 s for a response, 8 MiB (`docs/configuration.md`).
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            response: Duration::from_secs(10),
            max_response_body: 8 << 20,
        }
    }
}

impl CallLimits {
    /// How long a call may take, all of its attempts and pauses together.
    pub fn total(&self) -> Duration {
        self.connect + self.response * 2
    }

    /// The bounds of opening a stream to the same runtime.
    pub(crate) fn of_streams(&self) -> ConnectLimits {
        ConnectLimits { connect: self.connect, response: self.response }
    }
}

/// What a call hears.
pub enum CallInput {
    /// The whole response to an attempt.
    Response(AttemptId, Response<Bytes>),
    /// The attempt got none.
    Failed(AttemptId, Failure),
    /// The runtime's token as it is now, `None` where it could not be read. One that was not asked for is used from
    /// the next attempt on, and does not leave from now on.
    Credential(Option<Token>),
}

impl CallInput {
    /// What became of an attempt.
    pub fn report(id: AttemptId, result: Result<Response<Bytes>, Failure>) -> Self {
        match result {
            Ok(response) => Self::Response(id, response),
            Err(failure) => Self::Failed(id, failure),
        }
    }
}

impl fmt::Debug for CallInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Response(id, response) => write!(f, "Response({id:?}, {})", response.status()),
            Self::Failed(id, failure) => write!(f, "Failed({id:?}, {failure:?})"),
            Self::Credential(token) => write!(f, "Credential({token:?})"),
        }
    }
}

/// What a call says.
#[derive(Debug)]
pub enum CallOutput {
    /// Start this attempt.
    Send(Attempt),
    /// Read the runtime's token anew, and say what it is.
    RefreshCredential,
    /// Nothing to do before this instant, but for what is under way.
    Wait {
        /// When to poll again at the latest.
        until: Instant,
        /// What for.
        why: CallWait,
    },
    /// The end. It is said once.
    Done(Result<Reply, Error>),
}

/// What a call waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum CallWait {
    /// For the attempt to end.
    Attempt,
    /// For the next attempt's time to come.
    Backoff,
    /// For the token.
    Credential,
}

/// A place among those who may be in flight to a runtime at the same time; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<AtomicUsize>);

impl Permit {
    pub(crate) fn of(in_flight: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        in_flight
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < most).then_some(count + 1))
            .ok()?;
        Some(Self(in_flight.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a call needs to know of its runtime.
pub(crate) struct CallContext {
    pub(crate) runtime_id: RuntimeId,
    pub(crate) access: Access,
    pub(crate) limits: CallLimits,
    pub(crate) honours_keys: bool,
    pub(crate) jitter: Jitter,
    pub(crate) permit: Permit,
}

/// One command on its way. See the [module](self).
pub struct Call {
    runtime_id: RuntimeId,
    command: Command,
    access: Access,
    limits: CallLimits,
    deadline: Instant,
    /// Whether it is harmless to do the command twice.
    repeatable: bool,
    jitter: Jitter,
    attempts: u32,
    /// Whether an attempt before the present one may have taken effect.
    maybe_applied: bool,
    /// The token that was read anew, if one was.
    refreshed: Option<Token>,
    may_refresh: bool,
    state: State,
    outputs: VecDeque<CallOutput>,
    lesson: Option<CallReport>,
    _permit: Permit,
}

enum State {
    /// The next attempt is due.
    Pausing {
        until: Instant,
    },
    Attempting {
        id: AttemptId,
        until: Instant,
    },
    Refreshing(Refusal),
    Ended,
}

/// Why an attempt did not succeed.
struct Refusal {
    error: Error,
    not_applied: bool,
    retry_after: Option<Duration>,
}

/// What a registry can learn from how a call ended.
pub(crate) struct CallReport {
    pub(crate) verdict: Result<Option<crate::runtime_api::RuntimeSummary>, ErrorKind>,
    pub(crate) token: Option<Token>,
}

impl Call {
    pub(crate) fn new(now: Instant, context: CallContext, command: Command, total: Duration) -> Self {
        let CallContext { runtime_id, access, limits, honours_keys, jitter, permit } = context;
        let repeatable =
            command.operation().is_idempotent() || (command.idempotency_key().is_some() && honours_keys);
        Self {
            runtime_id,
            command,
            may_refresh: access.has_credential(),
            access,
            limits,
            deadline: now + total,
            repeatable,
            jitter,
            attempts: 0,
            maybe_applied: false,
            refreshed: None,
            state: State::Pausing { until: now },
            outputs: VecDeque::new(),
            lesson: None,
            _permit: permit,
        }
    }

    /// The runtime that the command goes to.
    pub fn runtime_id(&self) -> &RuntimeId {
        &self.runtime_id
    }

    /// What is being asked.
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// How many attempts there have been.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Takes what happened. What does not belong to the attempt under way is ignored.
    pub fn handle(&mut self, now: Instant, input: CallInput) {
        match (input, &self.state) {
            (CallInput::Response(id, response), State::Attempting { id: current, .. }) if id == *current => {
                self.response(now, &response);
            }
            (CallInput::Failed(id, failure), State::Attempting { id: current, .. }) if id == *current => {
                self.failed(now, failure);
            }
            (CallInput::Credential(token), State::Refreshing(_)) => self.credential(now, token),
            (CallInput::Credential(Some(token)), _) if !self.access.has_token(&token) => {
                self.access = self.access.with_token(token);
            }
            _ => {}
        }
    }

    /// What to do next. To be called until it says to wait, or that the call is done.
    pub fn poll(&mut self, now: Instant) -> CallOutput {
        match self.state {
            State::Pausing { until } if until <= now => self.send(now),
            State::Attempting { until, .. } if until <= now => {
                self.failed(now, Failure::sent(FailureCause::Timeout(TimeoutPhase::Response)));
            }
            State::Refreshing(_) if self.deadline <= now => self.credential(now, None),
            _ => {}
        }
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        match self.state {
            State::Pausing { until } => CallOutput::Wait { until, why: CallWait::Backoff },
            State::Attempting { until, .. } => CallOutput::Wait { until, why: CallWait::Attempt },
            State::Refreshing(_) => CallOutput::Wait { until: self.deadline, why: CallWait::Credential },
            State::Ended => {
                let detail = "the call was polled past its end";
                CallOutput::Done(Err(Error::with_detail(ErrorKind::Internal, detail)))
            }
        }
    }

    pub(crate) fn lesson(self) -> Option<CallReport> {
        self.lesson
    }

    fn send(&mut self, now: Instant) {
        self.attempts += 1;
        let id = AttemptId::of(self.attempts);
        let CallLimits { connect, response, max_response_body } = self.limits;
        let deadline = self.deadline.min(now + connect + response + response);
        self.state = State::Attempting { id, until: deadline + REPORT_GRACE };
        self.outputs.push_back(CallOutput::Send(Attempt {
            id,
            target: self.access.target(),
            request: self.command.request(&self.access),
            limits: AttemptLimits {
                connect,
                response,
                body: response,
                max_body: max_response_body,
                deadline,
                max_idle: if self.repeatable { MAX_IDLE } else { MAX_IDLE_FOR_ONCE },
            },
        }));
    }

    fn response(&mut self, now: Instant, response: &Response<Bytes>) {
        let scrubber = self.access.scrubber();
        match Reply::from_response(&self.command, &self.runtime_id, scrubber, response) {
            Ok(reply) => {
                let summary = match &reply {
                    Reply::Runtime(summary) => Some(summary.clone()),
                    _ => None,
                };
                self.end(Ok(reply), Ok(summary));
            }
            Err(rejection) => {
                let (kind, not_applied) = (rejection.kind, rejection.not_applied);
                let error = rejection.into_error();
                let refusal = Refusal { not_applied, retry_after: error.retry_after(), error };
                if kind == ErrorKind::RuntimeAuthFailed && self.may_refresh {
                    self.may_refresh = false;
                    self.state = State::Refreshing(refusal);
                    self.outputs.push_back(CallOutput::RefreshCredential);
                } else {
                    self.refused(now, refusal, false);
                }
            }
        }
    }

    fn failed(&mut self, now: Instant, failure: Failure) {
        let not_applied = !failure.sent;
        let error = failure.into_error();
        self.refused(now, Refusal { error, not_applied, retry_after: None }, not_applied);
    }

    fn credential(&mut self, now: Instant, token: Option<Token>) {
        let token = token.filter(|token| !self.access.has_token(token));
        match (token, std::mem::replace(&mut self.state, State::Ended)) {
            (Some(token), State::Refreshing(_)) => {
                self.access = self.access.with_token(token.clone());
                self.refreshed = Some(token);
                // The refused attempt was none: it never got past the runtime's door.
                self.state = State::Pausing { until: now };
            }
            (None, State::Refreshing(refusal)) => self.refused(now, refusal, false),
            (_, state) => self.state = state,
        }
    }

    /// Tries again where that may help, is harmless and there is time; else says why not.
    fn refused(&mut self, now: Instant, refusal: Refusal, unsent: bool) {
        let kind = refusal.error.kind();
        let backoff = doubled(FIRST_BACKOFF, self.attempts.saturating_sub(1), LONGEST_BACKOFF);
        let pause = self.jitter.spread(backoff).max(refusal.retry_after.unwrap_or_default());
        let until = now + pause;
        self.maybe_applied |= !refusal.not_applied;
        if is_transient(kind)
            && (self.repeatable || unsent)
            && self.attempts < MAX_ATTEMPTS
            && until < self.deadline
        {
            self.state = State::Pausing { until };
            return;
        }
        let operation = self.command.operation();
        let outcome = operation.changes_something().then_some(match self.maybe_applied {
            true => Outcome::Unknown,
            false => Outcome::NotApplied,
        });
        let error = refusal
            .error
            .of_runtime(&self.runtime_id)
            .of_worker(self.command.worker_id())
            .with_outcome(outcome);
        self.end(Err(error), Err(kind));
    }

    fn end(
        &mut self,
        result: Result<Reply, Error>,
        verdict: Result<Option<crate::runtime_api::RuntimeSummary>, ErrorKind>,
    ) {
        self.state = State::Ended;
        self.lesson = Some(CallReport { verdict, token: self.refreshed.take() });
        self.outputs.push_back(CallOutput::Done(result));
    }
}

/// Whether another attempt right away may fare better. A runtime that let the time pass is not asked again: the
/// first request may still be keeping it busy.
fn is_transient(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Network(NetworkPhase::Tls) => false,
        ErrorKind::Network(_) | ErrorKind::RuntimeBusy => true,
        _ => false,
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("runtime_id", &self.runtime_id)
            .field("operation", &self.command.operation())
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
