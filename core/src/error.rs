//! What went wrong, whose it is, and whether the command may have happened.
//!
//! Every [`Error`] is built from a closed list of kinds. No text of a transport, a resolver, a TLS library or a URL
//! type is ever part of one; what a runtime wrote is scrubbed and bounded before it gets here.

use std::borrow::Cow;
use std::time::Duration;

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::id::{RuntimeId, WorkerId};

/// The longest text of a runtime that is repeated in an error, in characters.
pub const MAX_RUNTIME_TEXT: usize = 512;

/// What went wrong: one kind for each cause, and none collapsed into another (BROWSER-API.md, "Errors").
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A body, query or header is not of the form, or the runtime refused the content.
    InvalidRequest,
    /// An id in the path is not of the form.
    InvalidIdentifier,
    /// The gateway's own access token is missing or wrong.
    Unauthorized,
    /// The page's origin is not on the list.
    OriginNotAllowed,
    /// The `Host` header is not on the list.
    HostNotAllowed,
    /// The policy said no.
    Denied,
    /// There is no such route.
    UnknownRoute,
    /// There is no such runtime in the configuration.
    UnknownRuntime,
    /// The runtime said, in its own typed words, that it has no such worker.
    WorkerNotFound,
    /// The route exists, but not with this method.
    MethodNotAllowed {
        /// The methods it has, as an `Allow` header lists them.
        allow: &'static str,
    },
    /// The runtime has been stopped.
    RuntimeStopped,
    /// The worker cannot take the input now.
    WorkerBusy,
    /// The idempotency key was used before, with another body.
    IdempotencyConflict,
    /// The request's body is over the limit, the gateway's or the runtime's.
    PayloadTooLarge,
    /// A body that is not `application/json`.
    UnsupportedMediaType,
    /// A fault of the gateway's own.
    Internal,
    /// The runtime or its kind does not have the operation.
    Unsupported,
    /// The way to the runtime failed.
    Network(NetworkPhase),
    /// The runtime refused the gateway's credential.
    RuntimeAuthFailed,
    /// The runtime answered another 5xx.
    RuntimeError,
    /// Not HTTP, not JSON, not the shape, cut short.
    MalformedResponse,
    /// The response is over the limit.
    ResponseTooLarge,
    /// A 3xx, which is never followed.
    UnexpectedRedirect,
    /// The reply speaks of another runtime or worker than the one asked for.
    IdentityMismatch,
    /// The runtime answered 429 or 503.
    RuntimeBusy,
    /// Not tried: the circuit is open, or the runtime's share of connections is in use.
    RuntimeUnavailable,
    /// The runtime did not answer in time.
    RuntimeTimeout(TimeoutPhase),
    /// Not a cursor, or one that was tampered with, or that belongs to another runtime or worker.
    CursorMalformed,
    /// A cursor that was sealed under another key.
    CursorUnknown,
    /// A cursor whose place the runtime no longer has.
    CursorExpired,
    /// A frame of a stream that is not v1's.
    MalformedFrame,
    /// A viewer spoke where there is only something to be seen.
    ObservationOnly,
    /// A viewer could not keep up with the live stream.
    ViewerLagged,
    /// There are as many viewers as there may be.
    TooManyViewers,
    /// The gateway is about to go.
    GoingAway,
}

/// Where on the way the network failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkPhase {
    /// The name did not resolve.
    Resolve,
    /// No connection.
    Connect,
    /// No TLS session, a certificate that is not trusted included.
    Tls,
    /// The connection broke while the request was being sent.
    Send,
    /// The connection broke before the response had begun.
    Receive,
}

/// What was being waited for when the time was over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeoutPhase {
    /// A connection, name resolution and TLS included.
    Connect,
    /// The head of the response.
    Response,
    /// The rest of its body.
    Body,
}

