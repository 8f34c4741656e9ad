//! The runtime itself: v1 as a function, over the workers that there are.

mod agent;
mod beginning;
mod create;
mod ending;
mod figures;
mod input;
mod listing;
mod observe;
mod once;
mod orders;
mod pending;
mod publish;
mod reading;
mod resume;
mod slot;
mod state;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response, header};
use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::{Command, CommandError, Fault, FaultCode, Observe, Reply, WireRef};
use sekisho_core::transport::{Frames, InProcess, PendingResponse};

use crate::config::{RuntimeConfig, StartError, check_profiles};
use crate::cursor::epoch_of;
use crate::incarnation;
use crate::store::{Loaded, MemoryStore, Store, StoreError};
use crate::stream::{Subscription, Subscriptions};
use crate::timestamp::Timestamp;
use crate::worker::Supervisor;
use ending::Order;
use pending::Decided;
use state::{Locked, State};

#[cfg(feature = "serve")]
pub(crate) use create::full;
pub use create::{MAX_CREATE_BYTES, MAX_LABEL_NAME, MAX_LABEL_VALUE, MAX_LABELS, MAX_NAME, MAX_VARIABLES};
pub use figures::Figures;
pub use listing::{MAX_LIST_TEXT, MAX_PAGE_ROWS, MAX_PAGE_TEXT};
pub use pending::Pending;
pub use reading::MAX_TRANSCRIPT_ITEMS;

/// How long [`Runtime::shutdown`] waits for processes that were killed.
const KILL_WAIT: Duration = Duration::from_secs(5);

/// How long dropping the last handle waits for processes that were killed.
const DROP_WAIT: Duration = Duration::from_secs(2);

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
        self.shared.shut_down(Order::Cancel, DROP_WAIT);
    }
}

struct Shared {
    config: RuntimeConfig,
    incarnation: String,
    epoch: String,
    store: Box<dyn Store>,
    supervisor: Arc<Supervisor>,
    subscriptions: Subscriptions,
    state: Mutex<State>,
    /// Notified when a worker's thread is done.
    done: Condvar,
}

impl Runtime {
    /// A runtime that remembers for as long as it lives. Nothing is started before the first worker that needs a
    /// process.
    pub fn start(config: RuntimeConfig) -> Result<Self, StartError> {
        let store = Box::new(MemoryStore::new(&config.limits));
        Self::with_store(config, store)
    }

    /// A runtime that remembers what its store kept, and keeps in it what happens. Workers that ran when an earlier
    /// runtime with the store went away have ended, with the reason `runtime_lost`.
    pub fn with_store(config: RuntimeConfig, store: Box<dyn Store>) -> Result<Self, StartError> {
        check_profiles(&config.profiles)?;
        let loaded = store.load()?;
        let incarnation = match &loaded.incarnation {
            Some(incarnation) => incarnation.clone(),
            None => {
                let simulated =
                    config.simulation.map(|simulation| incarnation::simulated(simulation.incarnation));
                let incarnation = simulated.unwrap_or_else(incarnation::fresh);
                store.begin(&incarnation)?;
                incarnation
            }
        };
        let shared = Shared {
            epoch: epoch_of(&incarnation),
            incarnation,
            store,
            supervisor: Arc::new(Supervisor::new(config.launcher.clone())),
            subscriptions: Subscriptions::new(config.limits.max_subscriptions),
            state: Mutex::new(State::new(&config)),
            done: Condvar::new(),
            config,
        };
        shared.resume(loaded)?;
        Ok(Self { handle: Arc::new(Handle { shared: Arc::new(shared) }) })
    }

    /// Answers one request of v1, and waits until the answer is certain: that a process has started, or that what was
    /// done is durable. A `HEAD` is answered like a `GET`: a server that puts the response on a wire leaves its body
    /// out, as hyper does by itself.
    pub fn handle(&self, request: &Request<Bytes>) -> Response<Bytes> {
        self.respond(request).wait()
    }

    /// Begins to answer one request of v1. What it asks for is done on return; the response comes when it is certain.
    ///
    /// This never waits for a worker or a disk, and may be called from an async task.
    pub fn respond(&self, request: &Request<Bytes>) -> Pending {
        match self.answer(request) {
            Ok(decided) => Pending::new(Arc::clone(&self.handle.shared), decided),
            Err(refusal) => Pending::refused(refusal.response()),
        }
    }

    /// Subscribes to one worker, where the request is `GET /v1/workers/{worker_id}/events/ws` (`docs/runtime-api.md`);
    /// otherwise, or where it may not, there is the response that the request gets instead. That the request asks for
    /// a WebSocket is not looked at: in one process there is none.
    ///
    /// The first frame is a snapshot of the worker: of the present, or of the place of `cursor`. What has happened
    /// since follows, and then what happens. What is wrong with a cursor, or ends the stream, is said in a diagnostic
    /// as the last frame. Beyond [`Limits::max_subscriptions`](crate::Limits::max_subscriptions) the response is
    /// `runtime_full`.
    #[expect(clippy::result_large_err, reason = "a response is what `handle` returns, too")]
    pub fn observe(&self, request: &Request<Bytes>) -> Result<Subscription, Response<Bytes>> {
        let Some(observe) = Observe::from_request(request) else { return Err(self.handle(request)) };
        let observe = self.admit(request).map_err(CommandError::from).and(observe);
        self.handle.shared.subscribe(&observe.map_err(|refusal| refusal.response())?)
    }

