//! What a runtime says when it refuses or fails.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use serde::{Deserialize, Serialize};

use super::reply::json;
use crate::error::{ErrorKind, Outcome, whole_seconds};

/// The codes of v1 (`docs/runtime-api.md`), those that our own runtime adds included.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultCode {
    /// The body is not JSON of the shape that the route takes.
    InvalidJson,
    /// The query is not one that the route takes.
    InvalidQuery,
    /// The content cannot be accepted.
    InvalidRequest,
    /// The worker's id is not one.
    InvalidWorkerId,
    /// More was asked for at a time than the runtime gives.
    LimitTooLarge,
    /// The request speaks of another runtime.
    WrongRuntime,
    /// The cursor is another runtime's.
    WrongRuntimeCursor,
    /// There is no profile of this name.
    UnknownProfile,
    /// The token is missing or wrong.
    Unauthorized,
    /// The runtime's operator does not allow it.
    NotAllowed,
    /// There is no such worker.
    WorkerNotFound,
    /// The worker has no such open request.
    RequestGone,
    /// The runtime has been stopped.
    RuntimeStopped,
    /// The worker cannot take the input now.
    WorkerBusy,
    /// The worker has ended.
    WorkerNotRunning,
    /// The worker has not ended.
    WorkerRunning,
    /// The worker is not on a terminal.
    NoTerminal,
    /// The request was answered otherwise before.
    RequestAlreadyAnswered,
    /// The idempotency key was used with another body.
    IdempotencyConflict,
    /// The store failed.
    StoreIo,
    /// The store has lost a record.
    StoreMissing,
    /// A record of the store is damaged.
    StoreCorrupt,
    /// An earlier failure has left the runtime's state unusable.
    StatePoisoned,
    /// The worker's program could not be started.
    NotStarted,
    /// As many workers run as may, or the machine has no room for another.
    RuntimeFull,
}

impl FaultCode {
    /// Every code.
    pub const ALL: &[Self] = &[
        Self::InvalidJson,
        Self::InvalidQuery,
        Self::InvalidRequest,
        Self::InvalidWorkerId,
        Self::LimitTooLarge,
        Self::WrongRuntime,
        Self::WrongRuntimeCursor,
        Self::UnknownProfile,
        Self::Unauthorized,
        Self::NotAllowed,
        Self::WorkerNotFound,
        Self::RequestGone,
        Self::RuntimeStopped,
        Self::WorkerBusy,
        Self::WorkerNotRunning,
        Self::WorkerRunning,
        Self::NoTerminal,
        Self::RequestAlreadyAnswered,
        Self::IdempotencyConflict,
        Self::StoreIo,
        Self::StoreMissing,
        Self::StoreCorrupt,
        Self::StatePoisoned,
        Self::NotStarted,
        Self::RuntimeFull,
    ];

