//! One stream per worker and gateway, shared by its viewers, as the server holds it.

use std::collections::BTreeSet;

use sekisho_core::error::{Error, ErrorKind};
use sekisho_core::feed::{Encoder, Feed, FeedLimits};
use sekisho_core::watch::{OnExpiredCursor, WatchEvent};

use super::clock::Time;
use super::invariants::Invariant;
use super::planted::Planted;
use super::watches::{Advance, Owner};
use super::world::{Event, World};

/// How long a stream outlives its last viewer.
const LINGER: Time = Time::from_secs(30);

/// A worker's stream at one gateway.
pub(super) struct Stream {
    gateway: usize,
    runtime: usize,
    worker: usize,
    pub(super) watch: usize,
    pub(super) feed: Feed,
    encoder: Encoder,
    pub(super) viewers: BTreeSet<usize>,
    arrivals: u64,
    pub(super) over: bool,
    /// Why it has ended, if it has.
    pub(super) ended: Option<Error>,
}

impl World<'_> {
    /// The stream of a worker for one more viewer.
    pub(super) fn follow(
        &mut self,
        viewer: usize,
        at: (usize, usize),
        of: (usize, usize),
    ) -> Result<usize, Error> {
        let (gateway, (runtime, worker)) = (at.0, of);
        let number = match self.gateways[gateway].streams.get(&of) {
            Some(number) => *number,
            None => {
                let number = self.streams.len();
                let owner = Owner::Stream(number);
                let watch = self.watch(at, of, None, OnExpiredCursor::Resynchronize, owner)?;
                let mut limits = self.gateways[gateway].limits;
                if self.is_planted(Planted::UnboundedRing) {
                    limits = FeedLimits { max_frames: usize::MAX, max_bytes: usize::MAX, ..limits };
                }
                self.streams.push(Stream {
                    gateway,
                    runtime,
                    worker,
                    watch,
                    feed: Feed::new(limits),
                    encoder: self.encoder(gateway, runtime, worker),
                    viewers: BTreeSet::new(),
                    arrivals: 0,
                    over: false,
                    ended: None,
                });
                self.gateways[gateway].streams.insert(of, number);
                self.drive_stream(number);
                number
            }
        };
        self.streams[number].arrivals += 1;
        self.streams[number].viewers.insert(viewer);
        Ok(number)
    }

    /// Obeys the watch of a stream, and passes on what it says.
    pub(super) fn drive_stream(&mut self, number: usize) {
        while !self.streams[number].over && self.violation.is_none() {
            match self.advance(self.streams[number].watch) {
                Advance::Event(event) => self.apply(number, event),
                Advance::Waiting => return,
                Advance::Stopped(result) => self.end_stream(number, result),
            }
        }
    }

    fn apply(&mut self, number: usize, event: WatchEvent) {
        if self.is_planted(Planted::DropsResynchronized) && event == WatchEvent::Resynchronized {
            return;
        }
        let stream = &mut self.streams[number];
        let Some(item) = stream.encoder.encode(event) else { return };
        stream.feed.apply(item);
        let (frames, bytes) = stream.feed.retained();
        let limits = self.gateways[stream.gateway].limits;
        if frames > limits.max_frames || (frames > 1 && bytes > limits.max_bytes) {
            self.violate(Invariant::Bounded, || format!("a ring of {frames} frames and {bytes} bytes"));
        }
        self.wake_viewers(number);
    }

    fn end_stream(&mut self, number: usize, result: Result<(), Error>) {
        self.learn_from_end(self.streams[number].watch, &result);
        let stream = &mut self.streams[number];
        stream.over = true;
        stream.ended = Some(result.err().unwrap_or_else(|| Error::new(ErrorKind::Internal)));
        self.gateways[stream.gateway].streams.remove(&(stream.runtime, stream.worker));
        self.wake_viewers(number);
    }

    /// Tells those who wait that there is something for them.
    fn wake_viewers(&mut self, number: usize) {
        let now = self.now();
        for viewer in &self.streams[number].viewers {
            if let Some(stay) = self.viewers[*viewer].stay.as_mut().filter(|stay| stay.waiting) {
                stay.waiting = false;
                self.clock.at(now, Event::Read { viewer: *viewer, stay: stay.number });
            }
        }
    }

    /// A viewer of a stream has gone.
    pub(super) fn unfollow(&mut self, viewer: usize, number: usize) {
        let stream = &mut self.streams[number];
        stream.viewers.remove(&viewer);
        if stream.viewers.is_empty() && !stream.over {
            let event = Event::Linger { stream: number, arrivals: stream.arrivals };
            self.clock.at(self.clock.now() + LINGER, event);
        }
    }

    /// Lets go of a stream that nobody has wanted to see for long enough.
    pub(super) fn let_go(&mut self, number: usize, arrivals: u64) {
        let stream = &self.streams[number];
        if stream.over || stream.arrivals != arrivals || !stream.viewers.is_empty() {
            return;
        }
        self.census.count("watch", "let go");
        self.stop_watch(stream.watch);
        let stream = &mut self.streams[number];
        stream.over = true;
        self.gateways[stream.gateway].streams.remove(&(stream.runtime, stream.worker));
    }
}
