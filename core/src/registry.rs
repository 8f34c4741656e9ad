//! Which runtimes there are, what each can do, how each is faring, and the way of a command to one of them.
//!
//! A registry is a value. A server that runs several event loops [clones](Registry::clone) one for each: the
//! clones share the count of what is in flight, and tell each other the rest as a [`Change`] whenever there is one.

mod circuit;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::backoff::Jitter;
use crate::call::{Call, CallContext, CallLimits, CallReport, Permit};
use crate::cursor::UpstreamCursor;
use crate::error::{Error, ErrorKind};
use crate::id::{RuntimeId, WorkerRef};
use crate::policy::Policy;
use crate::runtime_api::{Command, Feature, Operation, RuntimeStatus, RuntimeSummary};
use crate::secret::{Access, Token};
use crate::watch::{OnExpiredCursor, Watch, WatchContext};
use circuit::Circuit;

/// How long a list over all runtimes waits for each of them.
pub const OVERVIEW_TIMEOUT: Duration = Duration::from_secs(3);

/// What a client whose runtime's share of connections is in use is told to wait.
const SHARE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// How stale another registry's idea of when a runtime was last heard of may be.
const LAST_SEEN_RESOLUTION: Duration = Duration::from_secs(1);

/// Where a runtime runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum RuntimeKind {
    /// In the gateway's own process.
    Embedded,
    /// Behind REST and WebSocket.
    Remote,
}

impl RuntimeKind {
    /// What clients know it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded_worker_runtime",
            Self::Remote => "remote_worker_runtime",
        }
    }
}

/// What is configured about a runtime.
#[derive(Clone, Debug)]
pub struct RuntimeSpec {
    /// Its name, which the runtime must go by itself.
    pub runtime_id: RuntimeId,
    /// What people call it.
    pub display_name: Option<String>,
    /// Where it runs.
    pub kind: RuntimeKind,
    /// The way there.
    pub access: Access,
    /// The bounds of calls to it.
    pub limits: CallLimits,
    /// How many calls may be under way at the same time, over all clones of the registry.
    pub max_in_flight: usize,
    /// How long a stream that was lost is tried again before its viewers are told to come back themselves.
    pub give_up_after: Duration,
}

/// Two runtimes have the same id.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the runtime id {0} stands twice")]
pub struct DuplicateRuntime(pub RuntimeId);

/// What is known of the way to a runtime.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reachability {
    /// It answered.
    Reachable,
    /// It did not, or something else answered in its place.
    Unreachable,
    /// It answered, but does not know the gateway's credential.
    Unauthorized,
    /// It has not been asked.
    #[serde(other)]
    Unknown,
}

impl Reachability {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reachable => "reachable",
            Self::Unreachable => "unreachable",
            Self::Unauthorized => "unauthorized",
            Self::Unknown => "unknown",
        }
    }
}

/// How a runtime is faring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Health {
    /// What is known of the way there.
    pub reachability: Reachability,
    /// When it last answered.
    pub last_seen: Option<Instant>,
    /// What it last said of itself, scrubbed.
    pub summary: Option<RuntimeSummary>,
    /// What it has answered that it does not have.
    pub unsupported: BTreeSet<Operation>,
    circuit: Circuit,
}

impl Health {
    /// The runtime's own word about its state.
    pub fn status(&self) -> RuntimeStatus {
        self.summary.as_ref().map_or(RuntimeStatus::Unknown, |summary| summary.status)
    }

    /// Whether the runtime has said that it has a feature.
    pub fn has(&self, feature: Feature) -> bool {
        self.summary.as_ref().is_some_and(|summary| summary.has(feature))
    }

    /// Whether the runtime can do something, as far as is known.
    pub fn can(&self, operation: Operation) -> bool {
        !self.unsupported.contains(&operation) && operation.feature().is_none_or(|feature| self.has(feature))
    }
}

/// What one registry has learned and its clones have not.
#[derive(Clone, Debug)]
pub struct Change {
    runtime_id: RuntimeId,
    health: Health,
    token: Option<Token>,
}

/// All runtimes that a gateway is configured with. See the [module](self).
#[derive(Clone, Debug)]
pub struct Registry {
    /// In the order of the configuration.
    order: Vec<RuntimeId>,
    entries: BTreeMap<RuntimeId, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    spec: RuntimeSpec,
    health: Health,
    /// [`Health::last_seen`] as the clones know it.
    shared_last_seen: Option<Instant>,
    in_flight: Arc<AtomicUsize>,
    /// Each runtime has its own, so that what befalls one does not even change how long another is paused for.
    jitter: Jitter,
}

