//! The tables, and how a store of an older version becomes one of this.

use rusqlite::{Connection, ErrorCode};

use super::OpenError;

/// The version that this program writes.
pub const VERSION: i64 = 1;

/// Tells a store of ours from any other SQLite database: `skso`.
const APPLICATION_ID: i64 = 0x736b_736f;

/// What makes each version of the one before it; the first makes it of nothing. Entries are only ever added.
const MIGRATIONS: [&str; VERSION as usize] = [VERSION_1];

const VERSION_1: &str = "
CREATE TABLE runtime (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    runtime_id TEXT NOT NULL,
    display_name TEXT,
    incarnation TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    reserved_place INTEGER NOT NULL,
    running INTEGER NOT NULL
) STRICT;
CREATE TABLE worker (
    no INTEGER PRIMARY KEY,
    worker_id TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL,
    request TEXT NOT NULL,
    name TEXT,
    labels TEXT,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    stopping TEXT,
    ended_by INTEGER,
    ended_how TEXT,
    agent TEXT
) STRICT;
CREATE TABLE extent (
    worker INTEGER PRIMARY KEY,
    last_event_id INTEGER NOT NULL,
    events_after INTEGER NOT NULL,
    events INTEGER NOT NULL,
    event_bytes INTEGER NOT NULL,
    items INTEGER NOT NULL,
    items_gone INTEGER NOT NULL,
    item_bytes INTEGER NOT NULL,
    last_output_at INTEGER
) STRICT;
CREATE TABLE event (
    worker INTEGER NOT NULL,
    place INTEGER NOT NULL,
    at INTEGER NOT NULL,
    first_item INTEGER,
    item_count INTEGER,
    ended INTEGER,
    payload TEXT,
    PRIMARY KEY (worker, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE item (
    worker INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    lines INTEGER NOT NULL,
    place INTEGER NOT NULL,
    at INTEGER NOT NULL,
    role TEXT NOT NULL,
    cont INTEGER NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (worker, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE answer (
    key TEXT PRIMARY KEY,
    at INTEGER NOT NULL,
    worker INTEGER,
    fingerprint BLOB NOT NULL,
    reply TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX answer_by_age ON answer (at);
CREATE INDEX answer_by_worker ON answer (worker, at);
CREATE TABLE forgotten (worker INTEGER PRIMARY KEY) STRICT;
";

/// What the file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// Nothing is in it yet.
    Empty,
    /// A store of this or an earlier version.
    Version(i64),
}

/// Reads which version a store is of.
pub(crate) fn version(connection: &Connection) -> Result<Found, OpenError> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let tables = "SELECT count(*) FROM sqlite_schema";
    let empty = connection.query_row(tables, [], |row| row.get::<_, i64>(0)).map_err(open_error)? == 0;
    let application_id = pragma("application_id").map_err(open_error)?;
    match pragma("user_version").map_err(open_error)? {
        0 if empty && application_id == 0 => Ok(Found::Empty),
        _ if application_id != APPLICATION_ID => Err(OpenError::NotAStore),
        version @ 1..=VERSION => Ok(Found::Version(version)),
        found => Err(OpenError::OtherVersion { found, known: VERSION }),
    }
}

/// Makes a store of this version of what is there.
pub(crate) fn migrate(connection: &mut Connection, found: Found) -> Result<(), OpenError> {
    let from = match found {
        Found::Empty => 0,
        Found::Version(version) => usize::try_from(version).unwrap_or(0),
    };
    let transaction = connection.transaction().map_err(open_error)?;
    for step in &MIGRATIONS[from..] {
        transaction.execute_batch(step).map_err(open_error)?;
    }
    if from < MIGRATIONS.len() {
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(open_error)?;
        transaction.pragma_update(None, "user_version", VERSION).map_err(open_error)?;
    }
    transaction.commit().map_err(open_error)
}

/// What an error of SQLite means while a store is opened. Its own words may hold a path and are dropped.
pub(crate) fn open_error(error: rusqlite::Error) -> OpenError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotAStore,
        Some(ErrorCode::DatabaseCorrupt) => OpenError::Damaged,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::InUse,
        Some(ErrorCode::DiskFull) => OpenError::Io(std::io::ErrorKind::StorageFull),
        Some(ErrorCode::ReadOnly) => OpenError::Io(std::io::ErrorKind::ReadOnlyFilesystem),
        Some(ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            OpenError::Io(std::io::ErrorKind::PermissionDenied)
        }
        Some(_) => OpenError::Io(std::io::ErrorKind::Other),
        // What is read is not of the type that was written.
        None => OpenError::Damaged,
    }
}
