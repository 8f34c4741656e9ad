//! Time that passes only when there is nothing left to do.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

/// The beginning of every world. An instant has no other origin than the clock; everything else is reckoned from here.
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What clocks on walls say at the beginning of every world.
const WALL: Duration = Duration::from_secs(1_700_000_000);

/// The time since the beginning of a world.
pub(super) type Time = Duration;

/// The instant that core is given for a time.
pub(super) fn instant(time: Time) -> Instant {
    *BEGINNING + time
}

/// The time of an instant that core spoke of; nought for one before the beginning.
pub(super) fn time(instant: Instant) -> Time {
    instant.saturating_duration_since(*BEGINNING)
}

/// What clocks on walls say at a time.
pub(super) fn wall(time: Time) -> SystemTime {
    SystemTime::UNIX_EPOCH + WALL + time
}

/// What is to happen, and when. Of what happens at the same time the first that was planned is first.
pub(super) struct Clock<E> {
    now: Time,
    planned: u64,
    queue: BinaryHeap<Reverse<Due<E>>>,
}

struct Due<E> {
    at: Time,
    number: u64,
    event: E,
}

impl<E> Clock<E> {
    pub(super) fn new() -> Self {
        Self { now: Time::ZERO, planned: 0, queue: BinaryHeap::new() }
    }

    pub(super) fn now(&self) -> Time {
        self.now
    }

    /// Plans an event; one for the past happens now.
    pub(super) fn at(&mut self, at: Time, event: E) {
        self.planned += 1;
        self.queue.push(Reverse(Due { at: at.max(self.now), number: self.planned, event }));
    }

    /// Jumps to the next event that is due before `end`.
    pub(super) fn next(&mut self, end: Time) -> Option<E> {
        if self.queue.peek()?.0.at >= end {
            return None;
        }
        let Reverse(due) = self.queue.pop()?;
        self.now = due.at;
        Some(due.event)
    }
}

impl<E> PartialEq for Due<E> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<E> Eq for Due<E> {}

impl<E> PartialOrd for Due<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Due<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
