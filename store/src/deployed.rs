//! The file store of deployed runtimes, schema 1, read only (`docs/stores.md`).
//!
//! ```text
//! ROOT/runtimes/id-<hex of the runtime id>/runtime.json
//!                                         /events.jsonl
//!                                         /workers/id-<hex of the worker id>/worker.json
//!                                                                           /transcript.jsonl
//! ```
//!
//! Its owner replaces the `.json` files whole and appends to the `.jsonl` files in many small writes, with no lock
//! and no transaction over files. A reader therefore passes over an unterminated last line, over files that are left
//! from an interrupted replacement (`.NAME.tmp-…`) and over holes in the numbers, and never asks for a lock.
//!
//! Nothing here waits for more than a disk: a name that stands for a pipe or a device is not read, and what is read
//! of a file, a line and a folder is bounded ([`MAX_RECORD_BYTES`], [`MAX_LINE_BYTES`], [`MAX_TRANSCRIPT_BYTES`],
//! [`MAX_WORKERS`]).

mod file;
mod index;
mod name;
mod record;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sekisho_core::id::{RuntimeId, WorkerId};
use sekisho_core::runtime_api::{TranscriptItem, WireRef, WorkerDetail};

use crate::archive::{Archive, StoredPage, StoredRuntime, StoredWorkers, Window};
use crate::problem::{Problem, WorkerProblem};
use index::LineIndex;
use record::{RuntimeFile, TranscriptLine, WorkerFile};

/// The most that is read of a `runtime.json` or a `worker.json`, in bytes. A create has 2 MiB at most, and it is
/// written with indentation.
pub const MAX_RECORD_BYTES: u64 = 8 * 1024 * 1024;

/// The longest line of a transcript that is read, in bytes. An input has 2 MiB at most.
pub const MAX_LINE_BYTES: u64 = 4 * 1024 * 1024;

/// The most that is read of one transcript, in bytes.
pub const MAX_TRANSCRIPT_BYTES: u64 = 1024 * 1024 * 1024;

/// The most workers that are listed.
pub const MAX_WORKERS: usize = 100_000;

/// The most lines that cannot be read of which one page of a transcript tells.
const MAX_LINE_PROBLEMS: usize = 16;

type SharedIndex = Arc<Mutex<LineIndex>>;

/// A file store of a deployed runtime, open for reading.
pub struct DeployedStore {
    runtime_id: RuntimeId,
    store: PathBuf,
    /// Where the lines of each transcript begin, as far as it was read.
    indexes: Mutex<BTreeMap<String, SharedIndex>>,
}

impl std::fmt::Debug for DeployedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeployedStore").field("runtime_id", &self.runtime_id).finish_non_exhaustive()
    }
}

/// Whether a folder looks like a file store of deployed runtimes, or like the folder of one runtime in it.
pub fn is_deployed_store(store: &Path) -> bool {
    store.join("runtimes").is_dir() || store.join(RUNTIME_FILE).exists()
}

const RUNTIME_FILE: &str = "runtime.json";
const WORKER_FILE: &str = "worker.json";
const TRANSCRIPT_FILE: &str = "transcript.jsonl";

/// A missing file means something else in each place, so that its error is told apart first.
fn unless_missing<T>(result: Result<T, Problem>) -> Result<Option<T>, Problem> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Problem::Unreadable(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)) => Ok(None),
        // No folder has a name this long, so that no worker has.
        Err(Problem::Unreadable(io::ErrorKind::InvalidFilename)) => Ok(None),
        Err(problem) => Err(problem),
    }
}

impl DeployedStore {
    /// The store of one runtime: `store` is the store's root, or the folder of this runtime in it. Nothing is read
    /// yet, and nothing needs to be there yet.
    pub fn new(store: impl Into<PathBuf>, runtime_id: RuntimeId) -> Self {
        Self { runtime_id, store: store.into(), indexes: Mutex::default() }
    }

    /// The runtime's folder and its record.
    fn open(&self) -> Result<(PathBuf, RuntimeFile), Problem> {
        let in_root = self.store.join("runtimes").join(name::folder_of(self.runtime_id.as_str()));
        for folder in [in_root, self.store.clone()] {
            if let Some(bytes) = unless_missing(file::read(&folder.join(RUNTIME_FILE), MAX_RECORD_BYTES))? {
                let runtime = RuntimeFile::parse(&bytes)?;
                return match runtime.runtime_id == self.runtime_id.as_str() {
                    true => Ok((folder, runtime)),
                    false => Err(Problem::OtherRuntime),
                };
            }
        }
        Err(Problem::StoreMissing)
    }

    fn wire_ref(&self, worker_id: &str) -> WireRef {
        WireRef { runtime_id: self.runtime_id.to_string(), worker_id: worker_id.to_owned() }
    }

