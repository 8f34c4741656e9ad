//! Commands to a runtime, and the requests that carry them on either wire.

mod head;

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use head::MAX_CONTAINS;
#[cfg(feature = "pages")]
pub(crate) use head::parameters;
pub(crate) use head::{Head, HeadError, ReadBody};

use super::contains::Contains;
use super::fault::{Fault, FaultCode};
use super::feature::Feature;
use super::filter::WorkerFilter;
use super::key::IdempotencyKey;
use super::operation::{Operation, OtherMethods, Wire};
use super::path::Captures;
use super::wire::{Answer, CreateWorker, Input, InputKind, Reason, RuntimeSummary, TerminalSize};
use crate::error::{Error, Outcome};
use crate::id::{RequestId, RuntimeId, WorkerId};
use crate::query;
use crate::secret::Access;

/// One command to one runtime. What is the same for all of a kind is in the table of [`Operation`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// What the runtime says of itself.
    Runtime,
    /// Its workers.
    Workers(WorkerFilter),
    /// One of them.
    Worker(WorkerId),
    /// A new one.
    Create {
        /// The worker to be.
        worker: Box<CreateWorker>,
        /// Sent as `Idempotency-Key`.
        key: Option<IdempotencyKey>,
    },
    /// Input.
    Input {
        /// Which worker.
        worker_id: WorkerId,
        /// What is said.
        input: Input,
        /// Sent as `Idempotency-Key`.
        key: Option<IdempotencyKey>,
    },
    /// A worker is told to end.
    Stop {
        /// Which worker.
        worker_id: WorkerId,
        /// Why.
        reason: Reason,
    },
    /// A worker is made to end.
    Cancel {
        /// Which worker.
        worker_id: WorkerId,
        /// Why.
        reason: Reason,
    },
    /// A page of a transcript.
    Transcript {
        /// Which worker.
        worker_id: WorkerId,
        /// How many items to skip; the runtime's default is 0.
        start: Option<u64>,
        /// How many items to read; the runtime's default is 256.
        limit: Option<u64>,
        /// Only those of these items that hold this text.
        contains: Option<Contains>,
    },
    /// What a worker is doing ends, and the worker does not.
    Interrupt {
        /// Which worker.
        worker_id: WorkerId,
        /// Sent as `Idempotency-Key`.
        key: Option<IdempotencyKey>,
    },
    /// A worker's terminal gets another size.
    Resize {
        /// Which worker.
        worker_id: WorkerId,
        /// The size.
        size: TerminalSize,
    },
    /// A worker whose runtime went away is taken up again.
    Resume(WorkerId),
    /// The runtime forgets a worker that has ended.
    Remove(WorkerId),
    /// The open requests of a worker.
    Requests(WorkerId),
    /// The open requests of all workers of the runtime.
    AllRequests,
    /// An answer to a request.
    Answer {
        /// Which worker.
        worker_id: WorkerId,
        /// Which of its requests.
        request_id: RequestId,
        /// The answer.
        answer: Answer,
        /// Sent as `Idempotency-Key`.
        key: Option<IdempotencyKey>,
    },
    /// The profiles that workers can be made of.
    Profiles,
}

/// Why a runtime cannot make a [`Command`] of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommandError {
    /// No such route: 404 with an empty body, which does not mean 'no such worker'.
    UnknownRoute,
    /// The route lacks the method: 405 with `Allow` and an empty body.
    MethodNotAllowed {
        /// The methods that it has.
        allow: &'static str,
    },
    /// A typed refusal.
    Fault(Fault),
}

impl CommandError {
    /// The response that carries it.
    pub fn response(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        match self {
            Self::UnknownRoute => *response.status_mut() = StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { allow } => {
                *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
            }
            Self::Fault(fault) => return fault.response(),
        }
        response
    }
}

impl From<Fault> for CommandError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// How many headers a request has at most.
const MAX_HEADERS: usize = 4;

impl Command {
    /// All workers of a runtime.
    pub fn workers() -> Self {
        Self::Workers(WorkerFilter::default())
    }