    /// The code as it is written, its HTTP status, and what a client makes of it.
    fn row(self) -> (&'static str, StatusCode, ErrorKind) {
        use ErrorKind as Kind;
        use StatusCode as Status;
        match self {
            // The gateway wrote the JSON: that the runtime cannot read it is no fault of the client's.
            Self::InvalidJson => ("invalid_json", Status::BAD_REQUEST, Kind::RuntimeError),
            Self::InvalidQuery => ("invalid_query", Status::BAD_REQUEST, Kind::InvalidRequest),
            Self::InvalidRequest => ("invalid_request", Status::BAD_REQUEST, Kind::InvalidRequest),
            Self::InvalidWorkerId => ("invalid_worker_id", Status::BAD_REQUEST, Kind::InvalidRequest),
            Self::LimitTooLarge => ("limit_too_large", Status::BAD_REQUEST, Kind::InvalidRequest),
            Self::WrongRuntime => ("wrong_runtime", Status::BAD_REQUEST, Kind::InvalidRequest),
            Self::WrongRuntimeCursor => ("wrong_runtime_cursor", Status::BAD_REQUEST, Kind::InvalidRequest),
            Self::UnknownProfile => ("unknown_profile", Status::BAD_REQUEST, Kind::UnknownProfile),
            Self::Unauthorized => ("unauthorized", Status::UNAUTHORIZED, Kind::RuntimeAuthFailed),
            Self::NotAllowed => ("not_allowed", Status::FORBIDDEN, Kind::NotAllowed),
            Self::WorkerNotFound => ("worker_not_found", Status::NOT_FOUND, Kind::WorkerNotFound),
            Self::RequestGone => ("request_gone", Status::NOT_FOUND, Kind::RequestGone),
            Self::RuntimeStopped => ("runtime_stopped", Status::CONFLICT, Kind::RuntimeStopped),
            Self::WorkerBusy => ("worker_busy", Status::CONFLICT, Kind::WorkerBusy),
            Self::WorkerNotRunning => ("worker_not_running", Status::CONFLICT, Kind::WorkerNotRunning),
            Self::WorkerRunning => ("worker_running", Status::CONFLICT, Kind::WorkerRunning),
            // A worker's state for all its life: a conflict that has no kind of its own.
            Self::NoTerminal => ("no_terminal", Status::CONFLICT, Kind::Conflict),
            Self::RequestAlreadyAnswered => {
                ("request_already_answered", Status::CONFLICT, Kind::RequestAlreadyAnswered)
            }
            Self::IdempotencyConflict => {
                ("idempotency_conflict", Status::CONFLICT, Kind::IdempotencyConflict)
            }
            Self::StoreIo => ("store_io", Status::INTERNAL_SERVER_ERROR, Kind::RuntimeError),
            Self::StoreMissing => ("store_missing", Status::INTERNAL_SERVER_ERROR, Kind::RuntimeError),
            Self::StoreCorrupt => ("store_corrupt", Status::INTERNAL_SERVER_ERROR, Kind::RuntimeError),
            Self::StatePoisoned => ("state_poisoned", Status::INTERNAL_SERVER_ERROR, Kind::RuntimeError),
            Self::NotStarted => ("not_started", Status::INTERNAL_SERVER_ERROR, Kind::RuntimeError),
            Self::RuntimeFull => ("runtime_full", Status::SERVICE_UNAVAILABLE, Kind::RuntimeBusy),
        }
    }

    /// The code of this name.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.code() == code)
    }

    /// The code as it is written.
    pub fn code(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status that goes with the code.
    pub fn status(self) -> StatusCode {
        self.row().1
    }

    /// What a client makes of the code, where it comes under its own status.
    pub fn kind(self) -> ErrorKind {
        self.row().2
    }

    /// Whether the runtime says with this code that it has done nothing of the command.
    pub(super) fn proves_not_applied(self) -> bool {
        self.status().is_client_error() || matches!(self, Self::NotStarted | Self::RuntimeFull)
    }
}

/// A runtime's typed refusal or failure, on the runtime's side.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// Which of the known causes.
    pub code: FaultCode,
    /// The cause in words.
    pub message: String,
    /// How long to wait before another try, told in whole seconds, rounded up.
    pub retry_after: Option<Duration>,
    /// Whether nothing of the command has been done, where the code by itself leaves that open.
    pub not_applied: bool,
}

#[derive(Serialize)]
struct Body<'a> {
    error: Typed<'a>,
}

#[derive(Serialize)]
struct Typed<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'a str>,
}

impl Fault {
    /// A fault with this code and message.
    pub fn new(code: FaultCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None, not_applied: false }
    }

    /// The same fault, with how long to wait before another try.
    #[must_use]
    pub fn with_retry_after(self, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..self }
    }

    /// The same fault, of a command of which nothing has been done.
    #[must_use]
    pub fn with_nothing_done(self) -> Self {
        Self { not_applied: true, ..self }
    }

    /// The response that carries it: `{"error":{"code","message","outcome"?}}` under the code's status.
    pub fn response(&self) -> Response<Bytes> {
        let outcome = self.not_applied.then_some(Outcome::NotApplied.name());
        let body = Body { error: Typed { code: self.code.code(), message: &self.message, outcome } };
        let mut response = json(self.code.status(), &body);
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, whole_seconds(wait).into());
        }
        response
    }
}

#[cfg(test)]
mod tests;
