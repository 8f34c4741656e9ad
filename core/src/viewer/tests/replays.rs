//! Replay streams that viewers share, and wait for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::*;
use crate::browser_api::ClientAddress;

/// Viewers of two workers of one runtime whose cursors have left the rings, and their replay streams.
struct Hall {
    now: Instant,
    context: Arc<StreamContext>,
    /// What the workers' streams have.
    feed: Feed,
    viewers: Vec<Guest>,
    replays: BTreeMap<u64, SharedStream>,
}

struct Guest {
    session: ViewerSession,
    /// The number of its replay stream.
    replay: Option<u64>,
    shown: Vec<String>,
    end: Option<u16>,
}

impl Hall {
    fn new(limits: ReplayLimits) -> Self {
        let key = CursorKey::from_bytes([7; CursorKey::LENGTH]);
        let context = StreamContext::new(key, Arc::new(AllowAll), FeedLimits::default(), 1000);
        let context = Arc::new(context.with_replays(limits));
        let mut feed = Feed::new(FeedLimits { max_frames: 1, ..context.limits() });
        for event in [snapshot("c0"), event("x1"), event("x2")] {
            feed.apply(context.encoder(worker()).encode(event).unwrap());
        }
        Self { now: epoch(), context, feed, viewers: Vec::new(), replays: BTreeMap::new() }
    }

    /// A viewer comes to one of the workers with a cursor, from an address. Its number.
    fn comes(&mut self, worker_id: &str, at: &str, address: u8) -> usize {
        let worker = WorkerRef { worker_id: worker_id.parse().unwrap(), ..worker() };
        let cursor = Some(sealed(&self.context, &worker, at));
        let client = Some(ClientAddress(IpAddr::from([10, 0, 0, address])));
        let request = StreamRequest { worker, cursor, client };
        let session = ViewerSession::open(self.now, &self.context, &registry(), request).unwrap();
        self.viewers.push(Guest { session, replay: None, shown: Vec::new(), end: None });
        self.read(self.viewers.len() - 1);
        self.viewers.len() - 1
    }

    fn read(&mut self, viewer: usize) {
        self.read_up_to(viewer, usize::MAX);
    }

    /// A viewer reads so many frames, or all that there are.
    fn read_up_to(&mut self, viewer: usize, count: usize) {
        let until = self.viewers[viewer].shown.len().saturating_add(count);
        while self.viewers[viewer].shown.len() < until {
            let guest = &mut self.viewers[viewer];
            let replay = guest.replay.and_then(|number| self.replays.get(&number)).map(SharedStream::feed);
            match guest.session.poll(self.now, &self.feed, replay) {
                ViewerOutput::Frame(item) => {
                    guest.shown.push(short(&item));
                    guest.session.handle(self.now, ViewerInput::Written);
                }
                ViewerOutput::Ping => {
                    guest.session.handle(self.now, ViewerInput::Written);
                    guest.session.handle(self.now, ViewerInput::Pong);
                }
                ViewerOutput::OpenReplay(order) => {
                    guest.replay = Some(order.number());
                    let (now, context) = (self.now, &self.context);
                    let stream = || SharedStream::replay(now, context, order.clone(), 1);
                    self.replays.entry(order.number()).or_insert_with(stream);
                }
                ViewerOutput::WakeReplay => drop(self.drive()),
                ViewerOutput::CloseReplay => {
                    guest.replay = None;
                    self.drive();
                }
                ViewerOutput::Wait { until, .. } => return assert!(until > self.now),
                ViewerOutput::End(closing) => return guest.end = closing.map(|closing| closing.close_code()),
            }
        }
    }

    /// Obeys the replay streams. Those that wait for their viewers.
    fn drive(&mut self) -> Vec<u64> {
        let mut paced = Vec::new();
        let now = self.now;
        self.replays.retain(|number, stream| {
            loop {
                match stream.poll(now) {
                    SharedStreamOutput::Update(_) => {}
                    SharedStreamOutput::Observed(_) => panic!("a replay tells the registry nothing"),
                    SharedStreamOutput::End => return false,
                    SharedStreamOutput::Wait { why, .. } => {
                        paced.extend((why == SharedStreamWait::Pace).then_some(*number));
                        return true;
                    }
                }
            }
        });
        paced
    }

