//! What the loop of a worker waits for.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::handle::Handle;
use super::process::{Process, Stream};

/// How often a loop looks whether those who follow have caught up.
pub(super) const CROWDED_TICK: Duration = Duration::from_millis(5);

/// What a descriptor of a worker's loop is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Watched {
    /// What wakes the loop for an order.
    Waker,
    /// The launcher's side of the process.
    News,
    /// Where the process reads.
    Input,
    /// Standard output, or the terminal.
    Output,
    /// Standard error.
    Error,
}

/// The descriptors that a loop waits for.
pub(super) struct PollSet<'a> {
    watched: Vec<Watched>,
    fds: Vec<PollFd<'a>>,
    has_room: bool,
}

impl<'a> PollSet<'a> {
    /// Waits for orders and for news of the process while it is there, and for its output while there is room for it.
    pub(super) fn new(
        handle: &'a Handle,
        process: Option<&'a Process>,
        output: &'a Stream,
        error: &'a Stream,
        has_room: bool,
    ) -> Self {
        let mut set = Self { watched: Vec::with_capacity(5), fds: Vec::with_capacity(5), has_room };
        if let Some(process) = process {
            set.add(Watched::Waker, handle.wake_fd(), PollFlags::IN);
            set.add(Watched::News, process.news_fd(), PollFlags::IN);
        }
        for (watched, stream) in [(Watched::Output, output), (Watched::Error, error)] {
            if let Some(fd) = stream.fd().filter(|_| has_room) {
                set.add(watched, fd, PollFlags::IN);
            }
        }
        set
    }

    /// Waits for the input of the process, too: until it can take more, or until no process can read it any more.
    pub(super) fn watch_input(&mut self, input: &'a impl AsFd, is_writing: bool) {
        // Without a flag it still tells when no process can read it any more.
        let flags = if is_writing { PollFlags::OUT } else { PollFlags::empty() };
        self.add(Watched::Input, input.as_fd(), flags);
    }

    fn add(&mut self, watched: Watched, fd: BorrowedFd<'a>, flags: PollFlags) {
        self.watched.push(watched);
        self.fds.push(PollFd::from_borrowed_fd(fd, flags));
    }

    /// Waits until there is something, until the instant, or for so long at most.
    pub(super) fn wait(
        mut self,
        due: Option<Instant>,
        at_most: Option<Duration>,
    ) -> impl Iterator<Item = (Watched, PollFlags)> + use<> {
        let until_due = due.map(|due| due.saturating_duration_since(Instant::now()));
        let until_looked = (!self.has_room).then_some(CROWDED_TICK);
        let at_most = at_most.into_iter().chain(until_due).chain(until_looked).min();
        // A time that is too long for the system is as good as none.
        let timeout = at_most.and_then(|time| Timespec::try_from(time).ok());
        // Interrupted, or out of memory: the next turn asks again.
        let is_known = poll(&mut self.fds, timeout.as_ref()).is_ok();
        let flags: Vec<PollFlags> = self.fds.iter().map(PollFd::revents).collect();
        let ready = self.watched.into_iter().zip(flags);
        ready.filter(move |(_, flags)| is_known && !flags.is_empty())
    }
}
