//! The writer: one thread that takes what was noted and makes it last, many notes with one wait for the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use super::engine::Engine;
use super::record::{LostRow, Millis, Record, WorkerNo};
use super::{Durability, MAX_PENDING_BYTES, Options, Ticket, WriteError};

/// How long the writer waits after a failure before it tries again. The wait doubles up to the longest.
const RETRY_AFTER: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(2);

/// How often a writer with nothing to write looks for what has become too old.
const TIDY_EVERY: Duration = Duration::from_secs(600);

/// What is noted before a batch is made of it at once, without waiting for more. As much again can be noted while it is
/// written.
const BATCH_BYTES: usize = MAX_PENDING_BYTES / 2;

/// The most memory that what cannot be written may take, in bytes. Beyond it the oldest output is given up.
const MAX_UNWRITTEN_BYTES: usize = 4 * MAX_PENDING_BYTES;

/// What the writer's thread and the journal's users share.
pub(super) struct Shared {
    state: Mutex<State>,
    /// There is something to write.
    work: Condvar,
    /// Something was written, or could not be.
    done: Condvar,
    options: Options,
}

#[derive(Default)]
struct State {
    pending: Vec<Record>,
    pending_bytes: usize,
    /// What the writer has taken and not yet written.
    taken_bytes: usize,
    first_pending: Option<Instant>,
    noted: u64,
    written: u64,
    /// What is waited for.
    wanted: u64,
    /// The error of the last attempt, while it lasts.
    failing: Option<WriteError>,
    /// Tasks that wait to be told how it went.
    waiting: Vec<Waker>,
    closing: bool,
    gone: bool,
    damaged: BTreeSet<WorkerNo>,
}

impl Shared {
    pub(super) fn new(options: Options) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), work: Condvar::new(), done: Condvar::new(), options })
    }

    /// Every change under the lock is complete in itself, so that a poisoned one guards a sound state.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, records: impl IntoIterator<Item = Record>) -> Ticket {
        let mut state = self.state();
        for record in records {
            state.pending_bytes += record.size();
            state.pending.push(record);
        }
        state.noted += 1;
        let ticket = Ticket(state.noted);
        if state.failing.is_some() && state.pending_bytes + state.taken_bytes > MAX_UNWRITTEN_BYTES {
            state.give_up_output();
        }
        let is_first = state.first_pending.is_none();
        state.first_pending.get_or_insert_with(now);
        let wake = is_first || state.pending_bytes > BATCH_BYTES;
        drop(state);
        if wake {
            self.work.notify_one();
        }
        ticket
    }

    pub(super) fn wait(&self, ticket: Ticket) -> Result<(), WriteError> {
        let mut state = self.state();
        if let Some(known) = state.outcome(ticket) {
            return known;
        }
        state.wanted = state.wanted.max(ticket.0);
        self.work.notify_one();
        let unknown = |state: &mut State| state.outcome(ticket).is_none();
        let state = self.done.wait_while(state, unknown).unwrap_or_else(PoisonError::into_inner);
        state.outcome(ticket).unwrap_or(Err(WriteError::Io))
    }

    pub(super) fn poll_durable(
        &self,
        ticket: Ticket,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), WriteError>> {
        let mut state = self.state();
        if let Some(known) = state.outcome(ticket) {
            return Poll::Ready(known);
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            state.waiting.push(context.waker().clone());
        }
        if ticket.0 > state.wanted {
            state.wanted = ticket.0;
            self.work.notify_one();
        }
        Poll::Pending
    }

    /// Tells all who wait that something has changed.
    fn tell(&self, mut state: MutexGuard<'_, State>) {
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        self.done.notify_all();
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(super) fn has_room(&self) -> bool {
        let state = self.state();
        state.failing.is_some() || state.pending_bytes + state.taken_bytes <= MAX_PENDING_BYTES
    }

    pub(super) fn failing(&self) -> Option<WriteError> {
        let state = self.state();
        state.failing.or_else(|| state.gone.then_some(WriteError::Io))
    }

    pub(super) fn written(&self) -> Ticket {
        Ticket(self.state().written)
    }

    pub(super) fn noted(&self) -> Ticket {
        Ticket(self.state().noted)
    }

    pub(super) fn is_damaged(&self, worker: WorkerNo) -> bool {
        self.state().damaged.contains(&worker)
    }

    pub(super) fn close(&self) {
        self.state().closing = true;
        self.work.notify_one();
    }

    /// The writer's loop. It ends when the journal is closed and everything is written, or can not be.
    pub(super) fn run(&self, mut engine: impl Engine) {
        let leaving = Leaving(self);
        let mut retry_after = RETRY_AFTER;
        // The pieces of work that are due beside the batches. Work that fails is tried again with the next batch.
        let mut is_tidy = false;
        while let Some((batch, up_to)) = self.next_batch(is_tidy) {
            if !batch.is_empty() {
                is_tidy = false;
                match engine.apply(&batch) {
                    Ok(damaged) => {
                        retry_after = RETRY_AFTER;
                        self.written_up_to(up_to, damaged);
                    }
                    Err(error) => {
                        self.failed(batch, error);
                        if self.pause(retry_after) {
                            break;
                        }
                        retry_after = (retry_after * 2).min(LONGEST_RETRY);
                        continue;
                    }
                }
            }
            is_tidy = !engine.tidy(millis()).unwrap_or(false);
        }
        let _ = engine.close();
        drop(engine);
        drop(leaving);
    }

    /// Waits until something is to be written or tidied. `None` at the end.
    fn next_batch(&self, is_tidy: bool) -> Option<(Vec<Record>, u64)> {
        let mut state = self.state();
        loop {
            let wait = match state.first_pending {
                None if state.closing => return None,
                None if !is_tidy => return Some((Vec::new(), state.written)),
                None => None,
                Some(since) => Some(state.due(since, &self.options)),
            };
            match wait {
                Some(Duration::ZERO) => return Some(state.take()),
                // There is time for a piece of the other work.
                Some(_) if !is_tidy => return Some((Vec::new(), state.written)),
                Some(wait) => {
                    state = self.work.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
                }
                None => {
                    let (woken, waited) =
                        self.work.wait_timeout(state, TIDY_EVERY).unwrap_or_else(PoisonError::into_inner);
                    if waited.timed_out() {
                        return Some((Vec::new(), woken.written));
                    }
                    state = woken;
                }
            }
        }
    }

    fn written_up_to(&self, up_to: u64, damaged: BTreeSet<WorkerNo>) {
        let mut state = self.state();
        state.written = up_to;
        state.taken_bytes = 0;
        state.failing = None;
        state.damaged.extend(damaged);
        self.tell(state);
    }

    /// Puts a batch back before what was noted since.
    fn failed(&self, mut batch: Vec<Record>, error: WriteError) {
        let mut state = self.state();
        batch.append(&mut state.pending);
        state.pending = batch;
        state.pending_bytes += mem::take(&mut state.taken_bytes);
        state.first_pending.get_or_insert_with(now);
        state.failing = Some(error);
        if state.pending_bytes > MAX_UNWRITTEN_BYTES {
            state.give_up_output();
        }
        self.tell(state);
    }

    /// Waits before the next attempt, and says whether there is to be none.
    fn pause(&self, wait: Duration) -> bool {
        let state = self.state();
        let (state, _) = self
            .work
            .wait_timeout_while(state, wait, |state| !state.closing)
            .unwrap_or_else(PoisonError::into_inner);
        state.closing
    }
}

