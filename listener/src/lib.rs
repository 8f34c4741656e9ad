//! Where the connections of sekisho's servers come from: TCP, TLS over TCP, or a Unix socket.
//!
//! A [`Listener`] is bound once and can then have one [`Acceptor`] for each event loop. All of them take connections
//! from the same socket: the port is not shared by `SO_REUSEPORT`, with which any process of the same user could take
//! a share of the connections, a worker included. A second server on the same port fails to start.
//!
//! ```no_run
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! use sekisho_listener::Listener;
//!
//! let listener = Listener::bind(&"unix:/run/sekisho/socket".parse()?, None)?;
//! println!("listening on {}", listener.url());
//! let acceptor = listener.acceptor()?;
//! loop {
//!     let accepted = acceptor.accept().await?;
//!     // In a task of its own: a client may take its time for the handshake.
//!     let connection = accepted.handshake().await?;
//!     // A `Connection` is read from and written to as any other.
//! #   drop(connection);
//! }
//! # }
//! ```
#![forbid(unsafe_code)]

mod connection;
mod inherited;
pub mod service_manager;
mod tls;
mod unix;
mod unreadable;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

pub use connection::{Accepted, Connection, HANDSHAKE_TIMEOUT, LINGER_BYTES, LINGER_SILENCE, LINGER_TIME};
use sekisho_config::{Listen, TlsFiles};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use inherited::Inherited;
use tls::Identity;
use unix::SocketFile;
pub use unreadable::Unreadable;

/// How many connections may wait to be accepted.
pub const BACKLOG: i32 = 1024;

/// How much the kernel holds of what was written to one TCP connection and is not acknowledged yet, in bytes
/// (`SO_SNDBUF`; Linux takes twice that for the same payload). By itself it would let this grow to 4 MiB, for each client that
/// does not read, and beyond the end of the connection.
pub const SEND_BUFFER: usize = 192 << 10;

/// How much of it may wait to be sent, in bytes (`TCP_NOTSENT_LOWAT`): what a client does not read waits where its
/// stream is shared with others.
pub const UNSENT: u32 = 32 << 10;

/// Why a server has nothing to accept connections from.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The system refuses.
    #[error("cannot listen on {on}: {}", reason(*kind))]
    Listen {
        /// The address or path, as it was configured.
        on: String,
        /// What the system said.
        kind: io::ErrorKind,
    },
    /// There is something at the path that is not a socket which its server left behind.
    #[error("cannot listen on {}: there is a file that is no socket, or a socket that is in use", .0.display())]
    Occupied(PathBuf),
    /// A Unix socket's path is longer than the system allows, which is about 100 bytes.
    #[error("cannot listen on {}: the path is too long for a Unix socket", .0.display())]
    PathTooLong(PathBuf),
    /// The service manager has passed on no socket of this number, or one of another kind than TCP or Unix.
    #[error("the service manager has not passed on a socket {0} to listen on (LISTEN_FDS)")]
    NoSocket(usize),
    /// The certificate's file cannot be read, or is not a PEM file with certificates.
    #[error("the certificate {}: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// The key's file cannot be read, or is not a PEM file with a private key.
    #[error("the key {}: {reason}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// The key is not the one of the certificate.
    #[error("the key {} is not the certificate's", .0.display())]
    Pair(PathBuf),
}

fn reason(kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::AddrInUse => "another program listens there".into(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have the address".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::NotFound => "the folder does not exist".into(),
        kind => kind.to_string(),
    }
}

/// A socket that listens. A Unix socket's file is removed with it.
#[derive(Debug)]
pub struct Listener {
    socket: Source,
    identity: Option<Arc<Identity>>,
}

/// A certificate with its key, for [`Listener::use_certificate`].
#[derive(Debug)]
pub struct Certificate(Identity);

impl Certificate {
    /// Reads them from their files, which are read anew when they change.
    ///
    /// # Errors
    ///
    /// Where they cannot be used.
    pub fn read(files: &TlsFiles) -> Result<Self, BindError> {
        Identity::read(files).map(Self)
    }
}

#[derive(Debug)]
enum Source {
    Tcp(std::net::TcpListener),
    /// With its file, where that was made here.
    Unix(std::os::unix::net::UnixListener, Option<SocketFile>),
}

