//! The cursors of the newest events of a stream, by which repeated events are recognized.

use std::collections::{BTreeSet, VecDeque};

use crate::cursor::UpstreamCursor;

/// The number of newest events among which a repeated one is recognized. Deployed runtimes keep 1,024 to repeat from.
pub const DEDUP_WINDOW: usize = 1024;

/// The last [`DEDUP_WINDOW`] cursors.
#[derive(Default)]
pub(super) struct RecentCursors {
    order: VecDeque<UpstreamCursor>,
    known: BTreeSet<UpstreamCursor>,
}

impl RecentCursors {
    /// Adds a cursor. Returns whether it is new.
    pub(super) fn insert(&mut self, cursor: &UpstreamCursor) -> bool {
        if !self.known.insert(cursor.clone()) {
            return false;
        }
        self.order.push_back(cursor.clone());
        if self.order.len() > DEDUP_WINDOW
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The number of cursors that are held in memory: by order and by value, whichever is larger.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.order.len().max(self.known.len())
    }
}
