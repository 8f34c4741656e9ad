//! Shutting down: what is still to be finished, and how everything learns that it is to finish.

use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// How far a server has got.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(crate) enum Phase {
    /// It serves.
    #[default]
    Serving,
    /// It serves, and says that it is not ready, so that no further clients are sent here.
    Leaving,
    /// It finishes what is in flight.
    Draining,
}

/// Whether the server shuts down, for all loops.
#[derive(Clone)]
pub(crate) struct Drain {
    phase: watch::Receiver<Phase>,
    /// The connections that have something to finish, over all loops.
    busy: TaskTracker,
}

impl Drain {
    pub(crate) fn new(phase: watch::Receiver<Phase>) -> Self {
        Self { phase, busy: TaskTracker::new() }
    }

    /// Whether further clients may be sent here.
    pub(crate) fn is_ready(&self) -> bool {
        *self.phase.borrow() == Phase::Serving
    }

    /// Whether what is in flight is to finish.
    pub(crate) fn has_begun(&self) -> bool {
        *self.phase.borrow() == Phase::Draining
    }

    /// Resolves once what is in flight is to finish.
    pub(crate) async fn begins(&self) {
        // A server that is dropped shuts down, too.
        let _ = self.phase.clone().wait_for(|phase| *phase == Phase::Draining).await;
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
