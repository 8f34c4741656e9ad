//! A queue that is bounded by count and bytes.

use std::collections::VecDeque;

/// A queue that lets go of its oldest where it is over its bounds, but never of its newest.
pub(crate) struct Bounded<T> {
    queue: VecDeque<T>,
    bytes: usize,
    dropped: u64,
    size: fn(&T) -> usize,
    max_count: usize,
    max_bytes: usize,
}

impl<T> Bounded<T> {
    pub(crate) fn new(max_count: usize, max_bytes: usize, size: fn(&T) -> usize) -> Self {
        Self { queue: VecDeque::new(), bytes: 0, dropped: 0, size, max_count, max_bytes }
    }

    /// Takes in the newest. What had to go for it is gone, but for the newest of that, which is returned.
    pub(crate) fn push(&mut self, element: T) -> Option<T> {
        self.bytes += (self.size)(&element);
        self.queue.push_back(element);
        self.reduce_to(self.max_count, self.max_bytes)
    }

    /// Lets go of the oldest until so many bytes are left, and returns the newest of what is gone. Its memory is given
    /// back, too.
    pub(crate) fn reduce(&mut self, max_bytes: usize) -> Option<T> {
        let gone = self.reduce_to(usize::MAX, max_bytes);
        if self.queue.len() < self.queue.capacity() / 4 {
            self.queue.shrink_to(self.queue.len() * 2);
        }
        gone
    }

    fn reduce_to(&mut self, max_count: usize, max_bytes: usize) -> Option<T> {
        let mut gone = None;
        while self.queue.len() > 1 && (self.queue.len() > max_count || self.bytes > max_bytes) {
            gone = self.queue.pop_front();
            self.bytes -= gone.as_ref().map_or(0, self.size);
            self.dropped += 1;
        }
        gone
    }

    /// Those that are left, oldest first.
    pub(crate) fn queue(&self) -> &VecDeque<T> {
        &self.queue
    }

    /// The size of what is left.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many had to go.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How many there ever were.
    pub(crate) fn total(&self) -> u64 {
        self.dropped + self.queue.len() as u64
    }
}

#[cfg(test)]
mod tests;
