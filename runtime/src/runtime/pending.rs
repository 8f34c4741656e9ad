//! Answers that wait until they are certain.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, ready};
use std::thread::{self, Thread};

use bytes::Bytes;
use http::Response;

use super::beginning::{Begun, Start};
use super::{Shared, store_fault};
use crate::store::{StoreError, Ticket};

/// What a request has come to.
pub(super) enum Decided {
    /// An answer, and what has to be durable before it is told.
    Answer(Response<Bytes>, Option<Ticket>),
    /// A worker without a process, which is there when that is durable.
    Begun(Box<Begun>),
    /// A worker with a process. What comes of that is the answer.
    Starting(Arc<Start>),
}

impl Decided {
    /// The answer to what changes nothing that has to be durable.
    pub(super) fn read(response: Response<Bytes>) -> Self {
        Self::Answer(response, None)
    }

    /// The answer to what has changed something.
    pub(super) fn changed(response: Response<Bytes>, ticket: Ticket) -> Self {
        Self::Answer(response, Some(ticket))
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
        block_on(|context| Pin::new(&mut self).poll(context))
    }
}

impl Future for Pending {
    type Output = Response<Bytes>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response<Bytes>> {
        let certain = match (&self.decided, &self.shared) {
            (Some(Decided::Answer(_, Some(ticket))), Some(shared)) => {
                ready!(shared.store.poll_durable(*ticket, context)).map_err(store_fault)
            }
            (Some(Decided::Begun(begun)), Some(shared)) => {
                let durable = ready!(shared.store.poll_durable(begun.ticket, context));
                durable.map_err(|error| match shared.lock() {
                    Ok(mut locked) => shared.take_back(&mut locked, begun, error),
                    Err(poisoned) => store_fault(poisoned),
                })
            }
            (Some(Decided::Starting(start)), _) => {
                let response = ready!(start.poll(context));
                self.decided = None;
                return Poll::Ready(response.unwrap_or_else(|fault| fault.response()));
            }
            _ => Ok(()),
        };
        let decided = self.decided.take();
        Poll::Ready(match (certain, decided) {
            (Err(fault), _) => fault.response(),
            (Ok(()), Some(Decided::Answer(response, _))) => response,
            (Ok(()), Some(Decided::Begun(begun))) => begun.response,
            (Ok(()), Some(Decided::Starting(_)) | None) => Response::default(),
        })
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

impl Shared {
    /// Blocks this thread until everything up to a ticket is durable, or is known not to be.
    pub(super) fn wait_until_durable(&self, ticket: Ticket) -> Result<(), StoreError> {
        block_on(|context| self.store.poll_durable(ticket, context))
    }
}

/// Blocks this thread until something is ready.
fn block_on<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut context = Context::from_waker(&waker);
    loop {
        match poll(&mut context) {
            Poll::Ready(ready) => return ready,
            Poll::Pending => thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
