//! Where connections come from.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::Mode;
use rustix::process::umask;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sekisho_config::{Listen, RuntimeSettings, TlsFiles};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::connection::{AccessGuard, serve};

/// How long a client may take for its side of a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Why there is nothing to accept from.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum BindError {
    #[error("listen: cannot listen there: {0}")]
    Listen(io::ErrorKind),
    #[error("listen: {} is there and is not a socket that nobody serves", .0.display())]
    InUse(PathBuf),
    #[error("tls_cert: {} is not a PEM file with certificates", .0.display())]
    Certificate(PathBuf),
    #[error("tls_key: {} is not a PEM file with a private key", .0.display())]
    Key(PathBuf),
    #[error("tls_key: the key is not the certificate's")]
    Pair,
}

/// Where connections come from.
pub(super) enum Listener {
    Tcp { listener: TcpListener, tls: Option<TlsAcceptor> },
    Unix { listener: UnixListener, path: PathBuf },
}

/// A connection that nothing was read from yet.
pub(super) enum Stream {
    Tcp(TcpStream),
    Tls(TcpStream, TlsAcceptor),
    Unix(UnixStream),
}

impl Listener {
    /// Has to be called within a tokio runtime, while the process has no other thread yet that makes files.
    pub(super) fn bind(settings: &RuntimeSettings) -> Result<Self, BindError> {
        let tls = settings.tls.as_ref().map(acceptor).transpose()?;
        let failed = |error: io::Error| BindError::Listen(error.kind());
        match &settings.listen {
            Listen::Tcp(addresses) => {
                let listener = std::net::TcpListener::bind(&addresses[..]).map_err(failed)?;
                listener.set_nonblocking(true).map_err(failed)?;
                Ok(Self::Tcp { listener: TcpListener::from_std(listener).map_err(failed)?, tls })
            }
            Listen::Unix(path) => {
                clear(path)?;
                // Who may connect is for the socket's mode to say from its first moment on.
                let before = umask(Mode::RWXG | Mode::RWXO);
                let listener = UnixListener::bind(path);
                umask(before);
                Ok(Self::Unix { listener: listener.map_err(failed)?, path: path.clone() })
            }
        }
    }

    /// The address for people, with the port that was given.
    pub(super) fn url(&self) -> String {
        match self {
            Self::Tcp { listener, tls } => {
                let scheme = if tls.is_some() { "https" } else { "http" };
                let address = listener.local_addr().map(|address| address.to_string());
                format!("{scheme}://{}", address.unwrap_or_default())
            }
            Self::Unix { path, .. } => format!("unix:{}", path.display()),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp { listener, tls } => {
                let (stream, _) = listener.accept().await?;
                // Replies are written whole: nothing is gained by waiting for more.
                stream.set_nodelay(true)?;
                match tls {
                    Some(tls) => Stream::Tls(stream, tls.clone()),
                    None => Stream::Tcp(stream),
                }
            }
            Self::Unix { listener, .. } => Stream::Unix(listener.accept().await?.0),
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix { path, .. } = self {
            let _ = fs::remove_file(path);
        }
    }
}

impl Stream {
    /// Serves the connection to its end.
    pub(super) async fn serve(self, door: Arc<AccessGuard>, draining: watch::Receiver<bool>) {
        match self {
            Self::Tcp(stream) => serve(stream, door, draining).await,
            Self::Unix(stream) => serve(stream, door, draining).await,
            Self::Tls(stream, tls) => match timeout(HANDSHAKE, tls.accept(stream)).await {
                Ok(Ok(stream)) => serve(stream, door, draining).await,
                Ok(Err(_)) | Err(_) => tracing::debug!("a TLS handshake failed"),
            },
        }
    }
}

/// Takes away a socket that a server left behind, and nothing else.
fn clear(path: &Path) -> Result<(), BindError> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    let abandoned = metadata.file_type().is_socket()
        && std::os::unix::net::UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if !abandoned {
        return Err(BindError::InUse(path.to_owned()));
    }
    fs::remove_file(path).map_err(|error| BindError::Listen(error.kind()))
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, BindError> {
    let certificate = || BindError::Certificate(files.cert.clone());
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(&files.cert).and_then(Iterator::collect).map_err(|_| certificate())?;
    if chain.is_empty() {
        return Err(certificate());
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|_| BindError::Key(files.key.clone()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| BindError::Pair)?
        .with_no_client_auth()
        .with_single_cert(chain, key);
    let mut config = config.map_err(|_| BindError::Pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
