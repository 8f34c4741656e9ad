//! A world: everything that there is in it, and the loop that lets things happen one after the other.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Instant;

use sekisho_core::id::{RuntimeId, WorkerId, WorkerRef};
use sekisho_core::registry::{OVERVIEW_TIMEOUT, PROBE_EVERY};

use super::account::Known;
use super::calls::{Asking, CallRun};
use super::census::Census;
use super::chance::Chance;
use super::clients::Told;
use super::clock::{Clock, Time, instant};
use super::embedded::Embedded;
use super::exchanges::{Later, Parcel, Report};
use super::gateway::Gateway;
use super::guise::{Guise, Secrets};
use super::hostile::Hostile;
use super::invariants::{Invariant, Violation};
use super::ledger::Ledger;
use super::links::{Conn, Dial, Wire};
use super::machine::Machine;
use super::plan::{Disk, Kind, Plan, RuntimePlan, Weather, What};
use super::planted::Planted;
use super::scripted::{Scripted, worker_name};
use super::streams::Stream;
use super::trace::{Detail, Trace};
use super::viewers::Person;
use super::watches::WatchRun;

/// How long a world has, after the last thing that happens from outside, to come to rest.
const REST: Time = Time::from_secs(75);

/// How long before the end everything is well again.
const PEACE: Time = Time::from_secs(72);

/// How much may happen in a world. What goes on and on is a fault of its own.
const MAX_EVENTS: u32 = 60_000;

/// How a plan is carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// In which guise.
    pub guise: Guise,
    /// With which fault planted.
    pub planted: Option<Planted>,
    /// How much is noted.
    pub detail: Detail,
    /// What is left out.
    pub spared: Option<Spared>,
}

/// What of a plan is left out, to see that nothing else depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spared {
    /// The faults of a runtime.
    Faults(usize),
    /// The viewers of a runtime, and all that clients ask of it.
    Runtime(usize),
    /// The commands at a gateway that change something, and the viewers that come to it and to others.
    Changes(usize),
    /// That, the viewers of a gateway, and all that it is asked.
    Gateway(usize),
}

impl Spared {
    /// Whether this is left out.
    fn leaves_out(self, what: What, plan: &Plan) -> bool {
        let moves = |viewer, gateway| {
            plan.comes(viewer, |at| at == gateway) && plan.comes(viewer, |at| at != gateway)
        };
        match (self, what) {
            (Self::Faults(runtime), what) => what.is_fault_of() == Some(runtime),
            (Self::Runtime(runtime), What::Ask { runtime: of, ask, .. }) => {
                of == runtime && ask.is_about_one()
            }
            (Self::Runtime(runtime), What::Come { viewer, .. }) => plan.viewers[viewer].runtime == runtime,
            // What is changed through one gateway is seen through all, and who has seen something takes it along.
            (Self::Changes(gateway), What::Ask { gateway: at, ask, .. }) => {
                at == gateway && ask.changes_something()
            }
            (Self::Changes(gateway), What::Come { viewer, .. }) => moves(viewer, gateway),
            (Self::Gateway(gateway), What::Come { viewer, gateway: at, .. }) => {
                at == gateway || moves(viewer, gateway)
            }
            (Self::Gateway(gateway), What::Ask { gateway: at, .. } | What::Crash(at)) => at == gateway,
            _ => false,
        }
    }
}

/// What happens next.
pub(super) enum Event {
    Step(usize),
    Peace,
    Probe,
    StopWaiting(usize),
    WakeCall(usize, u64),
    Arrive(Box<Parcel>),
    Report(Box<Report>),
    Dial(Box<Dial>),
    Deliver { conn: usize, epoch: u32, wire: Wire },
    WakeWatch(usize, u64),
    WakeStream(usize, u64),
    CopyFeed(usize),
    WakeSession { viewer: usize, stay: u32, wake: u64 },
    Written { viewer: usize, stay: u32 },
    Return { viewer: usize, stay: u32 },
    Disk { machine: usize, wake: u64 },
    Overdue { machine: usize, number: u64 },
}