/// Whose error it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The client's: another request is needed.
    Client,
    /// The gateway's.
    Gateway,
    /// The network's between gateway and runtime.
    Network,
    /// The runtime's.
    Runtime,
}

/// Whether a failed command that changes something took effect.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It certainly did not: safe to send again.
    NotApplied,
    /// It may have.
    Unknown,
}

impl ErrorKind {
    /// Every kind.
    pub const ALL: &[Self] = &[
        Self::InvalidRequest,
        Self::InvalidIdentifier,
        Self::Unauthorized,
        Self::OriginNotAllowed,
        Self::HostNotAllowed,
        Self::Denied,
        Self::UnknownRoute,
        Self::UnknownRuntime,
        Self::WorkerNotFound,
        Self::MethodNotAllowed { allow: "" },
        Self::RuntimeStopped,
        Self::WorkerBusy,
        Self::IdempotencyConflict,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::Internal,
        Self::Unsupported,
        Self::Network(NetworkPhase::Resolve),
        Self::Network(NetworkPhase::Connect),
        Self::Network(NetworkPhase::Tls),
        Self::Network(NetworkPhase::Send),
        Self::Network(NetworkPhase::Receive),
        Self::RuntimeAuthFailed,
        Self::RuntimeError,
        Self::MalformedResponse,
        Self::ResponseTooLarge,
        Self::UnexpectedRedirect,
        Self::IdentityMismatch,
        Self::RuntimeBusy,
        Self::RuntimeUnavailable,
        Self::RuntimeTimeout(TimeoutPhase::Connect),
        Self::RuntimeTimeout(TimeoutPhase::Response),
        Self::RuntimeTimeout(TimeoutPhase::Body),
        Self::CursorMalformed,
        Self::CursorUnknown,
        Self::CursorExpired,
        Self::MalformedFrame,
        Self::ObservationOnly,
        Self::ViewerLagged,
        Self::TooManyViewers,
        Self::GoingAway,
    ];

