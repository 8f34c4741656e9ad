//! Watch and feed together, under random schedules: a worker's stream from a runtime that behaves as deployed ones do,
//! over connections that stall and break, through a gateway, to viewers that come, lag, leave and come back.
//!
//! Time is virtual, and everything follows from the schedule: the same one gives the same frames again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sekisho_core::call::CallLimits;
use sekisho_core::cursor::{CursorKey, UpstreamCursor};
use sekisho_core::error::{Error, ErrorKind, NetworkPhase, TimeoutPhase};
use sekisho_core::feed::{Encoder, Feed, FeedLimits, FeedPosition, Item, Join, Next};
use sekisho_core::id::WorkerRef;
use sekisho_core::policy::AllowAll;
use sekisho_core::registry::{Registry, RuntimeKind, RuntimeSpec};
use sekisho_core::runtime_api::{Envelope, Frame, Observe, SNAPSHOT_PREFIX, StreamDiagnostic};
use sekisho_core::secret::Access;
use sekisho_core::transport::{ConnId, FailureCause, Loss};
use sekisho_core::watch::{
    CURSOR_ERROR_GRACE, GIVE_UP_AFTER, LONGEST_BACKOFF, MAX_STALLS, OnExpiredCursor, PING_EVERY, PONG_WITHIN,
    Watch, WatchEvent, WatchInput, WatchOutput,
};
use serde_json::Value;
use serde_json::value::RawValue;

/// Small enough for a schedule to overrun it by count, by bytes and by the size of an event.
const RING: FeedLimits = FeedLimits { max_frames: 6, max_bytes: 1300, max_event: 160 };

/// How many events the runtime can replay.
const BACKLOG: usize = 20;

/// How many frames the runtime keeps for a subscriber that does not read.
const SUBSCRIBER_BUFFER: usize = 24;

/// How many people there are.
const PEOPLE: usize = 6;

/// The most that a watch may say before it waits: after one input, or at its time.
const MAX_OUTPUTS: usize = 7;

fn worker() -> WorkerRef {
    let parsed = ("rt".parse(), "w".parse());
    WorkerRef { runtime_id: parsed.0.expect("an id"), worker_id: parsed.1.expect("an id") }
}

fn registry() -> Registry {
    let spec = RuntimeSpec {
        runtime_id: worker().runtime_id,
        display_name: None,
        kind: RuntimeKind::Remote,
        access: Access::remote("http://10.1.2.3:7700".parse().expect("a URL"), "first-token".parse().ok()),
        limits: CallLimits::default(),
        max_in_flight: 64,
        give_up_after: GIVE_UP_AFTER,
    };
    Registry::new(vec![spec], 1).expect("one runtime")
}

fn encoder() -> Encoder {
    let key = CursorKey::from_bytes([7; CursorKey::LENGTH]);
    Encoder::new(&key, worker(), Arc::new(AllowAll), RING.max_event)
}

#[expect(clippy::disallowed_methods, reason = "an instant has no other origin")]
fn epoch() -> Instant {
    Instant::now()
}

// ---------------------------------------------------------------------------------------------- the runtime

/// A place as the runtime itself knows it: which of its lives, and how many events into it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct At {
    life: usize,
    index: usize,
}

/// How the runtime receives a new connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AccessGuard {
    Open,
    /// The process is not there.
    Closed,
    /// A proxy answers in its place.
    Proxied,
}

/// How a stream ends that has hardly begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ailment {
    BeforeTheSnapshot,
    AfterTheSnapshot,
}

/// What is on its way to the gateway.
enum Wire {
    Opened,
    Snapshot(Bytes),
    Event(Bytes),
    /// A diagnostic after which the connection is dropped.
    Fault(Bytes),
    Pong,
    Refused(u16),
    Unreachable,
    Gone,
}

struct Connection {
    wire: VecDeque<Wire>,
    /// Whether the runtime still writes to it.
    served: bool,
}

/// A deployed runtime with a single worker.
struct Runtime {
    door: AccessGuard,
    /// The cursors of each of its lives; the first of each is where that life began.
    lives: Vec<Vec<String>>,
    places: BTreeMap<String, At>,
    number: u64,
    connections: BTreeMap<u32, Connection>,
    connected: u32,
    /// How many events the next resumed stream repeats.
    repeats: usize,
    /// How many of the next streams it cannot keep up.
    ailing: (usize, Ailment),
    /// What the schedule has brought about.
    corners: BTreeSet<Corner>,
}

impl Runtime {
    fn new() -> Self {
        let mut runtime = Self {
            door: AccessGuard::Open,
            lives: Vec::new(),
            places: BTreeMap::new(),
            number: 0,
            connections: BTreeMap::new(),
            connected: 0,
            repeats: 0,
            ailing: (0, Ailment::BeforeTheSnapshot),
            corners: BTreeSet::new(),
        };
        runtime.begin_life();
        runtime
    }

    fn head(&self) -> At {
        let life = self.lives.len() - 1;
        At { life, index: self.lives[life].len() - 1 }
    }

    fn cursor(&self, at: At) -> &str {
        &self.lives[at.life][at.index]
    }

    /// Whether everything after it can still be replayed.
    fn has(&self, at: At) -> bool {
        let head = self.head();
        at.life == head.life && head.index - at.index <= BACKLOG
    }

    fn begin_life(&mut self) {
        self.lives.push(Vec::new());
        self.add_cursor();
    }

