//! The log of refused hosts and origins.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sekisho_core::error::{Error, ErrorKind};
use tracing::info;

/// The shortest time between two lines: what strangers send must not fill the log.
const EVERY: Duration = Duration::from_secs(1);

/// Logs requests that came under a `Host` or an `Origin` that is not allowed, so that its operator learns which
/// key of the configuration allows it. Shared by all event loops.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<State>);

#[derive(Default)]
struct State {
    last: Option<Instant>,
    left_out: u64,
}

impl Refusals {
    /// Logs the refusal if it is one of these and there was no line just before. What came is bounded and printable by
    /// then.
    pub(crate) fn note(&self, now: Instant, error: &Error) {
        if let Some(left_out) = self.admit(now, error) {
            info!(detail = error.detail(), left_out, "refused a request");
        }
    }

    /// How many were left out since the last line, where there is to be one now.
    fn admit(&self, now: Instant, error: &Error) -> Option<u64> {
        if !matches!(error.kind(), ErrorKind::HostNotAllowed | ErrorKind::OriginNotAllowed) {
            return None;
        }
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < EVERY) {
            state.left_out += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let admit =
            |after: u64, kind| refusals.admit(start + Duration::from_millis(after), &Error::new(kind));
        assert_eq!(admit(0, ErrorKind::Unauthorized), None);
        assert_eq!(admit(0, ErrorKind::HostNotAllowed), Some(0));
        assert_eq!(admit(1, ErrorKind::OriginNotAllowed), None);
        assert_eq!(admit(999, ErrorKind::HostNotAllowed), None);
        assert_eq!(admit(1000, ErrorKind::OriginNotAllowed), Some(2));
        assert_eq!(admit(2000, ErrorKind::HostNotAllowed), Some(0));
    }
}
