//! One connection, whatever it came through.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use sekisho_core::browser_api::WRITE_TIMEOUT;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::server::TlsStream;

use crate::tls::Identity;

/// The longest time that a client may take for its side of a TLS handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection from which nothing was read yet.
#[derive(Debug)]
pub struct Accepted(Stage);

#[derive(Debug)]
enum Stage {
    Ready(Connection),
    Handshake(TcpStream, Arc<Identity>),
}

impl Accepted {
    pub(crate) fn tcp(stream: TcpStream, identity: Option<Arc<Identity>>) -> Self {
        Self(match identity {
            Some(identity) => Stage::Handshake(stream, identity),
            None => Stage::Ready(Connection::new(Stream::Tcp(stream))),
        })
    }

    pub(crate) fn unix(stream: UnixStream) -> Self {
        Self(Stage::Ready(Connection::new(Stream::Unix(stream))))
    }

    /// Does what comes before HTTP: the TLS handshake, or nothing.
    ///
    /// # Errors
    ///
    /// Whatever makes the handshake fail, [`io::ErrorKind::TimedOut`] after [`HANDSHAKE_TIMEOUT`] among it.
    pub async fn handshake(self) -> io::Result<Connection> {
        match self.0 {
            Stage::Ready(connection) => Ok(connection),
            Stage::Handshake(stream, identity) => {
                let handshake = identity.acceptor().accept(stream);
                let stream = timeout(HANDSHAKE_TIMEOUT, handshake).await??;
                Ok(Connection::new(Stream::Tls(Box::new(stream))))
            }
        }
    }
}

/// A connection to speak HTTP on.
///
/// It fails with [`io::ErrorKind::TimedOut`] once its client has taken nothing for [`WRITE_TIMEOUT`]. Where it is
/// dropped while the client does not take what was written, it is reset: the kernel then keeps nothing of it, and waits
/// for nobody.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    /// Until when the client has to take something of what waits to be written; `None` while nothing waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Connection {
    fn new(stream: Stream) -> Self {
        Self { stream, stalled: None }
    }

    /// The TCP connection below, for options of its socket; `None` for a Unix socket.
    pub fn tcp(&self) -> Option<&TcpStream> {
        match &self.stream {
            Stream::Tcp(stream) => Some(stream),
            Stream::Tls(stream) => Some(stream.get_ref().0),
            Stream::Unix(_) => None,
        }
    }

    /// Notes whether the client takes what is written.
    fn watch<T>(&mut self, context: &mut Context<'_>, progress: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.stalled = None;
            return progress;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let (Some(tcp), Some(_)) = (self.tcp(), &self.stalled) {
            // Where it fails, the connection is gone already.
            let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
        }
    }
}

macro_rules! forward {
    ($self:ident, $stream:ident => $call:expr) => {
        match &mut $self.stream {
            Stream::Tcp($stream) => $call,
            Stream::Tls($stream) => $call,
            Stream::Unix($stream) => $call,
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let progress = forward!(self, stream => Pin::new(stream).poll_write(context, bytes));
        self.watch(context, progress)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = forward!(self, stream => Pin::new(stream).poll_write_vectored(context, slices));
        self.watch(context, progress)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Tcp(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
            Stream::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_shutdown(context))
    }
}