/// A runtime, where it is and how one gets there.
pub(super) struct Site {
    pub(super) plan: RuntimePlan,
    pub(super) runtime_id: RuntimeId,
    pub(super) machine: Machine,
    pub(super) secrets: Secrets,
    pub(super) weather: Weather,
    /// The tokens that the runtime wants, and that the gateways' file has.
    pub(super) wanted: usize,
    pub(super) written: usize,
    /// How often the connections to it were lost.
    pub(super) losses: u32,
    /// Requests that do not get through for the time being.
    pub(super) stalled: VecDeque<Parcel>,
    /// Streams that are open.
    pub(super) conns: Vec<usize>,
    /// Whether it ever lacked a worker that a viewer wants to see.
    pub(super) lacked: bool,
    pub(super) published: u32,
    /// Commands under a key that were sent to it: their numbers and workers.
    pub(super) keyed: Vec<(usize, usize)>,
    /// Names the wake-up of its disk that still counts.
    pub(super) wake: u64,
}

/// The world.
pub(super) struct World<'p> {
    pub(super) plan: &'p Plan,
    pub(super) options: Options,
    pub(super) clock: Clock<Event>,
    pub(super) sites: Vec<Site>,
    /// Which machine the base URL of each runtime leads to: its own, but for those that are swapped.
    pub(super) routes: Vec<usize>,
    pub(super) gateways: Vec<Gateway>,
    pub(super) calls: Vec<Option<CallRun>>,
    pub(super) askings: Vec<Option<Asking>>,
    /// Who waits for what a machine answers under a number.
    pub(super) later: BTreeMap<(usize, u64), Later>,
    pub(super) streams: Vec<Stream>,
    pub(super) watches: Vec<WatchRun>,
    pub(super) conns: Vec<Conn>,
    pub(super) viewers: Vec<Person>,
    pub(super) commands: Vec<Told>,
    pub(super) ledger: Ledger,
    pub(super) known: Known,
    pub(super) census: Census,
    pub(super) trace: Trace,
    pub(super) violation: Option<Violation>,
}

/// What has become of a world.
pub(super) struct End {
    pub(super) violation: Option<Violation>,
    pub(super) census: Census,
    pub(super) trace: Trace,
}

impl<'p> World<'p> {
    /// Lets a plan come true.
    pub(super) fn run(plan: &'p Plan, options: Options) -> End {
        let mut world = Self::new(plan, options);
        let steps = plan.steps.iter().enumerate();
        for (number, step) in steps {
            world.clock.at(Time::from_millis(step.at), Event::Step(number));
        }
        let last = plan.steps.last().map_or(Time::ZERO, |step| Time::from_millis(step.at));
        let end = last + REST;
        world.clock.at(end - PEACE, Event::Peace);
        // The last ones have to end before the world does.
        let mut probe = Time::ZERO;
        while probe < end - OVERVIEW_TIMEOUT * 2 {
            world.clock.at(probe, Event::Probe);
            probe += PROBE_EVERY;
        }
        let mut events = 0;
        while let Some(event) = world.clock.next(end) {
            world.take(event);
            events += 1;
            if events > MAX_EVENTS {
                world.violate(Invariant::Bounded, || "it goes on and on".to_owned());
            }
            if world.violation.is_some() {
                break;
            }
        }
        world.come_to_the_end();
        End { violation: world.violation, census: world.census, trace: world.trace }
    }

