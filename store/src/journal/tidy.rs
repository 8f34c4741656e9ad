//! Retention, and moving the log into the database: in small pieces between the writer's batches.

use rusqlite::{Connection, params};

use super::engine::{Kept, Sqlite, in_passing, number, refresh_readers, write_extent};
use super::record::{Millis, WorkerNo};
use super::{ANSWER_AGE, MAX_ANSWERS};

/// The most rows that one piece removes of a table.
const ROWS_PER_PIECE: u64 = 8192;

/// The log is moved into the database when this many pages of it are not there yet.
const LOG_PAGES: i64 = 4000;

/// How often ages are looked at.
const AGE_CHECK_EVERY: Millis = 10 * 60 * 1000;

/// What is over a bound by less than one part in so many stays, so that not every line costs a removal.
const SLACK: u64 = 8;

/// How much of a worker is to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Excess {
    items: u64,
    item_bytes: u64,
    events: u64,
    event_bytes: u64,
}

impl Excess {
    fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// What a bound says of an amount: nothing to do up to an eighth over it, and then all that is over.
fn over(amount: u64, bound: u64) -> u64 {
    match amount > bound.saturating_add(bound / SLACK) {
        true => amount - bound,
        false => 0,
    }
}

impl Sqlite {
    pub(super) fn tidy_up(&mut self, now: Millis) -> Result<bool, rusqlite::Error> {
        if let Some(worker) = self.forgotten.first().copied() {
            if self.remove_forgotten(worker)? {
                self.forgotten.remove(&worker);
            }
            return Ok(true);
        }
        if let Some((worker, excess)) = self.next_excess() {
            self.prune(worker, excess)?;
            return Ok(true);
        }
        if now >= self.next_age_check {
            self.next_age_check = now + AGE_CHECK_EVERY;
            self.let_go_by_age(now)?;
            return Ok(true);
        }
        if let Some(worker) = self.answers_due.pop_first() {
            self.let_go_of_answers(now, worker)?;
        }
        self.checkpoint()?;
        Ok(false)
    }

    /// A worker of which something is over a bound, those of all together included.
    fn next_excess(&mut self) -> Option<(WorkerNo, Excess)> {
        while let Some(worker) = self.to_prune.first().copied() {
            let excess = self.kept.get(&worker).map(|kept| self.excess_of(kept)).unwrap_or_default();
            if !excess.is_none() {
                return Some((worker, excess));
            }
            self.to_prune.remove(&worker);
        }
        let total = self.kept.values().map(Kept::bytes).sum();
        if over(total, self.retention.total_bytes) == 0 {
            return None;
        }
        // All of the worker that ended first; where none has ended, half of the one with most.
        let ended = self.kept.iter().filter(|(_, kept)| kept.ended_at.is_some() && kept.bytes() > 0);
        if let Some((worker, kept)) = ended.min_by_key(|(_, kept)| kept.ended_at) {
            let excess = Excess { items: kept.items(), item_bytes: 0, events: kept.events, event_bytes: 0 };
            return Some((*worker, excess));
        }
        let (worker, kept) = self.kept.iter().max_by_key(|(_, kept)| kept.bytes())?;
        let excess = Excess {
            item_bytes: kept.item_bytes.div_ceil(2),
            event_bytes: kept.event_bytes.div_ceil(2),
            ..Excess::default()
        };
        Some((*worker, excess))
    }

    fn excess_of(&self, kept: &Kept) -> Excess {
        let retention = &self.retention;
        Excess {
            items: over(kept.items(), retention.items),
            item_bytes: over(kept.item_bytes, retention.item_bytes),
            events: over(kept.events, retention.events),
            event_bytes: over(kept.event_bytes, retention.event_bytes),
        }
    }

    /// Removes the oldest of a worker: as much as is over, or as much as one piece may.
    fn prune(&mut self, worker: WorkerNo, excess: Excess) -> Result<(), rusqlite::Error> {
        let Some(before) = self.kept.get(&worker).copied() else { return Ok(()) };
        let kept = in_passing(&mut self.connection, |connection| {
            let mut kept = before;
            if excess.items > 0 || excess.item_bytes > 0 {
                let cut = oldest(connection, Table::Item, worker, excess.items, excess.item_bytes)?;
                remove_items(connection, worker, cut, &mut kept)?;
            }
            if excess.events > 0 || excess.event_bytes > 0 {
                let cut = oldest(connection, Table::Event, worker, excess.events, excess.event_bytes)?;
                remove_events(connection, worker, cut.key, &mut kept)?;
            }
            write_extent(connection, worker, &kept)?;
            Ok(kept)
        })?;
        self.after_removal(worker, before, kept)
    }