impl Registry {
    /// A registry that knows nothing yet of how its runtimes are faring. `seed` spreads pauses.
    pub fn new(specs: Vec<RuntimeSpec>, seed: u64) -> Result<Self, DuplicateRuntime> {
        let mut registry = Self { order: Vec::new(), entries: BTreeMap::new() };
        let mut seeds = Jitter::new(seed);
        for spec in specs {
            let runtime_id = spec.runtime_id.clone();
            let health = Health {
                reachability: Reachability::Unknown,
                last_seen: None,
                summary: None,
                unsupported: BTreeSet::new(),
                circuit: Circuit::default(),
            };
            let jitter = Jitter::new(seeds.next());
            let entry = Entry { spec, health, shared_last_seen: None, in_flight: Arc::default(), jitter };
            if registry.entries.insert(runtime_id.clone(), entry).is_some() {
                return Err(DuplicateRuntime(runtime_id));
            }
            registry.order.push(runtime_id);
        }
        Ok(registry)
    }

    /// The runtimes, in the order of the configuration.
    pub fn runtime_ids(&self) -> &[RuntimeId] {
        &self.order
    }

    /// What is configured about a runtime.
    pub fn spec(&self, runtime_id: &RuntimeId) -> Option<&RuntimeSpec> {
        self.entries.get(runtime_id).map(|entry| &entry.spec)
    }

    /// How a runtime is faring.
    pub fn health(&self, runtime_id: &RuntimeId) -> Option<&Health> {
        self.entries.get(runtime_id).map(|entry| &entry.health)
    }

    /// The call that carries a command to its runtime, or why there is none.
    ///
    /// With `patience` the call takes no longer than that; else as long as the runtime's limits allow.
    pub fn call(
        &mut self,
        now: Instant,
        runtime_id: &RuntimeId,
        command: Command,
        patience: Option<Duration>,
    ) -> Result<Call, Error> {
        let refuse = |error| command.refused(error, runtime_id);
        let Some(entry) = self.entries.get_mut(runtime_id) else {
            return Err(refuse(Error::new(ErrorKind::UnknownRuntime)));
        };
        let unavailable = |detail, retry_after| {
            let error = Error::with_detail(ErrorKind::RuntimeUnavailable, detail);
            refuse(error.with_retry_after(Some(retry_after)))
        };
        if let Some(feature) = entry.health.lacks(&command) {
            let detail = format!("the runtime does not have the feature `{}`", feature.name());
            return Err(refuse(Error::with_detail(ErrorKind::Unsupported, detail)));
        }
        let Some(permit) = Permit::of(&entry.in_flight, entry.spec.max_in_flight) else {
            let detail = "as many commands are under way to this runtime as may be";
            return Err(unavailable(detail, SHARE_RETRY_AFTER));
        };
        if let Err(retry_after) = entry.health.circuit.admit(now) {
            return Err(unavailable("this runtime has failed too often just now", retry_after));
        }
        let total = entry.spec.limits.total();
        let context = CallContext {
            runtime_id: runtime_id.clone(),
            access: entry.spec.access.clone(),
            limits: entry.spec.limits,
            honours_keys: entry.health.has(Feature::Idempotency),
            jitter: Jitter::new(entry.jitter.next()),
            permit,
        };
        Ok(Call::new(now, context, command, patience.map_or(total, |patience| patience.min(total))))
    }

    /// Whether a worker may be watched, as far as the gateway can tell.
    pub fn permit_observation(&self, policy: &dyn Policy, worker: &WorkerRef) -> Result<(), Error> {
        let WorkerRef { runtime_id, worker_id } = worker;
        let kind = match self.entries.contains_key(runtime_id) {
            false => ErrorKind::UnknownRuntime,
            true if policy.permits(Operation::ObserveEvents, runtime_id, Some(worker_id)) => return Ok(()),
            true => ErrorKind::Denied,
        };
        Err(Error::new(kind).of_runtime(runtime_id).of_worker(Some(worker_id)))
    }

    /// The watch that carries a worker's stream, from `place` or, without one, from a snapshot; or why there is none.
    pub fn watch(
        &mut self,
        now: Instant,
        worker: &WorkerRef,
        place: Option<UpstreamCursor>,
        at_lost_place: OnExpiredCursor,
    ) -> Result<Watch, Error> {
        let unknown = || {
            let error = Error::new(ErrorKind::UnknownRuntime).of_runtime(&worker.runtime_id);
            error.of_worker(Some(&worker.worker_id))
        };
        let entry = self.entries.get_mut(&worker.runtime_id).ok_or_else(unknown)?;
        let context = WatchContext {
            worker: worker.clone(),
            access: entry.spec.access.clone(),
            limits: entry.spec.limits,
            give_up_after: entry.spec.give_up_after,
            jitter: Jitter::new(entry.jitter.next()),
        };
        Ok(Watch::new(now, context, place, at_lost_place))
    }

    /// Learns from a watch: that its runtime can be observed, or how it ended. What the clones need to know comes back.
    pub fn observed(
        &mut self,
        now: Instant,
        runtime_id: &RuntimeId,
        result: Result<(), &Error>,
        token: Option<Token>,
    ) -> Option<Change> {
        let verdict = result.map(|()| None).map_err(Error::kind);
        self.learn(now, runtime_id, Operation::ObserveEvents, CallReport { verdict, token })
    }

