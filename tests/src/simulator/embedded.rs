//! The runtime crate's own runtime. What it says when it is asked without a gateway is the truth that viewers are to
//! see.

mod lasting;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use bytes::Bytes;
use http::{Request, Response};
use sekisho_core::id::{RuntimeId, WorkerId};
use sekisho_core::runtime_api::{
    Command, CreateWorker, Frame, Input, InputKind, Intent, Observe, Profile, Reply,
};
use sekisho_core::secret::Access;
use sekisho_runtime::{Runtime, RuntimeConfig, Simulation, Subscription};
use sekisho_store::journal::Writing;

use super::chance::Chance;
use super::clock::Time;
use super::disk::Disk;
use super::hostile::Answer;
use super::ledger::{At, CommandId, Ledger, named};
use super::plan::RuntimePlan;
use super::planted::Planted;
use super::scripted::{worker_name, worker_number};
use waiting::Waiting;

/// What tells the chance of other clients, and of the disk, from all other chance of the same seed.
const OTHERS: u64 = 7;
const DISK: u64 = 8;

/// The runtime.
pub(super) struct Embedded {
    index: usize,
    runtime_id: RuntimeId,
    seed: u64,
    life: u32,
    first_workers: usize,
    /// Where it keeps what it has to remember.
    disk: Disk,
    /// What other clients do.
    chance: Chance,
    runtime: Runtime,
    /// The writer of its store.
    writing: Writing,
    /// Requests whose answers are not certain, and how many there were.
    waiting: Vec<Waiting>,
    numbered: u64,
    /// What was answered under keys, oldest first.
    answered: Vec<(String, Request<Bytes>, Bytes)>,
    /// What each place in its streams means, by its cursor.
    places: BTreeMap<String, (usize, Bytes)>,
    /// What has happened that is counted, and what must not.
    counted: Vec<&'static str>,
    broken: Option<String>,
    workers: Vec<Worker>,
    subscriptions: BTreeMap<u32, Subscription>,
    subscribed: u32,
}

/// What is known of a worker without a gateway.
struct Worker {
    /// The present life's, where it is there.
    subscription: Option<Subscription>,
    lives: Vec<Vec<Told>>,
    /// For each life after the first, up to which place it has the one before it for its past; none where that is lost as a
    /// whole.
    joints: Vec<Option<u32>>,
    /// What was said to it.
    said: BTreeSet<String>,
    /// What of that was acknowledged.
    acknowledged: Vec<String>,
    /// The command that made it, and whether anybody was told that it is there.
    created_by: Option<CommandId>,
    is_promised: bool,
}

impl Worker {
    /// One that nothing is known of, in a life of its runtime.
    fn new(life: u32) -> Self {
        Self {
            subscription: None,
            lives: (0..=life).map(|_| Vec::new()).collect(),
            joints: (0..life).map(|_| None).collect(),
            said: BTreeSet::new(),
            acknowledged: Vec::new(),
            created_by: None,
            is_promised: false,
        }
    }

    fn life(&self) -> u32 {
        u32::try_from(self.lives.len()).unwrap_or_default().saturating_sub(1)
    }

    /// The cursor of a place. A life that goes on from the one before it begins with a place of that.
    fn cursor_of(&self, life: usize, index: usize) -> Option<String> {
        match (self.lives.get(life)?.get(index)?, life.checked_sub(1)) {
            (told, Some(before)) if told.cursor.is_empty() => {
                self.cursor_of(before, (*self.joints.get(before)?)? as usize)
            }
            (told, _) => Some(told.cursor.clone()),
        }
    }

    fn begin_life(&mut self, joint: Option<u32>) {
        self.joints.push(joint);
        self.lives.push(Vec::new());
    }
}

/// One item of a transcript.
#[derive(PartialEq, Eq, Debug)]
struct Line {
    sequence: u64,
    role: String,
    content: String,
}

/// An event, or the snapshot that a life begins with.
struct Told {
    cursor: String,
    payload: Bytes,
}

