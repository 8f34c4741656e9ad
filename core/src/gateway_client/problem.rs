//! What went wrong, as a client of the gateway knows it.

use std::borrow::Cow;

use bytes::Bytes;
use http::{Response, header};

use crate::diagnostic::Diagnostic;
use crate::error::{ErrorKind, NetworkPhase, Origin, Outcome, TimeoutPhase, bounded, whole_seconds};
use crate::problem::Problem;
use crate::transport::{Failure, FailureCause};

/// The code of a failure to reach the gateway: there is no connection.
pub const GATEWAY_UNREACHABLE: &str = "gateway_unreachable";

/// The code of a failure to reach the gateway: it did not answer in time.
pub const GATEWAY_TIMEOUT: &str = "gateway_timeout";

/// The code of an answer that no gateway gives: something else listens there, or stands before it.
pub const NOT_A_GATEWAY: &str = "not_a_gateway";

/// What [`NOT_A_GATEWAY`] is called.
const ANOTHER_PROGRAM: &str = "What answered is not a sekisho gateway";

impl Problem {
    /// What a gateway told in a response; any other response is [`NOT_A_GATEWAY`].
    pub fn from_response(response: &Response<Bytes>, changes_something: bool) -> Self {
        let retry_after = response.headers().get(header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        match serde_json::from_slice::<Self>(response.body()) {
            Ok(problem) => Self { retry_after, ..problem },
            Err(_) => Self {
                status: Some(response.status().as_u16()),
                outcome: changes_something.then_some(Outcome::Unknown),
                ..Self::not_a_gateway(&format!(
                    "the answer has the status {} and no problem details",
                    response.status().as_u16()
                ))
            },
        }
    }

    /// What it means that there was no response at all.
    pub fn from_transport_failure(failure: Failure, changes_something: bool) -> Self {
        let (code, title) = match failure.cause {
            FailureCause::Network(_) | FailureCause::NotIdentified => {
                (GATEWAY_UNREACHABLE, "The gateway cannot be reached")
            }
            FailureCause::Timeout(_) => (GATEWAY_TIMEOUT, "The gateway did not answer in time"),
            FailureCause::NotHttp
            | FailureCause::CutShort
            | FailureCause::TooLarge
            | FailureCause::NoRoom => (NOT_A_GATEWAY, ANOTHER_PROGRAM),
        };
        let detail = match failure.cause {
            FailureCause::Network(NetworkPhase::Resolve) => "its name does not resolve",
            FailureCause::Network(NetworkPhase::Connect) | FailureCause::NotIdentified => {
                "there is no connection"
            }
            FailureCause::Network(NetworkPhase::Tls) => "there is no trusted TLS session",
            FailureCause::Network(NetworkPhase::Send) => {
                "the connection broke while the request was being sent"
            }
            FailureCause::Network(NetworkPhase::Receive) => "the connection broke before a response had come",
            FailureCause::Timeout(TimeoutPhase::Connect) => "no connection in time",
            FailureCause::Timeout(TimeoutPhase::Response) => "no response in time",
            FailureCause::Timeout(TimeoutPhase::Body) => "the response did not come to its end in time",
            FailureCause::NotHttp => "the answer is not HTTP",
            FailureCause::CutShort => "the answer was cut short",
            FailureCause::TooLarge | FailureCause::NoRoom => "the answer is over all bounds",
        };
        let outcome = if failure.sent { Outcome::Unknown } else { Outcome::NotApplied };
        Self {
            phase: ErrorKind::from(failure.cause).phase().map(Cow::Borrowed),
            outcome: changes_something.then_some(outcome),
            retryable: matches!(failure.cause, FailureCause::Network(_) | FailureCause::Timeout(_)),
            ..Self::of(code, title, detail.to_owned())
        }
    }

    /// What a reply comes to that is a success, but not one of the API's.
    pub fn unexpected_body() -> Self {
        Self::not_a_gateway("the answer is not one of the API")
    }

    /// What it means that an answer or a stream is none of a gateway's.
    pub(super) fn not_a_gateway(detail: &str) -> Self {
        Self::of(NOT_A_GATEWAY, ANOTHER_PROGRAM, detail.to_owned())
    }

    /// How a gateway ended a stream: its last diagnostic.
    pub(super) fn from_closing_diagnostic(diagnostic: &Diagnostic) -> Self {
        let retry_after = diagnostic.retry_after().map(whole_seconds);
        let detail = bounded(&diagnostic.message);
        match ErrorKind::from_code(&diagnostic.code) {
            Some(kind) => Self {
                origin: kind.origin(),
                retryable: kind.retryable(),
                retry_after,
                ..Self::of(kind.code(), kind.title(), detail)
            },
            // Of a gateway that knows more errors than this client.
            None => Self {
                retry_after,
                ..Self::of(bounded(&diagnostic.code), "The gateway ended the stream", detail)
            },
        }
    }

    fn of(code: impl Into<Cow<'static, str>>, title: &'static str, detail: String) -> Self {
        Self {
            code: code.into(),
            title: title.into(),
            detail,
            origin: Origin::Gateway,
            status: None,
            retryable: false,
            runtime_id: None,
            worker_id: None,
            phase: None,
            outcome: None,
            runtime_code: None,
            instance: None,
            retry_after: None,
        }
    }
}
