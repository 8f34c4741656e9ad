//! Where a runtime keeps what it has to remember.
//!
//! The runtime itself has the record of each worker in memory and answers from there. It reads a store once at its
//! start, and later only transcripts and events of before; all else that it asks of a store is to take in what
//! happened. So one thread of a store can write whatever has come together since its last write at once.

#[cfg(feature = "durable")]
mod durable;
mod memory;

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::{FaultCode, TranscriptItem, WireRef};

#[cfg(feature = "durable")]
pub use durable::{DurableOptions, DurableStore, OpenError, StoreDurability};
pub use memory::MemoryStore;

pub use crate::idempotency::{Fingerprint, KeptAnswer};
pub use crate::record::{AgentRecord, OpenRequest, Ordered, Phase, WorkerRecord};
pub use crate::timestamp::Timestamp;

/// Why a store did not do what it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Reading or writing failed.
    #[error("the store could not be read or written")]
    Io,
    /// Something that the store should have is not there.
    #[error("the store lacks the worker's records")]
    Missing,
    /// What is there is not what was written.
    #[error("the worker's records are damaged")]
    Corrupt,
    /// A thread died while it was changing the store.
    #[error("the store's state is in doubt since a thread of the runtime failed")]
    Poisoned,
}

impl StoreError {
    /// The code by which v1 knows it.
    pub fn code(self) -> FaultCode {
        match self {
            Self::Io => FaultCode::StoreIo,
            Self::Missing => FaultCode::StoreMissing,
            Self::Corrupt => FaultCode::StoreCorrupt,
            Self::Poisoned => FaultCode::StatePoisoned,
        }
    }
}

/// Who said what stands in a transcript.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// The worker's user.
    User,
    /// The system around the worker; also how the worker ended.
    System,
    /// The worker, on its standard output.
    Assistant,
    /// The worker, on its standard error.
    Stderr,
    /// An agent, to itself.
    Thinking,
}

impl Role {
    const ALL: [Self; 5] = [Self::User, Self::System, Self::Assistant, Self::Stderr, Self::Thinking];

    /// The role as v1 writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::System => "system",
            Self::Assistant => "assistant",
            Self::Stderr => "stderr",
            Self::Thinking => "thinking",
        }
    }

    /// The role of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

/// One item of a transcript.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredItem {
    /// Counts from 1 within the worker, without gaps.
    pub sequence: u64,
    /// Who said it.
    pub role: Role,
    /// What was said: a line without its end, a piece of one, or an input. At most 1 MiB.
    pub content: Arc<str>,
    /// The event that told it.
    pub event_id: u64,
    /// When it was said.
    pub at: Timestamp,
    /// Whether it continues the item before it.
    pub cont: bool,
}

impl StoredItem {
    /// The item as v1 shows it.
    pub fn to_wire(&self, worker_ref: &WireRef) -> TranscriptItem {
        TranscriptItem {
            sequence: self.sequence,
            worker_ref: worker_ref.clone(),
            role: self.role.as_str().to_owned(),
            content: self.content.as_ref().to_owned(),
            event_id: self.event_id,
            at: Some(self.at.to_string()),
            cont: self.cont,
        }
    }
}

/// One event of a worker's stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredEvent {
    /// Its place: counts over all workers of the runtime, so that it grows within a worker, with gaps.
    pub event_id: u64,
    /// The event as JSON: `{"event":NAME,"data":…}`.
    pub payload: Bytes,
}

/// One change to what is kept of one worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// Its record as it is from now on; the first of a worker is its creation. Between records `transcript_len`,
    /// `last_event_id` and `last_output_at` follow from items and events: [`Store::load`] brings them up to date.
    Record(Box<WorkerRecord>),
    /// It said something, or was told something.
    Item(StoredItem),
    /// Something happened.
    Event(StoredEvent),
    /// The answer to a request with an idempotency key.
    Answer(KeptAnswer),
    /// The worker is forgotten, with all that was kept of it.
    Forgotten,
}

/// How far a store had got when it took something in: later writes have higher tickets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Ticket(pub u64);

