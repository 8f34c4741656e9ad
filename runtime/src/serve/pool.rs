//! The connections that are open, and which of them make room.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The connections of a server that are no streams, at most so many.
///
/// Where one more comes, one makes room that is of no use to anyone at present: first one that has asked nothing yet
/// or was refused, the oldest before the others; then the one that has been idle for the longest time. While all are
/// at work, new ones wait.
pub(super) struct Pool {
    max: usize,
    inside: Mutex<Inside>,
    /// Notified when one has ended or has no more to do.
    room: Notify,
}

#[derive(Default)]
struct Inside {
    /// Orders what happens.
    last: u64,
    members: BTreeMap<u64, Member>,
}

struct Member {
    state: Use,
    /// When it got into that state.
    since: u64,
    leave: Arc<Notify>,
}

/// What a connection is used for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Use {
    /// It has asked nothing yet, or nothing that it may.
    Nothing,
    /// Its last request was answered.
    Idle,
    /// A request is under way.
    Request,
    /// It was told to leave.
    Leaving,
}

/// One connection's place in the pool, until it is dropped.
pub(super) struct Seat {
    pool: Arc<Pool>,
    number: u64,
    leave: Arc<Notify>,
}

impl Pool {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, inside: Mutex::default(), room: Notify::new() })
    }

    /// Nothing in here can fail half-way, so that a poisoned lock guards sound data.
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more, for which another makes room where there is none. Waits while all are at work.
    pub(super) async fn enter(self: &Arc<Self>) -> Seat {
        loop {
            let notified = self.room.notified();
            if let Some(seat) = self.try_enter() {
                return seat;
            }
            notified.await;
        }
    }

    fn try_enter(self: &Arc<Self>) -> Option<Seat> {
        let mut inside = self.inside();
        let staying = inside.members.values().filter(|member| member.state != Use::Leaving).count();
        if staying >= self.max {
            inside.make_room()?;
        }
        inside.last += 1;
        let (number, leave) = (inside.last, Arc::<Notify>::default());
        let member = Member { state: Use::Nothing, since: number, leave: Arc::clone(&leave) };
        inside.members.insert(number, member);
        Some(Seat { pool: Arc::clone(self), number, leave })
    }
}

impl Inside {
    /// Tells the one to leave that is needed least; `None` where all are at work.
    fn make_room(&mut self) -> Option<()> {
        let useless = self.members.values_mut().filter(|member| member.state < Use::Request);
        let first = useless.min_by_key(|member| (member.state, member.since))?;
        first.state = Use::Leaving;
        first.leave.notify_one();
        Some(())
    }
}

impl Seat {
    fn set(&self, state: Use) {
        let mut inside = self.pool.inside();
        inside.last += 1;
        let now = inside.last;
        if let Some(member) = inside.members.get_mut(&self.number)
            && member.state != Use::Leaving
        {
            (member.state, member.since) = (state, now);
        }
        drop(inside);
        if state < Use::Request {
            self.pool.room.notify_one();
        }
    }

    /// A request is under way that may be asked.
    pub(super) fn works(&self) {
        self.set(Use::Request);
    }

    /// The request was answered.
    pub(super) fn rests(&self) {
        self.set(Use::Idle);
    }

    /// Whether it has asked nothing that it may.
    pub(super) fn is_useless(&self) -> bool {
        self.pool.inside().members.get(&self.number).is_some_and(|member| member.state == Use::Nothing)
    }

    /// Returns when it has to make room.
    pub(super) async fn told_to_leave(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.pool.inside().members.remove(&self.number);
        self.pool.room.notify_one();
    }
}

#[cfg(test)]
mod tests;
