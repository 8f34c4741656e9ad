//! Shutting down: what is still to be finished, and how everything learns that it is to finish.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, watch};

/// Whether the server shuts down, for all loops.
#[derive(Clone)]
pub(crate) struct Drain {
    begun: watch::Receiver<bool>,
    busy: Arc<Busy>,
}

/// How many connections have something to finish, over all loops.
#[derive(Default)]
struct Busy {
    count: AtomicUsize,
    none: Notify,
}

/// A connection that has carried a request. Once the server drains, it ends with its last response; one that never
/// carried any is not waited for.
pub(crate) struct Carrying(Arc<Busy>);

impl Drain {
    /// Shutting down begins when `begun` turns true.
    pub(crate) fn new(begun: watch::Receiver<bool>) -> Self {
        Self { begun, busy: Arc::default() }
    }

    /// Whether the server shuts down.
    pub(crate) fn has_begun(&self) -> bool {
        *self.begun.borrow()
    }

    /// Resolves once the server shuts down.
    pub(crate) async fn begins(&self) {
        // A server that is dropped shuts down, too.
        let _ = self.begun.clone().wait_for(|begun| *begun).await;
    }

    /// Marks a connection as one to be waited for.
    pub(crate) fn carrying(&self) -> Carrying {
        self.busy.count.fetch_add(1, Ordering::Relaxed);
        Carrying(self.busy.clone())
    }

    /// Resolves once no connection is to be waited for.
    pub(crate) async fn is_over(&self) {
        loop {
            let mut none = pin!(self.busy.none.notified());
            none.as_mut().enable();
            if self.busy.count.load(Ordering::Acquire) == 0 {
                return;
            }
            none.await;
        }
    }
}

impl Drop for Carrying {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_waiters();
        }
    }
}
