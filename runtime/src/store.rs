//! What a runtime remembers of its workers.

mod memory;

use std::sync::Arc;

use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::{CreateWorker, FaultCode, TranscriptItem, WireRef, WorkerStatus};

use crate::event::NumberedEvent;

pub(crate) use memory::MemoryStore;

/// Why a store did not do what it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(dead_code, reason = "the durable store is the one that can fail in these ways")]
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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    User,
    System,
    Assistant,
}

impl Role {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::System => "system",
            Self::Assistant => "assistant",
        }
    }
}

/// An event with what it changed: a store takes both or nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) event: NumberedEvent,
    pub(crate) change: Option<Change>,
}

/// What an event changed beside the stream that it stands in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// There is a new worker, and it runs.
    Created(Arc<CreateWorker>),
    /// The transcript grew by this.
    Said(Role, Arc<str>),
    /// The worker does not run any more, but has this status.
    Ended(WorkerStatus),
}

/// Whether a worker runs, and since which event it does not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Standing {
    pub(crate) status: WorkerStatus,
    pub(crate) ended_by: Option<u64>,
}

/// A worker without its transcript.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct WorkerRecord {
    pub(crate) worker_id: WorkerId,
    pub(crate) made_of: Arc<CreateWorker>,
    pub(crate) standing: Standing,
    pub(crate) transcript_len: u64,
    pub(crate) last_event_id: u64,
}

/// How many workers there are, by status.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Census {
    pub(crate) running: u64,
    pub(crate) stopped: u64,
    pub(crate) cancelled: u64,
}

impl Census {
    pub(crate) fn total(self) -> u64 {
        self.running + self.stopped + self.cancelled
    }
}

/// One entry of a transcript.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StoredItem {
    /// Counts from 1 within the worker.
    pub(crate) sequence: u64,
    pub(crate) role: Role,
    pub(crate) content: Arc<str>,
    pub(crate) event_id: u64,
}

impl StoredItem {
    /// The item as v1 shows it.
    pub(crate) fn on_the_wire(&self, worker_ref: &WireRef) -> TranscriptItem {
        TranscriptItem {
            sequence: self.sequence,
            worker_ref: worker_ref.clone(),
            role: self.role.as_str().to_owned(),
            content: self.content.as_ref().to_owned(),
            event_id: self.event_id,
            at: None,
            cont: false,
        }
    }
}

/// A piece of a transcript.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Page {
    /// How many items there ever were.
    pub(crate) total: u64,
    pub(crate) items: Vec<StoredItem>,
}

/// Where workers, transcripts and events are kept.
///
/// [`append`](Self::append) is called under the runtime's lock, in the order of event ids, and so must not wait for
/// a disk: it takes note. [`commit`](Self::commit) is called outside of it before anything is acknowledged, and
/// returns when all that was noted so far is as safe as the store can make it.
pub(crate) trait Store: Send + Sync {
    /// The name by which v1 knows the kind of store.
    fn backend(&self) -> &'static str;

    /// Takes in what happened, and tells how long the worker's transcript is now.
    fn append(&self, worker_id: &WorkerId, entry: Entry) -> Result<u64, StoreError>;

    /// Returns when everything taken in so far will survive whatever the store survives.
    fn commit(&self) -> Result<(), StoreError>;

    /// Whether there is such a worker, and how it stands.
    fn standing(&self, worker_id: &WorkerId) -> Result<Option<Standing>, StoreError>;

    /// One worker.
    fn worker(&self, worker_id: &WorkerId) -> Result<Option<WorkerRecord>, StoreError>;

    /// All workers, oldest first.
    fn workers(&self) -> Result<Vec<WorkerRecord>, StoreError>;

    /// How many workers there are.
    fn census(&self) -> Result<Census, StoreError>;

    /// At most `limit` items of a worker's transcript from the offset `start` on, or from the oldest that is kept
    /// where that is later; fewer where they would be over [`MAX_PAGE_BYTES`] of text, but never none.
    fn page(&self, worker_id: &WorkerId, start: u64, limit: usize) -> Result<Option<Page>, StoreError>;

    /// The newest of those items of a worker's transcript that the event `until` or an earlier one told, oldest
    /// first: at most `limit`, and no more than `max_bytes` of text, be it that there are none.
    fn newest(
        &self,
        worker_id: &WorkerId,
        until: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Option<Vec<StoredItem>>, StoreError>;
}

/// The most text of a page of more than one item. JSON may make six bytes of one, and the reply of a runtime is
/// not read beyond 8 MiB.
pub(crate) const MAX_PAGE_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_code() {
        for (error, code) in [
            (StoreError::Io, FaultCode::StoreIo),
            (StoreError::Missing, FaultCode::StoreMissing),
            (StoreError::Corrupt, FaultCode::StoreCorrupt),
            (StoreError::Poisoned, FaultCode::StatePoisoned),
        ] {
            assert_eq!(error.code(), code);
            assert!(!error.to_string().is_empty());
        }
    }
}
