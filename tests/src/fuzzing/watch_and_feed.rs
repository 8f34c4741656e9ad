//! A worker's stream through a gateway, under a schedule that the input holds: two bytes a step, what happens and how
//! much of it.

mod link;
mod runtime;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sekisho_core::cursor::{CursorKey, UpstreamCursor};
use sekisho_core::error::{Error, ErrorKind};
use sekisho_core::feed::{Encoder, Feed, FeedLimits, FeedPosition, Item, Join, Next};
use sekisho_core::policy::AllowAll;
use sekisho_core::registry::Registry;
use sekisho_core::transport::Loss;
use sekisho_core::watch::{GIVE_UP_AFTER, LONGEST_BACKOFF, OnExpiredCursor, PING_EVERY, PONG_WITHIN};
use serde_json::Value;

use self::link::Link;
use self::runtime::{Runtime, Wire, assert_fair, diagnostic, envelope, event, snapshot};
use super::{access, epoch, registry, worker};

/// Small enough to be overrun.
const RING: FeedLimits = FeedLimits { max_frames: 5, max_bytes: 1200, max_event: 100 };

/// How many viewers there may be.
const VIEWERS: usize = 4;

/// The longest schedule, in steps.
const MAX_STEPS: usize = 256;

/// The input is a schedule. Viewers of a runtime that keeps to v1 see its events in order, none of them twice and none
/// left out unsaid; a runtime that does not ends the stream with an error of its own.
pub fn watch_and_feed(data: &[u8]) {
    let mut world = World::new();
    for step in data.chunks_exact(2).take(MAX_STEPS) {
        world.step(step[0], step[1]);
        world.settle();
    }
    world.come_to_rest();
}

/// Who looks on, and what they have seen.
struct Seat {
    stage: Stage,
    /// The number of the last event seen.
    seen: Option<u64>,
    /// Whether the next may be any, as it was said that some are lost.
    gap: bool,
    caught_up: bool,
}

enum Stage {
    Empty,
    /// Until there is something to join.
    Waiting,
    Replaying(Box<Link>),
    Following(FeedPosition),
}

struct World {
    now: Instant,
    registry: Registry,
    runtime: Runtime,
    encoder: Encoder,
    shared: Option<(Link, Feed)>,
    seats: [Seat; VIEWERS],
}

impl Seat {
    /// Looks at a frame, as a client does that trusts nobody.
    fn see(&mut self, item: &Item, encoder: &mut Encoder, runtime: &Runtime) {
        let text = std::str::from_utf8(item.text()).unwrap();
        assert!(!text.contains(['\n', '\r']) && !text.contains("s3cr3t"), "{text}");
        let frame: Value = serde_json::from_str(text).unwrap();
        let Some(place) = item.place() else {
            assert_eq!(frame["kind"], "diagnostic");
            self.gap |= frame["diagnostic"]["code"] == "resynchronized";
            return;
        };
        assert_eq!(encoder.open(item.cursor().unwrap()).as_ref(), Ok(place));
        assert_eq!(frame["envelope"]["cursor"], item.cursor().unwrap());
        let number: u64 = place.as_str().parse().unwrap();
        match (item.is_snapshot(), self.seen) {
            // Whoever breaks the rules may write what it likes, in any order.
            _ if runtime.foul => self.gap = false,
            (true, None) => {}
            (true, Some(_)) => assert!(std::mem::take(&mut self.gap), "a snapshot, and nobody said why"),
            (false, seen) => {
                assert!(!self.gap, "an event where a snapshot should be");
                assert_eq!(Some(number), seen.map(|seen| seen + 1), "a gap or a double");
            }
        }
        self.seen = Some(number);
    }

    /// The place behind what was seen.
    fn place(&self) -> Option<UpstreamCursor> {
        UpstreamCursor::new(&self.seen?.to_string())
    }

    /// Where the feed has that place.
    fn joined(&self, feed: &Feed) -> Option<FeedPosition> {
        match feed.join(Some(&self.place()?)) {
            Join::Ready(viewer, None) => Some(viewer),
            _ => None,
        }
    }

    fn leave(&mut self) {
        self.stage = Stage::Empty;
        self.gap = false;
    }
}

