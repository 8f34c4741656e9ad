//! A worker's stream under any schedule: from a runtime that behaves as deployed ones do, over connections that stall
//! and break, through a gateway's [`SharedStream`] and [`ViewerSession`]s, to viewers that come, lag, leave and return.
//!
//! Time is virtual, and everything follows from the schedule: the same one gives the same frames again. There are two
//! ways to make one: [`Step`]s, which a property test draws, and bytes, which a fuzzer [finds](Step::from_bytes).

mod account;
mod link;
mod runtime;
mod stream;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sekisho_core::browser_api::StreamRequest;
use sekisho_core::call::CallLimits;
use sekisho_core::cursor::{CursorKey, Sealer};
use sekisho_core::error::{Error, ErrorKind};
use sekisho_core::feed::{FeedLimits, Item, Join};
use sekisho_core::id::WorkerRef;
use sekisho_core::policy::AllowAll;
use sekisho_core::registry::{Registry, RuntimeKind, RuntimeSpec};
use sekisho_core::secret::Access;
use sekisho_core::viewer::{
    ReplayLimits, ReplayOrder, SharedStream, SharedStreamInput, StreamContext, ViewerInput, ViewerOutput,
    ViewerSession, ViewerWait,
};
use sekisho_core::watch::{CURSOR_ERROR_GRACE, GIVE_UP_AFTER, LONGEST_BACKOFF, PING_EVERY, PONG_WITHIN};

use account::{Account, Known};
pub use runtime::{Ailment, Answers};
use runtime::{At, Runtime, Wire};
use stream::StreamRun;

/// The largest payload that is shown, in bytes.
const MAX_EVENT: usize = 160;

/// Small enough for a schedule to overrun it by count, by bytes and by the size of an event.
const RING: FeedLimits = FeedLimits { max_frames: 6, max_bytes: 1300, max_event: MAX_EVENT };

/// So few that people wait for each other.
const REPLAYS: ReplayLimits = ReplayLimits { of_gateway: 3, of_runtime: 3, of_worker: 1 };

/// The token that the runtime knows, and that viewers must never see.
const TOKEN: &str = "s3cr3t-t0k3n";

/// How many people may view the worker.
pub const PEOPLE: usize = 6;

/// The most that a session or a shared stream may say before it waits.
const MAX_OUTPUTS: usize = 8;

fn worker() -> WorkerRef {
    WorkerRef { runtime_id: "rt".parse().unwrap(), worker_id: "w".parse().unwrap() }
}

fn registry() -> Registry {
    let spec = RuntimeSpec {
        runtime_id: worker().runtime_id,
        display_name: None,
        kind: RuntimeKind::Remote,
        access: Access::remote("http://10.1.2.3:7700".parse().unwrap(), TOKEN.parse().ok()),
        limits: CallLimits::default(),
        max_in_flight: 64,
        give_up_after: GIVE_UP_AFTER,
    };
    Registry::new(vec![spec], 1).unwrap()
}

fn context() -> Arc<StreamContext> {
    let context = StreamContext::new(key(), Arc::new(AllowAll), RING, PEOPLE);
    Arc::new(context.with_replays(REPLAYS))
}

fn key() -> CursorKey {
    CursorKey::from_bytes([7; CursorKey::LENGTH])
}