    fn says(&mut self, number: u64, event: WatchEvent) {
        self.replays.get_mut(&number).unwrap().handle(self.now, SharedStreamInput::Watch(event));
        self.drive();
    }

    fn passes(&mut self, time: Duration) {
        self.now += time;
        self.drive();
    }

    fn leaves(&mut self, viewer: usize) {
        let guest = &mut self.viewers[viewer];
        guest.session.handle(self.now, ViewerInput::Gone);
        self.read(viewer);
        self.drive();
    }

    fn replay_of(&self, viewer: usize) -> Option<u64> {
        self.viewers[viewer].replay
    }
}

const ROOMY: ReplayLimits = ReplayLimits { of_gateway: 8, of_runtime: 8, of_worker: 8 };
const NARROW: ReplayLimits = ReplayLimits { of_gateway: 8, of_runtime: 8, of_worker: 1 };

#[test]
fn viewers_with_one_cursor_share_a_replay_and_leave_it_each_for_itself() {
    let mut hall = Hall::new(ROOMY);
    let (first, second) = (hall.comes("w", "a", 1), hall.comes("w", "a", 2));
    let other = hall.comes("v", "a", 1);
    let number = hall.replay_of(first).unwrap();
    assert_eq!(hall.replay_of(second), Some(number));
    assert!(hall.replay_of(other).is_some_and(|replay| replay != number), "of another worker");
    for at in ["b", "c"] {
        hall.says(number, event(at));
    }
    hall.read(first);
    hall.says(number, event("x2"));
    hall.read(second);
    assert_eq!(hall.viewers[second].shown, ["b", "c", "x2", "caught_up"]);
    assert_eq!((hall.viewers[first].shown.len(), hall.replay_of(second)), (2, None));
    assert!(hall.replays.contains_key(&number), "one of them is still there");
    hall.read(first);
    assert_eq!(hall.viewers[first].shown, hall.viewers[second].shown);
    hall.drive();
    assert!(!hall.replays.contains_key(&number), "and now none is");
}

#[test]
fn a_viewer_that_comes_later_is_shown_all_of_a_replay_or_gets_another() {
    let mut hall = Hall::new(ROOMY);
    let first = hall.comes("w", "a", 1);
    let number = hall.replay_of(first).unwrap();
    hall.says(number, event("b"));
    hall.read(first);
    let second = hall.comes("w", "a", 1);
    assert_eq!((hall.replay_of(second), hall.viewers[second].shown.len()), (Some(number), 1));
    for count in 0..5 * REPLAY_AHEAD {
        hall.says(number, event(&format!("n{count}")));
        hall.read(first);
    }
    let third = hall.comes("w", "a", 1);
    assert!(hall.replay_of(third).is_some_and(|replay| replay != number), "its first frame is gone");
    // The second has not read since: it goes on from where it is, with a replay of its own.
    hall.read(second);
    let own = hall.replay_of(second).unwrap();
    assert!(own != number && hall.replays[&own].watch(hall.now, &mut registry()).is_ok());
    assert_eq!(hall.replays.len(), 3);
    hall.says(own, event("n0"));
    hall.read(second);
    assert_eq!(hall.viewers[second].shown, ["b", "n0"]);
}

#[test]
fn a_replay_is_as_fast_as_the_fastest_of_its_viewers() {
    let mut hall = Hall::new(ROOMY);
    let (quick, slow) = (hall.comes("w", "a", 1), hall.comes("w", "a", 1));
    let number = hall.replay_of(quick).unwrap();
    let mut count = 0;
    while hall.drive().is_empty() {
        hall.says(number, event(&format!("n{count}")));
        count += 1;
    }
    assert_eq!(count, REPLAY_AHEAD);
    hall.read_up_to(slow, 1);
    hall.read_up_to(quick, REPLAY_AHEAD / 2);
    assert_eq!(hall.drive(), [] as [u64; 0]);
    // A few large ones are as many as many small ones.
    let large = format!("\"{}\"", "x".repeat(REPLAY_AHEAD_BYTES));
    let large = Observed { payload: large.into(), ..observed("l") };
    hall.says(number, WatchEvent::Event(large));
    assert_eq!(hall.drive(), [number]);
    // Nothing is silent that is not heard.
    hall.says(number, WatchEvent::Live);
    hall.passes(CATCH_UP_TIMEOUT);
    hall.passes(CATCH_UP_TIMEOUT);
    assert!(hall.replays.contains_key(&number));
    hall.read(quick);
    assert_eq!(hall.viewers[quick].shown.len(), count + 1);
    assert_eq!(hall.drive(), [] as [u64; 0]);
}

