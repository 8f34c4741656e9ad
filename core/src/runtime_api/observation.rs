//! A worker's stream (`docs/runtime-api.md`, "Observation"): the request that opens it, and its frames.

use std::borrow::Cow;

use bytes::Bytes;
use http::Request;
use http::header::{self, HeaderMap, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::command::{CommandError, worker_id};
use super::fault::{Fault, FaultCode};
use crate::cursor::UpstreamCursor;
use crate::id::WorkerId;
use crate::query;
use crate::secret::Access;

/// Where the paths of workers begin.
const WORKERS: &str = "/v1/workers";

/// The request to watch one worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Observe {
    /// Which worker.
    pub worker_id: WorkerId,
    /// After which place; `None` for a snapshot of the present.
    pub cursor: Option<String>,
}

impl Observe {
    /// The request that opens a stream at the runtime behind `access`, after `place`: an opening handshake (RFC 6455,
    /// 4.1) but for its key, which a transport adds.
    pub fn request(access: &Access, worker_id: &WorkerId, place: Option<&UpstreamCursor>) -> Request<()> {
        let mut path = format!("{}{WORKERS}/{worker_id}/events/ws", access.path_prefix());
        if let Some(place) = place {
            path.push_str("?cursor=");
            path.extend(utf8_percent_encode(place.as_str(), NON_ALPHANUMERIC));
        }
        let mut request = Request::new(());
        // Prefix, constants, an id and percent-encoded text: all of it characters of a path or query.
        *request.uri_mut() = path.parse().expect("made of checked parts");
        let headers = request.headers_mut();
        access.add_headers(headers);
        ask_for_websocket(headers);
        request
    }

    /// What a request asks to watch, on the runtime's side; `None` where it asks for something else. Who may ask is
    /// checked before.
    pub fn from_request<B>(request: &Request<B>) -> Option<Result<Self, CommandError>> {
        let path = request.uri().path().strip_prefix(WORKERS)?.strip_prefix('/')?;
        let segment = path.strip_suffix("/events/ws")?;
        if request.method() != http::Method::GET {
            return Some(Err(CommandError::MethodNotAllowed { allow: "GET" }));
        }
        let observe = || {
            let [cursor] = query::parameters(request.uri().query(), ["cursor"])
                .map_err(|error| Fault::new(FaultCode::InvalidQuery, error.to_string()))?;
            Ok(Self { worker_id: worker_id(segment)?, cursor: cursor.map(Cow::into_owned) })
        };
        Some(observe().map_err(CommandError::Fault))
    }
}

/// Makes a request an opening handshake (RFC 6455, 4.1) but for its key, which is random: a transport adds it.
pub(crate) fn ask_for_websocket(headers: &mut HeaderMap<HeaderValue>) {
    for (name, value) in [
        (header::CONNECTION, "Upgrade"),
        (header::UPGRADE, "websocket"),
        (header::SEC_WEBSOCKET_VERSION, "13"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Whether a request asks to speak WebSocket instead (RFC 6455, 4.2.1).
pub fn is_websocket_upgrade(headers: &HeaderMap<HeaderValue>) -> bool {
    let has = |name, token: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|found| found.trim().eq_ignore_ascii_case(token))
    };
    has(header::CONNECTION, "upgrade")
        && has(header::UPGRADE, "websocket")
        && has(header::SEC_WEBSOCKET_VERSION, "13")
        && headers.contains_key(header::SEC_WEBSOCKET_KEY)
}

/// One frame of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame<'a> {
    /// Something happened, or the snapshot that a stream begins with.
    Event(Envelope<'a>),
    /// Something to know about the stream; mostly its end.
    Diagnostic(StreamDiagnostic<'a>),
}

/// An event and where it stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Envelope<'a> {
    /// The place after it.
    #[serde(borrow)]
    pub cursor: Cow<'a, str>,
    /// What identifies it.
    #[serde(borrow)]
    pub event_id: Cow<'a, str>,
    /// Whose it is.
    #[serde(borrow)]
    pub worker_id: Cow<'a, str>,
    /// What happened, as it stands in the frame.
    #[serde(borrow)]
    pub payload: &'a RawValue,
}

impl PartialEq for Envelope<'_> {
    fn eq(&self, other: &Self) -> bool {
        (&self.cursor, &self.event_id, &self.worker_id, self.payload.get())
            == (&other.cursor, &other.event_id, &other.worker_id, other.payload.get())
    }
}

