//! The life of one command: who is there, attempts, deadlines, backoff, and what to say in the end.
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
//! A command that changes something is only sent to a machine that has shown to be the right one. Its first attempt asks
//! `GET /v1/runtime`, unless the transport holds a connection on which that has been answered ([`Via`]): a command that
//! goes over such a connection costs no question. While the answer is another runtime's, the call ends with
//! [`IdentityMismatch`](ErrorKind::IdentityMismatch) and [`NotApplied`](Outcome::NotApplied). The same answer tells what
//! the runtime can do: a runtime in the same process is asked for that alone, once.
//!
//! A driver obeys:
//!
//! 1. [`Call::poll`] until it says [`CallOutput::Wait`] or [`CallOutput::Done`].
//! 2. On [`CallOutput::Send`], start the attempt within its [`AttemptLimits`], and feed the result to
//!    [`Call::handle`] under the attempt's id.
//! 3. On [`CallOutput::RefreshCredential`], read the runtime's token anew and feed it. A token that is found to have
//!    changed before an answer is fed is fed first: the runtime may repeat it to a call that was made with the old one.
//!    A token that one call is fed is known at once to its registry, all clones of it, and all of their calls and watches.
//! 4. On [`CallOutput::Wait`], wait for the attempt to end or for the instant, whichever is first; then poll.
//! 5. On [`CallOutput::Done`], drop an attempt that is still under way and hand the call to
//!    [`Registry::finish`](super::registry::Registry::finish), which learns from it.

mod limits;
mod peer;
mod permit;
mod recognition;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;

use crate::backoff::{Jitter, doubled};
use crate::error::{Error, ErrorKind, Misuse, NetworkPhase, Outcome, TimeoutPhase};
use crate::id::RuntimeId;
use crate::runtime_api::{Command, Feature, Operation, Reply, RuntimeSummary};
use crate::secret::{SharedAccess, Token};
use crate::trace::TraceParent;
use crate::transport::{
    Attempt, AttemptId, AttemptLimits, Failure, FailureCause, Identity, MAX_IDLE, MAX_IDLE_FOR_ONCE,
    REPORT_GRACE, Via, WeakIdentity,
};

pub use limits::{CallLimits, FIRST_BACKOFF, LONGEST_BACKOFF, MAX_ATTEMPTS, MAX_QUESTIONS};
use peer::Peer;
pub(crate) use permit::Permit;
use recognition::Recognition;
pub use recognition::Seen;

/// What a call hears.
pub enum CallInput {
    /// The whole response to an attempt.
    Response(AttemptId, Response<Bytes>),
    /// The attempt got none.
    Failed(AttemptId, Failure),
    /// The runtime's token as it is now, `None` where it could not be read. One that was not asked for is used from
    /// the next attempt on, and scrubbed from now on.
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
#[must_use = "what a call says is to be done"]
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
    /// The end. It is reported once: a call that is polled after it says that this is a [`Misuse`].
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

/// What a call needs to know of its runtime.
pub(crate) struct CallContext {
    pub(crate) runtime_id: RuntimeId,
    pub(crate) access: SharedAccess,
    pub(crate) limits: CallLimits,
    /// Whether the runtime is known to do nothing twice under one key; `None` where it has not said what it can do.
    pub(crate) honours_keys: Option<bool>,
    /// Whether there are connections to it that are identified.
    pub(crate) identified: bool,
    pub(crate) jitter: Jitter,
    pub(crate) permit: Permit,
    /// There for a call that finds out whether its runtime is back: the only one at that time.
    pub(crate) probe: Option<Permit>,
}

/// One command on its way. See the [module](self).
#[must_use = "a call does nothing unless it is polled"]
pub struct Call {
    runtime_id: RuntimeId,
    command: Command,
    trace: Option<TraceParent>,
    access: SharedAccess,
    /// The token that the attempt under way shows.
    shown: Option<Token>,
    limits: CallLimits,
    deadline: Instant,
    /// Whether it is harmless to do the command twice.
    repeatable: bool,
    jitter: Jitter,
    /// Names the attempts, the questions included.
    sent: u32,
    /// Those that count.
    attempts: u32,
    peer: Peer,
    questions: u32,
    /// Whether an attempt before the present one may have taken effect.
    maybe_applied: bool,
    may_refresh: bool,
    state: State,
    outputs: VecDeque<CallOutput>,
    report: CallReport,
    recognition: Recognition,
    permit: Permit,
    probe: Option<Permit>,
}

enum State {
    /// The next attempt is due.
    Pausing {
        until: Instant,
    },
    Attempting {
        id: AttemptId,
        is_question: bool,
        /// What the answer identifies, where it says who is there.
        identity: Option<Identity>,
        until: Instant,
    },
    Refreshing(Refusal),
    Ended,
}

/// Why an attempt did not succeed.
struct Refusal {
    error: Error,
    /// Of the command, or the question before it.
    operation: Operation,
    not_applied: bool,
    /// Whether a repetition could do no harm, whatever the command is.
    harmless: bool,
}

/// What a registry can learn from a call.
#[derive(Default)]
pub(crate) struct CallReport {
    /// What was asked last, and how that ended; `None` while it has not.
    pub(crate) end: Option<(Operation, Result<(), ErrorKind>)>,
    /// What the runtime said of itself.
    pub(crate) summary: Option<RuntimeSummary>,
    /// A connection that was identified.
    pub(crate) identity: Option<WeakIdentity>,
    /// Whether it was the gateway's own question whether the runtime is back.
    pub(crate) is_probe: bool,
}

impl Call {
    pub(crate) fn new(now: Instant, context: CallContext, command: Command, total: Duration) -> Self {
        let CallContext { runtime_id, access, limits, honours_keys, identified, jitter, permit, probe } =
            context;
        Self {
            peer: Peer::of(&command, &access, identified, honours_keys.is_some()),
            repeatable: is_repeatable(&command, honours_keys == Some(true)),
            runtime_id,
            command,
            trace: None,
            may_refresh: access.has_credential(),
            access,
            shown: None,
            limits,
            deadline: now + total,
            jitter,
            sent: 0,
            attempts: 0,
            questions: 0,
            maybe_applied: false,
            state: State::Pausing { until: now },
            outputs: VecDeque::with_capacity(1),
            report: CallReport { is_probe: probe.is_some(), ..CallReport::default() },
            recognition: Recognition::default(),
            permit,
            probe,
        }
    }

