//! Which runtimes there are, what each can do, how each is faring, and the calls and watches to each.
//!
//! A registry is a value. A server that runs several event loops [clones](Registry::clone) one for each. The clones
//! share two things at once: how many calls are in flight, and what must not get out. A token that is
//! [replaced](Registry::rotate) in one of them is used by all of them, and scrubbed from all that their calls and watches
//! hear from then on, those that are under way included. Everything else they tell each other as a [`Change`] whenever
//! there is one.

mod circuit;
mod health;
mod reload;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::backoff::Jitter;
use crate::call::{Call, CallContext, CallLimits, CallReport, Permit};
use crate::cursor::UpstreamCursor;
use crate::error::{Error, ErrorKind};
use crate::id::{RuntimeId, WorkerRef};
use crate::policy::Policy;
use crate::runtime_api::{Command, Feature, Operation};
use crate::secret::{Access, Accesses, BaseUrl, SharedAccess, Token};
use crate::transport::WeakIdentity;
use crate::watch::{GIVE_UP_AFTER, OnExpiredCursor, Watch, WatchContext};
use circuit::IsOpen;
pub use circuit::{FAILURES_TO_OPEN, FIRST_COOLDOWN, LONGEST_COOLDOWN, TIMEOUTS_TO_OPEN};
pub use health::{Health, Reachability};
pub use reload::Adopted;

/// How long a list over all runtimes waits for each of them.
pub const OVERVIEW_TIMEOUT: Duration = Duration::from_secs(3);

/// How often a driver asks for [`Registry::probes`].
pub const PROBE_EVERY: Duration = Duration::from_millis(500);

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
    /// A store on this machine that is only read.
    Local,
}

impl RuntimeKind {
    /// What clients know it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded_worker_runtime",
            Self::Remote => "remote_worker_runtime",
            Self::Local => "local_compatibility",
        }
    }

    /// What a runtime of this kind does not have before it has said anything. What is only read is never changed, and
    /// not every store has streams: one that has says so by its incarnation, which their cursors are of.
    fn lacks(self) -> BTreeSet<Operation> {
        let lacks =
            |operation: &Operation| operation.changes_something() || *operation == Operation::ObserveEvents;
        match self {
            Self::Embedded | Self::Remote => BTreeSet::new(),
            Self::Local => Operation::ALL.iter().copied().filter(lacks).collect(),
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
    /// Where it is, and the token for it.
    pub access: Access,
    /// The bounds of calls to it.
    pub limits: CallLimits,
    /// How many calls may be under way at the same time, over all clones of the registry.
    pub max_in_flight: usize,
    /// How long a stream that was lost is tried again before its viewers are told to come back themselves.
    pub give_up_after: Duration,
}

/// The default of [`RuntimeSpec::max_in_flight`].
pub const MAX_IN_FLIGHT: usize = 64;

impl RuntimeSpec {
    /// A runtime at a base URL, with the default bounds.
    pub fn remote(runtime_id: RuntimeId, base_url: BaseUrl, token: Option<Token>) -> Self {
        Self::new(runtime_id, RuntimeKind::Remote, Access::remote(base_url, token))
    }

    /// A runtime in the same process, with the default bounds.
    pub fn embedded(runtime_id: RuntimeId) -> Self {
        Self::new(runtime_id, RuntimeKind::Embedded, Access::in_process())
    }

    fn new(runtime_id: RuntimeId, kind: RuntimeKind, access: Access) -> Self {
        Self {
            runtime_id,
            display_name: None,
            kind,
            access,
            limits: CallLimits::default(),
            max_in_flight: MAX_IN_FLIGHT,
            give_up_after: GIVE_UP_AFTER,
        }
    }
}

/// Two runtimes have the same id.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("duplicate runtime id {0}")]
pub struct DuplicateRuntime(pub RuntimeId);

/// What one registry has learned and its clones have not.
#[derive(Clone, Debug)]
pub struct Change {
    runtime_id: RuntimeId,
    health: Health,
    /// Tells which runtime of that id it is about: another may have come in its place.
    in_flight: Arc<AtomicUsize>,
}

/// All runtimes that a gateway is configured with. See the [module](self).
#[derive(Clone, Debug)]
pub struct Registry {
    /// In the order of the configuration.
    order: Vec<RuntimeId>,
    entries: BTreeMap<RuntimeId, Entry>,
    accesses: Accesses,
}

#[derive(Clone, Debug)]
struct Entry {
    spec: RuntimeSpec,
    /// [`RuntimeSpec::access`] as it is now.
    access: SharedAccess,
    health: Health,
    /// A connection on which the runtime has shown to be the right one. Each clone has transports of its own.
    identified: WeakIdentity,
    /// [`Health::last_seen`] as the clones know it.
    shared_last_seen: Option<Instant>,
    in_flight: Arc<AtomicUsize>,
    refused: Arc<Refused>,
    /// Probes that are under way: one at most, over all clones.
    probes: Arc<AtomicUsize>,
    /// Each runtime has its own, so that what befalls one does not even change how long another is paused for.
    jitter: Jitter,
}

/// How many calls were refused so far, over all clones.
#[derive(Debug, Default)]
struct Refused {
    share: AtomicU64,
    circuit: AtomicU64,
}

/// What a gateway does for a runtime right now, and what it has refused so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Load {
    /// Calls that are under way, over all clones of the registry.
    pub in_flight: usize,
    /// Calls that were refused because [`RuntimeSpec::max_in_flight`] others were under way.
    pub refused_for_share: u64,
    /// Calls that were refused because the runtime had not answered for too often.
    pub refused_for_circuit: u64,
    /// Whether calls are refused now for that reason.
    pub circuit_is_open: bool,
}

