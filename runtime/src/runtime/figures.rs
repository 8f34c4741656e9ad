//! What an operator may want to know of a runtime.

use super::{Runtime, Shared};
use crate::store::StoreFigures;

/// What a runtime holds, and what its store has done since the start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    /// How many workers there are of each status, by its name on the wire.
    pub workers: [(&'static str, usize); 3],
    /// How many requests of workers wait for an answer.
    pub open_requests: usize,
    /// How many streams are open.
    pub subscriptions: usize,
    /// What a store that outlasts the runtime has done; `None` of one that does not.
    pub store: Option<StoreFigures>,
}

impl Runtime {
    /// What the runtime holds right now.
    pub fn figures(&self) -> Figures {
        self.handle.shared.figures()
    }
}

impl Shared {
    fn figures(&self) -> Figures {
        let state = self.lock_anyway();
        let census = state.records.census();
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        Figures {
            workers: [
                ("running", count(census.running)),
                ("stopped", count(census.stopped)),
                ("cancelled", count(census.cancelled)),
            ],
            open_requests: state.records.after(0).map(|record| record.open_requests().count()).sum(),
            subscriptions: self.subscriptions.count(),
            store: self.store.figures(),
        }
    }
}
