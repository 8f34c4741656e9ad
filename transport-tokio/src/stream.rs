//! Connections to a runtime, whatever they are made of.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use sekisho_core::call::FailureCause;
use sekisho_core::error::NetworkPhase;
use sekisho_core::secret::Target;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A connection that counts what was written to it.
pub(crate) struct Stream {
    kind: Kind,
    meter: Arc<Meter>,
}

enum Kind {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

/// What has been seen of a connection.
#[derive(Default)]
pub(crate) struct Meter {
    written: AtomicU64,
    broke_writing: AtomicBool,
}

impl Meter {
    /// Bytes taken by the socket so far.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Whether it was writing that failed.
    pub(crate) fn broke_writing(&self) -> bool {
        self.broke_writing.load(Ordering::Relaxed)
    }
}

impl Stream {
    /// Resolves, connects and greets, without a bound of its own.
    pub(crate) async fn connect(
        target: &Target,
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<(Self, Arc<Meter>), FailureCause> {
        let kind = match target {
            Target::Tcp { host, port, tls: false } => Kind::Tcp(connect_tcp(host, *port).await?),
            Target::Tcp { host, port, tls: true } => {
                let failed = FailureCause::Network(NetworkPhase::Tls);
                let name = ServerName::try_from(host.to_string()).map_err(|_| failed)?;
                let connector = TlsConnector::from(tls.ok_or(failed)?.clone());
                let stream = connect_tcp(host, *port).await?;
                Kind::Tls(Box::new(connector.connect(name, stream).await.map_err(|_| failed)?))
            }
            Target::Unix(path) => {
                let failed = FailureCause::Network(NetworkPhase::Connect);
                Kind::Unix(UnixStream::connect(path).await.map_err(|_| failed)?)
            }
            // A registry never sends a call for a runtime in this process to the network.
            Target::InProcess => return Err(FailureCause::Network(NetworkPhase::Connect)),
        };
        let meter = Arc::new(Meter::default());
        Ok((Self { kind, meter: meter.clone() }, meter))
    }
}

async fn connect_tcp(host: &str, port: u16) -> Result<TcpStream, FailureCause> {
    let unresolved = FailureCause::Network(NetworkPhase::Resolve);
    let addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(address) => vec![(address, port).into()],
        Err(_) => lookup_host((host, port)).await.map_err(|_| unresolved)?.collect(),
    };
    let mut failed = unresolved;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Requests are written in one piece: there is nothing for Nagle's algorithm to gather.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(_) => failed = FailureCause::Network(NetworkPhase::Connect),
        }
    }
    Err(failed)
}

macro_rules! forward {
    ($self:ident, $stream:ident => $call:expr) => {
        match &mut $self.kind {
            Kind::Tcp($stream) => $call,
            Kind::Tls($stream) => $call,
            Kind::Unix($stream) => $call,
        }
    };
}

impl Stream {
    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(count)) => drop(self.meter.written.fetch_add(*count as u64, Ordering::Relaxed)),
            Poll::Ready(Err(_)) => self.meter.broke_writing.store(true, Ordering::Relaxed),
            Poll::Pending => {}
        }
        written
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = forward!(self, stream => Pin::new(stream).poll_write(context, bytes));
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = forward!(self, stream => Pin::new(stream).poll_write_vectored(context, slices));
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.kind {
            Kind::Tcp(stream) => stream.is_write_vectored(),
            Kind::Tls(stream) => stream.is_write_vectored(),
            Kind::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_shutdown(context))
    }
}
