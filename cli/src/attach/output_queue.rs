//! Text that waits for the terminal: bounded, so that a stream is read no faster than the terminal takes it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How much may wait, in bytes.
const MAX_WAITING: usize = 256 << 10;

/// How much is given to the terminal at once, in bytes. A key that is pressed meanwhile is shown behind it.
pub(super) const PORTION: usize = 16 << 10;

/// How long small pieces are gathered before they are written.
const FRAME: Duration = Duration::from_millis(15);

/// Text between the stream, which adds it, and the terminal.
#[derive(Default, Debug)]
pub(super) struct OutputQueue {
    waiting: Mutex<String>,
    room: Condvar,
}

impl OutputQueue {
    /// Adds a text as there is room for it, and waits for room. `wake` is called where the queue was empty.
    pub(super) fn put(&self, mut text: &str, wake: impl Fn()) {
        while !text.is_empty() {
            let mut waiting = self.waiting();
            while waiting.len() >= MAX_WAITING {
                waiting = self.room.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            // There is room for one character at least, though it may go a little beyond.
            let first = text.chars().next().map_or(0, char::len_utf8);
            let (now, later) = text.split_at(boundary(text, MAX_WAITING - waiting.len()).max(first));
            let was_empty = waiting.is_empty();
            waiting.push_str(now);
            text = later;
            drop(waiting);
            if was_empty {
                wake();
            }
        }
    }

    /// Adds a text whether there is room or not: for the loop that makes room, which must not wait for it.
    pub(super) fn put_at_once(&self, text: &str) {
        self.waiting().push_str(text);
    }

    /// What is to be shown next; whole lines, where they are not too long.
    pub(super) fn take(&self) -> String {
        let mut waiting = self.waiting();
        let end = portion(&waiting);
        let taken = waiting.drain(..end).collect();
        self.room.notify_one();
        taken
    }

    /// How much waits, in bytes.
    pub(super) fn len(&self) -> usize {
        self.waiting().len()
    }

    fn waiting(&self) -> MutexGuard<'_, String> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When what waits is to be shown: at once if it is a lot, or if nothing has been shown for a while.
pub(super) fn due(waiting: usize, shown: Option<Instant>) -> Option<Instant> {
    shown.filter(|_| waiting < PORTION).map(|shown| shown + FRAME)
}

/// How much of what waits is shown at once. No sequence that switches a colour is cut.
fn portion(waiting: &str) -> usize {
    let most = boundary(waiting, PORTION);
    let end =
        if most < waiting.len() { waiting[..most].rfind('\n').map_or(most, |end| end + 1) } else { most };
    match waiting[..end].rfind('\x1b') {
        Some(begun) if !waiting[begun..end].contains('m') => begun,
        _ => end,
    }
}

/// The last place between two characters that is not beyond this one.
fn boundary(text: &str, most: usize) -> usize {
    (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn portions_end_with_lines() {
        assert_eq!(portion("a\nb"), 3);
        let lines = "0123456\n".repeat(PORTION);
        assert_eq!(portion(&lines), PORTION);
        assert_eq!(portion(&lines[1..]), PORTION - 1);
        assert_eq!(portion(&"x".repeat(2 * PORTION)), PORTION);
        assert_eq!(portion(&format!("x{}", "é".repeat(PORTION))), PORTION - 1);
    }

    #[test]
    fn no_colour_is_cut() {
        assert_eq!(portion("abc\x1b[2"), 3);
        assert_eq!(portion("abc\x1b[2m"), 7);
        let cut = format!("{}\x1b[2mx", "x".repeat(PORTION - 2));
        assert_eq!(portion(&cut), PORTION - 2);
    }

    #[test]
    fn what_waits_is_bounded_and_nothing_is_lost() {
        let text = "0123456789 é\n".repeat(MAX_WAITING / 4);
        let (queue, woken) = (OutputQueue::default(), AtomicBool::new(false));
        let mut shown = String::new();
        thread::scope(|scope| {
            scope.spawn(|| queue.put(&text, || woken.store(true, Ordering::SeqCst)));
            while shown.len() < text.len() {
                assert!(queue.len() <= MAX_WAITING);
                shown.push_str(&queue.take());
                thread::yield_now();
            }
        });
        assert!(shown == text);
        assert!(woken.load(Ordering::SeqCst));
    }

    #[test]
    fn small_pieces_are_gathered() {
        let now = Instant::now();
        assert_eq!(due(1, None), None);
        assert_eq!(due(1, Some(now)), Some(now + FRAME));
        assert_eq!(due(PORTION, Some(now)), None);
    }
}
