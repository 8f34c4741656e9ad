//! The bounds of requests and responses.

use std::time::Duration;

/// The largest head of a request, in bytes.
pub const MAX_REQUEST_HEAD: usize = 32 << 10;

/// The longest time for the head of a request, counted from when the connection was opened or the last response sent.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest time for the body of a request.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest time in which a client takes nothing of what is written to it, a response or a stream.
///
/// A client's system says that there is room again in steps of up to its receive buffer, 128 KiB on Linux. One that
/// reads 2 KiB a second takes such a step in 64 s: it is slow, and stays.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(90);

/// How many bytes the bodies of all requests under way may have together.
pub const MAX_REQUEST_BODIES: usize = 64 << 20;

/// How many bytes all bodies of runtimes' responses that are being read may have together, and again all responses that
/// clients have not taken yet. Of each, the first [`UNCOUNTED_REPLY`](crate::transport::UNCOUNTED_REPLY) bytes do not count.
pub const MAX_REPLIES: usize = 256 << 20;

/// After how long a client may come back for which there was no room in memory.
pub const ROOM_AFTER: Duration = Duration::from_secs(1);
