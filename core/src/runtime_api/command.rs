//! Commands to a runtime, and the requests that carry them.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fault::{Fault, FaultCode};
use super::wire::{CreateWorker, Input, Reason};
use crate::error::{Error, Outcome};
use crate::id::{RuntimeId, WorkerId};
use crate::query;
use crate::secret::Access;

/// What can be asked of a runtime.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(missing_docs, reason = "each is the command of the same name")]
pub enum Operation {
    ReadRuntime,
    ListWorkers,
    GetWorker,
    CreateWorker,
    SendInput,
    StopWorker,
    CancelWorker,
    ReadTranscript,
    ObserveEvents,
}

impl Operation {
    /// Whether it changes anything, so that a failure has an [`Outcome`](crate::error::Outcome).
    pub fn changes_something(self) -> bool {
        match self {
            Self::CreateWorker | Self::SendInput | Self::StopWorker | Self::CancelWorker => true,
            Self::ReadRuntime
            | Self::ListWorkers
            | Self::GetWorker
            | Self::ReadTranscript
            | Self::ObserveEvents => false,
        }
    }

    /// Whether doing it twice is the same as doing it once, without a key: reads, stop and cancel.
    pub fn is_idempotent(self) -> bool {
        !matches!(self, Self::CreateWorker | Self::SendInput)
    }
}

/// One command to one runtime.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// `GET /v1/runtime`
    Runtime,
    /// `GET /v1/workers`
    Workers,
    /// `GET /v1/workers/{worker_id}`
    Worker(WorkerId),
    /// `POST /v1/workers`
    Create {
        /// The worker to be.
        worker: Box<CreateWorker>,
        /// Sent as `Idempotency-Key`.
        key: Option<IdempotencyKey>,
    },
    /// `POST /v1/workers/{worker_id}/input`
    Input {
        /// Whom it is for.
        worker_id: WorkerId,
        /// What is said.
        input: Input,
        /// Sent as `Idempotency-Key`.
        key: Option<IdempotencyKey>,
    },
    /// `POST /v1/workers/{worker_id}/stop`
    Stop {
        /// Which worker.
        worker_id: WorkerId,
        /// Why.
        reason: Reason,
    },
    /// `POST /v1/workers/{worker_id}/cancel`
    Cancel {
        /// Which worker.
        worker_id: WorkerId,
        /// Why.
        reason: Reason,
    },
    /// `GET /v1/workers/{worker_id}/transcript`
    Transcript {
        /// Whose.
        worker_id: WorkerId,
        /// How many items to skip; the runtime's default is 0.
        start: Option<u64>,
        /// How many items to read; the runtime's default is 256.
        limit: Option<u64>,
    },
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

/// Names one attempt at a command over all its repetitions: 1 to 128 visible ASCII characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey(Box<str>);

/// Not 1 to 128 visible ASCII characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an idempotency key is 1 to {} visible ASCII characters", IdempotencyKey::MAX_LENGTH)]
pub struct InvalidIdempotencyKey;

impl IdempotencyKey {
    /// The longest key, in characters.
    pub const MAX_LENGTH: usize = 128;

    /// The header that carries a key.
    pub const HEADER: HeaderName = HeaderName::from_static("idempotency-key");

    pub(crate) fn header_value(&self) -> HeaderValue {
        // Visible ASCII: `from_str` let nothing else in.
        HeaderValue::from_str(&self.0).expect("visible ASCII")
    }

    /// The key in a request's headers, if there is one.
    pub fn from_headers(headers: &http::HeaderMap) -> Result<Option<Self>, InvalidIdempotencyKey> {
        let mut values = headers.get_all(Self::HEADER).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => value.to_str().map_err(|_| InvalidIdempotencyKey)?.parse().map(Some),
            (Some(_), Some(_)) => Err(InvalidIdempotencyKey),
        }
    }
}

impl FromStr for IdempotencyKey {
    type Err = InvalidIdempotencyKey;
    fn from_str(text: &str) -> Result<Self, InvalidIdempotencyKey> {
        let length = 1..=Self::MAX_LENGTH;
        if length.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidIdempotencyKey)
        }
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How many headers a request has at most.
const MAX_HEADERS: usize = 4;

pub(super) const WORKERS: &str = "/v1/workers";

impl Command {
    /// What is being asked.
    pub fn operation(&self) -> Operation {
        match self {
            Self::Runtime => Operation::ReadRuntime,
            Self::Workers => Operation::ListWorkers,
            Self::Worker(_) => Operation::GetWorker,
            Self::Create { .. } => Operation::CreateWorker,
            Self::Input { .. } => Operation::SendInput,
            Self::Stop { .. } => Operation::StopWorker,
            Self::Cancel { .. } => Operation::CancelWorker,
            Self::Transcript { .. } => Operation::ReadTranscript,
        }
    }

    /// The worker that it is about, where it is about one.
    pub fn worker_id(&self) -> Option<&WorkerId> {
        match self {
            Self::Runtime | Self::Workers | Self::Create { .. } => None,
            Self::Worker(worker_id)
            | Self::Input { worker_id, .. }
            | Self::Stop { worker_id, .. }
            | Self::Cancel { worker_id, .. }
            | Self::Transcript { worker_id, .. } => Some(worker_id),
        }
    }

