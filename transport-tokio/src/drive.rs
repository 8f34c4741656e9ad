//! The loop around a call.

use std::fmt;
use std::future::pending;
use std::pin::pin;
use std::time::Instant;

use bytes::Bytes;
use http::Response;
use sekisho_core::call::{Call, CallInput, CallOutput};
use sekisho_core::error::Error;
use sekisho_core::runtime_api::Reply;
use sekisho_core::secret::Token;
use sekisho_core::transport::{Attempt, Failure, InProcess};
use tokio::time::sleep_until;

use crate::client::HttpClient;

/// The way to one runtime.
pub enum Transport {
    /// Over the network.
    Network(HttpClient),
    /// By a call of a function.
    InProcess(Box<dyn InProcess>),
}

impl Transport {
    /// Performs one attempt: the whole response, or why there is none.
    ///
    /// Dropped half-way, it leaves nothing behind.
    pub async fn exchange(&self, attempt: Attempt) -> Result<Response<Bytes>, Failure> {
        match self {
            Self::Network(client) => client.exchange(attempt).await,
            Self::InProcess(runtime) => Ok(runtime.respond(&attempt.request).await),
        }
    }

    /// Lets go of connections that are closed, or have been idle for [`MAX_IDLE`](sekisho_core::transport::MAX_IDLE). To be called every now and then.
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

    /// The runtime's token, if its source has another one than when somebody last looked.
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

/// Drives a call to its end. The caller then hands it to [`Registry::finish`], which learns from it.
///
/// [`Registry::finish`]: sekisho_core::registry::Registry::finish
pub async fn drive(call: &mut Call, transport: &Transport) -> Result<Reply, Error> {
    let mut under_way = pin!(None);
    loop {
        match call.poll(Instant::now()) {
            CallOutput::Send(attempt) => {
                let id = attempt.id;
                under_way.set(Some(async move { CallInput::report(id, transport.exchange(attempt).await) }));
            }
            CallOutput::RefreshCredential => {
                call.handle(Instant::now(), CallInput::Credential(transport.credential()));
            }
            CallOutput::Wait { until, .. } => {
                let report = async {
                    match under_way.as_mut().as_pin_mut() {
                        Some(attempt) => attempt.await,
                        None => pending().await,
                    }
                };
                let report = tokio::select! {
                    biased;
                    report = report => Some(report),
                    () = sleep_until(until.into()) => None,
                };
                if let Some(report) = report {
                    under_way.set(None);
                    call.handle(Instant::now(), report);
                }
            }
            CallOutput::Done(result) => return result,
        }
    }
}