impl World {
    fn new() -> Self {
        let key = CursorKey::from_bytes([7; CursorKey::LENGTH]);
        let seat = || Seat { stage: Stage::Empty, seen: None, gap: false, caught_up: false };
        Self {
            now: epoch(),
            registry: registry(access()),
            runtime: Runtime::default(),
            encoder: Encoder::new(&key, worker(), Arc::new(AllowAll), RING.max_event),
            shared: None,
            seats: [seat(), seat(), seat(), seat()],
        }
    }

    fn step(&mut self, what: u8, how: u8) {
        let seat = usize::from(how) % VIEWERS;
        match what % 16 {
            0 | 1 => self.publish(1 + how % 4),
            2..=4 => {
                for _ in 0..how % 8 {
                    self.arrive();
                }
            }
            5 => self.sit(seat, how & 0x80 != 0),
            6 | 7 => {
                for _ in 0..how / 16 {
                    self.read(seat);
                }
            }
            8 => self.pass(Duration::from_millis(u64::from(how) * 20)),
            9 => self.pass(Duration::from_secs(u64::from(how) / 4)),
            10 => self.each_link(|link| link.push(Wire::Lost(Loss::Ended))),
            11 => self.runtime.away = how.is_multiple_of(2),
            12 => self.fail(how),
            // At least once: what was just said is said again.
            13 if self.runtime.head > 0 => {
                let text = event(self.runtime.head);
                self.each_link(|link| link.push(Wire::Text(text.clone())));
            }
            14 if how.is_multiple_of(2) => self.runtime.lost_before = self.runtime.head + 1,
            14 => self.seats[seat].leave(),
            _ => self.break_a_rule(how),
        }
    }

    /// What a runtime that keeps to v1 says when it cannot go on.
    fn fail(&mut self, how: u8) {
        let (code, status) = match how % 4 {
            0 => ("runtime.cursor_expired", 503),
            1 => ("runtime.unavailable", 500),
            2 => ("runtime.upstream_closed", 429),
            _ => ("runtime.of_tomorrow", 502),
        };
        self.each_link(|link| match &link.connection {
            Some((_, wire)) if matches!(wire.front(), Some(Wire::Opened)) => {
                link.push_instead(Wire::Refused(status));
            }
            _ => {
                link.push(Wire::Text(diagnostic(code)));
                link.push(Wire::Lost(Loss::Ended));
            }
        });
    }

    fn break_a_rule(&mut self, how: u8) {
        self.runtime.foul = true;
        let wire = || match how % 8 {
            0 => Wire::Text(Bytes::from_static(b"{")),
            1 => Wire::Text(envelope("e", u64::from(how), "1")),
            2 => Wire::Text(snapshot(u64::from(how))),
            3 => Wire::Lost(Loss::Malformed),
            4 => Wire::Lost(Loss::TooLarge),
            5 => Wire::Opened,
            6 => Wire::Refused(401),
            _ => Wire::Text(diagnostic("runtime.worker_not_found")),
        };
        self.each_link(|link| link.push(wire()));
    }

    fn links(&mut self) -> impl Iterator<Item = &mut Link> {
        let replays = self.seats.iter_mut().filter_map(|seat| match &mut seat.stage {
            Stage::Replaying(link) => Some(&mut **link),
            _ => None,
        });
        self.shared.as_mut().map(|(link, _)| link).into_iter().chain(replays)
    }

    fn each_link(&mut self, act: impl FnMut(&mut Link)) {
        self.links().for_each(act);
    }