    /// Numbers skip, and are not in order either, so that nobody can get away with relying on it.
    fn add_cursor(&mut self) {
        self.number += 1 + self.number % 3;
        let cursor = format!("wo_{:016x}", self.number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let life = self.lives.len() - 1;
        self.lives[life].push(cursor.clone());
        self.places.insert(cursor, self.head());
    }

    fn publish(&mut self) {
        self.add_cursor();
        let text = self.event(self.head());
        for connection in self.connections.values_mut().filter(|connection| connection.served) {
            if connection.wire.len() < SUBSCRIBER_BUFFER {
                connection.wire.push_back(Wire::Event(text.clone()));
            } else {
                connection.fault("cursor_expired");
            }
        }
    }

    fn payload(at: At) -> String {
        let text = "x".repeat((at.index * 67 + at.life) % 150);
        format!(r#"{{"event":"text_delta","data":{{"text":"{} {} {text}"}}}}"#, at.life, at.index)
    }

    fn event(&self, at: At) -> Bytes {
        let cursor = self.cursor(at);
        frame(cursor, cursor, &Self::payload(at))
    }

    fn snapshot(&self, at: At) -> Bytes {
        let cursor = self.cursor(at);
        let payload = format!(r#"{{"event":"snapshot","data":{{"entries":{}}}}}"#, at.index);
        frame(&format!("{SNAPSHOT_PREFIX}{cursor}"), cursor, &payload)
    }

    fn connect(&mut self, request: &Request<()>) -> u32 {
        let observe = Observe::from_request(request).expect("a stream").expect("a good request");
        assert_eq!(observe.worker_id, worker().worker_id);
        assert_eq!(request.headers()["authorization"], "Bearer first-token");
        let mut connection = Connection { wire: VecDeque::new(), served: true };
        match self.door {
            AccessGuard::Closed => connection.end(Wire::Unreachable),
            AccessGuard::Proxied => connection.end(Wire::Refused(503)),
            AccessGuard::Open => {
                connection.wire.push_back(Wire::Opened);
                let (ailing, ailment) = self.ailing;
                self.ailing.0 = ailing.saturating_sub(1);
                if ailing > 0 && ailment == Ailment::BeforeTheSnapshot {
                    connection.fault("unavailable");
                }
                if connection.served {
                    self.begin_stream(&mut connection, observe.cursor.as_deref());
                }
                if ailing > 0 {
                    connection.wire.truncate(2);
                    connection.fault("serialize_failed");
                }
            }
        }
        self.connected += 1;
        self.connections.insert(self.connected, connection);
        self.connected
    }

    fn begin_stream(&mut self, connection: &mut Connection, cursor: Option<&str>) {
        let head = self.head();
        let Some(cursor) = cursor else {
            connection.wire.push_back(Wire::Snapshot(self.snapshot(head)));
            if std::mem::take(&mut self.repeats) > 0 && head.index > 0 {
                connection.wire.push_back(Wire::Event(self.event(head)));
            }
            return;
        };
        let from = self.places[cursor];
        connection.wire.push_back(Wire::Snapshot(self.snapshot(from)));
        if !self.has(from) {
            return connection.fault("cursor_unknown_or_expired");
        }
        let events = |first| (first..=head.index).map(|index| At { index, ..from });
        connection.wire.extend(events(from.index + 1).map(|at| Wire::Event(self.event(at))));
        // Whoever subscribes before reading the backlog hears the end of it twice.
        let first_again = (from.index + 1).max((head.index + 1).saturating_sub(self.repeats));
        connection.wire.extend(events(first_again).map(|at| Wire::Event(self.event(at))));
        if std::mem::take(&mut self.repeats) > 0 && first_again <= head.index {
            self.corners.insert(Corner::Doubled);
        }
    }

    fn close(&mut self, door: AccessGuard) {
        self.door = door;
        self.connections.values_mut().for_each(|connection| connection.end(Wire::Gone));
    }
}

impl Connection {
    fn fault(&mut self, code: &str) {
        if self.served {
            self.wire.push_back(Wire::Fault(diagnostic(code)));
            self.end(Wire::Gone);
        }
    }

    fn end(&mut self, with: Wire) {
        if std::mem::take(&mut self.served) {
            self.wire.push_back(with);
        }
    }
}

fn frame(event_id: &str, cursor: &str, payload: &str) -> Bytes {
    let payload: Box<RawValue> = serde_json::from_str(payload).expect("JSON");
    let envelope = Envelope {
        cursor: cursor.into(),
        event_id: event_id.into(),
        worker_id: "w".into(),
        payload: &payload,
    };
    Frame::Event(envelope).into_text()
}

fn diagnostic(code: &str) -> Bytes {
    let code = format!("runtime.{code}").into();
    Frame::Diagnostic(StreamDiagnostic { code, message: "m".into() }).into_text()
}

// -------------------------------------------------------------------------------------- the loop of a watch

/// A watch and its connection.
struct Link {
    watch: Watch,
    connection: Option<(ConnId, u32)>,
    /// Whether the present connection has begun well.
    begun: bool,
    /// How often streams that had begun well ended with a fault since the last event.
    stalls: u32,
    /// Whether it has said that the runtime is away.
    away: bool,
    /// The last place it had.
    place: Option<UpstreamCursor>,
    /// Since when it may be trying in vain.
    good_at: Instant,
    until: Instant,
    stopped: bool,
}

/// What a watch says before it waits.
struct Said {
    events: Vec<WatchEvent>,
    stopped: Option<Result<(), Error>>,
}

impl Link {
    fn new(now: Instant, watch: Watch) -> Self {
        let place = watch.place().cloned();
        Self {
            watch,
            connection: None,
            begun: false,
            stalls: 0,
            away: false,
            place,
            good_at: now,
            until: now,
            stopped: false,
        }
    }

    /// Obeys until the watch waits.
    fn drain(&mut self, now: Instant, runtime: &mut Runtime) -> Said {
        let mut said = Said { events: Vec::new(), stopped: None };
        for _ in 0..=MAX_OUTPUTS {
            let place = self.watch.place().cloned();
            match self.watch.poll(now) {
                WatchOutput::Connect(connect) => {
                    assert!(self.connection.is_none(), "one connection at a time");
                    self.begun = false;
                    self.connection = Some((connect.id, runtime.connect(&connect.request)));
                    assert_eq!(connect.request.uri().query().is_some(), place.is_some());
                }
                WatchOutput::Ping(id) => {
                    let connection = self.connected(id, runtime);
                    if connection.served {
                        connection.wire.push_back(Wire::Pong);
                    }
                }
                WatchOutput::Close(id) => {
                    self.connected(id, runtime);
                    self.disconnect(runtime);
                }
                WatchOutput::RefreshCredential => panic!("no credential was refused"),
                WatchOutput::Event(event) => {
                    match &event {
                        WatchEvent::Event(observed) | WatchEvent::Snapshot(observed) => {
                            assert!(!self.away, "the runtime is away, and speaks");
                            self.stalls = 0;
                            self.place = Some(observed.place.clone());
                        }
                        WatchEvent::Resynchronized => {
                            assert!(self.has_lost_its_place(runtime), "what was lost can be replayed");
                            self.away = false;
                        }
                        WatchEvent::Resumed => {
                            assert!(std::mem::take(&mut self.away), "resumed what was not away");
                        }
                        WatchEvent::Disconnected { .. } => {
                            assert!(!std::mem::replace(&mut self.away, true), "away twice");
                        }
                        _ => {}
                    }
                    if !matches!(event, WatchEvent::Disconnected { .. }) {
                        self.good_at = now;
                    }
                    said.events.push(event);
                }
                WatchOutput::Wait { until, why } => {
                    assert!(until > now, "it is waiting for what is past: {why:?}");
                    self.until = until;
                    return said;
                }
                WatchOutput::Stopped(result) => {
                    assert!(self.connection.is_none(), "it stopped with a connection open");
                    match result.as_ref().map_err(Error::kind) {
                        Ok(()) => {}
                        Err(ErrorKind::CursorExpired) => {
                            assert!(self.has_lost_its_place(runtime), "what has expired can be replayed");
                        }
                        Err(ErrorKind::Network(_) | ErrorKind::RuntimeTimeout(_))
                        | Err(ErrorKind::RuntimeBusy | ErrorKind::RuntimeError) => {
                            assert!(
                                now - self.good_at >= GIVE_UP_AFTER - LONGEST_BACKOFF,
                                "it gave up early"
                            );
                        }
                        Err(other) => panic!("{other:?}"),
                    }
                    self.stopped = true;
                    said.stopped = Some(result);
                    return said;
                }
            }
        }
        panic!("it goes on and on");
    }

    /// Whether it may say so: the runtime no longer has the place, or ends every stream from there.
    fn has_lost_its_place(&self, runtime: &mut Runtime) -> bool {
        let at = self.place.as_ref().map(|place| runtime.places[place.as_str()]);
        if at.is_some_and(|at| runtime.has(at)) && self.stalls >= MAX_STALLS {
            runtime.corners.insert(Corner::PlaceGivenUp);
            return true;
        }
        at.is_some_and(|at| !runtime.has(at))
    }

    fn connected<'a>(&self, id: ConnId, runtime: &'a mut Runtime) -> &'a mut Connection {
        match self.connection {
            Some((present, number)) if present == id => {
                runtime.connections.get_mut(&number).expect("it is open")
            }
            _ => panic!("it speaks of a connection that there is not"),
        }
    }

    fn disconnect(&mut self, runtime: &mut Runtime) {
        if let Some((_, number)) = self.connection.take() {
            runtime.connections.remove(&number);
        }
    }

    /// Lets the next thing on the wire arrive. Whether there was any, but for pongs, which never end.
    fn deliver(&mut self, now: Instant, runtime: &mut Runtime) -> bool {
        let Some((id, number)) = self.connection else { return false };
        let wire = runtime.connections.get_mut(&number).and_then(|connection| connection.wire.pop_front());
        let Some(wire) = wire else { return false };
        let input = match wire {
            Wire::Opened => WatchInput::Opened(id),
            Wire::Snapshot(text) => {
                self.begun = true;
                WatchInput::Frame(id, text)
            }
            Wire::Event(text) => WatchInput::Frame(id, text),
            Wire::Fault(text) => {
                self.stalls += u32::from(self.begun);
                WatchInput::Frame(id, text)
            }
            Wire::Pong => WatchInput::Pong(id),
            Wire::Refused(status) => {
                self.disconnect(runtime);
                WatchInput::Refused(id, response(status, &[], None))
            }
            Wire::Unreachable => {
                self.disconnect(runtime);
                WatchInput::Lost(id, Loss::Failed(FailureCause::Network(NetworkPhase::Connect)))
            }
            Wire::Gone => {
                self.disconnect(runtime);
                WatchInput::Lost(id, Loss::Ended)
            }
        };
        let moved = !matches!(input, WatchInput::Pong(_));
        self.watch.handle(now, input);
        moved
    }

    /// Ends the watch in good order.
    fn stop(mut self, now: Instant, runtime: &mut Runtime) {
        if self.stopped {
            return;
        }
        self.watch.handle(now, WatchInput::Stop);
        assert_eq!(self.drain(now, runtime).stopped, Some(Ok(())));
    }
}

fn response(status: u16, body: &[u8], retry_after: Option<&[u8]>) -> Response<Bytes> {
    let mut response = Response::builder().status(status);
    if let Some(wait) = retry_after {
        response = response.header("retry-after", wait);
    }
    response.body(Bytes::copy_from_slice(body)).expect("a response")
}

// ---------------------------------------------------------------------------------------------- the viewers

/// Where a viewer is in its stay.
enum Stage {
    /// For the feed to have something.
    Waiting,
    /// Alone with a watch of its own; the last place of it that went to the viewer.
    Replaying(Box<Link>, Option<UpstreamCursor>),
    Following(FeedPosition),
    Ended(ErrorKind),
    Away,
}

/// Somebody who comes and goes.
struct Person {
    stage: Stage,
    /// What is to be read before anything of the feed.
    outbox: VecDeque<Item>,
    /// The place of this stay's beginning.
    from: Option<UpstreamCursor>,
    /// The last cursor seen, over all stays.
    cursor: Option<String>,
    account: Account,
    /// How many of the feed's frames are behind this viewer, at least.
    passed: u64,
}

/// What somebody has seen in one stay, and what may therefore come next.
#[derive(Default)]
struct Account {
    position: Option<At>,
    after_gap: bool,
    /// The newest place in the ring when the feed was joined: where the viewer is to be told that it is live.
    live_from: Option<At>,
    caught_up: bool,
}

impl Account {
    /// Checks that the frame is the one that must come next, be it of what the feed replays or not.
    fn see(&mut self, item: &Item, replaying: bool, known: &mut Known, runtime: &Runtime) {
        let text: Value = serde_json::from_slice(item.text()).expect("JSON");
        let Some(envelope) = text.get("envelope") else {
            assert!(!self.after_gap, "nothing stands between a gap and its snapshot");
            assert!(self.position.is_some(), "a snapshot comes first");
            match text["diagnostic"]["code"].as_str() {
                Some("resynchronized") => self.after_gap = true,
                Some("upstream_disconnected" | "upstream_resumed") => {
                    assert!(!replaying, "an outage from before");
                }
                other => panic!("{other:?}"),
            }
            return;
        };
        let event_id = envelope["event_id"].as_str().expect("an id");
        let cursor = envelope["cursor"].as_str().expect("a cursor");
        assert_eq!(item.cursor(), Some(cursor));
        let place = known.encoder.open(cursor).expect("a good cursor");
        let at = runtime.places[place.as_str()];
        let same = known.frames.entry(event_id.to_owned()).or_insert_with(|| item.text().clone());
        assert_eq!(same, item.text(), "the same event is the same to everybody");
        if let Some(place_of_snapshot) = event_id.strip_prefix(SNAPSHOT_PREFIX) {
            assert_eq!(place_of_snapshot, place.as_str());
            assert!(self.position.is_none() || self.after_gap, "a snapshot out of place");
            assert!(self.position.is_none_or(|position| position <= at), "a step back");
            self.after_gap = false;
        } else {
            assert_eq!(event_id, place.as_str());
            assert!(!self.after_gap, "a snapshot follows a gap");
            let position = self.position.expect("a snapshot comes first");
            assert_eq!(at, At { index: position.index + 1, ..position }, "after {position:?}");
            let mut payload: Value = serde_json::from_str(&Runtime::payload(at)).expect("JSON");
            let bytes = Runtime::payload(at).len();
            if bytes > RING.max_event {
                payload = serde_json::json!({"event": "sekisho.event_too_large", "data": {"bytes": bytes}});
            }
            assert_eq!(envelope["payload"], payload);
        }
        self.position = Some(at);
    }