    /// Takes over what a removal has left. One that removed nothing will not do better the next time: the counts were
    /// wrong, and are counted anew.
    fn after_removal(
        &mut self,
        worker: WorkerNo,
        before: Kept,
        mut kept: Kept,
    ) -> Result<(), rusqlite::Error> {
        if kept == before {
            let count = |table: Table| {
                let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
                self.connection.query_row(table.count(), [worker], row)
            };
            let unsigned = |value: i64| u64::try_from(value).unwrap_or(0);
            let (items, item_bytes) = count(Table::Item)?;
            let (events, event_bytes) = count(Table::Event)?;
            kept.extent.items_gone = kept.extent.items.saturating_sub(unsigned(items));
            kept.item_bytes = unsigned(item_bytes);
            (kept.events, kept.event_bytes) = (unsigned(events), unsigned(event_bytes));
        }
        self.kept.insert(worker, kept);
        refresh_readers(&self.connection)
    }

    fn let_go_by_age(&mut self, now: Millis) -> Result<(), rusqlite::Error> {
        let Some(max_age) = self.retention.max_age else { return Ok(()) };
        let limit = now - Millis::try_from(max_age.as_millis()).unwrap_or(Millis::MAX);
        let workers: Vec<_> =
            self.kept.iter().filter(|(_, kept)| kept.items() > 0).map(|(no, kept)| (*no, *kept)).collect();
        for (worker, before) in workers {
            let kept = in_passing(&mut self.connection, |connection| {
                let mut kept = before;
                let sql = "SELECT max(sequence), max(place), coalesce(sum(lines), 0), coalesce(sum(octet_length(content)), 0) \
                           FROM (SELECT sequence, lines, place, at, content FROM item WHERE worker = ?1 \
                           ORDER BY sequence LIMIT ?2) WHERE at < ?3";
                let cut = connection.prepare_cached(sql)?.query_row(
                    params![worker, number(ROWS_PER_PIECE), limit],
                    |row| {
                        let (key, place): (Option<i64>, Option<i64>) = (row.get(0)?, row.get(1)?);
                        Ok(Cut {
                            key: key.unwrap_or(0),
                            place: place.unwrap_or(0),
                            rows: row.get(2)?,
                            bytes: row.get(3)?,
                        })
                    },
                )?;
                if cut.rows > 0 {
                    remove_items(connection, worker, cut, &mut kept)?;
                    write_extent(connection, worker, &kept)?;
                }
                Ok(kept)
            })?;
            if kept != before {
                self.kept.insert(worker, kept);
                // What is left of it over the age goes the next time that there is nothing else to do.
                self.next_age_check = now;
            }
        }
        Ok(())
    }

    fn let_go_of_answers(&mut self, now: Millis, worker: Option<WorkerNo>) -> Result<(), rusqlite::Error> {
        let limit = now - Millis::try_from(ANSWER_AGE.as_millis()).unwrap_or(Millis::MAX);
        in_passing(&mut self.connection, |connection| {
            connection.prepare_cached("DELETE FROM answer WHERE at < ?1")?.execute([limit])?;
            let sql = "DELETE FROM answer WHERE worker IS ?1 AND at < \
                       (SELECT at FROM answer WHERE worker IS ?1 ORDER BY at DESC LIMIT 1 OFFSET ?2)";
            let last = number(MAX_ANSWERS as u64 - 1);
            connection.prepare_cached(sql)?.execute(params![worker, last])?;
            Ok(())
        })
    }

    /// Removes a piece of what is left of a worker, and says whether that was all.
    fn remove_forgotten(&mut self, worker: WorkerNo) -> Result<bool, rusqlite::Error> {
        in_passing(&mut self.connection, |connection| {
            let mut all = true;
            for table in [Table::Item, Table::Event] {
                let cut = oldest(connection, table, worker, ROWS_PER_PIECE, 0)?;
                connection.prepare_cached(table.remove())?.execute(params![worker, cut.key])?;
                all &= cut.rows < number(ROWS_PER_PIECE);
            }
            if all {
                connection.prepare_cached("DELETE FROM forgotten WHERE worker = ?1")?.execute([worker])?;
            }
            Ok(all)
        })
    }