impl Embedded {
    pub(super) fn new(
        index: usize,
        runtime_id: RuntimeId,
        seed: u64,
        plan: &RuntimePlan,
        planted: Option<Planted>,
    ) -> Self {
        let disk = Disk::new(planted, plan.sync, Chance::of(seed, DISK));
        let (runtime, writing) = start(&runtime_id, seed, 0, &disk);
        let mut embedded = Self {
            index,
            seed,
            life: 0,
            first_workers: plan.workers,
            runtime,
            writing,
            waiting: Vec::new(),
            numbered: 0,
            answered: Vec::new(),
            places: BTreeMap::new(),
            counted: Vec::new(),
            broken: None,
            chance: Chance::of(seed, OTHERS),
            disk,
            runtime_id,
            workers: Vec::new(),
            subscriptions: BTreeMap::new(),
            subscribed: 0,
        };
        embedded.create(plan.workers, Time::ZERO);
        embedded
    }

    /// It starts over, and its disk is gone.
    pub(super) fn restart(&mut self, recreates: bool, now: Time, ledger: &mut Ledger) {
        ledger.lost(self.index);
        self.life += 1;
        self.subscriptions.clear();
        for worker in &mut self.workers {
            worker.subscription = None;
            worker.begin_life(None);
            worker.acknowledged.clear();
            worker.is_promised = false;
        }
        self.waiting.clear();
        self.answered.clear();
        self.disk.wipe();
        self.start();
        self.create(if recreates { self.first_workers } else { 0 }, now);
    }

    /// A runtime takes the place of the one before, from what the disk has.
    fn start(&mut self) {
        let (runtime, writing) = start(&self.runtime_id, self.seed, self.life, &self.disk);
        // The one before writes nothing any more.
        self.writing = writing;
        self.runtime = runtime;
    }

    /// Hears a worker again from the last place that is left of it.
    fn take_up(&mut self, number: usize) {
        let told = self.workers[number].lives.last().map_or(0, Vec::len);
        for index in (0..told).rev() {
            let life = self.workers[number].lives.len() - 1;
            let Some(cursor) = self.workers[number].cursor_of(life, index) else { return };
            if !self.keeps(number, &cursor) {
                continue;
            }
            let Some(mut subscription) = self.subscribe(number, Some(&cursor)) else { return };
            // The state at that place, which has been told.
            next(&mut subscription);
            let worker = &mut self.workers[number];
            if index + 1 < told {
                worker.begin_life(u32::try_from(index).ok());
                let payload = Bytes::new();
                worker.lives.last_mut().into_iter().for_each(|life| {
                    life.push(Told { cursor: String::new(), payload: payload.clone() });
                });
            }
            worker.subscription = Some(subscription);
            return;
        }
    }

