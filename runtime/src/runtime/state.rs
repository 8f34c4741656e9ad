//! What changes in a runtime, beside its store.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, MutexGuard};
use std::task::Waker;

use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::{Fault, FaultCode, IdempotencyKey};

use super::agent::AgentSlot;
use super::beginning::Start;
use super::{Shared, store_refusal};
use crate::config::RuntimeConfig;
use crate::idempotency::Answers;
use crate::record::WorkerRecord;
use crate::records::Records;
use crate::shares::Shares;
use crate::store::{Loaded, Phase, StoreError, Ticket};
use crate::stream::Stream;
use crate::worker::Handle;
use crate::worker_ids::WorkerIds;

/// The id of the event that is the runtime's own start, which no stream shows.
const START_EVENT_ID: u64 = 1;

/// What changes in a runtime, under one lock.
pub(super) struct State {
    pub(super) running: bool,
    pub(super) ids: WorkerIds,
    pub(super) last_event_id: u64,
    pub(super) records: Records,
    /// Workers whose records in the store are damaged.
    pub(super) corrupt: BTreeSet<WorkerId>,
    /// The workers that have a thread. One that runs and has none needs no process.
    pub(super) threads: BTreeMap<WorkerId, Arc<Handle>>,
    /// Of the threads, those of agents.
    pub(super) agents: BTreeMap<WorkerId, AgentSlot>,
    /// Creates with a key whose process has not started yet.
    pub(super) starting: BTreeMap<IdempotencyKey, Arc<Start>>,
    /// Of workers that something happened to since the start, or that were watched.
    pub(super) streams: BTreeMap<WorkerId, Arc<Stream>>,
    pub(super) backlogs: Shares<WorkerId>,
    pub(super) ends: u64,
    pub(super) answers: Answers,
    /// The newest that the store has taken in.
    pub(super) last_ticket: Ticket,
}

impl State {
    pub(super) fn new(config: &RuntimeConfig) -> Self {
        Self {
            running: true,
            ids: if config.simulation.is_some() { WorkerIds::numbered() } else { WorkerIds::random() },
            last_event_id: START_EVENT_ID,
            records: Records::default(),
            corrupt: BTreeSet::new(),
            threads: BTreeMap::new(),
            agents: BTreeMap::new(),
            starting: BTreeMap::new(),
            streams: BTreeMap::new(),
            backlogs: Shares::new(config.limits.max_total_backlog_bytes),
            ends: 0,
            answers: Answers::default(),
            last_ticket: Ticket::default(),
        }
    }

    /// Takes in what a store had kept.
    pub(super) fn take_up(&mut self, loaded: Loaded) {
        let mut workers = loaded.workers;
        workers.sort_by_key(|record| {
            let ended_at = match &record.phase {
                Phase::Ended { at, .. } => Some(*at),
                Phase::Running | Phase::Stopping(_) => None,
            };
            (ended_at, record.created_by)
        });
        let newest = workers.iter().map(|record| record.last_event_id).max().unwrap_or(0);
        self.last_event_id = START_EVENT_ID.max(loaded.last_event_id).max(newest);
        for record in workers {
            self.records.put(record);
        }
        self.corrupt.extend(loaded.corrupt);
        for answer in loaded.answers {
            self.answers.keep(answer);
        }
        for diagnostic in loaded.diagnostics {
            tracing::warn!("store: {diagnostic}");
        }
    }
}

impl Shared {
    /// The record of a worker that a request names.
    pub(super) fn record<'a>(
        &self,
        state: &'a State,
        worker_id: &WorkerId,
    ) -> Result<&'a WorkerRecord, Fault> {
        if state.corrupt.contains(worker_id) {
            return Err(store_refusal(StoreError::Corrupt));
        }
        state.records.get(worker_id).ok_or_else(|| self.not_found(worker_id))
    }

    pub(super) fn refuse_when_stopped(&self, state: &State) -> Result<(), Fault> {
        if state.running {
            return Ok(());
        }
        let message = format!("runtime {} is stopped", self.config.runtime_id);
        Err(Fault::new(FaultCode::RuntimeStopped, message))
    }
}

/// The state, locked. Tasks that an event wakes which was published under the lock are woken when it has been
/// released: they may well ask the runtime something at once.
pub(super) struct Locked<'a> {
    pub(super) state: MutexGuard<'a, State>,
    // Fields are dropped in this order.
    pub(super) woken: Woken,
}

impl<'a> Locked<'a> {
    pub(super) fn new(state: MutexGuard<'a, State>) -> Self {
        Self { state, woken: Woken::default() }
    }
}

impl Deref for Locked<'_> {
    type Target = State;
    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

/// Wakes when it is dropped.
#[derive(Default)]
pub(super) struct Woken(pub(super) Vec<Waker>);

impl Drop for Woken {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}