    fn new(plan: &'p Plan, options: Options) -> Self {
        let site = |(index, runtime): (usize, &RuntimePlan)| {
            Site::new(plan.seed, index, runtime, options.guise, options.planted)
        };
        let sites: Vec<Site> = plan.runtimes.iter().enumerate().map(site).collect();
        let gateways = plan.gateways.iter().enumerate();
        Self {
            gateways: gateways.map(|(number, it)| Gateway::new(plan, number, it.key, &sites)).collect(),
            viewers: plan.viewers.iter().map(Person::new).collect(),
            plan,
            options,
            clock: Clock::new(),
            routes: (0..sites.len()).collect(),
            sites,
            calls: Vec::new(),
            askings: Vec::new(),
            later: BTreeMap::new(),
            streams: Vec::new(),
            watches: Vec::new(),
            conns: Vec::new(),
            commands: Vec::new(),
            ledger: Ledger::default(),
            known: Known::default(),
            census: Census::default(),
            trace: Trace { detail: options.detail, ..Trace::default() },
            violation: None,
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Step(number) => self.step(self.plan.steps[number].what),
            Event::Peace => self.make_peace(),
            Event::Probe => self.probe_all(),
            Event::StopWaiting(command) => self.leave_asking(command),
            Event::WakeCall(call, wake) => self.wake_call(call, wake),
            Event::Arrive(parcel) => self.arrive(*parcel),
            Event::Report(report) => self.report(*report),
            Event::Dial(dial) => self.dial(*dial),
            Event::Deliver { conn, epoch, wire } => self.deliver(conn, epoch, wire),
            Event::WakeWatch(watch, wake) => self.wake_watch(watch, wake),
            Event::WakeStream(stream, wake) => self.wake_stream(stream, wake),
            Event::CopyFeed(stream) => self.copy_feed(stream),
            Event::WakeSession { viewer, stay, wake } => self.wake_session(viewer, stay, wake),
            Event::Written { viewer, stay } => self.written(viewer, stay),
            Event::Return { viewer, stay } => self.come_back(viewer, stay),
            Event::Disk { machine, wake } if self.sites[machine].wake == wake => self.tend(machine),
            Event::Disk { .. } => {}
            Event::Overdue { machine, number } => self.overdue(machine, number),
        }
    }

    fn step(&mut self, what: What) {
        if self.options.spared.is_some_and(|spared| spared.leaves_out(what, self.plan)) {
            if let What::Ask { runtime, ask, .. } = what {
                self.leave_out(runtime, ask);
            }
            return;
        }
        self.note(format_args!("{what:?}"));
        match what {
            What::Ask { gateway, runtime, ask } => self.ask(gateway, runtime, ask),
            What::Come { viewer, gateway, with } => self.come(viewer, gateway, with),
            What::Leave(viewer) => self.leave(viewer),
            What::Pace(viewer, pace) => self.viewers[viewer].pace = pace,
            What::Publish { runtime, worker, count, size } => {
                for _ in 0..count {
                    let now = self.now();
                    let site = &mut self.sites[runtime];
                    site.published += 1;
                    site.machine.publish(worker, site.published, size, now);
                    self.pump_all(runtime);
                    self.tend(runtime);
                }
            }
            What::Weather(runtime, weather) => self.change_weather(runtime, weather),
            What::Break(runtime, how) => self.break_streams(runtime, how),
            What::EndStreams(runtime, code) => self.end_streams(runtime, code),
            What::Ail(runtime, count) => self.sites[runtime].machine.script(|it| it.ail(count)),
            What::Repeat(runtime, count) => self.sites[runtime].machine.script(|it| it.repeat(count)),
            What::Busy(runtime, busy) => self.sites[runtime].machine.script(|it| it.set_busy(busy)),
            What::Restart { runtime, keeps_state, recreates } => {
                self.restart(runtime, keeps_state, recreates);
            }
            What::Stop(runtime) => self.sites[runtime].machine.script(Scripted::stop),
            What::Rotate(runtime) => self.sites[runtime].wanted += 1,
            What::WriteToken(runtime) => {
                let site = &mut self.sites[runtime];
                site.written = site.wanted;
            }
            What::Crash(gateway) => self.crash(gateway),
            What::Swap(one, other) => self.swap(one, other),
            What::Disk(runtime, state) => {
                self.sites[runtime].machine.with_disk(|it| it.set_disk(state));
                self.tend(runtime);
            }
        }
    }

