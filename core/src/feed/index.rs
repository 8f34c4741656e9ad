//! Where in a ring a cursor stands.

use std::collections::BTreeMap;

use crate::cursor::UpstreamCursor;

/// The number of the newest frame with each cursor. In the order of their hashes: a search compares numbers, and one text
/// where it ends.
#[derive(Clone, Default, Debug)]
pub(super) struct Index(BTreeMap<UpstreamCursor, u64>);

impl Index {
    pub(super) fn get(&self, cursor: &UpstreamCursor) -> Option<u64> {
        self.0.get(cursor).copied()
    }

    pub(super) fn insert(&mut self, cursor: &UpstreamCursor, number: u64) {
        self.0.insert(cursor.clone(), number);
    }

    /// Takes out the cursor of the frame with this number, unless a newer frame has it as well.
    pub(super) fn remove(&mut self, cursor: &UpstreamCursor, number: u64) {
        if self.get(cursor) == Some(number) {
            self.0.remove(cursor);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
