//! What the writer asks of a database, and the database that does it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{CachedStatement, Connection, ErrorCode, Savepoint, Transaction, params};

use super::record::{AnswerRow, EventRow, Extent, ItemRow, Millis, Payload, Record, WorkerNo, WorkerRow};
use super::{Retention, WriteError};

/// Places are promised to the disk this many at a time before they are given out. After an end at once the runtime
/// goes on behind all that it may have given out, so that no place ever means two events.
const RESERVED_PLACES: u64 = 1 << 30;

/// How many items are in one row at most.
pub(super) const MAX_LINES: usize = 512;

/// The most text of one row that has more than one item, in bytes.
const MAX_ROW_BYTES: usize = 32 * 1024;

/// Where the writer's batches go.
pub(crate) trait Engine: Send {
    /// Keeps all of a batch or nothing of it, and returns when it will survive a loss of power. What the records of
    /// some workers are damaged by costs those workers alone, and they are named.
    fn apply(&mut self, batch: &[Record]) -> Result<BTreeSet<WorkerNo>, WriteError>;

    /// Does a piece of what is due beside: lets go of what is over the bounds, moves the log into the database. Says
    /// whether there is more.
    fn tidy(&mut self, now: Millis) -> Result<bool, WriteError>;

    /// Takes note that the owner ends in an orderly way.
    fn close(&mut self) -> Result<(), WriteError>;
}

/// How much is kept of one worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Kept {
    pub(crate) extent: Extent,
    pub(crate) events: u64,
    pub(crate) event_bytes: u64,
    pub(crate) item_bytes: u64,
    /// When it ended: what has ended makes room first.
    pub(crate) ended_at: Option<Millis>,
}

impl Kept {
    pub(crate) fn items(&self) -> u64 {
        self.extent.items - self.extent.items_gone.min(self.extent.items)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.event_bytes + self.item_bytes
    }
}

pub(crate) struct Sqlite {
    pub(super) connection: Connection,
    pub(super) retention: Retention,
    pub(super) kept: BTreeMap<WorkerNo, Kept>,
    /// Those that may be over a bound.
    pub(super) to_prune: BTreeSet<WorkerNo>,
    /// What is left to remove of workers that were forgotten.
    pub(super) forgotten: BTreeSet<WorkerNo>,
    pub(super) next_age_check: Millis,
    /// Workers whose answers may be too many; `None` stands for creates.
    pub(super) answers_due: BTreeSet<Option<WorkerNo>>,
    /// Workers of which no more can be written.
    damaged: BTreeSet<WorkerNo>,
    last_place: u64,
    reserved: u64,
}

impl Sqlite {
    pub(super) fn new(
        connection: Connection,
        retention: Retention,
        kept: BTreeMap<WorkerNo, Kept>,
        forgotten: BTreeSet<WorkerNo>,
        last_place: u64,
    ) -> Self {
        let to_prune = kept.keys().copied().collect();
        Self {
            connection,
            retention,
            kept,
            to_prune,
            forgotten,
            next_age_check: Millis::MIN,
            answers_due: BTreeSet::new(),
            damaged: BTreeSet::new(),
            last_place,
            reserved: 0,
        }
    }

    /// Promises the disk the places that the first events will have.
    pub(super) fn reserve(&mut self) -> Result<(), WriteError> {
        let reserved = self.last_place + RESERVED_PLACES;
        let sql = "UPDATE runtime SET reserved_place = ?1, running = 1";
        self.connection.execute(sql, [number(reserved)]).map_err(write_error)?;
        self.reserved = reserved;
        Ok(())
    }

    /// Applies a batch in one transaction. With `apart`, what befalls one worker's records is undone by itself.
    fn apply_in_one(&mut self, batch: &[Record], apart: bool) -> Result<BTreeSet<WorkerNo>, rusqlite::Error> {
        let mut changes = Changes {
            kept: &self.kept,
            touched: BTreeMap::new(),
            gone: BTreeSet::new(),
            last_place: self.last_place,
        };
        let mut transaction = self.connection.transaction()?;
        let mut damaged = BTreeSet::new();
        if apart {
            for (worker, records) in by_worker(batch) {
                if worker.is_some_and(|worker| self.damaged.contains(&worker)) {
                    continue;
                }
                let savepoint = transaction.savepoint()?;
                let before = changes.clone();
                let applied = changes
                    .apply(&savepoint, &records)
                    .and_then(|()| changes.write_extent(&savepoint, worker));
                if !keep_or_undo(savepoint, applied)? {
                    changes = before;
                    damaged.extend(worker);
                }
            }
        } else {
            changes.apply(&transaction, &batch.iter().collect::<Vec<_>>())?;
            let touched: Vec<_> = changes.touched.keys().copied().collect();
            for worker in touched {
                changes.write_extent(&transaction, Some(worker))?;
            }
        }
        let Changes { touched, gone, last_place, .. } = changes;
        let reserved = match last_place + RESERVED_PLACES / 2 > self.reserved {
            true => last_place + RESERVED_PLACES,
            false => self.reserved,
        };
        if reserved != self.reserved {
            transaction.execute("UPDATE runtime SET reserved_place = ?1", [number(reserved)])?;
        }
        transaction.commit()?;
        refresh_readers(&self.connection)?;
        self.reserved = reserved;
        self.last_place = last_place;
        self.to_prune.extend(touched.keys());
        self.kept.extend(touched);
        for worker in gone {
            self.kept.remove(&worker);
            self.to_prune.remove(&worker);
            self.forgotten.insert(worker);
        }
        Ok(damaged)
    }
}

