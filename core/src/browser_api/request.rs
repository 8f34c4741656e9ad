//! What clients ask.

pub(super) mod body;
mod overview;

use std::borrow::Cow;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use percent_encoding::percent_decode_str;

use self::body::{BodyOfClient, create_body};
pub(super) use self::overview::Overview;
#[cfg(feature = "pages")]
use super::asset::Asset;
use super::limits::{MAX_REQUEST_HEAD, ROOM_AFTER};
use crate::error::{Error, ErrorKind, bounded};
use crate::id::{IdError, RuntimeId, WorkerId, WorkerRef};
use crate::query;
use crate::runtime_api::{
    Command, Head, HeadError, IdempotencyKey, Operation, OtherMethods, Wire, WorkerFilter,
};

/// What a request asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// `GET /livez` and `GET /healthz`
    Health,
    /// `GET /readyz`
    Ready,
    /// `GET /metrics`: a server that counts answers it by itself. For an [`Exchange`](super::Exchange) there is no such
    /// route.
    Metrics,
    /// `GET /api/runtimes`
    Runtimes,
    /// `GET /api/runtimes/{runtime_id}`
    Runtime(RuntimeId),
    /// `GET /api/workers`
    AllWorkers(AllWorkers),
    /// `GET /api/requests`
    AllRequests,
    /// A file that is served as it is.
    #[cfg(feature = "pages")]
    Asset(Asset),
    /// Everything that is one command to one runtime.
    Command {
        /// To which runtime.
        runtime_id: RuntimeId,
        /// Which command.
        command: Command,
    },
}

/// Which workers of all runtimes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AllWorkers {
    /// Those that are wanted; a worker's id alone is no place among those of all runtimes, so
    /// [`after`](WorkerFilter::after) is none here.
    pub filter: WorkerFilter,
    /// Those after this one, in the order of the configuration and, of one runtime, oldest first. `RUNTIME/WORKER` in
    /// the query.
    pub after: Option<WorkerRef>,
}

impl Action {
    /// Whether it changes something, rather than only look.
    pub fn changes_something(&self) -> bool {
        match self {
            Self::Command { command, .. } => command.operation().changes_something(),
            _ => false,
        }
    }

    /// The runtime and the worker that it is about.
    pub fn subject(&self) -> (Option<&RuntimeId>, Option<&WorkerId>) {
        match self {
            Self::Runtime(runtime_id) => (Some(runtime_id), None),
            Self::Command { runtime_id, command } => (Some(runtime_id), command.worker_id()),
            _ => (None, None),
        }
    }

    /// The request that asks for it, in origin form and without what an address adds. [`Route::parse`] and
    /// [`Route::action`] read it back as the same action, but for mount references and a configuration bundle, which
    /// this API does not have.
    pub fn request(&self) -> Request<Bytes> {
        let mut request = Request::new(Bytes::new());
        let path = match self {
            Self::Health => Overview::Health.path().to_owned(),
            Self::Ready => Overview::Ready.path().to_owned(),
            Self::Metrics => Overview::Metrics.path().to_owned(),
            Self::Runtimes => Overview::Runtimes.path().to_owned(),
            Self::AllRequests => Overview::Requests.path().to_owned(),
            #[cfg(feature = "pages")]
            Self::Asset(asset) => asset.path().to_owned(),
            Self::Runtime(runtime_id) => Command::Runtime.path(Wire::Gateway, "", Some(runtime_id)),
            Self::AllWorkers(AllWorkers { filter, after }) => {
                let after = after.as_ref().map(|after| Cow::Owned(after.to_string()));
                query::with_parameters(Overview::Workers.path().to_owned(), filter.parameters(after))
            }
            Self::Command { runtime_id, command } => command.path(Wire::Gateway, "", Some(runtime_id)),
        };
        // Constants, ids and encoded parameters: all of it characters of a path or query.
        *request.uri_mut() = path.try_into().expect("made of checked parts");
        let Self::Command { command, .. } = self else { return request };
        *request.method_mut() = command.operation().method();
        if let Some(key) = command.idempotency_key() {
            request.headers_mut().insert(IdempotencyKey::HEADER, key.header_value());
        }
        let body = match command {
            Command::Create { worker, .. } => Some(create_body(worker)),
            command => command.body(),
        };
        if let Some(body) = body {
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = body;
        }
        request
    }
}

/// A request whose head has been understood and whose body has not been read.
#[derive(Debug)]
pub struct Route {
    template: &'static str,
    /// Whether the head says that the body is JSON. Where it says anything else, there is no route.
    declares_json: bool,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Whole(Action),
    Command { runtime_id: RuntimeId, head: Head },
}

impl Route {
    /// What the head of a request asks for.
    pub fn parse(head: &Parts) -> Result<Self, Error> {
        Self::understand(head).map_err(|error| error.refusing(&head.method))
    }

    fn understand(head: &Parts) -> Result<Self, Error> {
        let (template, step) = match overview::read(head) {
            Some(overview) => overview?,
            None => command(head)?,
        };
        Ok(Self { template, declares_json: declares_json(&head.headers)?, step })
    }

