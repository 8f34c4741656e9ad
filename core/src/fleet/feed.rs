//! The state of everything, and the newest changes.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use super::changes::RuntimeState;
use super::encoded;
use super::limits::{MAX_CHANGE_BYTES, MAX_CHANGES};
use crate::browser_api::{FleetFrame, FleetRuntime, RequestView, WorkerView};
use crate::feed::Item;
use crate::id::RuntimeId;

/// One runtime as it is shown. It is shared, and never changed.
#[derive(Debug)]
pub(super) struct Shown {
    state: RuntimeState,
    /// Encoded when the first viewer is to see it.
    frame: OnceLock<Item>,
}

impl Shown {
    pub(super) fn new(runtime: FleetRuntime, workers: Vec<WorkerView>, requests: Vec<RequestView>) -> Self {
        Self { state: RuntimeState { runtime, workers, requests }, frame: OnceLock::new() }
    }

    /// The frame that tells all of it.
    pub(super) fn frame(&self) -> Item {
        let frame = || {
            let (runtime, workers) = (self.runtime.clone(), self.workers.clone());
            encoded(&FleetFrame::Runtime { runtime, workers, requests: self.requests.clone() })
        };
        self.frame.get_or_init(frame).clone()
    }
}

impl Deref for Shown {
    type Target = RuntimeState;

    fn deref(&self) -> &RuntimeState {
        &self.state
    }
}

/// What is new, for [`FleetFeed::apply`].
#[derive(Clone, Debug)]
pub struct FleetUpdate(Kind);

#[derive(Clone, Debug)]
enum Kind {
    /// Nothing is known any more; the next change is the one after this.
    Reset(u64),
    Changed(Arc<Shown>, Vec<Item>),
    Gone(RuntimeId, Vec<Item>),
    /// From here on there is a state of everything.
    Complete,
}

impl FleetUpdate {
    pub(super) fn reset(position: u64) -> Self {
        Self(Kind::Reset(position))
    }

    pub(super) fn changed(shown: Arc<Shown>, changes: Vec<Item>) -> Self {
        Self(Kind::Changed(shown, changes))
    }

    pub(super) fn gone(runtime_id: RuntimeId, changes: Vec<Item>) -> Self {
        Self(Kind::Gone(runtime_id, changes))
    }

    pub(super) fn complete() -> Self {
        Self(Kind::Complete)
    }
}

/// The state of everything, and the newest changes. See the [module](super).
#[derive(Debug)]
pub struct FleetFeed {
    shown: BTreeMap<RuntimeId, Arc<Shown>>,
    is_complete: bool,
    ring: VecDeque<Item>,
    /// The number of the ring's first change, or of the next one where the ring is empty.
    first: u64,
    bytes: usize,
    max_changes: usize,
    max_bytes: usize,
}

/// What is next for a viewer.
pub(super) enum Next {
    Change(Item),
    Nothing,
    /// The ring no longer has it.
    Lagged,
}

impl Default for FleetFeed {
    fn default() -> Self {
        Self::with_limits(MAX_CHANGES, MAX_CHANGE_BYTES)
    }
}

impl FleetFeed {
    /// A feed of which nothing is known yet, that keeps so many changes of so many bytes, and the newest in any case.
    pub fn with_limits(max_changes: usize, max_bytes: usize) -> Self {
        Self {
            shown: BTreeMap::new(),
            is_complete: false,
            ring: VecDeque::new(),
            first: 1,
            bytes: 0,
            max_changes,
            max_bytes,
        }
    }

    /// Takes what is new.
    pub fn apply(&mut self, update: FleetUpdate) {
        match update.0 {
            Kind::Reset(position) => {
                self.shown.clear();
                self.ring.clear();
                (self.is_complete, self.bytes, self.first) = (false, 0, position + 1);
            }
            Kind::Changed(shown, changes) => {
                self.shown.insert(shown.runtime.runtime_id.clone(), shown);
                self.push(changes);
            }
            Kind::Gone(runtime_id, changes) => {
                self.shown.remove(&runtime_id);
                self.push(changes);
            }
            Kind::Complete => self.is_complete = true,
        }
    }

    fn push(&mut self, changes: Vec<Item>) {
        for change in changes {
            self.bytes += change.event().len();
            self.ring.push_back(change);
            while self.ring.len() > 1 && (self.ring.len() > self.max_changes || self.bytes > self.max_bytes) {
                let Some(oldest) = self.ring.pop_front() else { break };
                self.bytes -= oldest.event().len();
                self.first += 1;
            }
        }
    }

    /// The state of everything and the number of the last change that is part of it; `None` while some of it is not known.
    pub(super) fn snapshot(&self) -> Option<(u64, VecDeque<Arc<Shown>>)> {
        let position = self.first + self.ring.len() as u64 - 1;
        self.is_complete.then(|| (position, self.shown.values().cloned().collect()))
    }

    /// The change after the one with this number.
    pub(super) fn after(&self, position: u64) -> Next {
        let Some(index) = (position + 1).checked_sub(self.first) else { return Next::Lagged };
        let change = usize::try_from(index).ok().and_then(|index| self.ring.get(index));
        change.map_or(Next::Nothing, |change| Next::Change(change.clone()))
    }
}