    /// The key that makes a repetition harmless, where the runtime honours it.
    pub fn idempotency_key(&self) -> Option<&IdempotencyKey> {
        match self {
            Self::Create { key, .. } | Self::Input { key, .. } => key.as_ref(),
            _ => None,
        }
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
    pub(super) fn body(&self) -> Option<Bytes> {
        match self {
            Self::Create { worker, .. } => Some(to_json(worker)),
            Self::Input { input, .. } => Some(to_json(input)),
            Self::Stop { reason, .. } | Self::Cancel { reason, .. } => Some(to_json(reason)),
            Self::Runtime | Self::Workers | Self::Worker(_) | Self::Transcript { .. } => None,
        }
    }

    /// The request that carries the command to the runtime behind `access`, in origin form (RFC 9112, 3.2.1).
    pub fn request(&self, access: &Access) -> Request<Bytes> {
        let prefix = access.path_prefix();
        let (path, body) = match self {
            Self::Runtime => (format!("{prefix}/v1/runtime"), None),
            Self::Workers => (format!("{prefix}{WORKERS}"), None),
            Self::Worker(id) => (format!("{prefix}{WORKERS}/{id}"), None),
            Self::Create { worker, .. } => (format!("{prefix}{WORKERS}"), Some(to_json(worker))),
            Self::Input { worker_id, input, .. } => {
                (format!("{prefix}{WORKERS}/{worker_id}/input"), Some(to_json(input)))
            }
            Self::Stop { worker_id, reason } => {
                (format!("{prefix}{WORKERS}/{worker_id}/stop"), Some(to_json(reason)))
            }
            Self::Cancel { worker_id, reason } => {
                (format!("{prefix}{WORKERS}/{worker_id}/cancel"), Some(to_json(reason)))
            }
            Self::Transcript { worker_id, start, limit } => {
                let path = format!("{prefix}{WORKERS}/{worker_id}/transcript");
                (query::with_numbers(path, [("start", *start), ("limit", *limit)]), None)
            }
        };
        let mut request = Request::new(Bytes::new());
        // Prefix, constants, ids and numbers: each was checked to be made of characters of a path.
        *request.uri_mut() = path.try_into().expect("made of checked parts");
        let headers = request.headers_mut();
        headers.reserve(MAX_HEADERS);
        access.add_headers(headers);
        if let Some(key) = self.idempotency_key() {
            headers.insert(IdempotencyKey::HEADER, key.header_value());
        }
        if let Some(body) = body {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.method_mut() = Method::POST;
            *request.body_mut() = body;
        }
        request
    }

    /// The command that a request carries, on the runtime's side. Who may ask is checked before.
    pub fn from_request(request: &Request<Bytes>) -> Result<Self, CommandError> {
        let path = request.uri().path().strip_prefix("/v1/").ok_or(CommandError::UnknownRoute)?;
        let segments: Vec<&str> = path.split('/').collect();
        let allow = match segments[..] {
            ["runtime"] | ["workers", _] | ["workers", _, "transcript"] => "GET,HEAD",
            ["workers"] => "GET,HEAD,POST",
            ["workers", _, "input" | "stop" | "cancel"] => "POST",
            _ => return Err(CommandError::UnknownRoute),
        };
        let method = match *request.method() {
            Method::HEAD => Method::GET,
            ref other => other.clone(),
        };
        if !allow.split(',').any(|allowed| allowed == method.as_str()) {
            return Err(CommandError::MethodNotAllowed { allow });
        }
        let key = || {
            IdempotencyKey::from_headers(request.headers())
                .map_err(|error| Fault::new(FaultCode::InvalidRequest, format!("invalid request: {error}")))
        };
        Ok(match segments[..] {
            ["runtime"] => Self::Runtime,
            ["workers"] if method == Method::GET => Self::Workers,
            ["workers"] => Self::Create { worker: from_json(request.body())?, key: key()? },
            ["workers", id] => Self::Worker(worker_id(id)?),
            ["workers", id, "transcript"] => {
                let [start, limit] = query::numbers(request.uri().query(), ["start", "limit"])
                    .map_err(|error| Fault::new(FaultCode::InvalidQuery, error.to_string()))?;
                Self::Transcript { worker_id: worker_id(id)?, start, limit }
            }
            ["workers", id, "input"] => {
                Self::Input { worker_id: worker_id(id)?, input: from_json(request.body())?, key: key()? }
            }
            ["workers", id, last] => {
                let worker_id = worker_id(id)?;
                let reason = match request.body().is_empty() {
                    true => Reason::default(),
                    false => from_json(request.body())?,
                };
                match last {
                    "stop" => Self::Stop { worker_id, reason },
                    _ => Self::Cancel { worker_id, reason },
                }
            }
            _ => return Err(CommandError::UnknownRoute),
        })
    }
}

pub(super) fn worker_id(segment: &str) -> Result<WorkerId, Fault> {
    let fault = |error: String| Fault::new(FaultCode::InvalidWorkerId, format!("invalid worker id: {error}"));
    let decoded = percent_decode_str(segment).decode_utf8().map_err(|_| fault("is not UTF-8".into()))?;
    decoded.parse().map_err(|error: crate::id::IdError| fault(error.to_string()))
}

pub(crate) fn to_json(body: &impl Serialize) -> Bytes {
    // Plain structs of texts and numbers: there is no map with keys that JSON could not have.
    serde_json::to_vec(body).expect("plain data").into()
}

fn from_json<T: DeserializeOwned>(body: &Bytes) -> Result<T, Fault> {
    serde_json::from_slice(body)
        .map_err(|error| Fault::new(FaultCode::InvalidJson, format!("invalid JSON request body: {error}")))
}
