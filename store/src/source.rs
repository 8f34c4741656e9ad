//! A store on this machine as a source of workers: /v1 as a function over files.
//!
//! Only what reads is answered; everything else is refused as something that this runtime does not have. What is wrong
//! with the store as a whole, or with one worker, is a diagnostic beside an answer that has everything else.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};
use sekisho_core::id::{RuntimeId, WorkerId};
use sekisho_core::runtime_api::{
    Command, CommandError, Contains, Fault, FaultCode, Observe, Reply, RuntimeLimits, RuntimeStatus,
    RuntimeSummary, StoreDiagnostic, Transcript, WireRef, WorkerDetail, WorkerList, WorkerStatus,
    WorkerSummary,
};
use sekisho_core::transport::{Frames, InProcess, PendingResponse};

use crate::archive::{Archive, StoredPage, StoredRuntime, StoredWorkers, Window};
use crate::deployed::{DeployedStore, is_deployed_store};
use crate::journal::{ForeignStore, is_store};
use crate::problem::{Problem, WorkerProblem};

mod stream;

/// How many items of a transcript are in one reply where none are asked for, and at most.
const MAX_ITEMS: u64 = 256;

/// The most text of one reply, in bytes. JSON may make six bytes of one, and a reply is not read beyond 8 MiB.
const MAX_PAGE_BYTES: usize = 1024 * 1024;

/// How many problems of workers are told one by one.
const MAX_PROBLEMS: usize = 32;

/// A store on this machine, whichever kind it is. Cheap to clone.
#[derive(Clone)]
pub struct LocalSource {
    inside: Arc<Inside>,
}

struct Inside {
    runtime_id: RuntimeId,
    folder: PathBuf,
    deployed: DeployedStore,
    foreign: ForeignStore,
}

impl std::fmt::Debug for LocalSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LocalSource").field(&self.inside.runtime_id).finish()
    }
}

/// What a request comes to.
enum Answer {
    Reply(Box<Reply>),
    /// A page of a transcript of which so many lines could not be read.
    Torn(Box<Transcript>, usize),
}

/// Why a request gets no [`Answer`].
enum Refusal {
    /// It is no command, or there is nothing to answer it with.
    Command(CommandError),
    /// It is a command that a store does not have.
    Unsupported,
}

impl Refusal {
    fn response(&self) -> Response<Bytes> {
        match self {
            Self::Command(error) => error.response(),
            Self::Unsupported => unsupported(),
        }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Command(CommandError::Fault(fault))
    }
}

impl LocalSource {
    /// The store of a runtime in a folder. Nothing is read yet, and nothing needs to be there yet.
    pub fn new(runtime_id: RuntimeId, folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        let deployed = DeployedStore::new(folder.clone(), runtime_id.clone());
        let foreign = ForeignStore::new(folder.clone(), runtime_id.clone());
        Self { inside: Arc::new(Inside { runtime_id, folder, deployed, foreign }) }
    }
}

