//! Equal reads of all event loops, which share exchanges as [`Coalescer`] decides.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use sekisho_core::browser_api::{Coalescer, Read, Turn};
use sekisho_core::error::Error;
use sekisho_core::trace::TraceParent;
use sekisho_core::viewer::shutting_down;
use tokio::sync::{mpsc, oneshot};

/// What all loops share of it.
pub(crate) type Waiting = Arc<Mutex<Coalescer<Waiter>>>;

/// What an exchange came to.
#[derive(Clone)]
pub(crate) struct Exchanged {
    pub(crate) result: Result<Response<Bytes>, Error>,
    /// Attempts at runtimes that it led to.
    pub(crate) attempts: u32,
    /// How long all that was asked of runtimes took, where something was.
    pub(crate) upstream: Option<Duration>,
}

/// A read that waits for its exchange.
pub(crate) struct Waiter {
    trace: TraceParent,
    tell: oneshot::Sender<Exchanged>,
}

/// One loop's share: the exchanges that it carries on.
#[derive(Clone)]
pub(crate) struct SharedReads {
    waiting: Waiting,
    /// As many at most as there are exchanges of others under way.
    due: mpsc::UnboundedSender<Due>,
}

/// The end of a shared exchange, unless the loop that carries it on has ended before.
pub(crate) struct Told(oneshot::Receiver<Exchanged>);

/// An exchange that is to begin, for all who wait for it.
pub(crate) struct Due {
    under_way: UnderWay,
    /// Never none.
    waiters: Vec<Waiter>,
}

/// An exchange until it is over or given up. Those who wait for that have the next one.
pub(crate) struct UnderWay {
    read: Arc<Read>,
    of: SharedReads,
}

impl SharedReads {
    /// Of one loop, which is to carry on what is due.
    pub(crate) fn new(waiting: Waiting) -> (Self, mpsc::UnboundedReceiver<Due>) {
        let (due, is_due) = mpsc::unbounded_channel();
        (Self { waiting, due }, is_due)
    }

    fn waiting(&self) -> MutexGuard<'_, Coalescer<Waiter>> {
        // Each change is complete in itself.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a read: its own exchange, which is the caller's to carry on, or the end of one that is shared.
    pub(crate) fn ask(&self, read: Read, trace: TraceParent) -> Result<UnderWay, Told> {
        let wait = || {
            let (tell, told) = oneshot::channel();
            (Waiter { trace, tell }, Told(told))
        };
        match self.waiting().ask(read, wait) {
            Turn::Begins(read) => Ok(UnderWay { read, of: self.clone() }),
            Turn::Waits(told) => Err(told),
        }
    }
}

impl Told {
    pub(crate) async fn end(self) -> Exchanged {
        let lost = |_| Exchanged { result: Err(shutting_down()), attempts: 0, upstream: None };
        self.0.await.unwrap_or_else(lost)
    }
}

impl Due {
    pub(crate) fn read(&self) -> &Read {
        self.under_way.read()
    }

    /// Under which it is asked: that of the first who waited.
    pub(crate) fn trace(&self) -> TraceParent {
        self.waiters[0].trace
    }

    /// It is over: the next one may begin, and all who waited for it are told.
    pub(crate) fn end(self, exchanged: &Exchanged) {
        drop(self.under_way);
        for waiter in self.waiters {
            // One that has left needs no answer.
            let _ = waiter.tell.send(exchanged.clone());
        }
    }
}

impl UnderWay {
    pub(crate) fn read(&self) -> &Read {
        &self.read
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let waiters = self.of.waiting().ended(&self.read, |waiter| !waiter.tell.is_closed());
        if let Some(waiters) = waiters {
            let under_way = Self { read: self.read.clone(), of: self.of.clone() };
            // Where the loop has ended, what is sent comes back and is dropped, which gives it up.
            let _ = self.of.due.send(Due { under_way, waiters });
        }
    }
}
