//! Answers that come when a disk has what they tell.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::{Request, Response};
use sekisho_core::runtime_api::Command;
use sekisho_runtime::Pending;

/// A request whose answer is not certain yet.
pub(super) struct Waiting {
    /// Under which number it is answered; none where the client is not one of a gateway's.
    pub(super) number: Option<u64>,
    pub(super) command: Option<Command>,
    pub(super) request: Request<Bytes>,
    /// The number of the worker that it has made.
    pub(super) created: Option<usize>,
    /// What it has to be answered with, where it was answered before.
    pub(super) expects: Option<Bytes>,
    pending: Pending,
    woken: Arc<Woken>,
}

/// Whether what waits was told to look again. Where it was not, it does not.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl Waiting {
    pub(super) fn new(request: &Request<Bytes>, pending: Pending) -> Self {
        Self {
            number: None,
            command: Command::from_request(request).ok(),
            request: request.clone(),
            created: None,
            expects: None,
            pending,
            woken: Arc::new(Woken(AtomicBool::new(true))),
        }
    }

    /// The answer, where it has come.
    pub(super) fn poll(&mut self) -> Option<Response<Bytes>> {
        if !self.woken.0.swap(false, Ordering::AcqRel) {
            return None;
        }
        let waker = Waker::from(Arc::clone(&self.woken));
        match Pin::new(&mut self.pending).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(response) => Some(response),
            Poll::Pending => None,
        }
    }

    /// The key under which it is carried out once.
    pub(super) fn key(&self) -> Option<String> {
        let key = self.request.headers().get("idempotency-key")?;
        Some(key.to_str().ok()?.to_owned())
    }
}
