//! One worker's stream: its newest events as frames, and those who follow it.
//!
//! There is one backlog for all subscribers of a worker and no queue for any of them: a subscription is an index into
//! the backlog. A worker that says more than they take is read more slowly for a moment. Who does not catch up in that
//! moment is not waited for again until he has, finds himself behind the backlog one day, and ends.

use sekisho_core::transport::Frames;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::bounded::Bounded;
use crate::frame::Diagnostic;

/// How many events of a worker are kept where no bound on their bytes is reached. Deployed runtimes keep 1,024
/// (RUNTIME-API.md).
pub const MAX_EVENTS: usize = 16 * 1024;

/// How many bytes of frames are kept of a worker, but never less than its newest event.
pub const MAX_EVENT_BYTES: usize = 4 * 1024 * 1024;

/// How long a worker's output waits for subscribers to catch up.
pub const CATCH_UP: Duration = Duration::from_millis(500);

/// How many subscriptions a runtime has at most.
pub const MAX_SUBSCRIPTIONS: usize = 1024;

/// An event that was told, encoded once for all who follow.
struct Told {
    event_id: u64,
    frame: Bytes,
}

/// One worker's stream.
pub(crate) struct Stream {
    inside: Mutex<Inside>,
}

struct Inside {
    backlog: Bounded<Told>,
    /// The event before the oldest that is kept: the oldest place to go on from.
    before: Option<u64>,
    closed: bool,
    /// Where each subscription is, by its number.
    positions: BTreeMap<u64, Position>,
    /// Since when somebody is waited for.
    crowded_since: Option<Instant>,
    /// Those who have seen everything, by their number. Everybody has one waker here at most.
    waiting: BTreeMap<u64, Waker>,
    last_number: u64,
}

struct Position {
    /// The index of the event that comes next.
    next: u64,
    /// Whether it was waited for in vain, and has not caught up since.
    left_behind: bool,
}

impl Default for Stream {
    fn default() -> Self {
        let inside = Inside {
            backlog: Bounded::new(MAX_EVENTS, MAX_EVENT_BYTES, |told: &Told| told.frame.len()),
            before: None,
            closed: false,
            positions: BTreeMap::new(),
            crowded_since: None,
            waiting: BTreeMap::new(),
            last_number: 0,
        };
        Self { inside: Mutex::new(inside) }
    }
}

impl Inside {
    /// The place of the newest event, and the index of the one to come.
    fn head(&self) -> (u64, u64) {
        (self.backlog.queue().back().map_or(0, |told| told.event_id), self.backlog.total())
    }

    /// The index of the event after a place; `None` where it is no place of this stream or was one too long ago.
    fn after(&self, place: u64) -> Option<u64> {
        if self.before == Some(place) {
            return Some(self.backlog.dropped());
        }
        let position = self.backlog.queue().binary_search_by_key(&place, |told| told.event_id).ok()?;
        Some(self.backlog.dropped() + position as u64 + 1)
    }
}

impl Stream {
    /// Nothing in here can fail half-way, so that a poisoned lock guards sound data.
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in the next event, and tells who is to be woken for it. Ids grow.
    #[must_use]
    pub(crate) fn push(&self, event_id: u64, frame: Bytes) -> BTreeMap<u64, Waker> {
        let mut inside = self.inside();
        if let Some(gone) = inside.backlog.push(Told { event_id, frame }) {
            inside.before = Some(gone.event_id);
        }
        std::mem::take(&mut inside.waiting)
    }

