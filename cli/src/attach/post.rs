//! The way of the other threads to the loop.

use std::any::Any;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use crate::failure::Failure;

/// How many happenings may wait for the loop; whoever has one more waits, too.
const MAX_HAPPENINGS: usize = 256;

/// What the other threads tell.
pub(super) enum Happening {
    /// What the user had said before.
    Said(Vec<String>),
    /// The first of the lines was taken, or not.
    Sent(Result<(), Failure>),
    /// A stop or a cancel was answered.
    Answered(Result<String, Failure>),
    StreamEnded(Result<(), Failure>),
    Signal(i32),
    Panicked(Box<dyn Any + Send>),
}

/// The way of the other threads to the loop.
#[derive(Clone)]
pub(super) struct Post {
    happenings: SyncSender<Happening>,
    bell: Arc<UnixStream>,
}

impl Post {
    /// The way, what comes on it, and the bell that is rung with it.
    pub(super) fn new() -> io::Result<(Self, Receiver<Happening>, UnixStream)> {
        let (bell, ringer) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ringer.set_nonblocking(true)?;
        let (happenings, receiver) = mpsc::sync_channel(MAX_HAPPENINGS);
        Ok((Self { happenings, bell: Arc::new(ringer) }, receiver, bell))
    }

    pub(super) fn tell(&self, happening: Happening) {
        // Where the loop is over, nobody wants to know.
        let _ = self.happenings.send(happening);
        self.ring();
    }

    /// Wakes the loop.
    pub(super) fn ring(&self) {
        // A bell that is full has been rung.
        let _ = (&*self.bell).write(&[0]);
    }

    /// Does something in a thread of its own, and tells what came of it.
    pub(super) fn spawn(&self, work: impl FnOnce() -> Happening + Send + 'static) {
        let post = self.clone();
        thread::spawn(move || {
            post.tell(panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(Happening::Panicked));
        });
    }
}
