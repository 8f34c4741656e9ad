//! The bounds of a call.

use std::time::Duration;

use crate::transport::ConnectLimits;

/// The pause before a first repetition; it doubles with each further one.
pub const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// The longest pause between two attempts, but for a runtime that asks for a longer one.
pub const LONGEST_BACKOFF: Duration = Duration::from_secs(2);

/// How often a command is attempted at most, where repeating it is harmless.
pub const MAX_ATTEMPTS: u32 = 3;

/// How often a call asks at most who is at the other end. It asks more than once only where other commands take the
/// connections on which it has asked.
pub const MAX_QUESTIONS: u32 = 4;

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
