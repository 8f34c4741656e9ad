//! Connections to a runtime, whatever they are made of, each of whose operations ends by a deadline.

use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use sekisho_core::call::FailureCause;
use sekisho_core::error::{NetworkPhase, TimeoutPhase};
use sekisho_core::secret::Target;
use socket2::{Domain, SockAddr, SockRef, Type};

/// A connection, TLS included.
pub(crate) enum Socket {
    Plain(Wire),
    Tls(Box<StreamOwned<ClientConnection, Wire>>),
}

/// What carries the bytes.
pub(crate) struct Wire {
    kind: Kind,
    deadline: Instant,
}

enum Kind {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Resolves, connects and greets, by a deadline.
    pub(crate) fn connect(
        target: &Target,
        tls: Option<&Arc<ClientConfig>>,
        deadline: Instant,
    ) -> Result<Self, FailureCause> {
        match target {
            Target::Tcp { host, port, tls: is_tls } => {
                let stream = connect_tcp(&resolve(host, *port, deadline)?, deadline)?;
                match is_tls {
                    true => greet(stream, host, tls, deadline),
                    false => Ok(Self::Plain(Wire { kind: Kind::Tcp(stream), deadline })),
                }
            }
            Target::Unix(path) => Ok(Self::Plain(Wire { kind: Kind::Unix(connect_unix(path)?), deadline })),
            // A registry never sends a call for a runtime in this process to the network.
            Target::InProcess => Err(FailureCause::Network(NetworkPhase::Connect)),
        }
    }

    /// By when what is read or written from now on must be.
    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        self.wire().deadline = deadline;
    }

    /// Whether the other side has neither closed the connection nor said anything unasked.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let quiet = |socket: SockRef<'_>| {
            socket.set_nonblocking(true)?;
            let peeked = socket.peek(&mut [MaybeUninit::uninit()]);
            socket.set_nonblocking(false)?;
            io::Result::Ok(peeked.is_err_and(|error| is_timeout(&error)))
        };
        let asked = match &self.wire().kind {
            Kind::Tcp(stream) => quiet(stream.into()),
            Kind::Unix(stream) => quiet(stream.into()),
        };
        asked.unwrap_or(false)
    }

    fn wire(&mut self) -> &mut Wire {
        match self {
            Self::Plain(wire) => wire,
            Self::Tls(stream) => &mut stream.sock,
        }
    }
}

/// Whether time was over. A socket with a timeout says `WouldBlock` then.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn cause(error: &io::Error, phase: NetworkPhase) -> FailureCause {
    match is_timeout(error) {
        true => FailureCause::Timeout(TimeoutPhase::Connect),
        false => FailureCause::Network(phase),
    }
}

/// A connection to the first of these that takes one.
pub(crate) fn connect_tcp(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, FailureCause> {
    let mut failed = FailureCause::Network(NetworkPhase::Resolve);
    for address in addresses {
        let Some(left) = left(deadline) else { return Err(FailureCause::Timeout(TimeoutPhase::Connect)) };
        match TcpStream::connect_timeout(address, left) {
            Ok(stream) => {
                // Requests are written in one piece: there is nothing for Nagle's algorithm to gather.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => failed = cause(&error, NetworkPhase::Connect),
        }
    }
    Err(failed)
}

/// A TLS session with who is there.
pub(crate) fn greet(
    stream: TcpStream,
    host: &str,
    tls: Option<&Arc<ClientConfig>>,
    deadline: Instant,
) -> Result<Socket, FailureCause> {
    let untrusted = FailureCause::Network(NetworkPhase::Tls);
    let name = ServerName::try_from(host.to_string()).map_err(|_| untrusted)?;
    let config = tls.ok_or(untrusted)?.clone();
    let mut session = ClientConnection::new(config, name).map_err(|_| untrusted)?;
    let mut wire = Wire { kind: Kind::Tcp(stream), deadline };
    while session.is_handshaking() {
        session.complete_io(&mut wire).map_err(|error| cause(&error, NetworkPhase::Tls))?;
    }
    Ok(Socket::Tls(Box::new(StreamOwned::new(session, wire))))
}

/// The addresses of a host. The system's resolver cannot be told to stop: where it takes too long, the thread that
/// waits for it is left to itself.
pub(crate) fn resolve(host: &str, port: u16, deadline: Instant) -> Result<Vec<SocketAddr>, FailureCause> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    let unresolved = FailureCause::Network(NetworkPhase::Resolve);
    let (resolved, addresses) = mpsc::sync_channel(1);
    let name = host.to_owned();
    let resolver = thread::Builder::new().name("sekisho-resolver".into()).spawn(move || {
        let addresses = (name.as_str(), port).to_socket_addrs().map(Vec::from_iter);
        // Nobody waits any longer where this fails.
        let _ = resolved.send(addresses);
    });
    resolver.map_err(|_| unresolved)?;
    match addresses.recv_timeout(left(deadline).unwrap_or_default()) {
        Ok(addresses) => addresses.map_err(|_| unresolved),
        Err(_) => Err(FailureCause::Timeout(TimeoutPhase::Connect)),
    }
}

/// A connection to a unix socket. Never waits: a listener whose backlog is full is one that refuses.
pub(crate) fn connect_unix(path: &Path) -> Result<UnixStream, FailureCause> {
    let connect = || {
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)?;
        socket.set_nonblocking(false)?;
        io::Result::Ok(OwnedFd::from(socket).into())
    };
    connect().map_err(|_| FailureCause::Network(NetworkPhase::Connect))
}

fn left(deadline: Instant) -> Option<Duration> {
    Some(deadline.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
}

impl Wire {
    /// Performs an operation with what is left of the time. A signal that comes between is no reason to fail.
    fn timed<T>(
        &mut self,
        set_timeout: fn(&Kind, Option<Duration>) -> io::Result<()>,
        mut operate: impl FnMut(&mut Kind) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            let left = left(self.deadline).ok_or(io::ErrorKind::TimedOut)?;
            set_timeout(&self.kind, Some(left))?;
            match operate(&mut self.kind) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

impl Kind {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(timeout),
            Self::Unix(stream) => stream.set_read_timeout(timeout),
        }
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_write_timeout(timeout),
            Self::Unix(stream) => stream.set_write_timeout(timeout),
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.timed(Kind::set_read_timeout, |kind| match kind {
            Kind::Tcp(stream) => stream.read(buffer),
            Kind::Unix(stream) => stream.read(buffer),
        })
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.timed(Kind::set_write_timeout, |kind| match kind {
            Kind::Tcp(stream) => stream.write(bytes),
            Kind::Unix(stream) => stream.write(bytes),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(wire) => wire.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(wire) => wire.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(wire) => wire.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