impl Inside {
    /// What is in the folder now: which kind of store it is, is seen from that.
    fn archive(&self) -> Result<&dyn Archive, Problem> {
        if is_store(&self.folder) {
            Ok(&self.foreign)
        } else if is_deployed_store(&self.folder) {
            Ok(&self.deployed)
        } else {
            // What keeps the folder from being read is told, where that is it.
            std::fs::read_dir(&self.folder).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Problem::StoreMissing,
                kind => Problem::Unreadable(kind),
            })?;
            Err(Problem::StoreMissing)
        }
    }

    fn handle(&self, request: &Request<Bytes>) -> Response<Bytes> {
        match self.answer(request) {
            Ok(Answer::Reply(reply)) => reply.response(),
            Ok(Answer::Torn(transcript, unreadable)) => torn(&transcript, unreadable),
            Err(refusal) => refusal.response(),
        }
    }

    fn answer(&self, request: &Request<Bytes>) -> Result<Answer, Refusal> {
        let command = Command::from_request(request).map_err(Refusal::Command)?;
        let reply = match command {
            Command::Runtime => Reply::Runtime(self.summary()),
            Command::Workers(filter) => {
                let list = filter.page_of(self.workers());
                Reply::Workers(list.map_err(|error| Fault::new(FaultCode::InvalidQuery, error.to_string()))?)
            }
            Command::Worker(worker_id) => Reply::Worker(Box::new(self.worker(&worker_id)?)),
            Command::Transcript { worker_id, start, limit, contains } => {
                return Ok(self.transcript(&worker_id, start, limit, contains.as_ref())?);
            }
            _ => return Err(Refusal::Unsupported),
        };
        Ok(Answer::Reply(Box::new(reply)))
    }

    fn summary(&self) -> RuntimeSummary {
        let archive = self.archive();
        let runtime = archive.as_ref().map_err(|problem| *problem).and_then(|archive| archive.runtime());
        let workers = archive.and_then(|archive| archive.workers());
        let incarnation = if is_store(&self.folder) { self.foreign.incarnation().ok() } else { None };
        let mut diagnostics = Vec::new();
        let runtime = runtime.unwrap_or_else(|problem| {
            diagnostics.push(of_store(problem));
            StoredRuntime {
                display_name: None,
                backend: "unknown".into(),
                status: RuntimeStatus::Unknown,
                limits: RuntimeLimits {
                    max_transcript_projection_items: MAX_ITEMS,
                    max_event_batch_items: MAX_ITEMS,
                },
                diagnostics: 0,
            }
        });
        let workers = workers.unwrap_or_default();
        diagnostics.extend(told(&workers));
        RuntimeSummary {
            runtime_id: self.runtime_id.to_string(),
            display_name: runtime.display_name,
            backend: runtime.backend,
            status: runtime.status,
            worker_count: workers.workers.len() as u64,
            active_worker_count: workers.count(WorkerStatus::Running),
            stopped_worker_count: workers.count(WorkerStatus::Stopped),
            cancelled_worker_count: workers.count(WorkerStatus::Cancelled),
            diagnostic_count: runtime.diagnostics + diagnostics.len() as u64,
            limits: runtime.limits,
            features: Vec::new(),
            incarnation,
            diagnostics,
        }
    }

    fn workers(&self) -> WorkerList {
        match self.archive().and_then(|archive| archive.workers()) {
            Ok(found) => WorkerList {
                diagnostics: told(&found),
                workers: found.workers.into_iter().map(summary).collect(),
                ..WorkerList::default()
            },
            Err(problem) => WorkerList { diagnostics: vec![of_store(problem)], ..WorkerList::default() },
        }
    }

    fn worker(&self, worker_id: &WorkerId) -> Result<WorkerDetail, Fault> {
        let found = self.archive().and_then(|archive| archive.worker(worker_id));
        found.map_err(fault)?.ok_or_else(|| self.not_found(worker_id))
    }

    fn transcript(
        &self,
        worker_id: &WorkerId,
        start: Option<u64>,
        limit: Option<u64>,
        contains: Option<&Contains>,
    ) -> Result<Answer, Fault> {
        let (start, limit) = (start.unwrap_or(0), limit.unwrap_or(MAX_ITEMS));
        if limit > MAX_ITEMS {
            let message = format!("limit {limit} is over the maximum of {MAX_ITEMS}");
            return Err(Fault::new(FaultCode::LimitTooLarge, message));
        }
        let window = Window { start, limit: usize::try_from(limit).unwrap_or(0), max_bytes: MAX_PAGE_BYTES };
        let found = self.archive().and_then(|archive| archive.transcript(worker_id, window));
        let page = found.map_err(fault)?.ok_or_else(|| self.not_found(worker_id))?;
        let StoredPage { total, mut items, next, problems } = page;
        let is_asked_for = Contains::filter(contains);
        items.retain(|item| is_asked_for(&item.content));
        let transcript = Transcript {
            worker_ref: self.wire_ref(worker_id),
            start,
            limit,
            total_items: total,
            items,
            next_start: next,
            left_out: 0,
        };
        Ok(match problems.len() {
            0 => Answer::Reply(Box::new(Reply::Transcript(transcript))),
            unreadable => Answer::Torn(Box::new(transcript), unreadable),
        })
    }

    fn not_found(&self, worker_id: &WorkerId) -> Fault {
        let message = format!("worker {worker_id} was not found in runtime {}", self.runtime_id);
        Fault::new(FaultCode::WorkerNotFound, message)
    }

    fn wire_ref(&self, worker_id: &WorkerId) -> WireRef {
        WireRef { runtime_id: self.runtime_id.to_string(), worker_id: worker_id.to_string() }
    }
}

