//! The bounds of the stream of all workers.

use std::time::Duration;

/// How often each runtime is asked for its workers while the stream has viewers.
pub const POLL_EVERY: Duration = Duration::from_secs(1);

/// The longest pause before a runtime is asked again that has failed. It begins with [`POLL_EVERY`], and doubles.
pub const LONGEST_POLL_PAUSE: Duration = Duration::from_secs(8);

/// How many changes are kept for viewers that read slowly. One that is further behind is shown the state of everything
/// anew.
pub const MAX_CHANGES: usize = 4096;

/// How many bytes these have at most. The newest is kept in any case.
pub const MAX_CHANGE_BYTES: usize = 8 << 20;
