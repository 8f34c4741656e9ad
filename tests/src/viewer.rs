//! A viewer over WebSocket, which blocks.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Message, WebSocket};

use crate::client::PATIENCE;
use crate::contract;

/// What a viewer sees.
#[derive(Clone, PartialEq, Debug)]
pub enum Seen {
    /// An event, or a snapshot.
    Event {
        /// To come back with.
        cursor: String,
        /// What identifies it.
        event_id: String,
        /// What happened.
        payload: Value,
    },
    /// A diagnostic, by its code.
    Diagnostic(String),
    /// The end, by its code; 1006 where there was none.
    Closed(u16),
}

impl Seen {
    /// Whether it is a snapshot.
    pub fn is_snapshot(&self) -> bool {
        matches!(self, Self::Event { event_id, .. } if event_id.starts_with("snapshot:"))
    }
}

/// A viewer of one worker.
pub struct Viewer {
    socket: WebSocket<TcpStream>,
    /// The cursor of the last event that was seen.
    pub cursor: Option<String>,
}

impl Viewer {
    /// Opens a stream of `runtime/worker` at the gateway.
    pub fn open(gateway: SocketAddr, worker: &str, cursor: Option<&str>) -> Self {
        Self::open_with(gateway, worker, cursor, &[]).unwrap_or_else(|refused| panic!("{refused:?}"))
    }

    /// The same with headers; what the gateway answers where it does not upgrade.
    pub fn open_with(
        gateway: SocketAddr,
        worker: &str,
        cursor: Option<&str>,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, u16> {
        let (runtime_id, worker_id) = worker.split_once('/').unwrap();
        let query = cursor.map(|cursor| format!("?cursor={cursor}")).unwrap_or_default();
        let url = format!("ws://{gateway}/api/runtimes/{runtime_id}/workers/{worker_id}/events/ws{query}");
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let stream = TcpStream::connect_timeout(&gateway, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Self { socket, cursor: cursor.map(str::to_owned) }),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                Err(response.status().as_u16())
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Waits for what comes next.
    pub fn see(&mut self) -> Seen {
        loop {
            return match self.socket.read() {
                Ok(Message::Text(text)) => self.seen(&text),
                Ok(Message::Ping(_) | Message::Pong(_)) => continue,
                Ok(Message::Close(frame)) => {
                    let code = frame.map_or(1005, |frame| frame.code.into());
                    // Reading on sends the answer to the closing handshake.
                    while self.socket.read().is_ok() {}
                    Seen::Closed(code)
                }
                Ok(other) => panic!("{other:?}"),
                Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("nothing to be seen")
                }
                Err(_) => Seen::Closed(1006),
            };
        }
    }

    fn seen(&mut self, text: &str) -> Seen {
        let frame: Value = serde_json::from_str(text).unwrap();
        contract::check_frame(&frame);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        match frame["kind"].as_str().unwrap() {
            "event" => {
                let envelope = &frame["envelope"];
                let cursor = text(&envelope["cursor"]);
                self.cursor = Some(cursor.clone());
                Seen::Event {
                    cursor,
                    event_id: text(&envelope["event_id"]),
                    payload: envelope["payload"].clone(),
                }
            }
            _ => Seen::Diagnostic(text(&frame["diagnostic"]["code"])),
        }
    }

    /// Everything up to the end, in short: codes of diagnostics, and the close code.
    pub fn end(&mut self) -> (Vec<String>, u16) {
        let mut codes = Vec::new();
        loop {
            match self.see() {
                Seen::Diagnostic(code) => codes.push(code),
                Seen::Closed(code) => return (codes, code),
                Seen::Event { .. } => {}
            }
        }
    }

    /// Sends these bytes, whatever they are.
    pub fn say_bytes(&mut self, bytes: &[u8]) {
        self.socket.get_mut().write_all(bytes).unwrap();
    }

    /// Sends a message.
    pub fn say(&mut self, message: Message) {
        self.socket.send(message).unwrap();
    }
}