    /// Whether a worker can be heard from a place on. Where that is lost, the state is the last thing but one that is said.
    fn keeps(&self, number: usize, cursor: &str) -> bool {
        let Some(mut subscription) = self.subscribe(number, Some(cursor)) else { return false };
        next(&mut subscription);
        match subscription.poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => true,
            Poll::Ready(frame) => {
                frame.is_some_and(|text| matches!(Frame::from_text(&text), Ok(Frame::Event(_))))
            }
        }
    }

    fn transcript(&self, number: usize) -> Vec<Line> {
        let mut lines = Vec::new();
        let Ok(worker_id) = worker_name(number).parse::<WorkerId>() else { return lines };
        let mut start = Some(0);
        while start.is_some() {
            let command =
                Command::Transcript { worker_id: worker_id.clone(), start, limit: None, contains: None };
            let access = Access::in_process();
            let response = self.answer_at_once(&command.request(&access));
            let reply = Reply::from_response(&command, &self.runtime_id, access.scrubber(), &response);
            let Ok(Reply::Transcript(page)) = reply else { return lines };
            lines.extend(page.items.into_iter().map(|item| Line {
                sequence: item.sequence,
                role: item.role,
                content: item.content,
            }));
            start = page.next_start;
        }
        lines
    }

    /// Workers that are there before anything happens.
    fn create(&mut self, workers: usize, now: Time) {
        self.disk.set_instant(true);
        for _ in 0..workers {
            let worker = CreateWorker::new(Intent::Assistant { purpose: None }, Profile::RuntimeDefault);
            let command = Command::Create { worker: Box::new(worker), key: None };
            let mut ledger = Ledger::default();
            self.handle(&command.request(&Access::in_process()), now, &mut ledger);
            self.go_on(now, &mut ledger);
        }
        self.disk.set_instant(false);
    }

    /// Something happens in a worker: another client speaks to it.
    pub(super) fn publish(&mut self, worker: usize, text: &str, now: Time) {
        let Ok(worker_id) = worker_name(worker).parse() else { return };
        let input = Input::new(InputKind::System, text);
        let command = Command::Input { worker_id, input, key: None };
        let request = command.request(&Access::in_process());
        self.disk.set_now(now);
        self.note_said(&command);
        let waiting = Waiting::new(&request, self.runtime.respond(&request));
        // Or the client is gone before it is answered, and nothing waits for the disk.
        if !self.chance.one_in(2) {
            self.wait_for(waiting, &mut Ledger::default());
        }
        self.listen(None);
    }

    /// Waits for an answer, unless it is there.
    fn wait_for(&mut self, mut waiting: Waiting, ledger: &mut Ledger) -> Option<Response<Bytes>> {
        let response = waiting.poll();
        match &response {
            Some(response) => self.settle(&waiting, response, ledger),
            None => {
                self.counted.push("waited for");
                self.waiting.push(waiting);
            }
        }
        response
    }

    /// Takes note of what a worker is told.
    fn note_said(&mut self, command: &Command) {
        if let Command::Input { worker_id, input, .. } = command
            && let Some(worker) = worker_number(worker_id.as_str()).and_then(|it| self.workers.get_mut(it))
        {
            worker.said.insert(input.content.clone());
        }
    }

    pub(super) fn head(&self, worker: usize) -> Option<At> {
        let worker = self.workers.get(worker)?;
        worker.subscription.as_ref()?;
        let told = worker.lives.last()?.len();
        Some(At { life: worker.life(), index: u32::try_from(told).unwrap_or_default().saturating_sub(1) })
    }

    /// It keeps far more than any simulated worker says.
    pub(super) fn has(&self, worker: usize, at: At) -> bool {
        let (Some(head), Some(known)) = (self.head(worker), self.workers.get(worker)) else { return false };
        let mut joints = known.joints.iter().skip(at.life as usize);
        match joints.next() {
            None => at.life == head.life && at.index <= head.index,
            // All of what came between must have been kept as well.
            Some(joint) => joint.is_some_and(|joint| at.index <= joint) && joints.all(Option::is_some),
        }
    }

    /// Whether one place is right behind another.
    pub(super) fn follows(&self, worker: usize, from: At, to: At) -> bool {
        let Some(worker) = self.workers.get(worker) else { return false };
        let mut from = from;
        loop {
            if to == (At { index: from.index + 1, ..from }) {
                return true;
            }
            // It is where the next life goes on from.
            match worker.joints.get(from.life as usize) {
                Some(joint) if *joint == Some(from.index) => from = At { life: from.life + 1, index: 0 },
                _ => return false,
            }
        }
    }

    pub(super) fn locate(&self, worker: usize, cursor: &str) -> Option<At> {
        let lives = self.workers.get(worker)?.lives.iter().enumerate();
        lives.rev().find_map(|(life, told)| {
            let index = told.iter().position(|told| told.cursor == cursor)?;
            Some(At { life: u32::try_from(life).ok()?, index: u32::try_from(index).ok()? })
        })
    }

    pub(super) fn payload(&self, worker: usize, at: At) -> Option<Bytes> {
        let life = self.workers.get(worker)?.lives.get(at.life as usize)?;
        Some(life.get(at.index as usize).filter(|_| at.index > 0)?.payload.clone())
    }

    /// What a snapshot of a place says, where that can still be asked.
    pub(super) fn snapshot(&self, worker: usize, at: At) -> Option<Bytes> {
        let known = self.workers.get(worker)?;
        let cursor = &known.lives.get(at.life as usize)?.get(at.index as usize)?.cursor;
        if at.life != known.life() || cursor.is_empty() {
            return None;
        }
        let mut subscription = self.subscribe(worker, Some(cursor))?;
        Some(next(&mut subscription)?.1)
    }

    pub(super) fn handle(&mut self, request: &Request<Bytes>, now: Time, ledger: &mut Ledger) -> Answer {
        self.disk.set_now(now);
        let command = Command::from_request(request).ok();
        command.iter().for_each(|command| self.note_said(command));
        self.numbered += 1;
        let mut waiting = Waiting::new(request, self.runtime.respond(request));
        waiting.number = Some(self.numbered);
        self.listen(Some(ledger));
        waiting.created = self.note_new(command.as_ref(), ledger);
        match self.wait_for(waiting, ledger) {
            Some(response) => Answer::Response(response),
            None => Answer::Later(self.numbered),
        }
    }

    /// Opens a stream, or answers why not.
    #[expect(clippy::result_large_err, reason = "a response is what it is, and is moved once")]
    pub(super) fn observe(&mut self, request: &Request<()>) -> Result<u32, Response<Bytes>> {
        let subscription = self.runtime.observe(&request.clone().map(|()| Bytes::new()))?;
        self.subscribed += 1;
        self.subscriptions.insert(self.subscribed, subscription);
        Ok(self.subscribed)
    }

    /// The next frame of a subscription: `None` where there is none yet, `Some(None)` after the last.
    pub(super) fn read(&mut self, subscription: u32) -> Option<Option<Bytes>> {
        match self.subscriptions.get_mut(&subscription)?.poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(frame) => Some(frame),
            Poll::Pending => None,
        }
    }

    pub(super) fn unsubscribe(&mut self, subscription: u32) {
        self.subscriptions.remove(&subscription);
    }

    fn subscribe(&self, worker: usize, cursor: Option<&str>) -> Option<Subscription> {
        let worker_id = worker_name(worker).parse().ok()?;
        let place = cursor.and_then(sekisho_core::cursor::UpstreamCursor::new);
        let request = Observe::request(&Access::in_process(), &worker_id, place.as_ref());
        self.runtime.observe(&request.map(|()| Bytes::new())).ok()
    }

    /// Hears what has happened in all workers. What a client said took effect when the worker heard it.
    fn listen(&mut self, mut ledger: Option<&mut Ledger>) {
        let mut placed = Vec::new();
        for (number, worker) in self.workers.iter_mut().enumerate() {
            let (Some(subscription), Some(life)) = (&mut worker.subscription, worker.lives.last_mut()) else {
                continue;
            };
            while let Some((cursor, payload)) = next(subscription) {
                if let Some(command) = said(&payload)
                    && let Some(ledger) = &mut ledger
                {
                    ledger.applied(self.index, command);
                }
                placed.push((number, cursor.clone(), payload.clone()));
                life.push(Told { cursor, payload });
            }
        }
        placed.iter().for_each(|(number, cursor, payload)| self.place(*number, cursor, payload));
    }
}

