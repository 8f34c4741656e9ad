//! Workers that begin: nothing of one runs before the disk has it, and one that the disk does not take is taken back.

use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::Response;
use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::{Fault, IdempotencyKey, Reply};

use super::once::Keyed;
use super::publish::{Happened, Publication};
use super::state::Locked;
use super::{Shared, store_fault, store_refusal};
use crate::event::{Activity, Event};
use crate::record::{Phase, WorkerRecord};
use crate::store::{StoreError, Ticket};

/// Why a worker begins, and so what is left of it where it cannot.
pub(super) enum Beginning {
    /// It was created. Nothing is left.
    Create(Keyed),
    /// An agent is taken up again. It is left as it was before.
    Resume(Box<WorkerRecord>),
}

/// A worker that has begun, which is not certain before a ticket is durable.
pub(super) struct Begun {
    pub(super) worker_id: WorkerId,
    pub(super) why: Beginning,
    /// What it is answered with, unless more is known by then.
    pub(super) response: Response<Bytes>,
    pub(super) ticket: Ticket,
}

impl Beginning {
    fn keyed(&self) -> Option<&Keyed> {
        match self {
            Self::Create(keyed) => Some(keyed),
            Self::Resume(_) => None,
        }
    }

    /// The idempotency key of the request.
    pub(super) fn key(&self) -> Option<&IdempotencyKey> {
        self.keyed().and_then(Keyed::key)
    }
}

impl Shared {
    /// Refuses a command that has to be durable while nothing can be, before anything of it is done.
    pub(super) fn refuse_while_failing(&self) -> Result<(), Fault> {
        self.store.failing().map_or(Ok(()), |error| Err(store_refusal(error)))
    }

    /// Takes back a worker that the disk has not taken. Gives back how that is told: where nothing is left of it, nothing
    /// has been done.
    pub(super) fn take_back(&self, locked: &mut Locked<'_>, begun: &Begun, error: StoreError) -> Fault {
        let worker_id = &begun.worker_id;
        tracing::warn!(%worker_id, "worker does not begin: {error}");
        let taken_back = self.take_back_answer(locked, begun).and_then(|()| match &begun.why {
            Beginning::Create(_) => self.forget(locked, worker_id),
            Beginning::Resume(before) => self.leave(locked, WorkerRecord::clone(before)),
        });
        match taken_back {
            Ok(_) => store_refusal(error),
            Err(_) => store_fault(error),
        }
    }

    /// Leaves a worker that was taken up again as it was, and tells its viewers so.
    fn leave(&self, locked: &mut Locked<'_>, before: WorkerRecord) -> Result<Ticket, StoreError> {
        let worker_id = before.worker_id.clone();
        let mut happened = vec![Happened::event(Event::Status { status: Activity::Paused })];
        if let Phase::Ended { end, .. } = &before.phase {
            happened.push(Happened::event(Event::ended(end.clone())));
        }
        let publication = Publication { happened, record: Some(before), ..Publication::default() };
        self.publish(locked, &worker_id, publication)
    }

    /// Takes back the answer that is kept of a create: the same request may then be tried again under its key.
    pub(super) fn take_back_answer(&self, locked: &mut Locked<'_>, begun: &Begun) -> Result<(), StoreError> {
        let Some(answer) = begun.why.keyed().and_then(|keyed| keyed.no_answer(self)) else { return Ok(()) };
        let publication = Publication { answer: Some(answer), ..Publication::default() };
        self.publish(locked, &begun.worker_id, publication).map(drop)
    }

    /// Takes note that a worker's process has started. Gives back what that is answered with.
    pub(super) fn tell_started(&self, locked: &mut Locked<'_>, begun: &Begun) -> Response<Bytes> {
        let worker_id = &begun.worker_id;
        let Some(mut record) = locked.records.get(worker_id).cloned() else { return begun.response.clone() };
        record.started_at = Some(self.now());
        let (response, answer) = match &begun.why {
            Beginning::Resume(_) => (begun.response.clone(), None),
            Beginning::Create(keyed) => {
                let reply = Reply::Worker(Box::new(self.worker_detail(&record)));
                (reply.response(), keyed.answer(self, None, &reply))
            }
        };
        let publication = Publication { record: Some(record), answer, ..Publication::default() };
        match self.publish(locked, worker_id, publication) {
            Ok(_) => response,
            // The store says so again when the process writes. Until then the first answer is the one that is kept.
            Err(_) => begun.response.clone(),
        }
    }
}

/// What has come of a worker that begins. Told once.
#[derive(Default)]
pub(super) struct Start(Mutex<StartState>);

#[derive(Default)]
struct StartState {
    result: Option<Result<Response<Bytes>, Fault>>,
    waiting: Vec<Waker>,
}

impl Start {
    /// Tells it. What is told later is not heard.
    pub(super) fn tell(&self, result: Result<Response<Bytes>, Fault>) {
        // Nothing in here can fail half-way.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.result.get_or_insert(result);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<Result<Response<Bytes>, Fault>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &state.result {
            Some(result) => Poll::Ready(result.clone()),
            None => {
                if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                    state.waiting.push(context.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}