#[test]
fn one_who_is_over_a_bound_waits_until_there_is_room() {
    let mut hall = Hall::new(NARROW);
    let (first, second) = (hall.comes("w", "a", 1), hall.comes("w", "b", 1));
    let elsewhere = hall.comes("v", "a", 1);
    assert!(hall.replay_of(first).is_some() && hall.replay_of(second).is_none());
    assert!(hall.replay_of(elsewhere).is_some(), "the bound is the worker's");
    hall.passes(REPLAY_WAITS);
    hall.read(second);
    assert_eq!(hall.replay_of(second), None);
    hall.leaves(first);
    hall.read(second);
    assert!(hall.replay_of(second).is_some());
}

#[test]
fn one_who_waits_goes_on_in_the_feed_where_that_comes_to_its_cursor() {
    let mut hall = Hall::new(NARROW);
    let (_, second) = (hall.comes("w", "a", 1), hall.comes("w", "b", 1));
    hall.feed.apply(hall.context.encoder(worker()).encode(event("b")).unwrap());
    hall.read(second);
    assert_eq!(hall.viewers[second].shown, ["caught_up"]);
    assert_eq!(hall.context.replays(), 1);
}

#[test]
fn one_who_waits_for_too_long_is_told_to_come_back() {
    let mut hall = Hall::new(ReplayLimits { of_worker: 0, ..NARROW });
    let viewer = hall.comes("w", "a", 1);
    let end = hall.now + REPLAY_PATIENCE;
    while hall.now < end {
        assert_eq!(hall.viewers[viewer].end, None);
        hall.passes(Duration::from_secs(5));
        hall.read(viewer);
    }
    assert_eq!(hall.viewers[viewer].end, Some(4003));
    drop(hall.viewers);
    assert_eq!(hall.context.replays(), 0);
}

#[test]
fn a_replay_that_has_had_its_turn_makes_room_and_its_viewers_go_on_from_where_they_are() {
    let mut hall = Hall::new(NARROW);
    let first = hall.comes("w", "a", 1);
    let number = hall.replay_of(first).unwrap();
    hall.says(number, event("b"));
    hall.read(first);
    hall.passes(REPLAY_TURN * 2);
    hall.read(first);
    assert_eq!(hall.replay_of(first), Some(number), "no one else wants its place");
    let second = hall.comes("w", "z", 2);
    hall.drive();
    // Its stream ends although the viewer does not read; the other one comes in.
    assert!(!hall.replays.contains_key(&number));
    hall.passes(REPLAY_WAITS);
    hall.read(second);
    assert!(hall.replay_of(second).is_some());
    hall.read(first);
    assert_eq!((hall.replay_of(first), hall.viewers[first].end), (None, None));
    hall.leaves(second);
    hall.read(first);
    let own = hall.replay_of(first).unwrap();
    hall.says(own, event("c"));
    hall.read(first);
    assert_eq!(hall.viewers[first].shown, ["b", "c"]);
}

#[test]
fn the_next_place_is_not_for_those_who_have_many() {
    let limits = ReplayLimits { of_gateway: 3, of_runtime: 8, of_worker: 8 };
    let mut hall = Hall::new(limits);
    let many: Vec<usize> = (0..6).map(|number| hall.comes("w", &format!("a{number}"), 1)).collect();
    let other_client = hall.comes("w", "b", 2);
    let other_worker = hall.comes("v", "a", 1);
    assert_eq!(hall.replays.len(), 3);
    for (leaves, comes) in [(many[0], other_worker), (many[1], other_client), (many[2], many[3])] {
        hall.leaves(leaves);
        (0..hall.viewers.len()).for_each(|viewer| hall.read(viewer));
        assert!(hall.replay_of(comes).is_some(), "{comes}");
        assert_eq!(hall.replays.len(), 3);
    }
}
