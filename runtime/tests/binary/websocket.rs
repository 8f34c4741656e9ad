//! Streams of the real binary over TCP.

use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::Request;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{HandshakeError, Message, WebSocket};

use super::{Server, TCP, exchange};

/// How long a test waits before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

struct Stream(WebSocket<TcpStream>);

fn request(server: &Server, path: &str) -> Request {
    let url = server.url.replacen("http", "ws", 1);
    format!("{url}/v1/workers/{path}").into_client_request().unwrap()
}

/// The status and the code of a refusal.
fn refused(server: &Server, request: Request) -> (u16, Value) {
    let Err(HandshakeError::Failure(tungstenite::Error::Http(response))) =
        tungstenite::client(request, server.connect())
    else {
        panic!()
    };
    let body: Value =
        serde_json::from_slice(response.body().as_deref().unwrap_or_default()).unwrap_or_default();
    (response.status().as_u16(), body["error"]["code"].clone())
}

impl Stream {
    fn open(server: &Server, path: &str) -> Self {
        let connection = server.connect();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(tungstenite::client(request(server, path), connection).unwrap().0)
    }

    fn frame(&mut self) -> Value {
        match self.0.read().unwrap() {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The next line of output, and the cursor after it.
    fn line(&mut self) -> (String, String) {
        loop {
            let envelope = self.frame()["envelope"].clone();
            if envelope["payload"]["event"] == "text_delta" {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                return (text(&envelope["payload"]["data"]["text"]), text(&envelope["cursor"]));
            }
        }
    }

    /// Reads the close frame, and then the end of the connection.
    fn close_code(&mut self) -> CloseCode {
        let Message::Close(Some(close)) = self.0.read().unwrap() else { panic!() };
        assert!(matches!(self.0.read(), Err(tungstenite::Error::ConnectionClosed)));
        close.code
    }
}

fn say(server: &Server, worker_id: &str, content: &str) {
    let body = json!({"kind": "user", "content": content}).to_string();
    assert_eq!(server.ask(&format!("POST /v1/workers/{worker_id}/input"), "", &body).0, 200);
}

#[test]
fn a_worker_is_followed_and_followed_on() {
    let server = Server::start(&[&TCP[..], &["--profile", "shell=sh"]].concat());
    let worker_id = server.create();
    let path = format!("{worker_id}/events/ws");
    let mut stream = Stream::open(&server, &path);
    assert_eq!(stream.frame()["envelope"]["payload"]["event"], "snapshot");
    say(&server, &worker_id, "echo one");
    let (one, cursor) = stream.line();
    assert_eq!(one, "one\n");
    drop(stream);
    say(&server, &worker_id, "echo two");
    let mut stream = Stream::open(&server, &format!("{path}?cursor={cursor}"));
    assert_eq!(stream.frame()["envelope"]["event_id"], format!("snapshot:{cursor}"));
    assert_eq!(stream.line().0, "two\n");

    // A line that does not fit one fragment, and a message of the client that is not meant to be there.
    say(&server, &worker_id, "head -c 50000 /dev/zero | tr '\\0' x; echo");
    let mut line = String::new();
    while !line.ends_with('\n') {
        line += &stream.line().0;
    }
    assert_eq!(line, format!("{}\n", "x".repeat(50_000)));
    stream.0.send(Message::text("hello")).unwrap();
    assert_eq!(stream.frame()["diagnostic"]["code"], "runtime.observation_only");
    assert_eq!(stream.close_code(), CloseCode::Normal);
}

#[test]
fn faults_of_a_cursor_end_with_a_close_frame() {
    let server = Server::start(&TCP);
    let worker_id = server.create();
    let mut stream = Stream::open(&server, &format!("{worker_id}/events/ws?cursor=zzz"));
    assert_eq!(stream.frame()["diagnostic"]["code"], "runtime.cursor_malformed");
    assert_eq!(stream.close_code(), CloseCode::Normal);
    let mut stream = Stream::open(&server, &format!("{worker_id}/events/ws?cursor=0123456789abcdef.1"));
    assert_eq!(stream.frame()["envelope"]["event_id"], "snapshot:0123456789abcdef.1");
    assert_eq!(stream.frame()["diagnostic"]["code"], "runtime.cursor_unknown_or_expired");
    assert_eq!(stream.close_code(), CloseCode::Normal);
}

#[test]
fn refusals_come_before_the_upgrade() {
    use std::io::Write;
    let mut token = tempfile::NamedTempFile::new().unwrap();
    writeln!(token, "s3cret").unwrap();
    let server = Server::start(&[&TCP[..], &["--token-file", token.path().to_str().unwrap()]].concat());
    let with = |path: &str, token: &str| {
        let mut request = request(&server, path);
        request.headers_mut().insert("authorization", token.parse().unwrap());
        refused(&server, request)
    };
    assert_eq!(refused(&server, request(&server, "w/events/ws")), (401, json!("unauthorized")));
    assert_eq!(with("w/events/ws", "Bearer wrong"), (401, json!("unauthorized")));
    assert_eq!(with("w/events/ws", "Bearer s3cret"), (404, json!("worker_not_found")));
    assert_eq!(with("w/events/ws?x=1", "Bearer s3cret"), (400, json!("invalid_query")));
    // Where there is nothing to upgrade to, the wish is left alone.
    assert_eq!(with("w/transcript", "Bearer s3cret"), (404, json!("worker_not_found")));
    let plain = "GET /v1/workers/w/events/ws";
    let (status, _, body) = exchange(server.connect(), plain, "authorization: Bearer s3cret\r\n", "");
    assert!(status == 400 && body.contains("an upgrade to websocket is needed"), "{body}");
}

#[test]
fn pages_get_no_stream_without_a_token() {
    let server = Server::start(&TCP);
    let mut request = request(&server, &format!("{}/events/ws", server.create()));
    request.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
    assert_eq!(refused(&server, request), (401, json!("unauthorized")));
}

#[test]
fn the_end_of_the_server_is_said() {
    let mut server = Server::start(&[&TCP[..], &["--profile", "shell=sh"]].concat());
    let path = format!("{}/events/ws", server.create());
    let mut streams = [Stream::open(&server, &path), Stream::open(&server, &path)];
    for stream in &mut streams {
        stream.frame();
    }
    server.signal(Signal::TERM);
    for stream in &mut streams {
        assert_eq!(stream.frame()["diagnostic"]["code"], "runtime.unavailable");
        assert_eq!(stream.close_code(), CloseCode::Away);
    }
    assert_eq!(server.process.wait().unwrap().code(), Some(0));
}

#[test]
fn streams_take_no_place_of_a_connection() {
    let server = Server::start(&TCP);
    let path = format!("{}/events/ws", server.create());
    let mut streams: Vec<_> = (0..200).map(|_| Stream::open(&server, &path)).collect();
    for stream in &mut streams {
        stream.frame();
    }
    assert_eq!(server.ask("GET /v1/runtime", "", "").0, 200);
}
