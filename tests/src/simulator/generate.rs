//! Plans that follow from a seed.

use super::chance::Chance;
use super::plan::{
    Ask, Breakage, Disk, GatewayPlan, Kind, Plan, RuntimePlan, Step, SyncTime, ViewerPlan, Weather, What,
    With,
};

/// For how long something may happen in a world, in milliseconds.
const LASTS: u64 = 60_000;

/// What tells the chance of disks from all other chance of the same seed.
const DISKS: u64 = 9;

/// How many calls a storm has: more than it takes to open a circuit.
const STORM: u64 = 13;

impl Plan {
    /// The plan of a seed.
    pub fn generate(seed: u64) -> Self {
        let mut chance = Chance::of(seed, 0);
        let replicas = chance.between(1, 2);
        let mut gateways: Vec<_> = (0..replicas).map(|_| gateway(&mut chance, 1)).collect();
        if chance.one_in(3) {
            gateways.push(gateway(&mut chance, 2));
        }
        let mut runtimes: Vec<_> = (0..chance.between(2, 3)).map(|_| runtime(&mut chance)).collect();
        let swapped = swapped(&mut chance, &mut runtimes);
        let viewers: Vec<_> = (0..chance.between(2, 4)).map(|_| viewer(&mut chance, &runtimes)).collect();
        let mut planner = Planner { chance, gateways, runtimes, viewers, steps: Vec::new() };
        planner.fill();
        if let Some((one, other)) = swapped {
            planner.swap(one, other);
        }
        planner.chance = Chance::of(seed, DISKS);
        for runtime in 0..planner.runtimes.len() {
            planner.upset_disk(runtime);
        }
        let Planner { gateways, runtimes, viewers, mut steps, .. } = planner;
        steps.sort_by_key(|step| step.at);
        Self { seed, gateways, runtimes, viewers, steps }
    }
}

fn gateway(chance: &mut Chance, key: u8) -> GatewayPlan {
    GatewayPlan { key, loops: chance.pick(&[1, 1, 2]), ring: chance.pick(&[4, 8, 24]) }
}

fn runtime(chance: &mut Chance) -> RuntimePlan {
    let kind = chance.weighted(&[
        (5, Kind::Deployed),
        (4, Kind::Keyed),
        (1, Kind::Embedded),
        (1, Kind::Remote),
        (3, Kind::Hostile),
    ]);
    RuntimePlan {
        kind,
        workers: chance.pick(&[1, 1, 2]),
        latency: chance.pick(&[1, 5, 20, 80]),
        unevenness: chance.pick(&[1, 10, 60]),
        backlog: chance.pick(&[3, 8, 20]),
        max_in_flight: chance.pick(&[2, 6, 16]),
        connect: chance.pick(&[300, 1000]),
        response: chance.pick(&[500, 2000]),
        give_up_after: chance.pick(&[8_000, 20_000]),
        has_token: chance.below(4) > 0,
        sync: SyncTime { micros: 4 },
    }
}

/// Two runtimes whose base URLs are going to be swapped, in some worlds. They want no token: with another one's they would
/// refuse everything.
fn swapped(chance: &mut Chance, runtimes: &mut [RuntimePlan]) -> Option<(usize, usize)> {
    if !chance.one_in(6) {
        return None;
    }
    let suits = |runtime: &RuntimePlan| runtime.kind.is_remote() && runtime.kind.is_honest();
    let mut suitable = (0..runtimes.len()).filter(|number| suits(&runtimes[*number]));
    let pair = (suitable.next()?, suitable.next()?);
    (runtimes[pair.0].has_token, runtimes[pair.1].has_token) = (false, false);
    Some(pair)
}

fn viewer(chance: &mut Chance, runtimes: &[RuntimePlan]) -> ViewerPlan {
    let runtime = chance.index(runtimes.len());
    ViewerPlan {
        runtime,
        worker: chance.index(runtimes[runtime].workers),
        pace: chance.pick(&[1, 1, 20, 300, 2_000]),
        returns: chance.pick(&[0, 1, 4]),
    }
}

struct Planner {
    chance: Chance,
    gateways: Vec<GatewayPlan>,
    runtimes: Vec<RuntimePlan>,
    viewers: Vec<ViewerPlan>,
    steps: Vec<Step>,
}

