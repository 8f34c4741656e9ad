//! Whom to trust.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Why there is nobody to trust. It repeats nothing of what was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The PEM text is not one, or holds something else than certificates.
    #[error("not a PEM file of certificates")]
    NotCertificates,
    /// There is no certificate in it.
    #[error("no certificate that could be trusted")]
    NoCertificate,
    /// The TLS library has none of the protocol versions that are asked for.
    #[error("no usable TLS protocol version")]
    NoProtocol,
}

/// A client that trusts the roots that this system trusts. Reading them takes some milliseconds.
pub fn trusting_the_system() -> Result<Arc<ClientConfig>, TlsError> {
    trusting(rustls_native_certs::load_native_certs().certs)
}

/// A client that trusts the roots in a PEM file and no others.
pub fn trusting_pem(pem: &[u8]) -> Result<Arc<ClientConfig>, TlsError> {
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