    /// A kind of this code: where several differ in their phases alone, the first of them.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.code() == code)
    }

    /// The name of the kind on the wire: the part of a problem that clients may rely on.
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidIdentifier => "invalid_identifier",
            Self::Unauthorized => "unauthorized",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::HostNotAllowed => "host_not_allowed",
            Self::Denied => "denied",
            Self::UnknownRoute => "unknown_route",
            Self::UnknownRuntime => "unknown_runtime",
            Self::WorkerNotFound => "worker_not_found",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::RuntimeStopped => "runtime_stopped",
            Self::WorkerBusy => "worker_busy",
            Self::IdempotencyConflict => "idempotency_conflict",
            Self::PayloadTooLarge => "payload_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::Internal => "internal",
            Self::Unsupported => "unsupported",
            Self::Network(_) => "network_error",
            Self::RuntimeAuthFailed => "runtime_auth_failed",
            Self::RuntimeError => "runtime_error",
            Self::MalformedResponse => "malformed_response",
            Self::ResponseTooLarge => "response_too_large",
            Self::UnexpectedRedirect => "unexpected_redirect",
            Self::IdentityMismatch => "identity_mismatch",
            Self::RuntimeBusy => "runtime_busy",
            Self::RuntimeUnavailable => "runtime_unavailable",
            Self::RuntimeTimeout(_) => "runtime_timeout",
            Self::CursorMalformed => "cursor_malformed",
            Self::CursorUnknown => "cursor_unknown",
            Self::CursorExpired => "cursor_expired",
            Self::MalformedFrame => "malformed_frame",
            Self::ObservationOnly => "observation_only",
            Self::ViewerLagged => "viewer_lagged",
            Self::TooManyViewers => "too_many_viewers",
            Self::GoingAway => "going_away",
        }
    }

    /// The HTTP status that the browser API answers with.
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest
            | Self::InvalidIdentifier
            | Self::CursorMalformed
            | Self::ObservationOnly => StatusCode::BAD_REQUEST,
            Self::CursorUnknown | Self::CursorExpired => StatusCode::GONE,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::OriginNotAllowed | Self::HostNotAllowed | Self::Denied => StatusCode::FORBIDDEN,
            Self::UnknownRoute | Self::UnknownRuntime | Self::WorkerNotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::RuntimeStopped | Self::WorkerBusy | Self::IdempotencyConflict => StatusCode::CONFLICT,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unsupported => StatusCode::NOT_IMPLEMENTED,
            Self::Network(_)
            | Self::RuntimeAuthFailed
            | Self::RuntimeError
            | Self::MalformedResponse
            | Self::ResponseTooLarge
            | Self::UnexpectedRedirect
            | Self::IdentityMismatch
            | Self::MalformedFrame => StatusCode::BAD_GATEWAY,
            Self::RuntimeBusy
            | Self::RuntimeUnavailable
            | Self::ViewerLagged
            | Self::TooManyViewers
            | Self::GoingAway => StatusCode::SERVICE_UNAVAILABLE,
            Self::RuntimeTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// One sentence about the kind, the same for every error of it.
    pub fn title(self) -> &'static str {
        match self {
            Self::InvalidRequest => "The request is not of the form",
            Self::InvalidIdentifier => "An identifier in the path is not of the form",
            Self::Unauthorized => "The access token is missing or wrong",
            Self::OriginNotAllowed => "Pages of this origin may not come in",
            Self::HostNotAllowed => "This host name is not served here",
            Self::Denied => "The policy does not permit this",
            Self::UnknownRoute => "There is no such route",
            Self::UnknownRuntime => "There is no such runtime",
            Self::WorkerNotFound => "The runtime has no such worker",
            Self::MethodNotAllowed { .. } => "The route does not have this method",
            Self::RuntimeStopped => "The runtime has been stopped",
            Self::WorkerBusy => "The worker cannot take the input now",
            Self::IdempotencyConflict => "The idempotency key was used with another body",
            Self::PayloadTooLarge => "The request is too large",
            Self::UnsupportedMediaType => "The body is not application/json",
            Self::Internal => "The gateway failed",
            Self::Unsupported => "The runtime does not have this operation",
            Self::Network(_) => "The way to the runtime failed",
            Self::RuntimeAuthFailed => "The runtime refused the gateway's credential",
            Self::RuntimeError => "The runtime failed",
            Self::MalformedResponse => "The runtime's reply makes no sense",
            Self::ResponseTooLarge => "The runtime's reply is too large",
            Self::UnexpectedRedirect => "The runtime answered with a redirect",
            Self::IdentityMismatch => "The reply speaks of another runtime or worker",
            Self::RuntimeBusy => "The runtime is busy",
            Self::RuntimeUnavailable => "The runtime is not being asked now",
            Self::RuntimeTimeout(_) => "The runtime did not answer in time",
            Self::CursorMalformed => "This is not a cursor of this worker's",
            Self::CursorUnknown => "The cursor was sealed under another key",
            Self::CursorExpired => "The runtime no longer has the place of the cursor",
            Self::MalformedFrame => "The runtime's stream makes no sense",
            Self::ObservationOnly => "A stream is there to be seen, not to be spoken to",
            Self::ViewerLagged => "The viewer could not keep up with the stream",
            Self::TooManyViewers => "There are as many viewers as there may be",
            Self::GoingAway => "The gateway is about to go",
        }
    }

    /// Whose error it is.
    pub fn origin(self) -> Origin {
        match self {
            Self::InvalidRequest
            | Self::InvalidIdentifier
            | Self::Unauthorized
            | Self::OriginNotAllowed
            | Self::HostNotAllowed
            | Self::Denied
            | Self::UnknownRoute
            | Self::UnknownRuntime
            | Self::MethodNotAllowed { .. }
            | Self::IdempotencyConflict
            | Self::PayloadTooLarge
            | Self::UnsupportedMediaType
            | Self::CursorMalformed
            | Self::CursorUnknown
            | Self::ObservationOnly
            | Self::ViewerLagged => Origin::Client,
            Self::Internal | Self::RuntimeUnavailable | Self::TooManyViewers | Self::GoingAway => {
                Origin::Gateway
            }
            Self::Network(_) => Origin::Network,
            Self::WorkerNotFound
            | Self::RuntimeStopped
            | Self::WorkerBusy
            | Self::Unsupported
            | Self::RuntimeAuthFailed
            | Self::RuntimeError
            | Self::MalformedResponse
            | Self::ResponseTooLarge
            | Self::UnexpectedRedirect
            | Self::IdentityMismatch
            | Self::RuntimeBusy
            | Self::RuntimeTimeout(_)
            | Self::CursorExpired
            | Self::MalformedFrame => Origin::Runtime,
        }
    }

    /// Whether the same request may succeed later although nobody mends anything.
    ///
    /// Whether sending it again is *safe* is another question: [`Error::outcome`] answers it.
    pub fn retryable(self) -> bool {
        match self {
            Self::WorkerBusy
            | Self::Network(_)
            | Self::RuntimeError
            | Self::RuntimeBusy
            | Self::RuntimeUnavailable
            | Self::RuntimeTimeout(_)
            | Self::ViewerLagged
            | Self::TooManyViewers
            | Self::GoingAway => true,
            Self::InvalidRequest
            | Self::InvalidIdentifier
            | Self::Unauthorized
            | Self::OriginNotAllowed
            | Self::HostNotAllowed
            | Self::Denied
            | Self::UnknownRoute
            | Self::UnknownRuntime
            | Self::WorkerNotFound
            | Self::MethodNotAllowed { .. }
            | Self::RuntimeStopped
            | Self::IdempotencyConflict
            | Self::PayloadTooLarge
            | Self::UnsupportedMediaType
            | Self::Internal
            | Self::Unsupported
            | Self::RuntimeAuthFailed
            | Self::MalformedResponse
            | Self::ResponseTooLarge
            | Self::UnexpectedRedirect
            | Self::IdentityMismatch
            | Self::CursorMalformed
            | Self::CursorUnknown
            | Self::CursorExpired
            | Self::MalformedFrame
            | Self::ObservationOnly => false,
        }
    }

    /// The code that a viewer's WebSocket is closed with. Its range alone tells what to do (BROWSER-API.md,
    /// "Observation"): 1001 and 4000 to 4399, come back with the cursor; 4400 to 4499, come back without; 1008 and
    /// 4500 to 4999, do not come back.
    pub fn close_code(self) -> u16 {
        match self {
            Self::GoingAway => 1001,
            Self::ObservationOnly => 1008,
            Self::ViewerLagged => 4001,
            Self::Network(_)
            | Self::RuntimeTimeout(_)
            | Self::RuntimeBusy
            | Self::RuntimeUnavailable
            | Self::RuntimeError
            | Self::RuntimeStopped
            | Self::WorkerBusy
            | Self::Internal => 4002,
            Self::TooManyViewers => 4003,
            Self::CursorExpired => 4400,
            Self::CursorUnknown => 4401,
            Self::CursorMalformed
            | Self::InvalidRequest
            | Self::Unauthorized
            | Self::OriginNotAllowed
            | Self::HostNotAllowed
            | Self::UnknownRoute
            | Self::MethodNotAllowed { .. }
            | Self::IdempotencyConflict
            | Self::PayloadTooLarge
            | Self::UnsupportedMediaType => 4500,
            Self::Unsupported => 4501,
            Self::RuntimeAuthFailed
            | Self::MalformedFrame
            | Self::MalformedResponse
            | Self::ResponseTooLarge
            | Self::IdentityMismatch
            | Self::UnexpectedRedirect => 4502,
            Self::Denied => 4503,
            Self::WorkerNotFound | Self::UnknownRuntime | Self::InvalidIdentifier => 4504,
        }
    }

    /// In which phase of the exchange with the runtime it happened, where that is part of the kind.
    pub fn phase(self) -> Option<&'static str> {
        match self {
            Self::Network(NetworkPhase::Resolve) => Some("resolve"),
            Self::Network(NetworkPhase::Connect) | Self::RuntimeTimeout(TimeoutPhase::Connect) => {
                Some("connect")
            }
            Self::Network(NetworkPhase::Tls) => Some("tls"),
            Self::Network(NetworkPhase::Send) => Some("send"),
            Self::Network(NetworkPhase::Receive) => Some("receive"),
            Self::RuntimeTimeout(TimeoutPhase::Response) => Some("response"),
            Self::RuntimeTimeout(TimeoutPhase::Body) => Some("body"),
            _ => None,
        }
    }

    /// Whether a failure of this kind, heard once a command had been sent, leaves no doubt that the command did
    /// not happen: somebody on the other side looked at it and said no.
    pub(crate) fn proves_not_applied(self) -> bool {
        match self {
            Self::InvalidRequest
            | Self::InvalidIdentifier
            | Self::WorkerNotFound
            | Self::RuntimeStopped
            | Self::WorkerBusy
            | Self::IdempotencyConflict
            | Self::PayloadTooLarge
            | Self::UnsupportedMediaType
            | Self::Unsupported
            | Self::RuntimeAuthFailed
            | Self::Unauthorized
            | Self::OriginNotAllowed
            | Self::HostNotAllowed
            | Self::Denied
            | Self::UnknownRoute
            | Self::UnknownRuntime
            | Self::MethodNotAllowed { .. }
            | Self::RuntimeUnavailable
            | Self::CursorMalformed
            | Self::CursorUnknown
            | Self::CursorExpired
            | Self::ObservationOnly
            | Self::ViewerLagged
            | Self::TooManyViewers
            | Self::GoingAway => true,
            Self::Internal
            | Self::Network(_)
            | Self::RuntimeError
            | Self::MalformedResponse
            | Self::ResponseTooLarge
            | Self::UnexpectedRedirect
            | Self::IdentityMismatch
            | Self::RuntimeBusy
            | Self::RuntimeTimeout(_)
            | Self::MalformedFrame => false,
        }
    }
}