    /// Whether those who follow can take more. Where they cannot, they are given [`CATCH_UP`] from the first time that
    /// this is asked.
    pub(crate) fn has_room(&self, now: Instant) -> bool {
        let mut inside = self.inside();
        let Inside { backlog, positions, crowded_since, .. } = &mut *inside;
        let kept = backlog.queue().len() as u64;
        let half_full = kept > MAX_EVENTS as u64 / 2 || backlog.bytes() > MAX_EVENT_BYTES / 2;
        let total = backlog.total();
        let is_behind = |position: &Position| {
            half_full && !position.left_behind && total.saturating_sub(position.next) > kept / 2
        };
        if !positions.values().any(is_behind) {
            *crowded_since = None;
            return true;
        }
        if now.saturating_duration_since(*crowded_since.get_or_insert(now)) < CATCH_UP {
            return false;
        }
        *crowded_since = None;
        for position in positions.values_mut() {
            position.left_behind |= is_behind(position);
        }
        true
    }

    /// There will be no more: whoever has seen everything is told so.
    pub(crate) fn close(&self) {
        let mut inside = self.inside();
        inside.closed = true;
        let waiting = std::mem::take(&mut inside.waiting);
        drop(inside);
        waiting.into_values().for_each(Waker::wake);
    }

    /// The place of the newest event, and a view on all that come after it.
    pub(crate) fn join(self: &Arc<Self>) -> (u64, View) {
        let mut inside = self.inside();
        let (place, next) = inside.head();
        (place, self.view(&mut inside, next))
    }

    /// A view on what comes after a place, if this stream knows it.
    pub(crate) fn join_after(self: &Arc<Self>, place: u64) -> Option<View> {
        let mut inside = self.inside();
        let next = inside.after(place)?;
        Some(self.view(&mut inside, next))
    }

    fn view(self: &Arc<Self>, inside: &mut Inside, next: u64) -> View {
        inside.last_number += 1;
        inside.positions.insert(inside.last_number, Position { next, left_behind: false });
        View { stream: Arc::clone(self), number: inside.last_number, next }
    }
}

/// A moving index into a stream.
pub(crate) struct View {
    stream: Arc<Stream>,
    number: u64,
    next: u64,
}

impl View {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, Diagnostic<'static>>> {
        let mut inside = self.stream.inside();
        let Some(position) = self.next.checked_sub(inside.backlog.dropped()) else {
            return Poll::Ready(Err(Diagnostic::CursorExpired));
        };
        // What does not fit an index is beyond every queue.
        let position = usize::try_from(position).unwrap_or(usize::MAX);
        if let Some(told) = inside.backlog.queue().get(position) {
            let frame = told.frame.clone();
            self.next += 1;
            let has_caught_up = self.next == inside.backlog.total();
            if let Some(position) = inside.positions.get_mut(&self.number) {
                position.next = self.next;
                position.left_behind &= !has_caught_up;
            }
            return Poll::Ready(Ok(frame));
        }
        if inside.closed {
            return Poll::Ready(Err(Diagnostic::Unavailable));
        }
        inside
            .waiting
            .entry(self.number)
            .and_modify(|waker| waker.clone_from(context.waker()))
            .or_insert_with(|| context.waker().clone());
        Poll::Pending
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let mut inside = self.stream.inside();
        inside.positions.remove(&self.number);
        let waker = inside.waiting.remove(&self.number);
        drop(inside);
        // Outside of the lock: what dropping a waker does is its maker's to say.
        drop(waker);
    }
}

/// Counts subscriptions against [`MAX_SUBSCRIPTIONS`].
#[derive(Clone, Default)]
pub(crate) struct Subscriptions {
    count: Arc<AtomicUsize>,
}

impl Subscriptions {
    /// A place for one more, if there is one.
    pub(crate) fn admit(&self) -> Option<Permit> {
        let admit = |count| (count < MAX_SUBSCRIPTIONS).then_some(count + 1);
        self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, admit).ok()?;
        Some(Permit { count: Arc::clone(&self.count) })
    }
}

