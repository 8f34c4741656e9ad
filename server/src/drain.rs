//! Shutting down: what is still to be finished, and how everything learns that it is to finish.

use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Whether the server shuts down, for all loops.
#[derive(Clone)]
pub(crate) struct Drain {
    begun: watch::Receiver<bool>,
    /// The connections that have something to finish, over all loops.
    busy: TaskTracker,
}

impl Drain {
    /// Shutting down begins when `begun` turns true.
    pub(crate) fn new(begun: watch::Receiver<bool>) -> Self {
        Self { begun, busy: TaskTracker::new() }
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

    /// Marks a connection that has carried a request as one to be waited for, until this is dropped. Once the server
    /// drains, it ends with its last response; one that never carried any is not waited for.
    pub(crate) fn carrying(&self) -> TaskTrackerToken {
        self.busy.token()
    }

    /// Resolves once no connection is to be waited for.
    pub(crate) async fn is_over(&self) {
        self.busy.close();
        self.busy.wait().await;
    }
}