    fn restart(&mut self, runtime: usize, keeps_state: bool, recreates: bool) {
        self.census.count("runtime", "restart");
        if !keeps_state {
            self.census.count("runtime", "lost its state");
        }
        if keeps_state && matches!(self.sites[runtime].machine, Machine::Embedded(_)) {
            self.census.count("runtime", "came back from its disk");
        }
        self.break_streams(runtime, super::plan::Breakage::Abrupt);
        self.drop_later(runtime);
        let now = self.now();
        let site = &mut self.sites[runtime];
        site.losses += 1;
        let kept = site.machine.restart(keeps_state, recreates, now, &mut self.ledger);
        site.lacked |= !keeps_state && !recreates;
        match kept {
            Ok(()) => self.tend(runtime),
            Err(facts) => self.violate(Invariant::Durable, || facts),
        }
    }

    /// Each of two base URLs leads to the other's machine from now on. Connections from before are lost.
    fn swap(&mut self, one: usize, other: usize) {
        self.census.count("network", "base URLs swapped");
        self.routes.swap(one, other);
        for runtime in [one, other] {
            self.break_streams(runtime, super::plan::Breakage::Abrupt);
            self.sites[runtime].losses += 1;
        }
    }

    /// From here on everything is well, and stays so.
    fn make_peace(&mut self) {
        for runtime in 0..self.sites.len() {
            if let Some(other) = self.routes.iter().position(|machine| *machine == runtime)
                && other != runtime
            {
                self.swap(runtime, other);
            }
        }
        for runtime in 0..self.sites.len() {
            if self.sites[runtime].weather != Weather::Fair {
                self.change_weather(runtime, Weather::Fair);
            }
            let site = &mut self.sites[runtime];
            site.written = site.wanted;
            site.machine.script(|it| {
                it.ail(0);
                it.set_busy(false);
            });
            site.machine.with_disk(|it| it.set_disk(Disk::Well));
            self.tend(runtime);
        }
        for viewer in &mut self.viewers {
            viewer.pace = viewer.pace.min(20);
        }
    }

    /// What has to be so when everything has been well for long enough.
    fn come_to_the_end(&mut self) {
        if self.violation.is_some() {
            return;
        }
        if let Some(number) = self.calls.iter().position(Option::is_some) {
            self.violate(Invariant::CallEnds, || format!("call {number} has not ended"));
        }
        self.check_answered();
        for viewer in 0..self.viewers.len() {
            self.check_rest(viewer);
        }
        self.check_replays();
        self.check_streams();
        self.check_disks();
        for command in 0..self.commands.len() {
            self.check_command(command);
        }
        for site in &self.sites {
            if let Machine::Scripted(runtime) = &site.machine {
                (0..runtime.repeated).for_each(|_| self.census.count("runtime", "repeated events"));
            }
        }
    }

    /// All that was said has come to the disks, and is there after one more crash.
    fn check_disks(&mut self) {
        let now = self.now();
        for machine in 0..self.sites.len() {
            let Self { sites, ledger, census, .. } = self;
            let rested = sites[machine].machine.with_disk(|it| it.come_to_rest()).unwrap_or(Ok(()));
            let mut kept =
                || sites[machine].machine.with_disk(|it| it.end(now, ledger, census)).unwrap_or(Ok(()));
            let broken = match rested {
                Err(facts) => Some((Invariant::ComesToRest, facts)),
                Ok(()) => kept().err().map(|facts| (Invariant::Durable, facts)),
            };
            if let Some((invariant, facts)) = broken {
                self.violate(invariant, || facts);
            }
        }
    }

