//! A store of ours that another process owns, or none does: read only.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};
use sekisho_core::id::{RuntimeId, WorkerId};
use sekisho_core::runtime_api::{
    RuntimeLimits, RuntimeStatus, TranscriptItem, WireRef, WorkerDetail, WorkerFacts,
};

use super::OpenError;
use super::load::{self, KeptWorker, unsigned};
use super::lock::{self, Reading};
use super::query::{self, ItemWindow};
use super::record::{ItemRow, Millis, StoredEvents};
use super::schema::{self, Found};
use crate::archive::{Archive, FoundItems, StoredPage, StoredRuntime, StoredWorkers, Window};
use crate::problem::{Problem, WorkerProblem};
use crate::request::RequestRecord;

/// How long a reader waits while the owner does what must not be seen half done.
const BUSY_TIMEOUT: Duration = Duration::from_millis(250);

/// How often a reading begins anew because the owner has come or gone meanwhile.
const ATTEMPTS: u32 = 5;

/// The largest page of a transcript that the owner itself gives.
const MAX_TRANSCRIPT_ITEMS: u64 = 256;

/// A store of sekisho's own, open for reading. It asks nothing of its owner, writes nothing and leaves nothing behind.
pub struct ForeignStore {
    runtime_id: RuntimeId,
    folder: PathBuf,
}

impl std::fmt::Debug for ForeignStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForeignStore").field("runtime_id", &self.runtime_id).finish_non_exhaustive()
    }
}

/// How a file of another process is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// This process is the owner: its index of the log is shared.
    AsOwner,
    /// There is a log: it and the index over it are read as they are.
    WithLog,
    /// There is none, as after an orderly end: the database is all there is, and nothing changes it.
    Alone,
}

impl ForeignStore {
    /// The store in a folder. Nothing is read yet, and nothing needs to be there yet.
    pub fn new(folder: impl Into<PathBuf>, runtime_id: RuntimeId) -> Self {
        Self { runtime_id, folder: folder.into() }
    }

    /// The newest events of a worker after a place: at most `limit`, and no more than `max_bytes` of payloads.
    pub fn events(
        &self,
        worker_id: &WorkerId,
        after: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Option<StoredEvents>, Problem> {
        self.read(|connection| {
            let Some(worker) = self.find(connection, worker_id)? else { return Ok(None) };
            query::newest_events(connection, worker.row.no, after, limit, max_bytes)
                .map(Some)
                .map_err(problem)
        })
    }

    /// What the cursors of the runtime's streams begin with: the incarnation of its state.
    pub fn incarnation(&self) -> Result<String, Problem> {
        self.read(|connection| {
            connection.query_row("SELECT incarnation FROM runtime", [], |row| row.get(0)).map_err(problem)
        })
    }

    /// The newest items of a worker's transcript that hold a text, and whose sequence is smaller than `before`.
    pub fn search(
        &self,
        worker_id: &WorkerId,
        text: &str,
        before: u64,
        limit: usize,
    ) -> Result<Option<FoundItems>, Problem> {
        self.read(|connection| {
            let Some(worker) = self.find(connection, worker_id)? else { return Ok(None) };
            let page = query::search(connection, worker.row.no, text, before, limit).map_err(problem)?;
            let worker_ref = self.wire_ref(worker_id.as_str());
            let items = page.items.into_iter().map(|item| to_wire(item, &worker_ref)).collect();
            Ok(Some(FoundItems { items, next_before: page.next_before }))
        })
    }

    /// The newest of those items of a worker's transcript that the event `until` or an earlier one told, oldest first: at
    /// most `limit`, and no more than `max_bytes` of text.
    pub fn newest_items(
        &self,
        worker_id: &WorkerId,
        until: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Option<Vec<TranscriptItem>>, Problem> {
        self.read(|connection| {
            let Some(worker) = self.find(connection, worker_id)? else { return Ok(None) };
            let newest = query::newest_items(connection, worker.row.no, u64::MAX, until, limit, max_bytes);
            let worker_ref = self.wire_ref(worker_id.as_str());
            let newest = newest.map_err(problem)?.into_iter().map(|item| to_wire(item, &worker_ref));
            Ok(Some(newest.collect()))
        })
    }

    /// Reads with a connection of its own. Where the owner has come or gone while it read, it reads again.
    fn read<T>(&self, read: impl Fn(&Connection) -> Result<T, Problem>) -> Result<T, Problem> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let reading = Reading::begin();
            let manner = match reading.is_of_owner(&self.folder) {
                true => Ok(Manner::AsOwner),
                false => manner_of(&self.folder),
            };
            let result = manner.and_then(|manner| {
                let connection = open(&self.folder, manner)?;
                // All of a reading is of one moment.
                let moment = connection.unchecked_transaction().map_err(problem)?;
                check(&moment, &self.runtime_id)?;
                read(&moment)
            });
            let is_settled = manner == Ok(Manner::AsOwner) || manner_of(&self.folder) == manner;
            let may_pass = matches!(result, Err(Problem::Busy | Problem::NeedsOwner));
            if is_settled && !may_pass || attempts == ATTEMPTS {
                return result.map_err(|problem| match problem {
                    // What an owner has to do the one that is there is about to do.
                    Problem::NeedsOwner if lock::may_have_owner(&self.folder) => Problem::Busy,
                    problem => problem,
                });
            }
        }
    }

