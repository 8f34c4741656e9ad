//! What went wrong, as a client of the gateway knows it.

use bytes::Bytes;
use http::{Response, header};
use serde::{Deserialize, Serialize};

use super::frame::Notice;
use crate::error::{Error, ErrorKind, NetworkPhase, Origin, Outcome, TimeoutPhase, bounded};
use crate::transport::{Failure, FailureCause};

/// The code of a problem on the way to the gateway: nobody there answered.
pub const GATEWAY_UNREACHABLE: &str = "gateway_unreachable";

/// The code of a problem on the way to the gateway: it did not answer in time.
pub const GATEWAY_TIMEOUT: &str = "gateway_timeout";

/// The code of an answer that no gateway gives: something else listens there, or stands before it.
pub const NOT_A_GATEWAY: &str = "not_a_gateway";

/// What [`NOT_A_GATEWAY`] is called.
const SOMEBODY_ELSE: &str = "What answered is not a sekisho gateway";

/// What went wrong: problem details (RFC 9457) of a gateway, or of the way there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Problem {
    /// The cause: one of BROWSER-API.md's codes, or of the three of the way there.
    pub code: String,
    /// One sentence about the code.
    pub title: String,
    /// What happened this time.
    #[serde(default)]
    pub detail: String,
    /// Whose error it is.
    pub origin: Origin,
    /// The HTTP status, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Whether the same request may succeed later although nobody mends anything.
    #[serde(default)]
    pub retryable: bool,
    /// Which runtime it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_id: Option<String>,
    /// Which worker it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_id: Option<String>,
    /// Where on the way it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Whether a command that changes something took effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The runtime's own code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_code: Option<String>,
    /// In how many seconds it is worth to ask again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

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
            FailureCause::Network(_) => (GATEWAY_UNREACHABLE, "The gateway cannot be reached"),
            FailureCause::Timeout(_) => (GATEWAY_TIMEOUT, "The gateway did not answer in time"),
            FailureCause::NotHttp | FailureCause::CutShort | FailureCause::TooLarge => {
                (NOT_A_GATEWAY, SOMEBODY_ELSE)
            }
        };
        let detail = match failure.cause {
            FailureCause::Network(NetworkPhase::Resolve) => "its name does not resolve",
            FailureCause::Network(NetworkPhase::Connect) => "there is no connection",
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
            FailureCause::TooLarge => "the answer is over all bounds",
        };
        let outcome = if failure.sent { Outcome::Unknown } else { Outcome::NotApplied };
        Self {
            phase: ErrorKind::from(failure.cause).phase().map(str::to_owned),
            outcome: changes_something.then_some(outcome),
            retryable: matches!(failure.cause, FailureCause::Network(_) | FailureCause::Timeout(_)),
            ..Self::of(code, title, detail.to_owned())
        }
    }

    /// What a reply comes to that is a success, but not one of the API's.
    pub fn unexpected_body() -> Self {
        Self::not_a_gateway("the answer is not of the form")
    }

    /// What it means that an answer or a stream is none of a gateway's.
    pub(super) fn not_a_gateway(detail: &str) -> Self {
        Self::of(NOT_A_GATEWAY, SOMEBODY_ELSE, detail.to_owned())
    }

    /// How a gateway ended a stream: its last diagnostic.
    pub(super) fn from_closing_diagnostic(notice: &Notice) -> Self {
        let retry_after =
            notice.retry_after().map(|pause| pause.as_secs() + u64::from(pause.subsec_nanos() > 0));
        let detail = bounded(&notice.message);
        match ErrorKind::from_code(&notice.code) {
            Some(kind) => Self {
                origin: kind.origin(),
                retryable: kind.retryable(),
                retry_after,
                ..Self::of(kind.code(), kind.title(), detail)
            },
            // Of a gateway that knows more errors than this client.
            None => Self {
                retry_after,
                ..Self::of(&bounded(&notice.code), "The gateway ended the stream", detail)
            },
        }
    }

    fn of(code: &str, title: &str, detail: String) -> Self {
        Self {
            code: code.to_owned(),
            title: title.to_owned(),
            detail,
            origin: Origin::Gateway,
            status: None,
            retryable: false,
            runtime_id: None,
            worker_id: None,
            phase: None,
            outcome: None,
            runtime_code: None,
            retry_after: None,
        }
    }
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        Self::from_response(&crate::browser_api::problem(error), false)
    }
}
