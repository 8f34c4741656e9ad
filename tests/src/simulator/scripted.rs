//! A runtime that behaves as deployed ones do, and remembers all that it ever did.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use sekisho_core::runtime_api::{
    Ack, Command, CommandError, CreateWorker, Fault, FaultCode, Feature, IdempotencyKey, Input, InputAck,
    Intent, Observe, Profile, Reply, RuntimeLimits, RuntimeStatus, RuntimeSummary, SNAPSHOT_PREFIX,
    Transcript, WireRef, WorkerDetail, WorkerFacts, WorkerStatus, WorkerSummary,
};

use super::ledger::{At, CommandId, Ledger, named};

/// How many frames of a subscriber that does not read are kept.
pub(super) const SUBSCRIBER_BUFFER: usize = 24;

/// How many items are in one page of a transcript.
const MAX_PAGE: u64 = 256;

/// An odd number and its inverse modulo 2^64: cursors are numbers that skip, and are in no order that anybody could
/// rely on.
const SCRAMBLE: u64 = 0x9E37_79B9_7F4A_7C15;
const UNSCRAMBLE: u64 = 0xF1DE_83E1_9937_733D;

/// The name of a runtime's worker with this number, as deployed runtimes write them.
pub(super) fn worker_name(worker: usize) -> String {
    format!("worker-{:08}", worker + 1)
}

/// The number of a worker of this name.
pub(super) fn worker_number(name: &str) -> Option<usize> {
    name.strip_prefix("worker-")?.parse::<usize>().ok()?.checked_sub(1)
}

/// The runtime.
pub(super) struct Scripted {
    index: usize,
    runtime_id: String,
    honours_keys: bool,
    backlog: u32,
    first_workers: usize,
    life: u32,
    workers: Vec<Worker>,
    keys: BTreeMap<String, (Bytes, Reply)>,
    running: bool,
    busy: bool,
    events: u64,
    /// How many of the next streams end as soon as they have begun.
    ailing: u32,
    /// How many events the next stream repeats that is resumed.
    repeats: u32,
    /// How many times it did.
    pub(super) repeated: u32,
    subscriptions: BTreeMap<u32, Subscription>,
    subscribed: u32,
}

struct Worker {
    status: WorkerStatus,
    intent: Intent,
    profile: Profile,
    items: u64,
    last_event_id: u64,
    ended_by: u64,
    /// What happened in each life of the runtime.
    lives: Vec<Vec<Told>>,
}

/// An event that happened.
struct Told {
    frame: Bytes,
    payload: Bytes,
}

struct Subscription {
    worker: usize,
    opening: VecDeque<Bytes>,
    /// How many events are behind it.
    next: u32,
    ended: bool,
}

impl Scripted {
    pub(super) fn new(
        index: usize,
        runtime_id: String,
        honours_keys: bool,
        backlog: u32,
        workers: usize,
    ) -> Self {
        let mut runtime = Self {
            index,
            runtime_id,
            honours_keys,
            backlog,
            first_workers: workers,
            life: 0,
            workers: Vec::new(),
            keys: BTreeMap::new(),
            running: true,
            busy: false,
            events: 1,
            ailing: 0,
            repeats: 0,
            repeated: 0,
            subscriptions: BTreeMap::new(),
            subscribed: 0,
        };
        for _ in 0..workers {
            runtime.begin(Intent::Assistant { purpose: None }, Profile::default());
        }
        runtime
    }

    // ---- What happens to it.

    pub(super) fn set_busy(&mut self, busy: bool) {
        self.busy = busy;
    }

    pub(super) fn stop(&mut self) {
        self.running = false;
    }

    pub(super) fn ail(&mut self, streams: u32) {
        self.ailing = streams;
    }

    pub(super) fn repeat(&mut self, events: u32) {
        self.repeats = events;
    }

