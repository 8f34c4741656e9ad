//! One worker's stream, shared by its viewers.
//!
//! A [`Feed`] is a value: it [takes](Feed::apply) what an [`Encoder`] has made of a [`WatchEvent`](crate::watch::WatchEvent), and keeps the newest
//! snapshot and what came after it in a ring that is bounded by count and by bytes. A [`FeedPosition`] is a position in it,
//! and no queue: [`Feed::next`] says what is next for it, and one that the ring has run away from has
//! [lagged](Next::Lagged), which concerns no other viewer.
//!
//! A viewer whose cursor is not in the ring [needs a replay](Join::NeedsReplay): a second, short-lived
//! [`Watch`](crate::watch::Watch) from its cursor, with a feed of its own, until a frame of that stands where
//! the ring has one, too: from [there](Feed::join) it goes on with the feed. Places are compared for equality, and
//! nothing is assumed about their order. A viewer without a cursor, when the snapshot's successors have left the ring,
//! [needs a snapshot](Join::NeedsSnapshot), and gets it in the same way.

mod encoder;
mod index;

use std::collections::VecDeque;

pub(crate) use encoder::plain_frame;
pub use encoder::{
    CAUGHT_UP, Encoder, Item, RESYNCHRONIZED, UPSTREAM_DISCONNECTED, UPSTREAM_RESUMED, caught_up,
    closing_diagnostic,
};

use crate::cursor::UpstreamCursor;
use index::Index;

/// The bounds of a feed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FeedLimits {
    /// How many frames the ring holds.
    pub max_frames: usize,
    /// How many bytes they may have together. The newest frame is kept even where it alone has more.
    pub max_bytes: usize,
    /// The largest payload that is passed on, in bytes.
    pub max_event: usize,
}

impl Default for FeedLimits {
    /// 8,192 frames, 8 MiB, 1 MiB an event (`docs/observation.md`).
    fn default() -> Self {
        Self { max_frames: 8192, max_bytes: 8 << 20, max_event: 1 << 20 }
    }
}

/// The newest snapshot of a worker and what came after it. See the [module](self).
#[derive(Clone, Debug)]
pub struct Feed {
    limits: FeedLimits,
    ring: VecDeque<Item>,
    /// The number of the newest frame in the ring with each cursor, so that the search for one takes as long in a full
    /// ring as in an empty one: a replay asks after each of its frames. `None` where nothing is searched for.
    numbers: Option<Index>,
    /// The number of the ring's first frame.
    first: u64,
    bytes: usize,
    /// The newest snapshot, and the number of the frame after it.
    snapshot: Option<(Item, u64)>,
    /// The newest cursor. What has come since tells of outages at most.
    newest: Option<UpstreamCursor>,
}

/// A viewer's position in a feed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FeedPosition {
    next: u64,
    /// Where the replay ends, until it has.
    live_from: Option<u64>,
}

/// How a viewer can begin.
#[derive(Clone, Debug)]
pub enum Join {
    /// From here, after this snapshot where it has no cursor of its own.
    Ready(FeedPosition, Option<Item>),
    /// The feed has nothing yet: once it has, ask again.
    NotYet,
    /// The ring no longer has what came after the snapshot: a fresh one is needed.
    NeedsSnapshot,
    /// The ring does not have the cursor: what came after it must be replayed.
    NeedsReplay,
}

/// What is next for a viewer.
#[derive(Clone, Debug)]
pub enum Next {
    /// This frame.
    Frame(Item),
    /// To be told that it is live now.
    CaughtUp,
    /// Nothing for the time being.
    Nothing,
    /// The ring no longer has what would be next.
    Lagged,
}

impl FeedPosition {
    /// At the first frame that a feed has taken, to be shown all of it: outages, too, and not where it is live.
    pub(crate) fn of_first() -> Self {
        Self { next: 0, live_from: None }
    }

    /// The number of the frame that is next.
    pub(crate) fn number(self) -> u64 {
        self.next
    }
}

impl Feed {
    /// A feed that has nothing yet.
    pub fn new(limits: FeedLimits) -> Self {
        let (ring, numbers) = (VecDeque::new(), Some(Index::default()));
        Self { limits, ring, numbers, first: 0, bytes: 0, snapshot: None, newest: None }
    }

    /// The same for a replay: it is read from its beginning, and not [joined](Feed::join) anywhere else.
    pub(crate) fn of_replay(limits: FeedLimits) -> Self {
        Self { numbers: None, ..Self::new(limits) }
    }

