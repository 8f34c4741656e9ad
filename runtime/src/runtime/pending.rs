//! Answers that wait until they are certain.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::thread::{self, Thread};

use bytes::Bytes;
use http::Response;
use sekisho_core::runtime_api::Fault;

use super::{Shared, store_fault};
use crate::store::Ticket;

/// What a request has come to.
pub(super) struct Decided {
    pub(super) response: Response<Bytes>,
    /// The process that has to start before it is true.
    pub(super) start: Option<Arc<Start>>,
    /// What has to be durable before it is told.
    pub(super) ticket: Option<Ticket>,
}

impl Decided {
    /// The answer to what changes nothing.
    pub(super) fn read(response: Response<Bytes>) -> Self {
        Self { response, start: None, ticket: None }
    }

    /// The answer to what has changed something.
    pub(super) fn changed(response: Response<Bytes>, ticket: Ticket) -> Self {
        Self { response, start: None, ticket: Some(ticket) }
    }
}

/// Whether a worker's process has started. Told once.
#[derive(Default)]
pub(super) struct Start(Mutex<StartState>);

#[derive(Default)]
struct StartState {
    result: Option<Result<(), Fault>>,
    waiting: Vec<Waker>,
}

impl Start {
    /// Tells it. What is told later is not heard.
    pub(super) fn tell(&self, result: Result<(), Fault>) {
        // Nothing in here can fail half-way.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.result.get_or_insert(result);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &state.result {
            Some(result) => Poll::Ready(result.clone()),
            None => {
                if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                    state.waiting.push(context.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

/// A response that comes when it is certain: as a future on any executor, or by [`wait`](Self::wait).
///
/// Dropping it gives up the response only: what was asked for has been done.
#[must_use = "a response is to be sent"]
pub struct Pending {
    shared: Option<Arc<Shared>>,
    decided: Option<Decided>,
}

impl Pending {
    pub(super) fn new(shared: Arc<Shared>, decided: Decided) -> Self {
        Self { shared: Some(shared), decided: Some(decided) }
    }

    pub(super) fn refused(response: Response<Bytes>) -> Self {
        Self { shared: None, decided: Some(Decided::read(response)) }
    }

    /// Blocks this thread until the response is there.
    pub fn wait(mut self) -> Response<Bytes> {
        let waker = Arc::new(Unpark(thread::current())).into();
        let mut context = Context::from_waker(&waker);
        loop {
            match Pin::new(&mut self).poll(&mut context) {
                Poll::Ready(response) => return response,
                Poll::Pending => thread::park(),
            }
        }
    }

    fn poll_certain(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let Some(decided) = &mut self.decided else { return Poll::Ready(Ok(())) };
        if let Some(start) = &decided.start {
            let result = ready!(start.poll(context));
            decided.start = None;
            if let Err(fault) = result {
                return Poll::Ready(Err(fault));
            }
        }
        if let (Some(shared), Some(ticket)) = (&self.shared, decided.ticket) {
            let durable = ready!(shared.store.poll_durable(ticket, context));
            decided.ticket = None;
            return Poll::Ready(durable.map_err(store_fault));
        }
        Poll::Ready(Ok(()))
    }
}

impl Future for Pending {
    type Output = Response<Bytes>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response<Bytes>> {
        let certain = ready!(self.poll_certain(context));
        let decided = self.decided.take();
        Poll::Ready(match certain {
            Ok(()) => decided.map(|decided| decided.response).unwrap_or_default(),
            Err(fault) => fault.response(),
        })
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