    /// It starts over. Subscriptions are gone in any case.
    pub(super) fn restart(&mut self, keeps_state: bool, recreates: bool, ledger: &mut Ledger) {
        self.subscriptions.clear();
        self.busy = false;
        self.running = true;
        if keeps_state {
            return;
        }
        ledger.lost(self.index);
        self.life += 1;
        self.keys.clear();
        let first = if recreates { self.first_workers } else { 0 };
        for (number, worker) in self.workers.iter_mut().enumerate() {
            worker.lives.resize_with(self.life as usize + usize::from(number < first), Vec::new);
            worker.status = WorkerStatus::Running;
            worker.items = 0;
            worker.intent = Intent::Assistant { purpose: None };
            worker.profile = Profile::default();
        }
    }

    /// Something happens in a worker.
    pub(super) fn publish(&mut self, worker: usize, kind: &str, text: &str) {
        let Some(at) = self.head(worker) else { return };
        let at = At { index: at.index + 1, ..at };
        self.events += 1 + self.events % 3;
        let cursor = cursor(worker, at);
        let name = worker_name(worker);
        let before = format!(
            r#"{{"kind":"event","envelope":{{"cursor":"{cursor}","event_id":"{cursor}","worker_id":"{name}","payload":"#
        );
        let payload =
            format!(r#"{{"event":"{kind}","data":{{"text":"{text}","place":[{},{}]}}}}"#, at.life, at.index);
        let payload_at = before.len()..before.len() + payload.len();
        let frame = Bytes::from(before + &payload + "}}");
        let told = Told { payload: frame.slice(payload_at), frame };
        let worker = &mut self.workers[worker];
        worker.last_event_id = self.events;
        if let Some(life) = worker.lives.last_mut() {
            life.push(told);
        }
    }

    // ---- What it knows.

    /// Where a worker is, if it is there.
    pub(super) fn head(&self, worker: usize) -> Option<At> {
        let lives = &self.workers.get(worker)?.lives;
        let there = lives.len() == self.life as usize + 1;
        there.then(|| At { life: self.life, index: lives.last().map_or(0, |life| life.len() as u32) })
    }

    /// Whether everything after a place can still be replayed.
    pub(super) fn has(&self, worker: usize, at: At) -> bool {
        self.head(worker).is_some_and(|head| {
            at.life == head.life && at.index <= head.index && head.index - at.index <= self.backlog
        })
    }

    /// What an event was about, in its own words.
    pub(super) fn payload(&self, worker: usize, at: At) -> Option<Bytes> {
        let life = self.workers.get(worker)?.lives.get(at.life as usize)?;
        Some(life.get(at.index.checked_sub(1)? as usize)?.payload.clone())
    }

    // ---- What it answers.

    pub(super) fn handle(&mut self, request: &Request<Bytes>, ledger: &mut Ledger) -> Response<Bytes> {
        match self.answer(request, ledger) {
            Ok(reply) => reply.response(),
            Err(refusal) => refusal.response(),
        }
    }

    fn answer(&mut self, request: &Request<Bytes>, ledger: &mut Ledger) -> Result<Reply, CommandError> {
        Ok(match Command::from_request(request)? {
            Command::Runtime => self.summary(),
            Command::Workers(_) => self.list(),
            Command::Worker(id) => self.detail(self.find(id.as_str())?),
            Command::Create { worker, key } => {
                self.once(request, key, |runtime| runtime.create(*worker, ledger))?
            }
            Command::Input { worker_id, input, key } => {
                self.once(request, key, |runtime| runtime.input(worker_id.as_str(), &input, ledger))?
            }
            Command::Stop { worker_id, reason } => {
                let command = reason.reason.as_deref().and_then(named);
                self.end(worker_id.as_str(), WorkerStatus::Stopped, command, ledger)?
            }
            Command::Cancel { worker_id, reason } => {
                let command = reason.reason.as_deref().and_then(named);
                self.end(worker_id.as_str(), WorkerStatus::Cancelled, command, ledger)?
            }
            Command::Transcript { worker_id, start, limit, .. } => {
                let worker = self.find(worker_id.as_str())?;
                Reply::Transcript(Transcript {
                    worker_ref: self.wire_ref(worker),
                    start: start.unwrap_or(0),
                    limit: limit.unwrap_or(MAX_PAGE),
                    total_items: self.workers[worker].items,
                    items: Vec::new(),
                    next_start: None,
                    left_out: 0,
                })
            }
            // It is of those that have nothing beyond v1.
            _ => return Err(CommandError::UnknownRoute),
        })
    }

    /// Does something once for each key, where it honours keys at all.
    fn once(
        &mut self,
        request: &Request<Bytes>,
        key: Option<IdempotencyKey>,
        deed: impl FnOnce(&mut Self) -> Result<Reply, Fault>,
    ) -> Result<Reply, Fault> {
        let key = key.filter(|_| self.honours_keys).map(|key| format!("{key:?}"));
        if let Some((body, reply)) = key.as_ref().and_then(|key| self.keys.get(key)) {
            return match body == request.body() {
                true => Ok(reply.clone()),
                false => {
                    Err(Fault::new(FaultCode::IdempotencyConflict, "the key was used for something else"))
                }
            };
        }
        let reply = deed(self)?;
        if let Some(key) = key {
            self.keys.insert(key, (request.body().clone(), reply.clone()));
        }
        Ok(reply)
    }

    fn create(&mut self, worker: CreateWorker, ledger: &mut Ledger) -> Result<Reply, Fault> {
        self.refuse_when_stopped()?;
        if let Intent::Task { objective } = &worker.intent
            && let Some(command) = named(objective)
        {
            ledger.applied(self.index, command);
        }
        let number = self.begin(worker.intent, worker.profile);
        Ok(self.detail(number))
    }

    fn input(&mut self, name: &str, input: &Input, ledger: &mut Ledger) -> Result<Reply, Fault> {
        self.refuse_when_stopped()?;
        let worker = self.find(name)?;
        if self.workers[worker].status != WorkerStatus::Running {
            return Err(Fault::new(FaultCode::InvalidRequest, "the worker is not running"));
        }
        if self.busy {
            return Err(Fault::new(FaultCode::WorkerBusy, "the worker is busy"));
        }
        if let Some(command) = named(&input.content) {
            ledger.applied(self.index, command);
        }
        self.workers[worker].items += 1;
        self.publish(worker, "user_message", &input.content);
        Ok(Reply::Input(InputAck {
            worker_ref: self.wire_ref(worker),
            status: WorkerStatus::Running,
            transcript_sequence: self.workers[worker].items,
            event_id: self.events,
        }))
    }

    fn end(
        &mut self,
        name: &str,
        status: WorkerStatus,
        command: Option<CommandId>,
        ledger: &mut Ledger,
    ) -> Result<Reply, Fault> {
        let worker = self.find(name)?;
        if let Some(command) = command {
            ledger.applied(self.index, command);
        }
        if self.workers[worker].status == WorkerStatus::Running {
            self.publish(worker, "status", "paused");
            self.workers[worker].ended_by = self.events;
            self.workers[worker].status = status;
        }
        let Worker { status, ended_by, .. } = self.workers[worker];
        Ok(Reply::Ack(Ack { worker_ref: self.wire_ref(worker), status, event_id: ended_by }))
    }

    // ---- Its streams.

    /// Opens a stream, or answers why not.
    #[expect(clippy::result_large_err, reason = "a response is what it is, and is moved once")]
    pub(super) fn observe(&mut self, request: &Request<()>) -> Result<u32, Response<Bytes>> {
        let observe = match Observe::from_request(request) {
            Some(observe) => observe.map_err(|refusal| refusal.response())?,
            None => return Err(empty(StatusCode::NOT_FOUND)),
        };
        let worker = self.find(observe.worker_id.as_str()).map_err(|fault| fault.response())?;
        let subscription = self.subscribe(worker, observe.cursor.as_deref());
        self.subscribed += 1;
        self.subscriptions.insert(self.subscribed, subscription);
        Ok(self.subscribed)
    }

    fn subscribe(&mut self, worker: usize, cursor: Option<&str>) -> Subscription {
        let head = self.head(worker).unwrap_or(At { life: self.life, index: 0 });
        let mut subscription =
            Subscription { worker, opening: VecDeque::new(), next: head.index, ended: false };
        let ailing = self.ailing;
        self.ailing = ailing.saturating_sub(1);
        if ailing % 2 == 1 {
            subscription.end("unavailable");
            return subscription;
        }
        let place = match cursor {
            None => head,
            Some(cursor) => match place(cursor).filter(|(of, _)| *of == worker) {
                Some((_, at)) => at,
                None => {
                    subscription.end("cursor_malformed");
                    return subscription;
                }
            },
        };
        subscription.opening.push_back(snapshot(worker, place));
        if !self.has(worker, place) {
            subscription.end("cursor_unknown_or_expired");
            return subscription;
        }
        if ailing > 0 {
            subscription.end("serialize_failed");
            return subscription;
        }
        if cursor.is_some() {
            subscription.next = place.index;
            // A runtime that subscribes before it reads the backlog sends the end of it twice.
            let repeats = std::mem::take(&mut self.repeats).min(head.index - place.index);
            if let (true, Some(life)) = (repeats > 0, self.workers[worker].lives.last()) {
                let frames = |from: u32| life[from as usize..].iter().map(|told| told.frame.clone());
                subscription.opening.extend(frames(place.index));
                subscription.opening.extend(frames(head.index - repeats));
                subscription.next = head.index;
                self.repeated += 1;
            }
        }
        subscription
    }

    /// The next frame of a subscription, if there is one yet.
    pub(super) fn read(&mut self, subscription: u32) -> Option<Bytes> {
        let reader = self.subscriptions.get_mut(&subscription)?;
        if let Some(frame) = reader.opening.pop_front() {
            return Some(frame);
        }
        let life = self.workers.get(reader.worker)?.lives.last().filter(|_| !reader.ended)?;
        let told = life.get(reader.next as usize)?;
        if life.len() as u32 - reader.next > self.backlog {
            reader.end("cursor_expired");
            return reader.opening.pop_front();
        }
        reader.next += 1;
        Some(told.frame.clone())
    }

    /// Whether a subscription has come to its end, all of which has been read.
    pub(super) fn has_ended(&self, subscription: u32) -> bool {
        let reader = self.subscriptions.get(&subscription);
        reader.is_none_or(|reader| reader.ended && reader.opening.is_empty())
    }

    /// Ends a subscription with a diagnostic.
    pub(super) fn end_stream(&mut self, subscription: u32, code: &str) {
        if let Some(reader) = self.subscriptions.get_mut(&subscription).filter(|reader| !reader.ended) {
            reader.end(code);
        }
    }

    pub(super) fn unsubscribe(&mut self, subscription: u32) {
        self.subscriptions.remove(&subscription);
    }

    // ---- What it is made of.

    fn begin(&mut self, intent: Intent, profile: Profile) -> usize {
        let life = self.life as usize;
        // In a life of its own the runtime counts its workers anew.
        let absent = self.workers.iter().position(|worker| worker.lives.len() <= life);
        let number = absent.unwrap_or_else(|| {
            self.workers.push(Worker {
                status: WorkerStatus::Running,
                intent: intent.clone(),
                profile: profile.clone(),
                items: 0,
                last_event_id: 0,
                ended_by: 0,
                lives: Vec::new(),
            });
            self.workers.len() - 1
        });
        let worker = &mut self.workers[number];
        worker.lives.resize_with(life + 1, Vec::new);
        (worker.intent, worker.profile) = (intent, profile);
        number
    }

    fn find(&self, name: &str) -> Result<usize, Fault> {
        let known = worker_number(name).filter(|worker| self.head(*worker).is_some());
        known.ok_or_else(|| Fault::new(FaultCode::WorkerNotFound, format!("there is no worker {name}")))
    }

    fn refuse_when_stopped(&self) -> Result<(), Fault> {
        match self.running {
            true => Ok(()),
            false => Err(Fault::new(FaultCode::RuntimeStopped, "the runtime is stopped")),
        }
    }

    fn wire_ref(&self, worker: usize) -> WireRef {
        WireRef { runtime_id: self.runtime_id.clone(), worker_id: worker_name(worker) }
    }

    fn summary(&self) -> Reply {
        let there = (0..self.workers.len()).filter(|worker| self.head(*worker).is_some()).count() as u64;
        Reply::Runtime(RuntimeSummary {
            runtime_id: self.runtime_id.clone(),
            display_name: None,
            backend: "memory".into(),
            status: if self.running { RuntimeStatus::Running } else { RuntimeStatus::Stopped },
            worker_count: there,
            active_worker_count: there,
            stopped_worker_count: 0,
            cancelled_worker_count: 0,
            diagnostic_count: 0,
            limits: RuntimeLimits { max_transcript_projection_items: MAX_PAGE, max_event_batch_items: 256 },
            features: self.honours_keys.then(|| Feature::Idempotency.name().to_owned()).into_iter().collect(),
            incarnation: self.honours_keys.then(|| format!("life {}", self.life)),
            diagnostics: Vec::new(),
        })
    }

    fn list(&self) -> Reply {
        let there = (0..self.workers.len()).filter(|worker| self.head(*worker).is_some());
        let summary = |number: usize| {
            let worker = &self.workers[number];
            WorkerSummary {
                worker_ref: self.wire_ref(number),
                runtime_id: self.runtime_id.clone(),
                worker_id: worker_name(number),
                status: worker.status,
                intent: worker.intent.clone(),
                profile: worker.profile.clone(),
                requested_capability_count: 0,
                has_config_bundle: false,
                transcript_len: worker.items,
                last_event_id: worker.last_event_id,
                facts: WorkerFacts::default(),
                truncated: false,
            }
        };
        Reply::Workers(there.map(summary).collect::<Vec<_>>().into())
    }

    fn detail(&self, number: usize) -> Reply {
        let worker = &self.workers[number];
        Reply::Worker(Box::new(WorkerDetail {
            worker_ref: self.wire_ref(number),
            runtime_id: self.runtime_id.clone(),
            worker_id: worker_name(number),
            status: worker.status,
            intent: worker.intent.clone(),
            profile: worker.profile.clone(),
            config_bundle: None,
            requested_capabilities: Vec::new(),
            workspace_refs: Vec::new(),
            mount_refs: Vec::new(),
            transcript_len: worker.items,
            last_event_id: worker.last_event_id,
            facts: WorkerFacts::default(),
        }))
    }
}

impl Subscription {
    fn end(&mut self, code: &str) {
        self.ended = true;
        self.opening.push_back(diagnostic(code));
    }
}

/// The place that a cursor stands for, and whose it is.
pub(super) fn place(cursor: &str) -> Option<(usize, At)> {
    let number = u64::from_str_radix(cursor.strip_prefix("wo_")?, 16).ok()?.wrapping_mul(UNSCRAMBLE);
    let at = At { life: (number >> 40) as u32, index: (number & 0xFFFF_FFFF) as u32 };
    Some(((number >> 32 & 0xFF) as usize, at))
}

fn cursor(worker: usize, at: At) -> String {
    let number = u64::from(at.life) << 40 | (worker as u64) << 32 | u64::from(at.index);
    format!("wo_{:016x}", number.wrapping_mul(SCRAMBLE))
}

/// What a snapshot of a place says.
pub(super) fn snapshot_payload(at: At) -> String {
    format!(r#"{{"event":"snapshot","data":{{"entries":[],"place":[{},{}]}}}}"#, at.life, at.index)
}

fn snapshot(worker: usize, at: At) -> Bytes {
    let (cursor, name, payload) = (cursor(worker, at), worker_name(worker), snapshot_payload(at));
    format!(r#"{{"kind":"event","envelope":{{"cursor":"{cursor}","event_id":"{SNAPSHOT_PREFIX}{cursor}","worker_id":"{name}","payload":{payload}}}}}"#).into()
}

fn diagnostic(code: &str) -> Bytes {
    format!(r#"{{"kind":"diagnostic","diagnostic":{{"code":"runtime.{code}","message":"{code}"}}}}"#).into()
}

/// A response without a body.
pub(super) fn empty(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_LENGTH, header::HeaderValue::from_static("0"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_back() {
        assert_eq!(SCRAMBLE.wrapping_mul(UNSCRAMBLE), 1);
        for at in [At { life: 0, index: 0 }, At { life: 3, index: 77 }] {
            assert_eq!(place(&cursor(2, at)), Some((2, at)));
        }
        assert_eq!(place("none"), None);
    }
}
