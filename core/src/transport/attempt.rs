//! Commands: one request to be sent once, and how that failed.

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;

use super::connection::Via;
use crate::error::{Error, ErrorKind, NetworkPhase, TimeoutPhase};
use crate::secret::base_url::Target;

/// Names an attempt within its call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AttemptId(u32);

impl AttemptId {
    pub(crate) fn of(number: u32) -> Self {
        Self(number)
    }
}

/// One request to be sent once. Prints neither its target nor its request.
pub struct Attempt {
    /// What reports about this attempt name.
    pub id: AttemptId,
    /// Where to connect to.
    pub target: Target,
    /// What to send: in origin form, `Host` and `Authorization` included.
    pub request: Request<Bytes>,
    /// Which connection may carry it.
    pub via: Via,
    /// How long each phase may take, and how large the answer may be.
    pub limits: AttemptLimits,
}

/// The bounds of one attempt. Each phase ends at its own limit or at `deadline`, whichever is first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AttemptLimits {
    /// For a connection: name resolution, TCP and TLS together.
    pub connect: Duration,
    /// For the head of the response, from when the connection is there.
    pub response: Duration,
    /// For the rest of the body, from when the head is there.
    pub body: Duration,
    /// The largest body, in bytes.
    pub max_body: usize,
    /// When everything must be over.
    pub deadline: Instant,
    /// How long a pooled connection may have been idle to be used; else open a new one.
    pub max_idle: Duration,
}

impl Attempt {
    /// The one attempt of a request that belongs to no call, over any connection.
    pub fn only(target: Target, request: Request<Bytes>, limits: AttemptLimits) -> Self {
        Self { id: AttemptId(1), target, request, via: Via::Any, limits }
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("id", &self.id)
            .field("target", &self.target)
            .field("method", self.request.method())
            .field("via", &self.via)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What became of an attempt that got no response.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Failure {
    /// What happened.
    pub cause: FailureCause,
    /// Whether any byte of the request may have reached the other side.
    pub sent: bool,
}

/// Why an attempt got no response. Exhaustive, so that no transport has to squeeze a cause into another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FailureCause {
    /// The network failed.
    Network(NetworkPhase),
    /// Time was over.
    Timeout(TimeoutPhase),
    /// What came was not HTTP, or had a head beyond the transport's bounds.
    NotHttp,
    /// The connection ended within the body.
    CutShort,
    /// The body is larger than [`AttemptLimits::max_body`], or was announced to be.
    TooLarge,
    /// The responses under way take all the memory that the transport gives them.
    NoRoom,
    /// There is no pooled connection as [`Via::Identified`] asks for. Always unsent.
    NotIdentified,
}

impl Failure {
    /// A failure before any byte was sent.
    pub fn unsent(cause: FailureCause) -> Self {
        Self { cause, sent: false }
    }

    /// A failure after a byte of the request may have been sent.
    pub fn sent(cause: FailureCause) -> Self {
        Self { cause, sent: true }
    }

    pub(crate) fn into_error(self) -> Error {
        Error::with_detail(self.cause.into(), self.cause.detail())
    }
}

impl From<FailureCause> for ErrorKind {
    fn from(cause: FailureCause) -> Self {
        match cause {
            FailureCause::Network(phase) => Self::Network(phase),
            FailureCause::Timeout(phase) => Self::RuntimeTimeout(phase),
            FailureCause::NotHttp | FailureCause::CutShort => Self::MalformedResponse,
            FailureCause::TooLarge => Self::ResponseTooLarge,
            FailureCause::NoRoom => Self::GatewayBusy,
            FailureCause::NotIdentified => Self::RuntimeUnavailable,
        }
    }
}

impl FailureCause {
    /// The cause in words.
    pub fn detail(self) -> &'static str {
        match self {
            Self::Network(NetworkPhase::Resolve) => "the runtime's name does not resolve",
            Self::Network(NetworkPhase::Connect) => "no connection to the runtime",
            Self::Network(NetworkPhase::Tls) => "no trusted TLS session with the runtime",
            Self::Network(NetworkPhase::Send) => "the connection broke while the request was being sent",
            Self::Network(NetworkPhase::Receive) => "the connection broke before a response had come",
            Self::Timeout(TimeoutPhase::Connect) => "no connection to the runtime in time",
            Self::Timeout(TimeoutPhase::Response) => "no response from the runtime in time",
            Self::Timeout(TimeoutPhase::Body) => "the runtime's response did not come to its end in time",
            Self::NotHttp => "what the runtime answered is not HTTP",
            Self::CutShort => "the runtime's response was cut short",
            Self::TooLarge => "the runtime's response is over the limit",
            Self::NoRoom => "the responses under way take all the memory that they may",
            Self::NotIdentified => "no connection to this runtime could be identified: others use them all",
        }
    }
}