/// Something that happens.
#[derive(Clone, Debug)]
pub enum Step {
    /// So many events happen.
    Publish(usize),
    /// So much arrives of what is on its way to the feed.
    Deliver(usize),
    /// So much arrives of what is on its way to one viewer's replay.
    DeliverTo(usize, usize),
    /// So much arrives everywhere, a moment apart, and the first so many people read all of it.
    Flow(usize, usize),
    /// A connection breaks.
    Break(usize, Breakage),
    /// The runtime ends all streams for a reason of its own.
    Fault(&'static str),
    /// So many of the next streams end with a diagnostic as soon as they are open.
    Ail(usize, Ailment),
    /// So many events are doubled in the next stream that is resumed.
    Repeat(usize),
    /// The runtime is away: connections end, and new ones are answered like this.
    Down(Answers),
    /// It is back.
    Up,
    /// The runtime starts over and remembers nothing.
    LoseState,
    /// The runtime breaks a rule of v1, and is not to be relied on from now on.
    BreakRule(u8),
    /// The gateway starts over: another with the same key takes its place.
    Replace,
    /// Time passes.
    Pass(Duration),
    /// A person comes without a cursor.
    Come(usize),
    /// A person comes with the cursor of a frame that was read, counted from the last.
    ComeWith(usize, usize),
    /// A person reads so many frames.
    Read(usize, usize),
    /// A person leaves.
    Leave(usize),
    /// A person comes back with the last cursor seen.
    Return(usize),
}

/// How a connection breaks.
#[derive(Clone, Copy, Debug)]
pub enum Breakage {
    /// After what is on its way.
    Orderly,
    /// At once.
    Abrupt,
    /// Without either side hearing of it.
    Silent,
}

/// What a schedule is to bring about now and then.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Corner {
    /// A viewer was told that it is live.
    CaughtUp,
    /// A viewer was told of a gap.
    Gap,
    /// A viewer came to the feed after the replay of its cursor.
    JoinedAfterReplay,
    /// A viewer came to the feed after a snapshot of its own.
    JoinedAfterSnapshot,
    /// Two viewers had one replay.
    ReplayShared,
    /// A viewer waited for its turn to have a replay.
    ReplayWaited,
    /// A replay had its turn, and its viewer asked for another.
    MadeRoom,
    /// A viewer lagged.
    Lagged,
    /// A viewer's cursor expired.
    Expired,
    /// The shared stream was given up.
    GaveUp,
    /// The shared stream ended after its last viewer had left.
    LetGo,
    /// A viewer came back with its last cursor.
    ComingBack,
    /// A place was given up that every stream ended at.
    PlaceGivenUp,
    /// Events came twice.
    Doubled,
}

impl Corner {
    /// How many there are.
    pub const COUNT: usize = Self::Doubled as usize + 1;
}

impl Step {
    /// What two bytes stand for: what happens, and how much of it.
    pub fn from_bytes(what: u8, how: u8) -> Self {
        let (who, many) = (usize::from(how) % PEOPLE, usize::from(how) / PEOPLE);
        match what % 20 {
            0 => Self::Publish(1 + many % 20),
            1 => Self::Deliver(many % 12),
            2 => Self::DeliverTo(who, many % 12),
            3 => Self::Flow(many % 12, who),
            4 => Self::Break(who, [Breakage::Orderly, Breakage::Abrupt, Breakage::Silent][many % 3]),
            5 => Self::Fault(["unavailable", "upstream_closed", "cursor_expired", "of_tomorrow"][many % 4]),
            6 => Self::Ail(1 + who, [Ailment::BeforeTheSnapshot, Ailment::AfterTheSnapshot][many % 2]),
            7 => Self::Repeat(1 + who),
            8 => Self::Down([Answers::Nothing, Answers::Status(503), Answers::Status(429)][many % 3]),
            9 => Self::Up,
            10 => Self::LoseState,
            11 => Self::Replace,
            12 => Self::Pass(Duration::from_millis(u64::from(how) * 20)),
            13 => Self::Pass(Duration::from_secs(u64::from(how) / 4)),
            14 => Self::Come(who),
            15 => Self::ComeWith(who, many),
            16 => Self::Read(who, 1 + many % 10),
            17 => Self::Leave(who),
            18 => Self::Return(who),
            _ => Self::BreakRule(how),
        }
    }
}

/// One who comes and goes.
#[derive(Default)]
struct Person {
    stay: Option<Stay>,
    /// The last cursor seen, over all stays.
    cursor: Option<String>,
    account: Account,
}

struct Stay {
    session: ViewerSession,
    came_with_cursor: bool,
    /// The number of its replay.
    replay: Option<u64>,
    /// A frame that is written, and not read yet.
    unread: Option<Item>,
    until: Instant,
}

