//! All workers of all runtimes, as a client of their stream knows them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::SystemTime;

use super::attention::{Attention, idleness};
use crate::browser_api::{FleetChange, FleetRuntime, RequestView, WorkerView};
use crate::fleet::changes::{RuntimeState, between};
use crate::gateway_client::subject::Malformed;
use crate::id::{RuntimeId, WorkerId};
use crate::problem::Problem;
use crate::registry::Reachability;

/// How many runtimes, workers and open requests a [`FleetView`] has at most, together.
pub const MAX_FLEET_ENTRIES: usize = 1 << 20;

const TOO_LARGE: &str = "there are more workers than this client holds";

/// There are more than [`MAX_FLEET_ENTRIES`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{TOO_LARGE}")]
pub struct FleetTooLarge;

impl From<FleetTooLarge> for Malformed {
    fn from(_: FleetTooLarge) -> Self {
        Self(TOO_LARGE)
    }
}

impl From<FleetTooLarge> for Problem {
    fn from(error: FleetTooLarge) -> Self {
        Self::not_a_gateway(Malformed::from(error).0)
    }
}

/// All runtimes, their workers, and the open requests of these.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct FleetView {
    runtimes: BTreeMap<RuntimeId, RuntimeState>,
}

impl FleetView {
    pub(super) fn has(&self, runtime_id: &RuntimeId) -> bool {
        self.runtimes.contains_key(runtime_id)
    }

    pub(super) fn insert(&mut self, state: RuntimeState) -> Result<(), FleetTooLarge> {
        self.runtimes.insert(state.runtime.runtime_id.clone(), state);
        self.check()
    }

    /// Takes a change. One of a runtime that is not known changes nothing, unless it tells of that runtime.
    ///
    /// # Errors
    ///
    /// The state has become too large, and is of no further use.
    pub fn apply(&mut self, change: FleetChange) -> Result<(), FleetTooLarge> {
        match change {
            FleetChange::WorkerAdded { worker } | FleetChange::WorkerChanged { worker } => {
                let Some(of) = self.runtimes.get_mut(&worker.runtime_id) else { return Ok(()) };
                match of.workers.iter_mut().find(|known| known.worker_id == worker.worker_id) {
                    Some(known) => *known = *worker,
                    None => of.workers.push(*worker),
                }
            }
            FleetChange::WorkerGone { runtime_id, worker_id } => {
                let Some(of) = self.runtimes.get_mut(&runtime_id) else { return Ok(()) };
                of.workers.retain(|worker| worker.worker_id != worker_id);
            }
            FleetChange::RequestOpened { request } => {
                let Some(of) = self.runtimes.get_mut(&request.runtime_id) else { return Ok(()) };
                let name = (&request.worker_id, &request.request_id);
                // One of which something else is told now is opened again.
                match of.requests.iter_mut().find(|open| (&open.worker_id, &open.request_id) == name) {
                    Some(open) => *open = *request,
                    None => of.requests.push(*request),
                }
            }
            FleetChange::RequestResolved { runtime_id, worker_id, request_id } => {
                let Some(of) = self.runtimes.get_mut(&runtime_id) else { return Ok(()) };
                of.requests.retain(|open| (&open.worker_id, &open.request_id) != (&worker_id, &request_id));
            }
            FleetChange::RuntimeChanged { runtime } => match self.runtimes.get_mut(&runtime.runtime_id) {
                Some(of) => of.runtime = runtime,
                None => return self.insert(RuntimeState::bare(runtime)),
            },
            FleetChange::RuntimeGone { runtime_id } => {
                self.runtimes.remove(&runtime_id);
            }
            FleetChange::Unknown => {}
        }
        self.check()
    }

    fn check(&self) -> Result<(), FleetTooLarge> {
        let entries = self.runtimes.values().map(|of| 1 + of.workers.len() + of.requests.len());
        if entries.sum::<usize>() <= MAX_FLEET_ENTRIES { Ok(()) } else { Err(FleetTooLarge) }
    }

