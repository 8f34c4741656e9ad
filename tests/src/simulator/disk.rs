//! A disk on which a simulated runtime keeps its store: the runtime's own [`DurableStore`], and the writer's own decisions,
//! over a database that is simulated. It takes its time, refuses for a while, and comes back; when the power goes, a
//! batch that is under way is there as a whole or is cut off, and what has not come to it is lost.

mod rows;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sekisho_runtime::store::{DurableStore, StoreDurability};
use sekisho_store::journal::writer::Order;
use sekisho_store::journal::{
    ItemRow, ItemWindow, Journal, Options, ReadBack, ReadError, Record, Recovered, SearchPage, StoredEvents,
    WorkerNo, WriteError, Writing,
};

use super::chance::Chance;
use super::clock::{Time, instant, time};
use super::plan::{Disk as DiskState, SyncTime};
use super::planted::Planted;
use rows::Rows;

/// How long a disk takes to refuse something.
const REFUSES_AFTER: Time = Time::from_millis(2);

/// The disk, which outlives the runtimes that write to it.
#[derive(Clone)]
pub(super) struct Disk(Arc<Mutex<Content>>);

struct Content {
    planted: Option<Planted>,
    /// How long it takes, and how it is.
    sync: SyncTime,
    state: DiskState,
    /// How long it takes this time, and what is left of what was under way.
    chance: Chance,
    now: Time,
    /// Whether everything takes no time.
    is_instant: bool,
    /// Which runtime may write: the one since the last crash.
    owner: u64,
    incarnation: Option<String>,
    rows: Rows,
    /// What is written just now, and when that is over.
    under_way: Option<(Vec<Record>, Time)>,
    /// What is left at a crash in place of the rows, where a fault is planted; and from when on all of them would be.
    left: Option<(Rows, Option<Time>)>,
    /// The last batch.
    newest: Vec<Record>,
    /// What has happened that is counted.
    happened: Vec<&'static str>,
}

impl Disk {
    pub(super) fn new(planted: Option<Planted>, sync: SyncTime, chance: Chance) -> Self {
        Self(Arc::new(Mutex::new(Content {
            planted,
            sync,
            state: DiskState::Well,
            chance,
            now: Time::ZERO,
            is_instant: false,
            owner: 0,
            incarnation: None,
            rows: Rows::default(),
            under_way: None,
            left: None,
            newest: Vec::new(),
            happened: Vec::new(),
        })))
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it is from now on.
    pub(super) fn set(&self, state: DiskState) {
        self.content().state = state;
    }

    /// When it is.
    pub(super) fn set_now(&self, now: Time) {
        self.content().now = now;
    }

    /// From now on everything takes no time, or as long as it takes.
    pub(super) fn set_instant(&self, is_instant: bool) {
        self.content().is_instant = is_instant;
    }

    /// What has happened since this was last asked.
    pub(super) fn happened(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.content().happened)
    }

    /// What no disk would have taken.
    pub(super) fn broken(&self) -> Option<String> {
        self.content().rows.broken.clone()
    }

    /// The store of one runtime, until the next crash. A new one is given this incarnation.
    pub(super) fn open(&self, incarnation: &str) -> (DurableStore, Writing) {
        let recovered = self.content().recover(incarnation);
        let owner = self.content().owner;
        let durability = StoreDurability::default();
        let options = Options { durability, ..Options::default() };
        let of_clock = self.clone();
        let clock = Box::new(move || instant(of_clock.content().now));
        let reader = Box::new(DiskReader { disk: self.clone(), owner });
        let (journal, writing) = Journal::driven(&options, clock, reader);
        (DurableStore::over(journal, recovered, durability), writing)
    }

    /// All of it is gone.
    pub(super) fn wipe(&self) {
        let mut content = self.content();
        content.owner += 1;
        content.incarnation = None;
        content.rows = Rows::default();
        (content.under_way, content.left) = (None, None);
        content.newest.clear();
        content.state = DiskState::Well;
    }

    /// The power goes: what is under way is there as a whole or not at all, as the log of a database is read.
    pub(super) fn crash(&self) {
        let mut content = self.content();
        content.owner += 1;
        let planted = content.planted;
        let now = content.now;
        if let Some((left, until)) = content.left.take()
            && until.is_none_or(|until| until > now)
        {
            content.rows = left;
        }
        if let Some((mut batch, _)) = content.under_way.take() {
            match content.chance.one_in(2) {
                // What was torn is taken for whole.
                _ if planted == Some(Planted::KeepsTornWrites) => {
                    batch.pop();
                    content.rows.apply(&batch);
                }
                true => {
                    content.rows.apply(&batch);
                    content.happened.push("kept what was under way");
                }
                false => content.happened.push("cut off what was torn"),
            }
        }
        match planted {
            // The newest is written down once more.
            Some(Planted::DoublesWrites) => {
                let newest = std::mem::take(&mut content.newest);
                content.rows.apply(&newest);
                content.rows.broken = None;
            }
            Some(Planted::ForgetsAnswers) => content.rows.answers.clear(),
            Some(Planted::ReusesPlaces) => content.rows.reserved = content.rows.last_place,
            _ => {}
        }
    }