/// A gateway, a runtime, and people.
pub struct World {
    now: Instant,
    context: Arc<StreamContext>,
    registry: Registry,
    runtime: Runtime,
    /// The stream that all viewers share.
    shared: Option<StreamRun>,
    /// The replays, by their numbers.
    replays: BTreeMap<u64, StreamRun>,
    generations: u64,
    /// The newest place in the feed.
    newest: Option<At>,
    people: [Person; PEOPLE],
    known: Known,
    cursors: Vec<String>,
    trace: Vec<String>,
}

impl World {
    fn new() -> Self {
        Self {
            now: Instant::now(),
            context: context(),
            registry: registry(),
            runtime: Runtime::new(worker()),
            shared: None,
            replays: BTreeMap::new(),
            generations: 0,
            newest: None,
            people: Default::default(),
            known: Known::new(&key()),
            cursors: Vec::new(),
            trace: Vec::new(),
        }
    }

    /// Runs a schedule and then, in peace, to its end. Panics where a rule is broken.
    pub fn run(steps: &[Step]) -> Self {
        let mut world = Self::new();
        for step in steps {
            world.take(step);
            world.settle();
        }
        world.come_to_rest();
        world
    }

    /// What the schedule has brought about.
    pub fn corners(&self) -> impl Iterator<Item = Corner> {
        self.runtime.corners.iter().copied()
    }

