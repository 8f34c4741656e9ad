//! How one runtime is reached.

use std::fmt;
use std::time::Instant;

use bytes::Bytes;
use http::Response;
use sekisho_core::error::TimeoutPhase;
use sekisho_core::secret::Token;
use sekisho_core::transport::{Attempt, Connect, Failure, FailureCause, Frames, InProcess, Unopened};
use tokio::time::timeout_at;

use crate::client::HttpClient;
use crate::http1::WebSocket;

/// How one runtime is reached.
pub enum Transport {
    /// Over the network.
    Network(HttpClient),
    /// By a call of a function.
    InProcess(Box<dyn InProcess>),
}

/// A stream that a runtime has opened.
pub(crate) enum Stream {
    Socket(Box<WebSocket>),
    InProcess(Box<dyn Frames>),
}

impl Transport {
    /// Performs one attempt: the whole response, or why there is none. It ends within the attempt's limits.
    ///
    /// Dropped half-way, it leaves nothing behind.
    pub async fn exchange(&self, attempt: Attempt) -> Result<Response<Bytes>, Failure> {
        match self {
            Self::Network(client) => client.exchange(attempt).await,
            Self::InProcess(runtime) => {
                let response = runtime.respond(&attempt.request);
                let late = Failure::sent(FailureCause::Timeout(TimeoutPhase::Response));
                timeout_at(attempt.limits.deadline.into(), response).await.map_err(|_| late)
            }
        }
    }

    pub(crate) async fn open(&self, connect: Connect) -> Result<Stream, Unopened> {
        match self {
            Self::Network(client) => {
                let socket = client.open(connect).await?;
                Ok(Stream::Socket(Box::new(socket)))
            }
            Self::InProcess(runtime) => runtime
                .observe(&connect.request.map(|()| Bytes::new()))
                .map(Stream::InProcess)
                .map_err(Unopened::Refused),
        }
    }

    /// Drops connections that are closed or have been idle for too long. To be called about once a second.
    pub fn prune(&self) {
        if let Self::Network(client) = self {
            client.prune();
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
