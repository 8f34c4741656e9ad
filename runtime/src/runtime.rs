//! The runtime itself: v1 as a function, over the workers that there are.

mod answer;
mod observe;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{Request, Response, header};
use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::{Command, CommandError, Fault, FaultCode, Observe, Reply, WorkerStatus};
use sekisho_core::transport::{Frames, InProcess};

use crate::config::{RuntimeConfig, StartError, check_profiles};
use crate::cursor::{Cursor, epoch_of};
use crate::event::{Activity, ErrorCode, Event, NumberedEvent, RunResult};
use crate::frame;
use crate::idempotency::{Answers, Fingerprints};
use crate::store::{Change, Entry, MemoryStore, Role, Store, StoreError};
use crate::stream::{Stream, Subscription, Subscriptions};
use crate::worker::{
    Attended, End, Fragment, Handle as WorkerHandle, Launch, NotStarted, ProgramSpec, Source, Step,
    Supervisor, Unkept, attend,
};

pub use answer::{BUILTIN_ECHO, MAX_CREATE_BYTES, MAX_TRANSCRIPT_ITEMS};

/// How many workers a runtime has at most, those that have ended included.
pub const MAX_WORKERS: u64 = 4096;

/// How many processes of workers there are at most, those that were told to end and have not yet included. Each
/// costs a thread and six file descriptors.
pub const MAX_PROCESSES: usize = 128;

/// How long [`Runtime::shutdown`] waits for processes that were killed.
const KILL_WAIT: Duration = Duration::from_secs(5);

/// How long dropping the last handle waits for processes that were killed.
const DROP_WAIT: Duration = Duration::from_secs(2);

/// The stack of a worker's thread, in bytes. The largest thing on it is one buffer for reading.
const STACK_SIZE: usize = 128 * 1024;

/// The id of the event that is the runtime's own start, which no stream shows.
const START_EVENT_ID: u64 = 1;

/// A runtime: workers, what they said, and the function that answers v1. Cheap to clone.
///
/// When the last clone is dropped, the workers that still run are killed.
#[derive(Clone)]
pub struct Runtime {
    handle: Arc<Handle>,
}

/// What the clones share, and the workers' threads do not.
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.end_all(WorkerHandle::cancel, DROP_WAIT);
    }
}

struct Shared {
    config: RuntimeConfig,
    commands: Vec<(String, Arc<[String]>)>,
    hidden_variables: Arc<[String]>,
    incarnation: String,
    epoch: String,
    store: Box<dyn Store>,
    supervisor: Arc<Supervisor>,
    fingerprints: Fingerprints,
    subscriptions: Subscriptions,
    state: Mutex<State>,
    /// Told when a worker's thread is done.
    done: Condvar,
}

/// What changes, beside the store.
struct State {
    running: bool,
    last_worker: u64,
    last_event_id: u64,
    /// The workers that have a thread. One that runs and has none needs no process.
    threads: BTreeMap<WorkerId, Arc<WorkerHandle>>,
    /// Of every worker.
    streams: BTreeMap<WorkerId, Arc<Stream>>,
    answers: Answers,
}

/// The state, locked. Whom an event wakes that was published under the lock is woken when it has been released:
/// whoever is woken may well ask the runtime something at once.
struct Locked<'a> {
    state: MutexGuard<'a, State>,
    // Fields are dropped in this order.
    woken: Woken,
}

impl<'a> Locked<'a> {
    fn new(state: MutexGuard<'a, State>) -> Self {
        Self { state, woken: Woken::default() }
    }
}

impl Deref for Locked<'_> {
    type Target = State;
    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

/// Wakes when it is dropped.
#[derive(Default)]
struct Woken(Vec<Waker>);