impl Planner {
    fn fill(&mut self) {
        for viewer in 0..self.viewers.len() {
            let (at, gateway) = (self.chance.below(LASTS / 4), self.gateway());
            self.add(at, What::Come { viewer, gateway, with: With::Nothing });
        }
        for _ in 0..self.chance.between(8, 26) {
            let at = self.chance.below(LASTS);
            self.something(at);
        }
    }

    fn add(&mut self, at: u64, what: What) {
        self.steps.push(Step { at, what });
    }

    fn gateway(&mut self) -> usize {
        self.chance.index(self.gateways.len())
    }

    fn runtime(&mut self) -> usize {
        self.chance.index(self.runtimes.len())
    }

    fn something(&mut self, at: u64) {
        match self.chance.below(80) {
            0..26 => {
                let (gateway, runtime) = (self.gateway(), self.runtime());
                let ask = self.ask(runtime);
                self.add(at, What::Ask { gateway, runtime, ask });
            }
            26..42 => self.publish(at),
            42..54 => self.come_or_go(at),
            54..64 => self.change_weather(at),
            64 => self.storm(at),
            65..74 => self.upset_streams(at),
            74 => {
                let runtime = self.runtime();
                let (keeps_state, recreates) = (self.chance.one_in(2), !self.chance.one_in(4));
                self.add(at, What::Restart { runtime, keeps_state, recreates });
            }
            76 if self.chance.one_in(2) => self.rotate(at),
            75 => self.hop(at),
            76 | 77 => {
                let gateway = self.gateway();
                self.add(at, What::Crash(gateway));
            }
            _ => {
                let runtime = self.runtime();
                match self.chance.one_in(4) {
                    true => self.add(at, What::Stop(runtime)),
                    false => {
                        self.add(at, What::Busy(runtime, true));
                        let after = self.chance.below(3_000);
                        self.add(at + after, What::Busy(runtime, false));
                        let gateway = self.gateway();
                        let ask = Ask::Input { worker: 0, keyed: false };
                        self.add(at + after / 2, What::Ask { gateway, runtime, ask });
                    }
                }
            }
        }
    }

    fn ask(&mut self, runtime: usize) -> Ask {
        // One more than there are: that one was created, or is not there.
        let worker = self.chance.index(self.runtimes[runtime].workers + 1);
        let keyed = self.chance.one_in(2);
        match self.chance.below(24) {
            0 => Ask::Runtimes,
            1 => Ask::AllWorkers,
            2..5 => Ask::Runtime,
            5 => Ask::Workers,
            6 => Ask::Worker(worker),
            7 => Ask::Transcript(worker),
            8..11 => Ask::Create { keyed },
            11..17 => Ask::Input { worker, keyed },
            17..20 => Ask::Again { same: !self.chance.one_in(4) },
            20 | 21 => Ask::Stop(worker),
            22 => Ask::Cancel(worker),
            _ => Ask::Nonsense(self.chance.pick(&[0, 1, 2, 3])),
        }
    }

    fn publish(&mut self, at: u64) {
        let runtime = self.runtime();
        let worker = self.chance.index(self.runtimes[runtime].workers);
        let count = self.chance.weighted(&[(6, 1), (4, 3), (2, 9), (1, 30)]);
        let size = self.chance.weighted(&[(6, 5), (3, 60), (1, 400)]);
        self.add(at, What::Publish { runtime, worker, count, size });
    }

    fn come_or_go(&mut self, at: u64) {
        let viewer = self.chance.index(self.viewers.len());
        match self.chance.below(8) {
            0 | 1 => self.add(at, What::Leave(viewer)),
            2 => {
                let pace = self.chance.pick(&[1, 50, 1_000, 8_000]);
                self.add(at, What::Pace(viewer, pace));
            }
            _ => {
                let earlier = With::Earlier(self.chance.index(24));
                let with = self.chance.weighted(&[
                    (2, With::Nothing),
                    (6, With::Last),
                    (3, earlier),
                    (1, With::Damaged),
                    (1, With::Foreign),
                ]);
                let gateway = self.gateway();
                self.add(at, What::Leave(viewer));
                let after = self.chance.below(2_000);
                self.add(at + after, What::Come { viewer, gateway, with });
            }
        }
    }