impl Listener {
    /// Listens: of several addresses on the first that can be bound, on a Unix socket so that its owner alone can
    /// connect (mode 0600). With `tls` every connection begins with a TLS handshake; the files are read anew when they
    /// change. A Unix socket is never served over TLS. A socket that the service manager has opened is taken as it is, once.
    ///
    /// # Errors
    ///
    /// [`BindError`] names the address or file.
    pub fn bind(listen: &Listen, tls: Option<&TlsFiles>) -> Result<Self, BindError> {
        let identity = tls.map(Identity::read).transpose()?.map(Arc::new);
        match listen {
            Listen::Tcp(addresses) => Ok(Self { socket: Source::Tcp(bind_first(addresses)?), identity }),
            Listen::Unix(path) => {
                let (socket, file) = unix::bind(path)?;
                Ok(Self { socket: Source::Unix(socket, Some(file)), identity: None })
            }
            Listen::Inherited(number) => Ok(match inherited::take(*number)? {
                Inherited::Tcp(socket) => Self { socket: Source::Tcp(socket), identity },
                Inherited::Unix(socket) => Self { socket: Source::Unix(socket, None), identity: None },
            }),
        }
    }

    /// The address with the port that the system chose where it was 0; `None` for a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.socket {
            Source::Tcp(socket) => socket.local_addr().ok(),
            Source::Unix(..) => None,
        }
    }

    /// Whether its connections begin with a TLS handshake.
    pub fn speaks_tls(&self) -> bool {
        self.identity.is_some()
    }

    /// Where it listens, for people: `http://`, `https://` or `unix:`.
    pub fn url(&self) -> String {
        match &self.socket {
            Source::Tcp(socket) => {
                let scheme = if self.identity.is_some() { "https" } else { "http" };
                let address = socket.local_addr().map(|address| address.to_string());
                format!("{scheme}://{}", address.unwrap_or_default())
            }
            Source::Unix(_, Some(file)) => format!("unix:{}", file.path().display()),
            Source::Unix(socket, None) => {
                let address = socket.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                format!("unix:{}", path.unwrap_or(Path::new("")).display())
            }
        }
    }

    /// Uses this certificate from the next handshake on; no effect without TLS.
    pub fn use_certificate(&self, certificate: Certificate) {
        if let Some(identity) = &self.identity {
            identity.replace(certificate.0);
        }
    }

    /// When the certificate in use expires; `None` where there is none, or it does not say so in a way that is understood.
    pub fn certificate_expiry(&self) -> Option<SystemTime> {
        self.identity.as_ref()?.expiry()
    }

    /// One more to take connections from this socket. To be called within a tokio runtime, whose it then is.
    ///
    /// # Errors
    ///
    /// Those of the system, as when the process is out of file descriptors.
    pub fn acceptor(&self) -> io::Result<Acceptor> {
        Ok(Acceptor {
            socket: match &self.socket {
                Source::Tcp(socket) => Socketed::Tcp(TcpListener::from_std(socket.try_clone()?)?),
                Source::Unix(socket, _) => Socketed::Unix(UnixListener::from_std(socket.try_clone()?)?),
            },
            identity: self.identity.clone(),
        })
    }
}

fn bind_first(addresses: &[SocketAddr]) -> Result<std::net::TcpListener, BindError> {
    let mut refused = BindError::Listen { on: "no address".into(), kind: io::ErrorKind::InvalidInput };
    for address in addresses {
        match bind(*address) {
            Ok(socket) => return Ok(socket),
            Err(error) => refused = BindError::Listen { on: address.to_string(), kind: error.kind() },
        }
    }
    Err(refused)
}

fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A server that is started again need not wait for the last connections of the one before it.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    bound_sending(&socket)?;
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Bounds what the kernel holds of a connection, and for how long. Connections have the options of the socket that they
/// are accepted from.
fn bound_sending(listener: &impl AsFd) -> io::Result<()> {
    let listener = SockRef::from(listener);
    listener.set_send_buffer_size(SEND_BUFFER)?;
    #[cfg(target_os = "linux")]
    {
        listener.set_tcp_notsent_lowat(UNSENT)?;
        listener.set_tcp_user_timeout(Some(sekisho_core::browser_api::WRITE_TIMEOUT))?;
    }
    Ok(())
}

/// Takes connections from a [`Listener`], within one tokio runtime.
#[derive(Debug)]
pub struct Acceptor {
    socket: Socketed,
    identity: Option<Arc<Identity>>,
}

#[derive(Debug)]
enum Socketed {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Acceptor {
    /// The next connection. Dropping the future loses none.
    ///
    /// # Errors
    ///
    /// Those of the system, which concern this connection or the want of file descriptors: a server goes on.
    pub async fn accept(&self) -> io::Result<Accepted> {
        Ok(match &self.socket {
            Socketed::Tcp(socket) => {
                let (stream, _) = socket.accept().await?;
                // Responses are written in one piece: there is nothing for Nagle's algorithm to gather.
                let _ = stream.set_nodelay(true);
                Accepted::tcp(stream, self.identity.clone())
            }
            Socketed::Unix(socket) => Accepted::unix(socket.accept().await?.0),
        })
    }
}

#[cfg(test)]
mod tests;
