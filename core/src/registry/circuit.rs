//! Leaves a runtime alone that has failed too often, and finds out when it is back.

use std::time::{Duration, Instant};

use crate::backoff::{Jitter, doubled};

/// How many calls in a row must fail for the circuit to open.
const FAILURES_TO_OPEN: u32 = 10;

/// How long it stays open at first; each probe that fails doubles it.
const FIRST_COOLDOWN: Duration = Duration::from_secs(1);

/// How long it stays open at most.
const LONGEST_COOLDOWN: Duration = Duration::from_secs(15);

/// How long a probe may take before another one is let through: it may have been dropped unheard.
const PROBE_WINDOW: Duration = Duration::from_secs(5);

/// Only a call that got no answer at all counts as a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Circuit {
    /// Every call is tried.
    Closed {
        /// Failures in a row.
        failures: u32,
    },
    /// None is.
    Open {
        until: Instant,
        /// Probes that have failed.
        probes: u32,
    },
    /// One is, and the others wait for what becomes of it.
    Probing { until: Instant, probes: u32 },
}

impl Default for Circuit {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Circuit {
    /// Whether a call may be tried now; if not, in how long.
    pub(super) fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        match *self {
            Self::Closed { .. } => Ok(()),
            Self::Open { until, .. } | Self::Probing { until, .. } if now < until => Err(until - now),
            Self::Open { probes, .. } | Self::Probing { probes, .. } => {
                *self = Self::Probing { until: now + PROBE_WINDOW, probes };
                Ok(())
            }
        }
    }

    /// Whether this changed anything.
    pub(super) fn succeeded(&mut self) -> bool {
        std::mem::take(self) != Self::default()
    }

    /// Whether this opened it.
    pub(super) fn failed(&mut self, now: Instant, jitter: &mut Jitter) -> bool {
        let probes = match *self {
            Self::Closed { failures } if failures + 1 < FAILURES_TO_OPEN => {
                *self = Self::Closed { failures: failures + 1 };
                return false;
            }
            Self::Closed { .. } => 0,
            // Calls that were under way when it opened say nothing new.
            Self::Open { .. } => return false,
            Self::Probing { probes, .. } => probes.saturating_add(1),
        };
        let cooldown = doubled(FIRST_COOLDOWN, probes, LONGEST_COOLDOWN);
        *self = Self::Open { until: now + jitter.spread(cooldown), probes };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant has no other origin")]
    fn it_opens_probes_and_closes() {
        let mut now = Instant::now();
        let mut jitter = Jitter::new(7);
        let mut circuit = Circuit::default();
        for _ in 1..FAILURES_TO_OPEN {
            assert!(!circuit.failed(now, &mut jitter));
            assert_eq!(circuit.admit(now), Ok(()));
        }
        for cooldown in [1, 2, 4, 8, 15, 15].map(Duration::from_secs) {
            assert!(circuit.failed(now, &mut jitter));
            assert!(!circuit.failed(now, &mut jitter), "those who failed with it count once");
            let wait = circuit.admit(now).unwrap_err();
            assert!(wait >= cooldown / 2 && wait <= cooldown, "{wait:?}");
            now += wait;
            assert_eq!(circuit.admit(now), Ok(()), "a probe");
            assert_eq!(circuit.admit(now), Err(PROBE_WINDOW), "and no second one beside it");
        }
        now += PROBE_WINDOW;
        assert_eq!(circuit.admit(now), Ok(()), "a probe that was never heard of is not waited for");
        assert!(circuit.succeeded());
        assert!(!circuit.succeeded());
        assert_eq!(circuit.admit(now), Ok(()));
    }
}
