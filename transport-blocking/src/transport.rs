//! How one runtime is reached.

use std::fmt;
use std::time::Instant;

use bytes::Bytes;
use http::Response;
use sekisho_core::secret::Token;
use sekisho_core::transport::{Attempt, Connect, Failure, Frames, InProcess, Unopened};
use tungstenite::WebSocket;

use crate::client::{HttpClient, Opened};
use crate::socket::Socket;

/// How one runtime is reached.
pub enum Transport {
    /// Over the network.
    Network(HttpClient),
    /// By a call of a function.
    InProcess(Box<dyn InProcess>),
}

/// A stream that a runtime has opened.
pub(crate) enum Stream {
    Socket(Box<WebSocket<Socket>>),
    InProcess(Box<dyn Frames>),
}

impl Transport {
    /// Performs one attempt: the whole response, or why there is none. Blocks for as long as the attempt's limits say.
    pub fn exchange(&self, attempt: Attempt) -> Result<Response<Bytes>, Failure> {
        match self {
            Self::Network(client) => client.exchange(attempt),
            Self::InProcess(runtime) => Ok(runtime.handle(&attempt.request)),
        }
    }

    #[expect(clippy::result_large_err, reason = "moved once, and seldom")]
    pub(crate) fn open(&self, connect: Connect) -> Result<Stream, Unopened> {
        match self {
            Self::Network(client) => {
                let Opened(socket) = client.open(connect)?;
                Ok(Stream::Socket(Box::new(socket)))
            }
            Self::InProcess(runtime) => runtime
                .observe(&connect.request.map(|()| Bytes::new()))
                .map(Stream::InProcess)
                .map_err(Unopened::Refused),
        }
    }

    /// The runtime's token as its source has it now.
    pub fn credential(&self) -> Option<Token> {
        match self {
            Self::Network(client) => client.token_source()?.read(),
            Self::InProcess(_) => None,
        }
    }

    /// The runtime's token, if its source has another one than when it was last looked at.
    pub fn changed_credential(&self, now: Instant) -> Option<Token> {
        match self {
            Self::Network(client) => client.token_source()?.changed(now),
            Self::InProcess(_) => None,
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network(_) => "Transport::Network",
            Self::InProcess(_) => "Transport::InProcess",
        })
    }
}
