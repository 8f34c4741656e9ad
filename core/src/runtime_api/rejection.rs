//! What a client makes of a response that is no success.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::command::Command;
use super::fault::FaultCode;
use crate::error::{Error, ErrorKind, Outcome, bounded, printable};
use crate::secret::Scrubber;

/// The longest `Retry-After` that is believed.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The largest body of a command that deployed runtimes read, in bytes. They call a larger one invalid JSON.
const MAX_COMMAND_BODY: usize = 2 << 20;

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

#[derive(Deserialize)]
struct FaultBody {
    error: TypedFault,
}

#[derive(Deserialize)]
struct TypedFault {
    code: String,
    message: String,
    /// Whatever it is: a runtime that is not ours may mean anything by it.
    outcome: Option<Box<RawValue>>,
}

impl TypedFault {
    /// Whether the runtime says that nothing of the command has been done.
    fn says_not_applied(&self) -> bool {
        let outcome = self.outcome.as_ref().map(|outcome| outcome.get().trim_matches('"'));
        outcome == Some(Outcome::NotApplied.name())
    }
}

impl Rejection {
    pub(super) fn new(kind: ErrorKind, message: Option<&'static str>) -> Self {
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

    /// What a response to a command says that is not a success.
    pub(super) fn of_command(command: &Command, scrubber: &Scrubber, response: &Response<Bytes>) -> Self {
        let rejection = Self::of(command.worker_id().is_some(), scrubber, response);
        let invalid_json = rejection.runtime_code.as_deref() == Some(FaultCode::InvalidJson.code());
        match invalid_json && command.body().is_some_and(|body| body.len() > MAX_COMMAND_BODY) {
            true => Self { kind: ErrorKind::PayloadTooLarge, ..rejection },
            false => rejection,
        }
    }

    /// What a response says that is not a success. `about_worker` is whether the request was about a worker, so that
    /// there can be none.
    pub(crate) fn of(about_worker: bool, scrubber: &Scrubber, response: &Response<Bytes>) -> Self {
        let status = response.status();
        let fault = serde_json::from_slice(response.body()).ok().map(|body: FaultBody| body.error);
        let known = fault.as_ref().and_then(|fault| FaultCode::from_code(&fault.code));
        // A code counts under its own status alone: a proxy may have put another response around it.
        let typed = known.filter(|code| code.status() == status);
        let kind = match (status.as_u16(), typed) {
            (404, Some(FaultCode::WorkerNotFound)) if !about_worker => ErrorKind::Unsupported,
            (400 | 403 | 404 | 409, Some(code)) => code.kind(),
            (300..=399, _) => ErrorKind::UnexpectedRedirect,
            (401 | 403, _) => ErrorKind::RuntimeAuthFailed,
            (404 | 405 | 501, _) => ErrorKind::Unsupported,
            (409, _) if fault.is_some() => ErrorKind::Conflict,
            (413, _) => ErrorKind::PayloadTooLarge,
            (429 | 503, _) => ErrorKind::RuntimeBusy,
            (400..=499, _) if fault.is_some() => ErrorKind::InvalidRequest,
            (500..=599, _) => ErrorKind::RuntimeError,
            _ => ErrorKind::MalformedResponse,
        };
        let says_not_applied = fault.as_ref().is_some_and(TypedFault::says_not_applied);
        let clean = |text: String| bounded(&scrubber.text(&printable(&text)));
        let (runtime_code, message) = fault.map(|fault| (clean(fault.code), clean(fault.message))).unzip();
        Self {
            // A typed refusal is the runtime's own word, and so is a 429. A 503 without one may come from a proxy that
            // lost the runtime half-way.
            not_applied: kind.proves_not_applied()
                || status == StatusCode::TOO_MANY_REQUESTS
                || typed.is_some_and(|code| code.proves_not_applied() || says_not_applied),
            runtime_code,
            // What a runtime says of its own failure speaks of its machine, the paths there included.
            message: message.filter(|_| !status.is_server_error()).map(Cow::Owned),
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