/// A reader that may not write, not even into memory that is shared with it, sees the log as far as a connection that
/// may has marked it: this connection marks it at the beginning of each reading.
pub(super) fn refresh_readers(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.prepare_cached("SELECT running FROM runtime")?.query_row([], |_| Ok(()))
}

impl Engine for Sqlite {
    fn apply(&mut self, batch: &[Record]) -> Result<BTreeSet<WorkerNo>, WriteError> {
        // Once is enough to find out that a worker's records are damaged.
        let apart = batch.iter().filter_map(worker_of).any(|worker| self.damaged.contains(&worker));
        let damaged = match self.apply_in_one(batch, apart).map_err(write_error) {
            Err(WriteError::Damaged) if !apart => self.apply_in_one(batch, true).map_err(write_error)?,
            damaged => damaged?,
        };
        self.damaged.extend(&damaged);
        self.answers_due.extend(batch.iter().filter_map(|record| match record {
            Record::Answer(answer) => Some(answer.worker),
            _ => None,
        }));
        Ok(damaged)
    }

    fn tidy(&mut self, now: Millis) -> Result<bool, WriteError> {
        self.tidy_up(now).map_err(write_error)
    }

    fn close(&mut self) -> Result<(), WriteError> {
        let sql = "UPDATE runtime SET reserved_place = ?1, running = 0";
        self.connection.execute(sql, [number(self.last_place)]).map(drop).map_err(write_error)
    }
}

/// Ends a savepoint. Says whether what was done in it is kept; a failure that is not of the records alone is passed on.
fn keep_or_undo(
    mut savepoint: Savepoint<'_>,
    applied: Result<(), rusqlite::Error>,
) -> Result<bool, rusqlite::Error> {
    match applied {
        Ok(()) => savepoint.commit().map(|()| true),
        Err(error) if write_error_ref(&error) == WriteError::Damaged => {
            savepoint.rollback()?;
            savepoint.commit().map(|()| false)
        }
        Err(error) => Err(error),
    }
}

/// The records of each worker in their order; those of none under `None`.
fn by_worker(batch: &[Record]) -> BTreeMap<Option<WorkerNo>, Vec<&Record>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for record in batch {
        groups.entry(worker_of(record)).or_default().push(record);
    }
    groups
}

fn worker_of(record: &Record) -> Option<WorkerNo> {
    match record {
        Record::Worker(worker) => Some(worker.no),
        Record::Forget(worker) => Some(*worker),
        Record::Event(event) => Some(event.worker),
        Record::Item(item) => Some(item.worker),
        Record::Lost(lost) => Some(lost.worker),
        Record::Answer(_) | Record::Unanswered(_) => None,
    }
}

/// What a transaction will have changed once it is complete.
#[derive(Clone)]
struct Changes<'a> {
    kept: &'a BTreeMap<WorkerNo, Kept>,
    touched: BTreeMap<WorkerNo, Kept>,
    gone: BTreeSet<WorkerNo>,
    last_place: u64,
}

/// How many of the records after an item are lines that can be kept in one row with it: said at the same moment by the
/// same event, and of text that a line feed can stand between.
fn lines_after(first: &ItemRow, following: &[&Record]) -> usize {
    let is_line = |item: &ItemRow| !item.content.as_bytes().contains(&b'\n');
    if !is_line(first) {
        return 0;
    }
    let mut next = first.sequence;
    let mut bytes = first.content.len();
    let belongs = |record: &&&Record| {
        let Record::Item(item) = record else { return false };
        next += 1;
        bytes += item.content.len();
        bytes <= MAX_ROW_BYTES
            && (item.worker, item.place, item.at, item.sequence)
                == (first.worker, first.place, first.at, next)
            && item.role == first.role
            && !item.cont
            && is_line(item)
    };
    following.iter().take(MAX_LINES - 1).take_while(belongs).count()
}

