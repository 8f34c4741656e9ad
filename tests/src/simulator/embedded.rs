//! The runtime crate's own runtime. What it says when it is asked without a gateway is the truth that viewers are to
//! see.

use std::collections::{BTreeMap, BTreeSet};
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use bytes::Bytes;
use http::{Request, Response};
use sekisho_core::id::{RuntimeId, WorkerId};
use sekisho_core::runtime_api::{
    Command, CreateWorker, EndReason, Frame, Input, InputKind, Intent, Observe, Profile, Reply,
};
use sekisho_core::secret::Access;
use sekisho_runtime::{Runtime, RuntimeConfig, Simulation, Subscription};

use super::chance::Chance;
use super::disk::Disk;
use super::ledger::{At, Ledger, named};
use super::planted::Planted;
use super::scripted::{worker_name, worker_number};

/// What tells the chance of crashes from all other chance of the same seed.
const CRASHES: u64 = 7;

/// The runtime.
pub(super) struct Embedded {
    index: usize,
    runtime_id: RuntimeId,
    seed: u64,
    life: u32,
    first_workers: usize,
    /// Where it keeps what it has to remember.
    disk: Disk,
    /// What is left of it after a crash.
    chance: Chance,
    runtime: Runtime,
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
}

impl Worker {
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
        workers: usize,
        planted: Option<Planted>,
    ) -> Self {
        let disk = Disk::new(planted);
        let mut embedded = Self {
            index,
            seed,
            life: 0,
            first_workers: workers,
            runtime: start(&runtime_id, seed, 0, &disk),
            chance: Chance::of(seed, CRASHES),
            disk,
            runtime_id,
            workers: Vec::new(),
            subscriptions: BTreeMap::new(),
            subscribed: 0,
        };
        embedded.create(workers);
        embedded
    }

    /// It starts over, and its disk is gone.
    pub(super) fn restart(&mut self, recreates: bool, ledger: &mut Ledger) {
        ledger.lost(self.index);
        self.life += 1;
        self.subscriptions.clear();
        for worker in &mut self.workers {
            worker.subscription = None;
            worker.begin_life(None);
            worker.acknowledged.clear();
        }
        self.disk.wipe();
        self.runtime = start(&self.runtime_id, self.seed, self.life, &self.disk);
        self.create(if recreates { self.first_workers } else { 0 });
    }

    /// The power goes, and it starts from what its disk has kept. What was acknowledged and is not there, or stands there
    /// otherwise than it was written.
    pub(super) fn crash(&mut self) -> Result<(), String> {
        let before: Vec<Vec<Line>> = (0..self.workers.len()).map(|worker| self.transcript(worker)).collect();
        self.subscriptions.clear();
        self.disk.crash(&mut self.chance);
        self.runtime = start(&self.runtime_id, self.seed, self.life, &self.disk);
        for (number, before) in before.iter().enumerate() {
            if self.workers[number].subscription.take().is_some() {
                self.check_end(number)?;
                self.take_up(number);
                self.check(number, before)?;
            }
        }
        self.listen(None);
        Ok(())
    }

    /// Whether a worker, whose creation was acknowledged, is there, and does not seem to run without a process.
    fn check_end(&self, number: usize) -> Result<(), String> {
        let worker_id: WorkerId = worker_name(number).parse().map_err(|error| format!("{error}"))?;
        let command = Command::Worker(worker_id);
        let access = Access::in_process();
        let response = self.runtime.handle(&command.request(&access));
        match Reply::from_response(&command, &self.runtime_id, access.scrubber(), &response) {
            Ok(Reply::Worker(detail)) => match detail.facts.end.map(|end| end.reason) {
                Some(EndReason::RuntimeLost | EndReason::Stopped | EndReason::Cancelled) => Ok(()),
                other => Err(format!("worker {number} has {other:?} for its end after a crash")),
            },
            other => Err(format!("worker {number} was created and is not there: {other:?}")),
        }
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

    /// Whether the transcript is as it was, up to where it was lost, and has all that was acknowledged.
    fn check(&self, number: usize, before: &[Line]) -> Result<(), String> {
        let now = self.transcript(number);
        let same = now.iter().zip(before).take_while(|(now, before)| now == before).count();
        // How the worker ended follows, and nothing else.
        if let Some(other) = now.get(same).filter(|line| line.role != "system") {
            return Err(format!("worker {number} has {other:?} in place of {:?}", before.get(same)));
        }
        let count = |lines: &[Line], text: &str| lines.iter().filter(|line| line.content == text).count();
        for text in &self.workers[number].acknowledged {
            let (was, is) = (count(before, text), count(&now, text));
            if was != is {
                return Err(format!("worker {number} was told {text:?} {was} times, and knows of {is}"));
            }
        }
        let items = now.iter().filter(|line| line.role != "system" || self.is_input(number, line)).count();
        let events = self.said_since_the_beginning(number);
        match items == events {
            true => Ok(()),
            false => Err(format!("worker {number} has {items} items and {events} events of them")),
        }
    }

    /// Whether an item was said to a worker, and is not what its runtime said of it.
    fn is_input(&self, number: usize, line: &Line) -> bool {
        self.workers[number].said.contains(&line.content)
    }

    /// How many events of a worker, of those that its runtime can repeat, tell what stands in its transcript.
    fn said_since_the_beginning(&self, number: usize) -> usize {
        let worker = &self.workers[number];
        let lost = worker.joints.iter().rposition(|joint| joint.is_none());
        let first = worker.lives.get(lost.map_or(0, |life| life + 1)).and_then(|life| life.first());
        let Some(mut subscription) = first.and_then(|told| self.subscribe(number, Some(&told.cursor))) else {
            return 0;
        };
        let is_said = |payload: &Bytes| {
            [&br#"{"event":"user_message""#[..], br#"{"event":"text_delta""#]
                .iter()
                .any(|it| payload.starts_with(it))
        };
        std::iter::from_fn(|| next(&mut subscription)).filter(|(_, payload)| is_said(payload)).count()
    }

    fn transcript(&self, number: usize) -> Vec<Line> {
        let mut lines = Vec::new();
        let Ok(worker_id) = worker_name(number).parse::<WorkerId>() else { return lines };
        let mut start = Some(0);
        while start.is_some() {
            let command =
                Command::Transcript { worker_id: worker_id.clone(), start, limit: None, contains: None };
            let access = Access::in_process();
            let response = self.runtime.handle(&command.request(&access));
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

    fn create(&mut self, workers: usize) {
        for _ in 0..workers {
            let worker = CreateWorker::new(Intent::Assistant { purpose: None }, Profile::RuntimeDefault);
            let command = Command::Create { worker: Box::new(worker), key: None };
            let response = self.runtime.handle(&command.request(&Access::in_process()));
            self.note_worker(&command, &response);
        }
    }

    /// Something happens in a worker: another client speaks to it.
    pub(super) fn publish(&mut self, worker: usize, text: &str) {
        let Ok(worker_id) = worker_name(worker).parse() else { return };
        let input = Input::new(InputKind::System, text);
        let command = Command::Input { worker_id, input, key: None };
        let request = command.request(&Access::in_process());
        self.note_said(&command);
        match self.chance.one_in(2) {
            // The client is gone before it is answered, and nothing waits for the disk.
            true => drop(self.runtime.respond(&request)),
            false => {
                let response = self.runtime.handle(&request);
                self.acknowledge(&command, &response);
            }
        }
        self.listen(None);
    }

    /// Takes note of what a worker is told.
    fn note_said(&mut self, command: &Command) {
        if let Command::Input { worker_id, input, .. } = command
            && let Some(worker) = worker_number(worker_id.as_str()).and_then(|it| self.workers.get_mut(it))
        {
            worker.said.insert(input.content.clone());
        }
    }

    /// Takes note of what a worker was told and a client was answered.
    fn acknowledge(&mut self, command: &Command, response: &Response<Bytes>) {
        if let Command::Input { worker_id, input, .. } = command
            && response.status().is_success()
            && let Some(worker) =
                worker_number(worker_id.as_str()).and_then(|number| self.workers.get_mut(number))
        {
            worker.acknowledged.push(input.content.clone());
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

    pub(super) fn handle(&mut self, request: &Request<Bytes>, ledger: &mut Ledger) -> Response<Bytes> {
        let command = Command::from_request(request).ok();
        command.iter().for_each(|command| self.note_said(command));
        let response = self.runtime.handle(request);
        self.listen(Some(ledger));
        if let Some(command) = command.filter(|_| response.status().is_success()) {
            self.acknowledge(&command, &response);
            let is_new = self.note_worker(&command, &response);
            let said = match &command {
                Command::Create { worker, .. } => match &worker.intent {
                    Intent::Task { objective } => Some(objective).filter(|_| is_new),
                    _ => None,
                },
                Command::Stop { reason, .. } | Command::Cancel { reason, .. } => reason.reason.as_ref(),
                _ => None,
            };
            if let Some(command) = said.and_then(|text| named(text)) {
                ledger.applied(self.index, command);
            }
        }
        response
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

    /// Whether a worker is new that a command has made.
    fn note_worker(&mut self, command: &Command, response: &Response<Bytes>) -> bool {
        let reply =
            Reply::from_response(command, &self.runtime_id, Access::in_process().scrubber(), response);
        let (Command::Create { .. }, Ok(Reply::Worker(detail))) = (command, reply) else { return false };
        let Some(worker) = worker_number(&detail.worker_id) else { return false };
        while self.workers.len() <= worker {
            let lives = (0..=self.life).map(|_| Vec::new()).collect();
            let joints = (0..self.life).map(|_| None).collect();
            self.workers.push(Worker {
                subscription: None,
                lives,
                joints,
                said: BTreeSet::new(),
                acknowledged: Vec::new(),
            });
        }
        if self.workers[worker].subscription.is_some() {
            return false;
        }
        self.workers[worker].subscription = self.subscribe(worker, None);
        self.listen(None);
        true
    }

    fn subscribe(&self, worker: usize, cursor: Option<&str>) -> Option<Subscription> {
        let worker_id = worker_name(worker).parse().ok()?;
        let place = cursor.and_then(sekisho_core::cursor::UpstreamCursor::new);
        let request = Observe::request(&Access::in_process(), &worker_id, place.as_ref());
        self.runtime.observe(&request.map(|()| Bytes::new())).ok()
    }

    /// Hears what has happened in all workers. What a client said took effect when the worker heard it.
    fn listen(&mut self, mut ledger: Option<&mut Ledger>) {
        for worker in &mut self.workers {
            let (Some(subscription), Some(life)) = (&mut worker.subscription, worker.lives.last_mut()) else {
                continue;
            };
            while let Some((cursor, payload)) = next(subscription) {
                if let Some(command) = said(&payload)
                    && let Some(ledger) = &mut ledger
                {
                    ledger.applied(self.index, command);
                }
                life.push(Told { cursor, payload });
            }
        }
    }
}

/// A start that draws its own number, which follows from the seed.
fn start(runtime_id: &RuntimeId, seed: u64, life: u32, disk: &Disk) -> Runtime {
    let incarnation = u128::from(Chance::of(seed, u64::from(life)).next()) << 64;
    let simulation = Some(Simulation { incarnation, now: || SystemTime::UNIX_EPOCH });
    let config = RuntimeConfig { simulation, ..RuntimeConfig::new(runtime_id.clone()) };
    Runtime::with_store(config, Box::new(disk.store())).expect("there is no profile that could be wrong")
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
