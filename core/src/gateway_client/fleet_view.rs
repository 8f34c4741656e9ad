//! All workers of all runtimes, as a client of their stream knows them, and which of them need attention first.

use std::cmp::Reverse;

use crate::browser_api::{FleetChange, FleetFrame, FleetRuntime, RequestView, WorkerView};
use crate::fleet::changes::{RuntimeState, between};
use crate::id::{RuntimeId, WorkerId};
use crate::registry::Reachability;
use crate::runtime_api::{EndReason, WorkerStatus};

/// The state that the frames of the stream tell. Each frame is [applied](FleetView::apply) in the order in which it comes.
#[derive(Clone, Default, Debug)]
pub struct FleetView {
    runtimes: Vec<RuntimeState>,
    /// How many runtimes of a snapshot are still to come; `None` before the first one.
    awaited: Option<u64>,
}

/// What a worker needs of those who look after it. What needs most stands first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Attention {
    /// It waits for an answer.
    Asks,
    /// It ended otherwise than it should.
    Failed,
    /// It is at work.
    Runs,
    /// It has ended as it should, or was ended.
    Ended,
}

impl Attention {
    /// What a worker needs, given how many of its requests are open.
    pub fn of(worker: &WorkerView, open_requests: usize) -> Self {
        let end = worker.facts.end.as_ref();
        let failed = end.is_some_and(|end| match end.reason {
            EndReason::Exited => end.exit_code.is_some_and(|code| code != 0),
            EndReason::Signalled
            | EndReason::NotStarted
            | EndReason::RuntimeLost
            | EndReason::StoreFailed => true,
            EndReason::Stopped | EndReason::Cancelled | EndReason::Other(_) => false,
        });
        match worker.status {
            WorkerStatus::Running if open_requests > 0 => Self::Asks,
            WorkerStatus::Running => Self::Runs,
            _ if failed => Self::Failed,
            _ => Self::Ended,
        }
    }
}

impl FleetView {
    /// Takes a frame. What is different by it, where that is one change; a state that is not complete yet says nothing.
    pub fn apply(&mut self, frame: FleetFrame) -> Option<FleetChange> {
        match frame {
            FleetFrame::Snapshot { runtimes, .. } => {
                self.runtimes.clear();
                self.awaited = Some(runtimes);
                None
            }
            FleetFrame::Runtime { runtime, workers, requests } => {
                self.awaited = self.awaited.map(|awaited| awaited.saturating_sub(1));
                self.runtimes.push(RuntimeState { runtime, workers, requests });
                None
            }
            FleetFrame::Change { change, .. } => {
                self.change(change.clone());
                Some(change)
            }
            FleetFrame::Diagnostic { .. } => None,
        }
    }

    fn change(&mut self, change: FleetChange) {
        match change {
            FleetChange::WorkerAdded { worker } | FleetChange::WorkerChanged { worker } => {
                let Some(of) = self.of(&worker.runtime_id) else { return };
                match of.workers.iter_mut().find(|known| known.worker_id == worker.worker_id) {
                    Some(known) => *known = *worker,
                    None => of.workers.push(*worker),
                }
            }
            FleetChange::WorkerGone { runtime_id, worker_id } => {
                let Some(of) = self.of(&runtime_id) else { return };
                of.workers.retain(|worker| worker.worker_id != worker_id);
            }
            FleetChange::RequestOpened { request } => {
                let Some(of) = self.of(&request.runtime_id) else { return };
                of.requests.push(*request);
            }
            FleetChange::RequestResolved { runtime_id, worker_id, request_id } => {
                let Some(of) = self.of(&runtime_id) else { return };
                of.requests.retain(|open| (&open.worker_id, &open.request_id) != (&worker_id, &request_id));
            }
            FleetChange::RuntimeChanged { runtime } => match self.of(&runtime.runtime_id) {
                Some(of) => of.runtime = runtime,
                None => self.runtimes.push(RuntimeState::bare(runtime)),
            },
            FleetChange::RuntimeGone { runtime_id } => {
                self.runtimes.retain(|of| of.runtime.runtime_id != runtime_id);
            }
            FleetChange::Unknown => {}
        }
    }

