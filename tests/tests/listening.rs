//! What a server listens on: a port of its own, TLS, a Unix socket.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Barrier, mpsc};
use std::thread;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sekisho_server::{Config, ReloadError, Server};
use sekisho_tests::client::request;
use sekisho_tests::ports::ReservedPort;
use sekisho_tests::processes::{Process, binary, eventually};
use sekisho_tests::upstream::{Upstream, json};

fn start(config: &str) -> Server {
    Server::start(Config::from_toml(config).unwrap()).unwrap()
}

/// A runtime of our own whose workers echo.
fn runtime() -> Process {
    Process::start(Command::new(binary("sekisho-runtime")).args([
        "--listen",
        "127.0.0.1:0",
        "--runtime-id",
        "local",
    ]))
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
fn a_configuration_whose_certificate_cannot_be_used_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let client = trusting(issue(folder.path()));
    let (shown, see) = mpsc::channel();
    let runtime = Upstream::identified("rt", move |asked| {
        let shows = |token: &str| asked.head.contains(token);
        shown.send(["token-one", "token-two"].map(shows)).unwrap();
        json(200, r#"{"workers":[]}"#)
    });
    let config = |token: &str, certificate: &str| {
        let file = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(folder.path().join(token), token).unwrap();
        let listener = format!(
            "listen = '127.0.0.1:0'\ntls_cert_file = '{}'\ntls_key_file = '{}'\n",
            file(certificate),
            file("key.pem")
        );
        let remote = format!(
            "[[remote]]\nruntime_id = 'rt'\nbase_url = 'http://{}'\ntoken_file = '{}'\n",
            runtime.address(),
            file(token)
        );
        listener + "[embedded]\nenabled = false\n" + &remote
    };
    let server = start(&config("token-one", "cert.pem"));
    let ask = || {
        let session = ClientConnection::new(client.clone(), "localhost".try_into().unwrap()).unwrap();
        let mut stream = StreamOwned::new(session, TcpStream::connect(server.local_addr()).unwrap());
        let request =
            b"GET /api/runtimes/rt/workers HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
        see.try_iter().last().unwrap()
    };
    assert_eq!(ask(), [true, false]);
    let refused = server.reload(|| Config::from_toml(&config("token-two", "no-such-file.pem")));
    assert!(matches!(refused, Err(ReloadError::Certificate(_))), "{refused:?}");
    assert_eq!(ask(), [true, false]);
    server.reload(|| Config::from_toml(&config("token-two", "cert.pem"))).unwrap();
    assert_eq!(ask(), [false, true]);
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
        let reserved = ReservedPort::new();
        let port = reserved.port();
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

/// Sends a request of 10 MiB that is refused for its size, and reads the answer only when all of it is written; the status
/// line, or what went wrong.
fn refused_while_writing(mut stream: impl Read + Write, path: &str) -> Result<String, std::io::Error> {
    let size = 10 << 20;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {size}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    for _ in 0..size / (64 << 10) {
        stream.write_all(&[b' '; 64 << 10])?;
    }
    stream.flush()?;
    let mut response = [0; 12];
    stream.read_exact(&mut response)?;
    Ok(String::from_utf8_lossy(&response).into_owned())
}

#[test]
fn a_client_that_is_still_writing_gets_its_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = issue(folder.path());
    let file = |name| folder.path().join(name).display().to_string();
    let (plain, unix) = (start("listen = '127.0.0.1:0'"), file("gate.sock"));
    let _unix = start(&format!("listen = 'unix:{unix}'"));
    let tls = start(&format!(
        "listen = '127.0.0.1:0'\ntls_cert_file = '{}'\ntls_key_file = '{}'",
        file("cert.pem"),
        file("key.pem")
    ));
    let runtime = runtime();
    let tcp = |server: &Server| TcpStream::connect(server.local_addr()).unwrap();
    let (client, name) = (trusting(certificate), "localhost".try_into().unwrap());
    for path in ["/api/runtimes/r/workers", "/no/such/route"] {
        let expected = if path.starts_with("/api") { "HTTP/1.1 413" } else { "HTTP/1.1 404" };
        assert_eq!(refused_while_writing(tcp(&plain), path).unwrap(), expected, "over TCP");
        let session = ClientConnection::new(client.clone(), ServerName::clone(&name)).unwrap();
        let secured = StreamOwned::new(session, tcp(&tls));
        assert_eq!(refused_while_writing(secured, path).unwrap(), expected, "over TLS");
        assert_eq!(
            refused_while_writing(UnixStream::connect(&unix).unwrap(), path).unwrap(),
            expected,
            "on a socket"
        );
    }
    let own = TcpStream::connect(runtime.address()).unwrap();
    assert_eq!(refused_while_writing(own, "/v1/workers").unwrap(), "HTTP/1.1 413");
}

#[test]
fn a_client_that_has_closed_its_side_gets_its_answer() {
    let runtime = runtime();
    let gateway = start(&format!(
        "listen = '127.0.0.1:0'\n[[remote]]\nruntime_id = 'local'\nbase_url = 'http://{}'",
        runtime.address()
    ));
    for (address, path, expected) in [
        (gateway.local_addr(), "/api/runtimes/local/workers", r#""items":[]"#),
        (runtime.address(), "/v1/workers", r#""workers":[]"#),
    ] {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(expected), "{answer}");
    }
}

#[test]
fn what_is_no_websocket_frame_ends_with_a_close_frame() {
    let gateway = start("listen = '127.0.0.1:0'\nembedded.store = 'memory'");
    let created = r#"{"intent":{"kind":"assistant"}}"#;
    let created =
        request(gateway.local_addr(), "POST", "/api/runtimes/embedded/workers", Some(created)).json();
    let worker_id = created["worker"]["worker_id"].as_str().unwrap().to_owned();
    let end = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(gateway.local_addr()).unwrap();
        write!(
            stream,
            "GET /api/runtimes/embedded/workers/{worker_id}/events/ws HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n\
             connection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .unwrap();
        stream.write_all(bytes).unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        received
    };
    let masked = |head: u8, payload: &[u8]| {
        [&[head, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0], payload].concat()
    };
    for (what, bytes) in [
        ("a frame without a mask", vec![0x81, 1, b'x']),
        ("reserved bits", masked(0xf1, b"")),
        ("an unknown opcode", masked(0x83, b"")),
        ("no UTF-8", masked(0x81, &[0xff])),
        ("a continuation of nothing", masked(0x80, b"x")),
    ] {
        // A close frame with the code 1008 and its reason is the last.
        let received = end(&bytes);
        assert!(received.ends_with(b"\x88\x12\x03\xf0observation_only"), "{what}: {received:?}");
    }
}
