//! Reading back what is durable.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use memchr::memmem;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, params};

use super::ReadError;
use super::engine::{MAX_LINES, number};
use super::load::{BUSY_TIMEOUT, unsigned};
use super::record::{ItemRow, StoredEvent, StoredEvents, WorkerNo};

/// How many connections wait for their next use. More are opened when more threads read at once.
const IDLE_CONNECTIONS: usize = 4;

/// How much text one search looks through, in bytes, before it gives back what it has and where to go on.
pub const SEARCH_BYTES: usize = 64 * 1024 * 1024;

/// Which items of a transcript are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ItemWindow {
    /// Only items of a larger sequence.
    pub after: u64,
    /// The most items.
    pub limit: usize,
    /// The most text, in bytes.
    pub max_bytes: usize,
}

/// What a search has found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SearchPage {
    /// The items that hold the text, newest first.
    pub items: Vec<ItemRow>,
    /// Where there may be more: items of a smaller sequence than this have not been looked at.
    pub next_before: Option<u64>,
}

/// What reads back what a journal has made durable, while more is written.
pub trait ReadBack: fmt::Debug + Send + Sync {
    /// The oldest items of a worker's transcript in a window, oldest first. The first is given whatever its size.
    fn items(&self, worker: WorkerNo, window: ItemWindow) -> Result<Vec<ItemRow>, ReadError>;

    /// The newest of those items of a worker's transcript that the event `until` or an earlier one told, and whose
    /// sequence is smaller than `before`, oldest first: at most `limit`, and no more than `max_bytes` of text, be it
    /// that there are none.
    fn newest_items(
        &self,
        worker: WorkerNo,
        before: u64,
        until: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<ItemRow>, ReadError>;

    /// The newest events of a worker that came after the place `after`, oldest first: at most `limit`, and no more
    /// than `max_bytes` of payloads, but not none for that.
    fn newest_events(
        &self,
        worker: WorkerNo,
        after: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<StoredEvents, ReadError>;

    /// The newest items of a worker's transcript that hold a text, and whose sequence is smaller than `before`.
    fn search(
        &self,
        worker: WorkerNo,
        text: &str,
        before: u64,
        limit: usize,
    ) -> Result<SearchPage, ReadError>;

    /// Lets go of what only waits for its next use.
    fn rest(&self) {}
}

/// Reads what is durable, each time as it is at that moment. It may be used by many threads at once, and does not keep
/// the writer from writing.
pub struct Reader {
    database: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl Reader {
    /// A reader beside the writer of the same process.
    pub(super) fn of_owner(database: PathBuf) -> Self {
        Self { database, idle: Mutex::default() }
    }

    fn with<T>(&self, read: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>) -> Result<T, ReadError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let open = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&self.database, flags)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            Ok(connection)
        };
        let connection = idle.map_or_else(open, Ok).map_err(read_error)?;
        // All of a reading is of one moment.
        let result = connection.unchecked_transaction().and_then(|moment| read(&moment)).map_err(read_error);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // One that failed may be of a file that is not there any more.
        if result.is_ok() && idle.len() < IDLE_CONNECTIONS {
            idle.push(connection);
        }
        result
    }
}

impl ReadBack for Reader {
    fn items(&self, worker: WorkerNo, window: ItemWindow) -> Result<Vec<ItemRow>, ReadError> {
        self.with(|connection| items(connection, worker, window))
    }

