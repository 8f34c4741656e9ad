//! Who the server is: a certificate and its key, read anew when the files change.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sekisho_config::TlsFiles;
use tokio_rustls::TlsAcceptor;
use x509_cert::der::Decode;

use crate::BindError;

/// How often the files are looked at, at most, when connections come.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// When each file was changed last, and how long it is.
type Stamp = [Option<(SystemTime, u64)>; 2];

pub(crate) struct Identity {
    current: Mutex<Current>,
}

struct Current {
    files: TlsFiles,
    config: Arc<ServerConfig>,
    expiry: Option<SystemTime>,
    stamp: Stamp,
    looked_at: Instant,
}

impl Identity {
    pub(crate) fn read(files: &TlsFiles) -> Result<Self, BindError> {
        Ok(Self { current: Mutex::new(Current::read(files.clone())?) })
    }

    /// Goes on as another from now on.
    pub(crate) fn replace(&self, other: Self) {
        let other = other.current.into_inner().unwrap_or_else(PoisonError::into_inner);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = other;
    }

    /// What to accept a handshake with now. Files that were changed and cannot be used are warned of, and the identity
    /// from before stays: they may be in the middle of being replaced, and are looked at again.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if now.saturating_duration_since(current.looked_at) >= LOOK_EVERY {
            current.looked_at = now;
            if stamp(&current.files) != current.stamp {
                match Current::read(current.files.clone()) {
                    Ok(read) => {
                        *current = read;
                        tracing::info!("a new certificate is in use");
                    }
                    Err(error) => tracing::warn!(%error, "the certificate from before stays in use"),
                }
            }
        }
        TlsAcceptor::from(current.config.clone())
    }

    /// When the certificate in use expires.
    pub(crate) fn expiry(&self) -> Option<SystemTime> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).expiry
    }
}

impl Current {
    fn read(files: TlsFiles) -> Result<Self, BindError> {
        // Before the files are read: a change in between is then seen as one.
        let stamp = stamp(&files);
        let (config, expiry) = read(&files)?;
        Ok(Self { files, config, expiry, stamp, looked_at: Instant::now() })
    }
}

#[cfg(test)]
impl Identity {
    /// Makes the next handshake look at the files, however short ago they were looked at.
    pub(crate) fn look_now(&self) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.looked_at =
            current.looked_at.checked_sub(LOOK_EVERY).expect("the machine is up for a second");
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

fn stamp(files: &TlsFiles) -> Stamp {
    let stamp = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    [stamp(&files.cert), stamp(&files.key)]
}

fn read(files: &TlsFiles) -> Result<(Arc<ServerConfig>, Option<SystemTime>), BindError> {
    let certificate = |reason| BindError::Certificate { path: files.cert.clone(), reason };
    let key = |reason| BindError::Key { path: files.key.clone(), reason };
    let text = fs::read(&files.cert).map_err(|_| certificate("cannot be read"))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|_| certificate("is not PEM"))?;
    if chain.is_empty() {
        return Err(certificate("has no certificate in it"));
    }
    let expiry = chain.first().and_then(|own| x509_cert::Certificate::from_der(own).ok());
    let expiry = expiry.map(|own| own.tbs_certificate().validity().not_after.to_system_time());
    let text = fs::read(&files.key).map_err(|_| key("cannot be read"))?;
    let private = PrivateKeyDer::from_pem_slice(&text).map_err(|_| key("has no private key in it"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let pair = |_| BindError::Pair(files.key.clone());
    let mut config =
        builder.map_err(pair)?.with_no_client_auth().with_single_cert(chain, private).map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(config), expiry))
}