impl Eq for Envelope<'_> {}

impl Envelope<'_> {
    /// Whether it is the snapshot that every stream begins with: its id is `snapshot:` and its cursor.
    pub fn is_snapshot(&self) -> bool {
        self.event_id.strip_prefix(SNAPSHOT_PREFIX) == Some(&self.cursor)
    }
}

/// What the id of a snapshot begins with.
pub const SNAPSHOT_PREFIX: &str = "snapshot:";

/// A runtime's word about a stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StreamDiagnostic<'a> {
    /// What it is about.
    #[serde(borrow)]
    pub code: Cow<'a, str>,
    /// The same for people.
    #[serde(borrow)]
    pub message: Cow<'a, str>,
}

/// Not a frame of v1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a frame of v1")]
pub struct MalformedFrame;

#[derive(Serialize, Deserialize)]
struct Text<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    envelope: Option<Envelope<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    diagnostic: Option<StreamDiagnostic<'a>>,
}

impl<'a> Frame<'a> {
    /// Reads a text frame. The payload is checked to be JSON and is not looked into.
    pub fn from_text(text: &'a [u8]) -> Result<Self, MalformedFrame> {
        let text: Text<'a> = serde_json::from_slice(text).map_err(|_| MalformedFrame)?;
        match (text.kind.as_ref(), text.envelope, text.diagnostic) {
            ("event", Some(envelope), None) => Ok(Self::Event(envelope)),
            ("diagnostic", None, Some(diagnostic)) => Ok(Self::Diagnostic(diagnostic)),
            _ => Err(MalformedFrame),
        }
    }

    /// The text frame, on the runtime's side.
    pub fn into_text(self) -> Bytes {
        let (kind, envelope, diagnostic) = match self {
            Self::Event(envelope) => ("event", Some(envelope), None),
            Self::Diagnostic(diagnostic) => ("diagnostic", None, Some(diagnostic)),
        };
        // Plain structs of texts: there is no map with keys that JSON could not have.
        serde_json::to_vec(&Text { kind: kind.into(), envelope, diagnostic }).expect("plain data").into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Streams of a deployed runtime, byte for byte.
    const RECORDED: &str = include_str!("recorded-streams.json");

    fn recorded() -> Vec<Value> {
        serde_json::from_str(RECORDED).unwrap()
    }

    #[test]
    fn envelopes_are_the_same_where_all_of_them_is() {
        let frame = |cursor: &str, payload: &str| {
            format!(
                r#"{{"kind":"event","envelope":{{"cursor":"{cursor}","event_id":"e","worker_id":"w","payload":{payload}}}}}"#
            )
        };
        let (one, other, third) = (frame("c", "1"), frame("c", "2"), frame("d", "1"));
        let again = Frame::from_text(one.as_bytes()).unwrap().into_text();
        assert_eq!(Frame::from_text(one.as_bytes()), Frame::from_text(&again));
        assert_ne!(Frame::from_text(one.as_bytes()), Frame::from_text(other.as_bytes()));
        assert_ne!(Frame::from_text(one.as_bytes()), Frame::from_text(third.as_bytes()));
    }

    #[test]
    fn recorded_frames_are_read_and_written_again_byte_for_byte() {
        let mut count = 0;
        for stream in recorded() {
            for (index, text) in stream["frames"].as_array().unwrap().iter().enumerate() {
                let text = text.as_str().unwrap();
                let frame = Frame::from_text(text.as_bytes()).unwrap();
                if let Frame::Event(envelope) = &frame {
                    assert_eq!(envelope.is_snapshot(), index == 0, "{text}");
                }
                assert_eq!(frame.into_text(), text);
                count += 1;
            }
        }
        assert_eq!(count, 15);
    }

    #[test]
    fn recorded_requests_are_read_and_written_again() {
        for stream in recorded() {
            let path = stream["path"].as_str().unwrap();
            let request = Request::builder().uri(path).body(()).unwrap();
            let observe = Observe::from_request(&request).unwrap().unwrap();
            let place = observe.cursor.as_deref().and_then(UpstreamCursor::new);
            let mut sent = Observe::request(&Access::in_process(), &observe.worker_id, place.as_ref());
            assert!(!is_websocket_upgrade(sent.headers()), "a transport adds the key");
            sent.headers_mut().insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_static("a key"));
            assert!(is_websocket_upgrade(sent.headers()));
            assert_eq!(Observe::from_request(&sent), Some(Ok(observe)), "{path}");
        }
    }

