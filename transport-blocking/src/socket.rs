//! Connections to a runtime: TCP, TLS over it, and unix sockets. Each of their operations ends by a deadline.
//!
//! The sockets themselves never block: what waits is `poll`, for whichever of reading and writing comes first.

use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use sekisho_core::error::{NetworkPhase, TimeoutPhase};
use sekisho_core::transport::{AddressRace, FailureCause, Loss, RaceStep, Target};
use socket2::{Domain, SockAddr, SockRef, Type};
use tungstenite::error::ProtocolError;

/// A connection, TLS included.
pub(crate) enum Socket {
    Plain(Wire),
    Tls(Box<StreamOwned<ClientConnection, Wire>>),
}

/// What carries the bytes.
pub(crate) struct Wire {
    kind: Kind,
    /// Until when to wait; `None` is not to wait at all.
    deadline: Option<Instant>,
    /// Bytes taken by the socket so far.
    written: u64,
}

enum Kind {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Resolves, connects and makes a TLS session, by a deadline.
    pub(crate) fn connect(
        target: &Target,
        tls: Option<&Arc<ClientConfig>>,
        deadline: Instant,
    ) -> Result<Self, FailureCause> {
        match target {
            Target::Tcp { host, port, tls: is_tls } => {
                let stream = connect_tcp(&resolve(host, *port, deadline)?, deadline)?;
                match is_tls {
                    true => start_tls(stream, host, tls, deadline),
                    false => Ok(Self::Plain(Wire::new(Kind::Tcp(stream), deadline))),
                }
            }
            Target::Unix(path) => Ok(Self::Plain(Wire::new(Kind::Unix(connect_unix(path)?), deadline))),
            // A registry never sends a call for a runtime in this process to the network.
            Target::InProcess => Err(FailureCause::Network(NetworkPhase::Connect)),
        }
    }

    /// By when what is read or written from now on must be; `None` is at once, or not at all.
    pub(crate) fn set_deadline(&mut self, deadline: impl Into<Option<Instant>>) {
        self.wire().deadline = deadline.into();
    }

    /// Bytes taken by the socket so far, those of TLS included.
    pub(crate) fn written(&self) -> u64 {
        match self {
            Self::Plain(wire) => wire.written,
            Self::Tls(stream) => stream.sock.written,
        }
    }

    /// Waits until there is something to be read, or room to write. Whether there is something to be read.
    pub(crate) fn wait(&mut self, deadline: Instant) -> io::Result<bool> {
        // A session that is written to may read, too.
        if let Self::Tls(stream) = self
            && stream.conn.process_new_packets().map_or(true, |state| state.plaintext_bytes_to_read() > 0)
        {
            return Ok(true);
        }
        let ready = self.wire().kind.wait(PollFlags::IN | PollFlags::OUT, deadline)?;
        Ok(!ready.difference(PollFlags::OUT).is_empty())
    }

    /// Whether the other side has neither closed the connection nor said anything unasked.
    pub(crate) fn is_quiet(&mut self) -> bool {
        if let Self::Tls(stream) = self {
            // What ended the session may have come together with the last response.
            let state = stream.conn.process_new_packets();
            if !state.is_ok_and(|state| !state.peer_has_closed() && state.plaintext_bytes_to_read() == 0) {
                return false;
            }
        }
        let peeked = match &self.wire().kind {
            Kind::Tcp(stream) => SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]),
            Kind::Unix(stream) => SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]),
        };
        peeked.is_err_and(|error| is_timeout(&error))
    }

    fn wire(&mut self) -> &mut Wire {
        match self {
            Self::Plain(wire) => wire,
            Self::Tls(stream) => &mut stream.sock,
        }
    }
}

/// Whether time was over, of which there may have been none.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn cause(error: &io::Error, phase: NetworkPhase) -> FailureCause {
    match is_timeout(error) {
        true => FailureCause::Timeout(TimeoutPhase::Connect),
        false => FailureCause::Network(phase),
    }
}

/// What it means that a stream of messages has failed. Deployed runtimes end a stream by dropping the connection, which
/// is no more than an end.
pub(crate) fn loss(error: &tungstenite::Error) -> Loss {
    match error {
        tungstenite::Error::Capacity(_) => Loss::TooLarge,
        tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Loss::Ended,
        tungstenite::Error::Protocol(_) | tungstenite::Error::Utf8(_) | tungstenite::Error::AttackAttempt => {
            Loss::Malformed
        }
        _ => Loss::Ended,
    }
}

