//! One stream per worker and gateway, shared by its viewers, and a replica of its feed on each other loop.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use sekisho_core::error::Error;
use sekisho_core::feed::{Feed, FeedLimits};
use sekisho_core::viewer::{
    FeedReplica, FeedUpdate, LINGER, ReplayOrder, SharedStream, SharedStreamInput, SharedStreamOutput,
    SharedStreamWait,
};
use sekisho_core::watch::{OnExpiredCursor, WatchEvent};

use super::clock::{Time, time};
use super::gateway::REPLAYS;
use super::invariants::Invariant;
use super::planted::Planted;
use super::viewers::Person;
use super::watches::Advance;
use super::world::{Event, World};

/// The most that a stream may say before it waits.
const MAX_OUTPUTS: u32 = 4;

/// Of so many updates one does not reach the replicas, which take another copy of the feed a while later.
const MISSED: u64 = 11;

/// How much later.
pub(super) const COPIED_AFTER: Time = Time::from_millis(3);

/// A worker's stream at one gateway, or a replay.
pub(super) struct Stream {
    /// Its number among the replays of the gateway, where it is one.
    replay: Option<u64>,
    gateway: usize,
    /// On which loop it is.
    of_loop: usize,
    runtime: usize,
    worker: usize,
    pub(super) watch: usize,
    shared: SharedStream,
    /// The feed as the other loops have it.
    replicas: BTreeMap<usize, FeedReplica>,
    pub(super) viewers: BTreeSet<usize>,
    /// Since when it has had no viewer.
    unviewed_since: Option<Time>,
    updates: u64,
    /// When the frames of the feed came, by the cursors that they have for viewers.
    came: VecDeque<(Bytes, Time)>,
    /// Whether the replicas have missed an update, and hear of none until they have taken another copy.
    behind: bool,
    pub(super) over: bool,
    /// Whether its watch ended before it did.
    pub(super) watch_ended: bool,
    /// Whether its watch is not to be heard now.
    is_paced: bool,
    /// Names the wake-up that still counts.
    wake: u64,
}

impl Stream {
    fn new(
        shared: SharedStream,
        at: (usize, usize),
        of: (usize, usize),
        watch: usize,
        replay: Option<u64>,
    ) -> Self {
        Self {
            replay,
            gateway: at.0,
            of_loop: at.1,
            runtime: of.0,
            worker: of.1,
            watch,
            shared,
            replicas: BTreeMap::new(),
            viewers: BTreeSet::new(),
            unviewed_since: None,
            updates: 0,
            came: VecDeque::new(),
            behind: false,
            over: false,
            watch_ended: false,
            is_paced: false,
            wake: 0,
        }
    }

    /// The feed as one loop has it.
    pub(super) fn feed(&self, of_loop: usize) -> &Feed {
        self.replicas.get(&of_loop).map_or(self.shared.feed(), FeedReplica::feed)
    }

    /// When a frame came.
    pub(super) fn came_at(&self, frame: &Bytes) -> Option<Time> {
        self.came.iter().rev().find(|(it, _)| it.as_ptr() == frame.as_ptr()).map(|(_, at)| *at)
    }

    /// Why it has ended, as one loop knows.
    pub(super) fn ended(&self, of_loop: usize) -> Option<&Error> {
        self.replicas.get(&of_loop).map_or(self.shared.ended(), FeedReplica::ended)
    }
}

