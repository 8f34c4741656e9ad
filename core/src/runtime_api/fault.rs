//! What a runtime says when it refuses or fails.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::reply::json;

/// The codes of v1 (RUNTIME-API.md, "Errors"), those that our own runtime adds included.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the codes are RUNTIME-API.md's")]
pub enum FaultCode {
    InvalidJson,
    InvalidQuery,
    InvalidRequest,
    InvalidWorkerId,
    LimitTooLarge,
    WrongRuntime,
    WrongRuntimeCursor,
    Unauthorized,
    WorkerNotFound,
    RuntimeStopped,
    WorkerBusy,
    IdempotencyConflict,
    StoreIo,
    StoreMissing,
    StoreCorrupt,
    StatePoisoned,
}

impl FaultCode {
    /// The HTTP status that goes with the code.
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidJson
            | Self::InvalidQuery
            | Self::InvalidRequest
            | Self::InvalidWorkerId
            | Self::LimitTooLarge
            | Self::WrongRuntime
            | Self::WrongRuntimeCursor => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::WorkerNotFound => StatusCode::NOT_FOUND,
            Self::RuntimeStopped | Self::WorkerBusy | Self::IdempotencyConflict => StatusCode::CONFLICT,
            Self::StoreIo | Self::StoreMissing | Self::StoreCorrupt | Self::StatePoisoned => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
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
}

#[derive(Serialize)]
struct Body<'a> {
    error: Typed<'a>,
}

#[derive(Serialize)]
struct Typed<'a> {
    code: FaultCode,
    message: &'a str,
}

impl Fault {
    /// A fault with this code and message.
    pub fn new(code: FaultCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The response that carries it: `{"error":{"code","message"}}` under the code's status.
    pub fn response(&self) -> Response<Bytes> {
        json(self.code.status(), &Body { error: Typed { code: self.code, message: &self.message } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_the_status_of_v1() {
        use FaultCode::*;
        for (status, codes) in [
            (
                400,
                &[
                    InvalidJson,
                    InvalidQuery,
                    InvalidRequest,
                    InvalidWorkerId,
                    LimitTooLarge,
                    WrongRuntime,
                    WrongRuntimeCursor,
                ][..],
            ),
            (401, &[Unauthorized]),
            (404, &[WorkerNotFound]),
            (409, &[RuntimeStopped, WorkerBusy, IdempotencyConflict]),
            (500, &[StoreIo, StoreMissing, StoreCorrupt, StatePoisoned]),
        ] {
            for code in codes {
                assert_eq!(Fault::new(*code, "x").response().status().as_u16(), status, "{code:?}");
            }
        }
    }
}
