//! A gateway: what one process of the server holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use sekisho_core::browser_api::Coalescer;
use sekisho_core::cursor::CursorKey;
use sekisho_core::feed::FeedLimits;
use sekisho_core::policy::AllowAll;
use sekisho_core::registry::{Change, Registry, RuntimeKind, RuntimeSpec};
use sekisho_core::secret::{Access, Token};
use sekisho_core::transport::IdlePool;
use sekisho_core::viewer::{ReplayLimits, StreamContext};

use super::calls::Waiter;
use super::chance::Chance;
use super::clock::Time;
use super::exchanges::Lead;
use super::guise::TOKENS;
use super::plan::{Plan, RuntimePlan};
use super::planted::Planted;
use super::world::{Site, World};

/// The largest payload that is passed on, in bytes.
pub(super) const MAX_EVENT: usize = 300;

/// How many viewers a gateway may have: more than there are in any world.
const MAX_VIEWERS: usize = 64;

/// So few that viewers wait for each other.
pub(super) const REPLAYS: ReplayLimits = ReplayLimits { of_gateway: 3, of_runtime: 2, of_worker: 1 };

/// How often a token's file is looked at, at most.
const LOOK_EVERY: Time = Time::from_secs(1);

/// The gateway.
pub(super) struct Gateway {
    pub(super) key: u8,
    pub(super) limits: FeedLimits,
    /// One registry for each event loop.
    pub(super) loops: Vec<Registry>,
    /// The reads that may share exchanges, of all loops.
    pub(super) reads: Coalescer<Waiter>,
    /// What its streams are made with.
    pub(super) streams_of: Arc<StreamContext>,
    /// Its streams, by the numbers of runtime and worker.
    pub(super) streams: BTreeMap<(usize, usize), usize>,
    /// Its replays, by their numbers.
    pub(super) replays: BTreeMap<u64, usize>,
    /// How it stands with each runtime.
    pub(super) ways: Vec<Way>,
    /// How often it has started over.
    starts: u64,
}

/// A gateway's way to one runtime.
pub(super) struct Way {
    /// What happens on it by chance: what happens on another way never changes it.
    pub(super) chance: Chance,
    /// Which token it has read last, and which before that; and when it looked last.
    token: usize,
    token_before: Option<usize>,
    looked: Option<Time>,
    /// Its pooled connections.
    pub(super) idle: IdlePool<Lead>,
    /// How many calls are under way.
    pub(super) in_flight: usize,
}

impl Way {
    fn new(chance: Chance, token: usize) -> Self {
        Self { chance, token, token_before: None, looked: None, idle: IdlePool::default(), in_flight: 0 }
    }
}

impl Gateway {
    pub(super) fn new(plan: &Plan, number: usize, key: u8, sites: &[Site]) -> Self {
        let ring = plan.gateways[number].ring;
        let limits = FeedLimits { max_frames: ring, max_bytes: ring * 1000, max_event: MAX_EVENT };
        let mut gateway = Self {
            key,
            limits,
            loops: Vec::new(),
            reads: Coalescer::default(),
            streams_of: context(key, limits),
            streams: BTreeMap::new(),
            replays: BTreeMap::new(),
            ways: Vec::new(),
            starts: 0,
        };
        gateway.start(plan, number, sites);
        gateway
    }

    /// It knows nothing yet, but the tokens as they are written now.
    pub(super) fn start(&mut self, plan: &Plan, number: usize, sites: &[Site]) {
        self.starts += 1;
        let specs = sites.iter().map(Site::spec).collect();
        let registry = Registry::new(specs, plan.seed ^ (self.starts << 8) ^ number as u64);
        self.loops = vec![registry.expect("names of their own"); plan.gateways[number].loops];
        self.reads = Coalescer::default();
        self.streams_of = self.context(self.limits);
        self.streams.clear();
        self.replays.clear();
        let way = |(runtime, site): (usize, &Site)| {
            // Each start is followed by chances of its own.
            let salt = 100 + runtime as u64 + 1000 * number as u64 + 100_000 * (self.starts - 1);
            Way::new(Chance::of(plan.seed, salt), site.written)
        };
        self.ways = sites.iter().enumerate().map(way).collect();
    }

    pub(super) fn cursor_key(&self) -> CursorKey {
        CursorKey::from_bytes([self.key; CursorKey::LENGTH])
    }