    /// The route as the documentation writes it: fit for logs and metrics, whatever the request.
    pub fn template(&self) -> &'static str {
        self.template
    }

    /// Whether there is a body to be read before [`Route::action`].
    pub fn takes_body(&self) -> bool {
        match &self.step {
            Step::Whole(_) => false,
            Step::Command { head, .. } => head.operation.takes_body(),
        }
    }

    /// What head and body together ask for.
    pub fn action(self, body: &Bytes) -> Result<Action, Error> {
        let (runtime_id, head) = match self.step {
            Step::Whole(action) => return Ok(action),
            Step::Command { runtime_id, head } => (runtime_id, head),
        };
        let refuse = |error: Error, worker_id: Option<&WorkerId>| {
            let error = error.of_runtime(&runtime_id).of_worker(worker_id);
            error.refusing(&head.operation.method())
        };
        let body = if head.operation.takes_body() { body } else { &Bytes::new() };
        if !self.declares_json && !body.is_empty() {
            return Err(refuse(Error::new(ErrorKind::UnsupportedMediaType), None));
        }
        let command = head.clone().command(&BodyOfClient(body));
        let command = command.map_err(|error| refuse(error, head.worker_id.as_ref()))?;
        Ok(match command {
            Command::Runtime => Action::Runtime(runtime_id),
            command => Action::Command { runtime_id, command },
        })
    }

    /// The error of a body over the server's limit.
    pub fn body_too_large(limit: usize) -> Error {
        let detail = format!("The body is larger than {limit} bytes");
        Error::with_detail(ErrorKind::PayloadTooLarge, detail).refusing(&Method::POST)
    }

    /// The error of a body that broke off, or did not come to its end in time.
    pub fn body_incomplete() -> Error {
        let detail = "The body did not come to its end, or not in time";
        Error::with_detail(ErrorKind::InvalidRequest, detail).refusing(&Method::POST)
    }

    /// The error of a request for whose body, or for the response to which, there is no room in memory.
    pub fn no_room(method: &Method) -> Error {
        let detail = "The requests and responses under way take all the memory that they may";
        let error = Error::with_detail(ErrorKind::GatewayBusy, detail);
        error.with_retry_after(Some(ROOM_AFTER)).refusing(method)
    }

    /// The error of bytes that the server cannot read as a request, with the status that it has found.
    pub fn unreadable(status: StatusCode) -> Error {
        match status {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE | StatusCode::URI_TOO_LONG => {
                let detail = format!("The head of the request is larger than {MAX_REQUEST_HEAD} bytes");
                Error::with_detail(ErrorKind::HeadTooLarge, detail)
            }
            _ => Error::with_detail(ErrorKind::InvalidRequest, "This is not a request of HTTP/1.1"),
        }
    }
}

/// What is asked of one runtime.
fn command(head: &Parts) -> Result<(&'static str, Step), Error> {
    let path = head.uri.path();
    let (operation, captures) = match Operation::find(Wire::Gateway, &head.method, path) {
        None => return Err(no_route(path)),
        Some(Err(OtherMethods { allow })) => return Err(Error::new(ErrorKind::MethodNotAllowed { allow })),
        Some(Ok(found)) => found,
    };
    let runtime_id = runtime_id(captures.runtime_id.unwrap_or_default())?;
    let head = Head::read(operation, captures, head.uri.query(), &head.headers)?;
    Ok((operation.path(Wire::Gateway).as_str(), Step::Command { runtime_id, head }))
}

/// Why there is no route of this path: it may be that an id in it has a slash that was not encoded.
fn no_route(path: &str) -> Error {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match segments[..] {
        ["api", "runtimes", _, "workers", first, _, .., last] if segments.len() > 6 => {
            let path = format!("/api/runtimes/r/workers/w/{last}");
            match Operation::find(Wire::Gateway, &Method::GET, &path) {
                Some(_) => invalid_id("worker_id", IdError::Character { position: first.len() }),
                None => Error::new(ErrorKind::UnknownRoute),
            }
        }
        _ => Error::new(ErrorKind::UnknownRoute),
    }
}

impl From<HeadError> for Error {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::WorkerId(error) => invalid_id("worker_id", error),
            HeadError::RequestId(error) => invalid_id("request_id", error),
            HeadError::Query(error) => invalid(error),
            HeadError::Key(error) => invalid(error),
        }
    }
}

pub(super) fn invalid(error: impl std::fmt::Display) -> Error {
    Error::with_detail(ErrorKind::InvalidRequest, bounded(&error.to_string()))
}

fn invalid_id(what: &str, error: IdError) -> Error {
    Error::with_detail(ErrorKind::InvalidIdentifier, format!("The {what} {error}"))
}

pub(super) fn runtime_id(segment: &str) -> Result<RuntimeId, Error> {
    percent_decode_str(segment).decode_utf8_lossy().parse().map_err(|error| invalid_id("runtime_id", error))
}

pub(super) fn worker_id(segment: &str) -> Result<WorkerId, Error> {
    percent_decode_str(segment).decode_utf8_lossy().parse().map_err(|error| invalid_id("worker_id", error))
}

fn declares_json(headers: &HeaderMap) -> Result<bool, Error> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(false) };
    let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    match essence.trim_ascii().eq_ignore_ascii_case(b"application/json") {
        true => Ok(true),
        false => Err(Error::new(ErrorKind::UnsupportedMediaType)),
    }
}

#[cfg(test)]
mod tests;