impl World<'_> {
    /// The stream of a worker for one more viewer.
    pub(super) fn view_stream(
        &mut self,
        viewer: usize,
        at: (usize, usize),
        of: (usize, usize),
    ) -> Result<usize, Error> {
        let number = match self.gateways[at.0].streams.get(&of) {
            Some(number) => *number,
            None => self.open_stream(at, of)?,
        };
        self.subscribe(number, viewer, at);
        Ok(number)
    }

    /// A replay stream for one more viewer.
    pub(super) fn view_replay(
        &mut self,
        viewer: usize,
        at: (usize, usize),
        order: ReplayOrder,
    ) -> Result<usize, Error> {
        let number = match self.gateways[at.0].replays.get(&order.number()) {
            Some(number) => {
                self.census.count("viewer", "shared a replay");
                *number
            }
            None => self.open_replay(viewer, at, order)?,
        };
        self.subscribe(number, viewer, at);
        Ok(number)
    }

    fn subscribe(&mut self, number: usize, viewer: usize, at: (usize, usize)) {
        let (now, limits) = (self.instant(), self.gateways[at.0].limits);
        let stream = &mut self.streams[number];
        stream.viewers.insert(viewer);
        stream.unviewed_since = None;
        stream.shared.handle(now, SharedStreamInput::Viewed);
        if at.1 != stream.of_loop {
            let copy = stream.shared.copy();
            let replica = stream.replicas.entry(at.1).or_insert_with(|| FeedReplica::new(limits));
            replica.begin(copy);
        }
        self.drive_stream(number);
    }

    fn open_stream(&mut self, at: (usize, usize), of: (usize, usize)) -> Result<usize, Error> {
        let number = self.streams.len();
        let watch = self.watch(at, of, None, OnExpiredCursor::Resynchronize, number)?;
        let context = match self.is_planted(Planted::UnboundedRing) {
            false => self.gateways[at.0].streams_of.clone(),
            true => {
                let limits = self.gateways[at.0].limits;
                let none = FeedLimits { max_frames: usize::MAX, max_bytes: usize::MAX, ..limits };
                self.gateways[at.0].context(none)
            }
        };
        let worker = self.worker_ref(of.0, of.1);
        let shared = SharedStream::new(self.instant(), &context, worker, number as u64);
        self.streams.push(Stream::new(shared, at, of, watch, None));
        self.gateways[at.0].streams.insert(of, number);
        Ok(number)
    }

    fn open_replay(&mut self, viewer: usize, at: (usize, usize), order: ReplayOrder) -> Result<usize, Error> {
        let number = self.streams.len();
        let Person { runtime, worker, .. } = self.viewers[viewer];
        let of = (runtime, worker);
        let watch = self.watch(at, of, order.cursor().cloned(), order.on_expired(), number)?;
        let (replay, context) = (order.number(), self.gateways[at.0].streams_of.clone());
        let shared = SharedStream::replay(self.instant(), &context, order, number as u64);
        self.streams.push(Stream::new(shared, at, of, watch, Some(replay)));
        self.gateways[at.0].replays.insert(replay, number);
        let open = |number: &&usize| !self.streams[**number].over;
        let open = self.gateways[at.0].replays.values().filter(open).count();
        if open > REPLAYS.of_gateway {
            self.violate(Invariant::Bounded, || format!("{open} replays at once"));
        }
        Ok(number)
    }

    /// The time has come that a stream waited for.
    pub(super) fn wake_stream(&mut self, number: usize, wake: u64) {
        if self.streams[number].wake == wake {
            self.drive_stream(number);
        }
    }

    /// Obeys a stream, and its watch, until both wait or it is over.
    pub(super) fn drive_stream(&mut self, number: usize) {
        let mut said = 0;
        while !self.streams[number].over && self.violation.is_none() {
            said += 1;
            if said > MAX_OUTPUTS {
                return self.violate(Invariant::Bounded, || "a stream goes on and on".to_owned());
            }
            let now = self.instant();
            match self.streams[number].shared.poll(now) {
                SharedStreamOutput::Observed(result) => self.learn(self.streams[number].watch, &result),
                SharedStreamOutput::Update(update) => self.update(number, &update),
                SharedStreamOutput::Wait { until, why } => {
                    self.pace(number, why == SharedStreamWait::Pace);
                    let until = until.map(time);
                    if until.is_some_and(|until| until <= self.now()) {
                        self.violate(Invariant::NoPastDeadline, || format!("a stream waits for {why:?}"));
                    }
                    if self.streams[number].is_paced {
                        return self.let_stream_wait(number, until);
                    }
                    let input = match self.advance(self.streams[number].watch) {
                        Advance::Event(WatchEvent::Resynchronized)
                            if self.is_planted(Planted::DropsResynchronized) =>
                        {
                            continue;
                        }
                        Advance::Event(event) => SharedStreamInput::Watch(event),
                        Advance::Stopped(result) => {
                            self.streams[number].watch_ended = true;
                            SharedStreamInput::WatchEnded(result)
                        }
                        Advance::Waiting => return self.let_stream_wait(number, until),
                    };
                    self.streams[number].shared.handle(now, input);
                    said = 0;
                }
                SharedStreamOutput::End => self.end_stream(number),
            }
        }
    }

    fn pace(&mut self, number: usize, is_paced: bool) {
        if self.streams[number].is_paced && !is_paced {
            self.begin_to_listen(self.streams[number].watch);
        } else if is_paced {
            self.census.count("viewer", "paced a replay");
        }
        self.streams[number].is_paced = is_paced;
    }

    fn let_stream_wait(&mut self, number: usize, until: Option<Time>) {
        let stream = &mut self.streams[number];
        stream.wake += 1;
        if let Some(until) = until
            && self.options.planted != Some(Planted::KeepsStream)
        {
            self.clock.at(until, Event::WakeStream(number, stream.wake));
        }
    }

    /// Passes on what is new in the feed, or that it has ended.
    fn update(&mut self, number: usize, update: &FeedUpdate) {
        let now = self.now();
        let stream = &mut self.streams[number];
        stream.updates += 1;
        if let FeedUpdate::Frame(item) = update {
            stream.came.push_back((item.event().clone(), now));
            if stream.came.len() > self.gateways[stream.gateway].limits.max_frames {
                stream.came.pop_front();
            }
        }
        let misses = !stream.behind && stream.updates.is_multiple_of(MISSED) && !stream.replicas.is_empty();
        stream.behind |= misses;
        if !stream.behind {
            stream.replicas.values_mut().for_each(|replica| replica.apply(update.clone()));
        }
        let (frames, bytes) = stream.shared.feed().retained();
        let limits = self.gateways[stream.gateway].limits;
        // The ring of a replay has bounds of its own.
        let is_over = frames > limits.max_frames || (frames > 1 && bytes > limits.max_bytes);
        if is_over && stream.replay.is_none() {
            self.violate(Invariant::Bounded, || format!("a ring of {frames} frames and {bytes} bytes"));
        }
        if misses {
            self.census.count("gateway", "copied a feed again");
            self.clock.at(self.clock.now() + COPIED_AFTER, Event::CopyFeed(number));
        }
        self.wake_sessions(number);
    }

    /// The replicas of a stream take another copy of its feed. What ends meanwhile, they hear as well.
    pub(super) fn copy_feed(&mut self, number: usize) {
        let Stream { shared, replicas, behind, .. } = &mut self.streams[number];
        *behind = false;
        for replica in replicas.values_mut() {
            replica.begin(shared.copy());
            if let Some(error) = shared.ended() {
                replica.apply(FeedUpdate::Ended(error.clone()));
            }
        }
        self.wake_sessions(number);
    }

    fn end_stream(&mut self, number: usize) {
        let Stream { replay, gateway, runtime, worker, watch, .. } = self.streams[number];
        if let Some(replay) = replay {
            return self.end_replay(number, (gateway, replay));
        }
        self.streams[number].over = true;
        self.gateways[gateway].streams.remove(&(runtime, worker));
        if self.streams[number].shared.ended().is_none() {
            self.census.count("watch", "let go");
            if !self.streams[number].viewers.is_empty() {
                self.violate(Invariant::TypedEnd, || "a stream is let go that has viewers".to_owned());
            }
            if self.outlives(number) {
                self.violate(Invariant::Bounded, || {
                    "a stream outlived its last viewer for too long".to_owned()
                });
            }
            self.stop_watch(watch);
        }
    }

    fn end_replay(&mut self, number: usize, (gateway, replay): (usize, u64)) {
        self.streams[number].over = true;
        self.gateways[gateway].replays.remove(&replay);
        if !self.is_planted(Planted::KeepsReplay) {
            self.drop_watch(self.streams[number].watch);
        }
        self.wake_sessions(number);
    }

    /// A viewer of a stream has gone.
    pub(super) fn leave_stream(&mut self, viewer: usize, number: usize) {
        let now = self.instant();
        let stream = &mut self.streams[number];
        stream.viewers.remove(&viewer);
        if stream.replay.is_some() {
            // A replay that has no viewer any more knows it by itself.
            self.drive_stream(number);
        } else if stream.viewers.is_empty() && !stream.over {
            stream.unviewed_since = Some(self.clock.now());
            stream.shared.handle(now, SharedStreamInput::Unviewed);
            self.drive_stream(number);
        }
    }

    /// A stream without viewers must end in time.
    pub(super) fn check_streams(&mut self) {
        if (0..self.streams.len()).any(|number| !self.streams[number].over && self.outlives(number)) {
            self.violate(Invariant::Bounded, || "a stream outlives its last viewer for too long".to_owned());
        }
    }

    /// Each replay stream must be one that a session wants.
    pub(super) fn check_replays(&mut self) {
        let stray = |stream: &Stream| stream.replay.is_some() && stream.viewers.is_empty();
        let mut open = self.open_watches();
        if open.any(|(watch, stream)| stray(&self.streams[stream]) && watch == self.streams[stream].watch) {
            drop(open);
            self.violate(Invariant::Bounded, || "a replay stream outlives its use".to_owned());
        }
    }

    fn outlives(&self, number: usize) -> bool {
        self.streams[number].unviewed_since.is_some_and(|since| self.now() > since + LINGER)
    }

    /// A gateway is gone, and its streams with it.
    pub(super) fn drop_streams(&mut self, gateway: usize) {
        let streams = std::mem::take(&mut self.gateways[gateway].streams).into_values();
        let replays = std::mem::take(&mut self.gateways[gateway].replays).into_values();
        for number in streams.chain(replays) {
            self.drop_watch(self.streams[number].watch);
            self.streams[number].over = true;
        }
    }

    /// What a gateway learns of a stream.
    fn learn(&mut self, watch: usize, result: &Result<(), Error>) {
        let (at, runtime) = self.place_of(watch);
        let (now, runtime_id) = (self.instant(), &self.sites[runtime].runtime_id);
        let result = result.as_ref().copied();
        let change = self.gateways[at.0].loops[at.1].observed(now, runtime_id, result);
        self.tell(at.0, at.1, change);
    }
}