    /// What streams of these bounds are made with.
    pub(super) fn context(&self, limits: FeedLimits) -> Arc<StreamContext> {
        context(self.key, limits)
    }
}

fn context(key: u8, limits: FeedLimits) -> Arc<StreamContext> {
    let key = CursorKey::from_bytes([key; CursorKey::LENGTH]);
    Arc::new(StreamContext::new(key, Arc::new(AllowAll), limits, MAX_VIEWERS).with_replays(REPLAYS))
}

impl Site {
    fn spec(&self) -> RuntimeSpec {
        let RuntimePlan { kind, max_in_flight, give_up_after, .. } = self.plan;
        RuntimeSpec {
            runtime_id: self.runtime_id.clone(),
            display_name: None,
            kind: if kind.is_remote() { RuntimeKind::Remote } else { RuntimeKind::Embedded },
            access: match kind.is_remote() {
                true => self.secrets.access(self.written),
                false => Access::in_process(),
            },
            limits: self.plan.limits(),
            max_in_flight,
            give_up_after: Time::from_millis(give_up_after),
        }
    }
}

impl RuntimePlan {
    pub(super) fn limits(&self) -> sekisho_core::call::CallLimits {
        sekisho_core::call::CallLimits {
            connect: Time::from_millis(self.connect),
            response: Time::from_millis(self.response),
            ..Default::default()
        }
    }
}

impl World<'_> {
    /// Tells the other loops of a gateway what one has learned.
    pub(super) fn tell(&mut self, gateway: usize, from: usize, change: Option<Change>) {
        let Some(change) = change else { return };
        self.log(|| format!("{change:?}"));
        for (number, registry) in self.gateways[gateway].loops.iter_mut().enumerate() {
            if number != from {
                self.census.count("gateway", "change told to another loop");
                registry.apply(change.clone());
            }
        }
    }

    /// Uses tokens whose files have changed since they were last looked at.
    pub(super) fn refresh_token(&mut self, gateway: usize, of_loop: usize, runtime: usize) {
        let (now, written) = (self.now(), self.sites[runtime].written);
        let way = &mut self.gateways[gateway].ways[runtime];
        if way.looked.is_some_and(|looked| now < looked + LOOK_EVERY) {
            return;
        }
        way.looked = Some(now);
        if way.token == written {
            return;
        }
        way.token_before = Some(std::mem::replace(&mut way.token, written));
        let site = &self.sites[runtime];
        let Some(token) = site.secrets.token(written).and_then(|token| token.parse::<Token>().ok()) else {
            return;
        };
        self.census.count("gateway", "token file noticed");
        self.gateways[gateway].loops[of_loop].rotate(&site.runtime_id, token);
        self.note_known_tokens(runtime);
    }

    /// The runtime may say what it likes about tokens that every gateway knows.
    fn note_known_tokens(&mut self, runtime: usize) {
        let knows = |gateway: &Gateway, token: usize| {
            let way = &gateway.ways[runtime];
            // The last token is never followed by another.
            let number = |token: usize| token.min(TOKENS - 1);
            number(way.token) == token || way.token_before.map(number) == Some(token)
        };
        let known = (0..TOKENS).filter(|token| self.gateways.iter().all(|gateway| knows(gateway, *token)));
        let known = known.collect();
        self.sites[runtime].machine.set_known_tokens(known);
    }

    /// A gateway starts over. Whatever it was doing is not done any more, and no client is told.
    pub(super) fn crash(&mut self, gateway: usize) {
        self.census.count("gateway", "crash");
        self.drop_calls(gateway);
        self.drop_viewers(gateway);
        self.drop_streams(gateway);
        if self.is_planted(Planted::ForgetsKey) {
            self.gateways[gateway].key += 100;
        }
        let plan = self.plan;
        self.gateways[gateway].start(plan, gateway, &self.sites);
        (0..self.sites.len()).for_each(|runtime| self.note_known_tokens(runtime));
    }

    /// A line of the log, where there is one.
    pub(super) fn log(&mut self, line: impl FnOnce() -> String) {
        if self.trace.logs() {
            let shown = super::trace::Shown {
                at: self.now(),
                runtime: None,
                to: super::trace::To::Log,
                what: line().into(),
            };
            self.trace.show(shown);
        }
    }
}