/// A failure, ready to be shown to anybody.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}: {}", .0.kind.code(), .0.detail)]
pub struct Error(Box<Facts>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Facts {
    kind: ErrorKind,
    detail: Cow<'static, str>,
    runtime_id: Option<RuntimeId>,
    worker_id: Option<WorkerId>,
    outcome: Option<Outcome>,
    runtime_code: Option<String>,
    retry_after: Option<Duration>,
}

impl Error {
    /// An error of this kind, explained by the kind's own title.
    pub fn new(kind: ErrorKind) -> Self {
        Self::with_detail(kind, kind.title())
    }

    /// An error of this kind with a sentence about this very case.
    ///
    /// The sentence is the gateway's own: it holds nothing that a runtime, a transport or a library said.
    pub(crate) fn with_detail(kind: ErrorKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Facts {
            kind,
            detail: detail.into(),
            runtime_id: None,
            worker_id: None,
            outcome: None,
            runtime_code: None,
            retry_after: None,
        }))
    }

    pub(crate) fn of_runtime(mut self, runtime_id: &RuntimeId) -> Self {
        self.0.runtime_id = Some(runtime_id.clone());
        self
    }

    pub(crate) fn of_worker(mut self, worker_id: Option<&WorkerId>) -> Self {
        self.0.worker_id = worker_id.cloned();
        self
    }

    pub(crate) fn with_outcome(mut self, outcome: Option<Outcome>) -> Self {
        self.0.outcome = outcome;
        self
    }

    pub(crate) fn with_runtime_code(mut self, code: Option<String>) -> Self {
        self.0.runtime_code = code;
        self
    }

    pub(crate) fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.0.retry_after = retry_after;
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What went wrong in this very case, in a sentence.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The runtime that the request was about.
    pub fn runtime_id(&self) -> Option<&RuntimeId> {
        self.0.runtime_id.as_ref()
    }

    /// The worker that the request was about.
    pub fn worker_id(&self) -> Option<&WorkerId> {
        self.0.worker_id.as_ref()
    }

    /// For commands that change something, whether this one may have happened all the same.
    pub fn outcome(&self) -> Option<Outcome> {
        self.0.outcome
    }

    /// The runtime's own code, scrubbed and bounded to [`MAX_RUNTIME_TEXT`] characters.
    pub fn runtime_code(&self) -> Option<&str> {
        self.0.runtime_code.as_deref()
    }

    /// How long to wait before another try, where somebody said.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// For a refusal by the gateway, made before anything left it: a command that would have changed something
    /// certainly did not.
    pub(crate) fn refusing(self, method: &Method) -> Self {
        let changes_something = *method == Method::POST;
        self.with_outcome(changes_something.then_some(Outcome::NotApplied))
    }
}

