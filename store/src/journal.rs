//! sekisho's own store: what a runtime remembers, in a folder that it has to itself (`docs/stores.md`).
//!
//! # The life of a journal
//!
//! 1. [`Journal::open`] takes the folder, puts in order what an owner that ended at once has left, and gives back
//!    everything that is small: the runtime's record, its workers, what they wait for, what was answered.
//! 2. [`Journal::note`] takes note of what happened. It never waits for a disk, so that it may be called under a lock.
//!    What is noted in one go is kept whole or not at all.
//! 3. [`Journal::wait`] returns when everything up to a [`Ticket`] will survive a loss of power. It is called before
//!    anything is acknowledged. All who wait share one wait for the disk.
//! 4. [`Journal::reader`] reads transcripts and events back, while the writer writes.
//! 5. [`Journal::close`] writes what is left. Dropping a journal does the same.
//!
//! # What lasts
//!
//! A note that was waited for is there after `kill -9` and after a loss of power. One that was not may be behind by
//! [`Options::output_delay`] and the time of one batch. Whatever is there is a beginning of what was noted, in order.
//!
//! Places of events are promised to the disk before they are given out ([`Recovered::last_place`]): after an end at
//! once, the first new place is larger than every place that a viewer may ever have seen.
//!
//! # When the disk does not take it
//!
//! While writing fails, [`Journal::failing`] tells why, and [`Journal::wait`] ends with that error. What was noted is
//! kept in memory up to a bound and written as soon as that is possible again, by itself. Beyond the bound,
//! output is given up from its oldest on, together with what is stored before it, so that what is stored has a
//! beginning that is gone and never a hole.

mod commits;
mod engine;
mod foreign;
mod load;
mod lock;
mod maintained;
mod query;
mod record;
mod schema;
mod shared;
mod tidy;
mod wal;
pub mod writer;
mod writing;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sekisho_core::id::RuntimeId;

pub use commits::Commits;
pub(crate) use engine::status_word;
pub use foreign::ForeignStore;
pub use load::{DamagedWorker, KeptWorker, Recovered};
pub(crate) use maintained::Maintained;
pub use query::{ItemWindow, ReadBack, Reader, SEARCH_BYTES, SearchPage};
pub use record::{
    AnswerRow, EventRow, Extent, ItemRow, Millis, Payload, Record, Stopping, StoredEvent, StoredEvents,
    WorkerNo, WorkerRow,
};
pub use schema::VERSION;
pub use writing::{Clock, Writing};

/// How much noted and not yet written output is well, in bytes. Beyond it [`Journal::has_room`] says no.
pub const MAX_PENDING_BYTES: usize = 8 * 1024 * 1024;

/// How long the answer to a command with an idempotency key is kept.
pub const ANSWER_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// How many such answers are kept to commands about one worker, and how many to creates; the oldest goes first.
pub const MAX_ANSWERS: usize = 1024;

/// How a journal is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// When output becomes durable.
    pub durability: Durability,
    /// How long output waits for more of it, so that one wait for the disk is enough for both.
    pub output_delay: Duration,
    /// What is let go of.
    pub retention: Retention,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::OutputAsync,
            output_delay: Duration::from_millis(50),
            retention: Retention::default(),
        }
    }
}

/// When what a worker wrote becomes durable. What a client was told always is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// As soon as the disk takes it.
    Commit,
    /// After [`Options::output_delay`], together with all that was written by then.
    #[default]
    OutputAsync,
}

/// The bounds of what is kept. Up to an eighth more may be kept than a bound says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// How many items of a worker's transcript.
    pub items: u64,
    /// How much text of a worker's transcript, in bytes.
    pub item_bytes: u64,
    /// How many events of a worker.
    pub events: u64,
    /// How much of a worker's events that is not text of its transcript, in bytes.
    pub event_bytes: u64,
    /// How old an item may become; `None` for any age.
    pub max_age: Option<Duration>,
    /// How much of all workers together, in bytes. Those that ended first make room.
    pub total_bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            items: 65_536,
            item_bytes: 16 << 20,
            events: 16_384,
            event_bytes: 4 << 20,
            max_age: None,
            total_bytes: 4 << 30,
        }
    }
}

/// Whose store it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The runtime's id. A store of another one is not opened.
    pub runtime_id: RuntimeId,
    /// What people call it.
    pub display_name: Option<String>,
    /// What a store that is new is given for its incarnation.
    pub incarnation: String,
}

/// Why a store was not opened. No message holds a path: the caller knows which one it gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it.
    #[error("the store is in use by another process")]
    InUse,
    /// It is another runtime's.
    #[error("the store belongs to another runtime")]
    OtherRuntime,
    /// A later version of this program has written it.
    #[error("the store is of version {found}, and this program knows versions up to {known}")]
    OtherVersion {
        /// The version that the store gives.
        found: i64,
        /// The newest version that is known.
        known: i64,
    },
    /// What is in the folder is something else.
    #[error("what is there is not a store of a runtime")]
    NotAStore,
    /// What is in the folder cannot be made sense of.
    #[error("the store is damaged")]
    Damaged,
    /// The operating system refused.
    #[error("the store cannot be opened: {0}")]
    Io(io::ErrorKind),
}

