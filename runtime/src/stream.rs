//! One worker's stream: its newest events as frames, and those who follow it.
//!
//! There is one backlog for all subscribers of a worker and no queue for any of them: a subscription is an index into
//! the backlog. A worker that says more than they take is read more slowly for a moment. A subscriber that does not
//! catch up in that moment is not waited for again until it has; it may fall behind the backlog, and ends then.

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
use crate::limits::{EVENT_COST, Limits};

/// How long a worker's output waits for subscribers to catch up.
pub const CATCH_UP: Duration = Duration::from_millis(500);

/// A frame of a stream, encoded once for all subscribers.
pub(crate) struct StreamFrame {
    pub(crate) event_id: u64,
    pub(crate) text: Bytes,
}

/// One worker's stream.
pub(crate) struct Stream {
    inside: Mutex<Inside>,
}

struct Inside {
    backlog: Bounded<StreamFrame>,
    limits: (usize, usize),
    /// The event before the oldest that is kept: the oldest place to go on from.
    before: Option<u64>,
    /// Why there will be no more.
    closed: Option<Diagnostic<'static>>,
    /// Where each subscription is, by its number.
    positions: BTreeMap<u64, Position>,
    /// Since when a subscriber is waited for.
    crowded_since: Option<Instant>,
    /// Those that have seen everything, by their number. Each has one waker here at most.
    waiting: BTreeMap<u64, Waker>,
    last_number: u64,
}

struct Position {
    /// The index of the event that comes next.
    next: u64,
    /// Whether it was waited for in vain, and has not caught up since.
    left_behind: bool,
}

impl Stream {
    /// A stream with what was kept of it, oldest first; `before` is the event before that.
    pub(crate) fn new(limits: &Limits, before: Option<u64>, kept: Vec<StreamFrame>) -> Self {
        let limits = (limits.max_backlog_events, limits.max_backlog_bytes);
        let size = |frame: &StreamFrame| frame.text.len() + EVENT_COST;
        let mut backlog = Bounded::new(limits.0, limits.1, size);
        let mut before = before;
        for frame in kept {
            if let Some(gone) = backlog.push(frame) {
                before = Some(gone.event_id);
            }
        }
        let inside = Inside {
            backlog,
            limits,
            before,
            closed: None,
            positions: BTreeMap::new(),
            crowded_since: None,
            waiting: BTreeMap::new(),
            last_number: 0,
        };
        Self { inside: Mutex::new(inside) }
    }

    /// Nothing in here can fail half-way, so that a poisoned lock guards sound data.
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in the next event, and tells which subscribers are to be woken for it. Ids grow.
    #[must_use]
    pub(crate) fn push(&self, frame: StreamFrame) -> BTreeMap<u64, Waker> {
        let mut inside = self.inside();
        if let Some(gone) = inside.backlog.push(frame) {
            inside.before = Some(gone.event_id);
        }
        std::mem::take(&mut inside.waiting)
    }

    /// How much memory the backlog takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.inside().backlog.bytes()
    }

    /// Lets go of the oldest events until so many bytes are left, and tells whether any went.
    pub(crate) fn reduce(&self, max_bytes: usize) -> bool {
        let mut inside = self.inside();
        let gone = inside.backlog.reduce(max_bytes).map(|gone| gone.event_id);
        inside.before = gone.or(inside.before);
        gone.is_some()
    }

    /// Whether subscribers can take more. Where they cannot, they are given [`CATCH_UP`] from the first time that
    /// this is asked.
    pub(crate) fn has_room(&self, now: Instant) -> bool {
        let mut inside = self.inside();
        let Inside { backlog, limits: (max_events, max_bytes), positions, crowded_since, .. } = &mut *inside;
        let kept = backlog.queue().len() as u64;
        let half_full = kept > *max_events as u64 / 2 || backlog.bytes() > *max_bytes / 2;
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

    /// There will be no more: subscribers that have seen everything are told why. Those that are returned are to be
    /// woken for it.
    #[must_use]
    pub(crate) fn close(&self, why: Diagnostic<'static>) -> BTreeMap<u64, Waker> {
        let mut inside = self.inside();
        inside.closed.get_or_insert(why);
        std::mem::take(&mut inside.waiting)
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

impl Inside {
    /// The place of the newest event, and the index of the one to come.
    fn head(&self) -> (u64, u64) {
        (
            self.backlog.queue().back().map(|newest| newest.event_id).or(self.before).unwrap_or(0),
            self.backlog.total(),
        )
    }

    /// The index of the event after a place; `None` where it is no place of this stream or was one too long ago.
    fn after(&self, place: u64) -> Option<u64> {
        if self.before == Some(place) {
            return Some(self.backlog.dropped());
        }
        let position = self.backlog.queue().binary_search_by_key(&place, |frame| frame.event_id).ok()?;
        Some(self.backlog.dropped() + position as u64 + 1)
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
        if let Some(frame) = inside.backlog.queue().get(position) {
            let frame = frame.text.clone();
            self.next += 1;
            let has_caught_up = self.next == inside.backlog.total();
            if let Some(position) = inside.positions.get_mut(&self.number) {
                position.next = self.next;
                position.left_behind &= !has_caught_up;
            }
            return Poll::Ready(Ok(frame));
        }
        if let Some(why) = inside.closed {
            return Poll::Ready(Err(why));
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
        // Outside of the lock: dropping a waker runs code of the executor.
        drop(waker);
    }
}

/// Counts subscriptions against their bound.
#[derive(Clone)]
pub(crate) struct Subscriptions {
    count: Arc<AtomicUsize>,
    max: usize,
}

impl Subscriptions {
    pub(crate) fn new(max: usize) -> Self {
        Self { count: Arc::default(), max }
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// A permit for one more, if there is one.
    pub(crate) fn admit(&self) -> Option<Permit> {
        let admit = |count| (count < self.max).then_some(count + 1);
        self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, admit).ok()?;
        Some(Permit { count: Arc::clone(&self.count) })
    }
}

/// What one subscription holds until it is dropped.
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
    /// While there is none yet, the task of `context` is woken when there may be one. Only the task of the last call
    /// is.
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
mod tests;
