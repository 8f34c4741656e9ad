//! Messages of the other threads to the loop.

use std::any::Any;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender, TryIter};
use std::thread;

use sekisho_core::runtime_api::WorkerEnd;

use super::open_requests::OpenRequests;
use crate::failure::Failure;

/// How many messages may wait for the loop. A thread that has one more waits until there is room.
const MAX_MESSAGES: usize = 256;

/// What the other threads tell the loop.
pub(super) enum Message {
    /// What the user had sent before.
    History(Vec<String>),
    /// Whether the worker can be reached, and is the one that was attached to.
    Reachable(bool),
    /// Whether the worker says that it is at work.
    Busy(bool),
    /// The questions of the worker that are open.
    Requests(OpenRequests),
    /// The first of the lines was taken, or not.
    Sent(Result<(), Failure>),
    /// A stop, a cancel or the like was answered.
    Answered(Result<String, Failure>),
    /// The stream has ended: with the worker, or for this reason.
    StreamEnded(Result<Option<WorkerEnd>, Failure>),
    /// A signal came.
    Signal(i32),
    /// A thread panicked.
    Panicked(Box<dyn Any + Send>),
}

/// Wakes the loop. Cheap to clone.
#[derive(Clone)]
pub(super) struct Waker(Arc<UnixStream>);

impl Waker {
    pub(super) fn wake(&self) {
        // Where it is full, the loop has been woken already.
        let _ = (&*self.0).write(&[0]);
    }
}

/// Where the other threads leave messages. Cheap to clone.
#[derive(Clone)]
pub(super) struct Sender {
    messages: SyncSender<Message>,
    waker: Waker,
}

/// The loop's end.
pub(super) struct Mailbox {
    messages: Receiver<Message>,
    wake_fd: UnixStream,
}

/// A mailbox, and where messages for it are left.
pub(super) fn mailbox() -> io::Result<(Sender, Mailbox)> {
    let (wake_fd, waker) = UnixStream::pair()?;
    wake_fd.set_nonblocking(true)?;
    waker.set_nonblocking(true)?;
    let (messages, receiver) = mpsc::sync_channel(MAX_MESSAGES);
    let sender = Sender { messages, waker: Waker(Arc::new(waker)) };
    Ok((sender, Mailbox { messages: receiver, wake_fd }))
}

impl Sender {
    /// What wakes the loop.
    pub(super) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Leaves a message.
    pub(super) fn send(&self, message: Message) {
        // Where the loop is over, no message matters.
        let _ = self.messages.send(message);
        self.waker.wake();
    }

    /// Does something in a thread of its own, and leaves what came of it.
    pub(super) fn spawn(&self, work: impl FnOnce() -> Message + Send + 'static) {
        let sender = self.clone();
        thread::spawn(move || {
            sender.send(panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(Message::Panicked));
        });
    }
}

impl Mailbox {
    /// What is readable once there is a message, or the loop is to look at its other work.
    pub(super) fn wake_fd(&self) -> &UnixStream {
        &self.wake_fd
    }

    /// The messages that are there.
    pub(super) fn messages(&self) -> TryIter<'_, Message> {
        self.messages.try_iter()
    }

    /// Makes the descriptor unreadable again, before the messages are taken.
    pub(super) fn drain(&self) {
        let _ = (&self.wake_fd).read(&mut [0; 64]);
    }
}
