//! A client that speaks TLS to a proxy, and knows the gateway by its public name alone.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sekisho_tests::client::{Answer, PATIENCE};
use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use super::proxy::TOKEN;

type Stream = StreamOwned<ClientConnection, TcpStream>;

pub(crate) struct Client {
    proxy: SocketAddr,
    tls: Arc<ClientConfig>,
}

impl Client {
    /// A client that trusts the certificate in `folder`.
    pub(crate) fn new(proxy: SocketAddr, folder: &Path) -> Self {
        let certificate = CertificateDer::from_pem_file(folder.join("certificate.pem")).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { proxy, tls: Arc::new(tls) }
    }

    fn connect(&self) -> Stream {
        let stream = TcpStream::connect_timeout(&self.proxy, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let name = "sekisho.example".try_into().unwrap();
        StreamOwned::new(ClientConnection::new(self.tls.clone(), name).unwrap(), stream)
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> Stream {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: sekisho.example\r\nconnection: close\r\n\
             authorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n"
        );
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        let body = body.unwrap_or_default();
        let mut stream = self.connect();
        let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    /// One request and the whole response.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Answer {
        let mut response = Response::of(self.send(method, path, headers, body));
        let body = response.rest();
        Answer { status: response.status, head: response.head, body }
    }

    /// A worker's stream over WebSocket.
    pub(crate) fn websocket(&self, path: &str) -> Socket {
        let mut request = format!("wss://sekisho.example{path}").into_client_request().unwrap();
        let token = format!("Bearer {TOKEN}").parse().unwrap();
        request.headers_mut().insert("authorization", token);
        Socket(tungstenite::client(request, self.connect()).unwrap().0)
    }

    /// The same as server-sent events.
    pub(crate) fn events(&self, path: &str) -> Events {
        let response = Response::of(self.send("GET", path, &[], None));
        assert_eq!(response.status, 200, "{}", response.head);
        Events(response)
    }
}

pub(crate) struct Socket(WebSocket<Stream>);

impl Socket {
    /// The next frame.
    pub(crate) fn frame(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.0.read().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// The last diagnostic and the close code.
    pub(crate) fn end(&mut self) -> (Option<String>, u16) {
        let mut last = None;
        loop {
            match self.0.read().unwrap() {
                Message::Text(text) => {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    last = frame["diagnostic"]["code"].as_str().map(str::to_owned).or(last);
                }
                Message::Close(frame) => return (last, frame.map_or(1005, |frame| frame.code.into())),
                _ => {}
            }
        }
    }
}

pub(crate) struct Events(Response);

impl Events {
    /// The next frame.
    pub(crate) fn frame(&mut self) -> Value {
        loop {
            if let Some(data) = self.0.line().strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
    }
}

/// A response over HTTP/1.1, whose body a proxy may have sent in chunks (RFC 9112, 7.1).
struct Response {
    status: u16,
    head: String,
    stream: BufReader<Stream>,
    chunked: bool,
    /// What has come of the body and was not taken yet.
    pending: Vec<u8>,
}

impl Response {
    fn of(stream: Stream) -> Self {
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(stream.read_line(&mut head).unwrap(), 0, "{head}");
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        Self { status, head, stream, chunked, pending: Vec::new() }
    }

    /// Takes more of the body; whether there was any.
    fn more(&mut self) -> bool {
        if !self.chunked {
            let taken = match self.stream.fill_buf() {
                Ok(bytes) => bytes.to_vec(),
                // Many servers close without the closing alert of TLS.
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Vec::new(),
                Err(error) => panic!("{error}"),
            };
            self.stream.consume(taken.len());
            self.pending.extend(&taken);
            return !taken.is_empty();
        }
        let mut size = String::new();
        self.stream.read_line(&mut size).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk).unwrap();
        self.pending.extend(&chunk[..size]);
        size > 0
    }

    fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line = self.pending.drain(..=end).collect();
                return String::from_utf8(line).unwrap().trim_end().to_owned();
            }
            assert!(self.more(), "the body ended");
        }
    }

    fn rest(&mut self) -> String {
        while self.more() {}
        String::from_utf8(std::mem::take(&mut self.pending)).unwrap()
    }
}

/// What is written to the client's folder before it starts.
pub(crate) fn write_certificate(folder: &Path) {
    let issued = rcgen::generate_simple_self_signed(["sekisho.example".to_owned()]).unwrap();
    let (certificate, key) = (issued.cert.pem(), issued.signing_key.serialize_pem());
    for (name, parts) in
        [("certificate.pem", &[&certificate][..]), ("key.pem", &[&key]), ("both.pem", &[&certificate, &key])]
    {
        let mut file = File::create(folder.join(name)).unwrap();
        for part in parts {
            file.write_all(part.as_bytes()).unwrap();
        }
    }
}