/// The statements that are run for every line that a worker writes.
struct Hot<'a> {
    event: CachedStatement<'a>,
    item: CachedStatement<'a>,
}

impl Changes<'_> {
    fn of(&mut self, worker: WorkerNo) -> &mut Kept {
        let kept = self.kept;
        self.touched.entry(worker).or_insert_with(|| kept.get(&worker).copied().unwrap_or_default())
    }

    fn apply(&mut self, connection: &Connection, records: &[&Record]) -> Result<(), rusqlite::Error> {
        let mut hot = Hot {
            event: connection.prepare_cached(
                "INSERT INTO event (worker, place, at, first_item, item_count, ended, payload) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?,
            item: connection.prepare_cached(
                "INSERT INTO item (worker, sequence, lines, place, at, role, cont, content) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?,
        };
        let mut rest = records;
        while let Some((record, following)) = rest.split_first() {
            rest = following;
            match record {
                Record::Event(event) => self.event(&mut hot.event, event)?,
                Record::Item(item) => {
                    let more = lines_after(item, following);
                    self.items(&mut hot.item, item, &following[..more])?;
                    rest = &following[more..];
                }
                Record::Worker(worker) => self.worker(connection, worker)?,
                Record::Forget(worker) => self.forget(connection, *worker)?,
                Record::Answer(answer) => keep_answer(connection, answer)?,
                Record::Unanswered(key) => {
                    connection.prepare_cached("DELETE FROM answer WHERE key = ?1")?.execute([&**key])?;
                }
                Record::Lost(lost) => {
                    self.lose(connection, lost.worker, lost.items_gone, lost.events_after)?;
                }
            }
        }
        Ok(())
    }

    fn event(&mut self, insert: &mut CachedStatement<'_>, event: &EventRow) -> Result<(), rusqlite::Error> {
        let (worker, place, at) = (event.worker, number(event.place), event.at);
        let none = None::<i64>;
        let bytes = match &event.payload {
            Payload::Json(json) => {
                insert.execute(params![worker, place, at, none, none, none, &**json])?;
                json.len() as u64
            }
            Payload::Lines { first, count, ended } => {
                insert.execute(params![worker, place, at, number(*first), number(*count), ended, none])?;
                0
            }
        };
        self.last_place = self.last_place.max(event.place);
        let kept = self.of(event.worker);
        kept.extent.last_event_id = event.place;
        kept.events += 1;
        kept.event_bytes += bytes;
        if event.output {
            kept.extent.last_output_at = Some(event.at);
        }
        Ok(())
    }

    /// Keeps an item, and lines that follow it and were said with it, as one row.
    fn items(
        &mut self,
        insert: &mut CachedStatement<'_>,
        first: &ItemRow,
        more: &[&Record],
    ) -> Result<(), rusqlite::Error> {
        let mut content = Cow::Borrowed(&*first.content);
        for record in more {
            if let Record::Item(item) = record {
                let content = content.to_mut();
                content.push('\n');
                content.push_str(&item.content);
            }
        }
        let last = first.sequence + more.len() as u64;
        insert.execute(params![
            first.worker,
            number(last),
            number(more.len() as u64 + 1),
            number(first.place),
            first.at,
            &*first.role,
            first.cont,
            &*content,
        ])?;
        let kept = self.of(first.worker);
        kept.extent.items = last;
        kept.item_bytes += content.len() as u64;
        Ok(())
    }

    fn worker(&mut self, connection: &Connection, worker: &WorkerRow) -> Result<(), rusqlite::Error> {
        let sql = "INSERT OR REPLACE INTO worker (no, worker_id, status, request, name, labels, created_at, \
                   started_at, ended_at, stopping, ended_by, ended_how, agent) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
        let labels = (!worker.labels.is_empty()).then(|| json(&worker.labels));
        connection.prepare_cached(sql)?.execute(params![
            worker.no,
            worker.worker_id.as_str(),
            status_word(worker.status),
            &*worker.request,
            worker.name,
            labels,
            worker.created_at,
            worker.started_at,
            worker.ended_at,
            worker.stopping.as_ref().map(json),
            worker.ended_by.map(number),
            worker.end.as_ref().map(json),
            worker.agent.as_deref(),
        ])?;
        self.of(worker.no).ended_at = worker.ended_at;
        Ok(())
    }

    /// Removes the worker itself at once, and leaves what may be much for later.
    fn forget(&mut self, connection: &Connection, worker: WorkerNo) -> Result<(), rusqlite::Error> {
        for sql in [
            "DELETE FROM worker WHERE no = ?1",
            "DELETE FROM extent WHERE worker = ?1",
            "DELETE FROM answer WHERE worker = ?1",
            "INSERT OR IGNORE INTO forgotten (worker) VALUES (?1)",
        ] {
            connection.prepare_cached(sql)?.execute([worker])?;
        }
        self.touched.remove(&worker);
        self.gone.insert(worker);
        Ok(())
    }

    /// Lets go of everything before what could not be kept, so that what is left has no hole.
    fn lose(
        &mut self,
        connection: &Connection,
        worker: WorkerNo,
        items_gone: u64,
        events_after: u64,
    ) -> Result<(), rusqlite::Error> {
        let kept = self.of(worker);
        if items_gone > 0 {
            connection
                .prepare_cached("DELETE FROM item WHERE worker = ?1 AND sequence <= ?2")?
                .execute(params![worker, number(items_gone)])?;
            kept.extent.items = kept.extent.items.max(items_gone);
            kept.extent.items_gone = items_gone;
            kept.item_bytes = 0;
        }
        if events_after > 0 {
            connection
                .prepare_cached("DELETE FROM event WHERE worker = ?1 AND place <= ?2")?
                .execute(params![worker, number(events_after)])?;
            kept.extent.last_event_id = kept.extent.last_event_id.max(events_after);
            kept.extent.events_after = events_after;
            (kept.events, kept.event_bytes) = (0, 0);
        }
        self.last_place = self.last_place.max(events_after);
        Ok(())
    }

    fn write_extent(
        &mut self,
        connection: &Connection,
        worker: Option<WorkerNo>,
    ) -> Result<(), rusqlite::Error> {
        let Some((worker, kept)) = worker.and_then(|worker| Some((worker, self.touched.get(&worker)?)))
        else {
            return Ok(());
        };
        write_extent(connection, worker, kept)
    }
}

pub(super) fn write_extent(
    connection: &Connection,
    worker: WorkerNo,
    kept: &Kept,
) -> Result<(), rusqlite::Error> {
    let Kept { extent, events, event_bytes, item_bytes, .. } = kept;
    let sql = "INSERT OR REPLACE INTO extent (worker, last_event_id, events_after, events, event_bytes, items, \
               items_gone, item_bytes, last_output_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    connection.prepare_cached(sql)?.execute(params![
        worker,
        number(extent.last_event_id),
        number(extent.events_after),
        number(*events),
        number(*event_bytes),
        number(extent.items),
        number(extent.items_gone),
        number(*item_bytes),
        extent.last_output_at,
    ])?;
    Ok(())
}

