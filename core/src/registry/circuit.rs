//! Leaves a runtime alone that has failed too often, and finds out when it is back.

use std::time::{Duration, Instant};

use crate::backoff::{Jitter, doubled};
use crate::error::ErrorKind;

/// How many calls in a row must fail for the circuit to open.
pub const FAILURES_TO_OPEN: u32 = 4;

/// How many of them are enough that ran out of time: each kept a client waiting.
pub const TIMEOUTS_TO_OPEN: u32 = 3;

/// How long it stays open before the first probe; each probe that fails doubles it.
pub const FIRST_COOLDOWN: Duration = Duration::from_secs(1);

/// The longest time between two probes.
pub const LONGEST_COOLDOWN: Duration = Duration::from_secs(15);

/// The shortest time that a client is told to wait while a circuit is open.
const SHORTEST_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Only a call that got no answer at all counts as a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Circuit {
    /// Every call is tried.
    Closed(Failures),
    /// None is, but for a probe after that instant.
    Open {
        /// When the first of the failures was that opened it.
        since: Instant,
        until: Instant,
        /// Probes that have failed.
        probes: u32,
    },
}

/// Calls in a row that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Failures {
    all: u32,
    /// The last of them, as far as they ran out of time.
    timeouts: u32,
    since: Option<Instant>,
}

/// A circuit is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct IsOpen {
    /// How long the runtime has not answered.
    pub(super) silent_for: Duration,
    /// When it is worth to ask again, at the earliest.
    pub(super) retry_after: Duration,
}

impl Default for Circuit {
    fn default() -> Self {
        Self::Closed(Failures::default())
    }
}

impl Circuit {
    /// Whether a call of a client may be tried now. While the circuit is open none is: no client waits to find out
    /// whether the runtime is back.
    pub(super) fn admit(&self, now: Instant) -> Result<(), IsOpen> {
        match *self {
            Self::Closed(_) => Ok(()),
            Self::Open { since, until, .. } => Err(IsOpen {
                silent_for: now.saturating_duration_since(since),
                retry_after: until.saturating_duration_since(now).max(SHORTEST_RETRY_AFTER),
            }),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }

    /// Whether it is time for a probe.
    pub(super) fn wants_probe(&self, now: Instant) -> bool {
        matches!(*self, Self::Open { until, .. } if until <= now)
    }

    /// Whether this changed anything.
    pub(super) fn succeeded(&mut self) -> bool {
        std::mem::take(self) != Self::default()
    }

    /// Whether this changed anything. A failure that does not open it does, too: those of all event loops count together.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        kind: ErrorKind,
        is_probe: bool,
        jitter: &mut Jitter,
    ) -> bool {
        let (since, probes) = match self {
            Self::Closed(failures) => {
                let timed_out = matches!(kind, ErrorKind::RuntimeTimeout(_));
                failures.all += 1;
                failures.timeouts = if timed_out { failures.timeouts + 1 } else { 0 };
                let since = *failures.since.get_or_insert(now);
                if failures.all < FAILURES_TO_OPEN && failures.timeouts < TIMEOUTS_TO_OPEN {
                    return true;
                }
                (since, 0)
            }
            Self::Open { since, probes, .. } if is_probe => (*since, probes.saturating_add(1)),
            // Calls that were under way when it opened say nothing new.
            Self::Open { .. } => return false,
        };
        let cooldown = doubled(FIRST_COOLDOWN, probes, LONGEST_COOLDOWN);
        *self = Self::Open { since, until: now + jitter.spread(cooldown), probes };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{NetworkPhase, TimeoutPhase};

    const REFUSED: ErrorKind = ErrorKind::Network(NetworkPhase::Connect);
    const SILENT: ErrorKind = ErrorKind::RuntimeTimeout(TimeoutPhase::Response);

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant has no other origin")]
    fn it_opens_is_probed_and_closes() {
        let start = Instant::now();
        let mut now = start;
        let mut jitter = Jitter::new(7);
        let mut circuit = Circuit::default();
        for _ in 1..FAILURES_TO_OPEN {
            assert!(circuit.failed(now, REFUSED, false, &mut jitter));
            assert_eq!(circuit.admit(now), Ok(()));
        }
        assert!(!circuit.wants_probe(now));
        let mut is_probe = false;
        for cooldown in [1, 2, 4, 8, 15, 15].map(Duration::from_secs) {
            assert!(circuit.failed(now, REFUSED, is_probe, &mut jitter));
            assert!(!circuit.failed(now, REFUSED, false, &mut jitter), "those who failed with it count once");
            let Circuit::Open { until, .. } = circuit else { panic!("{circuit:?}") };
            let wait = until - now;
            assert!(wait >= cooldown / 2 && wait <= cooldown, "{wait:?}");
            assert!(!circuit.wants_probe(now));
            let retry_after = wait.max(SHORTEST_RETRY_AFTER);
            assert_eq!(circuit.admit(now), Err(IsOpen { silent_for: now - start, retry_after }));
            now = until;
            assert!(circuit.wants_probe(now));
            assert!(circuit.admit(now).is_err(), "no client's call is the probe");
            is_probe = true;
        }
        assert!(circuit.succeeded());
        assert!(!circuit.succeeded());
        assert_eq!(circuit.admit(now), Ok(()));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant has no other origin")]
    fn fewer_calls_that_run_out_of_time_open_it() {
        let (now, mut jitter, mut circuit) = (Instant::now(), Jitter::new(7), Circuit::default());
        let opens = |circuit: &mut Circuit, kinds: &[ErrorKind], jitter: &mut Jitter| {
            let is_open =
                |kind: &ErrorKind| circuit.failed(now, *kind, false, jitter) && circuit.admit(now).is_err();
            let opened: Vec<bool> = kinds.iter().map(is_open).collect();
            circuit.succeeded();
            opened
        };
        assert_eq!(opens(&mut circuit, &[SILENT, SILENT, SILENT], &mut jitter), [false, false, true]);
        assert_eq!(opens(&mut circuit, &[SILENT, REFUSED, SILENT], &mut jitter), [false; 3], "not in a row");
    }
}
