//! Who a runtime is, and whom a client trusts.

use std::sync::{Arc, LazyLock};

use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// Certificates, for one run of the tests.
pub(super) struct Certificates {
    /// Of `localhost`, from an issuer that the client trusts.
    pub(super) trusted: Arc<ServerConfig>,
    /// The same from another one.
    pub(super) untrusted: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// They are issued when they are needed first.
pub(super) static CERTIFICATES: LazyLock<Certificates> = LazyLock::new(|| {
    let (trusted, certificate) = issue();
    let (untrusted, _) = issue();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Certificates { trusted, untrusted, client: Arc::new(client) }
});

fn issue() -> (Arc<ServerConfig>, CertificateDer<'static>) {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = issued.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .unwrap();
    (Arc::new(config), certificate)
}

/// Whom a client trusts.
pub fn trust() -> Arc<ClientConfig> {
    CERTIFICATES.client.clone()
}