/// Why something could not be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// There is no room on the disk.
    #[error("there is no room on the disk")]
    Full,
    /// The disk or the file system failed.
    #[error("the disk could not be written")]
    Io,
    /// What is stored is damaged.
    #[error("the store is damaged")]
    Damaged,
}

/// Why something could not be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The disk or the file system failed.
    #[error("the store could not be read (SQLite's code {code})")]
    Io {
        /// SQLite's extended result code (<https://www.sqlite.org/rescode.html>).
        code: i32,
    },
    /// What is stored is not what was written.
    #[error("what is stored is damaged")]
    Damaged,
}

/// Stands for everything that was noted up to one note.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Ticket(pub u64);

/// An open store of which this process is the owner. See the [module](self).
pub struct Journal {
    shared: Arc<shared::Shared>,
    commits: Arc<commits::Counts>,
    thread: Mutex<Option<JoinHandle<()>>>,
    reader: Box<dyn ReadBack>,
    /// Let go of after everything else.
    _ownership: Option<lock::Ownership>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the store in a folder, which is made where there is none.
    pub fn open(
        folder: &Path,
        identity: &Identity,
        options: Options,
    ) -> Result<(Self, Recovered), OpenError> {
        let (ownership, (engine, recovered)) =
            lock::own(folder, || load::load(folder, identity, options.retention))?;
        let reader = Box::new(Reader::of_owner(folder.join(lock::DATABASE)));
        let shared = shared::Shared::new(&options, Box::new(shared::now));
        let of_thread = Arc::clone(&shared);
        let commits: Arc<commits::Counts> = Arc::default();
        let engine = commits::Counted { engine, counts: Arc::clone(&commits) };
        let thread = thread::Builder::new().name("store".into()).spawn(move || of_thread.run(engine));
        let thread = Mutex::new(Some(thread.map_err(|error| OpenError::Io(error.kind()))?));
        Ok((Self { shared, commits, thread, reader, _ownership: Some(ownership) }, recovered))
    }

    /// A journal that is kept by its caller, who drives its [writer](Writing) and reads back what that has written: on
    /// another engine, or at another time than that of this machine.
    pub fn driven(options: &Options, clock: Clock, reader: Box<dyn ReadBack>) -> (Self, Writing) {
        let shared = shared::Shared::new(options, clock);
        let writing = Writing::new(Arc::clone(&shared));
        let (commits, thread) = (Arc::default(), Mutex::new(None));
        (Self { shared, commits, thread, reader, _ownership: None }, writing)
    }

    /// Takes note of something that happened, as a whole.
    pub fn note(&self, records: impl IntoIterator<Item = Record>) -> Ticket {
        self.shared.note(records)
    }

    /// Returns when everything up to `ticket` is durable, or with the error of the first attempt that failed
    /// meanwhile. What was noted is not taken back by that: it becomes durable once that is possible.
    pub fn wait(&self, ticket: Ticket) -> Result<(), WriteError> {
        self.shared.wait(ticket)
    }

    /// [`wait`](Self::wait) without blocking: while it is not known whether everything up to `ticket` is durable, the
    /// task of `context` is woken when it is.
    pub fn poll_durable(&self, ticket: Ticket, context: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        self.shared.poll_durable(ticket, context)
    }

    /// Everything that was noted so far.
    pub fn noted(&self) -> Ticket {
        self.shared.ask(writer::Writer::noted)
    }

    /// Everything that is durable, and so can be read back.
    pub fn written(&self) -> Ticket {
        self.shared.ask(writer::Writer::written)
    }

    /// How many commits there were, and how long they took.
    pub fn commits(&self) -> Commits {
        self.commits.read()
    }

    /// Whether more output is welcome: the disk keeps up, or has failed, so that waiting for it would not end.
    pub fn has_room(&self) -> bool {
        self.shared.ask(writer::Writer::has_room)
    }

    /// Why nothing can be written at present, while that is so.
    pub fn failing(&self) -> Option<WriteError> {
        self.shared.ask(writer::Writer::failing)
    }

    /// Whether what is stored of a worker was found to be damaged when more of it was to be written.
    pub fn is_damaged(&self, worker: WorkerNo) -> bool {
        self.shared.ask(|writer| writer.is_damaged(worker))
    }

    /// Reads what is durable.
    pub fn reader(&self) -> &dyn ReadBack {
        &*self.reader
    }

    /// Writes what is left. What is noted later is never written; reading goes on.
    pub fn finish(&self) -> Result<(), WriteError> {
        // So that the last connection to the database is the writer's, which then tidies it up.
        self.reader.rest();
        self.shared.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A writer that panicked has nothing left to say.
        let _ = thread.map(JoinHandle::join);
        if self.written() >= self.noted() { Ok(()) } else { Err(self.failing().unwrap_or(WriteError::Io)) }
    }

    /// Writes what is left and lets go of the folder.
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

/// Whether a folder has a store of ours in it.
pub fn is_store(folder: &Path) -> bool {
    folder.join(lock::DATABASE).exists()
}

#[cfg(test)]
pub(crate) mod tests;
