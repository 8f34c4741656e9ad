//! The replay streams of a gateway: which there are, who shares them, and whose turn it is.
//!
//! A viewer whose cursor has left the ring asks for a replay from there. Viewers of a worker that ask for the same place
//! share one stream. How many there are at once is bounded for the gateway, for each runtime and for each worker
//! ([`ReplayLimits`]); what is over waits. The next place goes to the runtime that has the fewest replays, among its
//! workers to the one that has the fewest, then to the client that has the fewest, and then to the one that has waited
//! for the longest time. While others wait for it, a replay that has had its turn ([`REPLAY_TURN`]) makes room: its viewers
//! ask again from where they are by then.

mod book;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::browser_api::ClientAddress;
use crate::cursor::UpstreamCursor;
use crate::id::WorkerRef;
use crate::watch::OnExpiredCursor;
use book::Book;

#[cfg(doc)]
use super::REPLAY_TURN;

/// How many replay streams there are at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplayLimits {
    /// At the gateway.
    pub of_gateway: usize,
    /// Of one runtime.
    pub of_runtime: usize,
    /// Of one worker.
    pub of_worker: usize,
}

impl Default for ReplayLimits {
    /// 32, 8 and 4.
    fn default() -> Self {
        Self { of_gateway: 32, of_runtime: 8, of_worker: 4 }
    }
}

/// The replay streams of a gateway, over all its event loops.
#[derive(Debug)]
pub(super) struct Replays(Mutex<Book>);

/// The place of one viewer in a replay. Dropping it leaves.
pub(super) struct Seat {
    replays: Arc<Replays>,
    slot: Arc<Slot>,
}

/// The right of a replay to have a stream. Once it has [ended](Running::end), or is dropped, there is room for another.
pub(super) struct Running {
    replays: Arc<Replays>,
    slot: Arc<Slot>,
}

/// A replay stream that viewers want: one for all that came with the same cursor.
#[derive(Clone)]
pub struct ReplayOrder {
    replays: Arc<Replays>,
    slot: Arc<Slot>,
}

/// What the viewers of a replay and its stream tell each other.
#[derive(Debug)]
pub(super) struct Slot {
    number: u64,
    worker: WorkerRef,
    /// After which cursor; without one, from a snapshot.
    cursor: Option<UpstreamCursor>,
    /// Whether it makes room for others, or has no viewer any more.
    over: AtomicBool,
    /// Whether it takes no more viewers: its ring has lost its first frame, or it has ended.
    is_closed: AtomicBool,
    /// The number of the frame that the viewer which is furthest ahead wants next.
    wanted: AtomicU64,
    /// The stream is not read before that is this.
    goes_on_at: AtomicU64,
}

/// Whether a viewer's replay may run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    /// Not yet.
    Waits,
    /// Now.
    Runs,
}

impl Replays {
    pub(super) fn new(limits: ReplayLimits) -> Self {
        Self(Mutex::new(Book::new(limits)))
    }

    /// Nothing in here can fail half-way, so that a poisoned lock guards sound data.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self) -> usize {
        self.book().count()
    }

    /// A place in the replay of a worker from there: in one that there is, or in one of its own.
    pub(super) fn ask(
        self: &Arc<Self>,
        worker: &WorkerRef,
        cursor: Option<&UpstreamCursor>,
        client: Option<ClientAddress>,
    ) -> Seat {
        Seat { replays: self.clone(), slot: self.book().ask(worker, cursor, client) }
    }
}

impl Seat {
    pub(super) fn turn(&self, now: Instant) -> Turn {
        self.replays.book().turn(now, self.slot.number)
    }

    pub(super) fn order(&self) -> ReplayOrder {
        ReplayOrder { replays: self.replays.clone(), slot: self.slot.clone() }
    }

    /// Whether the replay has to make room.
    pub(super) fn is_over(&self) -> bool {
        self.slot.is_over()
    }

    /// Takes that this viewer wants the frame with this number next. Whether the stream waits for that.
    pub(super) fn wants(&self, number: u64) -> bool {
        self.slot.wanted.fetch_max(number, Ordering::SeqCst);
        number >= self.slot.goes_on_at.load(Ordering::SeqCst)
            && self.slot.goes_on_at.swap(u64::MAX, Ordering::SeqCst) <= number
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.replays.book().leave(self.slot.number);
    }
}

impl ReplayOrder {
    /// What tells it from all other replays of the gateway.
    pub fn number(&self) -> u64 {
        self.slot.number
    }

    /// Of which worker.
    pub fn worker(&self) -> &WorkerRef {
        &self.slot.worker
    }

    /// After which of the runtime's cursors; `None` from a snapshot on.
    pub fn cursor(&self) -> Option<&UpstreamCursor> {
        self.slot.cursor.as_ref()
    }

    /// What is done where the runtime no longer has the cursor.
    pub fn on_expired(&self) -> OnExpiredCursor {
        match self.slot.cursor {
            // The viewers want what came after this very cursor.
            Some(_) => OnExpiredCursor::Stop,
            None => OnExpiredCursor::Resynchronize,
        }
    }

    pub(super) fn begin(&self) -> Running {
        self.replays.book().begin(self.slot.number);
        Running { replays: self.replays.clone(), slot: self.slot.clone() }
    }
}

impl std::fmt::Debug for ReplayOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplayOrder")
            .field("number", &self.slot.number)
            .field("worker", &self.slot.worker)
            .finish_non_exhaustive()
    }
}

impl Running {
    /// Whether it has to make room, or has no viewer any more.
    pub(super) fn is_over(&self) -> bool {
        self.slot.is_over()
    }

    /// The number of the frame that the viewer which is furthest ahead wants next.
    pub(super) fn wanted(&self) -> u64 {
        self.slot.wanted.load(Ordering::SeqCst)
    }

    /// Takes that the stream is gone.
    pub(super) fn end(&self) {
        self.replays.book().end(self.slot.number);
    }

    /// Takes no more viewers: its ring has lost its first frame. A viewer that asks for the same place now gets another.
    pub(super) fn closes(&self) {
        self.slot.is_closed.store(true, Ordering::Relaxed);
    }

    /// Has the viewer that wants the frame with this number say so. Whether none does yet.
    pub(super) fn waits_for(&self, number: u64) -> bool {
        self.slot.goes_on_at.store(number, Ordering::SeqCst);
        // One may have come to it just before it could know.
        let waits = self.wanted() < number;
        if !waits {
            self.slot.goes_on_at.store(u64::MAX, Ordering::SeqCst);
        }
        waits
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

impl Slot {
    fn new(number: u64, worker: WorkerRef, cursor: Option<UpstreamCursor>) -> Self {
        Self {
            number,
            worker,
            cursor,
            over: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            wanted: AtomicU64::new(0),
            goes_on_at: AtomicU64::new(u64::MAX),
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Whether one who comes now is shown all of it.
    fn is_joinable(&self) -> bool {
        !self.is_over() && !self.is_closed.load(Ordering::Relaxed)
    }
}