fn keep_answer(connection: &Connection, answer: &AnswerRow) -> Result<(), rusqlite::Error> {
    let sql =
        "INSERT OR REPLACE INTO answer (key, at, worker, fingerprint, reply) VALUES (?1, ?2, ?3, ?4, ?5)";
    let AnswerRow { key, at, worker, fingerprint, reply } = answer;
    connection.prepare_cached(sql)?.execute(params![&**key, at, worker, &fingerprint[..], &**reply])?;
    Ok(())
}

/// A transaction that need not outlast a loss of power: it only repeats what can be repeated.
pub(super) fn in_passing<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, rusqlite::Error>,
) -> Result<T, rusqlite::Error> {
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let done = connection.transaction().and_then(|transaction| {
        let done = work(&transaction)?;
        transaction.commit()?;
        Ok(done)
    });
    connection.pragma_update(None, "synchronous", "FULL")?;
    done
}

/// SQLite's integers are signed. Places, sequences and sizes stay below 2^63 by far; one that does not would be
/// refused as out of order rather than wrap around.
pub(super) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn json(value: &impl serde::Serialize) -> String {
    // Plain structs and maps of texts: nothing in them can fail to be written.
    serde_json::to_string(value).unwrap_or_default()
}

/// The status as it is stored.
pub(crate) fn status_word(status: sekisho_core::runtime_api::WorkerStatus) -> &'static str {
    use sekisho_core::runtime_api::WorkerStatus;
    match status {
        WorkerStatus::Running => "running",
        WorkerStatus::Stopped => "stopped",
        WorkerStatus::Cancelled => "cancelled",
        WorkerStatus::Unknown => "unknown",
    }
}

pub(super) fn write_error(error: rusqlite::Error) -> WriteError {
    write_error_ref(&error)
}

/// Whether a failure is of the disk and may pass, or of what is stored and will not.
fn write_error_ref(error: &rusqlite::Error) -> WriteError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => WriteError::Full,
        Some(
            ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::ConstraintViolation
            | ErrorCode::TypeMismatch
            | ErrorCode::TooBig,
        )
        | None => WriteError::Damaged,
        Some(_) => WriteError::Io,
    }
}