impl Entry {
    fn new(spec: RuntimeSpec, access: SharedAccess, jitter: Jitter) -> Self {
        Self {
            health: Health::unknown(spec.kind.lacks()),
            spec,
            access,
            identified: WeakIdentity::default(),
            shared_last_seen: None,
            in_flight: Arc::default(),
            refused: Arc::default(),
            probes: Arc::default(),
            jitter,
        }
    }

    fn context(&mut self, runtime_id: &RuntimeId, permit: Permit, probe: Option<Permit>) -> CallContext {
        CallContext {
            runtime_id: runtime_id.clone(),
            access: self.access.clone(),
            limits: self.spec.limits,
            honours_keys: self.health.summary.as_ref().map(|summary| summary.has(Feature::Idempotency)),
            identified: self.identified.is_confirmed(),
            jitter: Jitter::new(self.jitter.next()),
            permit,
            probe,
        }
    }
}

impl Registry {
    /// A registry that knows nothing yet of how its runtimes are faring. `seed` spreads pauses.
    pub fn new(specs: Vec<RuntimeSpec>, seed: u64) -> Result<Self, DuplicateRuntime> {
        let accesses = Accesses::new(specs.iter().map(|spec| spec.access.clone()));
        let mut registry = Self { order: Vec::new(), entries: BTreeMap::new(), accesses };
        let mut seeds = Jitter::new(seed);
        for (index, spec) in specs.into_iter().enumerate() {
            let access = registry.accesses.get(index);
            registry.insert(Entry::new(spec, access, Jitter::new(seeds.next())))?;
        }
        Ok(registry)
    }

    fn insert(&mut self, entry: Entry) -> Result<(), DuplicateRuntime> {
        let runtime_id = entry.spec.runtime_id.clone();
        if self.entries.contains_key(&runtime_id) {
            return Err(DuplicateRuntime(runtime_id));
        }
        self.order.push(runtime_id.clone());
        self.entries.insert(runtime_id, entry);
        Ok(())
    }

    /// Takes a secret of the gateway's own, as its access token, out of everything that runtimes write from now on. The
    /// secrets of the runtimes are taken out in any case, whichever of them writes one.
    pub fn hide(&self, token: Token) {
        self.accesses.hide(token);
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

    /// What is being done for a runtime.
    pub fn load(&self, runtime_id: &RuntimeId) -> Option<Load> {
        let entry = self.entries.get(runtime_id)?;
        Some(Load {
            in_flight: entry.in_flight.load(Ordering::Relaxed),
            refused_for_share: entry.refused.share.load(Ordering::Relaxed),
            refused_for_circuit: entry.refused.circuit.load(Ordering::Relaxed),
            circuit_is_open: entry.health.circuit.is_open(),
        })
    }

    /// The call that carries a command to its runtime, or why there is none.
    ///
    /// With `timeout` the call takes no longer than that; else as long as the runtime's limits allow.
    pub fn call(
        &mut self,
        now: Instant,
        runtime_id: &RuntimeId,
        command: Command,
        timeout: Option<Duration>,
    ) -> Result<Call, Error> {
        let refuse = |error| command.refused(error, runtime_id);
        let Some(entry) = self.entries.get_mut(runtime_id) else {
            return Err(refuse(Error::new(ErrorKind::UnknownRuntime)));
        };
        let unavailable = |detail: Cow<'static, str>, retry_after| {
            let error = Error::with_detail(ErrorKind::RuntimeUnavailable, detail);
            refuse(error.with_retry_after(Some(retry_after)))
        };
        let missing = entry.health.summary.as_ref().and_then(|summary| command.missing_feature(summary));
        if let Some(feature) = missing {
            return Err(refuse(feature.missing()));
        }
        let Some(permit) = Permit::of(&entry.in_flight, entry.spec.max_in_flight) else {
            entry.refused.share.fetch_add(1, Ordering::Relaxed);
            let detail = "as many commands are under way to this runtime as may be";
            return Err(unavailable(detail.into(), SHARE_RETRY_AFTER));
        };
        if let Err(IsOpen { silent_for, retry_after }) = entry.health.circuit.admit(now) {
            entry.refused.circuit.fetch_add(1, Ordering::Relaxed);
            let seconds = silent_for.as_secs();
            let detail =
                format!("this runtime has not answered for {seconds} s; it is asked again without a request");
            return Err(unavailable(detail.into(), retry_after));
        }
        let total = entry.spec.limits.total();
        let timeout = timeout.map_or(total, |timeout| timeout.min(total));
        Ok(Call::new(now, entry.context(runtime_id, permit, None), command, timeout))
    }

