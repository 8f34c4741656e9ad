//! The loop around a call.

use std::fmt;
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use http::Response;
use sekisho_core::call::{Call, CallInput, CallOutput};
use sekisho_core::error::Error;
use sekisho_core::runtime_api::Reply;
use sekisho_core::secret::Token;
use sekisho_core::transport::{Attempt, Failure, InProcess};

use crate::client::HttpClient;

/// The way to one runtime.
pub enum Transport {
    /// Over the network.
    Network(HttpClient),
    /// By a call of a function.
    InProcess(Box<dyn InProcess>),
}

impl Transport {
    /// Performs one attempt: the whole response, or why there is none. Blocks for as long as the attempt's limits say.
    pub fn exchange(&self, attempt: Attempt) -> Result<Response<Bytes>, Failure> {
        match self {
            Self::Network(client) => client.exchange(attempt),
            Self::InProcess(runtime) => Ok(runtime.handle(&attempt.request)),
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
pub fn drive(call: &mut Call, transport: &Transport) -> Result<Reply, Error> {
    loop {
        match call.poll(Instant::now()) {
            CallOutput::Send(attempt) => {
                let id = attempt.id;
                let report = CallInput::report(id, transport.exchange(attempt));
                call.handle(Instant::now(), report);
            }
            CallOutput::RefreshCredential => {
                call.handle(Instant::now(), CallInput::Credential(transport.credential()));
            }
            // An attempt is over when `exchange` returns, so that there is nothing to wait for but time.
            CallOutput::Wait { until, .. } => thread::sleep(until.saturating_duration_since(Instant::now())),
            CallOutput::Done(result) => return result,
        }
    }
}
