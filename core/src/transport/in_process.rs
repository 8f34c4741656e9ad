//! A runtime without the wire.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};

/// A runtime in the same process: /v1 as functions, which answer without waiting for anything.
pub trait InProcess: Send + Sync {
    /// Answers a command.
    fn handle(&self, request: &Request<Bytes>) -> Response<Bytes>;

    /// Opens a worker's stream, or answers why not.
    #[expect(clippy::result_large_err, reason = "a response is what it is, and is moved once")]
    fn observe(&self, request: &Request<Bytes>) -> Result<Box<dyn Frames>, Response<Bytes>>;
}

/// The frames of one worker, from a runtime in the same process.
///
/// It needs no executor: a waker that unparks a thread will do.
pub trait Frames: Send {
    /// The text of the next frame; `None` after the last.
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>>;
}