    /// Takes the next frame.
    pub fn apply(&mut self, item: Item) {
        if item.is_snapshot() {
            self.snapshot = Some((item.clone(), self.end() + 1));
        }
        if let Some(cursor) = item.upstream_cursor() {
            self.newest = Some(cursor.clone());
            let number = self.first + self.ring.len() as u64;
            self.numbers.iter_mut().for_each(|numbers| numbers.insert(cursor, number));
        }
        self.bytes += item.event().len();
        self.ring.push_back(item);
        while self.ring.len() > self.limits.max_frames || self.bytes > self.limits.max_bytes {
            if !self.forget_oldest() {
                break;
            }
        }
    }

    /// Lets go of the oldest frame. Whether there was one to let go of: the newest stays in any case, as without it a
    /// viewer that keeps up would have lagged.
    fn forget_oldest(&mut self) -> bool {
        if self.ring.len() <= 1 {
            return false;
        }
        let Some(oldest) = self.ring.pop_front() else { return false };
        self.bytes -= oldest.event().len();
        if let Some(cursor) = oldest.upstream_cursor() {
            self.numbers.iter_mut().for_each(|numbers| numbers.remove(cursor, self.first));
        }
        self.first += 1;
        true
    }

    /// Lets go of the oldest frames until what is left has at most so many bytes, or is the newest frame alone. The
    /// number of the first that is left, if any was let go of.
    pub(crate) fn shrink(&mut self, max_bytes: usize) -> Option<u64> {
        let first = self.first;
        while self.bytes > max_bytes && self.forget_oldest() {}
        (self.first > first).then_some(self.first)
    }

    /// Lets go of the frames before this number.
    pub(crate) fn forget_before(&mut self, first: u64) {
        while self.first < first && self.forget_oldest() {}
    }

    /// How many frames the ring holds, and how many bytes they have.
    pub fn retained(&self) -> (usize, usize) {
        (self.ring.len(), self.bytes)
    }

    /// The number of the frame that will be next.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.ring.len() as u64
    }

    /// Whether it has its first frame.
    pub(crate) fn is_complete(&self) -> bool {
        self.first == 0
    }

    /// How many frames it has from that number on, and how many bytes the newest `count` of them have.
    pub(crate) fn ahead_of(&self, number: u64, count: usize) -> (usize, usize) {
        let frames =
            usize::try_from(self.end().saturating_sub(number)).unwrap_or(usize::MAX).min(self.ring.len());
        let newest = self.ring.iter().rev().take(frames.min(count));
        (frames, newest.map(|item| item.event().len()).sum())
    }

    /// Lets a viewer in, after `cursor` or, without one, with a snapshot.
    pub fn join(&self, cursor: Option<&UpstreamCursor>) -> Join {
        let Some((snapshot, after_snapshot)) = &self.snapshot else { return Join::NotYet };
        let ready = |next, opening| Join::Ready(FeedPosition { next, live_from: Some(self.end()) }, opening);
        // A ring that has nothing left but outages has lost nothing that a newcomer needs.
        let is_newest = |cursor: Option<&UpstreamCursor>| self.newest.as_ref() == cursor;
        let retained = *after_snapshot >= self.first || is_newest(snapshot.upstream_cursor());
        let after_snapshot = self.first.max(*after_snapshot);
        match cursor {
            None if retained => ready(after_snapshot, Some(snapshot.clone())),
            None => Join::NeedsSnapshot,
            Some(cursor) => match self.numbers.as_ref().and_then(|numbers| numbers.get(cursor)) {
                Some(number) => ready(number + 1, None),
                None if retained && snapshot.upstream_cursor() == Some(cursor) => ready(after_snapshot, None),
                None if is_newest(Some(cursor)) => ready(self.first, None),
                None => Join::NeedsReplay,
            },
        }
    }

    /// What is next for a viewer, who then is past it.
    pub fn next(&self, position: &mut FeedPosition) -> Next {
        loop {
            let Some(index) = position.next.checked_sub(self.first) else { return Next::Lagged };
            if position.live_from.is_some_and(|live_from| position.next >= live_from) {
                position.live_from = None;
                return Next::CaughtUp;
            }
            let Some(item) = usize::try_from(index).ok().and_then(|index| self.ring.get(index)) else {
                return Next::Nothing;
            };
            position.next += 1;
            // That the runtime was away is nothing to a viewer that was not there; that it is away now is.
            let is_over = position.live_from.is_some_and(|live_from| position.next < live_from);
            let is_news = item.is_away() && !is_over;
            if position.live_from.is_none() || !item.is_notice() || is_news {
                return Next::Frame(item.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
