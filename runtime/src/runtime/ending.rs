//! How workers end: by order, by themselves, and with their runtime.

use std::sync::Arc;
use std::time::Duration;

use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::{Ack, EndReason, Fault, Reason, Reply, WorkerEnd};

use super::pending::Decided;
use super::publish::{Happened, Publication};
use super::state::Locked;
use super::{Shared, store_fault};
use crate::event::{Activity, ErrorCode, Event, RunResult};
use crate::frame::Diagnostic;
use crate::record::{Ordered, Phase, WorkerRecord, words};
use crate::store::{Role, StoreError, Ticket};
use crate::worker::Handle;

/// How much of the reason of a stop is kept, in characters.
const MAX_REASON: usize = 512;

/// The reason that workers are given when their runtime ends.
const SHUTTING_DOWN: &str = "the runtime is shutting down";

/// How a worker is told to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// Its processes are asked, and killed when the time of grace is over.
    Stop,
    /// They are killed.
    Cancel,
}

impl Shared {
    /// Stop and cancel. Repeated, they answer the present status and the first event; a worker that takes its time to
    /// stop can still be cancelled.
    pub(super) fn end(
        &self,
        worker_id: &WorkerId,
        order: Order,
        Reason { reason }: Reason,
    ) -> Result<Decided, Fault> {
        let mut locked = self.lock_for_change()?;
        self.record(&locked, worker_id)?;
        let reason = reason.map(|reason| reason.chars().take(MAX_REASON).collect());
        let ticket = self.order(&mut locked, worker_id, order, reason).map_err(store_fault)?;
        let record = self.record(&locked, worker_id)?;
        let reply = Reply::Ack(Ack {
            worker_ref: self.wire_ref(worker_id),
            status: record.status(),
            event_id: record.closed_by().unwrap_or(record.last_event_id),
        });
        Ok(Decided::changed(reply.response(), ticket))
    }

    /// Tells a worker to end. One without a process has ended on return.
    fn order(
        &self,
        locked: &mut Locked<'_>,
        worker_id: &WorkerId,
        order: Order,
        reason: Option<String>,
    ) -> Result<Ticket, StoreError> {
        let mut record = locked.records.get(worker_id).cloned().ok_or(StoreError::Missing)?;
        let cancel = order == Order::Cancel;
        let event_id = match &record.phase {
            Phase::Ended { .. } => return Ok(locked.last_ticket),
            Phase::Stopping(earlier) if earlier.cancel || !cancel => return Ok(locked.last_ticket),
            Phase::Stopping(earlier) => earlier.event_id,
            Phase::Running => locked.next_event_id(),
        };
        let is_new = matches!(record.phase, Phase::Running);
        record.phase = Phase::Stopping(Ordered { cancel, reason, event_id });
        let paused = is_new.then(|| Happened::event(Event::Status { status: Activity::Paused }));
        let publication = Publication {
            happened: paused.into_iter().collect(),
            record: Some(record),
            ..Publication::default()
        };
        let ticket = self.publish(locked, worker_id, publication)?;
        match locked.threads.get(worker_id) {
            Some(handle) => {
                self.pass_on(order, handle);
                Ok(ticket)
            }
            None => self.tell_end(locked, worker_id, plain(EndReason::Exited)),
        }
    }

    fn pass_on(&self, order: Order, handle: &Handle) {
        match order {
            Order::Stop => handle.stop(self.config.stop_grace),
            Order::Cancel => handle.cancel(),
        }
    }

