//! The writer's decisions, without a thread, a clock or a disk: when what was noted is due, how long to wait after a
//! failure, what is given up when too much is unwritten, and how it went with a note.
//!
//! [`Journal::open`](super::Journal::open) runs one on a thread of its own. Who [drives](super::Writing) a journal by
//! itself obeys its orders:
//!
//! 1. [`step`](Writer::step) says what is to be done now. What is done is reported, and then there is another step.
//! 2. [`Order::Apply`]: keep the whole batch, or nothing of it, and report to [`applied`](Writer::applied). Meanwhile
//!    more may be noted.
//! 3. [`Order::Tidy`]: do a piece of what is due beside, and report to [`tidied`](Writer::tidied).
//! 4. [`Order::Wait`]: nothing is to be done before then, unless something is noted, wanted or closed, which
//!    [`has_news`](Writer::has_news) tells.
//! 5. [`Order::Ended`]: the journal is closed, and everything is written that can be. [`leave`](Writer::leave) tells
//!    those who still wait.

mod output;

use std::collections::BTreeSet;
use std::mem;
use std::time::{Duration, Instant};

use super::record::{Record, WorkerNo};
use super::{Durability, MAX_PENDING_BYTES, Options, Ticket, WriteError};

/// How long the writer waits after a failure before it tries again. The wait doubles up to the longest.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The longest wait between two attempts to write.
pub const LONGEST_RETRY: Duration = Duration::from_secs(2);

/// How often a writer with nothing to write looks for what has become too old.
const TIDY_EVERY: Duration = Duration::from_secs(600);

/// What is noted before a batch is made of it at once, without waiting for more, in bytes. As much again can be noted
/// while it is written.
const BATCH_BYTES: usize = MAX_PENDING_BYTES / 2;

/// The most memory that what cannot be written may take, in bytes. Beyond it the oldest output is given up.
pub const MAX_UNWRITTEN_BYTES: usize = 4 * MAX_PENDING_BYTES;

/// What is to be done next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// These records, never none, are to be kept, all of them or none.
    Apply(Vec<Record>),
    /// There is time for a piece of what is due beside.
    Tidy,
    /// Nothing is to be done before this moment.
    Wait(Instant),
    /// Nothing is to be done any more.
    Ended,
}

/// What was noted and is not written yet, and what is known of the disk. See the [module](self).
#[derive(Debug)]
pub struct Writer {
    durability: Durability,
    output_delay: Duration,
    pending: Vec<Record>,
    pending_bytes: usize,
    first_pending: Option<Instant>,
    /// What was ordered to be applied and is not reported yet: its size, and up to which note it goes.
    taken_bytes: usize,
    taken_up_to: u64,
    noted: u64,
    written: u64,
    /// What is waited for.
    wanted: u64,
    /// The error of the last attempt, while it lasts.
    failing: Option<WriteError>,
    /// When the next attempt may be made after one that failed.
    retry_at: Option<Instant>,
    retry_after: Duration,
    /// When the next piece of other work is due where no batch comes before; `None` for at once. Work that fails is
    /// tried again with the next batch.
    tidy_at: Option<Instant>,
    has_news: bool,
    closing: bool,
    gone: bool,
    damaged: BTreeSet<WorkerNo>,
}

impl Writer {
    /// A writer to which nothing was noted.
    pub fn new(options: &Options) -> Self {
        Self {
            durability: options.durability,
            output_delay: options.output_delay,
            pending: Vec::new(),
            pending_bytes: 0,
            first_pending: None,
            taken_bytes: 0,
            taken_up_to: 0,
            noted: 0,
            written: 0,
            wanted: 0,
            failing: None,
            retry_at: None,
            retry_after: RETRY_AFTER,
            tidy_at: None,
            has_news: false,
            closing: false,
            gone: false,
            damaged: BTreeSet::new(),
        }
    }

    /// Takes note of something that happened, as a whole. Where that is nothing, the ticket is that of the last note.
    pub fn note(&mut self, now: Instant, records: impl IntoIterator<Item = Record>) -> Ticket {
        let before = self.pending.len();
        for record in records {
            self.pending_bytes += record.size();
            self.pending.push(record);
        }
        if self.pending.len() == before {
            return Ticket(self.noted);
        }
        self.noted += 1;
        let is_first = self.first_pending.is_none();
        self.first_pending.get_or_insert(now);
        self.has_news |= is_first || self.pending_bytes > BATCH_BYTES;
        if self.failing.is_some() {
            self.keep_within_bound();
        }
        Ticket(self.noted)
    }

    /// Everything up to a ticket is waited for: it is written without waiting for more.
    pub fn want(&mut self, ticket: Ticket) {
        if ticket.0 > self.wanted {
            self.wanted = ticket.0;
            self.has_news = true;
        }
    }

    /// Nothing more will be noted.
    pub fn close(&mut self) {
        self.closing = true;
        self.has_news = true;
    }

