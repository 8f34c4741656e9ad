//! One connection, whatever it came through.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use sekisho_core::browser_api::WRITE_TIMEOUT;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_rustls::server::TlsStream;

use crate::tls::Identity;
use crate::unreadable::{Replacement, Unreadable};

/// The longest time that a client may take for its side of a TLS handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client that has been answered may go on to write what it had begun, before its connection is closed.
pub const LINGER_TIME: Duration = Duration::from_secs(5);

/// How long it may be silent in this time.
pub const LINGER_SILENCE: Duration = Duration::from_millis(500);

/// How much it may write in this time, in bytes.
pub const LINGER_BYTES: usize = 32 << 20;

/// How much of that is read at once, in bytes.
const LINGER_BUFFER: usize = 16 << 10;

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
/// no longer.
///
/// Shutting it down is a lingering close (RFC 9112, 9.6): what the client still writes is read and dropped, for a while,
/// since a connection that is closed over unread data is reset, and the client then loses the response that says why.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    /// How many bytes were read from it.
    read: u64,
    /// There once the writing side is shut down.
    lingering: Option<Lingering>,
    /// What is answered to what cannot be read, and such an answer while it is written.
    unreadable: Option<Unreadable>,
    replacement: Option<Replacement>,
    /// Until when the client has to take something of what waits to be written; `None` while nothing waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

macro_rules! forward {
    ($stream:ident => $call:expr) => {
        match $stream {
            Stream::Tcp($stream) => $call,
            Stream::Tls($stream) => $call,
            Stream::Unix($stream) => $call,
        }
    };
}

impl Connection {
    fn new(stream: Stream) -> Self {
        Self { stream, read: 0, lingering: None, unreadable: None, replacement: None, stalled: None }
    }

    /// How many bytes were read from it, after TLS.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// The same connection, on which the refusals that the HTTP library writes by itself are answers of this kind.
    pub fn with_unreadable(mut self, answer: Unreadable) -> Self {
        self.unreadable = Some(answer);
        self
    }

    /// The TCP connection below, for options of its socket; `None` for a Unix socket.
    pub fn tcp(&self) -> Option<&TcpStream> {
        match &self.stream {
            Stream::Tcp(stream) => Some(stream),
            Stream::Tls(stream) => Some(stream.get_ref().0),
            Stream::Unix(_) => None,
        }
    }

    /// Writes the answer that stands in place of these bytes, where there is one, and then says that they are written.
    fn poll_replace(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Option<Poll<io::Result<usize>>> {
        if self.replacement.is_none() {
            self.replacement = self.unreadable.and_then(|answer| Replacement::of(bytes, answer));
        }
        let Self { stream, replacement, .. } = self;
        let answer = replacement.as_mut()?;
        let all = loop {
            match forward!(stream => Pin::new(stream).poll_write(context, answer.rest())) {
                Poll::Ready(Ok(written)) if written > 0 => {
                    if let Some(all) = answer.written(written) {
                        break all;
                    }
                }
                progress => return Some(progress),
            }
        };
        *replacement = None;
        Some(Poll::Ready(Ok(all)))
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

/// What is left of the time in which a client may end what it writes.
#[derive(Debug)]
struct Lingering {
    silent: Pin<Box<Sleep>>,
    over: Instant,
    bytes: usize,
}

impl Lingering {
    fn new() -> Self {
        Self {
            silent: Box::pin(sleep(LINGER_SILENCE)),
            over: Instant::now() + LINGER_TIME,
            bytes: LINGER_BYTES,
        }
    }

    /// Reads until the client has closed its side, too, or has had its time.
    fn poll(&mut self, stream: &mut (impl AsyncRead + Unpin), context: &mut Context<'_>) -> Poll<()> {
        let mut space = [MaybeUninit::uninit(); LINGER_BUFFER];
        loop {
            let mut buffer = ReadBuf::uninit(&mut space);
            match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.bytes = self.bytes.saturating_sub(buffer.filled().len());
                    let silent_at = (Instant::now() + LINGER_SILENCE).min(self.over);
                    self.silent.as_mut().reset(silent_at);
                    if self.bytes == 0 || self.over <= Instant::now() {
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.silent.as_mut().poll(context),
            }
        }
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

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (stream, before) = (&mut self.stream, buffer.filled().len());
        let progress = forward!(stream => Pin::new(stream).poll_read(context, buffer));
        self.read += (buffer.filled().len() - before) as u64;
        progress
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let progress = self.poll_replace(context, bytes).unwrap_or_else(|| {
            let stream = &mut self.stream;
            forward!(stream => Pin::new(stream).poll_write(context, bytes))
        });
        self.watch(context, progress)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let alone: &[u8] = if let [slice] = slices { slice } else { &[] };
        let progress = self.poll_replace(context, alone).unwrap_or_else(|| {
            let stream = &mut self.stream;
            forward!(stream => Pin::new(stream).poll_write_vectored(context, slices))
        });
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
        let stream = &mut self.stream;
        forward!(stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, lingering, .. } = &mut *self;
        let lingering = match lingering {
            Some(lingering) => lingering,
            None => {
                ready!(forward!(stream => Pin::new(stream).poll_shutdown(context)))?;
                lingering.insert(Lingering::new())
            }
        };
        forward!(stream => lingering.poll(stream, context)).map(Ok)
    }
}