    /// Takes note of a worker's end. `end` is how its process ended: what ended the process is known from the orders.
    pub(super) fn tell_end(
        &self,
        locked: &mut Locked<'_>,
        worker_id: &WorkerId,
        end: WorkerEnd,
    ) -> Result<Ticket, StoreError> {
        let Some(mut record) = locked.records.get(worker_id).filter(|record| !record.has_ended()).cloned()
        else {
            return Ok(locked.last_ticket);
        };
        let end = with_order(end, &record);
        let mut happened = Self::dismiss_lost(&mut record, &end.reason);
        happened.extend(told_before(&end).map(Happened::event));
        let event_id = record.closed_by().unwrap_or_else(|| locked.next_event_id());
        if record.closed_by().is_none() {
            happened.push(Happened::event(Event::Status { status: Activity::Paused }));
        }
        let text: Arc<str> = words(&end).into();
        tracing::info!(%worker_id, "worker {text}");
        happened.push(Happened::said(Event::ended(end.clone()), Role::System, text));
        record.phase = Phase::Ended { end, at: self.now(), event_id };
        let publication = Publication { happened, record: Some(record), ..Publication::default() };
        let ticket = self.publish(locked, worker_id, publication)?;
        // A store that cannot forget now will be asked again at the next end.
        let _ = self.make_room(locked);
        Ok(ticket)
    }

    /// Takes note that a worker went with the runtime that had started it.
    pub(super) fn tell_lost(
        &self,
        locked: &mut Locked<'_>,
        worker_id: &WorkerId,
    ) -> Result<Ticket, StoreError> {
        self.tell_end(locked, worker_id, plain(EndReason::RuntimeLost))
    }

    /// Ends the runtime and all of its workers, and waits until they are gone, but no longer than this.
    pub(super) fn shut_down(&self, order: Order, at_most: Duration) {
        let mut locked = Locked::new(self.lock_anyway());
        locked.running = false;
        let running: Vec<WorkerId> = locked
            .records
            .after(0)
            .filter(|record| !record.has_ended())
            .map(|record| record.worker_id.clone())
            .collect();
        for worker_id in running {
            let reason = Some(SHUTTING_DOWN.to_owned());
            if self.order(&mut locked, &worker_id, order, reason).is_err()
                && let Some(handle) = locked.threads.get(&worker_id)
            {
                // What cannot be kept is done all the same.
                self.pass_on(order, handle);
            }
        }
        drop(locked);
        let some_left = |state: &mut super::State| !state.threads.is_empty();
        drop(self.done.wait_timeout_while(self.lock_anyway(), at_most, some_left));
        let mut locked = Locked::new(self.lock_anyway());
        let Locked { state, woken } = &mut locked;
        for stream in state.streams.values() {
            woken.0.extend(stream.close(Diagnostic::Unavailable).into_values());
        }
        drop(locked);
        if self.store.close().is_err() {
            tracing::error!("the store could not be written to its end");
        }
    }
}

pub(super) fn plain(reason: EndReason) -> WorkerEnd {
    WorkerEnd { reason, exit_code: None, signal: None, message: None }
}

/// An end as it is told: a process that was ordered to end was stopped or cancelled, however it went.
fn with_order(end: WorkerEnd, record: &WorkerRecord) -> WorkerEnd {
    let Phase::Stopping(Ordered { cancel, reason, .. }) = &record.phase else { return end };
    let reason_of_end = match (&end.reason, cancel) {
        (EndReason::RuntimeLost | EndReason::StoreFailed, _) => return end,
        (_, true) => EndReason::Cancelled,
        (_, false) => EndReason::Stopped,
    };
    WorkerEnd { reason: reason_of_end, message: reason.clone(), ..end }
}

/// What clients of v1 are told of an end that no order brought about.
fn told_before(end: &WorkerEnd) -> Option<Event> {
    let failure = |code| Event::failure(code, format!("the worker {}", words(end)));
    match (&end.reason, end.exit_code) {
        (EndReason::Exited, Some(0)) => Some(Event::RunEnd { result: RunResult::Finished }),
        (EndReason::Exited | EndReason::Signalled | EndReason::NotStarted, _) => {
            Some(failure(ErrorCode::ProviderError))
        }
        (EndReason::StoreFailed | EndReason::RuntimeLost, _) => Some(failure(ErrorCode::Internal)),
        (EndReason::Stopped | EndReason::Cancelled | EndReason::Other(_), _) => None,
    }
}

#[cfg(test)]
mod tests;