    fn publish(&mut self, count: u8) {
        for _ in 0..count {
            let text = self.runtime.publish();
            self.each_link(|link| link.push(Wire::Text(text.clone())));
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn sit(&mut self, seat: usize, afresh: bool) {
        if !matches!(self.seats[seat].stage, Stage::Empty) {
            return;
        }
        if self.shared.is_none() {
            let watch =
                self.registry.watch(self.now, &worker(), None, OnExpiredCursor::Resynchronize).unwrap();
            self.shared = Some((Link::new(watch), Feed::new(RING)));
        }
        let seat = &mut self.seats[seat];
        if afresh {
            seat.seen = None;
        }
        (seat.stage, seat.gap, seat.caught_up) = (Stage::Waiting, false, false);
    }

    /// Lets one thing arrive at each link. Whether there was any.
    fn arrive(&mut self) -> bool {
        let now = self.now;
        let mut arrived = false;
        self.each_link(|link| arrived |= link.deliver(now));
        self.settle();
        arrived
    }

    /// Everybody obeys, until everybody waits.
    fn settle(&mut self) {
        if let Some((link, feed)) = &mut self.shared {
            let (events, error) = link.drain(self.now, &self.runtime);
            for event in events {
                self.encoder.encode(event).into_iter().for_each(|item| feed.apply(item));
                let (frames, bytes) = feed.retained();
                assert!(frames <= RING.max_frames && bytes <= RING.max_bytes, "{frames} {bytes}");
            }
            if link.stopped {
                assert_fair(error, &self.runtime);
                self.shared = None;
                self.seats.iter_mut().for_each(Seat::leave);
            }
        }
        for seat in 0..VIEWERS {
            self.replay(seat);
            self.join(seat);
        }
    }

    fn join(&mut self, seat: usize) {
        let (Stage::Waiting, Some((_, feed))) = (&self.seats[seat].stage, &self.shared) else { return };
        let seat = &mut self.seats[seat];
        let place = seat.place();
        match feed.join(place.as_ref()) {
            Join::NotYet => {}
            Join::Ready(viewer, opening) => {
                assert_eq!(opening.is_some(), place.is_none());
                seat.stage = Stage::Following(viewer);
                if let Some(opening) = opening {
                    seat.see(&opening, &mut self.encoder, &self.runtime);
                }
            }
            Join::NeedsSnapshot | Join::NeedsReplay => {
                let watch = self.registry.watch(self.now, &worker(), place, OnExpiredCursor::Stop).unwrap();
                seat.stage = Stage::Replaying(Box::new(Link::new(watch)));
            }
        }
    }

    /// What a replay has goes to its viewer alone, until it stands where the feed has a frame, too.
    fn replay(&mut self, seat: usize) {
        let seat = &mut self.seats[seat];
        let (Stage::Replaying(link), Some((_, feed))) = (&mut seat.stage, &self.shared) else { return };
        let (events, error) = link.drain(self.now, &self.runtime);
        // The feed, too, may have come to where the replay is.
        let mut joined = seat.joined(feed);
        for event in events {
            let Some(item) = self.encoder.encode(event) else { continue };
            if joined.is_none() && !item.is_notice() {
                seat.see(&item, &mut self.encoder, &self.runtime);
                joined = seat.joined(feed);
            }
        }
        let Stage::Replaying(link) = &seat.stage else { return };
        match joined {
            Some(viewer) => seat.stage = Stage::Following(viewer),
            None if link.stopped => {
                match error.as_ref().map(Error::kind) {
                    Some(ErrorKind::CursorExpired) => seat.seen = None,
                    _ => assert_fair(error, &self.runtime),
                }
                seat.leave();
            }
            None => {}
        }
    }

    /// Reads what is next. Whether there was anything.
    fn read(&mut self, seat: usize) -> bool {
        let seat = &mut self.seats[seat];
        let (Stage::Following(viewer), Some((_, feed))) = (&mut seat.stage, &self.shared) else {
            return false;
        };
        match feed.next(viewer) {
            Next::Frame(item) => seat.see(&item, &mut self.encoder, &self.runtime),
            Next::CaughtUp => assert!(!std::mem::replace(&mut seat.caught_up, true), "caught up twice"),
            Next::Nothing => {
                assert!(seat.caught_up, "at the end, and nobody said so");
                return false;
            }
            Next::Lagged => seat.leave(),
        }
        true
    }

    fn read_all(&mut self) {
        for seat in 0..VIEWERS {
            while self.read(seat) {}
        }
    }

    /// A runtime that is there and keeps to v1 from now on: whoever is still there comes to see the newest event.
    fn come_to_rest(&mut self) {
        self.runtime.away = false;
        self.publish(1);
        let end = self.now + PING_EVERY + PONG_WITHIN + GIVE_UP_AFTER;
        while self.now < end {
            while self.arrive() {
                self.read_all();
            }
            self.read_all();
            self.pass(LONGEST_BACKOFF);
            self.settle();
        }
        if self.runtime.foul {
            return;
        }
        for seat in self.seats.iter().filter(|seat| !matches!(seat.stage, Stage::Empty)) {
            assert!(matches!(seat.stage, Stage::Following(_)), "not in the feed");
            assert_eq!((seat.seen, seat.caught_up), (Some(self.runtime.head), true), "not at the end");
        }
    }
}
