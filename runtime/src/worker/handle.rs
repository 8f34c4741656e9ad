//! What other threads tell a worker's thread.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sekisho_acp::limits::MAX_QUEUED_PROMPTS;

use super::{MAX_QUEUED_BYTES, MAX_QUEUED_INPUTS, TerminalSize};

/// How many interrupts are remembered that were not passed on yet; one more would change nothing.
const MAX_INTERRUPTS: u32 = 8;

/// How a worker is told to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// Ask its processes, and kill them when this time is over.
    Stop(Duration),
    /// Kill them.
    Cancel,
}

/// Why an input was not queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Undeliverable {
    /// The queue is full.
    Full,
    /// The process takes no more input: it has closed its end, was told of the end, or ends.
    Closed,
}

/// An input that waits for the process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Input {
    /// A line, without its end.
    Line(Arc<str>),
    /// Bytes as they are.
    Raw(Bytes),
    /// The end of input.
    End,
}

impl Input {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Line(text) => text.as_bytes(),
            Self::Raw(bytes) => bytes,
            Self::End => &[],
        }
    }
}

/// A worker's process, as others than its thread see it. Nothing in here waits for the process.
pub(crate) struct Handle {
    has_terminal: bool,
    capacity: Capacity,
    inside: Mutex<Inside>,
    waker: UnixStream,
    wake_fd: UnixStream,
}

/// How many inputs may wait.
#[derive(Clone, Copy)]
struct Capacity {
    max: usize,
    /// Whether one waits until it is delivered, and not only until it is taken.
    until_delivered: bool,
}

#[derive(Default)]
struct Inside {
    inputs: VecDeque<Input>,
    /// Those that were taken and are not delivered.
    taken: usize,
    /// Of the queued inputs and of the one that is being written.
    bytes: usize,
    closed: bool,
    interrupts: u32,
    size: Option<TerminalSize>,
    order: Option<Order>,
}

impl Inside {
    fn room_for(&self, capacity: Capacity, length: usize) -> Result<(), Undeliverable> {
        let taken = if capacity.until_delivered { self.taken } else { 0 };
        if self.closed {
            Err(Undeliverable::Closed)
        } else if self.inputs.len() + taken >= capacity.max || self.bytes + length > MAX_QUEUED_BYTES {
            Err(Undeliverable::Full)
        } else {
            Ok(())
        }
    }
}

impl Handle {
    /// The handle of a process that is still to be started, with a terminal or without.
    pub(crate) fn new(has_terminal: bool) -> io::Result<Self> {
        Self::with_capacity(has_terminal, Capacity { max: MAX_QUEUED_INPUTS, until_delivered: false })
    }

    /// The handle of an agent that is still to be started. A prompt waits until its turn is over.
    pub(crate) fn of_agent() -> io::Result<Self> {
        // Beside those that wait there is the one whose turn is under way.
        Self::with_capacity(false, Capacity { max: MAX_QUEUED_PROMPTS + 1, until_delivered: true })
    }

    fn with_capacity(has_terminal: bool, capacity: Capacity) -> io::Result<Self> {
        let (waker, wake_fd) = UnixStream::pair()?;
        waker.set_nonblocking(true)?;
        wake_fd.set_nonblocking(true)?;
        Ok(Self { has_terminal, capacity, inside: Mutex::default(), waker, wake_fd })
    }

    /// Every change in here is complete before anything could panic, so that a poisoned lock guards sound data.
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an input of this length would be queued now. Where one thread at a time writes, room only grows
    /// until it does.
    pub(crate) fn room_for(&self, length: usize) -> Result<(), Undeliverable> {
        self.inside().room_for(self.capacity, length)
    }

    /// Queues a line, which is written with its end: a newline, or what the Enter key is on its terminal.
    pub(crate) fn write(&self, line: Arc<str>) -> Result<(), Undeliverable> {
        self.queue(Input::Line(line))
    }

    /// Queues bytes, which are written as they are.
    pub(crate) fn write_raw(&self, bytes: Bytes) -> Result<(), Undeliverable> {
        self.queue(Input::Raw(bytes))
    }

    /// Queues the end of input: standard input is closed, and takes nothing after that. On a terminal its end-of-file
    /// character is typed, which ends what is read at that time only.
    pub(crate) fn close_input(&self) -> Result<(), Undeliverable> {
        self.queue(Input::End)
    }

    fn queue(&self, input: Input) -> Result<(), Undeliverable> {
        let length = input.bytes().len();
        let mut inside = self.inside();
        inside.room_for(self.capacity, length)?;
        inside.bytes += length;
        inside.closed |= input == Input::End && !self.has_terminal;
        inside.inputs.push_back(input);
        drop(inside);
        self.wake();
        Ok(())
    }

    /// Interrupts: SIGINT for the program's process group, or the interrupt character of its terminal. It does not wait
    /// behind what is queued.
    pub(crate) fn interrupt(&self) {
        let mut inside = self.inside();
        inside.interrupts = (inside.interrupts + 1).min(MAX_INTERRUPTS);
        drop(inside);
        self.wake();
    }

    /// Changes the size of the terminal. Without one it does nothing.
    pub(crate) fn resize(&self, size: TerminalSize) {
        self.inside().size = Some(size);
        self.wake();
    }

    /// Asks the process, and all that it started, to end, and kills what is left when the time of grace is over.
    /// Nothing happens where it was told to end before.
    pub(crate) fn stop(&self, grace: Duration) {
        self.inside().order.get_or_insert(Order::Stop(grace));
        self.wake();
    }

    /// Kills the process and all that it started.
    pub(crate) fn cancel(&self) {
        self.inside().order = Some(Order::Cancel);
        self.wake();
    }

    /// How it was told to end.
    pub(crate) fn order(&self) -> Option<Order> {
        self.inside().order
    }

    /// The next input. It counts as queued until it is [`delivered`](Self::delivered).
    pub(super) fn next_input(&self) -> Option<Input> {
        let mut inside = self.inside();
        let input = inside.inputs.pop_front()?;
        inside.taken += 1;
        Some(input)
    }

    pub(super) fn delivered(&self, input: &Input) {
        let mut inside = self.inside();
        inside.bytes = inside.bytes.saturating_sub(input.bytes().len());
        inside.taken = inside.taken.saturating_sub(1);
    }

    /// How many interrupts there were since the last call.
    pub(super) fn take_interrupts(&self) -> u32 {
        std::mem::take(&mut self.inside().interrupts)
    }

    /// The size that was asked for since the last call.
    pub(super) fn take_size(&self) -> Option<TerminalSize> {
        self.inside().size.take()
    }

    /// Takes no more input, and forgets what is queued.
    pub(super) fn close(&self) {
        let mut inside = self.inside();
        inside.closed = true;
        inside.inputs.clear();
    }

    /// Has the thread look whether there is something to do.
    pub(crate) fn wake(&self) {
        // Where the buffer is full the thread is going to look anyway.
        let _ = (&self.waker).write(&[0]);
    }

    /// Becomes readable when there may be news.
    pub(super) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake_fd.as_fd()
    }

    /// Makes [`wake_fd`](Self::wake_fd) wait for the next news. Those that there are have to be looked at afterwards.
    pub(super) fn drain(&self) {
        let mut rings = [0; 64];
        while matches!((&self.wake_fd).read(&mut rings), Ok(count) if count == rings.len()) {}
    }
}