    // ---- What all parts use.

    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    /// The time that core is given.
    pub(super) fn instant(&self) -> Instant {
        instant(self.clock.now())
    }

    pub(super) fn is_planted(&self, planted: Planted) -> bool {
        self.options.planted == Some(planted)
    }

    pub(super) fn note(&mut self, what: fmt::Arguments<'_>) {
        self.trace.note(self.clock.now(), what);
    }

    /// Takes note of a broken rule; the first one ends the world.
    pub(super) fn violate(&mut self, invariant: Invariant, facts: impl FnOnce() -> String) {
        if self.violation.is_none() {
            let violation = Violation { invariant, at: self.now(), facts: facts() };
            self.note(format_args!("{violation}"));
            self.violation = Some(violation);
        }
    }

    pub(super) fn worker_ref(&self, runtime: usize, worker: usize) -> WorkerRef {
        WorkerRef { runtime_id: self.sites[runtime].runtime_id.clone(), worker_id: worker_id(worker) }
    }

    /// How long something takes to a runtime or back.
    pub(super) fn delay(&mut self, gateway: usize, runtime: usize) -> Time {
        let others = match self.options.planted {
            Some(Planted::SpreadsFaults) => {
                self.sites.iter().filter(|site| site.weather != Weather::Fair).count()
            }
            Some(Planted::SpreadsLoad) => self.gateways[gateway].ways.iter().map(|way| way.in_flight).sum(),
            Some(Planted::SpreadsGateways) => {
                self.gateways.iter().map(|gateway| gateway.ways[runtime].in_flight).sum()
            }
            _ => 0,
        };
        let (latency, unevenness) =
            (self.plan.runtimes[runtime].latency, self.plan.runtimes[runtime].unevenness);
        let mut millis = others as u64 + latency + self.chance(gateway, runtime).below(unevenness);
        if self.options.planted == Some(Planted::TrueChance) {
            // Where the heap happens to be: no two processes, and hardly two worlds, agree about that.
            millis += (std::ptr::from_ref(Box::new(0u8).as_ref()).addr() as u64 >> 4) % 3;
        }
        Time::from_millis(millis) + Time::from_micros(self.chance(gateway, runtime).below(1000))
    }
}

impl Site {
    fn new(seed: u64, index: usize, plan: &RuntimePlan, guise: Guise, planted: Option<Planted>) -> Self {
        let name = runtime_name(index);
        let runtime_id: RuntimeId = name.parse().unwrap();
        let secrets = Secrets::of(seed, index, plan.has_token, guise);
        let salt = 100 + index as u64;
        let machine = match plan.kind {
            Kind::Deployed | Kind::Keyed => {
                let keyed = plan.kind.honours_keys();
                Machine::Scripted(Box::new(Scripted::new(index, name, keyed, plan.backlog, plan.workers)))
            }
            Kind::Embedded | Kind::Remote => {
                let own = Chance::of(seed, salt).next();
                Machine::Embedded(Box::new(Embedded::new(index, runtime_id.clone(), own, plan, planted)))
            }
            Kind::Hostile => {
                let chance = Chance::of(seed, 200 + index as u64);
                Machine::Hostile(Box::new(Hostile::new(name, chance, secrets.clone())))
            }
        };
        Self {
            plan: plan.clone(),
            runtime_id,
            machine,
            secrets,
            weather: Weather::Fair,
            wanted: 0,
            written: 0,
            losses: 0,
            stalled: VecDeque::new(),
            conns: Vec::new(),
            lacked: false,
            published: 0,
            keyed: Vec::new(),
            wake: 0,
        }
    }
}

/// The name of the runtime with this number.
pub(super) fn runtime_name(runtime: usize) -> String {
    format!("runtime-{runtime}")
}

/// The id of a runtime's worker with this number.
pub(super) fn worker_id(worker: usize) -> WorkerId {
    worker_name(worker).parse().unwrap()
}
