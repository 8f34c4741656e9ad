//! Errors as problem details (RFC 9457).

use bytes::Bytes;
use http::Response;
use http::header::{self, HeaderValue};
use serde::Serialize;

use super::json;
use crate::error::{Error, ErrorKind};
use crate::problem::Problem;
use crate::trace::HttpRequestId;

#[derive(Serialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema), schemars(rename = "Problem"))]
/// What went wrong (RFC 9457).
pub(super) struct Typed<'a> {
    /// `urn:sekisho:problem:` and the code.
    r#type: String,
    #[serde(flatten)]
    problem: &'a Problem,
}

impl<'a> Typed<'a> {
    pub(super) fn of(problem: &'a Problem) -> Self {
        Self { r#type: format!("urn:sekisho:problem:{}", problem.code), problem }
    }
}

/// The response that tells of an error: `application/problem+json`, with `Retry-After`, `Allow` or
/// `WWW-Authenticate` where they belong.
pub fn problem(error: &Error) -> Response<Bytes> {
    response(error, Problem::from(error))
}

/// The same for the request of this id, which the body names as its `instance`.
pub fn problem_of(error: &Error, request_id: &HttpRequestId) -> Response<Bytes> {
    response(error, Problem::from(error).of_request(request_id))
}

fn response(error: &Error, mut problem: Problem) -> Response<Bytes> {
    let kind = error.kind();
    let retry_after = problem.retry_after.take();
    let body = Typed::of(&problem);
    let mut response = json(kind.status(), "application/problem+json", &body);
    let headers = response.headers_mut();
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
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
    use crate::error::{NetworkPhase, Outcome, TimeoutPhase};

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
