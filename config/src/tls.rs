//! Which certificates to trust.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::file::{self, MAX_TEXT, ReadError};

/// Why there is no certificate to trust. It repeats nothing of what was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The text is not PEM, or holds something other than certificates.
    #[error("not a PEM file of certificates")]
    NotCertificates,
    /// There is no certificate in it.
    #[error("no certificate that could be trusted")]
    NoCertificate,
    /// The TLS library has none of the protocol versions that are asked for.
    #[error("no usable TLS protocol version")]
    NoProtocol,
}

/// Why a file gives no certificate to trust. It names the file.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsFileError {
    /// The file is not there, or cannot be read.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
    /// What is in it is not what is needed.
    #[error("{}: {error}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with its content.
        error: TlsError,
    },
}

/// A client that trusts the roots that this system trusts. Reading them takes some milliseconds.
pub fn trusting_the_system() -> Result<Arc<ClientConfig>, TlsError> {
    trusting(rustls_native_certs::load_native_certs().certs)
}

/// A client that trusts the roots in a PEM file, of at most 1 MiB, and no others.
pub fn trusting_file(path: &Path) -> Result<Arc<ClientConfig>, TlsFileError> {
    let pem = file::read(path, MAX_TEXT)?;
    trusting_pem(&pem.bytes).map_err(|error| TlsFileError::Unusable { path: path.to_owned(), error })
}

fn trusting_pem(pem: &[u8]) -> Result<Arc<ClientConfig>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    trusting(certificates.map_err(|_| TlsError::NotCertificates)?)
}

fn trusting(certificates: Vec<CertificateDer<'static>>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(certificates);
    if usable == 0 {
        return Err(TlsError::NoCertificate);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| TlsError::NoProtocol)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