    /// What is being asked.
    pub fn operation(&self) -> Operation {
        match self {
            Self::Runtime => Operation::ReadRuntime,
            Self::Workers(_) => Operation::ListWorkers,
            Self::Worker(_) => Operation::GetWorker,
            Self::Create { .. } => Operation::CreateWorker,
            Self::Input { .. } => Operation::SendInput,
            Self::Stop { .. } => Operation::StopWorker,
            Self::Cancel { .. } => Operation::CancelWorker,
            Self::Transcript { .. } => Operation::ReadTranscript,
            Self::Interrupt { .. } => Operation::InterruptWorker,
            Self::Resize { .. } => Operation::ResizeWorker,
            Self::Resume(_) => Operation::ResumeWorker,
            Self::Remove(_) => Operation::RemoveWorker,
            Self::Requests(_) => Operation::ListRequests,
            Self::AllRequests => Operation::ListAllRequests,
            Self::Answer { .. } => Operation::AnswerRequest,
            Self::Profiles => Operation::ListProfiles,
        }
    }

    /// The worker that it is about, where it is about one.
    pub fn worker_id(&self) -> Option<&WorkerId> {
        match self {
            Self::Runtime | Self::Workers(_) | Self::Create { .. } | Self::AllRequests | Self::Profiles => {
                None
            }
            Self::Worker(worker_id)
            | Self::Resume(worker_id)
            | Self::Remove(worker_id)
            | Self::Requests(worker_id)
            | Self::Input { worker_id, .. }
            | Self::Stop { worker_id, .. }
            | Self::Cancel { worker_id, .. }
            | Self::Interrupt { worker_id, .. }
            | Self::Resize { worker_id, .. }
            | Self::Answer { worker_id, .. }
            | Self::Transcript { worker_id, .. } => Some(worker_id),
        }
    }

    /// The key that makes a repetition harmless, where the runtime honours it.
    pub fn idempotency_key(&self) -> Option<&IdempotencyKey> {
        match self {
            Self::Create { key, .. }
            | Self::Input { key, .. }
            | Self::Interrupt { key, .. }
            | Self::Answer { key, .. } => key.as_ref(),
            _ => None,
        }
    }

    /// The features without which a runtime cannot do this very command as it is meant.
    pub fn features(&self) -> impl Iterator<Item = Feature> {
        let wanted = match self {
            Self::Create { worker, .. } => [
                (worker.name.is_some() || !worker.labels.is_empty()).then_some(Feature::Names),
                (worker.cwd.is_some() || !worker.env.is_empty()).then_some(Feature::Placement),
                None,
            ],
            Self::Input { input, .. } => [
                (input.kind == InputKind::Eof).then_some(Feature::Eof),
                input.raw.then_some(Feature::RawInput),
                input.secret.then_some(Feature::SecretInput),
            ],
            _ => [None; 3],
        };
        self.operation().feature().into_iter().chain(wanted.into_iter().flatten())
    }

    /// A feature that the command needs and a runtime does not have that says this of itself.
    pub(crate) fn missing_feature(&self, runtime: &RuntimeSummary) -> Option<Feature> {
        self.features().find(|feature| !runtime.has(*feature))
    }

    /// An error about this command, made before anything of it left the gateway.
    pub(crate) fn refused(&self, error: Error, runtime_id: &RuntimeId) -> Error {
        let changes_something = self.operation().changes_something();
        error
            .of_runtime(runtime_id)
            .of_worker(self.worker_id())
            .with_outcome(changes_something.then_some(Outcome::NotApplied))
    }

    /// The body that goes with the command, where one does.
    pub(crate) fn body(&self) -> Option<Bytes> {
        match self {
            Self::Create { worker, .. } => Some(to_json(worker)),
            Self::Input { input, .. } => Some(to_json(input)),
            Self::Stop { reason, .. } | Self::Cancel { reason, .. } => Some(to_json(reason)),
            Self::Resize { size, .. } => Some(to_json(size)),
            Self::Answer { answer, .. } => Some(to_json(answer)),
            Self::Runtime
            | Self::Workers(_)
            | Self::Worker(_)
            | Self::Transcript { .. }
            | Self::Interrupt { .. }
            | Self::Resume(_)
            | Self::Remove(_)
            | Self::Requests(_)
            | Self::AllRequests
            | Self::Profiles => None,
        }
    }