    /// The same call as part of a trace, which the runtime is told with each attempt.
    pub fn traced(self, trace: TraceParent) -> Self {
        Self { trace: Some(trace), ..self }
    }

    /// The same call, which ends with [`Reply::Unchanged`] where the answer is the one that was `seen` before.
    pub fn recognising(self, seen: Option<Seen>) -> Self {
        Self { recognition: Recognition::On(seen), ..self }
    }

    /// The answer as it came, of a call that is [`recognising`](Self::recognising); `None` where none has come.
    pub fn take_seen(&mut self) -> Option<Seen> {
        self.recognition.take()
    }

    /// The runtime that the command goes to.
    pub fn runtime_id(&self) -> &RuntimeId {
        &self.runtime_id
    }

    /// What is being asked.
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// Whether no client has asked for it: see [`Registry::probes`](super::registry::Registry::probes).
    pub fn is_probe(&self) -> bool {
        self.probe.is_some()
    }

    /// Whether it is one of those that this counts.
    pub(crate) fn counts_in(&self, in_flight: &Arc<AtomicUsize>) -> bool {
        self.permit.is_of(in_flight)
    }

    /// How many attempts there have been. A question who is there counts only where it failed, and an attempt that was
    /// refused for a token which has been replaced does not count.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Takes what happened. What does not belong to the attempt under way is ignored.
    pub fn handle(&mut self, now: Instant, input: CallInput) {
        self.access.refresh();
        let current = match self.state {
            State::Attempting { id, .. } => Some(id),
            _ => None,
        };
        match input {
            CallInput::Response(id, response) if current == Some(id) => self.response(now, &response),
            CallInput::Failed(id, failure) if current == Some(id) => self.failed(now, failure),
            CallInput::Credential(token) => self.credential(now, token),
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
            State::Ended => CallOutput::Done(Err(Misuse::PolledAfterEnd.into())),
        }
    }

    pub(crate) fn into_report(self) -> CallReport {
        self.report
    }

    fn send(&mut self, now: Instant) {
        self.access.refresh();
        self.shown = self.access.token().cloned();
        self.attempts += 1;
        self.sent += 1;
        let id = AttemptId::of(self.sent);
        let CallLimits { connect, response, max_response_body } = self.limits;
        let deadline = self.deadline.min(now + connect + response + response);
        let is_question = matches!(self.peer, Peer::Unknown);
        self.questions += u32::from(is_question);
        let (mut request, max_idle) = match is_question {
            true => (Command::Runtime.request(&self.access), MAX_IDLE),
            false => (
                self.command.request(&self.access),
                if self.repeatable { MAX_IDLE } else { MAX_IDLE_FOR_ONCE },
            ),
        };
        if let Some(trace) = self.trace {
            request.headers_mut().insert(TraceParent::HEADER, trace.header_value());
        }
        let says_who = is_question || self.command.operation() == Operation::ReadRuntime;
        let identity = says_who.then(Identity::new);
        self.outputs.push_back(CallOutput::Send(Attempt {
            id,
            target: self.access.target(),
            request,
            via: identity.clone().map_or_else(|| self.peer.via(), Via::Identify),
            limits: AttemptLimits {
                connect,
                response,
                body: response,
                max_body: max_response_body,
                deadline,
                max_idle,
            },
        }));
        self.state = State::Attempting { id, is_question, identity, until: deadline + REPORT_GRACE };
    }