    fn catch_up(&mut self) {
        assert!(!std::mem::replace(&mut self.caught_up, true), "caught up twice");
        assert!(!self.after_gap);
        assert_eq!(self.position, self.live_from, "caught up elsewhere than where the ring ended");
    }
}

/// What is known of frames in general.
struct Known {
    encoder: Encoder,
    /// The text of each event and snapshot, by its id.
    frames: BTreeMap<String, Bytes>,
}

// ------------------------------------------------------------------------------------------------ the world

#[derive(Clone, Debug)]
enum Step {
    /// So many events happen.
    Publish(usize),
    /// So much arrives of what is on its way to the feed.
    Deliver(usize),
    /// So much arrives of what is on its way to somebody's own watch.
    DeliverTo(usize, usize),
    /// So much arrives everywhere, a moment apart, and the first so many people read all of it.
    Flow(usize, usize),
    /// A connection breaks: after what is on its way, at once, or without anybody hearing of it.
    Break(usize, Breakage),
    /// The runtime ends all streams for a reason of its own.
    Fault(&'static str),
    /// So many of the next streams end with a diagnostic as soon as they are open.
    Ail(usize, Ailment),
    /// So many events are doubled in the next stream that is resumed.
    Repeat(usize),
    Down(AccessGuard),
    Up,
    /// The runtime starts over and remembers nothing.
    LoseState,
    /// The gateway starts over: another with the same key takes its place.
    Replace,
    Pass(Duration),
    /// Somebody comes without a cursor.
    Come(usize),
    /// Somebody comes with the cursor of a frame that was read, counted from the last.
    ComeWith(usize, usize),
    Read(usize, usize),
    Leave(usize),
    /// Somebody comes back with the last cursor seen.
    Return(usize),
}

#[derive(Clone, Copy, Debug)]
enum Breakage {
    Orderly,
    Abrupt,
    Silent,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..PEOPLE;
    let breakage = prop::sample::select(vec![Breakage::Orderly, Breakage::Abrupt, Breakage::Silent]);
    let fault = prop::sample::select(vec!["unavailable", "upstream_closed", "cursor_expired"]);
    let ailment = prop::sample::select(vec![Ailment::BeforeTheSnapshot, Ailment::AfterTheSnapshot]);
    prop_oneof![
        12 => (1..5usize).prop_map(Step::Publish),
        1 => (5..20usize).prop_map(Step::Publish),
        8 => (1..12usize).prop_map(Step::Deliver),
        12 => (1..12usize, 0..=PEOPLE).prop_map(|(count, readers)| Step::Flow(count, readers)),
        6 => (who.clone(), 1..12usize).prop_map(|(who, count)| Step::DeliverTo(who, count)),
        3 => (0..=PEOPLE, breakage).prop_map(|(which, how)| Step::Break(which, how)),
        1 => fault.prop_map(Step::Fault),
        2 => (1..6usize, ailment).prop_map(|(count, ailment)| Step::Ail(count, ailment)),
        1 => (1..5usize).prop_map(Step::Repeat),
        1 => prop::sample::select(vec![AccessGuard::Closed, AccessGuard::Proxied]).prop_map(Step::Down),
        4 => Just(Step::Up),
        1 => Just(Step::LoseState),
        1 => Just(Step::Replace),
        6 => (1..700u64).prop_map(|millis| Step::Pass(Duration::from_millis(millis))),
        1 => (1..70u64).prop_map(|seconds| Step::Pass(Duration::from_secs(seconds))),
        4 => who.clone().prop_map(Step::Come),
        4 => (who.clone(), 0..32usize).prop_map(|(who, which)| Step::ComeWith(who, which)),
        8 => (who.clone(), 1..10usize).prop_map(|(who, count)| Step::Read(who, count)),
        3 => who.clone().prop_map(Step::Leave),
        4 => who.prop_map(Step::Return),
    ]
}

/// What a schedule is to have brought about, now and then.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Corner {
    CaughtUp,
    Gap,
    JoinedAfterReplay,
    JoinedAfterSnapshot,
    Lagged,
    Expired,
    GaveUp,
    ComingBack,
    PlaceGivenUp,
    Doubled,
}

/// How many there are.
const CORNERS: usize = Corner::Doubled as usize + 1;

struct World {
    now: Instant,
    registry: Registry,
    runtime: Runtime,
    /// The stream that all viewers share, and what has come of it.
    shared: Option<(Link, Feed)>,
    encoder: Encoder,
    /// The newest place in the feed, and how many frames it has taken.
    newest: Option<At>,
    taken: u64,
    people: Vec<Person>,
    known: Known,
    cursors: Vec<String>,
    trace: Vec<String>,
}

impl World {
    fn new() -> Self {
        let absent = || Person {
            stage: Stage::Away,
            outbox: VecDeque::new(),
            from: None,
            cursor: None,
            account: Account::default(),
            passed: 0,
        };
        Self {
            now: epoch(),
            registry: registry(),
            runtime: Runtime::new(),
            shared: None,
            encoder: encoder(),
            newest: None,
            taken: 0,
            people: (0..PEOPLE).map(|_| absent()).collect(),
            known: Known { encoder: encoder(), frames: BTreeMap::new() },
            cursors: Vec::new(),
            trace: Vec::new(),
        }
    }

