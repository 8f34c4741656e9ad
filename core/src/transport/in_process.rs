//! A runtime without the wire.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};

/// A response that is on its way. It needs no executor: a waker that unparks a thread will do.
pub type PendingResponse = Pin<Box<dyn Future<Output = Response<Bytes>> + Send>>;

/// A runtime in the same process: /v1 as functions.
pub trait InProcess: Send + Sync {
    /// Answers a command, and waits until the answer is certain: that a process has started, that what was done is
    /// durable. Not for an async task.
    fn handle(&self, request: &Request<Bytes>) -> Response<Bytes>;

    /// Begins to answer a command, without waiting for anything. What it asks for is done whether or not the response
    /// is waited for.
    fn respond(&self, request: &Request<Bytes>) -> PendingResponse {
        Box::pin(std::future::ready(self.handle(request)))
    }

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