    fn weather(&mut self) -> Weather {
        let proxy = Weather::Proxy(self.chance.pick(&[302, 401, 403, 404, 405, 413, 429, 500, 502, 503]));
        let late = Weather::LateProxy(self.chance.pick(&[500, 502, 503, 504, 302]));
        self.chance.weighted(&[
            (3, Weather::Down),
            (1, Weather::Unresolved),
            (1, Weather::Untrusted),
            (3, Weather::Partition),
            (2, Weather::LosesRequests),
            (4, Weather::LosesResponses),
            (3, Weather::Stall),
            (1, Weather::Cuts),
            (1, Weather::Garbles),
            (1, Weather::Floods),
            (1, Weather::Drips),
            (1, Weather::Hangs),
            (3, proxy),
            (3, late),
            (4, Weather::Changeable),
        ])
    }

    /// Bad weather, something to be done in it, and fair weather again.
    fn change_weather(&mut self, at: u64) {
        let (runtime, weather) = (self.runtime(), self.weather());
        let lasts = self.chance.weighted(&[(4, 300), (4, 2_500), (2, 12_000), (1, 40_000)]);
        self.add(at, What::Weather(runtime, weather));
        for _ in 0..self.chance.below(4) {
            let (after, gateway) = (self.chance.below(lasts), self.gateway());
            let ask = self.ask(runtime);
            self.add(at + after, What::Ask { gateway, runtime, ask });
        }
        self.add(at + lasts, What::Weather(runtime, Weather::Fair));
    }

    /// So much that goes wrong at once that a circuit opens.
    fn storm(&mut self, at: u64) {
        let (runtime, gateway) = (self.runtime(), self.gateway());
        let weather = self.chance.pick(&[Weather::Down, Weather::LosesResponses, Weather::Stall]);
        self.add(at, What::Weather(runtime, weather));
        for number in 0..STORM {
            let ask = self.chance.pick(&[Ask::Runtime, Ask::Workers, Ask::Input { worker: 0, keyed: false }]);
            self.add(at + number * 400, What::Ask { gateway, runtime, ask });
        }
        self.add(at + STORM * 400 + 500, What::Weather(runtime, Weather::Fair));
        for number in 0..3 {
            self.add(at + STORM * 500 + number * 900, What::Ask { gateway, runtime, ask: Ask::Runtime });
        }
    }

    /// Another token, which the gateways come to know or not, and which the runtime may repeat.
    fn rotate(&mut self, at: u64) {
        let runtime = self.runtime();
        self.add(at, What::Rotate(runtime));
        if self.chance.one_in(4) {
            return;
        }
        let drawn = self.chance.below(6_000);
        // Every second one comes so soon after the file was looked at that only a refused credential tells of it.
        let written = at + if drawn.is_multiple_of(2) { drawn % 600 } else { drawn };
        self.add(written, What::WriteToken(runtime));
        for gateway in 0..self.gateways.len() {
            self.add(at, What::Ask { gateway, runtime, ask: Ask::Runtime });
            self.add(written + 200, What::Ask { gateway, runtime, ask: Ask::Runtime });
            self.add(written + 1_500, What::Ask { gateway, runtime, ask: Ask::Runtime });
        }
        self.add(written + 3_000, What::Publish { runtime, worker: 0, count: 4, size: 5 });
    }

    /// A viewer goes back and forth between two gateways, the last time with a cursor that the other may not have
    /// come to yet.
    fn hop(&mut self, at: u64) {
        let viewer = self.chance.index(self.viewers.len());
        let (one, other) = (self.gateway(), self.gateway());
        let ViewerPlan { runtime, worker, .. } = self.viewers[viewer];
        let seen = 4_000 + self.chance.below(200);
        for (after, gateway) in [(0, other), (2_000, one), (seen, other)] {
            self.add(at + after, What::Leave(viewer));
            self.add(at + after, What::Come { viewer, gateway, with: With::Last });
        }
        self.add(at + 4_000, What::Publish { runtime, worker, count: 1, size: 5 });
    }

