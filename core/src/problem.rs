//! Errors as clients are told of them: problem details (RFC 9457).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Origin, Outcome, whole_seconds};
use crate::trace::HttpRequestId;

/// What went wrong: what a gateway told, or what a client knows of its own. A gateway adds `type`, which follows from
/// the code.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
pub struct Problem {
    /// One sentence about the code.
    pub title: Cow<'static, str>,
    /// The HTTP status, where there was a response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What happened this time.
    #[serde(default)]
    pub detail: String,
    /// The cause: a code of `docs/errors.md`, or one of those that [`gateway_client`](super::gateway_client) adds. Programs
    /// may rely on it.
    pub code: Cow<'static, str>,
    /// Whose error it is.
    pub origin: Origin,
    /// Whether the same request may succeed later although nothing is repaired.
    #[serde(default)]
    pub retryable: bool,
    /// Which runtime it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_id: Option<String>,
    /// Which worker it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_id: Option<String>,
    /// In which phase of an exchange it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Cow<'static, str>>,
    /// Whether a command that changes something took effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The runtime's own code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_code: Option<String>,
    /// Which request it is about, in the gateway's log: `urn:sekisho:http-request:` and its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// In how many seconds it is worth to ask again. A gateway tells it as `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "pages", schemars(skip))]
    pub retry_after: Option<u64>,
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        let kind = error.kind();
        Self {
            title: kind.title().into(),
            status: Some(kind.status().as_u16()),
            detail: error.detail().to_owned(),
            code: kind.code().into(),
            origin: kind.origin(),
            retryable: kind.retryable(),
            runtime_id: error.runtime_id().map(ToString::to_string),
            worker_id: error.worker_id().map(ToString::to_string),
            phase: kind.phase().map(Cow::Borrowed),
            outcome: error.outcome(),
            runtime_code: error.runtime_code().map(str::to_owned),
            instance: None,
            retry_after: error.retry_after().map(whole_seconds),
        }
    }
}

impl Problem {
    /// The same as what came of this request.
    pub fn of_request(self, request_id: &HttpRequestId) -> Self {
        Self { instance: Some(format!("urn:sekisho:http-request:{request_id}")), ..self }
    }
}