/// A text of somebody else's, fit to be repeated: without control characters and at most [`MAX_RUNTIME_TEXT`]
/// characters long. Scrub what is [`printable`] first: a secret cut in two is no longer found.
pub(crate) fn bounded(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(MAX_RUNTIME_TEXT).collect()
}

/// The text without control characters. Scrub afterwards: there may be a secret whose parts these kept apart.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kind, code, status, origin, retryable, phase, proves_not_applied, close_code.
    type Row = (ErrorKind, &'static str, u16, Origin, bool, Option<&'static str>, bool, u16);

    const TABLE: &[Row] = {
        use ErrorKind::*;
        use NetworkPhase::*;
        use Origin::{Client, Gateway, Network as Net, Runtime};
        &[
            (InvalidRequest, "invalid_request", 400, Client, false, None, true, 4500),
            (InvalidIdentifier, "invalid_identifier", 400, Client, false, None, true, 4504),
            (Unauthorized, "unauthorized", 401, Client, false, None, true, 4500),
            (OriginNotAllowed, "origin_not_allowed", 403, Client, false, None, true, 4500),
            (HostNotAllowed, "host_not_allowed", 403, Client, false, None, true, 4500),
            (Denied, "denied", 403, Client, false, None, true, 4503),
            (UnknownRoute, "unknown_route", 404, Client, false, None, true, 4500),
            (UnknownRuntime, "unknown_runtime", 404, Client, false, None, true, 4504),
            (WorkerNotFound, "worker_not_found", 404, Runtime, false, None, true, 4504),
            (MethodNotAllowed { allow: "GET" }, "method_not_allowed", 405, Client, false, None, true, 4500),
            (RuntimeStopped, "runtime_stopped", 409, Runtime, false, None, true, 4002),
            (WorkerBusy, "worker_busy", 409, Runtime, true, None, true, 4002),
            (IdempotencyConflict, "idempotency_conflict", 409, Client, false, None, true, 4500),
            (PayloadTooLarge, "payload_too_large", 413, Client, false, None, true, 4500),
            (UnsupportedMediaType, "unsupported_media_type", 415, Client, false, None, true, 4500),
            (Internal, "internal", 500, Gateway, false, None, false, 4002),
            (Unsupported, "unsupported", 501, Runtime, false, None, true, 4501),
            (Network(Resolve), "network_error", 502, Net, true, Some("resolve"), false, 4002),
            (Network(Connect), "network_error", 502, Net, true, Some("connect"), false, 4002),
            (Network(Tls), "network_error", 502, Net, true, Some("tls"), false, 4002),
            (Network(Send), "network_error", 502, Net, true, Some("send"), false, 4002),
            (Network(Receive), "network_error", 502, Net, true, Some("receive"), false, 4002),
            (RuntimeAuthFailed, "runtime_auth_failed", 502, Runtime, false, None, true, 4502),
            (RuntimeError, "runtime_error", 502, Runtime, true, None, false, 4002),
            (MalformedResponse, "malformed_response", 502, Runtime, false, None, false, 4502),
            (ResponseTooLarge, "response_too_large", 502, Runtime, false, None, false, 4502),
            (UnexpectedRedirect, "unexpected_redirect", 502, Runtime, false, None, false, 4502),
            (IdentityMismatch, "identity_mismatch", 502, Runtime, false, None, false, 4502),
            (RuntimeBusy, "runtime_busy", 503, Runtime, true, None, false, 4002),
            (RuntimeUnavailable, "runtime_unavailable", 503, Gateway, true, None, true, 4002),
            (
                RuntimeTimeout(TimeoutPhase::Connect),
                "runtime_timeout",
                504,
                Runtime,
                true,
                Some("connect"),
                false,
                4002,
            ),
            (
                RuntimeTimeout(TimeoutPhase::Response),
                "runtime_timeout",
                504,
                Runtime,
                true,
                Some("response"),
                false,
                4002,
            ),
            (
                RuntimeTimeout(TimeoutPhase::Body),
                "runtime_timeout",
                504,
                Runtime,
                true,
                Some("body"),
                false,
                4002,
            ),
            (CursorMalformed, "cursor_malformed", 400, Client, false, None, true, 4500),
            (CursorUnknown, "cursor_unknown", 410, Client, false, None, true, 4401),
            (CursorExpired, "cursor_expired", 410, Runtime, false, None, true, 4400),
            (MalformedFrame, "malformed_frame", 502, Runtime, false, None, false, 4502),
            (ObservationOnly, "observation_only", 400, Client, false, None, true, 1008),
            (ViewerLagged, "viewer_lagged", 503, Client, true, None, true, 4001),
            (TooManyViewers, "too_many_viewers", 503, Gateway, true, None, true, 4003),
            (GoingAway, "going_away", 503, Gateway, true, None, true, 1001),
        ]
    };

    #[test]
    fn facts_about_every_kind() {
        for (kind, code, status, origin, retryable, phase, not_applied, close_code) in TABLE {
            assert_eq!(kind.code(), *code);
            assert_eq!(kind.status().as_u16(), *status, "{code}");
            assert_eq!(kind.origin(), *origin, "{code}");
            assert_eq!(kind.retryable(), *retryable, "{code}");
            assert_eq!(kind.phase(), *phase, "{code}");
            assert_eq!(kind.proves_not_applied(), *not_applied, "{code}");
            assert_eq!(kind.close_code(), *close_code, "{code}");
            assert!(!kind.title().ends_with('.'), "{code}");
        }
    }

    #[test]
    fn all_kinds_are_those_of_the_table() {
        let all: Vec<_> = ErrorKind::ALL.iter().map(|kind| (kind.code(), kind.phase())).collect();
        let table: Vec<_> = TABLE.iter().map(|row| (row.1, row.5)).collect();
        assert_eq!(all, table);
        assert!(ErrorKind::ALL.iter().all(|kind| ErrorKind::from_code(kind.code()).is_some()));
        assert_eq!(ErrorKind::from_code("caught_up"), None);
    }

    #[test]
    fn no_two_causes_share_a_code() {
        let mut causes: Vec<_> = TABLE.iter().map(|row| (row.1, row.5)).collect();
        causes.sort();
        causes.dedup();
        assert_eq!(causes.len(), TABLE.len());
    }

    #[test]
    fn texts_of_others_are_bounded() {
        assert_eq!(bounded("a\u{1b}[31mb\r\nc\u{7f}"), "a[31mbc");
        assert_eq!(bounded(&"関".repeat(1000)).chars().count(), MAX_RUNTIME_TEXT);
    }
}
