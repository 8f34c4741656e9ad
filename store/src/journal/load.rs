//! Opening a store: what is small is read whole, and what was left by an end at once is put in order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use sekisho_core::runtime_api::WorkerStatus;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::engine::{Kept, Sqlite};
use super::record::{AnswerRow, Extent, Millis, WorkerNo, WorkerRow};
use super::schema::{self, Found, open_error};
use super::shared::millis;
use super::{ANSWER_AGE, Identity, OpenError, Retention, lock, wal};

/// The log keeps its file between rounds, but no more of it than this many bytes.
const LOG_FILE_BYTES: i64 = 16 << 20;

/// How much of the database is kept in memory, in KiB.
const CACHE_KIB: i64 = 8 * 1024;

/// How long a connection waits for another one of the same store to let go of it.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How many places a start leaves behind the one before it for each millisecond between them. A store takes fewer events
/// than that, so that no two starts give out the same place, from whatever copy of the store they began.
const PLACES_A_MILLISECOND: u64 = 128;

/// What the clock is reckoned from: the beginning of 2025. It keeps places short.
const FIRST_MILLIS: Millis = 1_735_689_600_000;

/// A place that no clock which is right comes to. Clients read places as JSON numbers, which are exact up to twice that.
const LAST_PLACE: u64 = 1 << 52;

/// The place behind which a start at this time goes on.
fn place_at(now: Millis) -> u64 {
    let since = unsigned(now.saturating_sub(FIRST_MILLIS));
    since.checked_mul(PLACES_A_MILLISECOND).filter(|place| *place < LAST_PLACE).unwrap_or(0)
}

/// What a store remembered, as far as it is small.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// The incarnation of the state: that of the store's first start.
    pub incarnation: String,
    /// No event had a larger place than this, not even one that an earlier start from a copy of the store gave out.
    pub last_place: u64,
    /// Whether its last owner ended without closing it.
    pub interrupted: bool,
    /// How many bytes were cut off that had never been acknowledged.
    pub cut_bytes: u64,
    /// The workers, oldest first.
    pub workers: Vec<KeptWorker>,
    /// The workers whose records cannot be made sense of.
    pub damaged: Vec<DamagedWorker>,
    /// What was answered under idempotency keys, oldest first.
    pub answers: Vec<AnswerRow>,
}

/// A worker, and how far what is kept of it goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptWorker {
    /// The worker.
    pub row: WorkerRow,
    /// How far its events and items go.
    pub extent: Extent,
}

/// A worker whose record cannot be made sense of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DamagedWorker {
    /// Its number.
    pub no: WorkerNo,
    /// Its id, where that much can be read: any text.
    pub worker_id: Option<String>,
}

/// Opens the database in a folder that is locked, and makes the engine of it.
pub(super) fn load(
    folder: &Path,
    identity: &Identity,
    retention: Retention,
) -> Result<(Sqlite, Recovered), OpenError> {
    let database = folder.join(lock::DATABASE);
    let cut_bytes = wal::torn_bytes(&folder.join(format!("{}-wal", lock::DATABASE)));
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(database, flags).map_err(open_error)?;
    prepare(&connection)?;
    let found = schema::version(&connection)?;
    schema::migrate(&mut connection, found)?;
    if found == Found::Empty {
        begin(&connection, identity)?;
    }
    let mut recovered = runtime(&connection, identity)?;
    recovered.cut_bytes = cut_bytes;
    let kept = workers(&connection, &mut recovered)?;
    let events = kept.values().map(|kept| kept.extent.last_event_id).max().unwrap_or(0);
    recovered.last_place = recovered.last_place.max(events);
    if found != Found::Empty {
        recovered.last_place = recovered.last_place.max(place_at(millis()));
    }
    recovered.answers = answers(&connection, millis()).map_err(open_error)?;
    let forgotten = forgotten(&connection).map_err(open_error)?;
    let mut engine = Sqlite::new(connection, retention, kept, forgotten, recovered.last_place);
    engine.reserve().map_err(|_| OpenError::Io(std::io::ErrorKind::Other))?;
    Ok((engine, recovered))
}

