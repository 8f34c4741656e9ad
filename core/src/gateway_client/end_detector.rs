//! When a worker has ended, and all that it said has been shown.
//!
//! A runtime of ours says so on the stream: the event `ended` is a worker's last. Others say nothing, and keep the
//! stream of a worker that has ended open. So the gateway is asked for the worker's status: soon after an event that may
//! have been the end, and every [`ASK_EVERY`] while nothing happens. A status that says that the worker has ended counts
//! once the stream has been silent for [`QUIET`] after it.
//!
//! A driver obeys:
//!
//! 1. Feed each [`GatewayEvent`] to [`EndDetector::handle`] after it has been shown.
//! 2. [`EndDetector::poll`] after that, and at the instant that [`EndOutput::Wait`] names.
//! 3. On [`EndOutput::Ask`], ask for the worker, and feed what comes of it to [`EndDetector::handle_answer`].
//! 4. On [`EndOutput::Ended`], leave.

use std::time::{Duration, Instant};

use super::stream::GatewayEvent;
use crate::feed::{CAUGHT_UP, UPSTREAM_DISCONNECTED, UPSTREAM_RESUMED};
use crate::frame::EndSign;
use crate::runtime_api::WorkerEnd;

/// How long a stream must be silent after an event that may be the worker's last before its status is asked for, and
/// after a status that says that it has ended before that is taken for the end.
pub const QUIET: Duration = Duration::from_millis(250);

/// The same while events from before are still being replayed: over a slow network they come with gaps.
pub const REPLAY_QUIET: Duration = Duration::from_secs(2);

/// How often the status is asked for while a stream is silent.
pub const ASK_EVERY: Duration = Duration::from_secs(10);

/// Knows when a worker has ended. See the [module](self).
#[derive(Debug)]
pub struct EndDetector {
    /// When something last happened on the stream.
    last_event: Instant,
    /// When the status was last asked for.
    asked: Instant,
    asking: bool,
    /// Whether something has happened since the last question that may have been the end.
    in_doubt: bool,
    /// Whether all that happened before has been replayed.
    caught_up: bool,
    /// Whether the runtime or the gateway cannot be reached.
    away: bool,
    ended: Option<Ended>,
}

#[derive(Debug)]
struct Ended {
    end: Option<WorkerEnd>,
    /// From when on, if nothing more happens; at once where the stream said it.
    after_silence_since: Option<Instant>,
}

/// What a driver is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EndOutput {
    /// Poll again at this instant at the latest.
    Wait(Instant),
    /// Ask for the worker. It is said once for each question.
    Ask,
    /// The worker has ended. How, if its runtime tells.
    Ended(Option<WorkerEnd>),
}

/// What came of a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EndAnswer {
    /// The worker has not ended.
    Running,
    /// The worker has ended.
    Ended(Option<WorkerEnd>),
    /// There was no answer, but there may be one later.
    Unknown,
}

impl EndDetector {
    /// For a stream that is opened now.
    pub fn new(now: Instant) -> Self {
        Self {
            last_event: now,
            asked: now,
            asking: false,
            in_doubt: true,
            caught_up: false,
            away: false,
            ended: None,
        }
    }

    /// Takes what happened on the stream.
    pub fn handle(&mut self, now: Instant, event: &GatewayEvent) {
        self.last_event = now;
        match event {
            GatewayEvent::Event(envelope) => {
                self.away = false;
                match envelope.end_sign() {
                    EndSign::None => {}
                    EndSign::Possible => self.in_doubt = true,
                    EndSign::Ended(end) => {
                        self.ended = Some(Ended { end, after_silence_since: None });
                    }
                }
            }
            GatewayEvent::Away { .. } => self.away = true,
            GatewayEvent::Back { .. } => (self.away, self.caught_up, self.in_doubt) = (false, false, true),
            GatewayEvent::StartedOver => (self.caught_up, self.in_doubt) = (false, true),
            GatewayEvent::Diagnostic(notice) => match &*notice.code {
                UPSTREAM_DISCONNECTED => self.away = true,
                UPSTREAM_RESUMED => (self.away, self.in_doubt) = (false, true),
                CAUGHT_UP => (self.away, self.caught_up, self.in_doubt) = (false, true, true),
                _ => {}
            },
        }
    }

    /// Takes what came of a question.
    pub fn handle_answer(&mut self, now: Instant, answer: EndAnswer) {
        self.asking = false;
        self.asked = now;
        match answer {
            EndAnswer::Running | EndAnswer::Unknown => {}
            EndAnswer::Ended(end) if self.ended.is_none() => {
                self.ended = Some(Ended { end, after_silence_since: Some(now) });
            }
            EndAnswer::Ended(_) => {}
        }
    }

    /// What to do next.
    pub fn poll(&mut self, now: Instant) -> EndOutput {
        let quiet = if self.caught_up { QUIET } else { REPLAY_QUIET };
        if let Some(Ended { end, after_silence_since }) = &self.ended {
            return match after_silence_since.map(|since| since.max(self.last_event) + quiet) {
                Some(until) if until > now => EndOutput::Wait(until),
                _ => EndOutput::Ended(end.clone()),
            };
        }
        // Who cannot be reached has no answer; the stream says when that has changed.
        if self.asking || self.away {
            return EndOutput::Wait(now + ASK_EVERY);
        }
        let due = match self.in_doubt {
            true => self.last_event + quiet,
            false => self.last_event.max(self.asked) + ASK_EVERY,
        };
        if due > now {
            return EndOutput::Wait(due);
        }
        (self.asking, self.in_doubt) = (true, false);
        EndOutput::Ask
    }
}

#[cfg(test)]
mod tests;
