//! What a driver tells a watch.

use std::fmt;

use bytes::Bytes;
use http::Response;

use crate::secret::Token;
use crate::transport::{AttemptId, ConnId, Failure, Loss, Unopened};

/// What a driver tells a watch. An input about an attempt or connection that is not the current one is ignored.
pub enum WatchInput {
    /// The stream is open.
    Opened(ConnId),
    /// The runtime answered with a response other than an upgrade.
    Refused(ConnId, Response<Bytes>),
    /// A text message has come.
    Frame(ConnId, Bytes),
    /// A pong has come.
    Pong(ConnId),
    /// The connection has ended.
    Lost(ConnId, Loss),
    /// The whole response to an attempt has come.
    Response(AttemptId, Response<Bytes>),
    /// The attempt got no response.
    Failed(AttemptId, Failure),
    /// The runtime's token as it is now, `None` if it could not be read. A token that the watch did not ask for is sent
    /// from the next connection on, and is removed from payloads at once.
    Credential(Option<Token>),
    /// The stream is no longer needed.
    Stop,
}

impl WatchInput {
    /// The input for the result of an attempt.
    pub fn report(id: AttemptId, result: Result<Response<Bytes>, Failure>) -> Self {
        match result {
            Ok(response) => Self::Response(id, response),
            Err(failure) => Self::Failed(id, failure),
        }
    }

    /// Whether what brought this is over: the driver lets go of the attempt or the connection before it feeds it.
    pub fn ends_link(&self) -> bool {
        match self {
            Self::Refused(..) | Self::Lost(..) | Self::Response(..) | Self::Failed(..) => true,
            Self::Opened(_) | Self::Frame(..) | Self::Pong(_) | Self::Credential(_) | Self::Stop => false,
        }
    }

    /// The input for the result of opening a stream.
    pub fn opened(id: ConnId, result: Result<(), Unopened>) -> Self {
        match result {
            Ok(()) => Self::Opened(id),
            Err(Unopened::Refused(response)) => Self::Refused(id, response),
            Err(Unopened::Malformed) => Self::Lost(id, Loss::Malformed),
            Err(Unopened::Failed(failure)) => Self::Lost(id, Loss::Failed(failure.cause)),
        }
    }
}

impl fmt::Debug for WatchInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened(id) => write!(f, "Opened({id:?})"),
            Self::Refused(id, response) => write!(f, "Refused({id:?}, {})", response.status()),
            // The length of a frame would tell the length of the secrets that a runtime wrote into it.
            Self::Frame(id, _) => write!(f, "Frame({id:?})"),
            Self::Pong(id) => write!(f, "Pong({id:?})"),
            Self::Lost(id, loss) => write!(f, "Lost({id:?}, {loss:?})"),
            Self::Response(id, response) => write!(f, "Response({id:?}, {})", response.status()),
            Self::Failed(id, failure) => write!(f, "Failed({id:?}, {failure:?})"),
            Self::Credential(token) => write!(f, "Credential({token:?})"),
            Self::Stop => f.write_str("Stop"),
        }
    }
}