pub(super) fn prepare(connection: &Connection) -> Result<(), OpenError> {
    let prepare = || {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "journal_size_limit", LOG_FILE_BYTES)?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_update(None, "trusted_schema", false)
    };
    prepare().map_err(open_error)
}

fn begin(connection: &Connection, identity: &Identity) -> Result<(), OpenError> {
    let sql = "INSERT INTO runtime (id, runtime_id, display_name, incarnation, created_at, reserved_place, running) \
               VALUES (1, ?1, ?2, ?3, ?4, 0, 0)";
    let Identity { runtime_id, display_name, incarnation } = identity;
    connection
        .execute(sql, params![runtime_id.as_str(), display_name, incarnation, millis()])
        .map(drop)
        .map_err(open_error)
}

fn runtime(connection: &Connection, identity: &Identity) -> Result<Recovered, OpenError> {
    let sql = "SELECT runtime_id, incarnation, reserved_place, running FROM runtime";
    let row = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get(1)?, unsigned(row.get(2)?), row.get(3)?));
    let found = connection.query_row(sql, [], row).optional().map_err(open_error)?;
    let (runtime_id, incarnation, last_place, interrupted) = found.ok_or(OpenError::Damaged)?;
    if runtime_id != identity.runtime_id.as_str() {
        return Err(OpenError::OtherRuntime);
    }
    let sql = "UPDATE runtime SET display_name = ?1";
    connection.execute(sql, [&identity.display_name]).map_err(open_error)?;
    Ok(Recovered {
        incarnation,
        last_place,
        interrupted,
        cut_bytes: 0,
        workers: Vec::new(),
        damaged: Vec::new(),
        answers: Vec::new(),
    })
}

fn workers(
    connection: &Connection,
    recovered: &mut Recovered,
) -> Result<BTreeMap<WorkerNo, Kept>, OpenError> {
    let mut kept = BTreeMap::new();
    for worker in all_workers(connection)? {
        match worker {
            Ok((worker, of_worker)) => {
                kept.insert(worker.row.no, of_worker);
                recovered.workers.push(worker);
            }
            Err(damaged) => recovered.damaged.push(damaged),
        }
    }
    Ok(kept)
}

/// Reads all workers in one go; where that fails half-way, one by one, so that what is damaged costs itself alone.
pub(super) fn all_workers(connection: &Connection) -> Result<Vec<FoundWorker>, OpenError> {
    let mut found = Vec::new();
    let all = connection.prepare(WORKERS).and_then(|mut statement| {
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            found.push(worker(row)?);
        }
        Ok(())
    });
    if all.is_err() {
        found.clear();
        for no in numbers(connection)? {
            let one = connection.query_row(&format!("{WORKERS_OF} WHERE no = ?1"), [no], worker).optional();
            match one {
                Ok(worker) => found.extend(worker),
                Err(_) => found.push(Err(DamagedWorker { no, worker_id: None })),
            }
        }
    }
    Ok(found)
}

/// The numbers of all workers, from what can be read of two tables.
fn numbers(connection: &Connection) -> Result<BTreeSet<WorkerNo>, OpenError> {
    let mut numbers = BTreeSet::new();
    for sql in ["SELECT worker FROM extent", "SELECT no FROM worker"] {
        let mut statement = connection.prepare(sql).map_err(open_error)?;
        let rows = statement.query_map([], |row| row.get::<_, WorkerNo>(0)).map_err(open_error)?;
        numbers.extend(rows.map_while(Result::ok));
    }
    Ok(numbers)
}

pub(super) const WORKERS: &str = concat!(workers_of!(), " ORDER BY no");
pub(super) const WORKERS_OF: &str = workers_of!();

