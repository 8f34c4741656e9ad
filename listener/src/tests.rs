use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::*;

mod sending;

fn loopback() -> Listen {
    "127.0.0.1:0".parse().unwrap()
}

/// Writes a new certificate of `localhost`, which it returns.
fn issue(files: &TlsFiles) -> CertificateDer<'static> {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(&files.cert, issued.cert.pem()).unwrap();
    fs::write(&files.key, issued.signing_key.serialize_pem()).unwrap();
    issued.cert.der().clone()
}

fn files(folder: &std::path::Path) -> TlsFiles {
    TlsFiles { cert: folder.join("cert.pem"), key: folder.join("key.pem") }
}

#[tokio::test]
async fn all_acceptors_take_from_one_socket() {
    let listener = Listener::bind(&loopback(), None).unwrap();
    let address = listener.local_addr().unwrap();
    assert_eq!(listener.url(), format!("http://{address}"));
    let (one, other) = (listener.acceptor().unwrap(), listener.acceptor().unwrap());
    for acceptor in [&one, &other, &one] {
        let (client, accepted) = tokio::join!(TcpStream::connect(address), acceptor.accept());
        let mut connection = accepted.unwrap().handshake().await.unwrap();
        assert!(connection.tcp().is_some());
        client.unwrap().write_all(b"x").await.unwrap();
        assert_eq!(connection.read_u8().await.unwrap(), b'x');
    }
}

#[tokio::test]
async fn a_port_is_not_shared() {
    let listener = Listener::bind(&loopback(), None).unwrap();
    let same = listener.local_addr().unwrap();
    let refused = Listener::bind(&Listen::Tcp(vec![same]), None).unwrap_err();
    assert_eq!(refused, BindError::Listen { on: same.to_string(), kind: io::ErrorKind::AddrInUse });
    // Nor by a program that would like to.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    assert_eq!(socket.bind(&same.into()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    // Of several addresses the first that is free is taken.
    let next = Listener::bind(&Listen::Tcp(vec![same, ([127, 0, 0, 1], 0).into()]), None).unwrap();
    assert_ne!(next.local_addr(), Some(same));
}

#[tokio::test]
async fn a_unix_socket_is_its_owners_and_goes_with_the_listener() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listen = Listen::Unix(path.clone());
    let listener = Listener::bind(&listen, None).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let acceptor = listener.acceptor().unwrap();
    let (client, accepted) = tokio::join!(UnixStream::connect(&path), acceptor.accept());
    let mut connection = accepted.unwrap().handshake().await.unwrap();
    client.unwrap().write_all(b"x").await.unwrap();
    assert_eq!(connection.read_u8().await.unwrap(), b'x');
    assert_eq!(Listener::bind(&listen, None).unwrap_err(), BindError::Occupied(path.clone()));
    drop((listener, acceptor, connection));
    assert!(!path.exists());

    // One that was left behind is replaced, and a file that is no socket is not.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    drop(Listener::bind(&listen, None).unwrap());
    fs::write(&path, "kept").unwrap();
    assert_eq!(Listener::bind(&listen, None).unwrap_err(), BindError::Occupied(path.clone()));
    assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
    let long = folder.path().join("x".repeat(120));
    assert_eq!(Listener::bind(&Listen::Unix(long.clone()), None).unwrap_err(), BindError::PathTooLong(long));
}

/// Whether a client that trusts `root` alone can connect.
async fn trusted(acceptor: &Acceptor, address: SocketAddr, root: &CertificateDer<'static>) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connect = async {
        let stream = TcpStream::connect(address).await.unwrap();
        TlsConnector::from(Arc::new(client)).connect("localhost".try_into().unwrap(), stream).await
    };
    let accept = async { acceptor.accept().await.unwrap().handshake().await };
    let (connected, accepted) = tokio::join!(connect, accept);
    assert_eq!(connected.is_ok(), accepted.is_ok());
    connected.is_ok()
}

#[tokio::test]
async fn a_certificate_that_is_replaced_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let first = issue(&files);
    let listener = Listener::bind(&loopback(), Some(&files)).unwrap();
    let address = listener.local_addr().unwrap();
    assert!(listener.url().starts_with("https://"));
    let acceptor = listener.acceptor().unwrap();
    assert!(trusted(&acceptor, address, &first).await);

    let second = issue(&files);
    // A pair that does not fit, as between the writing of two files, changes nothing.
    let other = files_of_another(folder.path());
    fs::copy(&other.key, &files.key).unwrap();
    listener.identity.as_ref().unwrap().look_now();
    assert!(trusted(&acceptor, address, &first).await);
    let third = issue(&files);
    listener.identity.as_ref().unwrap().look_now();
    assert!(!trusted(&acceptor, address, &second).await);
    assert!(trusted(&acceptor, address, &third).await);
}

fn files_of_another(folder: &std::path::Path) -> TlsFiles {
    let files = TlsFiles { cert: folder.join("other-cert.pem"), key: folder.join("other-key.pem") };
    issue(&files);
    files
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let bind = || Listener::bind(&loopback(), Some(&files)).unwrap_err().to_string();
    assert_eq!(bind(), format!("the certificate {}: cannot be read", files.cert.display()));
    issue(&files);
    fs::remove_file(&files.key).unwrap();
    assert_eq!(bind(), format!("the key {}: cannot be read", files.key.display()));
    fs::copy(&files.cert, &files.key).unwrap();
    assert_eq!(bind(), format!("the key {}: has no private key in it", files.key.display()));
    fs::copy(files_of_another(folder.path()).key, &files.key).unwrap();
    assert_eq!(bind(), format!("the key {} is not the certificate's", files.key.display()));
    fs::write(&files.cert, "").unwrap();
    assert_eq!(bind(), format!("the certificate {}: has no certificate in it", files.cert.display()));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_shake_hands_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    issue(&files);
    let listener = Listener::bind(&loopback(), Some(&files)).unwrap();
    let acceptor = listener.acceptor().unwrap();
    let address = listener.local_addr().unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(address), acceptor.accept());
    let started = tokio::time::Instant::now();
    let error = accepted.unwrap().handshake().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(
        started.elapsed() >= HANDSHAKE_TIMEOUT
            && started.elapsed() < HANDSHAKE_TIMEOUT + Duration::from_secs(1)
    );
    drop(client);
}
