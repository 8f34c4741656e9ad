//! Errors as problem details (RFC 9457).

use bytes::Bytes;
use http::Response;
use http::header::{self, HeaderValue};
use serde::Serialize;

use super::json;
use crate::error::{Error, ErrorKind, Origin, Outcome, whole_seconds};
use crate::id::{RuntimeId, WorkerId};

#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    origin: Origin,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime_id: Option<&'a RuntimeId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker_id: Option<&'a WorkerId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime_code: Option<&'a str>,
}

/// The response that tells of an error: `application/problem+json`, with `Retry-After`, `Allow` or
/// `WWW-Authenticate` where they belong.
pub fn problem(error: &Error) -> Response<Bytes> {
    let kind = error.kind();
    let body = Problem {
        r#type: format!("urn:sekisho:problem:{}", kind.code()),
        title: kind.title(),
        status: kind.status().as_u16(),
        detail: error.detail(),
        code: kind.code(),
        origin: kind.origin(),
        retryable: kind.retryable(),
        runtime_id: error.runtime_id(),
        worker_id: error.worker_id(),
        phase: kind.phase(),
        outcome: error.outcome(),
        runtime_code: error.runtime_code(),
    };
    let mut response = json(kind.status(), "application/problem+json", &body);
    let headers = response.headers_mut();
    if let Some(wait) = error.retry_after() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
    }
    match kind {
        ErrorKind::MethodNotAllowed { allow } => {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        ErrorKind::Unauthorized => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sekisho\""));
        }
        _ => {}
    }
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::{NetworkPhase, TimeoutPhase};

    #[test]
    fn a_problem_says_it_all() {
        let error = Error::new(ErrorKind::RuntimeTimeout(TimeoutPhase::Body))
            .of_runtime(&"rt".parse().unwrap())
            .of_worker(Some(&"w".parse().unwrap()))
            .with_outcome(Some(Outcome::Unknown))
            .with_runtime_code(Some("store_io".into()))
            .with_retry_after(Some(Duration::from_millis(1001)));
        let response = problem(&error);
        assert_eq!(response.status(), 504);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["retry-after"], "2");
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        let expected = serde_json::json!({
            "type": "urn:sekisho:problem:runtime_timeout",
            "title": "The runtime did not answer in time",
            "status": 504,
            "detail": "The runtime did not answer in time",
            "code": "runtime_timeout",
            "origin": "runtime",
            "retryable": true,
            "runtime_id": "rt",
            "worker_id": "w",
            "phase": "body",
            "outcome": "unknown",
            "runtime_code": "store_io",
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn what_does_not_apply_is_absent() {
        let response = problem(&Error::new(ErrorKind::Network(NetworkPhase::Tls)));
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        let keys: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["code", "detail", "origin", "phase", "retryable", "status", "title", "type"]);
    }

    #[test]
    fn headers_that_belong_to_a_kind() {
        let allow = problem(&Error::new(ErrorKind::MethodNotAllowed { allow: "GET, HEAD" }));
        assert_eq!(allow.headers()["allow"], "GET, HEAD");
        assert!(problem(&Error::new(ErrorKind::Unauthorized)).headers().contains_key("www-authenticate"));
    }
}
