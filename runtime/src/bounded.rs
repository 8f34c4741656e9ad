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
        let mut gone = None;
        while self.queue.len() > 1 && (self.queue.len() > self.max_count || self.bytes > self.max_bytes) {
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
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_and_the_newest_stays() {
        let mut queue = Bounded::new(3, 10, |text: &&str| text.len());
        for (text, gone, left) in [
            ("1", None, 1),
            ("2", None, 2),
            ("3", None, 3),
            ("4", Some("1"), 3),
            ("55555555", Some("2"), 3),
            ("666666", Some("55555555"), 1),
            ("of more than ten bytes", Some("666666"), 1),
            ("8", Some("of more than ten bytes"), 1),
        ] {
            assert_eq!((queue.push(text), queue.queue().len()), (gone, left), "{text}");
        }
        assert_eq!((queue.dropped(), queue.total()), (7, 8));
    }
}