/// The connection to one of these that is there first.
pub(crate) fn connect_tcp(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, FailureCause> {
    if addresses.is_empty() {
        return Err(FailureCause::Network(NetworkPhase::Resolve));
    }
    let mut race = AddressRace::new(addresses.iter().copied());
    let mut under_way: Vec<socket2::Socket> = Vec::new();
    loop {
        let until = match race.poll(Instant::now()) {
            RaceStep::Connect(address) => {
                match begin_to_connect(address) {
                    Ok(socket) => under_way.push(socket),
                    Err(_) => race.failed(),
                }
                continue;
            }
            RaceStep::Wait { until } => until.map_or(deadline, |until| until.min(deadline)),
            RaceStep::Lost => return Err(FailureCause::Network(NetworkPhase::Connect)),
        };
        let ready = match wait_for_any(&under_way, until) {
            Ok(ready) => ready,
            Err(error) => return Err(cause(&error, NetworkPhase::Connect)),
        };
        if ready.is_empty() && left(deadline).is_none() {
            return Err(FailureCause::Timeout(TimeoutPhase::Connect));
        }
        for index in ready.into_iter().rev() {
            let socket = under_way.swap_remove(index);
            if let Ok(None) = socket.take_error() {
                let stream = TcpStream::from(socket);
                // Requests are written in one piece: there is nothing for Nagle's algorithm to gather.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            race.failed();
        }
    }
}

/// A socket that is connecting and never blocks.
fn begin_to_connect(address: SocketAddr) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
        _ => Ok(socket),
    }
}

/// Which of these have connected or failed; none where the instant came first.
fn wait_for_any(sockets: &[socket2::Socket], until: Instant) -> io::Result<Vec<usize>> {
    let mut watched: Vec<_> = sockets.iter().map(|socket| PollFd::new(socket, PollFlags::OUT)).collect();
    loop {
        let timeout = Timespec::try_from(left(until).unwrap_or_default()).ok();
        match poll(&mut watched, timeout.as_ref()) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => {
                let ready = watched.iter().enumerate().filter(|(_, watched)| !watched.revents().is_empty());
                return Ok(ready.map(|(index, _)| index).collect());
            }
        }
    }
}

/// A TLS session over a connection.
pub(crate) fn start_tls(
    stream: TcpStream,
    host: &str,
    tls: Option<&Arc<ClientConfig>>,
    deadline: Instant,
) -> Result<Socket, FailureCause> {
    let untrusted = FailureCause::Network(NetworkPhase::Tls);
    let name = ServerName::try_from(host.to_string()).map_err(|_| untrusted)?;
    let config = tls.ok_or(untrusted)?.clone();
    let mut session = ClientConnection::new(config, name).map_err(|_| untrusted)?;
    let mut wire = Wire::new(Kind::Tcp(stream), deadline);
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
        // This fails where the deadline has passed.
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
        io::Result::Ok(OwnedFd::from(socket).into())
    };
    connect().map_err(|_| FailureCause::Network(NetworkPhase::Connect))
}

fn left(deadline: Instant) -> Option<Duration> {
    Some(deadline.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
}

impl Wire {
    fn new(kind: Kind, deadline: Instant) -> Self {
        Self { kind, deadline: Some(deadline), written: 0 }
    }

    /// Performs an operation as soon as it can be.
    fn timed<T>(
        &mut self,
        awaited: PollFlags,
        mut operate: impl FnMut(&mut Kind) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            if self.deadline.is_some_and(|deadline| left(deadline).is_none()) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match (operate(&mut self.kind), self.deadline) {
                (Err(error), Some(deadline)) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.kind.wait(awaited, deadline)?;
                }
                (Err(error), _) if error.kind() == io::ErrorKind::Interrupted => {}
                (result, _) => return result,
            }
        }
    }
}

impl Kind {
    /// Waits until something that is awaited is there, and says what. A signal that comes between is no reason to
    /// fail.
    fn wait(&self, awaited: PollFlags, deadline: Instant) -> io::Result<PollFlags> {
        loop {
            let left = left(deadline).ok_or(io::ErrorKind::TimedOut)?;
            // What is too long for the system is as good as for ever.
            let timeout = Timespec::try_from(left).ok();
            let mut watched = [PollFd::new(self, awaited)];
            match poll(&mut watched, timeout.as_ref()) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(watched[0].revents()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Kind {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// Reads without writing first what is still to be written, for which there may be no room.
fn read_session(
    StreamOwned { conn, sock }: &mut StreamOwned<ClientConnection, Wire>,
    buffer: &mut [u8],
) -> io::Result<usize> {
    loop {
        match conn.reader().read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                conn.read_tls(sock)?;
                conn.process_new_packets().map_err(io::Error::other)?;
            }
            result => return result,
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.timed(PollFlags::IN, |kind| match kind {
            Kind::Tcp(stream) => stream.read(buffer),
            Kind::Unix(stream) => stream.read(buffer),
        })
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.timed(PollFlags::OUT, |kind| match kind {
            Kind::Tcp(stream) => stream.write(bytes),
            Kind::Unix(stream) => stream.write(bytes),
        })?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(wire) => wire.read(buffer),
            Self::Tls(stream) => read_session(stream, buffer),
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

#[cfg(test)]
mod tests;