    /// Path and query of the request that carries the command.
    pub(crate) fn path(&self, wire: Wire, prefix: &str, runtime_id: Option<&RuntimeId>) -> String {
        let request_id = match self {
            Self::Answer { request_id, .. } => Some(request_id.as_str()),
            _ => None,
        };
        let ids = Captures {
            runtime_id: runtime_id.map(RuntimeId::as_str),
            worker_id: self.worker_id().map(WorkerId::as_str),
            request_id,
        };
        let path = self.operation().path(wire).filled(prefix, ids);
        match self {
            Self::Transcript { start, limit, contains, .. } => {
                let number = |number: &Option<u64>| number.map(|number| Cow::Owned(number.to_string()));
                let text = contains.as_ref().map(|contains| Cow::Borrowed(&*contains.text));
                let ignores = contains.as_ref().filter(|contains| contains.ignore_case);
                let given = [
                    ("start", number(start)),
                    ("limit", number(limit)),
                    ("contains", text),
                    ("ignore_case", ignores.map(|_| Cow::Borrowed("true"))),
                ];
                query::with_parameters(
                    path,
                    given.into_iter().filter_map(|(name, value)| Some((name, value?))),
                )
            }
            Self::Workers(filter) => query::with_parameters(path, filter.parameters_of_one()),
            _ => path,
        }
    }

    /// The request that carries the command to the runtime behind `access`, in origin form (RFC 9112, 3.2.1).
    pub fn request(&self, access: &Access) -> Request<Bytes> {
        let mut request = Request::new(Bytes::new());
        let path = self.path(Wire::Runtime, access.path_prefix(), None);
        // Prefix, constants, ids and encoded parameters: all of it characters of a path or query.
        *request.uri_mut() = path.try_into().expect("made of checked parts");
        *request.method_mut() = self.operation().method();
        let headers = request.headers_mut();
        headers.reserve(MAX_HEADERS);
        access.add_headers(headers);
        if let Some(key) = self.idempotency_key() {
            headers.insert(IdempotencyKey::HEADER, key.header_value());
        }
        if let Some(body) = self.body() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = body;
        }
        request
    }

    /// The command that a request carries, on the runtime's side. Who may ask is checked before.
    pub fn from_request(request: &Request<Bytes>) -> Result<Self, CommandError> {
        let found = Operation::find(Wire::Runtime, request.method(), request.uri().path());
        let (operation, captures) = match found.ok_or(CommandError::UnknownRoute)? {
            Ok(found) => found,
            Err(OtherMethods { allow }) => return Err(CommandError::MethodNotAllowed { allow }),
        };
        let query = match operation {
            Operation::ListWorkers | Operation::ReadTranscript => request.uri().query(),
            // Deployed runtimes pass over what they do not look for.
            _ => None,
        };
        let head = Head::read(operation, captures, query, request.headers()).map_err(Fault::from)?;
        head.command(&BodyOfV1(request.body()))
    }
}

impl From<HeadError> for Fault {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::WorkerId(error) => {
                Self::new(FaultCode::InvalidWorkerId, format!("invalid worker id: {error}"))
            }
            HeadError::RequestId(error) => {
                Self::new(FaultCode::InvalidRequest, format!("invalid request: the request's id {error}"))
            }
            HeadError::Query(error) => Self::new(FaultCode::InvalidQuery, error.to_string()),
            HeadError::Key(error) => {
                Self::new(FaultCode::InvalidRequest, format!("invalid request: {error}"))
            }
        }
    }
}

/// A body as deployed runtimes read it: what they do not look for is passed over.
struct BodyOfV1<'a>(&'a Bytes);

impl ReadBody for BodyOfV1<'_> {
    type Error = CommandError;

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn json<T: DeserializeOwned>(&self) -> Result<T, CommandError> {
        let fault = |error| Fault::new(FaultCode::InvalidJson, format!("invalid JSON request body: {error}"));
        serde_json::from_slice(self.0).map_err(|error| fault(error).into())
    }

    fn create(&self) -> Result<CreateWorker, CommandError> {
        self.json()
    }

    fn input(&self) -> Result<Input, CommandError> {
        self.json()
    }

    fn unknown_route(&self) -> CommandError {
        CommandError::UnknownRoute
    }
}

pub(super) fn worker_id(segment: &str) -> Result<WorkerId, Fault> {
    let decoded = percent_decode_str(segment).decode_utf8_lossy();
    decoded.parse().map_err(|error| HeadError::WorkerId(error).into())
}

pub(crate) fn to_json(body: &impl Serialize) -> Bytes {
    // Plain structs of texts and numbers, and maps whose keys are texts: all of it can be JSON.
    serde_json::to_vec(body).expect("plain data").into()
}
