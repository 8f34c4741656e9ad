//! Streams: what to open, and how opening or the stream itself ended.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};

use super::attempt::{Failure, FailureCause};
use super::connection::Via;
use crate::secret::base_url::Target;

/// Names a connection within the machine that asked for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId(u32);

impl ConnId {
    pub(crate) fn of(number: u32) -> Self {
        Self(number)
    }
}

/// A stream to be opened. Prints neither its target nor its request.
pub struct Connect {
    /// What reports about this connection name.
    pub id: ConnId,
    /// Where to connect to.
    pub target: Target,
    /// What to ask for, in origin form: an opening handshake (RFC 6455, 4.1), to which the transport adds its key.
    pub request: Request<()>,
    /// Which connection becomes the stream: a pooled one for [`Via::Identified`], which has been idle for at most
    /// [`MAX_IDLE_FOR_ONCE`](super::MAX_IDLE_FOR_ONCE), or else a new one.
    pub via: Via,
    /// How long each phase may take.
    pub limits: ConnectLimits,
}

/// The bounds of opening a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectLimits {
    /// For a connection: name resolution, TCP and TLS together.
    pub connect: Duration,
    /// For the head of the response, from when the connection is there; and again for the body of a refusal, which has
    /// at most [`MAX_REFUSAL`](super::MAX_REFUSAL) bytes.
    pub response: Duration,
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect").field("id", &self.id).field("target", &self.target).finish_non_exhaustive()
    }
}

/// Why a stream was not opened.
#[derive(Debug)]
pub enum Unopened {
    /// The other side answered with something else than an upgrade.
    Refused(Response<Bytes>),
    /// The answer claims to be an upgrade and is not one: `Sec-WebSocket-Accept` is wrong, or the connection cannot be
    /// taken over.
    Malformed,
    /// There was no answer.
    Failed(Failure),
}

impl From<Failure> for Unopened {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// How a stream ended, or why there was none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Loss {
    /// It was never opened.
    Failed(FailureCause),
    /// The other side or something in between ended it, with or without a close frame: deployed runtimes send none.
    Ended,
    /// What came is not WebSocket, or is a binary message.
    Malformed,
    /// A message is over [`MAX_FRAME`](super::MAX_FRAME).
    TooLarge,
}