/// The place of one subscription, until it is dropped.
pub(crate) struct Permit {
    count: Arc<AtomicUsize>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One subscriber's stream of a worker's frames ([`Runtime::observe`](crate::Runtime::observe)). Dropping it
/// unsubscribes. It does not keep the runtime.
pub struct Subscription {
    /// A snapshot, a diagnostic, or both.
    opening: VecDeque<Bytes>,
    /// What follows, as long as there may be more.
    view: Option<View>,
    _permit: Permit,
}

impl Subscription {
    pub(crate) fn new(opening: impl Into<VecDeque<Bytes>>, view: Option<View>, permit: Permit) -> Self {
        Self { opening: opening.into(), view, _permit: permit }
    }

    /// The next frame, a JSON text as it goes over a WebSocket; `None` when there is none after the last.
    ///
    /// While there is none yet, the task of `context` is woken when it is worth to ask again. Only the task of the
    /// last call is.
    pub fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(frame) = self.opening.pop_front() {
            return Poll::Ready(Some(frame));
        }
        let Some(view) = &mut self.view else { return Poll::Ready(None) };
        Poll::Ready(Some(ready!(view.poll(context)).unwrap_or_else(|end| {
            self.view = None;
            end.into_frame()
        })))
    }
}

impl Frames for Subscription {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.poll_frame(context)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Counted(AtomicU32);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn push(stream: &Stream, event_id: u64, text: &'static str) {
        stream.push(event_id, text.into()).into_values().for_each(Waker::wake);
    }