impl State {
    /// How it went with what was noted up to a ticket; `None` while that is not known.
    fn outcome(&self, ticket: Ticket) -> Option<Result<(), WriteError>> {
        match self.failing.or_else(|| self.gone.then_some(WriteError::Io)) {
            _ if self.written >= ticket.0 => Some(Ok(())),
            Some(error) => Some(Err(error)),
            None => None,
        }
    }

    /// How long what is noted may still wait.
    fn due(&self, since: Instant, options: &Options) -> Duration {
        let at_once = self.closing
            || self.wanted > self.written
            || self.pending_bytes > BATCH_BYTES
            || options.durability == Durability::Commit;
        match at_once {
            true => Duration::ZERO,
            false => options.output_delay.saturating_sub(now().saturating_duration_since(since)),
        }
    }

    fn take(&mut self) -> (Vec<Record>, u64) {
        self.first_pending = None;
        self.taken_bytes = mem::take(&mut self.pending_bytes);
        (mem::take(&mut self.pending), self.noted)
    }

    /// Gives up the events and items that wait, and notes in their place what is lost of each worker.
    fn give_up_output(&mut self) {
        let mut lost: BTreeMap<WorkerNo, LostRow> = BTreeMap::new();
        let mut kept = Vec::new();
        for record in mem::take(&mut self.pending) {
            let (worker, items_gone, events_after) = match &record {
                Record::Item(item) => (item.worker, item.sequence, 0),
                Record::Event(event) => (event.worker, 0, event.place),
                Record::Lost(lost) => (lost.worker, lost.items_gone, lost.events_after),
                _ => {
                    kept.push(record);
                    continue;
                }
            };
            let row = lost.entry(worker).or_default();
            row.worker = worker;
            row.items_gone = row.items_gone.max(items_gone);
            row.events_after = row.events_after.max(events_after);
        }
        // A worker that is forgotten has nothing to lose any more.
        for record in &kept {
            if let Record::Forget(worker) = record {
                lost.remove(worker);
            }
        }
        kept.extend(lost.into_values().map(Record::Lost));
        self.pending_bytes = kept.iter().map(Record::size).sum();
        self.pending = kept;
    }
}

/// Tells those who wait that there is no writer any more, however its thread ends.
struct Leaving<'a>(&'a Shared);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.gone = true;
        self.0.tell(state);
    }
}

fn now() -> Instant {
    Instant::now()
}

pub(super) fn millis() -> Millis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

#[cfg(test)]
mod tests;
