//! How many spans wait, were exported and were lost, and what the log is told of it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the log tells of spans at most.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Counts spans on their way to the collector.
pub(super) struct Progress {
    max_waiting: usize,
    waiting: AtomicUsize,
    exported: AtomicU64,
    lost: AtomicU64,
    has_ended: AtomicBool,
    story: Mutex<Story>,
}

/// What the log is told, with how many spans were lost since it was last told anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tell {
    /// The collector does not take spans.
    Fails { lost: u64 },
    /// It takes them again.
    Works { lost: u64 },
    /// It takes them, or not, as was told, and spans were lost.
    Loses { lost: u64 },
}

impl Progress {
    /// Nothing has happened yet. At most so many spans may wait.
    pub(super) fn new(max_waiting: usize) -> Self {
        Self {
            max_waiting,
            waiting: AtomicUsize::new(0),
            exported: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            has_ended: AtomicBool::new(false),
            story: Mutex::default(),
        }
    }

    /// Whether there is room for one more span to wait. Without room it is lost.
    pub(super) fn admit(&self) -> bool {
        let has_room = !self.has_ended.load(Ordering::Relaxed)
            && self
                .waiting
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
                    (waiting < self.max_waiting).then(|| waiting + 1)
                })
                .is_ok();
        if !has_room {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        has_room
    }

    /// The export of so many spans, which were admitted, begins: they do not wait any more. How many of them were not
    /// given up before, which is what is to be told once it has ended.
    pub(super) fn begins(&self, count: usize) -> usize {
        let rest = |waiting: usize| Some(waiting.saturating_sub(count));
        let waiting = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest);
        waiting.unwrap_or_default().min(count)
    }

    /// The export of so many spans has ended. What the log is to be told now.
    pub(super) fn ended(&self, now: Instant, count: usize, has_worked: bool) -> Option<Tell> {
        let counter = if has_worked { &self.exported } else { &self.lost };
        counter.fetch_add(count as u64, Ordering::Relaxed);
        let mut story = self.story.lock().unwrap_or_else(PoisonError::into_inner);
        story.tell(now, has_worked, self.lost())
    }

    /// How many spans were exported.
    pub(super) fn exported(&self) -> u64 {
        self.exported.load(Ordering::Relaxed)
    }

    /// How many were lost.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Nothing is exported any more: what waits is lost. How many were lost that the log was not told of, if any.
    pub(super) fn end(&self) -> Option<u64> {
        self.has_ended.store(true, Ordering::Relaxed);
        let waiting = self.waiting.swap(0, Ordering::Relaxed);
        self.lost.fetch_add(waiting as u64, Ordering::Relaxed);
        let story = self.story.lock().unwrap_or_else(PoisonError::into_inner);
        Some(self.lost() - story.told_lost).filter(|lost| *lost > 0)
    }
}

/// What the log was told last.
#[derive(Default)]
struct Story {
    told_failing: bool,
    told_lost: u64,
    told_at: Option<Instant>,
}

impl Story {
    /// What to tell once a batch was taken or not, with so many spans lost in all.
    fn tell(&mut self, now: Instant, has_worked: bool, all_lost: u64) -> Option<Tell> {
        let lost = all_lost - self.told_lost;
        let tell = match (self.told_failing, has_worked) {
            (false, false) => Tell::Fails { lost },
            (true, true) => Tell::Works { lost },
            (true, false) | (false, true) if lost > 0 => Tell::Loses { lost },
            (true, false) | (false, true) => return None,
        };
        // A collector that fails every now and then is told of no more often than one that never works.
        if self.told_at.is_some_and(|told| now < told + TELL_EVERY) {
            return None;
        }
        *self = Self { told_failing: !has_worked, told_lost: all_lost, told_at: Some(now) };
        Some(tell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_lost() {
        let progress = Progress::new(2);
        let admitted: Vec<bool> = (0..3).map(|_| progress.admit()).collect();
        assert_eq!(admitted, [true, true, false]);
        assert_eq!(progress.begins(2), 2);
        assert!(progress.admit());
        progress.ended(Instant::now(), 2, true);
        assert_eq!((progress.exported(), progress.lost()), (2, 1));
        // The one that waits will not be exported.
        assert_eq!(progress.end(), Some(1));
        assert!(!progress.admit());
        assert_eq!((progress.exported(), progress.lost()), (2, 3));
        // Nor is it lost once more where its export begins all the same.
        assert_eq!(progress.begins(1), 0);
    }

    #[test]
    fn the_log_is_told_of_changes_and_of_losses_once_a_minute() {
        let (mut story, start) = (Story::default(), Instant::now());
        let mut tell =
            |seconds, has_worked, lost| story.tell(start + Duration::from_secs(seconds), has_worked, lost);
        assert_eq!(tell(0, true, 0), None);
        assert_eq!(tell(1, false, 5), Some(Tell::Fails { lost: 5 }));
        assert_eq!(tell(6, false, 10), None);
        assert_eq!(tell(11, true, 10), None);
        assert_eq!(tell(61, true, 10), Some(Tell::Works { lost: 5 }));
        assert_eq!(tell(62, false, 15), None);
        assert_eq!(tell(63, true, 15), None);
        assert_eq!(tell(121, true, 16), Some(Tell::Loses { lost: 6 }));
        assert_eq!(tell(300, true, 16), None);
        assert_eq!(tell(301, false, 20), Some(Tell::Fails { lost: 4 }));
        assert_eq!(tell(361, false, 25), Some(Tell::Loses { lost: 5 }));
    }
}
