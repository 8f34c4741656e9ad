//! What ureq speaks HTTP over.

use std::error::Error as StdError;
use std::fmt;
use std::io::{Read, Write};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rustls::ClientConfig;
use sekisho_core::call::{Failure, FailureCause};
use sekisho_core::error::{NetworkPhase, TimeoutPhase};
use sekisho_core::secret::Target;
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use crate::socket::{Socket, is_timeout};

/// Connects to one runtime. ureq is told a name that stands for it and nothing else.
pub(crate) struct ToRuntime {
    pub(crate) target: Target,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// Where to leave a connection that has become another protocol's.
    pub(crate) left_over: Option<LeftOver>,
}

/// Where a connection goes that HTTP is done with.
#[derive(Clone, Default)]
pub(crate) struct LeftOver(Arc<Mutex<Option<Remains>>>);

/// A connection, and what had been read of it beyond HTTP.
pub(crate) struct Remains {
    pub(crate) socket: Socket,
    pub(crate) read: Vec<u8>,
}

impl LeftOver {
    pub(crate) fn take(&self) -> Option<Remains> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A [`Failure`] on its way through ureq.
pub(crate) struct Failed(pub(crate) Failure);

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl StdError for Failed {}

fn failed(cause: FailureCause, sent: bool) -> Error {
    Error::Other(Box::new(Failed(Failure { cause, sent })))
}

/// Names are resolved when a connection is made, which for most requests it need not be.
#[derive(Debug)]
pub(crate) struct Unresolved;

impl Resolver for Unresolved {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}

impl Connector for ToRuntime {
    type Out = Link;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Link>, Error> {
        let deadline = Instant::now() + *details.timeout.after;
        let socket = Socket::connect(&self.target, self.tls.as_ref(), deadline)
            .map_err(|cause| failed(cause, false))?;
        let config = details.config;
        Ok(Some(Link {
            socket: Some(socket),
            buffers: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
            unsent: Vec::new(),
            left_over: self.left_over.clone(),
        }))
    }
}

impl fmt::Debug for ToRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ToRuntime")
    }
}

/// One connection.
///
/// What ureq wants written waits until ureq wants to read, so that a request leaves in one piece and its time begins
/// when the connection is there.
pub(crate) struct Link {
    /// Gone when another protocol has taken over.
    socket: Option<Socket>,
    buffers: LazyBuffers,
    unsent: Vec<u8>,
    left_over: Option<LeftOver>,
}

impl Link {
    fn send(&mut self, request: &[u8], deadline: Instant) -> Result<(), Error> {
        let broken = FailureCause::Network(NetworkPhase::Send);
        let socket = self.socket.as_mut().ok_or_else(|| failed(broken, false))?;
        socket.set_deadline(deadline);
        let mut written = 0;
        while written < request.len() {
            match socket.write(&request[written..]) {
                Ok(0) => return Err(failed(broken, written > 0)),
                Ok(count) => written += count,
                Err(error) if is_timeout(&error) => {
                    return Err(failed(FailureCause::Timeout(TimeoutPhase::Response), written > 0));
                }
                Err(_) => return Err(failed(broken, written > 0)),
            }
        }
        socket.flush().map_err(|_| failed(broken, written > 0))
    }
}

impl Transport for Link {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        self.unsent.extend_from_slice(&self.buffers.output()[..amount]);
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let deadline = Instant::now() + *timeout.after;
        if !self.unsent.is_empty() {
            let request = mem::take(&mut self.unsent);
            self.send(&request, deadline)?;
        }
        let broken = FailureCause::Network(NetworkPhase::Receive);
        let socket = self.socket.as_mut().ok_or_else(|| failed(broken, true))?;
        socket.set_deadline(deadline);
        match socket.read(self.buffers.input_append_buf()) {
            Ok(count) => {
                self.buffers.input_appended(count);
                Ok(count > 0)
            }
            Err(error) if is_timeout(&error) => {
                Err(failed(FailureCause::Timeout(TimeoutPhase::Response), true))
            }
            Err(_) => Err(failed(broken, true)),
        }
    }

    fn is_open(&mut self) -> bool {
        self.socket.as_mut().is_some_and(Socket::is_quiet)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let (Some(LeftOver(left_over)), Some(socket)) = (&self.left_over, self.socket.take()) {
            let read = self.buffers.input().to_vec();
            *left_over.lock().unwrap_or_else(PoisonError::into_inner) = Some(Remains { socket, read });
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}
