//! What a runtime answers, and what a client makes of it.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::command::{Command, Operation};
use super::wire::{
    Ack, Capability, ConfigBundle, InputAck, Intent, Profile, Reference, RuntimeSummary, Transcript, WireRef,
    WorkerDetail, WorkerSummary,
};
use crate::error::{Error, ErrorKind, bounded, printable};
use crate::id::RuntimeId;
use crate::secret::Scrubber;

/// The longest `Retry-After` that is believed.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The answer to a command that succeeded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// To [`Command::Runtime`].
    Runtime(RuntimeSummary),
    /// To [`Command::Workers`].
    Workers(Vec<WorkerSummary>),
    /// To [`Command::Worker`] and [`Command::Create`].
    Worker(WorkerDetail),
    /// To [`Command::Input`].
    Input(InputAck),
    /// To [`Command::Stop`] and [`Command::Cancel`].
    Ack(Ack),
    /// To [`Command::Transcript`].
    Transcript(Transcript),
}

/// What a client makes of a response that is not the answer to its command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejection {
    /// Which cause it is.
    pub kind: ErrorKind,
    /// Whether it is certain that the command did not happen.
    pub not_applied: bool,
    /// The runtime's own code, scrubbed and bounded.
    pub runtime_code: Option<String>,
    /// The runtime's own words, or the gateway's about what is wrong with them; scrubbed and bounded.
    pub message: Option<Cow<'static, str>>,
    /// How long the runtime asks to be left alone, at most [`MAX_RETRY_AFTER`].
    pub retry_after: Option<Duration>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct RuntimeBody<T> {
    pub(crate) runtime: T,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct WorkersBody<T> {
    pub(crate) workers: T,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct WorkerBody<T> {
    pub(crate) worker: T,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct AckBody<T> {
    pub(crate) ack: T,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct TranscriptBody<T> {
    pub(crate) transcript: T,
}

#[derive(Deserialize)]
struct FaultBody {
    error: TypedFault,
}

#[derive(Deserialize)]
struct TypedFault {
    code: String,
    message: String,
}

/// A JSON response.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    // Plain structs of texts and numbers: there is no map with keys that JSON could not have.
    let mut response = Response::new(serde_json::to_vec(body).expect("plain data").into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

impl Reply {
    /// The response that carries the reply, on the runtime's side.
    pub fn response(&self) -> Response<Bytes> {
        match self {
            Self::Runtime(runtime) => json(StatusCode::OK, &RuntimeBody { runtime }),
            Self::Workers(workers) => json(StatusCode::OK, &WorkersBody { workers }),
            Self::Worker(worker) => json(StatusCode::OK, &WorkerBody { worker }),
            Self::Input(ack) => json(StatusCode::OK, &AckBody { ack }),
            Self::Ack(ack) => json(StatusCode::OK, &AckBody { ack }),
            Self::Transcript(transcript) => json(StatusCode::OK, &TranscriptBody { transcript }),
        }
    }

    /// What the runtime `runtime_id` answers to `command`.
    ///
    /// The identity of what comes back is checked first, on the runtime's very words; then every text in it
    /// passes `scrubber`, so that nothing which this returns holds a secret. An id that holds one comes out as no
    /// id at all.
    pub fn from_response(
        command: &Command,
        runtime_id: &RuntimeId,
        scrubber: &Scrubber,
        response: &Response<Bytes>,
    ) -> Result<Self, Rejection> {
        if response.status() != StatusCode::OK {
            return Err(Rejection::of(command.worker_id().is_some(), scrubber, response));
        }
        let body = response.body();
        let mut reply = match command.operation() {
            Operation::ReadRuntime => Self::Runtime(decode::<RuntimeBody<_>>(body)?.runtime),
            Operation::ListWorkers => Self::Workers(decode::<WorkersBody<_>>(body)?.workers),
            Operation::GetWorker | Operation::CreateWorker => {
                Self::Worker(decode::<WorkerBody<_>>(body)?.worker)
            }
            Operation::SendInput => Self::Input(decode::<AckBody<_>>(body)?.ack),
            Operation::StopWorker | Operation::CancelWorker => Self::Ack(decode::<AckBody<_>>(body)?.ack),
            Operation::ReadTranscript => Self::Transcript(decode::<TranscriptBody<_>>(body)?.transcript),
            // No command is to observe.
            Operation::ObserveEvents => return Err(Rejection::new(ErrorKind::Internal, None)),
        };
        if !reply.speaks_of(command, runtime_id) {
            return Err(Rejection::new(ErrorKind::IdentityMismatch, None));
        }
        reply.scrub(scrubber);
        Ok(reply)
    }

    fn speaks_of(&self, command: &Command, runtime_id: &RuntimeId) -> bool {
        let asked = |worker: &WireRef| {
            worker.runtime_id == runtime_id.as_str()
                && command.worker_id().is_none_or(|worker_id| worker.worker_id == worker_id.as_str())
        };
        match self {
            Self::Runtime(runtime) => runtime.runtime_id == runtime_id.as_str(),
            Self::Workers(workers) => workers.iter().all(|worker| {
                asked(&worker.worker_ref)
                    && worker.runtime_id == worker.worker_ref.runtime_id
                    && worker.worker_id == worker.worker_ref.worker_id
            }),
            Self::Worker(worker) => {
                asked(&worker.worker_ref)
                    && worker.runtime_id == worker.worker_ref.runtime_id
                    && worker.worker_id == worker.worker_ref.worker_id
            }
            Self::Input(ack) => asked(&ack.worker_ref),
            Self::Ack(ack) => asked(&ack.worker_ref),
            Self::Transcript(transcript) => {
                asked(&transcript.worker_ref) && transcript.items.iter().all(|item| asked(&item.worker_ref))
            }
        }
    }
}

fn decode<T: DeserializeOwned>(body: &Bytes) -> Result<T, Rejection> {
    // To check it all at once is far cheaper than each text by itself.
    let decoded = match std::str::from_utf8(body) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(body),
    };
    decoded.map_err(|error| {
        // The parser's own words repeat what it read, and its positions tell how long that was.
        let message = match error.classify() {
            serde_json::error::Category::Data => "the runtime's reply is not of the shape of v1",
            _ => "the runtime's reply is not JSON",
        };
        Rejection::new(ErrorKind::MalformedResponse, Some(message))
    })
}

impl Rejection {
    fn new(kind: ErrorKind, message: Option<&'static str>) -> Self {
        Self {
            kind,
            not_applied: kind.proves_not_applied(),
            runtime_code: None,
            message: message.map(Cow::Borrowed),
            retry_after: None,
        }
    }

    pub(crate) fn into_error(self) -> Error {
        let detail = match self.message {
            Some(words) if self.runtime_code.is_some() => format!("{}: {words}", self.kind.title()).into(),
            Some(words) => words,
            None => self.kind.title().into(),
        };
        Error::with_detail(self.kind, detail)
            .with_runtime_code(self.runtime_code)
            .with_retry_after(self.retry_after)
    }

    /// What a response says that is not a success. `about_worker` is whether the request was about a worker, so that
    /// there can be none.
    pub(crate) fn of(about_worker: bool, scrubber: &Scrubber, response: &Response<Bytes>) -> Self {
        let status = response.status();
        let fault = serde_json::from_slice(response.body()).ok().map(|body: FaultBody| body.error);
        let code = fault.as_ref().map(|fault| fault.code.as_str());
        let kind = match (status.as_u16(), code) {
            (300..=399, _) => ErrorKind::UnexpectedRedirect,
            (401 | 403, _) => ErrorKind::RuntimeAuthFailed,
            (404, Some("worker_not_found")) if about_worker => ErrorKind::WorkerNotFound,
            (404 | 405 | 501, _) => ErrorKind::Unsupported,
            (413, _) => ErrorKind::PayloadTooLarge,
            (429 | 503, _) => ErrorKind::RuntimeBusy,
            (400..=499, Some("runtime_stopped")) => ErrorKind::RuntimeStopped,
            (400..=499, Some("worker_busy")) => ErrorKind::WorkerBusy,
            (400..=499, Some("idempotency_conflict")) => ErrorKind::IdempotencyConflict,
            (400..=499, Some(_)) => ErrorKind::InvalidRequest,
            (500..=599, _) => ErrorKind::RuntimeError,
            _ => ErrorKind::MalformedResponse,
        };
        let clean = |text: String| bounded(&scrubber.text(&printable(&text)));
        let (runtime_code, message) =
            fault.map(|fault| (clean(fault.code), clean(fault.message).into())).unzip();
        Self {
            // A 503 may come from a proxy that lost the runtime half-way; a 429 is a plain refusal.
            not_applied: kind.proves_not_applied() || status == StatusCode::TOO_MANY_REQUESTS,
            runtime_code,
            message,
            retry_after: retry_after(response.headers()),
            ..Self::new(kind, None)
        }
    }
}

/// `Retry-After` (RFC 9110, 10.2.3) in seconds, or as a date relative to the response's own `Date`.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    let wait = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = headers.get(header::DATE)?.to_str().ok()?;
            let until = httpdate::parse_http_date(value).ok()?;
            until.duration_since(httpdate::parse_http_date(date).ok()?).unwrap_or_default()
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// Takes secrets out of every text in place.
trait Scrub {
    fn scrub(&mut self, scrubber: &Scrubber);
}

impl Scrub for String {
    fn scrub(&mut self, scrubber: &Scrubber) {
        if let Cow::Owned(clean) = scrubber.text(self) {
            *self = clean;
        }
    }
}

impl<T: Scrub> Scrub for Option<T> {
    fn scrub(&mut self, scrubber: &Scrubber) {
        self.iter_mut().for_each(|part| part.scrub(scrubber));
    }
}

impl<T: Scrub> Scrub for Vec<T> {
    fn scrub(&mut self, scrubber: &Scrubber) {
        self.iter_mut().for_each(|part| part.scrub(scrubber));
    }
}

macro_rules! scrub_fields {
    ($($shape:ty { $($field:ident),+ })+) => {
        $(impl Scrub for $shape {
            fn scrub(&mut self, scrubber: &Scrubber) {
                $(self.$field.scrub(scrubber);)+
            }
        })+
    };
}

scrub_fields! {
    RuntimeSummary { runtime_id, display_name, backend, features, incarnation }
    WireRef { runtime_id, worker_id }
    WorkerSummary { worker_ref, runtime_id, worker_id, intent, profile }
    WorkerDetail {
        worker_ref, runtime_id, worker_id, intent, profile, config_bundle, requested_capabilities,
        workspace_refs, mount_refs
    }
    ConfigBundle { id }
    Capability { name, reason }
    Reference { name, reference }
    InputAck { worker_ref }
    Ack { worker_ref }
    Transcript { worker_ref, items }
    super::wire::TranscriptItem { worker_ref, role, content }
}

impl Scrub for Intent {
    fn scrub(&mut self, scrubber: &Scrubber) {
        match self {
            Self::Assistant { purpose } => purpose.scrub(scrubber),
            Self::Task { objective } => objective.scrub(scrubber),
            Self::Role { role, purpose } => {
                role.scrub(scrubber);
                purpose.scrub(scrubber);
            }
        }
    }
}

impl Scrub for Profile {
    fn scrub(&mut self, scrubber: &Scrubber) {
        match self {
            Self::RuntimeDefault => {}
            Self::Builtin(name) | Self::Named(name) => name.scrub(scrubber),
        }
    }
}

impl Scrub for Reply {
    fn scrub(&mut self, scrubber: &Scrubber) {
        match self {
            Self::Runtime(runtime) => runtime.scrub(scrubber),
            Self::Workers(workers) => workers.scrub(scrubber),
            Self::Worker(worker) => worker.scrub(scrubber),
            Self::Input(ack) => ack.scrub(scrubber),
            Self::Ack(ack) => ack.scrub(scrubber),
            Self::Transcript(transcript) => transcript.scrub(scrubber),
        }
    }
}

#[cfg(test)]
mod tests;