    fn of(&mut self, runtime_id: &RuntimeId) -> Option<&mut RuntimeState> {
        self.runtimes.iter_mut().find(|of| of.runtime.runtime_id == *runtime_id)
    }

    /// The changes that make `before` what this is, for those who are to be told of changes alone.
    pub fn changes_since(&self, before: &Self) -> Vec<FleetChange> {
        let known = |runtimes: &[RuntimeState], id: &RuntimeId| {
            runtimes.iter().position(|of| of.runtime.runtime_id == *id)
        };
        let gone = before.runtimes.iter().map(|of| &of.runtime.runtime_id);
        let gone = gone.filter(|id| known(&self.runtimes, id).is_none());
        let gone = gone.map(|runtime_id| FleetChange::RuntimeGone { runtime_id: runtime_id.clone() });
        let changed =
            self.runtimes.iter().flat_map(|now| match known(&before.runtimes, &now.runtime.runtime_id) {
                Some(index) => between(&before.runtimes[index], now),
                None => {
                    let told = FleetChange::RuntimeChanged { runtime: now.runtime.clone() };
                    let of_workers = between(&RuntimeState::bare(now.runtime.clone()), now);
                    std::iter::once(told).chain(of_workers).collect()
                }
            });
        gone.chain(changed).collect()
    }

    /// Whether the state is whole: a snapshot has come, with all of its runtimes.
    pub fn is_complete(&self) -> bool {
        self.awaited == Some(0)
    }

    /// The runtimes, in the order of the gateway's configuration.
    pub fn runtimes(&self) -> impl Iterator<Item = &FleetRuntime> {
        self.runtimes.iter().map(|of| &of.runtime)
    }

    /// The runtimes whose workers cannot be listed now.
    pub fn unreached(&self) -> impl Iterator<Item = &FleetRuntime> {
        self.runtimes().filter(|runtime| {
            runtime.failing_since.is_some() || runtime.reachability == Reachability::Unreachable
        })
    }

    /// The workers: by runtime, and of each as it lists them.
    pub fn workers(&self) -> impl Iterator<Item = &WorkerView> {
        self.runtimes.iter().flat_map(|of| &of.workers)
    }

    /// The open requests of a worker, the oldest first.
    pub fn requests_of<'a>(
        &'a self,
        runtime_id: &'a RuntimeId,
        worker_id: &'a WorkerId,
    ) -> impl Iterator<Item = &'a RequestView> {
        let of = self.runtimes.iter().filter(move |of| of.runtime.runtime_id == *runtime_id);
        of.flat_map(|of| &of.requests).filter(move |request| request.worker_id == *worker_id)
    }

    /// The workers by what they need: those that ask, the one that has waited longest first; those that failed, the last one
    /// first; those at work, the one that wrote last first; and all others, the one that ended last first.
    pub fn by_attention(&self) -> Vec<(&WorkerView, Attention)> {
        let mut workers: Vec<_> = self
            .workers()
            .map(|worker| {
                let open = self.requests_of(&worker.runtime_id, &worker.worker_id);
                (worker, Attention::of(worker, open.count()))
            })
            .collect();
        workers.sort_by_cached_key(|(worker, attention)| {
            let facts = &worker.facts;
            let asked = self.requests_of(&worker.runtime_id, &worker.worker_id).map(|open| &*open.opened_at);
            let oldest = asked.min().filter(|_| *attention == Attention::Asks).map(str::to_owned);
            // Times of RFC 3339 in UTC are in the order of their texts.
            let newest = match attention {
                Attention::Failed | Attention::Ended => &facts.ended_at,
                Attention::Asks | Attention::Runs => &facts.last_output_at,
            };
            (*attention, oldest, Reverse(newest.clone()))
        });
        workers
    }
}

#[cfg(test)]
mod tests;