    #[test]
    fn other_requests_are_somebody_elses() {
        let read = |method: &str, path: &str| {
            Observe::from_request(&Request::builder().method(method).uri(path).body(()).unwrap())
        };
        for path in
            ["/v1/workers", "/v1/workers/w", "/v1/workers/w/events", "/v1/workersw/events/ws", "/events/ws"]
        {
            assert_eq!(read("GET", path), None, "{path}");
        }
        assert_eq!(
            read("POST", "/v1/workers/w/events/ws"),
            Some(Err(CommandError::MethodNotAllowed { allow: "GET" }))
        );
        for path in
            ["/v1/workers//events/ws", "/v1/workers/a%2Fb/events/ws", "/v1/workers/w/events/ws?start=1"]
        {
            assert!(matches!(read("GET", path), Some(Err(CommandError::Fault(_)))), "{path}");
        }
    }

    #[test]
    fn what_is_no_frame() {
        for text in [
            "",
            "{}",
            "[]",
            "null",
            "\u{0}",
            r#"{"kind":"event"}"#,
            r#"{"kind":"diagnostic","diagnostic":{}}"#,
            r#"{"kind":"other","envelope":{"cursor":"c","event_id":"e","worker_id":"w","payload":1}}"#,
            r#"{"kind":"event","envelope":{"cursor":7,"event_id":"e","worker_id":"w","payload":{}}}"#,
            r#"{"kind":"event","envelope":{"cursor":"c","event_id":"e","worker_id":"w","payload":{}}"#,
        ] {
            assert_eq!(Frame::from_text(text.as_bytes()), Err(MalformedFrame), "{text}");
        }
        assert_eq!(Frame::from_text(b"{\"kind\":\"\xff\"}"), Err(MalformedFrame));
    }

    #[test]
    fn an_unknown_field_is_no_fault() {
        let text = br#"{"kind":"event","more":1,"envelope":{"cursor":"c","event_id":"e","worker_id":"w","payload":{"event":"of_tomorrow","x":[1, 2]},"more":2}}"#;
        let Ok(Frame::Event(envelope)) = Frame::from_text(text) else { panic!() };
        assert_eq!(envelope.payload.get(), r#"{"event":"of_tomorrow","x":[1, 2]}"#);
        assert!(!envelope.is_snapshot());
    }

    #[test]
    fn upgrades() {
        let asks = |connection: &str, upgrade: &str, version: &str| {
            let request = Request::builder()
                .header("connection", connection)
                .header("upgrade", upgrade)
                .header("sec-websocket-version", version)
                .header("sec-websocket-key", "x");
            is_websocket_upgrade(request.body(()).unwrap().headers())
        };
        assert!(asks("keep-alive, Upgrade", "WebSocket", "13"));
        assert!(
            !asks("keep-alive", "websocket", "13")
                && !asks("upgrade", "h2c", "13")
                && !asks("upgrade", "websocket", "8")
        );
    }
}