impl Drop for Woken {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

impl Runtime {
    /// A runtime without workers. Nothing is started before the first worker that needs a process.
    pub fn start(config: RuntimeConfig) -> Result<Self, StartError> {
        check_profiles(&config.profiles)?;
        let commands =
            config.profiles.iter().map(|profile| (profile.name.clone(), profile.command.clone().into()));
        let incarnation = config.incarnation.map_or_else(incarnation, |number| format!("{number:032x}"));
        let shared = Shared {
            commands: commands.collect(),
            hidden_variables: config.hidden_variables.clone().into(),
            epoch: epoch_of(&incarnation),
            incarnation,
            store: Box::new(MemoryStore::default()),
            supervisor: Arc::new(Supervisor::new(config.launcher.clone())),
            fingerprints: Fingerprints::default(),
            subscriptions: Subscriptions::default(),
            state: Mutex::new(State {
                running: true,
                last_worker: 0,
                last_event_id: START_EVENT_ID,
                threads: BTreeMap::new(),
                streams: BTreeMap::new(),
                answers: Answers::default(),
            }),
            done: Condvar::new(),
            config,
        };
        Ok(Self { handle: Arc::new(Handle { shared: Arc::new(shared) }) })
    }

    /// Answers one request of v1.
    ///
    /// It never waits for a worker, and may be called from an async task. A `HEAD` is answered like a `GET`:
    /// whoever puts the response on a wire leaves its body out, as hyper does by itself.
    pub fn handle(&self, request: &Request<Bytes>) -> Response<Bytes> {
        match self.answer(request) {
            Ok(reply) => reply.response(),
            Err(refusal) => refusal.response(),
        }
    }

    /// Follows one worker, where the request is `GET /v1/workers/{worker_id}/events/ws` (RUNTIME-API.md,
    /// "Observation"); otherwise, or where it may not, there is the response that the request gets instead. That the
    /// request asks for a WebSocket is not looked at: in one process there is none.
    ///
    /// The first frame is a snapshot of the worker: of the present, or of the place of `cursor`. What has happened
    /// since follows, and then what happens. What is wrong with a cursor, or ends the stream, is said in a diagnostic
    /// as the last frame. Beyond [`MAX_SUBSCRIPTIONS`](crate::MAX_SUBSCRIPTIONS) the response is a 503.
    #[expect(clippy::result_large_err, reason = "a response is what `handle` returns, too")]
    pub fn observe(&self, request: &Request<Bytes>) -> Result<Subscription, Response<Bytes>> {
        let Some(observe) = Observe::from_request(request) else { return Err(self.handle(request)) };
        let observe = self.admit(request).map_err(CommandError::from).and(observe);
        self.handle.shared.subscribe(&observe.map_err(|refusal| refusal.response())?)
    }

    fn answer(&self, request: &Request<Bytes>) -> Result<Reply, CommandError> {
        self.admit(request)?;
        if let Some(observe) = Observe::from_request(request) {
            observe?;
            return Err(answer::invalid("an upgrade to websocket is needed").into());
        }
        let shared = &self.handle.shared;
        let reply = match Command::from_request(request)? {
            Command::Runtime => shared.summary(),
            Command::Workers => shared.workers(),
            Command::Worker(worker_id) => shared.worker(&worker_id),
            Command::Create { worker, key } => shared.create(request, *worker, key),
            Command::Input { worker_id, input, key } => shared.input(request, &worker_id, input, key),
            Command::Stop { worker_id, .. } => shared.end(&worker_id, WorkerStatus::Stopped),
            Command::Cancel { worker_id, .. } => shared.end(&worker_id, WorkerStatus::Cancelled),
            Command::Transcript { worker_id, start, limit } => shared.transcript(&worker_id, start, limit),
        };
        Ok(reply?)
    }