    /// Two base URLs are swapped between commands, and later are what they were.
    fn swap(&mut self, one: usize, other: usize) {
        let at = self.chance.below(LASTS / 2);
        let lasts = self.chance.pick(&[500, 4_000, 20_000]);
        self.add(at, What::Swap(one, other));
        self.add(at + lasts, What::Swap(one, other));
        let moments = [at.saturating_sub(300), at + 20, at + 400, at + lasts / 2, at + lasts + 50];
        for (moment, runtime) in moments.into_iter().zip([one, one, other, one, one]) {
            let (gateway, keyed) = (self.gateway(), self.chance.one_in(2));
            let asks = [Ask::Create { keyed }, Ask::Input { worker: 0, keyed }, Ask::Stop(0)];
            let ask = self.chance.pick(&asks);
            self.add(moment, What::Ask { gateway, runtime, ask });
        }
        let viewers = (0..self.viewers.len()).filter(|viewer| self.viewers[*viewer].runtime == one);
        for viewer in viewers.collect::<Vec<_>>() {
            let gateway = self.gateway();
            self.add(at + 100, What::Leave(viewer));
            self.add(at + 100, What::Come { viewer, gateway, with: With::Last });
        }
    }

    /// A disk that takes its time and is full or fails for a while, and runtimes that crash in the middle of a write.
    fn upset_disk(&mut self, runtime: usize) {
        if !self.runtimes[runtime].kind.has_disk() {
            return;
        }
        self.runtimes[runtime].sync = SyncTime { micros: self.chance.pick(&[500, 5_000, 40_000, 250_000]) };
        for _ in 0..self.chance.below(3) {
            let (at, state) = (self.chance.below(LASTS), self.chance.pick(&[Disk::Full, Disk::Failing]));
            let lasts = self.chance.weighted(&[(3, 100), (3, 1_500), (2, 9_000)]);
            self.add(at, What::Disk(runtime, state));
            for _ in 0..self.chance.below(4) {
                let after = self.chance.below(lasts + 100);
                self.tell(at + after, runtime);
            }
            self.add(at + lasts, What::Disk(runtime, Disk::Well));
            if self.chance.one_in(3) {
                let after = self.chance.below(lasts);
                self.crash_runtime(at + after, runtime);
            }
        }
        for _ in 0..self.chance.below(3) {
            let at = self.chance.below(LASTS);
            self.tell(at, runtime);
            let after = self.chance.below(150);
            self.crash_runtime(at + after, runtime);
        }
    }

    /// A client tells something to a runtime that has to be kept, and says it again a while later.
    fn tell(&mut self, at: u64, runtime: usize) {
        let (gateway, keyed) = (self.gateway(), !self.chance.one_in(4));
        let worker = self.chance.index(self.runtimes[runtime].workers);
        let ask = self.chance.weighted(&[
            (2, Ask::Create { keyed }),
            (5, Ask::Input { worker, keyed }),
            (1, Ask::Stop(worker)),
        ]);
        self.add(at, What::Ask { gateway, runtime, ask });
        if self.chance.one_in(2) {
            let after = self.chance.below(3_000);
            self.add(at + after, What::Ask { gateway, runtime, ask: Ask::Again { same: true } });
        }
    }

    fn crash_runtime(&mut self, at: u64, runtime: usize) {
        let count = u32::try_from(self.chance.below(4)).unwrap_or_default();
        if count > 0 {
            self.add(at, What::Publish { runtime, worker: 0, count, size: 5 });
        }
        let after = self.chance.below(60);
        self.add(at + after, What::Restart { runtime, keeps_state: true, recreates: true });
    }

    fn upset_streams(&mut self, at: u64) {
        let runtime = self.runtime();
        let what = match self.chance.below(10) {
            0..4 => {
                let how = [Breakage::Orderly, Breakage::Abrupt, Breakage::Silent];
                What::Break(runtime, self.chance.pick(&how))
            }
            4 if self.chance.one_in(2) => What::Break(runtime, Breakage::Garbled),
            4 => What::Break(runtime, Breakage::TooLarge),
            5 | 6 => {
                let codes = ["unavailable", "upstream_closed", "cursor_expired"];
                What::EndStreams(runtime, self.chance.pick(&codes))
            }
            7 | 8 => What::Ail(runtime, u32::try_from(self.chance.between(1, 5)).unwrap_or(1)),
            _ => What::Repeat(runtime, u32::try_from(self.chance.between(1, 4)).unwrap_or(1)),
        };
        self.add(at, what);
        // What is only noticed by the next stream needs one.
        if matches!(what, What::Ail(..) | What::Repeat(..)) {
            self.add(at + 1, What::Break(runtime, Breakage::Orderly));
        }
    }
}