    /// Each frame that was read, and by whom.
    pub fn trace(&self) -> &[String] {
        &self.trace
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Publish(count) => (0..count).for_each(|_| self.runtime.publish()),
            Step::Deliver(count) => {
                for _ in 0..count {
                    self.deliver();
                }
            }
            Step::DeliverTo(who, count) => {
                for _ in 0..count {
                    self.deliver_to(who);
                }
            }
            Step::Flow(count, readers) => {
                for _ in 0..count {
                    self.arrive();
                    (0..readers).for_each(|who| while self.read(who) {});
                    self.pass(CURSOR_ERROR_GRACE / 8);
                }
            }
            Step::Break(which, how) => self.break_connection(which, how),
            Step::Fault(code) => {
                self.runtime.connections.values_mut().for_each(|connection| connection.fault(code));
            }
            Step::Ail(count, ailment) => self.runtime.ailing = (count, ailment),
            Step::Repeat(count) => self.runtime.repeats = count,
            Step::Down(answers) => self.runtime.close(answers),
            Step::Up => self.runtime.answers = Answers::Stream,
            Step::LoseState => {
                self.runtime.close(Answers::Stream);
                self.runtime.begin_life();
            }
            Step::BreakRule(which) => self.runtime.break_a_rule(which),
            Step::Replace => self.replace(),
            Step::Pass(time) => self.pass(time),
            Step::Come(who) => self.come(who, None),
            Step::ComeWith(who, which) => {
                let back = which % self.cursors.len().max(1);
                if let Some(cursor) = self.cursors.iter().rev().nth(back).cloned() {
                    self.come(who, Some(cursor));
                }
            }
            Step::Read(who, count) => {
                for _ in 0..count {
                    self.read(who);
                }
            }
            Step::Leave(who) => self.leave(who),
            Step::Return(who) => {
                self.runtime.corners.insert(Corner::ComingBack);
                let cursor = self.people[who].cursor.clone();
                self.come(who, cursor);
            }
        }
    }

    fn break_connection(&mut self, which: usize, how: Breakage) {
        let Some(connection) = self.runtime.connections.values_mut().nth(which) else { return };
        let end = Wire::Gone(sekisho_core::transport::Loss::Ended);
        match how {
            Breakage::Orderly => connection.end(end),
            Breakage::Abrupt => {
                connection.wire.clear();
                connection.served = false;
                connection.wire.push_back(end);
            }
            Breakage::Silent => {
                connection.wire.clear();
                connection.served = false;
            }
        }
    }

    /// Lets time pass, and wakes each machine when it wants to be woken.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let streams = self.shared.iter().chain(self.replays.values()).flat_map(StreamRun::wakes);
            let stays = self.people.iter().filter_map(|person| person.stay.as_ref());
            let own = stays.filter(|stay| stay.unread.is_none()).map(|stay| stay.until);
            match streams.chain(own).min() {
                Some(until) if until <= end => self.now = until,
                _ => break,
            }
            self.settle();
        }
        self.now = end;
    }

    // ---- The gateway.

    /// All machines are obeyed until they wait.
    fn settle(&mut self) {
        self.drive_streams();
        (0..PEOPLE).for_each(|who| self.drive(who));
        // Viewers may have left meanwhile.
        self.drive_streams();
    }

    fn drive_streams(&mut self) {
        let numbers: Vec<u64> = self.replays.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.drive_replay(number));
        self.drive_shared();
    }

    fn drive_shared(&mut self) {
        let Some(shared) = &mut self.shared else { return };
        if self.people.iter().all(|person| person.stay.is_none()) {
            shared.stream.handle(self.now, SharedStreamInput::Unviewed);
        }
        let told = shared.drive(self.now, &mut self.runtime, Some(RING));
        let is_over = shared.is_over;
        if let Some(place) = told.newest {
            self.newest = self.runtime.locate(place.as_str());
        }
        if let Some(error) = told.ended {
            self.runtime.corners.insert(Corner::GaveUp);
            for stay in self.people.iter_mut().filter_map(|person| person.stay.as_mut()) {
                stay.session.handle(self.now, ViewerInput::StreamEnded(error.clone()));
            }
            // The feed is there for them until they have heard of it.
            (0..PEOPLE).for_each(|who| self.read_to_the_end(who));
        } else if is_over {
            self.runtime.corners.insert(Corner::LetGo);
            assert!(self.people.iter().all(|person| person.stay.is_none()), "it is let go, and has viewers");
        }
        if is_over {
            self.shared = None;
        }
    }

    fn drive_replay(&mut self, number: u64) {
        let Some(replay) = self.replays.get_mut(&number) else { return };
        let told = replay.drive(self.now, &mut self.runtime, None);
        let is_over = replay.is_over;
        let stays = self.people.iter_mut().filter_map(|person| person.stay.as_mut());
        let mut viewers = stays.filter(|stay| stay.replay == Some(number)).peekable();
        // Its feed is there for its viewers until they have come to its end.
        if is_over && viewers.peek().is_none() {
            self.replays.remove(&number);
        } else if let Some(error) = told.ended {
            viewers.for_each(|stay| stay.session.handle(self.now, ViewerInput::ReplayEnded(error.clone())));
        }
    }

    fn open_replay(&mut self, who: usize, order: ReplayOrder) {
        let number = order.number();
        let others = self.people.iter().filter_map(|person| person.stay.as_ref());
        if others.filter(|stay| stay.replay == Some(number)).count() > 0 {
            self.runtime.corners.insert(Corner::ReplayShared);
        }
        if !self.replays.contains_key(&number) {
            let stream = SharedStream::replay(self.now, &self.context, order, number);
            self.replays.insert(number, StreamRun::new(self.now, stream, &mut self.registry));
            let open = self.replays.values().filter(|replay| !replay.is_over).count();
            assert!(open <= REPLAYS.of_worker, "{open} replays at once");
        }
        let Some(stay) = &mut self.people[who].stay else { return };
        assert!(stay.replay.replace(number).is_none(), "two replays at once");
    }

    fn close_replay(&mut self, who: usize) {
        let Some(stay) = &mut self.people[who].stay else { return };
        let number = stay.replay.take().expect("it was opened");
        self.runtime.corners.insert(match (stay.session.is_following(), stay.came_with_cursor) {
            (false, _) => Corner::MadeRoom,
            (true, true) => Corner::JoinedAfterReplay,
            (true, false) => Corner::JoinedAfterSnapshot,
        });
        self.drive_replay(number);
    }

    /// The gateway starts over: viewers are told to come back.
    fn replace(&mut self) {
        for who in 0..PEOPLE {
            if let Some(stay) = &mut self.people[who].stay {
                stay.session.handle(self.now, ViewerInput::Drain);
            }
        }
        self.pass(sekisho_core::viewer::GOING_AWAY_OVER);
        (0..PEOPLE).for_each(|who| self.read_to_the_end(who));
        assert!(self.people.iter().all(|person| person.stay.is_none()), "told to go, and still there");
        if let Some(shared) = self.shared.take() {
            shared.stop(self.now, &mut self.runtime);
        }
        self.drive_streams();
        assert!(self.replays.is_empty(), "a replay without a viewer");
        self.context = context();
    }

    // ---- The viewers.

    fn come(&mut self, who: usize, cursor: Option<String>) {
        if self.people[who].stay.is_some() {
            return;
        }
        let position = cursor.as_ref().and_then(|cursor| {
            let place = Sealer::new(&key(), worker()).open(cursor).unwrap();
            self.runtime.locate(place.as_str())
        });
        let came_with_cursor = cursor.is_some();
        let request = StreamRequest { worker: worker(), cursor, client: None };
        let session = ViewerSession::open(self.now, &self.context, &self.registry, request).unwrap();
        let shared = self.shared.get_or_insert_with(|| {
            self.generations += 1;
            self.newest = None;
            let stream = SharedStream::new(self.now, &self.context, worker(), self.generations);
            StreamRun::new(self.now, stream, &mut self.registry)
        });
        shared.stream.handle(self.now, SharedStreamInput::Viewed);
        let person = &mut self.people[who];
        person.account = Account::new(position);
        person.stay = Some(Stay { session, came_with_cursor, replay: None, unread: None, until: self.now });
    }

    /// Obeys a session until it waits, or has something to be read.
    fn drive(&mut self, who: usize) {
        let mut said = 0;
        while let Some(output) = self.poll(who) {
            said += 1;
            assert!(said <= MAX_OUTPUTS, "it goes on and on: {output:?}");
            let person = &mut self.people[who];
            let Some(stay) = &mut person.stay else { return };
            match output {
                ViewerOutput::Frame(item) => return stay.unread = Some(item),
                ViewerOutput::Ping => {
                    stay.session.handle(self.now, ViewerInput::Written);
                    stay.session.handle(self.now, ViewerInput::Pong);
                }
                ViewerOutput::OpenReplay(order) => self.open_replay(who, order),
                ViewerOutput::WakeReplay => {
                    if let Some(number) = stay.replay {
                        self.drive_replay(number);
                    }
                }
                ViewerOutput::CloseReplay => self.close_replay(who),
                ViewerOutput::End(closing) => {
                    let closing = closing.expect("the viewer is there");
                    return self.end(who, closing.error());
                }
                ViewerOutput::Wait { until, why } => {
                    assert!(until > self.now, "it waits for what is past: {why:?}");
                    stay.until = until;
                    if why == ViewerWait::Turn {
                        self.runtime.corners.insert(Corner::ReplayWaited);
                    }
                    return;
                }
            }
        }
    }

    fn poll(&mut self, who: usize) -> Option<ViewerOutput> {
        let person = &mut self.people[who];
        let stay = person.stay.as_mut().filter(|stay| stay.unread.is_none())?;
        let shared = self.shared.as_ref()?;
        let before = stay.session.is_following();
        let replay = stay.replay.and_then(|number| self.replays.get(&number));
        let replay = replay.map(|replay| replay.stream.feed());
        let output = stay.session.poll(self.now, shared.stream.feed(), replay);
        if !before && stay.session.is_following() {
            person.account.live_from = self.newest;
        }
        Some(output)
    }

    /// Reads one frame. Whether there was one.
    fn read(&mut self, who: usize) -> bool {
        self.drive(who);
        let person = &mut self.people[who];
        let Some(stay) = &mut person.stay else { return false };
        let Some(item) = stay.unread.take() else { return false };
        self.trace.push(format!("{who} {}", String::from_utf8_lossy(item.text())));
        let was_live = person.account.caught_up;
        person.account.see(&item, &mut self.known, &self.runtime);
        if let Some(cursor) = item.cursor() {
            person.cursor = Some(cursor.to_owned());
            self.cursors.push(cursor.to_owned());
        }
        if person.account.after_gap {
            self.runtime.corners.insert(Corner::Gap);
        }
        if person.account.caught_up && !was_live {
            self.runtime.corners.insert(Corner::CaughtUp);
        }
        stay.session.handle(self.now, ViewerInput::Written);
        self.drive(who);
        true
    }

    fn read_to_the_end(&mut self, who: usize) {
        while self.read(who) {}
    }

    fn end(&mut self, who: usize, error: &Error) {
        self.trace.push(format!("{who} {}", error.kind().code()));
        let person = &mut self.people[who];
        let Some(stay) = person.stay.take() else { return };
        match error.kind() {
            ErrorKind::ViewerLagged => {
                let place =
                    person.cursor.as_ref().map(|cursor| Sealer::new(&key(), worker()).open(cursor).unwrap());
                let is_newest = person.account.position == self.newest;
                let feed = self.shared.as_ref().map(|shared| shared.stream.feed());
                let has = feed.is_some_and(|feed| matches!(feed.join(place.as_ref()), Join::Ready(..)));
                // The feed begins anew at a place that was given up: it is there, and yet something was missed.
                let given_up = self.runtime.corners.contains(&Corner::PlaceGivenUp);
                let excused = is_newest || place.is_none() || given_up || self.runtime.is_foul;
                assert!(!has || excused, "nothing was missed");
                self.runtime.corners.insert(Corner::Lagged);
            }
            ErrorKind::CursorExpired => {
                let at = person.account.position;
                let stays = at.is_some_and(|at| self.runtime.has(at));
                assert!(!stays || stay.replay.is_some(), "what has expired can be replayed");
                self.runtime.corners.insert(Corner::Expired);
            }
            _ => {}
        }
        let replay = stay.replay;
        drop(stay);
        replay.into_iter().for_each(|number| self.drive_replay(number));
    }

    fn leave(&mut self, who: usize) {
        let Some(mut stay) = self.people[who].stay.take() else { return };
        stay.session.handle(self.now, ViewerInput::Gone);
        let replay = stay.replay;
        drop(stay);
        replay.into_iter().for_each(|number| self.drive_replay(number));
    }

    fn deliver(&mut self) -> bool {
        let moved = match &mut self.shared {
            Some(shared) => shared.deliver(self.now, &mut self.runtime),
            None => false,
        };
        self.settle();
        moved
    }

    fn deliver_to(&mut self, who: usize) -> bool {
        let number = self.people[who].stay.as_ref().and_then(|stay| stay.replay);
        let moved = match number.and_then(|number| self.replays.get_mut(&number)) {
            Some(replay) => replay.deliver(self.now, &mut self.runtime),
            None => false,
        };
        self.settle();
        moved
    }

    /// Lets one thing arrive everywhere. Whether there was any.
    fn arrive(&mut self) -> bool {
        let mut moved = self.deliver();
        for who in 0..PEOPLE {
            moved |= self.deliver_to(who);
        }
        moved
    }

    // ---- The end.

    /// Lets everything arrive and every person read, until nothing has moved for so long.
    fn rest(&mut self, quiet: Duration) {
        let mut moved_at = self.now;
        while self.now < moved_at + quiet {
            let moved = self.arrive();
            (0..PEOPLE).for_each(|who| self.read_to_the_end(who));
            if moved {
                moved_at = self.now;
            } else {
                self.pass(CURSOR_ERROR_GRACE / 2);
            }
        }
    }

    /// A runtime that stays up, and connections that hold: each viewer that is still there comes to see everything.
    fn come_to_rest(&mut self) {
        self.runtime.answers = Answers::Stream;
        self.runtime.ailing.0 = 0;
        self.runtime.repeats = 0;
        self.rest(PING_EVERY + PONG_WITHIN + LONGEST_BACKOFF);
        self.runtime.publish();
        self.rest(CURSOR_ERROR_GRACE);
        if self.runtime.is_foul {
            return;
        }
        for (who, person) in self.people.iter().enumerate() {
            let Some(stay) = &person.stay else { continue };
            assert!(stay.session.is_following(), "{who} is not in the feed");
            assert!(person.account.caught_up, "{who} was not told that it is live");
            assert_eq!(person.account.position, Some(self.runtime.head()), "{who} has not seen the end");
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("trace", &self.trace).finish_non_exhaustive()
    }
}
