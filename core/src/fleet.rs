//! All workers of all runtimes as one stream, so that a list of them is live without being asked for again and again.
//!
//! Runtimes have streams of workers, and none of what workers there are. So each runtime is asked for its list once every
//! [`POLL_EVERY`], however many viewers there are, and not at all while there is none. What differs from the list before
//! is a change. An answer of the same bytes as the one before is not even read. Open requests are asked for where the
//! list says that there may be others than before.
//!
//! ```text
//!  Fleet ── Ask ──► driver ── Answered ──► Fleet ── Update ──► FleetFeed ◄── position ── FleetSession …
//! ```
//!
//! [`Fleet`] decides what is asked, and what has changed. [`FleetFeed`] is a value: the state of everything, and the newest
//! changes in a ring of bounded size. A [`FleetSession`] is the life of one viewer: it is shown the state of everything, and
//! then each change once, in order. Where the ring has run away from a viewer, it is shown the state anew. All frames are
//! encoded once for all viewers.
//!
//! A driver obeys:
//!
//! 1. [`Fleet::poll`] until it says [`FleetOutput::Wait`].
//! 2. On [`FleetOutput::Update`], [apply](FleetFeed::apply) it to the feed that the sessions are polled with.
//! 3. On [`FleetOutput::Ask`], drive the call beside all others, and feed its end with its ticket as
//!    [`FleetInput::Answered`].
//! 4. On [`FleetOutput::Wait`], wait for the instant, for an answer, and for viewers to come and go.

pub(crate) mod changes;
mod feed;
mod limits;
mod session;
mod source;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

pub use feed::{FleetFeed, FleetUpdate};
pub use limits::{LONGEST_POLL_PAUSE, MAX_CHANGE_BYTES, MAX_CHANGES, POLL_EVERY};
pub use session::{FleetSession, FleetSessionOutput};

use crate::browser_api::{FleetChange, FleetFrame, Now};
use crate::call::{Call, Seen};
use crate::error::Error;
use crate::feed::{Item, plain_frame};
use crate::id::RuntimeId;
use crate::policy::Policy;
use crate::registry::{OVERVIEW_TIMEOUT, Registry};
use crate::runtime_api::{Command, Operation, Reply};
use feed::Shown;
use source::{Question, Source};

/// What the machine hears.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is taken at once, and never kept")]
pub enum FleetInput {
    /// There is a viewer.
    Viewed,
    /// There is none any more: nothing is asked, and nothing is kept.
    Unviewed,
    /// How a call ended, and what it [recognises](Call::take_seen) next time.
    Answered(FleetTicket, Result<Reply, Error>, Option<Seen>),
}

/// What the machine says.
#[derive(Debug)]
pub enum FleetOutput {
    /// Drive this call to its end.
    Ask(FleetTicket, Box<Call>),
    /// This is new to the feed.
    Update(FleetUpdate),
    /// Nothing to do before this instant, but for what is heard; `None` where nobody watches.
    Wait(Option<Instant>),
}

/// Which answer a call is to bring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FleetTicket {
    runtime_id: RuntimeId,
    question: Question,
    /// Since when there are viewers: an answer for those before is ignored.
    watching: u64,
}

impl FleetTicket {
    /// Which runtime is asked.
    pub fn runtime_id(&self) -> &RuntimeId {
        &self.runtime_id
    }
}

/// What is asked of the runtimes, and what of their answers is new. See the [module](self).
pub struct Fleet {
    policy: Arc<dyn Policy>,
    sources: BTreeMap<RuntimeId, Source>,
    is_watched: bool,
    watching: u64,
    /// When to look next which runtimes there are; `None` where that was not looked at for these viewers.
    look_at: Option<Instant>,
    /// The number of the last change.
    position: u64,
    /// Whether every runtime has answered, or failed, so that there is a state to be shown.
    is_complete: bool,
    outputs: VecDeque<FleetUpdate>,
}

impl Fleet {
    /// Nobody watches yet. What the policy does not let be listed is not part of it.
    pub fn new(policy: Arc<dyn Policy>) -> Self {
        Self {
            policy,
            sources: BTreeMap::new(),
            is_watched: false,
            watching: 0,
            look_at: None,
            position: 0,
            is_complete: false,
            outputs: VecDeque::new(),
        }
    }

    /// Takes what happened.
    pub fn handle(&mut self, now: Now, registry: &Registry, input: FleetInput) {
        match input {
            FleetInput::Viewed if !self.is_watched => {
                self.is_watched = true;
                self.watching += 1;
            }
            FleetInput::Viewed => {}
            FleetInput::Unviewed => {
                self.is_watched = false;
                self.is_complete = false;
                self.look_at = None;
                self.sources.clear();
                self.position += 1;
                self.outputs.clear();
                self.outputs.push_back(FleetUpdate::reset(self.position));
            }
            FleetInput::Answered(ticket, result, seen) => self.answered(now, registry, &ticket, result, seen),
        }
    }