    /// One worker's record, where its folder is there.
    fn worker_in(&self, folder: &Path, worker_id: &str) -> Result<Option<WorkerDetail>, Problem> {
        let folder = folder.join("workers").join(name::folder_of(worker_id));
        let Some(bytes) = unless_missing(file::read(&folder.join(WORKER_FILE), MAX_RECORD_BYTES))? else {
            return match folder.is_dir() {
                true => Err(Problem::RecordMissing),
                false => Ok(None),
            };
        };
        let worker = WorkerFile::parse(&bytes)?;
        if !worker.is_of(&self.runtime_id, worker_id) {
            return Err(Problem::Damaged);
        }
        let transcript_len =
            self.transcript_of(&folder, worker_id)?.map_or(0, |(_, index)| lock(&index).lines());
        Ok(Some(worker.into_detail(self.wire_ref(worker_id), transcript_len)))
    }

    /// A transcript, and where its lines are at present.
    fn transcript_of(&self, folder: &Path, worker_id: &str) -> Result<Option<(File, SharedIndex)>, Problem> {
        let Some(file) = unless_missing(file::open(&folder.join(TRANSCRIPT_FILE)))? else { return Ok(None) };
        let index = Arc::clone(lock(&self.indexes).entry(worker_id.to_owned()).or_default());
        lock(&index).update(&file)?;
        Ok(Some((file, index)))
    }
}

/// An index is complete after each step of its making, so that a poisoned lock guards a sound one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Archive for DeployedStore {
    fn runtime(&self) -> Result<StoredRuntime, Problem> {
        Ok(self.open()?.1.into())
    }

    fn workers(&self) -> Result<StoredWorkers, Problem> {
        let (folder, _) = self.open()?;
        let mut found = StoredWorkers::default();
        let Some(mut worker_ids) = unless_missing(file::folders(&folder.join("workers"), MAX_WORKERS))?
        else {
            return Ok(found);
        };
        if worker_ids.len() > MAX_WORKERS {
            worker_ids.truncate(MAX_WORKERS);
            found.incomplete = Some(Problem::TooManyWorkers { limit: MAX_WORKERS });
        }
        // Deployed runtimes number their workers with leading zeros: the order of the ids is that of their creation.
        worker_ids.sort_unstable();
        for worker_id in &worker_ids {
            match self.worker_in(&folder, worker_id) {
                Ok(worker) => found.workers.extend(worker),
                Err(problem) => {
                    found.problems.push(WorkerProblem { worker_id: worker_id.clone(), problem });
                }
            }
        }
        lock(&self.indexes).retain(|worker_id, _| worker_ids.binary_search(worker_id).is_ok());
        Ok(found)
    }

    fn worker(&self, worker_id: &WorkerId) -> Result<Option<WorkerDetail>, Problem> {
        self.worker_in(&self.open()?.0, worker_id.as_str())
    }

    fn transcript(&self, worker_id: &WorkerId, window: Window) -> Result<Option<StoredPage>, Problem> {
        let (folder, _) = self.open()?;
        if self.worker_in(&folder, worker_id.as_str())?.is_none() {
            return Ok(None);
        }
        let folder = folder.join("workers").join(name::folder_of(worker_id.as_str()));
        let Some((file, index)) = self.transcript_of(&folder, worker_id.as_str())? else {
            return Ok(Some(StoredPage::default()));
        };
        let index = lock(&index);
        let worker_ref = self.wire_ref(worker_id.as_str());
        let mut page = StoredPage { total: index.lines(), ..StoredPage::default() };
        page.problems.extend(index.is_cut().then_some(Problem::TooLarge { limit: MAX_TRANSCRIPT_BYTES }));
        let mut bytes = 0;
        let mut taken: usize = 0;
        let mut bad = 0;
        index.read_from(&file, window.start, |line| {
            if taken >= window.limit {
                return false;
            }
            match TranscriptLine::parse(line).map(|item| item.into_item(&worker_ref)) {
                Some(item) => {
                    bytes += item.content.len();
                    if !page.items.is_empty() && bytes > window.max_bytes {
                        return false;
                    }
                    page.items.push(item);
                }
                None if bad < MAX_LINE_PROBLEMS => {
                    bad += 1;
                    page.problems.push(Problem::Line { line: window.start + taken as u64 + 1 });
                }
                None => {}
            }
            taken += 1;
            true
        })?;
        let next = window.start.saturating_add(taken as u64);
        page.next = (taken > 0 && next < page.total).then_some(next);
        Ok(Some(page))
    }
}

/// The item of a line, in the form of v1.
impl TranscriptLine {
    fn into_item(self, worker_ref: &WireRef) -> TranscriptItem {
        TranscriptItem {
            sequence: self.sequence,
            worker_ref: worker_ref.clone(),
            role: self.role,
            content: self.content,
            event_id: self.event_id,
            at: None,
            cont: false,
        }
    }
}

#[cfg(test)]
mod tests;