    fn answer(&self, request: &Request<Bytes>) -> Result<Decided, CommandError> {
        self.admit(request)?;
        if let Some(observe) = Observe::from_request(request) {
            observe?;
            return Err(invalid("an upgrade to websocket is needed").into());
        }
        let shared = &self.handle.shared;
        let read = |reply: Result<Reply, Fault>| reply.map(|reply| Decided::read(reply.response()));
        let decided = match Command::from_request(request)? {
            Command::Runtime => read(shared.summary()),
            Command::Workers(filter) => read(shared.workers(&filter)),
            Command::Worker(worker_id) => read(shared.worker(&worker_id)),
            Command::Create { worker, key } => shared.create(request, *worker, key),
            Command::Input { worker_id, input, key } => shared.input(request, &worker_id, input, key),
            Command::Stop { worker_id, reason } => shared.end(&worker_id, Order::Stop, reason),
            Command::Cancel { worker_id, reason } => shared.end(&worker_id, Order::Cancel, reason),
            Command::Transcript { worker_id, start, limit, contains } => {
                read(shared.transcript(&worker_id, start, limit, contains.as_ref()))
            }
            Command::Interrupt { worker_id, key } => shared.interrupt(request, &worker_id, key),
            Command::Resize { worker_id, size } => shared.resize(&worker_id, size),
            Command::Remove(worker_id) => shared.remove(&worker_id),
            Command::Profiles => read(shared.profiles()),
            Command::Requests(worker_id) => read(shared.requests(&worker_id)),
            Command::AllRequests => read(shared.all_requests()),
            Command::Answer { worker_id, request_id, answer, key } => {
                shared.answer_request(request, &worker_id, &request_id, &answer, key)
            }
            Command::Resume(worker_id) => shared.resume_worker(&worker_id),
        };
        Ok(decided?)
    }

    /// Whether a request with these headers may ask anything at all: whether it presents the runtime's token, where
    /// there is one. A server asks it before it reads a body.
    pub fn admits(&self, headers: &http::HeaderMap) -> bool {
        let token = self.handle.shared.config.token.as_ref();
        token.is_none_or(|token| token.admits(headers.get(header::AUTHORIZATION)))
    }

    fn admit(&self, request: &Request<Bytes>) -> Result<(), Fault> {
        if self.admits(request.headers()) { Ok(()) } else { Err(unauthorized()) }
    }

    /// Stops all workers, and returns when their processes are gone: at the latest when the time of grace and a
    /// few seconds for the kernel have passed. From its beginning create and input are refused as
    /// `runtime_stopped`; reading goes on. At its end the subscriptions end, too.
    pub fn shutdown(&self) {
        let shared = &self.handle.shared;
        shared.shut_down(Order::Stop, shared.config.stop_grace.saturating_add(KILL_WAIT));
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Runtime").field(&self.handle.shared.config.runtime_id).finish()
    }
}

impl InProcess for Runtime {
    fn handle(&self, request: &Request<Bytes>) -> Response<Bytes> {
        self.handle(request)
    }

    fn respond(&self, request: &Request<Bytes>) -> PendingResponse {
        Box::pin(self.respond(request))
    }

    fn observe(&self, request: &Request<Bytes>) -> Result<Box<dyn Frames>, Response<Bytes>> {
        Ok(Box::new(self.observe(request)?))
    }
}

fn invalid(message: impl std::fmt::Display) -> Fault {
    Fault::new(FaultCode::InvalidRequest, format!("invalid request: {message}"))
}

pub(crate) fn unauthorized() -> Fault {
    Fault::new(FaultCode::Unauthorized, "missing or invalid local Runtime bearer token")
}

fn store_fault(error: StoreError) -> Fault {
    Fault::new(error.code(), error.to_string())
}

/// The refusal of a command that the store has kept from being carried out.
fn store_refusal(error: StoreError) -> Fault {
    store_fault(error).with_nothing_done()
}

impl Shared {
    fn now(&self) -> Timestamp {
        let now = self.config.simulation.map_or(SystemTime::now as fn() -> SystemTime, |it| it.now);
        now().into()
    }

    fn lock(&self) -> Result<Locked<'_>, StoreError> {
        self.state.lock().map(Locked::new).map_err(|_| StoreError::Poisoned)
    }

    /// For what has to work in whatever state things are.
    fn lock_anyway(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up what an earlier runtime has left in the store.
    fn resume(&self, loaded: Loaded) -> Result<(), StoreError> {
        let mut locked = self.lock()?;
        locked.take_up(loaded);
        let lost: Vec<WorkerId> = locked
            .records
            .after(0)
            .filter(|record| !record.has_ended())
            .map(|record| record.worker_id.clone())
            .collect();
        for worker_id in lost {
            self.tell_lost(&mut locked, &worker_id)?;
        }
        self.make_room(&mut locked)
    }

    fn not_found(&self, worker_id: &WorkerId) -> Fault {
        let message = format!("worker {worker_id} was not found in runtime {}", self.config.runtime_id);
        Fault::new(FaultCode::WorkerNotFound, message)
    }

    fn wire_ref(&self, worker_id: &WorkerId) -> WireRef {
        WireRef { runtime_id: self.config.runtime_id.to_string(), worker_id: worker_id.to_string() }
    }
}

#[cfg(test)]
mod tests;
