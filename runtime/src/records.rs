//! All workers that a runtime knows, and which of those that have ended it forgets.

use std::collections::{BTreeMap, VecDeque};

use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::WorkerStatus;

use crate::limits::Limits;
use crate::record::{Phase, WorkerRecord};
use crate::timestamp::Timestamp;

/// How much memory the records of workers that have ended take at most, in bytes.
const MAX_ENDED_BYTES: usize = 32 * 1024 * 1024;

/// How many names of workers that were forgotten are remembered, so that a client which reads a list page by page
/// finds its place.
const MAX_FORGOTTEN: usize = 4096;

/// How many workers there are, by status.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Census {
    pub(crate) running: u64,
    pub(crate) stopped: u64,
    pub(crate) cancelled: u64,
}

impl Census {
    pub(crate) fn total(self) -> u64 {
        self.running + self.stopped + self.cancelled
    }
}

/// All workers.
#[derive(Default, Debug)]
pub(crate) struct Records {
    by_id: BTreeMap<WorkerId, WorkerRecord>,
    /// By the event of their creation: oldest first.
    by_age: BTreeMap<u64, WorkerId>,
    /// Those that have ended, in the order of their ends.
    ended: VecDeque<WorkerId>,
    ended_bytes: usize,
    /// Where those stood in the list that are not in it any more, and when which of them goes.
    forgotten: BTreeMap<WorkerId, u64>,
    forgotten_in_order: VecDeque<WorkerId>,
    census: Census,
}

impl Records {
    pub(crate) fn get(&self, worker_id: &WorkerId) -> Option<&WorkerRecord> {
        self.by_id.get(worker_id)
    }

    /// For what changes neither status nor identity.
    pub(crate) fn get_mut(&mut self, worker_id: &WorkerId) -> Option<&mut WorkerRecord> {
        self.by_id.get_mut(worker_id)
    }

    /// Takes in a new worker, or a new state of one. One that has ended stays so, unless it is taken up again.
    pub(crate) fn put(&mut self, record: WorkerRecord) {
        let worker_id = record.worker_id.clone();
        let (status, has_ended, size) = (record.status(), record.has_ended(), record.size());
        self.by_age.insert(record.created_by, worker_id.clone());
        let earlier = self.by_id.insert(worker_id.clone(), record);
        if let Some(earlier) = &earlier {
            *self.census.of(earlier.status()) -= 1;
        }
        *self.census.of(status) += 1;
        if has_ended && earlier.as_ref().is_none_or(|earlier| !earlier.has_ended()) {
            self.ended.push_back(worker_id);
            self.ended_bytes += size;
        } else if let Some(earlier) = earlier.filter(|earlier| earlier.has_ended() && !has_ended) {
            self.ended.retain(|ended| *ended != worker_id);
            self.ended_bytes -= earlier.size();
        }
    }

    /// Forgets a worker that has ended.
    pub(crate) fn remove(&mut self, worker_id: &WorkerId) -> Option<WorkerRecord> {
        let record = self.by_id.remove(worker_id)?;
        self.by_age.remove(&record.created_by);
        *self.census.of(record.status()) -= 1;
        if let Some(position) = self.ended.iter().position(|ended| ended == worker_id) {
            self.ended.remove(position);
            self.ended_bytes -= record.size();
        }
        self.forgotten.insert(worker_id.clone(), record.created_by);
        self.forgotten_in_order.push_back(worker_id.clone());
        if self.forgotten_in_order.len() > MAX_FORGOTTEN
            && let Some(oldest) = self.forgotten_in_order.pop_front()
        {
            self.forgotten.remove(&oldest);
        }
        Some(record)
    }

    /// The next worker that has to make room.
    pub(crate) fn surplus(&self, now: Timestamp, limits: &Limits) -> Option<&WorkerId> {
        let oldest = self.ended.front()?;
        let is_old = self.get(oldest).is_some_and(|record| match &record.phase {
            Phase::Ended { at, .. } => at.age(now) >= limits.keep_ended,
            Phase::Running | Phase::Stopping(_) => false,
        });
        let is_over = self.ended.len() > limits.max_ended_workers || self.ended_bytes > MAX_ENDED_BYTES;
        (is_old || is_over).then_some(oldest)
    }

    pub(crate) fn census(&self) -> Census {
        self.census
    }

    /// All workers after a place in the list, oldest first.
    pub(crate) fn after(&self, place: u64) -> impl Iterator<Item = &WorkerRecord> {
        self.by_age.range(place.saturating_add(1)..).filter_map(|(_, worker_id)| self.by_id.get(worker_id))
    }

    /// The place of a worker in the list, also of one that is not in it any more.
    pub(crate) fn place(&self, worker_id: &WorkerId) -> Option<u64> {
        let there = self.by_id.get(worker_id).map(|record| record.created_by);
        there.or_else(|| self.forgotten.get(worker_id).copied())
    }

    /// Whether a worker has or had that name, as far as is known.
    pub(crate) fn is_known(&self, worker_id: &WorkerId) -> bool {
        self.by_id.contains_key(worker_id) || self.forgotten.contains_key(worker_id)
    }
}

impl Census {
    fn of(&mut self, status: WorkerStatus) -> &mut u64 {
        match status {
            WorkerStatus::Running => &mut self.running,
            WorkerStatus::Cancelled => &mut self.cancelled,
            WorkerStatus::Stopped | WorkerStatus::Unknown => &mut self.stopped,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