    fn find(&self, connection: &Connection, worker_id: &WorkerId) -> Result<Option<KeptWorker>, Problem> {
        let sql = format!("{} WHERE worker_id = ?1", load::WORKERS_OF);
        let found =
            connection.query_row(&sql, [worker_id.as_str()], load::worker).optional().map_err(problem)?;
        match found {
            None => Ok(None),
            Some(Ok((worker, _))) => Ok(Some(worker)),
            Some(Err(_)) => Err(Problem::Damaged),
        }
    }

    fn wire_ref(&self, worker_id: &str) -> WireRef {
        WireRef { runtime_id: self.runtime_id.to_string(), worker_id: worker_id.to_owned() }
    }

    fn detail(&self, KeptWorker { row, extent }: KeptWorker) -> Result<WorkerDetail, Problem> {
        let request: RequestRecord = serde_json::from_str(&row.request).map_err(|_| Problem::Damaged)?;
        let facts = WorkerFacts {
            name: row.name,
            labels: row.labels,
            created_at: Some(time(row.created_at)),
            started_at: row.started_at.map(time),
            last_output_at: extent.last_output_at.map(time),
            ended_at: row.ended_at.map(time),
            stopping: row.stopping.is_some() && row.ended_at.is_none(),
            end: row.end,
            ..WorkerFacts::default()
        };
        Ok(WorkerDetail {
            transcript_len: extent.items,
            last_event_id: extent.last_event_id,
            facts,
            ..request.into_detail(self.wire_ref(row.worker_id.as_str()), row.status)
        })
    }
}

impl Archive for ForeignStore {
    fn runtime(&self) -> Result<StoredRuntime, Problem> {
        self.read(|connection| {
            let sql = "SELECT display_name, running FROM runtime";
            let (display_name, running): (_, bool) =
                connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).map_err(problem)?;
            Ok(StoredRuntime {
                display_name,
                backend: "sqlite".into(),
                status: if running { RuntimeStatus::Running } else { RuntimeStatus::Stopped },
                limits: RuntimeLimits {
                    max_transcript_projection_items: MAX_TRANSCRIPT_ITEMS,
                    max_event_batch_items: MAX_TRANSCRIPT_ITEMS,
                },
                diagnostics: 0,
            })
        })
    }

    fn workers(&self) -> Result<StoredWorkers, Problem> {
        self.read(|connection| {
            let mut found = StoredWorkers::default();
            let mut statement = connection.prepare(load::WORKERS).map_err(problem)?;
            let mut rows = statement.query([]).map_err(problem)?;
            while let Some(row) = rows.next().map_err(problem)? {
                let worker = load::worker(row).map_err(problem)?;
                let (worker_id, detail) = match worker {
                    Ok((worker, _)) => (worker.row.worker_id.to_string(), self.detail(worker)),
                    Err(damaged) => (damaged.worker_id.unwrap_or_default(), Err(Problem::Damaged)),
                };
                match detail {
                    Ok(detail) => found.workers.push(detail),
                    Err(problem) => found.problems.push(WorkerProblem { worker_id, problem }),
                }
            }
            Ok(found)
        })
    }

    fn worker(&self, worker_id: &WorkerId) -> Result<Option<WorkerDetail>, Problem> {
        self.read(|connection| {
            self.find(connection, worker_id)?.map(|worker| self.detail(worker)).transpose()
        })
    }

    fn transcript(&self, worker_id: &WorkerId, window: Window) -> Result<Option<StoredPage>, Problem> {
        self.read(|connection| {
            let Some(worker) = self.find(connection, worker_id)? else { return Ok(None) };
            let Window { start, limit, max_bytes } = window;
            let part = ItemWindow { after: start, limit, max_bytes };
            let items = query::items(connection, worker.row.no, part).map_err(problem)?;
            let total = worker.extent.items;
            let next = items.last().map(|item| item.sequence).filter(|sequence| *sequence < total);
            let worker_ref = self.wire_ref(worker_id.as_str());
            let items = items.into_iter().map(|item| to_wire(item, &worker_ref)).collect();
            Ok(Some(StoredPage { total, items, next, problems: Vec::new() }))
        })
    }
}