/// A reply with as many entries that are no items as lines could not be read: a reader of v1 counts and tells them.
fn torn(transcript: &Transcript, unreadable: usize) -> Response<Bytes> {
    let mut value = serde_json::json!({ "transcript": transcript });
    if let Some(items) = value["transcript"]["items"].as_array_mut() {
        items.extend((0..unreadable).map(|_| serde_json::Value::Null));
    }
    let mut response = Response::new(Bytes::from(value.to_string()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn unsupported() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NOT_IMPLEMENTED;
    response
}

/// The row of a list.
fn summary(worker: WorkerDetail) -> WorkerSummary {
    WorkerSummary {
        worker_ref: worker.worker_ref,
        runtime_id: worker.runtime_id,
        worker_id: worker.worker_id,
        status: worker.status,
        intent: worker.intent,
        profile: worker.profile,
        requested_capability_count: worker.requested_capabilities.len() as u64,
        has_config_bundle: false,
        transcript_len: worker.transcript_len,
        last_event_id: worker.last_event_id,
        facts: worker.facts,
        truncated: false,
    }
}

/// What is wrong with a list and with workers that are not in it.
fn told(found: &StoredWorkers) -> Vec<StoreDiagnostic> {
    let one = |WorkerProblem { worker_id, problem }: &WorkerProblem| {
        // An id that is any text may be of any length and hold anything.
        let worker = match worker_id.parse::<WorkerId>() {
            Ok(worker_id) => format!("the worker {worker_id}"),
            Err(_) => "a worker whose id is not of the form".to_owned(),
        };
        StoreDiagnostic { code: problem.code().to_owned(), message: format!("{worker} {problem}") }
    };
    let more = found.problems.len().saturating_sub(MAX_PROBLEMS);
    let more = (more > 0).then(|| StoreDiagnostic {
        code: Problem::Damaged.code().to_owned(),
        message: format!("{more} more workers cannot be read"),
    });
    let incomplete = found.incomplete.map(of_store);
    found.problems.iter().take(MAX_PROBLEMS).map(one).chain(more).chain(incomplete).collect()
}

fn of_store(problem: Problem) -> StoreDiagnostic {
    let message = match problem {
        Problem::StoreMissing => problem.to_string(),
        _ => format!("the store {problem}"),
    };
    StoreDiagnostic { code: problem.code().to_owned(), message }
}

/// What is wrong where one worker was asked for.
fn fault(problem: Problem) -> Fault {
    let code = match problem {
        Problem::StoreMissing | Problem::RecordMissing => FaultCode::StoreMissing,
        Problem::Damaged | Problem::Line { .. } => FaultCode::StoreCorrupt,
        _ => FaultCode::StoreIo,
    };
    Fault::new(code, format!("the record {problem}"))
}

impl InProcess for LocalSource {
    fn handle(&self, request: &Request<Bytes>) -> Response<Bytes> {
        self.inside.handle(request)
    }

    /// Files are read on a thread of their own: an event loop that asks must not wait for a disk.
    fn respond(&self, request: &Request<Bytes>) -> PendingResponse {
        let (source, asked) = (Arc::clone(&self.inside), request.clone());
        let slot = Arc::new(Mutex::new(Slot::default()));
        let told = Arc::clone(&slot);
        let thread = thread::Builder::new().name("local-store".into());
        let reading = thread.spawn(move || Slot::tell(&told, source.handle(&asked)));
        match reading {
            Ok(_) => Box::pin(Reading(slot)),
            Err(_) => Box::pin(std::future::ready(self.handle(request))),
        }
    }

    fn observe(&self, request: &Request<Bytes>) -> Result<Box<dyn Frames>, Response<Bytes>> {
        let observe = match Observe::from_request(request) {
            Some(observe) => observe.map_err(|error: CommandError| error.response())?,
            None => return Err(self.handle(request)),
        };
        if !is_store(&self.inside.folder) {
            self.inside.worker(&observe.worker_id).map_err(|fault| fault.response())?;
            return Err(unsupported());
        }
        let frames =
            stream::open(&self.inside.foreign, &observe).map_err(|problem| fault(problem).response())?;
        let frames = frames.map(|frames| Box::new(frames) as _);
        frames.ok_or_else(|| self.inside.not_found(&observe.worker_id).response())
    }
}

/// Where a thread leaves its response.
#[derive(Default)]
struct Slot {
    response: Option<Response<Bytes>>,
    waiting: Option<Waker>,
}

impl Slot {
    fn tell(slot: &Mutex<Self>, response: Response<Bytes>) {
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.response = Some(response);
        if let Some(waiting) = slot.waiting.take() {
            waiting.wake();
        }
    }
}

/// A response that a thread is reading.
struct Reading(Arc<Mutex<Slot>>);

impl Future for Reading {
    type Output = Response<Bytes>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response<Bytes>> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match slot.response.take() {
            Some(response) => Poll::Ready(response),
            None => {
                slot.waiting = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests;