    /// Runs a schedule and then, in peace, to its end.
    fn run(steps: &[Step]) -> Self {
        let mut world = Self::new();
        for step in steps {
            world.take(step);
            world.settle();
        }
        world.come_to_rest();
        world
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Publish(count) => (0..count).for_each(|_| self.runtime.publish()),
            Step::Deliver(count) => {
                for _ in 0..count {
                    if let Some((link, _)) = &mut self.shared {
                        link.deliver(self.now, &mut self.runtime);
                    }
                    self.settle();
                }
            }
            Step::DeliverTo(who, count) => {
                for _ in 0..count {
                    self.deliver_to(who);
                    self.settle();
                }
            }
            Step::Flow(count, readers) => {
                for _ in 0..count {
                    self.arrive();
                    for who in 0..readers {
                        while self.read(who) {}
                    }
                    self.pass(CURSOR_ERROR_GRACE / 8);
                }
            }
            Step::Break(which, how) => {
                let Some(connection) = self.runtime.connections.values_mut().nth(which) else { return };
                match how {
                    Breakage::Orderly => connection.end(Wire::Gone),
                    Breakage::Abrupt => {
                        connection.wire.clear();
                        connection.served = false;
                        connection.wire.push_back(Wire::Gone);
                    }
                    Breakage::Silent => {
                        connection.wire.clear();
                        connection.served = false;
                    }
                }
            }
            Step::Fault(code) => {
                self.runtime.connections.values_mut().for_each(|connection| connection.fault(code));
            }
            Step::Ail(count, ailment) => self.runtime.ailing = (count, ailment),
            Step::Repeat(count) => self.runtime.repeats = count,
            Step::Down(door) => self.runtime.close(door),
            Step::Up => self.runtime.door = AccessGuard::Open,
            Step::LoseState => {
                self.runtime.close(AccessGuard::Open);
                self.runtime.begin_life();
            }
            Step::Replace => {
                self.end_all(ErrorKind::GoingAway);
                if let Some((link, _)) = self.shared.take() {
                    link.stop(self.now, &mut self.runtime);
                }
                self.encoder = encoder();
            }
            Step::Pass(time) => self.pass(time),
            Step::Come(who) => self.come(who, None),
            Step::ComeWith(who, which) => {
                let back = which % self.cursors.len().max(1);
                if let Some(cursor) = self.cursors.iter().rev().nth(back).cloned() {
                    self.come(who, Some(&cursor));
                }
            }
            Step::Read(who, count) => {
                for _ in 0..count {
                    self.read(who);
                }
            }
            Step::Leave(who) => self.end(who, Stage::Away),
            Step::Return(who) => {
                self.runtime.corners.insert(Corner::ComingBack);
                let cursor = self.people[who].cursor.clone();
                self.come(who, cursor.as_deref());
            }
        }
    }

