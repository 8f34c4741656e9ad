//! Where in a ring a cursor stands.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::cursor::UpstreamCursor;

/// The number of the newest frame with each cursor.
///
/// In order of hashes, as two cursors of one worker often begin alike: it is numbers that a search compares, and texts
/// only where it ends. The hash is the same in each run, and a runtime that finds cursors of the same hash makes its own
/// stream slower, and nothing wrong.
#[derive(Clone, Default, Debug)]
pub(super) struct Index(BTreeMap<(u64, UpstreamCursor), u64>);

impl Index {
    pub(super) fn get(&self, cursor: &UpstreamCursor) -> Option<u64> {
        self.0.get(&key(cursor)).copied()
    }

    pub(super) fn insert(&mut self, cursor: &UpstreamCursor, number: u64) {
        self.0.insert(key(cursor), number);
    }

    /// Takes out the cursor of the frame with this number, unless a newer frame has it as well.
    pub(super) fn remove(&mut self, cursor: &UpstreamCursor, number: u64) {
        let key = key(cursor);
        if self.0.get(&key) == Some(&number) {
            self.0.remove(&key);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

fn key(cursor: &UpstreamCursor) -> (u64, UpstreamCursor) {
    let mut hasher = DefaultHasher::new();
    cursor.hash(&mut hasher);
    (hasher.finish(), cursor.clone())
}
