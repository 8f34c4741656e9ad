//! What ureq speaks HTTP over.

use std::error::Error as StdError;
use std::fmt;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rustls::ClientConfig;
use sekisho_core::error::{NetworkPhase, TimeoutPhase};
use sekisho_core::transport::{Failure, FailureCause, Target};
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
            request: Vec::new(),
            taken: 0,
            before: 0,
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
/// What ureq wants written waits until ureq wants to read: a request leaves in one piece, its time begins when the
/// connection is there, and who answers before all of it was written is heard (RFC 9112, 9.5).
pub(crate) struct Link {
    /// Gone when another protocol has taken over.
    socket: Option<Socket>,
    buffers: LazyBuffers,
    /// What is not written as a whole.
    request: Vec<u8>,
    /// How much of it has been taken, by the socket or by TLS.
    taken: usize,
    /// How many bytes the socket had taken before it.
    before: u64,
    left_over: Option<LeftOver>,
}

/// What has become of a request that was to be written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// All of it is written.
    Written,
    /// There is something to be read.
    Interrupted,
    /// It cannot be written any more.
    Broken,
}

impl Link {
    /// A failure before the request was written as a whole.
    fn unfinished(&self, cause: FailureCause) -> Error {
        failed(cause, self.socket.as_ref().is_some_and(|socket| socket.written() > self.before))
    }

    /// Writes until nothing is left of the request, or the other side has something to say before.
    fn write(&mut self, deadline: Instant) -> Result<Progress, FailureCause> {
        let Some(socket) = &mut self.socket else { return Ok(Progress::Broken) };
        socket.set_deadline(None);
        loop {
            let rest = &self.request[self.taken..];
            let written = match rest.is_empty() {
                true => socket.flush().map(|()| 0),
                false => socket.write(rest),
            };
            match written {
                Ok(_) if rest.is_empty() => {
                    (self.request, self.taken) = (Vec::new(), 0);
                    return Ok(Progress::Written);
                }
                Ok(count) => self.taken += count,
                Err(error) if is_timeout(&error) => match socket.wait(deadline) {
                    Ok(false) => {}
                    Ok(true) => return Ok(Progress::Interrupted),
                    Err(error) if is_timeout(&error) => {
                        return Err(FailureCause::Timeout(TimeoutPhase::Response));
                    }
                    Err(_) => return Ok(Progress::Broken),
                },
                Err(_) => return Ok(Progress::Broken),
            }
        }
    }

    fn read(&mut self, deadline: Option<Instant>) -> io::Result<usize> {
        let socket = self.socket.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        socket.set_deadline(deadline);
        let count = socket.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(count);
        Ok(count)
    }
}

impl Transport for Link {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        if self.request.is_empty() {
            self.before = self.socket.as_ref().map(Socket::written).unwrap_or_default();
        }
        self.request.extend_from_slice(&self.buffers.output()[..amount]);
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let deadline = Instant::now() + *timeout.after;
        while !self.request.is_empty() {
            let progress = self.write(deadline).map_err(|cause| self.unfinished(cause))?;
            if progress == Progress::Written {
                break;
            }
            match self.read(None) {
                Ok(count) if count > 0 => return Ok(true),
                // What there was to be read was TLS's own.
                Err(error) if is_timeout(&error) && progress == Progress::Interrupted => {}
                _ => return Err(self.unfinished(FailureCause::Network(NetworkPhase::Send))),
            }
        }
        match self.read(Some(deadline)) {
            Ok(count) => Ok(count > 0),
            Err(error) if is_timeout(&error) => {
                Err(failed(FailureCause::Timeout(TimeoutPhase::Response), true))
            }
            Err(_) => Err(failed(FailureCause::Network(NetworkPhase::Receive), true)),
        }
    }

    fn is_open(&mut self) -> bool {
        self.request.is_empty() && self.socket.as_mut().is_some_and(Socket::is_quiet)
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