    /// The attempt is over. Whether it was the question who is there, and what its answer identifies.
    fn attempted(&mut self, now: Instant) -> (bool, Option<Identity>) {
        match std::mem::replace(&mut self.state, State::Pausing { until: now }) {
            State::Attempting { is_question, identity, .. } => (is_question, identity),
            _ => (false, None),
        }
    }

    fn response(&mut self, now: Instant, response: &Response<Bytes>) {
        let (is_question, identity) = self.attempted(now);
        if !is_question && self.recognition.recognises(response, self.access.scrubber()) {
            return self.end(self.command.operation(), Ok(Reply::Unchanged));
        }
        let command = if is_question { &Command::Runtime } else { &self.command };
        match Reply::from_response(command, &self.runtime_id, self.access.scrubber(), response) {
            Ok(reply) => {
                if let Some(identity) = &identity {
                    identity.confirm();
                    self.report.identity = Some(identity.downgrade());
                }
                if let Reply::Runtime(summary) = &reply {
                    self.report.summary = Some(summary.clone());
                }
                match reply {
                    Reply::Runtime(summary) if is_question => {
                        self.attempts -= 1;
                        self.peer = Peer::answered(response);
                        self.repeatable = is_repeatable(&self.command, summary.has(Feature::Idempotency));
                        if let Some(feature) = self.command.missing_feature(&summary) {
                            let error = self.command.refused(feature.missing(), &self.runtime_id);
                            self.end(Operation::ReadRuntime, Err(error));
                            // The question itself was answered well.
                            self.report.end = Some((Operation::ReadRuntime, Ok(())));
                        }
                    }
                    reply => self.end(self.command.operation(), Ok(reply)),
                }
            }
            Err(rejection) => {
                drop(self.recognition.take());
                let operation = command.operation();
                let kind = rejection.kind;
                let not_applied = is_question || rejection.not_applied;
                let error = rejection.into_error();
                let refusal = Refusal { error, operation, not_applied, harmless: is_question };
                if kind == ErrorKind::RuntimeAuthFailed && self.may_refresh {
                    self.may_refresh = false;
                    self.state = State::Refreshing(refusal);
                    self.outputs.push_back(CallOutput::RefreshCredential);
                } else {
                    self.refused(now, refusal);
                }
            }
        }
    }

    fn failed(&mut self, now: Instant, failure: Failure) {
        let (is_question, _) = self.attempted(now);
        if failure.cause == FailureCause::NotIdentified && self.peer.not_identified(self.questions) {
            self.attempts -= 1;
            return;
        }
        let operation = if is_question { Operation::ReadRuntime } else { self.command.operation() };
        let harmless = is_question || !failure.sent;
        let error = failure.into_error();
        self.refused(now, Refusal { error, operation, not_applied: harmless, harmless });
    }

    fn credential(&mut self, now: Instant, token: Option<Token>) {
        let token = token.filter(|token| Some(token) != self.shown.as_ref());
        if let Some(token) = &token {
            self.access.use_token(token.clone());
        }
        match (token, std::mem::replace(&mut self.state, State::Ended)) {
            (Some(_), State::Refreshing(_)) => {
                // What was refused for its token does not count: it was not looked at.
                self.attempts -= 1;
                self.state = State::Pausing { until: now };
            }
            (None, State::Refreshing(refusal)) => self.refused(now, refusal),
            (_, state) => self.state = state,
        }
    }

    /// Tries again where that may help, is harmless and there is time; else says why not.
    fn refused(&mut self, now: Instant, refusal: Refusal) {
        let Refusal { error, operation, not_applied, harmless } = refusal;
        let backoff = doubled(FIRST_BACKOFF, self.attempts.saturating_sub(1), LONGEST_BACKOFF);
        let pause = self.jitter.spread(backoff).max(error.retry_after().unwrap_or_default());
        let until = now + pause;
        self.maybe_applied |= !not_applied;
        self.peer.failed();
        if is_transient(error.kind())
            && (self.repeatable || harmless)
            && self.attempts < MAX_ATTEMPTS
            && until < self.deadline
        {
            self.state = State::Pausing { until };
            return;
        }
        let outcome = self.command.operation().changes_something().then_some(match self.maybe_applied {
            true => Outcome::Unknown,
            false => Outcome::NotApplied,
        });
        let error =
            error.of_runtime(&self.runtime_id).of_worker(self.command.worker_id()).with_outcome(outcome);
        self.end(operation, Err(error));
    }

    fn end(&mut self, operation: Operation, result: Result<Reply, Error>) {
        self.state = State::Ended;
        self.report.end = Some((operation, result.as_ref().map(drop).map_err(Error::kind)));
        self.outputs.push_back(CallOutput::Done(result));
    }
}

/// Whether it is harmless to do the command twice.
fn is_repeatable(command: &Command, honours_keys: bool) -> bool {
    command.operation().is_idempotent() || (command.idempotency_key().is_some() && honours_keys)
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
