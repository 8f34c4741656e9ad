//! How much memory many things may take together.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A bound, in bytes, on what all holders of one kind keep together: bodies, replies, frames. Clones count together, on
/// whatever threads they are.
///
/// ```
/// use sekisho_core::memory::Memory;
///
/// let memory = Memory::new(100);
/// let held = memory.try_hold(60);
/// assert!(held.is_some() && memory.try_hold(60).is_none());
/// drop(held);
/// assert!(memory.try_hold(60).is_some());
/// ```
#[derive(Clone)]
pub struct Memory(Arc<State>);

struct State {
    max: usize,
    held: AtomicUsize,
}

/// What a holder keeps. It is given back when this is dropped.
pub struct Held {
    memory: Memory,
    bytes: usize,
}

impl Memory {
    /// Nothing is held yet, and `max` bytes may be.
    pub fn new(max: usize) -> Self {
        Self(Arc::new(State { max, held: AtomicUsize::new(0) }))
    }

    /// How many bytes are held.
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Whether more is held than may be. That is so only after [`Memory::hold`].
    pub fn is_exceeded(&self) -> bool {
        self.held() > self.0.max
    }

    /// Holds so many bytes whatever is held already: for what exists and cannot be refused.
    pub fn hold(&self, bytes: usize) -> Held {
        self.0.held.fetch_add(bytes, Ordering::Relaxed);
        Held { memory: self.clone(), bytes }
    }

    /// Holds so many bytes; `None` where there is no room for them.
    pub fn try_hold(&self, bytes: usize) -> Option<Held> {
        let mut held = Held { memory: self.clone(), bytes: 0 };
        held.try_grow(bytes).then_some(held)
    }

    fn try_add(&self, bytes: usize) -> bool {
        let add = |held: usize| held.checked_add(bytes).filter(|held| *held <= self.0.max);
        self.0.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }
}

impl Held {
    /// Holds so many bytes more. Whether there was room for them.
    #[must_use]
    pub fn try_grow(&mut self, bytes: usize) -> bool {
        let grown = self.memory.try_add(bytes);
        if grown {
            self.bytes += bytes;
        }
        grown
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.0.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("held", &self.held()).field("max", &self.0.max).finish()
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&self.bytes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_given_back() {
        let memory = Memory::new(10);
        let mut held = memory.try_hold(4).unwrap();
        assert!(held.try_grow(6) && !held.try_grow(1) && held.try_grow(0));
        assert_eq!((memory.held(), memory.is_exceeded()), (10, false));
        let more = memory.hold(usize::MAX / 2);
        assert!(memory.is_exceeded() && memory.try_hold(usize::MAX).is_none());
        drop((held, more));
        assert_eq!(memory.held(), 0);
        assert!(Memory::new(0).try_hold(1).is_none());
    }
}