fn to_wire(item: ItemRow, worker_ref: &WireRef) -> TranscriptItem {
    TranscriptItem {
        sequence: item.sequence,
        worker_ref: worker_ref.clone(),
        role: item.role.into_owned(),
        content: item.content.as_ref().to_owned(),
        event_id: item.place,
        at: Some(time(item.at)),
        cont: item.cont,
    }
}

/// How the files in a folder are to be read.
fn manner_of(folder: &Path) -> Result<Manner, Problem> {
    let is_file = |name: &str| match fs::symlink_metadata(folder.join(name)) {
        Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
        Ok(_) => Err(Problem::NotAFile),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(Problem::from(error)),
    };
    if is_file(lock::DATABASE)?.is_none() {
        return Err(Problem::StoreMissing);
    }
    let log = is_file(&format!("{}-wal", lock::DATABASE))?;
    let index = is_file(&format!("{}-shm", lock::DATABASE))?;
    match (log, index) {
        (None | Some(0), None) | (None, Some(_)) => Ok(Manner::Alone),
        (Some(_), Some(_)) => Ok(Manner::WithLog),
        // To make the index would be to write.
        (Some(_), None) => Err(Problem::NeedsOwner),
    }
}

/// What stands in a path of a URI as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_').remove(b'~');

fn open(folder: &Path, manner: Manner) -> Result<Connection, Problem> {
    use std::os::unix::ffi::OsStrExt;
    let database = std::path::absolute(folder.join(lock::DATABASE))?;
    let path = percent_encode(database.as_os_str().as_bytes(), PATH);
    let manner = match manner {
        Manner::AsOwner => "",
        Manner::WithLog => "&readonly_shm=1",
        Manner::Alone => "&immutable=1",
    };
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection =
        Connection::open_with_flags(format!("file://{path}?mode=ro{manner}"), flags).map_err(problem)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(problem)?;
    connection.pragma_update(None, "trusted_schema", false).map_err(problem)?;
    Ok(connection)
}

fn check(connection: &Connection, runtime_id: &RuntimeId) -> Result<(), Problem> {
    match schema::version(connection) {
        Ok(Found::Version(_)) => {}
        // Its owner has only just begun.
        Ok(Found::Empty) => return Err(Problem::NeedsOwner),
        Err(OpenError::OtherVersion { found, known }) => return Err(Problem::OtherVersion { found, known }),
        Err(OpenError::InUse) => return Err(Problem::Busy),
        // A reader would have to write: the index over the log is not complete.
        Err(OpenError::Io(io::ErrorKind::ReadOnlyFilesystem)) => return Err(Problem::NeedsOwner),
        Err(OpenError::Io(kind)) => return Err(Problem::Unreadable(kind)),
        Err(_) => return Err(Problem::Damaged),
    }
    let found: Option<String> = connection
        .query_row("SELECT runtime_id FROM runtime", [], |row| row.get(0))
        .optional()
        .map_err(problem)?;
    match found {
        Some(found) if found == runtime_id.as_str() => Ok(()),
        Some(_) => Err(Problem::OtherRuntime),
        None => Err(Problem::NeedsOwner),
    }
}

fn problem(error: rusqlite::Error) -> Problem {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Problem::Busy,
        // As in `check`: the reader would have to write.
        Some(ErrorCode::ReadOnly) => Problem::NeedsOwner,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) | None => Problem::Damaged,
        Some(ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            Problem::Unreadable(io::ErrorKind::PermissionDenied)
        }
        Some(_) => Problem::Unreadable(io::ErrorKind::Other),
    }
}

/// A moment as v1 writes it.
fn time(at: Millis) -> String {
    /// The last millisecond of the year 9999: later ones have no RFC 3339 form.
    const LAST: u64 = 253_402_300_799_999;
    let since = Duration::from_millis(unsigned(at).min(LAST));
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + since).to_string()
}

#[cfg(test)]
mod tests;
