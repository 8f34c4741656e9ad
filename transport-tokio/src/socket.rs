//! Connections to a runtime: TCP, TLS over it, and unix sockets.

use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use sekisho_core::error::NetworkPhase;
use sekisho_core::transport::{AddressRace, FailureCause, RaceStep, Target};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::sleep_until;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A connection, TLS included.
pub(crate) enum Socket {
    Plain(Wire),
    Tls(Box<TlsStream<Wire>>),
}

/// What carries the bytes, and counts what was written to it.
pub(crate) struct Wire {
    kind: Kind,
    meter: Arc<Meter>,
}

enum Kind {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// How many connections are open, those that became streams included: of all clients that [count] into it.
///
/// [count]: super::HttpClient::counting
#[derive(Clone, Default, Debug)]
pub struct OpenConnections(Arc<AtomicUsize>);

impl OpenConnections {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// What has been seen of a connection, which counts as open for as long as its socket has this.
pub(crate) struct Meter {
    written: AtomicU64,
    upgraded: AtomicBool,
    open: OpenConnections,
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.open.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Meter {
    fn new(open: OpenConnections) -> Self {
        open.0.fetch_add(1, Ordering::Relaxed);
        Self { written: AtomicU64::new(0), upgraded: AtomicBool::new(false), open }
    }

    /// Bytes taken by the socket so far, those of TLS included.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// HTTP is over. What breaks from now on has nothing to do with a response.
    pub(crate) fn upgraded(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
    }
}

impl Socket {
    /// Resolves, connects and makes a TLS session, without a bound of its own.
    pub(crate) async fn connect(
        target: &Target,
        tls: Option<&Arc<ClientConfig>>,
        open: &OpenConnections,
    ) -> Result<Self, FailureCause> {
        let wire = |kind| Wire { kind, meter: Arc::new(Meter::new(open.clone())) };
        Ok(match target {
            Target::Tcp { host, port, tls: false } => {
                Self::Plain(wire(Kind::Tcp(connect_tcp(host, *port).await?)))
            }
            Target::Tcp { host, port, tls: true } => {
                let failed = FailureCause::Network(NetworkPhase::Tls);
                let name = ServerName::try_from(host.to_string()).map_err(|_| failed)?;
                let connector = TlsConnector::from(tls.ok_or(failed)?.clone());
                let wire = wire(Kind::Tcp(connect_tcp(host, *port).await?));
                Self::Tls(Box::new(connector.connect(name, wire).await.map_err(|_| failed)?))
            }
            Target::Unix(path) => {
                let failed = FailureCause::Network(NetworkPhase::Connect);
                Self::Plain(wire(Kind::Unix(UnixStream::connect(path).await.map_err(|_| failed)?)))
            }
            // A registry never sends a call for a runtime in this process to the network.
            Target::InProcess => return Err(FailureCause::Network(NetworkPhase::Connect)),
        })
    }

    pub(crate) fn meter(&self) -> Arc<Meter> {
        match self {
            Self::Plain(wire) => wire.meter.clone(),
            Self::Tls(session) => session.get_ref().0.meter.clone(),
        }
    }
}

async fn connect_tcp(host: &str, port: u16) -> Result<TcpStream, FailureCause> {
    let unresolved = FailureCause::Network(NetworkPhase::Resolve);
    let addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(address) => vec![(address, port).into()],
        Err(_) => lookup_host((host, port)).await.map_err(|_| unresolved)?.collect(),
    };
    if addresses.is_empty() {
        return Err(unresolved);
    }
    let stream = race(addresses).await.ok_or(FailureCause::Network(NetworkPhase::Connect))?;
    // Requests are written in one piece: there is nothing for Nagle's algorithm to gather.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// The connection to one of these that is there first.
async fn race(addresses: Vec<SocketAddr>) -> Option<TcpStream> {
    let mut race = AddressRace::new(addresses);
    let mut under_way = FuturesUnordered::new();
    loop {
        let until = match race.poll(Instant::now()) {
            RaceStep::Connect(address) => {
                under_way.push(TcpStream::connect(address));
                continue;
            }
            RaceStep::Wait { until } => until,
            RaceStep::Lost => return None,
        };
        let next_address = async {
            match until {
                Some(until) => sleep_until(until.into()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            connected = under_way.select_next_some() => match connected {
                Ok(stream) => return Some(stream),
                Err(_) => race.failed(),
            },
            () = next_address => {}
        }
    }
}

impl Wire {
    /// Notes what was written.
    ///
    /// A server that answers before it has read a request may close the connection on the rest of it. hyper reads no more
    /// when writing fails, so it is told to wait: for the response, or for the same failure from the side that reads.
    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(count)) => drop(self.meter.written.fetch_add(*count as u64, Ordering::Relaxed)),
            Poll::Ready(Err(_)) if !self.meter.upgraded.load(Ordering::Relaxed) => return Poll::Pending,
            Poll::Ready(Err(_)) | Poll::Pending => {}
        }
        written
    }
}

macro_rules! forward {
    ($self:ident, $stream:ident => $call:expr) => {
        match &mut $self.kind {
            Kind::Tcp($stream) => $call,
            Kind::Unix($stream) => $call,
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = forward!(self, stream => Pin::new(stream).poll_write(context, bytes));
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = forward!(self, stream => Pin::new(stream).poll_write_vectored(context, slices));
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.kind {
            Kind::Tcp(stream) => stream.is_write_vectored(),
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

#[cfg(test)]
mod tests;