    /// Lets time pass, and wakes each watch when it wants to be woken.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let shared = self.shared.iter().map(|(link, _)| link.until);
            let own = self.people.iter().filter_map(|person| match &person.stage {
                Stage::Replaying(link, _) => Some(link.until),
                _ => None,
            });
            match shared.chain(own).min() {
                Some(until) if until <= end => self.now = until,
                _ => break,
            }
            self.settle();
        }
        self.now = end;
    }

    // ---- The gateway.

    /// Obeys all watches, and moves viewers on.
    fn settle(&mut self) {
        if let Some((link, feed)) = &mut self.shared {
            let said = link.drain(self.now, &mut self.runtime);
            for event in said.events {
                let Some(item) = self.encoder.encode(event) else { continue };
                if let Some(place) = item.place() {
                    self.newest = Some(self.runtime.places[place.as_str()]);
                }
                feed.apply(item);
                self.taken += 1;
                let (frames, bytes) = feed.retained();
                assert!(frames <= RING.max_frames && bytes <= RING.max_bytes);
            }
            if let Some(result) = said.stopped {
                let error = result.expect_err("nobody stopped it");
                self.give_up(&error);
            }
        }
        for who in 0..PEOPLE {
            self.move_on(who);
        }
    }

    fn give_up(&mut self, error: &Error) {
        self.shared = None;
        self.end_all(error.kind());
        self.runtime.corners.insert(Corner::GaveUp);
    }

    /// Lets a viewer into the feed, or follows its own watch a bit further.
    fn move_on(&mut self, who: usize) {
        let Some((_, feed)) = &self.shared else { return };
        let person = &mut self.people[who];
        match &mut person.stage {
            Stage::Waiting => {
                let (place, at_lost_place) = match feed.join(person.from.as_ref()) {
                    Join::Ready(viewer, opening) => return self.follow(who, viewer, opening),
                    Join::NotYet => return,
                    Join::NeedsReplay => (person.from.clone(), OnExpiredCursor::Stop),
                    Join::NeedsSnapshot => (None, OnExpiredCursor::Resynchronize),
                };
                assert_eq!(place, person.from);
                let watch = self.registry.watch(self.now, &worker(), place.clone(), at_lost_place);
                let link = Link::new(self.now, watch.expect("a known runtime"));
                person.stage = Stage::Replaying(Box::new(link), place);
                self.move_on(who);
            }
            Stage::Replaying(link, passed) => {
                let said = link.drain(self.now, &mut self.runtime);
                for event in said.events {
                    let Some(item) = self.encoder.encode(event) else { continue };
                    *passed = item.place().cloned().or(passed.take());
                    person.outbox.push_back(item);
                }
                if let Some(result) = said.stopped {
                    let kind = result.expect_err("nobody stopped it").kind();
                    return self.end(who, Stage::Ended(kind));
                }
                // The feed may have come to this place only now.
                let Some(Join::Ready(viewer, None)) = passed.as_ref().map(|place| feed.join(Some(place)))
                else {
                    return;
                };
                self.runtime.corners.insert(match person.from {
                    Some(_) => Corner::JoinedAfterReplay,
                    None => Corner::JoinedAfterSnapshot,
                });
                self.follow(who, viewer, None);
            }
            _ => {}
        }
    }

    fn follow(&mut self, who: usize, viewer: FeedPosition, opening: Option<Item>) {
        let person = &mut self.people[who];
        assert_eq!(opening.is_some(), person.from.is_none() && matches!(person.stage, Stage::Waiting));
        person.outbox.extend(opening);
        person.account.live_from = self.newest;
        let retained = self.shared.as_ref().map_or(0, |(_, feed)| feed.retained().0 as u64);
        person.passed = self.taken - retained;
        if let Stage::Replaying(link, _) = std::mem::replace(&mut person.stage, Stage::Following(viewer)) {
            link.stop(self.now, &mut self.runtime);
        }
    }

    fn end_all(&mut self, kind: ErrorKind) {
        for who in 0..PEOPLE {
            if self.is_there(who) {
                self.end(who, Stage::Ended(kind));
            }
        }
    }

    // ---- The viewers.

    fn is_there(&self, who: usize) -> bool {
        !matches!(self.people[who].stage, Stage::Away | Stage::Ended(_))
    }

    fn come(&mut self, who: usize, cursor: Option<&str>) {
        if self.is_there(who) {
            return;
        }
        if self.shared.is_none() {
            let watch = self.registry.watch(self.now, &worker(), None, OnExpiredCursor::Resynchronize);
            let link = Link::new(self.now, watch.expect("a known runtime"));
            self.shared = Some((link, Feed::new(RING)));
            self.newest = None;
        }
        let from = cursor.map(|cursor| self.encoder.open(cursor).expect("a good cursor"));
        let person = &mut self.people[who];
        let position = from.as_ref().map(|place| self.runtime.places[place.as_str()]);
        person.account = Account { position, ..Account::default() };
        person.stage = Stage::Waiting;
        person.from = from;
        assert!(person.outbox.is_empty());
    }

    /// Reads one frame. Whether there was one.
    fn read(&mut self, who: usize) -> bool {
        let person = &mut self.people[who];
        let (item, replaying) = match (person.outbox.pop_front(), &mut person.stage, &self.shared) {
            (Some(item), ..) => (item, false),
            (None, Stage::Following(viewer), Some((_, feed))) => match feed.next(viewer) {
                Next::Frame(item) => {
                    person.passed += 1;
                    (item, !person.account.caught_up)
                }
                Next::CaughtUp => {
                    person.account.catch_up();
                    self.runtime.corners.insert(Corner::CaughtUp);
                    return true;
                }
                Next::Nothing => {
                    assert!(person.account.caught_up, "at the end, and nobody said so");
                    person.passed = self.taken;
                    return false;
                }
                Next::Lagged => {
                    assert!(self.taken - feed.retained().0 as u64 > person.passed, "nothing was missed");
                    self.end(who, Stage::Ended(ErrorKind::ViewerLagged));
                    return false;
                }
            },
            _ => return false,
        };
        self.trace.push(format!("{who} {}", String::from_utf8_lossy(item.text())));
        person.account.see(&item, replaying, &mut self.known, &self.runtime);
        if let Some(cursor) = item.cursor() {
            person.cursor = Some(cursor.to_owned());
            self.cursors.push(cursor.to_owned());
        }
        if person.account.after_gap {
            self.runtime.corners.insert(Corner::Gap);
        }
        true
    }

    /// What is written is read before the end, but by those who leave.
    fn end(&mut self, who: usize, stage: Stage) {
        let person = &mut self.people[who];
        let ended = match stage {
            Stage::Ended(kind) => kind,
            _ => {
                person.outbox.clear();
                ErrorKind::GoingAway
            }
        };
        self.trace.push(format!("{who} {}", ended.code()));
        let before = std::mem::replace(&mut person.stage, stage);
        while self.read(who) {}
        match ended {
            ErrorKind::ViewerLagged => self.runtime.corners.insert(Corner::Lagged),
            ErrorKind::CursorExpired => self.runtime.corners.insert(Corner::Expired),
            _ => false,
        };
        if let Stage::Replaying(link, _) = before {
            link.stop(self.now, &mut self.runtime);
        }
    }

    /// A replay is paced by its reader.
    fn deliver_to(&mut self, who: usize) -> bool {
        let person = &mut self.people[who];
        match &mut person.stage {
            Stage::Replaying(link, _) if person.outbox.is_empty() => {
                link.deliver(self.now, &mut self.runtime)
            }
            _ => false,
        }
    }

    /// Lets one thing arrive everywhere. Whether there was any.
    fn arrive(&mut self) -> bool {
        let mut moved = match &mut self.shared {
            Some((link, _)) => link.deliver(self.now, &mut self.runtime),
            None => false,
        };
        self.settle();
        for who in 0..PEOPLE {
            moved |= self.deliver_to(who);
            self.settle();
        }
        moved
    }

    // ---- The end.

    /// Lets everything arrive and everybody read, until nothing has moved for so long.
    fn rest(&mut self, quiet: Duration) {
        let mut moved_at = self.now;
        while self.now < moved_at + quiet {
            let moved = self.arrive();
            for who in 0..PEOPLE {
                while self.read(who) {}
            }
            if moved {
                moved_at = self.now;
            } else {
                self.pass(CURSOR_ERROR_GRACE / 2);
            }
        }
    }

    /// A runtime that stays up, and connections that hold: whoever is still there comes to see everything.
    fn come_to_rest(&mut self) {
        self.runtime.door = AccessGuard::Open;
        self.runtime.ailing.0 = 0;
        self.runtime.repeats = 0;
        self.rest(PING_EVERY + PONG_WITHIN + LONGEST_BACKOFF);
        self.runtime.publish();
        self.rest(CURSOR_ERROR_GRACE);
        for who in 0..PEOPLE {
            if self.is_there(who) {
                let person = &self.people[who];
                assert!(matches!(person.stage, Stage::Following(_)), "{who} is not in the feed");
                assert!(person.account.caught_up, "{who} was not told that it is live");
                assert_eq!(person.account.position, Some(self.runtime.head()), "{who} has not seen the end");
            }
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("trace", &self.trace).finish_non_exhaustive()
    }
}

