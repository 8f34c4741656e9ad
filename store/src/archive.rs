//! What a reader finds in a store, whichever kind of store it is.

use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::{RuntimeLimits, RuntimeStatus, TranscriptItem, WorkerDetail, WorkerStatus};

use crate::problem::{Problem, WorkerProblem};

/// A store that is read while its owner runs, or after. Reading changes nothing.
///
/// All functions read files and so may wait for a disk. None waits for the store's owner.
pub trait Archive: Send + Sync {
    /// What the runtime said of itself.
    fn runtime(&self) -> Result<StoredRuntime, Problem>;

    /// All workers, oldest first, with the problems of those that cannot be shown.
    fn workers(&self) -> Result<StoredWorkers, Problem>;

    /// One worker; `None` where there is no such worker.
    fn worker(&self, worker_id: &WorkerId) -> Result<Option<WorkerDetail>, Problem>;

    /// At most `limit` items of a worker's transcript from the offset `start` on; fewer where they would be over
    /// `max_bytes` of text, but not none for that. `None` where there is no such worker.
    fn transcript(&self, worker_id: &WorkerId, window: Window) -> Result<Option<StoredPage>, Problem>;
}

/// Which part of a transcript is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// How many items of the beginning to pass over.
    pub start: u64,
    /// The most items.
    pub limit: usize,
    /// The most text, in bytes. The first item is given whatever its size.
    pub max_bytes: usize,
}

/// What a stored runtime said of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredRuntime {
    /// What people call it.
    pub display_name: Option<String>,
    /// The name by which v1 knows the kind of store.
    pub backend: String,
    /// What it last said. That it says `running` does not mean that anything runs.
    pub status: RuntimeStatus,
    /// The bounds of its replies.
    pub limits: RuntimeLimits,
    /// How many diagnostics it keeps of its own.
    pub diagnostics: u64,
}

/// The workers of a store.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoredWorkers {
    /// Those that can be shown, oldest first. Their ids are any text.
    pub workers: Vec<WorkerDetail>,
    /// What is wrong with those that cannot.
    pub problems: Vec<WorkerProblem>,
    /// What is wrong with the list.
    pub incomplete: Option<Problem>,
}

impl StoredWorkers {
    /// How many workers have this status.
    pub fn count(&self, status: WorkerStatus) -> u64 {
        self.workers.iter().filter(|worker| worker.status == status).count() as u64
    }
}

/// A part of a transcript.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoredPage {
    /// How many items there ever were.
    pub total: u64,
    /// The items.
    pub items: Vec<TranscriptItem>,
    /// The offset to go on from; `None` where nothing follows.
    pub next: Option<u64>,
    /// What is wrong with items that were left out.
    pub problems: Vec<Problem>,
}

/// What a search in a transcript has found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FoundItems {
    /// The items that hold the text, newest first.
    pub items: Vec<TranscriptItem>,
    /// Where there may be more: items of a smaller sequence than this have not been looked at. `None` at the end.
    pub next_before: Option<u64>,
}