/// What a store had kept when its runtime started.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Loaded {
    /// What tells the state from that of all other starts; `None` where there was nothing. A runtime that finds
    /// nothing begins one, and [`Store::begin`]s with it.
    pub incarnation: Option<String>,
    /// An id at least as high as that of each event that a subscriber may have been told, including events that were
    /// not kept: a place in a stream must never mean two things.
    pub last_event_id: u64,
    /// All workers, in no order. Those that are not ended went with the runtime that wrote them.
    pub workers: Vec<WorkerRecord>,
    /// Workers whose records are damaged: whatever is asked of them is `store_corrupt`.
    pub corrupt: Vec<WorkerId>,
    /// Answers to requests with idempotency keys, oldest first.
    pub answers: Vec<KeptAnswer>,
    /// What was wrong and could be mended, for the log: no paths, no contents.
    pub diagnostics: Vec<String>,
}

/// A piece of a transcript.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    /// How many items the transcript has lost at its beginning.
    pub dropped: u64,
    /// The items, in order and without gaps.
    pub items: Vec<StoredItem>,
}

/// The newest events of a worker.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Backlog {
    /// The event before the first of them, from which a stream can be resumed, too.
    pub before: Option<u64>,
    /// The events, oldest first.
    pub events: Vec<StoredEvent>,
}

/// What a store has done since it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StoreFigures {
    /// Commits that are durable.
    pub committed: u64,
    /// Commits that failed, and were tried again.
    pub failed: u64,
    /// How long all of them took.
    pub commit_time: Duration,
}

/// Where workers, transcripts, events and answers are kept.
///
/// A worker that a store does not know has an empty transcript and no events.
pub trait Store: Send + Sync {
    /// The name by which v1 knows the kind of store.
    fn backend(&self) -> &'static str;

    /// Whether what was kept survives the runtime, so that agents can be taken up again.
    fn is_durable(&self) -> bool {
        self.backend() != MemoryStore::BACKEND
    }

    /// What was kept. Called once, before everything else; it may take its time.
    fn load(&self) -> Result<Loaded, StoreError>;

    /// Begins a state of its own, where [`load`](Self::load) found none.
    fn begin(&self, incarnation: &str) -> Result<(), StoreError>;

    /// Takes in what happened to one worker: all of it or nothing.
    ///
    /// It is called under the runtime's lock, in the order of event ids, and so must not wait for a disk. An error
    /// leaves the state of the runtime as it was.
    fn append(&self, worker_id: &WorkerId, writes: Vec<Write>) -> Result<Ticket, StoreError>;

    /// Whether everything up to a ticket will survive what the store survives; an error where something of it will
    /// not. While that is not known, the task of `context` is woken when it is. Called outside of the lock before
    /// anything is acknowledged.
    fn poll_durable(&self, ticket: Ticket, context: &mut Context<'_>) -> Poll<Result<(), StoreError>>;

    /// Why nothing can be made durable at present, while that is so. Commands that have to be durable are refused
    /// meanwhile, before anything is done; what workers say, and that they are to end, is appended all the same.
    fn failing(&self) -> Option<StoreError> {
        None
    }

    /// Whether more output of a worker is welcome. Where it is not, the worker is read no further for a moment, so that
    /// one that writes faster than the store waits in its pipe and not in memory.
    fn has_room(&self, worker_id: &WorkerId) -> bool {
        let _ = worker_id;
        true
    }

    /// At most `limit` items of a worker's transcript after the first `start`, or from the oldest that is kept where
    /// that is later; fewer where they would be over [`MAX_PAGE_BYTES`] of text, but never none. Items are seen as
    /// soon as they were taken in.
    fn page(&self, worker_id: &WorkerId, start: u64, limit: usize) -> Result<Page, StoreError>;

    /// The newest of those items of a worker's transcript that the event `until` or an earlier one told, oldest
    /// first: at most `limit`, and no more than `max_bytes` of text, even if that leaves none.
    fn newest(
        &self,
        worker_id: &WorkerId,
        until: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredItem>, StoreError>;

    /// The newest events of a worker: at most `limit`, and no more than `max_bytes` of payloads. Asked of workers from
    /// before the runtime's start, when they are first watched.
    fn backlog(&self, worker_id: &WorkerId, limit: usize, max_bytes: usize) -> Result<Backlog, StoreError>;

    /// What has been written so far, where that survives the runtime.
    fn figures(&self) -> Option<StoreFigures> {
        None
    }

    /// Writes what is still to be written. Called when the runtime has ended; it may take its time.
    fn close(&self) -> Result<(), StoreError>;
}

/// The most text of a page of more than one item, in bytes. JSON may make six bytes of one, and the reply of a
/// runtime is not read beyond 8 MiB.
pub const MAX_PAGE_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests;