/// A start that draws its own number, which follows from the seed.
fn start(runtime_id: &RuntimeId, seed: u64, life: u32, disk: &Disk) -> (Runtime, Writing) {
    let incarnation = u128::from(Chance::of(seed, u64::from(life)).next()) << 64;
    let simulation = Some(Simulation { incarnation, now: || SystemTime::UNIX_EPOCH });
    let config = RuntimeConfig { simulation, ..RuntimeConfig::new(runtime_id.clone()) };
    let (store, writing) = disk.open(&format!("{incarnation:032x}"));
    let runtime = Runtime::with_store(config, Box::new(store));
    (runtime.expect("there is no profile that could be wrong"), writing)
}

/// Whether a frame says how a worker is, and not what has happened in it.
fn is_snapshot(payload: &Bytes) -> bool {
    payload.starts_with(br#"{"event":"snapshot""#)
}

/// The next frame's cursor and payload.
fn next(subscription: &mut Subscription) -> Option<(String, Bytes)> {
    let Poll::Ready(Some(text)) = subscription.poll_frame(&mut Context::from_waker(Waker::noop())) else {
        return None;
    };
    match Frame::from_text(&text) {
        Ok(Frame::Event(envelope)) => {
            Some((envelope.cursor.to_string(), Bytes::copy_from_slice(envelope.payload.get().as_bytes())))
        }
        _ => None,
    }
}

/// The command that a worker was told, if it was.
fn said(payload: &Bytes) -> Option<usize> {
    let payload = std::str::from_utf8(payload).ok()?;
    let (_, text) = payload.strip_prefix(r#"{"event":"user_message""#)?.split_once(r#""content":""#)?;
    named(text)
}