    /// Learns from how a call ended. What the clones need to know comes back.
    ///
    /// A call that was dropped half-way teaches nothing and is not missed.
    pub fn finish(&mut self, now: Instant, call: Call) -> Option<Change> {
        let operation = call.command().operation();
        let runtime_id = call.runtime_id().clone();
        self.learn(now, &runtime_id, operation, call.lesson()?)
    }

    fn learn(
        &mut self,
        now: Instant,
        runtime_id: &RuntimeId,
        operation: Operation,
        CallReport { verdict, token }: CallReport,
    ) -> Option<Change> {
        let entry = self.entries.get_mut(runtime_id)?;
        if let Some(token) = &token {
            entry.spec.access = entry.spec.access.with_token(token.clone());
        }
        let learned = entry.health.learn(now, operation, verdict, &mut entry.jitter);
        let stale = match (entry.health.last_seen, entry.shared_last_seen) {
            (Some(seen), Some(shared)) => seen.saturating_duration_since(shared) >= LAST_SEEN_RESOLUTION,
            (seen, shared) => seen != shared,
        };
        (learned || stale || token.is_some()).then(|| {
            entry.shared_last_seen = entry.health.last_seen;
            Change { runtime_id: runtime_id.clone(), health: entry.health.clone(), token }
        })
    }

    /// Uses another token for a runtime from now on. What the clones need to know comes back.
    pub fn rotate(&mut self, runtime_id: &RuntimeId, token: Token) -> Option<Change> {
        let entry = self.entries.get_mut(runtime_id)?;
        if entry.spec.access.has_token(&token) {
            return None;
        }
        entry.spec.access = entry.spec.access.with_token(token.clone());
        Some(Change { runtime_id: runtime_id.clone(), health: entry.health.clone(), token: Some(token) })
    }

    /// Takes over what a clone has learned.
    pub fn apply(&mut self, Change { runtime_id, health, token }: Change) {
        let Some(entry) = self.entries.get_mut(&runtime_id) else { return };
        let last_seen = health.last_seen.max(entry.health.last_seen);
        entry.health = Health { last_seen, ..health };
        entry.shared_last_seen = last_seen;
        if let Some(token) = token.filter(|token| !entry.spec.access.has_token(token)) {
            entry.spec.access = entry.spec.access.with_token(token);
        }
    }
}

impl Health {
    /// A feature that a command needs and the runtime does not have. Where the runtime has not been asked, a question
    /// may be put to it all the same; a change could be made in another way than was meant.
    fn lacks(&self, command: &Command) -> Option<Feature> {
        match &self.summary {
            Some(summary) => command.missing_feature(summary),
            None if command.operation().changes_something() => command.features().next(),
            None => None,
        }
    }

    /// Whether anything but [`Health::last_seen`] has changed.
    fn learn(
        &mut self,
        now: Instant,
        operation: Operation,
        verdict: Result<Option<RuntimeSummary>, ErrorKind>,
        jitter: &mut Jitter,
    ) -> bool {
        let kind = verdict.as_ref().err().copied();
        let mut changed = match kind {
            Some(ErrorKind::Network(_) | ErrorKind::RuntimeTimeout(_)) => self.circuit.failed(now, jitter),
            _ => self.circuit.succeeded(),
        };
        if let Some(reachability) = kind.map_or(Some(Reachability::Reachable), reachability) {
            changed |= std::mem::replace(&mut self.reachability, reachability) != reachability;
            if reachability == Reachability::Reachable {
                self.last_seen = Some(now);
            }
        }
        changed |= match kind {
            Some(ErrorKind::Unsupported) => self.unsupported.insert(operation),
            None => self.unsupported.remove(&operation),
            _ => false,
        };
        if let Ok(summary @ Some(_)) = verdict {
            changed |= self.summary != summary;
            self.summary = summary;
        }
        changed
    }
}

/// What a failure of this kind says about the way to the runtime, if it says anything.
fn reachability(kind: ErrorKind) -> Option<Reachability> {
    match kind {
        ErrorKind::InvalidRequest
        | ErrorKind::WorkerNotFound
        | ErrorKind::RuntimeStopped
        | ErrorKind::WorkerBusy
        | ErrorKind::NotAllowed
        | ErrorKind::UnknownProfile
        | ErrorKind::RequestGone
        | ErrorKind::WorkerNotRunning
        | ErrorKind::WorkerRunning
        | ErrorKind::RequestAlreadyAnswered
        | ErrorKind::Conflict
        | ErrorKind::IdempotencyConflict => Some(Reachability::Reachable),
        ErrorKind::RuntimeAuthFailed => Some(Reachability::Unauthorized),
        ErrorKind::Network(_)
        | ErrorKind::RuntimeTimeout(_)
        | ErrorKind::MalformedResponse
        | ErrorKind::UnexpectedRedirect
        | ErrorKind::IdentityMismatch => Some(Reachability::Unreachable),
        // A proxy in front of the runtime may have said these, or the runtime itself.
        _ => None,
    }
}

#[cfg(test)]
mod tests;
