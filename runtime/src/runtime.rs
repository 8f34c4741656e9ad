//! The runtime itself: v1 as a function, over the workers that there are.

mod answer;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response, header};
use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::{Command, CommandError, Fault, FaultCode, Reply, WorkerStatus};

use crate::config::{RuntimeConfig, StartError, check_profiles};
use crate::event::{Activity, ErrorCode, Event, NumberedEvent, RunResult};
use crate::guardian::Guardian;
use crate::idempotency::{Answers, Fingerprints};
use crate::store::{Change, Entry, MemoryStore, Role, Store, StoreError};
use crate::worker::{Attended, End, Launch, Mailbox, Order, Unkept, attend};

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
        self.shared.end_all(Order::Kill, DROP_WAIT);
    }
}

struct Shared {
    config: RuntimeConfig,
    commands: Vec<(String, Arc<[String]>)>,
    hidden_variables: Arc<[String]>,
    incarnation: String,
    store: Box<dyn Store>,
    guardian: Arc<Guardian>,
    fingerprints: Fingerprints,
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
    threads: BTreeMap<WorkerId, Arc<Mailbox>>,
    answers: Answers,
}

impl Runtime {
    /// A runtime without workers. Nothing is started before the first worker that needs a process.
    pub fn start(config: RuntimeConfig) -> Result<Self, StartError> {
        check_profiles(&config.profiles)?;
        let commands =
            config.profiles.iter().map(|profile| (profile.name.clone(), profile.command.clone().into()));
        let shared = Shared {
            commands: commands.collect(),
            hidden_variables: config.hidden_variables.clone().into(),
            incarnation: incarnation(),
            store: Box::new(MemoryStore::default()),
            guardian: Arc::default(),
            fingerprints: Fingerprints::default(),
            state: Mutex::new(State {
                running: true,
                last_worker: 0,
                last_event_id: START_EVENT_ID,
                threads: BTreeMap::new(),
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

    fn answer(&self, request: &Request<Bytes>) -> Result<Reply, CommandError> {
        let shared = &self.handle.shared;
        if let Some(token) = &shared.config.token
            && !token.admits(request.headers().get(header::AUTHORIZATION))
        {
            let message = "missing or invalid local Runtime bearer token";
            return Err(Fault::new(FaultCode::Unauthorized, message).into());
        }
        let reply = match Command::from_request(request)? {
            Command::Runtime => shared.summary(),
            Command::Workers => shared.workers(),
            Command::Worker(worker_id) => shared.worker(&worker_id),
            Command::Create { worker, key } => shared.create(request, worker, key),
            Command::Input { worker_id, input, key } => shared.input(request, &worker_id, input, key),
            Command::Stop { worker_id, .. } => shared.end(&worker_id, Order::Stop),
            Command::Cancel { worker_id, .. } => shared.end(&worker_id, Order::Kill),
            Command::Transcript { worker_id, start, limit } => shared.transcript(&worker_id, start, limit),
        };
        Ok(reply?)
    }

    /// The events of a worker that are kept, oldest first: at most [`MAX_EVENTS`](crate::MAX_EVENTS).
    pub fn events(&self, worker_id: &WorkerId) -> Result<Vec<NumberedEvent>, Fault> {
        let shared = &self.handle.shared;
        let events = shared.store.events(worker_id).map_err(store_fault)?;
        events.ok_or_else(|| shared.not_found(worker_id))
    }

    /// Stops all workers, and returns when their processes are gone: at the latest when the time of grace and a
    /// few seconds for the kernel have passed. From its beginning create and input are refused as
    /// `runtime_stopped`; reading goes on.
    pub fn shutdown(&self) {
        let shared = &self.handle.shared;
        shared.end_all(Order::Stop, shared.config.stop_grace.saturating_add(KILL_WAIT));
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
    fn lock(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        self.state.lock().map_err(|_| StoreError::Poisoned)
    }

    /// The one way of an event: it gets its id, and goes to the store with what it changes. Under the lock, so
    /// that ids only grow within a stream.
    fn publish(
        &self,
        state: &mut State,
        worker_id: &WorkerId,
        event: Event,
        change: Option<Change>,
    ) -> Result<Published, StoreError> {
        let event_id = state.last_event_id + 1;
        state.last_event_id = event_id;
        let entry = Entry { event: NumberedEvent { event_id, event }, change };
        let transcript_len = self.store.append(worker_id, entry)?;
        Ok(Published { event_id, transcript_len })
    }

    fn not_found(&self, worker_id: &WorkerId) -> Fault {
        let message = format!("worker {worker_id} was not found in runtime {}", self.config.runtime_id);
        Fault::new(FaultCode::WorkerNotFound, message)
    }

    /// Starts the thread of a worker that is on the list of threads already.
    fn launch(self: &Arc<Self>, worker_id: &WorkerId, command: Arc<[String]>, mailbox: Arc<Mailbox>) {
        let launch = Launch {
            command,
            hidden_variables: Arc::clone(&self.hidden_variables),
            guardian: Arc::clone(&self.guardian),
            stop_grace: self.config.stop_grace,
        };
        let place = Place { shared: Arc::clone(self), worker_id: worker_id.clone(), end: End::Unkept };
        let thread = thread::Builder::new().name(worker_id.to_string()).stack_size(STACK_SIZE);
        // Where there is no thread the place is dropped with what should have run in it, and that is its end.
        let _ = thread.spawn(move || {
            let end = attend(&launch, &mailbox, &place);
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
    fn end_all(&self, order: Order, at_most: Duration) {
        // This has to work in whatever state things are.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.running = false;
        for worker in self.store.workers().unwrap_or_default() {
            if worker.standing.status == WorkerStatus::Running {
                let change = Some(Change::Ended(WorkerStatus::Stopped));
                let event = Event::Status { status: Activity::Paused };
                let _ = self.publish(&mut state, &worker.worker_id, event, change);
            }
        }
        for mailbox in state.threads.values() {
            mailbox.order(order);
        }
        let some_left = |state: &mut State| !state.threads.is_empty();
        drop(self.done.wait_timeout_while(state, at_most, some_left));
        let _ = self.store.commit();
    }
}

/// How a stream says that its worker ended.
fn event_of(end: End) -> Event {
    use std::os::unix::process::ExitStatusExt;
    let failure = |message: String| Event::failure(ErrorCode::ProviderError, message);
    match end {
        End::Exited(status) if status.success() => Event::RunEnd { result: RunResult::Finished },
        End::Exited(status) => match (status.code(), status.signal()) {
            // The codes by which a shell says that it cannot run a program (POSIX, 2.8.2).
            (Some(code @ (126 | 127)), _) => {
                failure(format!("the process could not start: exit status {code}"))
            }
            (Some(code), _) => failure(format!("the process ended with exit status {code}")),
            (None, Some(signal)) => failure(format!("the process was ended by signal {signal}")),
            (None, None) => failure("the process ended".to_owned()),
        },
        End::NotStarted(kind) => failure(format!("the process could not start: {kind}")),
        End::Unkept => Event::failure(ErrorCode::Internal, "the runtime could not keep the worker"),
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

impl Attended for Place {
    fn output(&self, line: &str) -> Result<(), Unkept> {
        let text: Arc<str> = line.into();
        let said = Change::Said(Role::Assistant, Arc::clone(&text));
        self.keep(Event::TextDelta { text }, Some(said))
    }

    fn diagnostic(&self, line: &str) -> Result<(), Unkept> {
        self.keep(Event::stderr(line.into()), None)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.shared.ended(&self.worker_id, self.end).is_err() {
            let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.threads.remove(&self.worker_id);
        }
        self.shared.done.notify_all();
    }
}

#[cfg(test)]
mod tests;
