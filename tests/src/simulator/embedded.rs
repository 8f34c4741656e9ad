//! The runtime crate's own runtime. What it says when it is asked without a gateway is the truth that viewers are to
//! see.

use std::collections::BTreeMap;
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use bytes::Bytes;
use http::{Request, Response};
use sekisho_core::id::RuntimeId;
use sekisho_core::runtime_api::{
    Command, CreateWorker, Frame, Input, InputKind, Intent, Observe, Profile, Reply,
};
use sekisho_core::secret::Access;
use sekisho_runtime::{Runtime, RuntimeConfig, Simulation, Subscription};

use super::chance::Chance;
use super::ledger::{At, Ledger, named};
use super::scripted::{worker_name, worker_number};

/// The runtime.
pub(super) struct Embedded {
    index: usize,
    runtime_id: RuntimeId,
    seed: u64,
    life: u32,
    first_workers: usize,
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
}

/// An event, or the snapshot that a life begins with.
struct Told {
    cursor: String,
    payload: Bytes,
}

impl Embedded {
    pub(super) fn new(index: usize, runtime_id: RuntimeId, seed: u64, workers: usize) -> Self {
        let mut embedded = Self {
            index,
            seed,
            life: 0,
            first_workers: workers,
            runtime: start(&runtime_id, seed, 0),
            runtime_id,
            workers: Vec::new(),
            subscriptions: BTreeMap::new(),
            subscribed: 0,
        };
        embedded.create(workers);
        embedded
    }

    /// It starts over: it has no state that it could keep.
    pub(super) fn restart(&mut self, recreates: bool, ledger: &mut Ledger) {
        ledger.lost(self.index);
        self.life += 1;
        self.subscriptions.clear();
        for worker in &mut self.workers {
            worker.subscription = None;
            worker.lives.push(Vec::new());
        }
        self.runtime = start(&self.runtime_id, self.seed, self.life);
        self.create(if recreates { self.first_workers } else { 0 });
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
        self.runtime.handle(&command.request(&Access::in_process()));
        self.listen(None);
    }

    pub(super) fn head(&self, worker: usize) -> Option<At> {
        let worker = self.workers.get(worker)?;
        worker.subscription.as_ref()?;
        let told = worker.lives.last()?.len();
        Some(At { life: self.life, index: u32::try_from(told).unwrap_or_default().saturating_sub(1) })
    }

    /// It keeps far more than any simulated worker says.
    pub(super) fn has(&self, worker: usize, at: At) -> bool {
        self.head(worker).is_some_and(|head| at.life == head.life && at.index <= head.index)
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
        let cursor = &self.workers.get(worker)?.lives.get(at.life as usize)?.get(at.index as usize)?.cursor;
        if at.life != self.life {
            return None;
        }
        let mut subscription = self.subscribe(worker, Some(cursor))?;
        Some(next(&mut subscription)?.1)
    }

    pub(super) fn handle(&mut self, request: &Request<Bytes>, ledger: &mut Ledger) -> Response<Bytes> {
        let response = self.runtime.handle(request);
        self.listen(Some(ledger));
        if let (Ok(command), true) = (Command::from_request(request), response.status().is_success()) {
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
            self.workers.push(Worker { subscription: None, lives });
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
fn start(runtime_id: &RuntimeId, seed: u64, life: u32) -> Runtime {
    let incarnation = u128::from(Chance::of(seed, u64::from(life)).next()) << 64;
    let simulation = Some(Simulation { incarnation, now: || SystemTime::UNIX_EPOCH });
    Runtime::start(RuntimeConfig { simulation, ..RuntimeConfig::new(runtime_id.clone()) })
        .expect("there is no profile that could be wrong")
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