    /// The calls that find out whether runtimes which have failed too often answer again: for each such runtime one at a
    /// time, over all clones, at intervals that grow. To be asked for every [`PROBE_EVERY`], driven beside all others, and
    /// [finished](Self::finish). No call of a client takes their place.
    pub fn probes(&mut self, now: Instant) -> Vec<Call> {
        let due = self.entries.iter_mut().filter(|(_, entry)| entry.health.circuit.wants_probe(now));
        let probe = |(runtime_id, entry): (&RuntimeId, &mut Entry)| {
            let probe = Permit::of(&entry.probes, 1)?;
            let permit = Permit::of(&entry.in_flight, entry.spec.max_in_flight)?;
            let timeout = entry.spec.limits.total().min(OVERVIEW_TIMEOUT);
            Some(Call::new(now, entry.context(runtime_id, permit, Some(probe)), Command::Runtime, timeout))
        };
        due.filter_map(probe).collect()
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

    /// The watch that carries a worker's stream, from `upstream_cursor` or, without one, from a snapshot.
    pub fn watch(
        &mut self,
        now: Instant,
        worker: &WorkerRef,
        upstream_cursor: Option<UpstreamCursor>,
        on_expired_cursor: OnExpiredCursor,
    ) -> Result<Watch, Error> {
        let unknown = || {
            let error = Error::new(ErrorKind::UnknownRuntime).of_runtime(&worker.runtime_id);
            error.of_worker(Some(&worker.worker_id))
        };
        let entry = self.entries.get_mut(&worker.runtime_id).ok_or_else(unknown)?;
        let context = WatchContext {
            worker: worker.clone(),
            access: entry.access.clone(),
            limits: entry.spec.limits,
            give_up_after: entry.spec.give_up_after,
            jitter: Jitter::new(entry.jitter.next()),
        };
        Ok(Watch::new(now, context, upstream_cursor, on_expired_cursor))
    }

    /// Learns from a watch: that its runtime can be observed, or how it ended. What the clones need to know comes back.
    pub fn observed(
        &mut self,
        now: Instant,
        runtime_id: &RuntimeId,
        result: Result<(), &Error>,
    ) -> Option<Change> {
        let end = (Operation::ObserveEvents, result.map_err(Error::kind));
        self.learn(now, runtime_id, CallReport { end: Some(end), ..CallReport::default() })
    }

    /// Learns from how a call ended. What the clones need to know comes back.
    ///
    /// A call that was dropped half-way teaches nothing and is not missed.
    pub fn finish(&mut self, now: Instant, call: Call) -> Option<Change> {
        let runtime_id = call.runtime_id().clone();
        let asked = self.entries.get(&runtime_id)?;
        if !call.counts_in(&asked.in_flight) {
            // Another runtime has come in the place of the one that was asked.
            return None;
        }
        self.learn(now, &runtime_id, call.into_report())
    }

    fn learn(&mut self, now: Instant, runtime_id: &RuntimeId, report: CallReport) -> Option<Change> {
        let entry = self.entries.get_mut(runtime_id)?;
        let CallReport { end, summary, identity, is_probe } = report;
        if let Some(identity) = identity {
            entry.identified = identity;
        }
        let mut learned = summary.is_some_and(|summary| entry.health.describe(now, summary));
        learned |= end.is_some_and(|end| entry.health.learn(now, end, is_probe, &mut entry.jitter));
        let stale = match (entry.health.last_seen, entry.shared_last_seen) {
            (Some(seen), Some(shared)) => seen.saturating_duration_since(shared) >= LAST_SEEN_RESOLUTION,
            (seen, shared) => seen != shared,
        };
        (learned || stale).then(|| {
            entry.shared_last_seen = entry.health.last_seen;
            Change {
                runtime_id: runtime_id.clone(),
                health: entry.health.clone(),
                in_flight: entry.in_flight.clone(),
            }
        })
    }

    /// Uses another token for a runtime from now on, in all clones and in everything that is under way.
    pub fn rotate(&mut self, runtime_id: &RuntimeId, token: Token) {
        if let Some(entry) = self.entries.get_mut(runtime_id) {
            entry.access.use_token(token);
        }
    }

    /// Takes over what a clone has learned.
    pub fn apply(&mut self, Change { runtime_id, health, in_flight }: Change) {
        let entry = self.entries.get_mut(&runtime_id);
        let Some(entry) = entry.filter(|entry| Arc::ptr_eq(&entry.in_flight, &in_flight)) else { return };
        let last_seen = health.last_seen.max(entry.health.last_seen);
        entry.health = Health { last_seen, ..health };
        entry.shared_last_seen = last_seen;
    }
}

#[cfg(test)]
mod tests;
