//! What the writer's thread and the journal's users share: the [`Writer`] under a lock, and who waits for it.

use std::collections::BTreeSet;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Instant, SystemTime};

use super::engine::Engine;
use super::record::{Millis, Record, WorkerNo};
use super::writer::{Order, Writer};
use super::{Clock, Options, Ticket, WriteError};

/// What the writer's thread and the journal's users share.
pub(super) struct Shared {
    state: Mutex<State>,
    /// The writer may have something to do.
    work: Condvar,
    /// Something was written, or could not be.
    done: Condvar,
    clock: Clock,
}

struct State {
    writer: Writer,
    /// Tasks that wait to be told how it went.
    waiting: Vec<Waker>,
}

impl Shared {
    pub(super) fn new(options: &Options, clock: Clock) -> Arc<Self> {
        let state = State { writer: Writer::new(options), waiting: Vec::new() };
        Arc::new(Self { state: Mutex::new(state), work: Condvar::new(), done: Condvar::new(), clock })
    }

    /// Every change under the lock is complete in itself, so that a poisoned one guards a sound state.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what the writer knows.
    pub(super) fn ask<T>(&self, ask: impl FnOnce(&Writer) -> T) -> T {
        ask(&self.state().writer)
    }

    /// Does something for which the writer may have to wake.
    fn tell_writer<T>(&self, mut state: MutexGuard<'_, State>, act: impl FnOnce(&mut Writer) -> T) -> T {
        let result = act(&mut state.writer);
        let wakes = state.writer.has_news();
        drop(state);
        if wakes {
            self.work.notify_one();
        }
        result
    }

    pub(super) fn note(&self, records: impl IntoIterator<Item = Record>) -> Ticket {
        let now = (self.clock)();
        self.tell_writer(self.state(), |writer| writer.note(now, records))
    }

    pub(super) fn wait(&self, ticket: Ticket) -> Result<(), WriteError> {
        let mut state = self.state();
        if let Some(known) = state.writer.outcome(ticket) {
            return known;
        }
        state.writer.want(ticket);
        self.work.notify_one();
        let unknown = |state: &mut State| state.writer.outcome(ticket).is_none();
        let state = self.done.wait_while(state, unknown).unwrap_or_else(PoisonError::into_inner);
        state.writer.outcome(ticket).unwrap_or(Err(WriteError::Io))
    }

    pub(super) fn poll_durable(
        &self,
        ticket: Ticket,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), WriteError>> {
        let mut state = self.state();
        if let Some(known) = state.writer.outcome(ticket) {
            return Poll::Ready(known);
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            state.waiting.push(context.waker().clone());
        }
        self.tell_writer(state, |writer| writer.want(ticket));
        Poll::Pending
    }

    pub(super) fn close(&self) {
        self.tell_writer(self.state(), Writer::close);
    }

    /// What the writer is to do now.
    pub(super) fn step(&self) -> Order {
        self.state().writer.step((self.clock)())
    }

    pub(super) fn applied(&self, batch: Vec<Record>, result: Result<BTreeSet<WorkerNo>, WriteError>) {
        let mut state = self.state();
        state.writer.applied((self.clock)(), batch, result);
        self.tell(state);
    }

    pub(super) fn tidied(&self, has_more: bool) {
        self.state().writer.tidied((self.clock)(), has_more);
    }

    pub(super) fn leave(&self) {
        let mut state = self.state();
        state.writer.leave();
        self.tell(state);
    }

    /// Tells all who wait that something has changed.
    fn tell(&self, mut state: MutexGuard<'_, State>) {
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        self.done.notify_all();
        waiting.into_iter().for_each(Waker::wake);
    }

    /// The writer's loop.
    pub(super) fn run(&self, mut engine: impl Engine) {
        let leaving = Leaving(self);
        loop {
            match self.next() {
                Order::Apply(batch) => {
                    let result = engine.apply(&batch);
                    self.applied(batch, result);
                }
                Order::Tidy => self.tidied(engine.tidy(millis()).unwrap_or(false)),
                Order::Wait(_) => {}
                Order::Ended => break,
            }
        }
        let _ = engine.close();
        drop(engine);
        drop(leaving);
    }

    /// The next order, for which the thread waits.
    fn next(&self) -> Order {
        let mut state = self.state();
        loop {
            let now = (self.clock)();
            match state.writer.step(now) {
                Order::Wait(until) => {
                    let wait = until.saturating_duration_since(now);
                    state = self.work.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
                }
                order => return order,
            }
        }
    }
}

/// Tells those who wait that there is no writer any more, however its thread ends.
struct Leaving<'a>(&'a Shared);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

pub(super) fn now() -> Instant {
    Instant::now()
}

pub(super) fn millis() -> Millis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

#[cfg(test)]
mod tests;