macro_rules! workers_of {
    () => {
        "SELECT no, worker_id, status, request, name, labels, created_at, started_at, ended_at, stopping, \
         ended_by, ended_how, \
         last_event_id, events_after, events, event_bytes, items, items_gone, item_bytes, last_output_at, agent \
         FROM worker LEFT JOIN extent ON worker = no"
    };
}
use workers_of;

pub(super) type FoundWorker = Result<(KeptWorker, Kept), DamagedWorker>;

/// A worker of a row of [`WORKERS`]. What does not make sense is a damaged worker, not a failure.
pub(super) fn worker(row: &Row<'_>) -> Result<FoundWorker, rusqlite::Error> {
    let no = row.get(0)?;
    let worker_id: Option<String> = row.get(1).ok();
    Ok(sound_worker(row, no).ok_or(DamagedWorker { no, worker_id }))
}

fn sound_worker(row: &Row<'_>, no: WorkerNo) -> Option<(KeptWorker, Kept)> {
    let labels: Option<BTreeMap<String, String>> = json_of(row, 5)?;
    let request: String = row.get(3).ok()?;
    serde_json::from_str::<IgnoredAny>(&request).ok()?;
    let place = |column| row.get::<_, Option<i64>>(column).ok().map(|value| unsigned(value.unwrap_or(0)));
    let ended_at: Option<Millis> = row.get(8).ok()?;
    let row_of_worker = WorkerRow {
        no,
        worker_id: row.get::<_, String>(1).ok()?.parse().ok()?,
        status: status(&row.get::<_, String>(2).ok()?)?,
        request: request.into(),
        name: row.get(4).ok()?,
        labels: labels.unwrap_or_default(),
        created_at: row.get(6).ok()?,
        started_at: row.get(7).ok()?,
        ended_at,
        stopping: json_of(row, 9)?,
        ended_by: row.get::<_, Option<i64>>(10).ok()?.map(unsigned),
        end: json_of(row, 11)?,
        agent: row.get::<_, Option<String>>(20).ok()?.map(Into::into),
    };
    let extent = Extent {
        last_event_id: place(12)?,
        events_after: place(13)?,
        items: place(16)?,
        items_gone: place(17)?,
        last_output_at: row.get(19).ok()?,
    };
    let kept = Kept { extent, events: place(14)?, event_bytes: place(15)?, item_bytes: place(18)?, ended_at };
    Some((KeptWorker { row: row_of_worker, extent }, kept))
}

/// What a column holds as JSON, if anything; `None` where that makes no sense.
fn json_of<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Option<Option<T>> {
    let text: Option<String> = row.get(column).ok()?;
    text.map(|text| serde_json::from_str(&text).ok()).map_or(Some(None), |value| value.map(Some))
}

fn status(word: &str) -> Option<WorkerStatus> {
    Some(match word {
        "running" => WorkerStatus::Running,
        "stopped" => WorkerStatus::Stopped,
        "cancelled" => WorkerStatus::Cancelled,
        "unknown" => WorkerStatus::Unknown,
        _ => return None,
    })
}

fn answers(connection: &Connection, now: Millis) -> Result<Vec<AnswerRow>, rusqlite::Error> {
    let since = now - Millis::try_from(ANSWER_AGE.as_millis()).unwrap_or(Millis::MAX);
    let sql = "SELECT key, at, worker, fingerprint, reply FROM answer WHERE at >= ?1 ORDER BY at";
    let mut statement = connection.prepare(sql)?;
    let row = |row: &Row<'_>| {
        let (key, reply): (String, String) = (row.get(0)?, row.get(4)?);
        let (at, worker, fingerprint) = (row.get(1)?, row.get(2)?, row.get(3)?);
        Ok(AnswerRow { key: key.into(), at, worker, fingerprint, reply: reply.into() })
    };
    statement.query_map([since], row)?.collect()
}

fn forgotten(connection: &Connection) -> Result<BTreeSet<WorkerNo>, rusqlite::Error> {
    connection.prepare("SELECT worker FROM forgotten")?.query_map([], |row| row.get(0))?.collect()
}

/// What is stored is never negative, unless it is damaged.
pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests;