fn schedule() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn viewers_miss_nothing_and_see_nothing_twice(steps in schedule()) {
        World::run(&steps);
    }
}

#[test]
fn schedules_reach_every_corner_and_repeat_themselves() {
    let mut runner = TestRunner::deterministic();
    let mut corners = BTreeMap::<Corner, usize>::new();
    for _ in 0..64 {
        let steps = schedule().new_tree(&mut runner).expect("a schedule").current();
        let world = World::run(&steps);
        assert_eq!(world.trace, World::run(&steps).trace);
        world.runtime.corners.iter().for_each(|corner| *corners.entry(*corner).or_default() += 1);
    }
    assert_eq!(corners.len(), CORNERS, "{corners:?}");
}

#[test]
fn a_runtime_that_cannot_serve_a_stream_yet_has_not_lost_its_place() {
    World::run(&[
        Step::Come(0),
        Step::Flow(2, 1),
        Step::Ail(3, Ailment::BeforeTheSnapshot),
        Step::Break(0, Breakage::Orderly),
        Step::Publish(1),
        Step::Flow(30, 1),
    ]);
}

#[test]
fn what_went_wrong_at_a_place_is_not_held_against_another() {
    let stall = [Step::Fault("unavailable"), Step::Flow(20, 1)];
    let lose_state = [Step::LoseState, Step::Flow(40, 1)];
    let begin = [Step::Come(0), Step::Flow(2, 1)];
    World::run(&[&begin[..], &stall, &stall, &lose_state, &stall, &stall].concat());
}

