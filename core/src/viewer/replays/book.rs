//! Who waits for a replay, and who has one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{ReplayLimits, Slot, Turn};
use crate::browser_api::ClientAddress;
use crate::cursor::UpstreamCursor;
use crate::id::{RuntimeId, WorkerRef};
use crate::viewer::{REPLAY_TURN, REPLAY_WAITS};

/// All replays of a gateway, by number: those that wait first are those with the lower ones.
#[derive(Debug)]
pub(super) struct Book {
    limits: ReplayLimits,
    entries: BTreeMap<u64, Entry>,
    /// The newest replay from each place that was asked for.
    from: BTreeMap<(WorkerRef, Option<UpstreamCursor>), u64>,
    numbered: u64,
    /// Whether there may be room, or a new replay that could take it.
    has_changed: bool,
    /// When it was looked at last whether those who have had their turn are to make room.
    looked_at: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    slot: Arc<Slot>,
    /// Who asked first.
    client: Option<ClientAddress>,
    seats: usize,
    is_running: bool,
    has_ended: bool,
    /// When its turn began, if it has.
    since: Option<Instant>,
}

impl Entry {
    fn waits(&self) -> bool {
        self.since.is_none() && !self.slot.is_over()
    }

    /// Whether it counts: one that makes room does so until its stream has ended.
    fn is_open(&self) -> bool {
        self.is_running || (self.since.is_some() && !self.has_ended && !self.slot.is_over())
    }
}

/// How many replays are open, of whom.
#[derive(Default)]
struct Open<'a> {
    all: usize,
    runtimes: BTreeMap<&'a RuntimeId, usize>,
    workers: BTreeMap<&'a WorkerRef, usize>,
    clients: BTreeMap<Option<ClientAddress>, usize>,
}

impl<'a> Open<'a> {
    fn of(entries: &'a BTreeMap<u64, Entry>) -> Self {
        let mut open = Self::default();
        for entry in entries.values().filter(|entry| entry.is_open()) {
            open.all += 1;
            *open.runtimes.entry(&entry.slot.worker.runtime_id).or_default() += 1;
            *open.workers.entry(&entry.slot.worker).or_default() += 1;
            *open.clients.entry(entry.client).or_default() += 1;
        }
        open
    }

    fn of_runtime(&self, entry: &Entry) -> usize {
        self.runtimes.get(&entry.slot.worker.runtime_id).copied().unwrap_or_default()
    }

    fn of_worker(&self, entry: &Entry) -> usize {
        self.workers.get(&entry.slot.worker).copied().unwrap_or_default()
    }

    fn of_client(&self, entry: &Entry) -> usize {
        self.clients.get(&entry.client).copied().unwrap_or_default()
    }

    fn has_room_for(&self, entry: &Entry, limits: ReplayLimits) -> bool {
        self.all < limits.of_gateway
            && self.of_runtime(entry) < limits.of_runtime
            && self.of_worker(entry) < limits.of_worker
    }

    /// Whether `waiting` could have the place of `open`.
    fn is_in_the_way(&self, open: &Entry, waiting: &Entry, limits: ReplayLimits) -> bool {
        let (of, by) = (&open.slot.worker, &waiting.slot.worker);
        if self.of_worker(waiting) >= limits.of_worker {
            return of == by;
        }
        if self.of_runtime(waiting) >= limits.of_runtime {
            return of.runtime_id == by.runtime_id;
        }
        self.all >= limits.of_gateway
    }
}

impl Book {
    pub(super) fn new(limits: ReplayLimits) -> Self {
        let (entries, from) = Default::default();
        Self { limits, entries, from, numbered: 0, has_changed: false, looked_at: None }
    }

    pub(super) fn count(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn ask(
        &mut self,
        worker: &WorkerRef,
        cursor: Option<&UpstreamCursor>,
        client: Option<ClientAddress>,
    ) -> Arc<Slot> {
        let place = (worker.clone(), cursor.cloned());
        let known = self.from.get(&place).and_then(|number| self.entries.get_mut(number));
        if let Some(entry) = known.filter(|entry| entry.slot.is_joinable()) {
            entry.seats += 1;
            return entry.slot.clone();
        }
        self.numbered += 1;
        let slot = Arc::new(Slot::new(self.numbered, place.0.clone(), place.1.clone()));
        let entry =
            Entry { slot: slot.clone(), client, seats: 1, is_running: false, has_ended: false, since: None };
        self.entries.insert(self.numbered, entry);
        self.from.insert(place, self.numbered);
        self.has_changed = true;
        slot
    }

    pub(super) fn turn(&mut self, now: Instant, number: u64) -> Turn {
        if std::mem::take(&mut self.has_changed) {
            self.give(now);
        }
        let has_turn = |book: &Self| book.entries.get(&number).is_none_or(|entry| entry.since.is_some());
        if !has_turn(self) && self.looked_at.is_none_or(|at| now >= at + REPLAY_WAITS) {
            self.looked_at = Some(now);
            self.make_room(now);
            self.give(now);
        }
        if has_turn(self) { Turn::Runs } else { Turn::Waits }
    }

    /// Gives what room there is to those who wait.
    fn give(&mut self, now: Instant) {
        loop {
            let open = Open::of(&self.entries);
            let waiting = self.entries.iter().filter(|(_, entry)| entry.waits());
            let next = waiting.filter(|(_, entry)| open.has_room_for(entry, self.limits)).min_by_key(
                |(number, entry)| {
                    (open.of_runtime(entry), open.of_worker(entry), open.of_client(entry), **number)
                },
            );
            let Some(number) = next.map(|(number, _)| *number) else { return };
            if let Some(entry) = self.entries.get_mut(&number) {
                entry.since = Some(now);
            }
        }
    }

    /// Ends the turns that have lasted long enough, where others wait for their places.
    fn make_room(&mut self, now: Instant) {
        let open = Open::of(&self.entries);
        let waiting: Vec<&Entry> = self.entries.values().filter(|entry| entry.waits()).collect();
        let has_had_its_turn = |entry: &&Entry| entry.since.is_some_and(|since| now >= since + REPLAY_TURN);
        for entry in self.entries.values().filter(has_had_its_turn) {
            if waiting.iter().any(|waiting| open.is_in_the_way(entry, waiting, self.limits)) {
                entry.slot.over.store(true, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn begin(&mut self, number: u64) {
        if let Some(entry) = self.entries.get_mut(&number) {
            entry.is_running = true;
        }
    }

    pub(super) fn end(&mut self, number: u64) {
        self.has_changed = true;
        if let Some(entry) = self.entries.get_mut(&number) {
            // Its viewers are shown what it had, and how it ended.
            (entry.is_running, entry.has_ended) = (false, true);
            entry.slot.is_closed.store(true, Ordering::Relaxed);
        }
        self.tidy(number);
    }

    pub(super) fn leave(&mut self, number: u64) {
        self.has_changed = true;
        if let Some(entry) = self.entries.get_mut(&number) {
            entry.seats -= 1;
            if entry.seats == 0 {
                entry.slot.over.store(true, Ordering::Relaxed);
            }
        }
        self.tidy(number);
    }

    /// Forgets a replay that has neither viewers nor a stream.
    fn tidy(&mut self, number: u64) {
        let is_gone = |entry: &Entry| entry.seats == 0 && !entry.is_running;
        if self.entries.get(&number).is_some_and(is_gone)
            && let Some(Entry { slot, .. }) = self.entries.remove(&number)
        {
            let place = (slot.worker.clone(), slot.cursor.clone());
            if self.from.get(&place) == Some(&number) {
                self.from.remove(&place);
            }
        }
    }
}