    /// What to do next. To be called until it says to wait.
    pub fn poll(&mut self, now: Now, registry: &mut Registry) -> FleetOutput {
        if self.is_watched {
            if self.look_at.is_none_or(|at| at <= now.instant) {
                self.look_at = Some(now.instant + POLL_EVERY);
                self.adopt(now, registry);
            }
            if let Some((ticket, call)) = self.ask(now, registry) {
                return FleetOutput::Ask(ticket, Box::new(call));
            }
            self.complete();
        }
        match self.outputs.pop_front() {
            Some(update) => FleetOutput::Update(update),
            None => FleetOutput::Wait(self.sources.values().filter_map(Source::due).min()),
        }
    }

    /// Takes over which runtimes there are.
    fn adopt(&mut self, now: Now, registry: &Registry) {
        let Self { sources, policy, .. } = self;
        let is_there =
            |id: &RuntimeId| registry.spec(id).is_some() && policy.permits(Operation::ListWorkers, id, None);
        let gone: Vec<RuntimeId> = sources.keys().filter(|id| !is_there(id)).cloned().collect();
        let all = registry.runtime_ids().iter().filter(|id| !sources.contains_key(*id) && is_there(id));
        let new: Vec<RuntimeId> = all.cloned().collect();
        for runtime_id in gone {
            self.sources.remove(&runtime_id);
            let changes = self.frames(vec![FleetChange::RuntimeGone { runtime_id: runtime_id.clone() }]);
            self.outputs.push_back(FleetUpdate::gone(runtime_id, changes));
        }
        for runtime_id in new {
            let Some(shown) = source::first(registry, &runtime_id) else { continue };
            let change = FleetChange::RuntimeChanged { runtime: shown.runtime.clone() };
            let shown = Arc::new(shown);
            self.sources.insert(runtime_id, Source::new(now.instant, shown.clone()));
            self.tell(shown, vec![change]);
        }
    }

    /// The next call that is due.
    fn ask(&mut self, now: Now, registry: &mut Registry) -> Option<(FleetTicket, Call)> {
        loop {
            let is_due = |source: &Source| source.due().is_some_and(|due| due <= now.instant);
            let (runtime_id, source) = self.sources.iter_mut().find(|(_, source)| is_due(source))?;
            let question = source.begin(now.instant);
            let runtime_id = runtime_id.clone();
            let command = match question {
                Question::Workers => Command::workers(),
                Question::Requests => Command::AllRequests,
            };
            let seen = source::lens_of(registry, &*self.policy, &runtime_id)
                .and_then(|lens| source.known_through(lens, question));
            let ticket = FleetTicket { runtime_id, question, watching: self.watching };
            match registry.call(now.instant, &ticket.runtime_id, command, Some(OVERVIEW_TIMEOUT)) {
                Ok(call) => {
                    let call = if question == Question::Workers { call.recognising(seen) } else { call };
                    return Some((ticket, call));
                }
                Err(error) => self.answered(now, registry, &ticket, Err(error), None),
            }
        }
    }

    fn answered(
        &mut self,
        now: Now,
        registry: &Registry,
        ticket: &FleetTicket,
        result: Result<Reply, Error>,
        seen: Option<Seen>,
    ) {
        let Some(source) = self.sources.get_mut(&ticket.runtime_id) else { return };
        if ticket.watching != self.watching || !source.is_asked(ticket.question) {
            return;
        }
        let before = source.shown.clone();
        let Some(shown) = source.answered(now, registry, &*self.policy, result, seen) else { return };
        let changes = changes::between(&before, &shown);
        self.tell(shown, changes);
    }

    /// Says what a runtime is like now.
    fn tell(&mut self, shown: Arc<Shown>, changes: Vec<FleetChange>) {
        let changes = self.frames(changes);
        self.outputs.push_back(FleetUpdate::changed(shown, changes));
    }

    /// The frames of changes; none while there is no viewer that would have seen what was before.
    fn frames(&mut self, changes: Vec<FleetChange>) -> Vec<Item> {
        if !self.is_complete {
            return Vec::new();
        }
        let frame = |change| {
            self.position += 1;
            encoded(&FleetFrame::Change { position: self.position, change })
        };
        changes.into_iter().map(frame).collect()
    }

    fn complete(&mut self) {
        if !self.is_complete && self.sources.values().all(Source::is_known) {
            self.is_complete = true;
            self.outputs.push_back(FleetUpdate::complete());
        }
    }
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet")
            .field("runtimes", &self.sources.len())
            .field("is_watched", &self.is_watched)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

fn encoded(frame: &FleetFrame) -> Item {
    // Plain structs of texts and numbers, and maps whose keys are texts: all of it can be JSON.
    plain_frame(&serde_json::to_vec(frame).expect("plain data"))
}

#[cfg(test)]
mod tests;