    fn poll(view: &mut View) -> Poll<Result<Bytes, Diagnostic<'static>>> {
        view.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn frame(text: &'static str) -> Poll<Result<Bytes, Diagnostic<'static>>> {
        Poll::Ready(Ok(text.into()))
    }

    #[test]
    fn places_are_events_of_this_stream_that_are_kept_or_just_not() {
        let stream = Arc::new(Stream::default());
        assert!(stream.join_after(0).is_none());
        for event_id in (2..).step_by(3).take(MAX_EVENTS) {
            push(&stream, event_id, "x");
        }
        let last = 2 + 3 * (MAX_EVENTS as u64 - 1);
        let next = |place: u64| stream.join_after(place).map(|view| view.next);
        for (place, expected) in [
            (0, None),
            (1, None),
            (2, Some(1)),
            (3, None),
            (5, Some(2)),
            (last, Some(MAX_EVENTS as u64)),
            (last + 1, None),
            (u64::MAX, None),
        ] {
            assert_eq!(next(place), expected, "{place}");
        }
        // Of one that has just gone everything after it is kept, of the one before it is not.
        push(&stream, last + 3, "x");
        assert_eq!((next(2), next(5)), (Some(1), Some(2)));
        push(&stream, last + 6, "x");
        assert_eq!((next(2), next(5)), (None, Some(2)));
        let (place, view) = stream.join();
        assert_eq!((place, view.next), (last + 6, MAX_EVENTS as u64 + 2));
    }

    #[test]
    fn the_backlog_and_what_follows_are_one() {
        let stream = Arc::new(Stream::default());
        push(&stream, 2, "two");
        push(&stream, 4, "four");
        let mut view = stream.join_after(2).unwrap();
        assert_eq!(poll(&mut view), frame("four"));
        assert!(poll(&mut view).is_pending());
        push(&stream, 5, "five");
        push(&stream, 6, "six");
        assert_eq!((poll(&mut view), poll(&mut view)), (frame("five"), frame("six")));
        push(&stream, 7, "seven");
        stream.close();
        assert_eq!(poll(&mut view), frame("seven"));
        assert_eq!(poll(&mut view), Poll::Ready(Err(Diagnostic::Unavailable)));
    }

    #[test]
    fn frames_are_shared() {
        let stream = Arc::new(Stream::default());
        let (mut one, mut other) = (stream.join().1, stream.join().1);
        let _ = stream.push(1, Bytes::from(b"frame".to_vec()));
        let (Poll::Ready(Ok(one)), Poll::Ready(Ok(other))) = (poll(&mut one), poll(&mut other)) else {
            panic!()
        };
        assert_eq!(one.as_ptr(), other.as_ptr());
    }

    #[test]
    fn whoever_is_overrun_is_told() {
        let bytes = |count: usize| Bytes::from(vec![b'x'; count]);
        for (frames, overrun) in [
            (vec![bytes(1); MAX_EVENTS], false),
            (vec![bytes(1); MAX_EVENTS + 1], true),
            (vec![bytes(MAX_EVENT_BYTES / 2); 2], false),
            (vec![bytes(MAX_EVENT_BYTES / 2); 3], true),
            (vec![bytes(MAX_EVENT_BYTES * 2)], false),
        ] {
            let stream = Arc::new(Stream::default());
            let (_, mut view) = stream.join();
            for (event_id, frame) in (1..).zip(frames) {
                let _ = stream.push(event_id, frame);
            }
            assert_eq!(poll(&mut view) == Poll::Ready(Err(Diagnostic::CursorExpired)), overrun);
        }
    }

    #[test]
    fn who_is_slow_is_waited_for_but_not_for_long() {
        let stream = Arc::new(Stream::default());
        let (now, later) = (Instant::now(), Instant::now() + CATCH_UP);
        let fill = |count: usize| {
            let first = stream.inside().backlog.total();
            (first..).take(count).for_each(|event_id| push(&stream, event_id, "x"));
        };
        fill(MAX_EVENTS);
        assert!(stream.has_room(now), "nobody follows");
        let (mut slow, mut fast) = (stream.join().1, stream.join().1);
        fill(MAX_EVENTS / 2);
        assert!(stream.has_room(now), "half of it is not yet crowded");
        fill(1);
        assert!(!stream.has_room(now));
        while poll(&mut fast).is_ready() {}
        assert!(!stream.has_room(now), "there is another one");
        assert_eq!(poll(&mut slow), frame("x"));
        assert!(stream.has_room(now), "he has come on");

        fill(1);
        assert!(!stream.has_room(now));
        assert!(stream.has_room(later), "that was long enough");
        fill(1);
        assert!(stream.has_room(later), "who was left behind is not waited for again");
        while poll(&mut slow).is_ready() {}
        fill(MAX_EVENTS / 2 + 1);
        assert!(!stream.has_room(later), "until he has caught up");
        drop((slow, fast));
        assert!(stream.has_room(later));
    }

    #[test]
    fn one_waker_for_each_and_none_for_who_is_gone() {
        let stream = Arc::new(Stream::default());
        let wakers = [(); 3].map(|()| Arc::<Counted>::default());
        let poll = |view: &mut View, counted: &Arc<Counted>| {
            view.poll(&mut Context::from_waker(&Waker::from(Arc::clone(counted)))).is_pending()
        };
        let (mut one, mut other) = (stream.join().1, stream.join().1);
        assert!(poll(&mut one, &wakers[0]) && poll(&mut one, &wakers[1]) && poll(&mut other, &wakers[2]));
        assert_eq!(stream.inside().waiting.len(), 2);
        drop(other);
        assert_eq!(stream.inside().waiting.len(), 1);
        push(&stream, 1, "x");
        push(&stream, 2, "x");
        assert_eq!(wakers.each_ref().map(|waker| waker.0.load(Ordering::Relaxed)), [0, 1, 0]);
        assert!(stream.inside().waiting.is_empty());
        assert!(!poll(&mut one, &wakers[1]) && !poll(&mut one, &wakers[1]) && poll(&mut one, &wakers[1]));
        stream.close();
        assert_eq!(wakers[1].0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn subscriptions_are_counted() {
        let subscriptions = Subscriptions::default();
        let mut permits: Vec<_> = (0..MAX_SUBSCRIPTIONS).map_while(|_| subscriptions.admit()).collect();
        assert_eq!(permits.len(), MAX_SUBSCRIPTIONS);
        assert!(subscriptions.admit().is_none());
        permits.pop();
        assert!(subscriptions.admit().is_some());
    }
}
