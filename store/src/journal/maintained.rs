//! A store that is open to be looked after, and that no runtime has.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, Row, params};

use super::engine::write_error;
use super::load::{self, DamagedWorker, KeptWorker};
use super::query::{self, read_error};
use super::record::{ItemRow, StoredEvent, WorkerNo};
use super::schema::{self, Found, open_error};
use super::{OpenError, ReadError, WriteError, lock};

/// How many rows are read before they are given on.
const ROWS: usize = 1024;

/// How many faults of the database itself are told.
const MAX_FAULTS: usize = 20;

/// A store that this process has to itself.
pub(crate) struct Maintained {
    connection: Connection,
    database: PathBuf,
    _ownership: lock::Ownership,
}

/// What the store says of its runtime.
pub(crate) struct StoredIdentity {
    pub(crate) runtime_id: String,
    pub(crate) display_name: Option<String>,
    pub(crate) incarnation: String,
}

impl Maintained {
    pub(crate) fn open(folder: &Path) -> Result<Self, OpenError> {
        let database = folder.join(lock::DATABASE);
        // Nothing is made where there is nothing.
        fs::metadata(&database).map_err(|error| OpenError::Io(error.kind()))?;
        let (ownership, connection) = lock::own(folder, || {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let mut connection = Connection::open_with_flags(&database, flags).map_err(open_error)?;
            load::prepare(&connection)?;
            match schema::version(&connection)? {
                Found::Empty => Err(OpenError::NotAStore),
                found => schema::migrate(&mut connection, found).map(|()| connection),
            }
        })?;
        Ok(Self { connection, database, _ownership: ownership })
    }

    /// What SQLite finds wrong with the database.
    pub(crate) fn integrity(&self) -> Result<Vec<String>, ReadError> {
        let sql = format!("PRAGMA integrity_check({MAX_FAULTS})");
        let mut statement = self.connection.prepare(&sql).map_err(read_error)?;
        let found = statement.query_map([], |row| row.get::<_, String>(0)).map_err(read_error)?;
        let found = found.map_while(Result::ok).filter(|fault| fault != "ok");
        Ok(found.map(|fault| format!("the database: {fault}")).collect())
    }

    pub(crate) fn runtime(&self) -> Result<StoredIdentity, ReadError> {
        let sql = "SELECT runtime_id, display_name, incarnation FROM runtime";
        let row = |row: &Row<'_>| {
            Ok(StoredIdentity {
                runtime_id: row.get(0)?,
                display_name: row.get(1)?,
                incarnation: row.get(2)?,
            })
        };
        self.connection.query_row(sql, [], row).map_err(read_error)
    }

    pub(crate) fn workers(&self) -> Result<Vec<Result<KeptWorker, DamagedWorker>>, OpenError> {
        let found = load::all_workers(&self.connection)?;
        Ok(found.into_iter().map(|worker| worker.map(|(worker, _)| worker)).collect())
    }

    /// Gives each item of a worker's transcript to `take`, until that fails or there are no more.
    pub(crate) fn each_item<E: From<ReadError>>(
        &self,
        worker: WorkerNo,
        mut take: impl FnMut(ItemRow) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut after = 0;
        loop {
            let window = query::ItemWindow { after, limit: ROWS, max_bytes: usize::MAX };
            let items = query::items(&self.connection, worker, window).map_err(read_error)?;
            let Some(last) = items.last() else { return Ok(()) };
            after = last.sequence;
            items.into_iter().try_for_each(&mut take)?;
        }
    }

    /// Gives each event of a worker to `take`, until that fails or there are no more.
    pub(crate) fn each_event<E: From<ReadError>>(
        &self,
        worker: WorkerNo,
        mut take: impl FnMut(StoredEvent) -> Result<(), E>,
    ) -> Result<(), E> {
        let found = query::newest_events(&self.connection, worker, 0, usize::MAX, usize::MAX);
        found.map_err(read_error)?.events.into_iter().try_for_each(&mut take)
    }

    pub(crate) fn compact(self) -> Result<(u64, u64), WriteError> {
        let size = || fs::metadata(&self.database).map_or(0, |metadata| metadata.len());
        let run = |sql: &str| self.connection.execute_batch(sql).map_err(write_error);
        // So that what the log has is counted as well.
        run("PRAGMA wal_checkpoint(TRUNCATE)")?;
        let before = size();
        for table in ["item", "event"] {
            let sql = format!("DELETE FROM {table} WHERE worker IN (SELECT worker FROM forgotten)");
            self.connection.execute(&sql, params![]).map_err(write_error)?;
        }
        run("DELETE FROM forgotten; VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")?;
        Ok((before, size()))
    }
}
