//! What can go wrong, in one table: a kind of error and every fact about it are one row.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::Origin;

/// The facts about a kind of error.
struct Row {
    code: &'static str,
    status: StatusCode,
    close_code: u16,
    origin: Origin,
    retry: Retry,
    effect: Effect,
    title: &'static str,
}

/// Whether the same request may succeed later although nothing is repaired.
#[derive(PartialEq)]
enum Retry {
    /// It may.
    Later,
    /// It will not.
    Never,
}

/// What a failure says about a command that had been sent when it was heard.
#[derive(PartialEq)]
enum Effect {
    /// The other side read the command and refused it: it did not happen.
    Refused,
    /// It may have happened.
    Unclear,
}

/// Makes [`ErrorKind`] and its facts of the table below. A row is the title, which is the kind's documentation too,
/// what else there is to say of the kind, its name, and the fields of [`Row`].
macro_rules! error_kinds {
    ($(
        #[doc = $title:literal]
        $(#[$more:meta])*
        $kind:ident $(($phase:ident))? $({ $(#[$field_doc:meta])* $field:ident })? =
            $code:literal, $status:ident, $close:literal, $origin:ident, $retry:ident, $effect:ident;
    )+) => {
        /// What went wrong: one kind for each cause, and none collapsed into another (`docs/errors.md`).
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $(
                #[doc = $title]
                $(#[$more])*
                $kind $(($phase))? $({ $(#[$field_doc])* $field: &'static str })?,
            )+
        }

        impl ErrorKind {
            /// Every kind, in the order of the documentation; a kind with phases once for each of them.
            pub fn all() -> Vec<Self> {
                [$(error_kinds!(@values $kind $(($phase))? $({ $field })?)),+].concat()
            }

            fn row(self) -> &'static Row {
                match self {
                    $(Self::$kind { .. } => const { &Row {
                        code: $code,
                        status: StatusCode::$status,
                        close_code: $close,
                        origin: Origin::$origin,
                        retry: Retry::$retry,
                        effect: Effect::$effect,
                        title: $title.trim_ascii(),
                    } },)+
                }
            }
        }
    };
    (@values $kind:ident) => { vec![Self::$kind] };
    (@values $kind:ident { $field:ident }) => { vec![Self::$kind { $field: "" }] };
    (@values $kind:ident ($phase:ident)) => {
        $phase::ALL.iter().copied().map(Self::$kind).collect::<Vec<Self>>()
    };
}

error_kinds! {
    /// The request is invalid
    ///
    /// A body, query or header is not what the API takes, or the runtime refused the content.
    InvalidRequest = "invalid_request", BAD_REQUEST, 4500, Client, Never, Refused;

    /// An identifier in the path is invalid
    InvalidIdentifier = "invalid_identifier", BAD_REQUEST, 4504, Client, Never, Refused;

    /// The access token is missing or wrong
    Unauthorized = "unauthorized", UNAUTHORIZED, 4500, Client, Never, Refused;

    /// Pages of this origin are not allowed
    OriginNotAllowed = "origin_not_allowed", FORBIDDEN, 4500, Client, Never, Refused;

    /// This host name is not allowed
    HostNotAllowed = "host_not_allowed", FORBIDDEN, 4500, Client, Never, Refused;

    /// The policy does not permit this
    Denied = "denied", FORBIDDEN, 4503, Client, Never, Refused;

    /// The runtime's operator does not allow this
    ///
    /// Said on the runtime's own typed word alone.
    NotAllowed = "not_allowed", FORBIDDEN, 4503, Runtime, Never, Refused;

    /// There is no such route
    UnknownRoute = "unknown_route", NOT_FOUND, 4500, Client, Never, Refused;

    /// There is no such runtime
    UnknownRuntime = "unknown_runtime", NOT_FOUND, 4504, Client, Never, Refused;

    /// The runtime has no such worker
    ///
    /// Said on the runtime's own typed word alone.
    WorkerNotFound = "worker_not_found", NOT_FOUND, 4504, Runtime, Never, Refused;

    /// The worker has no such open request
    RequestGone = "request_gone", NOT_FOUND, 4500, Runtime, Never, Refused;

    /// The runtime has no such profile
    UnknownProfile = "unknown_profile", BAD_REQUEST, 4500, Client, Never, Refused;

    /// The route does not have this method
    MethodNotAllowed {
        /// The methods that the route has, as an `Allow` header lists them.
        allow
    } = "method_not_allowed", METHOD_NOT_ALLOWED, 4500, Client, Never, Refused;

    /// The runtime has been stopped
    RuntimeStopped = "runtime_stopped", CONFLICT, 4002, Runtime, Never, Refused;

    /// The worker cannot take the input now
    WorkerBusy = "worker_busy", CONFLICT, 4002, Runtime, Later, Refused;

    /// The worker has ended
    WorkerNotRunning = "worker_not_running", CONFLICT, 4500, Runtime, Never, Refused;

    /// The worker has not ended
    WorkerRunning = "worker_running", CONFLICT, 4500, Runtime, Never, Refused;

    /// The request was answered otherwise before
    RequestAlreadyAnswered = "request_already_answered", CONFLICT, 4500, Runtime, Never, Refused;

    /// The idempotency key was used with another body
    IdempotencyConflict = "idempotency_conflict", CONFLICT, 4500, Client, Never, Refused;

    /// The state of the runtime or worker forbids this
    ///
    /// A conflict of the runtime's that has no code of the gateway's.
    Conflict = "conflict", CONFLICT, 4500, Runtime, Never, Refused;

    /// The request is too large
    ///
    /// Its body is over the limit, the gateway's or the runtime's.
    PayloadTooLarge = "payload_too_large", PAYLOAD_TOO_LARGE, 4500, Client, Never, Refused;

    /// The head of the request is too large
    HeadTooLarge = "head_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, 4500, Client, Never, Refused;

    /// The body is not application/json
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, 4500, Client, Never, Refused;

    /// The gateway failed
    Internal = "internal", INTERNAL_SERVER_ERROR, 4002, Gateway, Never, Unclear;

    /// The runtime does not have this operation
    Unsupported = "unsupported", NOT_IMPLEMENTED, 4501, Runtime, Never, Refused;

    /// The runtime cannot be reached
    Network(NetworkPhase) = "network_error", BAD_GATEWAY, 4002, Network, Later, Unclear;

    /// The runtime refused the gateway's credential
    RuntimeAuthFailed = "runtime_auth_failed", BAD_GATEWAY, 4502, Runtime, Never, Refused;

    /// The runtime failed
    ///
    /// It, or a proxy in front of it, answered with a 5xx that is none of the others here.
    RuntimeError = "runtime_error", BAD_GATEWAY, 4002, Runtime, Later, Unclear;

    /// The runtime's reply cannot be understood
    ///
    /// It is not HTTP, not JSON, not v1, or cut short.
    MalformedResponse = "malformed_response", BAD_GATEWAY, 4502, Runtime, Never, Unclear;

    /// The runtime's reply is too large
    ResponseTooLarge = "response_too_large", BAD_GATEWAY, 4502, Runtime, Never, Unclear;

    /// The runtime answered with a redirect
    ///
    /// Redirects are never followed.
    UnexpectedRedirect = "unexpected_redirect", BAD_GATEWAY, 4502, Runtime, Never, Unclear;

    /// The reply is about another runtime or worker
    IdentityMismatch = "identity_mismatch", BAD_GATEWAY, 4502, Runtime, Never, Unclear;

    /// The runtime is busy
    ///
    /// It, or a proxy in front of it, answered 429 or 503.
    RuntimeBusy = "runtime_busy", SERVICE_UNAVAILABLE, 4002, Runtime, Later, Unclear;

    /// The runtime is not being asked now
    ///
    /// Its circuit is open, or its share of connections is in use.
    RuntimeUnavailable = "runtime_unavailable", SERVICE_UNAVAILABLE, 4002, Gateway, Later, Refused;

    /// The runtime did not answer in time
    RuntimeTimeout(TimeoutPhase) = "runtime_timeout", GATEWAY_TIMEOUT, 4002, Runtime, Later, Unclear;

    /// The gateway has as much under way as it may have
    GatewayBusy = "gateway_busy", SERVICE_UNAVAILABLE, 4002, Gateway, Later, Unclear;

    /// This is not a cursor of this worker
    ///
    /// Not a cursor, one that was tampered with, or one of another runtime or worker.
    CursorMalformed = "cursor_malformed", BAD_REQUEST, 4500, Client, Never, Refused;

    /// A viewer of a stream may not send anything
    ObservationOnly = "observation_only", BAD_REQUEST, 1008, Client, Never, Refused;

    /// The cursor was sealed under another key
    CursorUnknown = "cursor_unknown", GONE, 4401, Client, Never, Refused;

    /// The runtime no longer has the events after the cursor
    CursorExpired = "cursor_expired", GONE, 4400, Runtime, Never, Refused;

    /// The runtime's stream cannot be understood
    MalformedFrame = "malformed_frame", BAD_GATEWAY, 4502, Runtime, Never, Unclear;

    /// The viewer did not keep up with the stream
    ViewerLagged = "viewer_lagged", SERVICE_UNAVAILABLE, 4001, Client, Later, Refused;

    /// The gateway has as many viewers as it may have
    TooManyViewers = "too_many_viewers", SERVICE_UNAVAILABLE, 4003, Gateway, Later, Refused;

    /// The gateway is shutting down
    GoingAway = "going_away", SERVICE_UNAVAILABLE, 1001, Gateway, Later, Refused;
}

impl ErrorKind {
    /// A kind of this code: where several differ in their phases alone, the first of them.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::all().into_iter().find(|kind| kind.code() == code)
    }

    /// The name of the kind on the wire: the part of a problem that clients may rely on.
    pub fn code(self) -> &'static str {
        self.row().code
    }

    /// The HTTP status that the browser API answers with.
    pub fn status(self) -> StatusCode {
        self.row().status
    }

    /// One sentence about the kind, the same for every error of it.
    pub fn title(self) -> &'static str {
        self.row().title
    }

    /// Whose error it is.
    pub fn origin(self) -> Origin {
        self.row().origin
    }

    /// Whether the same request may succeed later although nothing is repaired.
    ///
    /// Whether sending it again is *safe* is another question: [`Error::outcome`](super::Error::outcome) answers it.
    pub fn retryable(self) -> bool {
        self.row().retry == Retry::Later
    }

    /// The code that a viewer's WebSocket is closed with. Its range alone tells what to do (`docs/observation.md`):
    /// 1001 and 4000 to 4399, come back with the cursor; 4400 to 4499, come back without; 1008 and 4500 to 4999, do
    /// not come back.
    pub fn close_code(self) -> u16 {
        self.row().close_code
    }

    /// In which phase of the exchange with the runtime it happened, where that is part of the kind.
    pub fn phase(self) -> Option<&'static str> {
        match self {
            Self::Network(phase) => Some(phase.name()),
            Self::RuntimeTimeout(phase) => Some(phase.name()),
            _ => None,
        }
    }

    /// Whether a failure of this kind, heard once a command had been sent, leaves no doubt that the command did not
    /// happen.
    pub(crate) fn proves_not_applied(self) -> bool {
        self.row().effect == Effect::Refused
    }
}

/// In which phase of an exchange the network failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
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

impl NetworkPhase {
    /// Every phase, in the order in which they follow each other.
    pub const ALL: [Self; 5] = [Self::Resolve, Self::Connect, Self::Tls, Self::Send, Self::Receive];

    /// The phase as problem details name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Send => "send",
            Self::Receive => "receive",
        }
    }
}

/// What was being waited for when the time was over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeoutPhase {
    /// A connection, name resolution and TLS included.
    Connect,
    /// The head of the response.
    Response,
    /// The rest of its body.
    Body,
}

impl TimeoutPhase {
    /// Every phase, in the order in which they follow each other.
    pub const ALL: [Self; 3] = [Self::Connect, Self::Response, Self::Body];

    /// The phase as problem details name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Response => "response",
            Self::Body => "body",
        }
    }
}