    /// Nobody drives the writer any more.
    pub fn leave(&mut self) {
        self.gone = true;
    }

    /// Whether something has happened since this was last asked for which [`step`](Self::step) may have another order.
    pub fn has_news(&mut self) -> bool {
        mem::take(&mut self.has_news)
    }

    /// What is to be done at a moment. An order to apply or to tidy stands until it is reported what came of it.
    pub fn step(&mut self, now: Instant) -> Order {
        match self.retry_at.filter(|retry_at| now < *retry_at) {
            Some(_) if self.closing => return Order::Ended,
            Some(retry_at) => return Order::Wait(retry_at),
            None => {}
        }
        match (self.first_pending.map(|since| self.due(since)), self.tidy_at) {
            (Some(due), _) if due.is_none_or(|due| due <= now) => Order::Apply(self.take()),
            (None, _) if self.closing => Order::Ended,
            // There is time for a piece of the other work.
            (_, None) => Order::Tidy,
            (Some(Some(due)), Some(_)) => Order::Wait(due),
            (_, Some(tidy_at)) if tidy_at <= now => Order::Tidy,
            (_, Some(tidy_at)) => Order::Wait(tidy_at),
        }
    }

    /// What came of a batch: nothing of it is kept, or all of it but for what was found to be damaged.
    pub fn applied(
        &mut self,
        now: Instant,
        batch: Vec<Record>,
        result: Result<BTreeSet<WorkerNo>, WriteError>,
    ) {
        match result {
            Ok(damaged) => {
                self.written = self.taken_up_to;
                self.taken_bytes = 0;
                self.failing = None;
                (self.retry_at, self.retry_after) = (None, RETRY_AFTER);
                self.damaged.extend(damaged);
            }
            Err(error) => self.put_back(now, batch, error),
        }
    }

    /// What came of a piece of the other work: whether there is more.
    pub fn tidied(&mut self, now: Instant, has_more: bool) {
        self.tidy_at = (!has_more).then_some(now + TIDY_EVERY);
    }

    /// How it went with what was noted up to a ticket; `None` while that is not known.
    pub fn outcome(&self, ticket: Ticket) -> Option<Result<(), WriteError>> {
        match self.failing() {
            _ if self.written >= ticket.0 => Some(Ok(())),
            Some(error) => Some(Err(error)),
            None => None,
        }
    }

    /// Why nothing can be written at present, while that is so.
    pub fn failing(&self) -> Option<WriteError> {
        self.failing.or_else(|| self.gone.then_some(WriteError::Io))
    }

    /// Whether more output is welcome: the disk keeps up, or has failed, so that waiting for it would not end.
    pub fn has_room(&self) -> bool {
        self.failing.is_some() || self.unwritten_bytes() <= MAX_PENDING_BYTES
    }

    /// How much memory takes what is not written, in bytes.
    pub fn unwritten_bytes(&self) -> usize {
        self.pending_bytes + self.taken_bytes
    }

    /// Everything that was noted so far.
    pub fn noted(&self) -> Ticket {
        Ticket(self.noted)
    }

    /// Everything that is durable.
    pub fn written(&self) -> Ticket {
        Ticket(self.written)
    }

    /// Whether what is stored of a worker was found to be damaged.
    pub fn is_damaged(&self, worker: WorkerNo) -> bool {
        self.damaged.contains(&worker)
    }

    /// When what waits since a moment is to be written; `None` for at once.
    fn due(&self, since: Instant) -> Option<Instant> {
        let at_once = self.closing
            || self.wanted > self.written
            || self.pending_bytes > BATCH_BYTES
            || self.durability == Durability::Commit;
        (!at_once).then_some(since + self.output_delay)
    }

    fn take(&mut self) -> Vec<Record> {
        self.first_pending = None;
        // A batch may be what makes other work due.
        self.tidy_at = None;
        self.taken_bytes = mem::take(&mut self.pending_bytes);
        self.taken_up_to = self.noted;
        mem::take(&mut self.pending)
    }

    /// Puts a batch back before what was noted since.
    fn put_back(&mut self, now: Instant, mut batch: Vec<Record>, error: WriteError) {
        batch.append(&mut self.pending);
        self.pending = batch;
        self.pending_bytes += mem::take(&mut self.taken_bytes);
        self.first_pending.get_or_insert(now);
        self.failing = Some(error);
        self.retry_at = Some(now + self.retry_after);
        self.retry_after = (self.retry_after * 2).min(LONGEST_RETRY);
        self.keep_within_bound();
    }

    /// Gives up output where too much is unwritten.
    fn keep_within_bound(&mut self) {
        if self.unwritten_bytes() > MAX_UNWRITTEN_BYTES {
            self.pending = output::give_up(mem::take(&mut self.pending));
            self.pending_bytes = self.pending.iter().map(Record::size).sum();
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
