//! What names requests.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes what names requests: numbers that no other process makes, and no other value of this type.
#[derive(Default, Debug)]
pub struct Names {
    keys: RandomState,
    count: AtomicU64,
}

impl Names {
    /// The next one.
    pub fn next(&self) -> u64 {
        self.keys.hash_one(self.count.fetch_add(1, Ordering::Relaxed))
    }
}
