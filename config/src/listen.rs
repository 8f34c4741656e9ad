//! Where a server listens, and with which certificate.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::ConfigError;

/// Where to listen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Listen {
    /// The first of these that can be bound.
    Tcp(Vec<SocketAddr>),
    /// A Unix socket, with an absolute path.
    Unix(PathBuf),
    /// The socket of this number, from 0, that the service manager has opened.
    Inherited(usize),
}

/// Not a place to listen at. It does not repeat what was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "is neither ADDRESS:PORT nor unix:/PATH nor systemd[:NUMBER], or the address is a name that does not resolve"
)]
pub struct InvalidListen;

impl FromStr for Listen {
    type Err = InvalidListen;

    /// Takes `HOST:PORT`, whose host may be a name, `unix:` and an absolute path, or `systemd`, which is `systemd:0`.
    fn from_str(text: &str) -> Result<Self, InvalidListen> {
        if text == "systemd" {
            return Ok(Self::Inherited(0));
        }
        if let Some(number) = text.strip_prefix("systemd:") {
            return number.parse().map(Self::Inherited).map_err(|_| InvalidListen);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() { Ok(Self::Unix(path)) } else { Err(InvalidListen) };
        }
        let addresses: Vec<_> = text.to_socket_addrs().map_err(|_| InvalidListen)?.collect();
        if addresses.is_empty() { Err(InvalidListen) } else { Ok(Self::Tcp(addresses)) }
    }
}

impl Listen {
    /// Whether other machines cannot connect, for all that is known.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(addresses) => addresses.iter().all(|address| address.ip().to_canonical().is_loopback()),
            Self::Unix(_) => true,
            // Only its unit says where it listens.
            Self::Inherited(_) => false,
        }
    }
}

/// Where a server's identity is, as PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// The certificate chain.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Both files or neither; each comes with the name of its key or flag.
    pub(crate) fn checked(
        (cert_key, cert): (&str, Option<PathBuf>),
        (key_key, key): (&str, Option<PathBuf>),
        listen: &Listen,
    ) -> Result<Option<Self>, ConfigError> {
        match (cert, key) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) if matches!(listen, Listen::Unix(_)) => {
                Err(ConfigError::at(cert_key, "a unix socket is not served over TLS"))
            }
            (Some(cert), Some(key)) => Ok(Some(Self { cert, key })),
            (Some(_), None) => Err(ConfigError::at(cert_key, format!("needs {key_key} as well"))),
            (None, Some(_)) => Err(ConfigError::at(key_key, format!("needs {cert_key} as well"))),
        }
    }
}