    /// Whether whoever sent this may ask anything at all.
    fn admit(&self, request: &Request<Bytes>) -> Result<(), Fault> {
        match &self.handle.shared.config.token {
            Some(token) if !token.admits(request.headers().get(header::AUTHORIZATION)) => {
                let message = "missing or invalid local Runtime bearer token";
                Err(Fault::new(FaultCode::Unauthorized, message))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Stops all workers, and returns when their processes are gone: at the latest when the time of grace and a
    /// few seconds for the kernel have passed. From its beginning create and input are refused as
    /// `runtime_stopped`; reading goes on. At its end the subscriptions end, too.
    pub fn shutdown(&self) {
        let shared = &self.handle.shared;
        let grace = shared.config.stop_grace;
        shared.end_all(|worker| worker.stop(grace), grace.saturating_add(KILL_WAIT));
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Runtime").field(&self.handle.shared.config.runtime_id).finish()
    }
}

/// A text that no other start comes up with: it tells clients that ids and places of before mean nothing now.
fn incarnation() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let half = || RandomState::new().hash_one((std::process::id(), now));
    format!("{:016x}{:016x}", half(), half())
}

fn store_fault(error: StoreError) -> Fault {
    Fault::new(error.code(), error.to_string())
}

/// Where an event was put.
struct Published {
    event_id: u64,
    transcript_len: u64,
}

impl Shared {
    fn lock(&self) -> Result<Locked<'_>, StoreError> {
        self.state.lock().map(Locked::new).map_err(|_| StoreError::Poisoned)
    }

    /// For what has to work in whatever state things are.
    fn lock_anyway(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one way of an event: it gets its id, goes to the store with what it changes, and to those who follow the
    /// worker. Under the lock, so that ids only grow within a stream.
    fn publish(
        &self,
        locked: &mut Locked<'_>,
        worker_id: &WorkerId,
        event: Event,
        change: Option<Change>,
    ) -> Result<Published, StoreError> {
        let event_id = locked.last_event_id + 1;
        locked.last_event_id = event_id;
        let cursor = Cursor { epoch: &self.epoch, place: event_id }.to_string();
        let frame = frame::event(&cursor, worker_id, &event);
        let entry = Entry { event: NumberedEvent { event_id, event }, change };
        let transcript_len = self.store.append(worker_id, entry)?;
        let Locked { state, woken } = locked;
        let stream = state.streams.entry(worker_id.clone()).or_default();
        woken.0.extend(stream.push(event_id, frame).into_values());
        Ok(Published { event_id, transcript_len })
    }

    fn not_found(&self, worker_id: &WorkerId) -> Fault {
        let message = format!("worker {worker_id} was not found in runtime {}", self.config.runtime_id);
        Fault::new(FaultCode::WorkerNotFound, message)
    }

    /// Starts the thread of a worker that is on the list of threads already.
    fn launch(self: &Arc<Self>, worker_id: &WorkerId, command: Arc<[String]>, worker: Arc<WorkerHandle>) {
        let program =
            ProgramSpec { hidden_variables: Arc::clone(&self.hidden_variables), ..ProgramSpec::new(command) };
        let launch = Launch { program, supervisor: Arc::clone(&self.supervisor) };
        let place = Place { shared: Arc::clone(self), worker_id: worker_id.clone(), end: End::Unkept };
        let thread = thread::Builder::new().name(worker_id.to_string()).stack_size(STACK_SIZE);
        // Where there is no thread the place is dropped with what should have run in it, and that is its end.
        let _ = thread.spawn(move || {
            let end = attend(&launch, &worker, &place);
            place.give_up(end);
        });
    }

    /// Takes note of a worker's end, unless it had been told to end: then it is known.
    fn ended(&self, worker_id: &WorkerId, end: End) -> Result<(), StoreError> {
        let mut state = self.lock()?;
        state.threads.remove(worker_id);
        let standing = self.store.standing(worker_id)?;
        if standing.is_some_and(|standing| standing.status == WorkerStatus::Running) {
            let stopped = Some(Change::Ended(WorkerStatus::Stopped));
            self.publish(&mut state, worker_id, event_of(end), stopped)?;
            self.publish(&mut state, worker_id, Event::Status { status: Activity::Paused }, None)?;
        }
        Ok(())
    }

    /// Ends the runtime and all of its workers, and waits until they are gone, but no longer than this.
    fn end_all(&self, end: impl Fn(&WorkerHandle), at_most: Duration) {
        let mut locked = Locked::new(self.lock_anyway());
        locked.running = false;
        for worker in self.store.workers().unwrap_or_default() {
            if worker.standing.status == WorkerStatus::Running {
                let change = Some(Change::Ended(WorkerStatus::Stopped));
                let event = Event::Status { status: Activity::Paused };
                let _ = self.publish(&mut locked, &worker.worker_id, event, change);
            }
        }
        locked.threads.values().for_each(|worker| end(worker));
        drop(locked);
        let some_left = |state: &mut State| !state.threads.is_empty();
        drop(self.done.wait_timeout_while(self.lock_anyway(), at_most, some_left));
        let _ = self.store.commit();
        let streams: Vec<_> = self.lock_anyway().streams.values().cloned().collect();
        for stream in streams {
            stream.close();
        }
    }
}

/// How a stream says that its worker ended.
fn event_of(end: End) -> Event {
    use std::os::unix::process::ExitStatusExt;
    let failure = |message: String| Event::failure(ErrorCode::ProviderError, message);
    match end {
        End::Exited(status) if status.success() => Event::RunEnd { result: RunResult::Finished },
        End::Exited(status) => match (status.code(), status.signal()) {
            (Some(code), _) => failure(format!("the process ended with exit status {code}")),
            (None, Some(signal)) => failure(format!("the process was ended by signal {signal}")),
            (None, None) => failure("the process ended".to_owned()),
        },
        End::NeverWanted => failure("the worker was told to end before it was started".to_owned()),
        End::NotStarted(refusal) => failure(not_started(refusal)),
        End::HelperLost => {
            failure("the process was killed, since one of the runtime's helper processes was".to_owned())
        }
        End::Unkept => Event::failure(ErrorCode::Internal, "the runtime could not keep the worker"),
    }
}

/// Why a program was not started, in words: what failed and the system's reason, but neither a command nor a path.
fn not_started(NotStarted { step, errno }: NotStarted) -> String {
    let step = match step {
        Step::Helper => "a helper process could not start it",
        Step::Terminal => "it could not be given its terminal",
        Step::User => "it could not be given its user",
        Step::Directory => "its directory could not be entered",
        Step::Program => "its program could not be executed",
    };
    let reason = io::Error::from_raw_os_error(errno).to_string();
    // The number of the error means something else on every system.
    match reason.split_once(" (os error").filter(|_| errno != 0) {
        Some((reason, _)) => format!("the process could not start: {step}: {reason}"),
        None => format!("the process could not start: {step}"),
    }
}

/// A worker's place on the list of threads. Dropping it gives the place up, however the thread came to its end.
struct Place {
    shared: Arc<Shared>,
    worker_id: WorkerId,
    end: End,
}

impl Place {
    fn keep(&self, event: Event, change: Option<Change>) -> Result<(), Unkept> {
        let kept = self
            .shared
            .lock()
            .and_then(|mut state| self.shared.publish(&mut state, &self.worker_id, event, change));
        kept.map(drop).map_err(|_| Unkept)
    }

    fn give_up(mut self, end: End) {
        self.end = end;
    }
}

impl InProcess for Runtime {
    fn handle(&self, request: &Request<Bytes>) -> Response<Bytes> {
        self.handle(request)
    }

    fn observe(&self, request: &Request<Bytes>) -> Result<Box<dyn Frames>, Response<Bytes>> {
        Ok(Box::new(self.observe(request)?))
    }
}

impl Attended for Place {
    fn started(&self, _pid: i32) {}

    fn said(&self, source: Source, fragment: &Fragment) -> Result<(), Unkept> {
        for line in fragment.lines() {
            let text: Arc<str> = line.text.into();
            match source {
                Source::Output => {
                    let said = Change::Said(Role::Assistant, Arc::clone(&text));
                    self.keep(Event::TextDelta { text }, Some(said))?;
                }
                Source::Error => self.keep(Event::stderr(text), None)?,
            }
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        let stream = self.shared.lock_anyway().streams.get(&self.worker_id).cloned();
        stream.is_none_or(|stream| stream.has_room(Instant::now()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.shared.ended(&self.worker_id, self.end).is_err() {
            self.shared.lock_anyway().threads.remove(&self.worker_id);
        }
        self.shared.done.notify_all();
    }
}

#[cfg(test)]
mod tests;
