//! What a server listens on: a port of its own, TLS, a Unix socket.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sekisho_server::{Config, Server};
use sekisho_tests::processes::eventually;

fn start(config: &str) -> Server {
    Server::start(Config::from_toml(config).unwrap()).unwrap()
}

/// Asks over an open connection whether the server is ready; the status line, or none where the connection fails.
fn ready(mut stream: impl Read + Write) -> Option<String> {
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
    let mut response = [0; 15];
    stream.read_exact(&mut response).ok()?;
    Some(String::from_utf8_lossy(&response).into_owned())
}

fn issue(folder: &Path) -> CertificateDer<'static> {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), issued.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), issued.signing_key.serialize_pem()).unwrap();
    issued.cert.der().clone()
}

fn trusting(certificate: CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(client)
}

#[test]
fn a_replaced_certificate_is_taken_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = issue(folder.path());
    let file = |name| folder.path().join(name).display().to_string();
    let server = start(&format!(
        "listen = '127.0.0.1:0'\ntls_cert_file = '{}'\ntls_key_file = '{}'",
        file("cert.pem"),
        file("key.pem")
    ));
    assert_eq!(server.url(), format!("https://{}", server.local_addr()));
    let ask = |client: &Arc<ClientConfig>| {
        let session = ClientConnection::new(client.clone(), "localhost".try_into().unwrap()).unwrap();
        ready(StreamOwned::new(session, TcpStream::connect(server.local_addr()).unwrap()))
    };
    let client = trusting(first);
    assert_eq!(ask(&client).as_deref(), Some("HTTP/1.1 200 OK"));
    assert_eq!(ready(TcpStream::connect(server.local_addr()).unwrap()), None, "plain HTTP is not spoken");
    let client = trusting(issue(folder.path()));
    eventually("the new certificate", || ask(&client));
}

#[test]
fn a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sekisho.sock");
    let server = start(&format!("listen = 'unix:{}'", path.display()));
    assert_eq!(server.url(), format!("unix:{}", path.display()));
    assert_eq!(ready(UnixStream::connect(&path).unwrap()).as_deref(), Some("HTTP/1.1 200 OK"));
    server.shutdown();
    assert!(!path.exists());
}

#[test]
fn of_two_servers_that_start_on_one_port_at_once_one_fails() {
    for _ in 0..20 {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let together = Arc::new(Barrier::new(2));
        let servers = [together.clone(), together].map(|together| {
            thread::spawn(move || {
                let config = Config::from_toml(&format!("listen = '127.0.0.1:{port}'")).unwrap();
                together.wait();
                Server::start(config)
            })
        });
        let servers = servers.map(|server| server.join().unwrap());
        // A test that runs beside this one may have been given the port in between.
        let started = servers.iter().filter(|server| server.is_ok()).count();
        assert!(started <= 1, "{servers:?}");
        let failed = servers.iter().find_map(|server| server.as_ref().err()).unwrap().to_string();
        assert_eq!(
            failed,
            format!("listen: cannot listen on 127.0.0.1:{port}: another program listens there")
        );
    }
}
