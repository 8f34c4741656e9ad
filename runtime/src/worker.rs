//! Workers that are processes: what the runtime and a worker's thread have between them.

mod attendant;
mod lines;
mod process;

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use attendant::{Attended, End, Launch, Unkept, attend};

/// How many inputs wait for a worker that does not read.
pub const MAX_QUEUED_INPUTS: usize = 256;

/// How much text waits for a worker that does not read, in bytes.
pub const MAX_QUEUED_BYTES: usize = 2 * 1024 * 1024;

/// The longest input, in bytes: a queue that is empty has room for it.
pub const MAX_INPUT_BYTES: usize = 1024 * 1024;

/// How a worker is told to end. The later order is the stronger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Order {
    /// Ask the process, and kill it when the time of grace is over.
    Stop,
    /// Kill it.
    Kill,
}

/// Why an input was not queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Undeliverable {
    /// The queue is full.
    Full,
    /// The process has closed its standard input.
    Closed,
}

/// What one worker's thread is told, and by what it is woken.
pub(crate) struct Mailbox {
    inside: Mutex<Inside>,
    bell: UnixStream,
    ear: UnixStream,
}

#[derive(Default)]
struct Inside {
    inputs: VecDeque<Arc<str>>,
    /// Of the queued inputs and of the one that is being written.
    bytes: usize,
    closed: bool,
    order: Option<Order>,
}

impl Inside {
    fn room_for(&self, length: usize) -> Result<(), Undeliverable> {
        if self.closed {
            Err(Undeliverable::Closed)
        } else if self.inputs.len() >= MAX_QUEUED_INPUTS || self.bytes + length > MAX_QUEUED_BYTES {
            Err(Undeliverable::Full)
        } else {
            Ok(())
        }
    }
}

impl Mailbox {
    pub(crate) fn new() -> io::Result<Self> {
        let (bell, ear) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        Ok(Self { inside: Mutex::default(), bell, ear })
    }

    /// Every change in here is complete before anything could panic, so that a poisoned lock guards sound data.
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an input of this length would be queued now. Where one thread at a time posts, room only grows
    /// until it does.
    pub(crate) fn room_for(&self, length: usize) -> Result<(), Undeliverable> {
        self.inside().room_for(length)
    }

    /// Queues an input.
    pub(crate) fn post(&self, input: Arc<str>) -> Result<(), Undeliverable> {
        let mut inside = self.inside();
        inside.room_for(input.len())?;
        inside.bytes += input.len();
        inside.inputs.push_back(input);
        drop(inside);
        self.ring();
        Ok(())
    }

    /// Gives an order, unless a stronger one was given before.
    pub(crate) fn order(&self, order: Order) {
        let mut inside = self.inside();
        inside.order = inside.order.max(Some(order));
        drop(inside);
        self.ring();
    }

    /// The order that was given.
    pub(crate) fn ordered(&self) -> Option<Order> {
        self.inside().order
    }

    /// The next input. It counts as queued until it is [`delivered`](Self::delivered).
    fn next_input(&self) -> Option<Arc<str>> {
        self.inside().inputs.pop_front()
    }

    fn delivered(&self, input: &str) {
        let mut inside = self.inside();
        inside.bytes = inside.bytes.saturating_sub(input.len());
    }

    /// Takes no more input, and forgets what is queued.
    fn close(&self) {
        let mut inside = self.inside();
        inside.closed = true;
        inside.inputs.clear();
    }

    fn ring(&self) {
        // Where the bell's buffer is full the thread is going to look anyway.
        let _ = (&self.bell).write(&[0]);
    }

    /// Becomes readable when there may be news.
    fn ear(&self) -> BorrowedFd<'_> {
        self.ear.as_fd()
    }

    /// Makes the bell silent again. Whoever calls it looks at the news afterwards.
    fn hush(&self) {
        let mut rings = [0; 64];
        while matches!((&self.ear).read(&mut rings), Ok(count) if count == rings.len()) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_bounded_by_count() {
        let mailbox = Mailbox::new().unwrap();
        for _ in 0..MAX_QUEUED_INPUTS {
            assert_eq!(mailbox.post("x".into()), Ok(()));
        }
        assert_eq!(mailbox.post("x".into()), Err(Undeliverable::Full));
        assert_eq!(mailbox.next_input().as_deref(), Some("x"));
        assert_eq!(mailbox.post("x".into()), Ok(()));
    }

    #[test]
    fn queues_are_bounded_by_bytes_until_delivery() {
        let mailbox = Mailbox::new().unwrap();
        let input: Arc<str> = "x".repeat(MAX_INPUT_BYTES).into();
        assert_eq!(mailbox.post(Arc::clone(&input)), Ok(()));
        assert_eq!(mailbox.post(Arc::clone(&input)), Ok(()));
        assert_eq!(mailbox.post("x".into()), Err(Undeliverable::Full));
        assert_eq!(mailbox.next_input().as_ref(), Some(&input));
        assert_eq!(mailbox.post("x".into()), Err(Undeliverable::Full));
        mailbox.delivered(&input);
        assert_eq!(mailbox.post("x".into()), Ok(()));
    }

    #[test]
    fn a_closed_mailbox_stays_closed() {
        let mailbox = Mailbox::new().unwrap();
        mailbox.post("x".into()).unwrap();
        mailbox.close();
        assert_eq!(mailbox.next_input(), None);
        assert_eq!(mailbox.post("x".into()), Err(Undeliverable::Closed));
    }

    #[test]
    fn orders_grow_stronger_only() {
        let mailbox = Mailbox::new().unwrap();
        assert_eq!(mailbox.ordered(), None);
        for (order, expected) in
            [(Order::Stop, Order::Stop), (Order::Kill, Order::Kill), (Order::Stop, Order::Kill)]
        {
            mailbox.order(order);
            assert_eq!(mailbox.ordered(), Some(expected));
        }
    }
}