// ------------------------------------------------------------------------------------------------ any input

/// What a watch may hear, of a connection so many before the newest.
#[derive(Clone, Debug)]
enum Noise {
    Opened,
    Refused(u16, Vec<u8>, Option<Vec<u8>>),
    Frame(Vec<u8>),
    Pong,
    Lost(Loss),
    Credential(Option<String>),
    Stop,
    Pass(Duration),
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let codes = vec!["cursor_expired", "cursor_unknown_or_expired", "cursor_malformed", "unavailable", "new"];
    let payload = prop::sample::select(vec!["{}", "1", r#""first-token""#, "[\n]"]);
    let event = (any::<bool>(), 0..5u8, payload).prop_map(|(is_snapshot, number, payload)| {
        let cursor = format!("c{number}");
        let prefix = if is_snapshot { SNAPSHOT_PREFIX } else { "" };
        frame(&format!("{prefix}{cursor}"), &cursor, payload).to_vec()
    });
    let event = event.boxed();
    prop_oneof![
        12 => event.clone(),
        4 => prop::sample::select(codes).prop_map(|code| diagnostic(code).to_vec()),
        1 => (event, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut text, index, byte)| {
            *index.get_mut(&mut text) = byte;
            text
        }),
        1 => prop::collection::vec(any::<u8>(), 0..64),
    ]
}

fn any_loss() -> impl Strategy<Value = Loss> {
    prop::sample::select(vec![
        Loss::Ended,
        Loss::Malformed,
        Loss::TooLarge,
        Loss::Failed(FailureCause::Network(NetworkPhase::Connect)),
        Loss::Failed(FailureCause::Timeout(TimeoutPhase::Connect)),
    ])
}

fn noise() -> impl Strategy<Value = Noise> {
    let status = prop::sample::select(vec![101, 200, 302, 401, 404, 429, 500, 503, 999]);
    let body = prop::collection::vec(any::<u8>(), 0..32);
    let wait = prop::option::of("[ -~]{0,20}".prop_map(String::into_bytes));
    prop_oneof![
        6 => Just(Noise::Opened),
        1 => (status, body, wait).prop_map(|(status, body, wait)| Noise::Refused(status, body, wait)),
        12 => any_frame().prop_map(Noise::Frame),
        2 => Just(Noise::Pong),
        3 => any_loss().prop_map(Noise::Lost),
        1 => prop::option::of("[a-z]{1,8}").prop_map(Noise::Credential),
        1 => Just(Noise::Stop),
        8 => (0..20_000u64).prop_map(|millis| Noise::Pass(Duration::from_millis(millis))),
    ]
}

/// A driver that hears anything at all, true or not.
struct Listener {
    now: Instant,
    watch: Watch,
    ids: Vec<ConnId>,
    open: Option<ConnId>,
    stopped: bool,
    encoder: Encoder,
    feed: Feed,
}

impl Listener {
    fn new(place: Option<&str>, at_lost_place: OnExpiredCursor) -> Self {
        let now = epoch();
        let watch = registry().watch(now, &worker(), place.and_then(UpstreamCursor::new), at_lost_place);
        Self {
            now,
            watch: watch.expect("a known runtime"),
            ids: Vec::new(),
            open: None,
            stopped: false,
            encoder: encoder(),
            feed: Feed::new(RING),
        }
    }