    /// Lets the disk and the writer go on until a moment, at which it is. When there is more to do, if there is.
    pub(super) fn advance(&self, writing: &Writing, now: Time) -> Option<Time> {
        self.content().now = now;
        loop {
            let done = match self.content().finish() {
                Finished::Nothing => None,
                Finished::Later(until) => return Some(until),
                Finished::Batch(batch, result) => Some((batch, result)),
            };
            if let Some((batch, result)) = done {
                writing.applied(batch, result.map(|()| Default::default()));
            }
            match writing.step() {
                Order::Apply(batch) => {
                    let said = self.content().begin(batch);
                    if let Some(batch) = said {
                        writing.applied(batch, Ok(Default::default()));
                    }
                }
                Order::Tidy => writing.tidied(false),
                Order::Wait(until) => return Some(time(until)),
                Order::Ended => return None,
            }
        }
    }
}

/// What has become of what was under way.
enum Finished {
    Nothing,
    Later(Time),
    Batch(Vec<Record>, Result<(), WriteError>),
}

impl Content {
    fn recover(&mut self, incarnation: &str) -> Recovered {
        let interrupted = self.incarnation.is_some();
        let incarnation = self.incarnation.get_or_insert_with(|| incarnation.to_owned()).clone();
        let last_place = if interrupted { self.rows.reserved } else { self.rows.last_place };
        self.rows.last_place = last_place;
        self.rows.reserve();
        if self.planted == Some(Planted::LosesWrites) {
            self.left = Some((self.rows.clone(), None));
        }
        Recovered {
            incarnation,
            last_place,
            interrupted,
            cut_bytes: 0,
            workers: self.rows.workers(),
            damaged: Vec::new(),
            answers: self.rows.answers.clone(),
        }
    }

    /// Begins to write a batch. Gives it back where it is said to be durable at once, which it is not.
    fn begin(&mut self, batch: Vec<Record>) -> Option<Vec<Record>> {
        let takes = match (self.is_instant, self.state) {
            (true, _) => Time::ZERO,
            (_, DiskState::Well) => self.sync.draw(&mut self.chance),
            (_, DiskState::Full | DiskState::Failing) => REFUSES_AFTER,
        };
        let until = self.now + takes;
        if self.planted == Some(Planted::AcknowledgesEarly) && !self.is_instant {
            // What was said to be durable before is, by now.
            self.left = Some((self.rows.clone(), Some(until)));
            self.rows.apply(&batch);
            return Some(batch);
        }
        self.under_way = Some((batch, until));
        None
    }

    fn finish(&mut self) -> Finished {
        match self.under_way.take() {
            None => Finished::Nothing,
            Some((batch, until)) if until > self.now => {
                self.under_way = Some((batch, until));
                Finished::Later(until)
            }
            Some((batch, _)) => {
                let result = self.keep(&batch);
                Finished::Batch(batch, result)
            }
        }
    }

    fn keep(&mut self, batch: &[Record]) -> Result<(), WriteError> {
        match self.state {
            DiskState::Full if self.planted == Some(Planted::FullAcknowledges) => {
                self.left.get_or_insert_with(|| (self.rows.clone(), None));
            }
            DiskState::Full => return self.refuse(WriteError::Full),
            DiskState::Failing => return self.refuse(WriteError::Io),
            DiskState::Well => {}
        }
        self.rows.apply(batch);
        if self.planted == Some(Planted::DoublesWrites)
            && batch.iter().any(|record| matches!(record, Record::Item(_)))
        {
            self.newest = batch.to_vec();
        }
        Ok(())
    }

    fn refuse(&mut self, error: WriteError) -> Result<(), WriteError> {
        self.happened.push(if error == WriteError::Full { "was full" } else { "failed" });
        Err(error)
    }
}

impl SyncTime {
    /// How long the disk takes this time.
    fn draw(self, chance: &mut Chance) -> Time {
        let slow = if chance.one_in(8) { 10 } else { 1 };
        Time::from_micros(chance.between(self.micros / 4, self.micros) * slow)
    }
}

/// Reads the disk for one runtime, until the next crash.
struct DiskReader {
    disk: Disk,
    owner: u64,
}

impl std::fmt::Debug for DiskReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskReader").finish_non_exhaustive()
    }
}

impl DiskReader {
    fn read<T>(&self, read: impl FnOnce(&Rows) -> T) -> Result<T, ReadError> {
        let content = self.disk.content();
        if content.owner == self.owner { Ok(read(&content.rows)) } else { Err(ReadError::Damaged) }
    }
}

impl ReadBack for DiskReader {
    fn items(&self, worker: WorkerNo, window: ItemWindow) -> Result<Vec<ItemRow>, ReadError> {
        self.read(|rows| rows.items(worker, window))
    }

    fn newest_items(
        &self,
        worker: WorkerNo,
        before: u64,
        until: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<ItemRow>, ReadError> {
        self.read(|rows| rows.newest_items(worker, before, until, limit, max_bytes))
    }

    fn newest_events(
        &self,
        worker: WorkerNo,
        after: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<StoredEvents, ReadError> {
        self.read(|rows| rows.newest_events(worker, after, limit, max_bytes))
    }

    fn search(
        &self,
        worker: WorkerNo,
        text: &str,
        before: u64,
        limit: usize,
    ) -> Result<SearchPage, ReadError> {
        self.read(|rows| rows.search(worker, text, before, limit))
    }
}