    fn newest_items(
        &self,
        worker: WorkerNo,
        before: u64,
        until: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<ItemRow>, ReadError> {
        self.with(|connection| newest_items(connection, worker, before, until, limit, max_bytes))
    }

    fn newest_events(
        &self,
        worker: WorkerNo,
        after: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<StoredEvents, ReadError> {
        self.with(|connection| newest_events(connection, worker, after, limit, max_bytes))
    }

    fn search(
        &self,
        worker: WorkerNo,
        text: &str,
        before: u64,
        limit: usize,
    ) -> Result<SearchPage, ReadError> {
        self.with(|connection| search(connection, worker, text, before, limit))
    }

    fn rest(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

const ITEMS: &str = "SELECT worker, sequence, place, at, role, cont, content, lines FROM item";

/// The items of a row: lines that were said together are kept together, under the sequence of the last.
fn row_of_items(row: &Row<'_>) -> Result<Vec<ItemRow>, rusqlite::Error> {
    let (worker, last, place, at) = (row.get(0)?, unsigned(row.get(1)?), unsigned(row.get(2)?), row.get(3)?);
    let (role, cont): (String, bool) = (row.get(4)?, row.get(5)?);
    let lines: i64 = row.get(7)?;
    let content = row.get_ref(6)?.as_str()?;
    let of = |sequence, cont, content: &str| ItemRow {
        worker,
        sequence,
        place,
        at,
        role: Cow::Owned(role.clone()),
        cont,
        content: content.into(),
    };
    if lines == 1 {
        return Ok(vec![of(last, cont, content)]);
    }
    let contents: Vec<&str> = content.split('\n').collect();
    let first =
        (last + 1).checked_sub(contents.len() as u64).filter(|_| contents.len() as u64 == unsigned(lines));
    let first = first.ok_or(rusqlite::Error::IntegralValueOutOfRange(7, lines))?;
    Ok((first..)
        .zip(contents)
        .map(|(sequence, content)| of(sequence, cont && sequence == first, content))
        .collect())
}

pub(crate) fn items(
    connection: &Connection,
    worker: WorkerNo,
    window: ItemWindow,
) -> Result<Vec<ItemRow>, rusqlite::Error> {
    let sql = format!("{ITEMS} WHERE worker = ?1 AND sequence > ?2 ORDER BY sequence");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![worker, number(window.after)])?;
    let (mut items, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        for item in row_of_items(row)?.into_iter().filter(|item| item.sequence > window.after) {
            bytes += item.content.len();
            if items.len() >= window.limit || bytes > window.max_bytes && !items.is_empty() {
                return Ok(items);
            }
            items.push(item);
        }
    }
    Ok(items)
}

/// The rows in which items of a smaller sequence are, newest first: the first few may have none.
const NEWEST: &str = concat!(
    "SELECT worker, sequence, place, at, role, cont, content, lines FROM item ",
    "WHERE worker = ?1 AND sequence < ?2 ORDER BY sequence DESC"
);

/// A sequence that no row with an item before `before` passes.
fn bound_of_rows(before: u64) -> i64 {
    number(before.saturating_add(MAX_LINES as u64))
}

pub(crate) fn newest_items(
    connection: &Connection,
    worker: WorkerNo,
    before: u64,
    until: u64,
    limit: usize,
    max_bytes: usize,
) -> Result<Vec<ItemRow>, rusqlite::Error> {
    let mut statement = connection.prepare_cached(NEWEST)?;
    let mut rows = statement.query(params![worker, bound_of_rows(before)])?;
    let (mut newest, mut bytes) = (Vec::new(), 0);
    'rows: while let Some(row) = rows.next()? {
        if unsigned(row.get(2)?) > until {
            continue;
        }
        for item in row_of_items(row)?.into_iter().rev().filter(|item| item.sequence < before) {
            bytes += item.content.len();
            if newest.len() >= limit || bytes > max_bytes {
                break 'rows;
            }
            newest.push(item);
        }
    }
    newest.reverse();
    Ok(newest)
}

pub(crate) fn newest_events(
    connection: &Connection,
    worker: WorkerNo,
    after: u64,
    limit: usize,
    max_bytes: usize,
) -> Result<StoredEvents, rusqlite::Error> {
    let sql = "SELECT place, at, payload, first_item, item_count, ended FROM event \
               WHERE worker = ?1 AND place > ?2 ORDER BY place DESC";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![worker, number(after)])?;
    let (mut found, mut bytes) = (StoredEvents::default(), 0);
    while let Some(row) = rows.next()? {
        let place = unsigned(row.get(0)?);
        let payload = match row.get::<_, Option<String>>(2)? {
            Some(payload) => Some(payload),
            None => text_of(connection, worker, row.get(3)?, row.get(4)?, row.get(5)?)?,
        };
        bytes += payload.as_ref().map_or(0, String::len);
        let is_full = found.events.len() >= limit || bytes > max_bytes && !found.events.is_empty();
        // An event whose text is gone is the end of what can be told: nothing before it follows without a hole.
        let Some(payload) = payload.filter(|_| !is_full) else {
            found.before = Some(place);
            break;
        };
        found.events.push(StoredEvent { place, at: row.get(1)?, payload });
    }
    if found.before.is_none() {
        let sql = "SELECT events_after FROM extent WHERE worker = ?1";
        let gone = connection.prepare_cached(sql)?.query_row([worker], |row| row.get(0)).optional()?;
        found.before = Some(after.max(gone.map_or(0, unsigned))).filter(|place| *place > 0);
    }
    found.events.reverse();
    Ok(found)
}

/// The payload of an event that is lines of the transcript; `None` where they are not there any more.
fn text_of(
    connection: &Connection,
    worker: WorkerNo,
    first: i64,
    count: i64,
    ended: bool,
) -> Result<Option<String>, rusqlite::Error> {
    let window = ItemWindow {
        after: unsigned(first).saturating_sub(1),
        limit: usize::try_from(count).unwrap_or(0),
        max_bytes: usize::MAX,
    };
    let items = items(connection, worker, window)?;
    if items.len() != window.limit || items.first().is_none_or(|item| item.sequence != unsigned(first)) {
        return Ok(None);
    }
    let contents: Vec<&str> = items.iter().map(|item| &*item.content).collect();
    let mut text = contents.join("\n");
    if ended {
        text.push('\n');
    }
    let text = serde_json::Value::String(text);
    Ok(Some(format!(r#"{{"event":"text_delta","data":{{"text":{text}}}}}"#)))
}

pub(crate) fn search(
    connection: &Connection,
    worker: WorkerNo,
    text: &str,
    before: u64,
    limit: usize,
) -> Result<SearchPage, rusqlite::Error> {
    let finder = memmem::Finder::new(text.as_bytes());
    let mut statement = connection.prepare_cached(NEWEST)?;
    let mut rows = statement.query(params![worker, bound_of_rows(before)])?;
    let mut page = SearchPage::default();
    let mut looked_through = 0;
    while let Some(row) = rows.next()? {
        let content = row.get_ref(6)?.as_bytes()?;
        looked_through += content.len();
        let mut next = unsigned(row.get(1)?) + 1 - unsigned(row.get(7)?).min(unsigned(row.get(1)?));
        if finder.find(content).is_some() {
            for item in row_of_items(row)?.into_iter().rev().filter(|item| item.sequence < before) {
                if finder.find(item.content.as_bytes()).is_none() {
                    continue;
                }
                let sequence = item.sequence;
                page.items.push(item);
                if page.items.len() >= limit {
                    next = sequence;
                    break;
                }
            }
        }
        if page.items.len() >= limit || looked_through > SEARCH_BYTES {
            page.next_before = Some(next).filter(|sequence| *sequence > 1);
            break;
        }
    }
    Ok(page)
}

/// What an error of SQLite means to who reads. Its own words may hold a path and are dropped.
pub(crate) fn read_error(error: rusqlite::Error) -> ReadError {
    match error.sqlite_error() {
        Some(error) if !matches!(error.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            ReadError::Io { code: error.extended_code }
        }
        _ => ReadError::Damaged,
    }
}
