//! The bounds that every transport keeps.

use std::time::Duration;

/// The largest head of a response, in bytes.
pub const MAX_HEAD: usize = 64 << 10;

/// How much of a response's body does not count in what the bodies of all responses may take together: a runtime's answer
/// to a command that has changed something is small, and must not be lost for want of memory.
pub const UNCOUNTED_REPLY: usize = 64 << 10;

/// How many header lines a response has at most.
pub const MAX_HEADERS: usize = 100;

/// The largest body of a response that refuses a stream, in bytes. It holds an error, of which little is kept.
pub const MAX_REFUSAL: usize = 64 << 10;

/// The largest message of a stream, in bytes.
pub const MAX_FRAME: usize = 16 << 20;

/// How many bytes of a stream are read at once. WebSocket libraries take 128 KiB by default, for each stream.
pub const READ_BUFFER: usize = 8 << 10;

/// How many bytes may wait to be written to a runtime on a stream: pings, pongs and a close.
pub const MAX_WRITE_BUFFER: usize = 4 << 10;

/// How long a ping may take to be written. A runtime that does not read for so long is not reading at all.
pub const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// How long past its deadline a transport may take to report an attempt before the machine goes on without it.
pub const REPORT_GRACE: Duration = Duration::from_millis(250);

/// How long a pooled connection may have been idle to carry a command that must not be repeated.
///
/// The longer a connection is idle, the likelier it is that the other side is just closing it. Then it is unknown
/// whether the command was read.
pub const MAX_IDLE_FOR_ONCE: Duration = Duration::from_secs(2);

/// How long a pooled connection may have been idle to carry a command that may be repeated.
pub const MAX_IDLE: Duration = Duration::from_secs(60);

/// How many idle connections a pool keeps, of each event loop to each runtime.
pub const MAX_IDLE_CONNECTIONS: usize = 16;

/// How many of them may have been idle for longer than [`MAX_IDLE_FOR_ONCE`].
pub const MAX_LONG_IDLE_CONNECTIONS: usize = 2;
