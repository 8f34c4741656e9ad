//! The bounds of requests and responses.

use std::time::Duration;

/// The largest head of a request, in bytes.
pub const MAX_REQUEST_HEAD: usize = 32 << 10;

/// The longest time for the head of a request, counted from when the connection was opened or the last response sent.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest time for the body of a request.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest time in which a client takes no byte of its response.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