    /// The changes that make `before` what this is, for those who are to be told of changes alone.
    pub fn changes_since(&self, before: &Self) -> Vec<FleetChange> {
        let gone = before.runtimes.keys().filter(|id| !self.has(id));
        let gone = gone.map(|runtime_id| FleetChange::RuntimeGone { runtime_id: runtime_id.clone() });
        let changed = self.runtimes.iter().flat_map(|(id, now)| match before.runtimes.get(id) {
            Some(before) => between(before, now),
            None => {
                let told = FleetChange::RuntimeChanged { runtime: now.runtime.clone() };
                let of_workers = between(&RuntimeState::bare(now.runtime.clone()), now);
                std::iter::once(told).chain(of_workers).collect()
            }
        });
        gone.chain(changed).collect()
    }

    /// The runtimes, in the order of their ids.
    pub fn runtimes(&self) -> impl Iterator<Item = &FleetRuntime> {
        self.runtimes.values().map(|of| &of.runtime)
    }

    /// The runtimes whose workers cannot be listed now.
    pub fn unreached(&self) -> impl Iterator<Item = &FleetRuntime> {
        self.runtimes().filter(|runtime| {
            runtime.failing_since.is_some() || runtime.reachability == Reachability::Unreachable
        })
    }

    /// The workers: by runtime, and of each as it lists them.
    pub fn workers(&self) -> impl Iterator<Item = &WorkerView> {
        self.runtimes.values().flat_map(|of| &of.workers)
    }

    /// The open requests of a worker, the oldest first.
    pub fn requests_of(&self, runtime_id: &RuntimeId, worker_id: &WorkerId) -> Vec<&RequestView> {
        let of = self.runtimes.get(runtime_id);
        let of = of.map_or(&[][..], |of| &of.requests).iter().filter(|open| open.worker_id == *worker_id);
        let mut open: Vec<_> = of.collect();
        // Times of RFC 3339 in UTC are in the order of their texts.
        open.sort_by_key(|open| &open.opened_at);
        open
    }

    /// The workers by what they need: those that ask, the one that has waited longest first; those that failed lately, the last
    /// one first; those that run, at work before idle, the one that wrote last first; and all others, the one that ended last
    /// first.
    pub fn by_attention(&self, now: SystemTime) -> Vec<(&WorkerView, Attention)> {
        let mut workers = Vec::new();
        for of in self.runtimes.values() {
            let mut oldest: BTreeMap<&WorkerId, &str> = BTreeMap::new();
            for RequestView { worker_id, opened_at, .. } in &of.requests {
                let known = oldest.entry(worker_id).or_insert(opened_at);
                *known = (*known).min(opened_at);
            }
            for worker in &of.workers {
                let asked = oldest.get(&worker.worker_id).copied();
                let attention = Attention::of(worker, asked.is_some(), now);
                workers.push((place(worker, attention, asked), worker, attention));
            }
        }
        workers.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        workers.into_iter().map(|(_, worker, attention)| (worker, attention)).collect()
    }
}

/// The order of [`FleetView::by_attention`], for a worker whose oldest open request was asked then.
fn place<'a>(worker: &'a WorkerView, attention: Attention, asked: Option<&'a str>) -> impl Ord + 'a {
    let facts = &worker.facts;
    // Where it is not known since when one waits, others waited longer.
    let asked = asked.filter(|_| attention == Attention::Asks).map_or((true, ""), |asked| (false, asked));
    let idleness = if attention == Attention::Runs { idleness(worker) } else { 0 };
    let newest = match attention {
        Attention::Failed | Attention::Ended => facts.ended_at.as_deref(),
        Attention::Asks | Attention::Runs => facts.last_output_at.as_deref(),
    };
    (attention, asked, idleness, Reverse(newest))
}

#[cfg(test)]
mod tests;