    fn hear(&mut self, noise: Noise, back: usize) {
        let id = self.ids.iter().rev().nth(back).copied();
        let input = match (noise, id) {
            (Noise::Pass(time), _) => {
                self.now += time;
                return;
            }
            (Noise::Stop, _) => WatchInput::Stop,
            (Noise::Credential(token), _) => WatchInput::Credential(token.and_then(|it| it.parse().ok())),
            (_, None) => return,
            (Noise::Opened, Some(id)) => WatchInput::Opened(id),
            (Noise::Frame(text), Some(id)) => WatchInput::Frame(id, text.into()),
            (Noise::Pong, Some(id)) => WatchInput::Pong(id),
            (Noise::Refused(status, body, wait), Some(id)) => {
                self.open = self.open.filter(|open| *open != id);
                WatchInput::Refused(id, response(status, &body, wait.as_deref()))
            }
            (Noise::Lost(loss), Some(id)) => {
                self.open = self.open.filter(|open| *open != id);
                WatchInput::Lost(id, loss)
            }
        };
        self.watch.handle(self.now, input);
    }

    fn drain(&mut self) {
        for _ in 0..=MAX_OUTPUTS {
            if self.stopped {
                return;
            }
            match self.watch.poll(self.now) {
                WatchOutput::Connect(connect) => {
                    assert!(self.open.replace(connect.id).is_none(), "one connection at a time");
                    self.ids.push(connect.id);
                }
                WatchOutput::Ping(id) => assert_eq!(self.open, Some(id)),
                WatchOutput::Close(id) => assert_eq!(self.open.take(), Some(id)),
                WatchOutput::RefreshCredential => assert_eq!(self.open, None),
                WatchOutput::Event(event) => {
                    let Some(item) = self.encoder.encode(event) else { continue };
                    assert!(serde_json::from_slice::<Value>(item.text()).is_ok());
                    let text = String::from_utf8_lossy(item.text());
                    assert!(!text.contains(['\n', '\r']) && !text.contains("first-token"), "{text}");
                    self.feed.apply(item);
                    assert!(self.feed.retained().0 <= RING.max_frames);
                }
                WatchOutput::Wait { until, why } => {
                    assert!(until > self.now, "it is waiting for what is past: {why:?}");
                    return;
                }
                WatchOutput::Stopped(_) => {
                    assert_eq!(self.open, None);
                    self.stopped = true;
                }
            }
        }
        panic!("it goes on and on");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_a_watch_hears_upsets_it(
        place in prop::option::of(Just("c0")),
        at_lost_place in prop::sample::select(vec![OnExpiredCursor::Resynchronize, OnExpiredCursor::Stop]),
        noises in prop::collection::vec((noise(), prop_oneof![9 => Just(0), 1 => 1..3usize]), 0..60),
    ) {
        let mut listener = Listener::new(place, at_lost_place);
        listener.drain();
        for (noise, back) in noises {
            listener.hear(noise, back);
            listener.drain();
        }
    }
}