    /// Moves the log into the database when it is long. A reader that is in the way is not waited for.
    fn checkpoint(&mut self) -> Result<(), rusqlite::Error> {
        let pages = |row: &rusqlite::Row<'_>| Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?);
        let waiting = self.connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], pages)?;
        if waiting >= LOG_PAGES {
            self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Table {
    Item,
    Event,
}

impl Table {
    fn oldest(self) -> &'static str {
        match self {
            Self::Item => {
                "SELECT sequence, place, octet_length(content), lines FROM item WHERE worker = ?1 ORDER BY sequence LIMIT ?2"
            }
            Self::Event => {
                "SELECT place, place, coalesce(octet_length(payload), 0), 1 FROM event WHERE worker = ?1 \
                 ORDER BY place LIMIT ?2"
            }
        }
    }

    fn remove(self) -> &'static str {
        match self {
            Self::Item => "DELETE FROM item WHERE worker = ?1 AND sequence <= ?2",
            Self::Event => "DELETE FROM event WHERE worker = ?1 AND place <= ?2",
        }
    }

    fn count(self) -> &'static str {
        match self {
            Self::Item => {
                "SELECT coalesce(sum(lines), 0), coalesce(sum(octet_length(content)), 0) FROM item WHERE worker = ?1"
            }
            Self::Event => {
                "SELECT count(*), coalesce(sum(octet_length(payload)), 0) FROM event WHERE worker = ?1"
            }
        }
    }
}

/// The oldest rows of a table up to a key.
#[derive(Clone, Copy, Default)]
struct Cut {
    key: i64,
    place: i64,
    rows: i64,
    bytes: i64,
}

/// The oldest rows of a worker: at least so many, and so many bytes, but no more than one piece.
fn oldest(
    connection: &Connection,
    table: Table,
    worker: WorkerNo,
    rows: u64,
    bytes: u64,
) -> Result<Cut, rusqlite::Error> {
    let mut statement = connection.prepare_cached(table.oldest())?;
    let mut found = statement.query(params![worker, number(ROWS_PER_PIECE)])?;
    let mut cut = Cut::default();
    while cut.rows < number(rows) || cut.bytes < number(bytes) {
        let Some(row) = found.next()? else { break };
        cut.key = row.get(0)?;
        cut.place = row.get(1)?;
        cut.rows += row.get::<_, i64>(3)?;
        cut.bytes += row.get::<_, i64>(2)?;
    }
    Ok(cut)
}

/// Removes items, and the events that need their text.
fn remove_items(
    connection: &Connection,
    worker: WorkerNo,
    cut: Cut,
    kept: &mut Kept,
) -> Result<(), rusqlite::Error> {
    connection.prepare_cached(Table::Item.remove())?.execute(params![worker, cut.key])?;
    let unsigned = |value: i64| u64::try_from(value).unwrap_or(0);
    kept.extent.items_gone = kept.extent.items_gone.max(unsigned(cut.key));
    kept.item_bytes = kept.item_bytes.saturating_sub(unsigned(cut.bytes));
    remove_events(connection, worker, cut.place, kept)
}

fn remove_events(
    connection: &Connection,
    worker: WorkerNo,
    place: i64,
    kept: &mut Kept,
) -> Result<(), rusqlite::Error> {
    let unsigned = |value: i64| u64::try_from(value).unwrap_or(0);
    if unsigned(place) <= kept.extent.events_after {
        return Ok(());
    }
    let sql = "SELECT count(*), coalesce(sum(octet_length(payload)), 0) FROM event WHERE worker = ?1 AND place <= ?2";
    let (rows, bytes): (i64, i64) = connection
        .prepare_cached(sql)?
        .query_row(params![worker, place], |row| Ok((row.get(0)?, row.get(1)?)))?;
    connection.prepare_cached(Table::Event.remove())?.execute(params![worker, place])?;
    kept.events = kept.events.saturating_sub(unsigned(rows));
    kept.event_bytes = kept.event_bytes.saturating_sub(unsigned(bytes));
    kept.extent.events_after = unsigned(place);
    Ok(())
}
