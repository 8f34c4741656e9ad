//! Requests to watch a worker, over WebSocket or as server-sent events.

use std::borrow::Cow;
use std::net::IpAddr;

use bytes::Bytes;
use data_encoding::BASE64;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode, Version};

use super::request::{invalid, runtime_id, worker_id};
use crate::error::{Error, ErrorKind};
use crate::id::WorkerRef;
use crate::query;
use crate::runtime_api::is_websocket_upgrade;

/// The subprotocol that viewers speak.
pub const SUBPROTOCOL: &str = "sekisho.v1";

/// What the subprotocol begins with that carries an access token: a page cannot set `Authorization` on a WebSocket.
pub(super) const BEARER_SUBPROTOCOL: &str = "bearer.";

/// In which form a stream is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Form {
    /// As WebSocket messages. What keeps a viewer out is said inside: a page cannot read the status of an upgrade that
    /// failed.
    WebSocket,
    /// As `text/event-stream`. What keeps a viewer out is said in the response.
    ServerSentEvents,
}

/// From where a client speaks to the gateway: the address of its connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClientAddress(pub IpAddr);

/// Which stream is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamRequest {
    /// Of which worker.
    pub worker: WorkerRef,
    /// After which cursor; `None` for a snapshot of the present.
    pub cursor: Option<String>,
    /// By whom, where the server knows and says so: replay streams are shared out among clients.
    pub client: Option<ClientAddress>,
}

/// What is to be watched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// One worker.
    Worker(StreamRequest),
    /// All workers of all runtimes: the fleet.
    Fleet,
}

/// A request to watch a worker, or all of them.
#[derive(Debug)]
pub struct Observation {
    /// In which form.
    pub form: Form,
    /// Which stream, or why there can be none.
    pub of: Result<Wanted, Error>,
    template: &'static str,
}

impl Observation {
    /// What the head of a request wants to watch; `None` where it wants something else. An error is one to be answered
    /// before any stream.
    pub fn parse(head: &Parts) -> Option<Result<Self, Error>> {
        let segments: Vec<&str> = head.uri.path().split('/').skip(1).collect();
        let (form, one) = match segments[..] {
            ["api", "runtimes", runtime, "workers", worker, "events", "ws"] => {
                (Form::WebSocket, Some((runtime, worker)))
            }
            ["api", "runtimes", runtime, "workers", worker, "events"] => {
                (Form::ServerSentEvents, Some((runtime, worker)))
            }
            ["api", "workers", "events", "ws"] => (Form::WebSocket, None),
            ["api", "workers", "events"] => (Form::ServerSentEvents, None),
            _ => return None,
        };
        if head.method != Method::GET {
            let error = Error::new(ErrorKind::MethodNotAllowed { allow: "GET" });
            return Some(Err(error.refusing(&head.method)));
        }
        if form == Form::WebSocket
            && let Err(detail) = check_handshake(head)
        {
            return Some(Err(invalid(detail)));
        }
        let Some((runtime, worker)) = one else {
            let of = query::parameters(head.uri.query(), []).map(|[]| Wanted::Fleet).map_err(invalid);
            return Some(Ok(Self { form, of, template: form.fleet_template() }));
        };
        let of = || {
            let worker = WorkerRef { runtime_id: runtime_id(runtime)?, worker_id: worker_id(worker)? };
            let [cursor] = query::parameters(head.uri.query(), ["cursor"]).map_err(invalid)?;
            // A client that reconnects by itself repeats the query, but knows better by now.
            let last = last_event_id(&head.headers).filter(|_| form == Form::ServerSentEvents);
            let cursor = last.or_else(|| cursor.map(Cow::into_owned));
            Ok(Wanted::Worker(StreamRequest { worker, cursor, client: None }))
        };
        Some(Ok(Self { form, of: of(), template: form.template() }))
    }

    /// The same by this client.
    pub fn by(mut self, client: Option<ClientAddress>) -> Self {
        if let Ok(Wanted::Worker(request)) = &mut self.of {
            request.client = client;
        }
        self
    }

    /// The route as the documentation writes it.
    pub fn template(&self) -> &'static str {
        self.template
    }
}

impl Form {
    /// Every form.
    #[cfg(feature = "pages")]
    pub(super) const ALL: [Self; 2] = [Self::WebSocket, Self::ServerSentEvents];

    /// The route of the stream of all workers in this form, as the documentation writes it.
    pub(super) const fn fleet_template(self) -> &'static str {
        match self {
            Self::WebSocket => "/api/workers/events/ws",
            Self::ServerSentEvents => "/api/workers/events",
        }
    }

    /// The route of a worker's streams of this form, as the documentation writes it.
    pub(super) const fn template(self) -> &'static str {
        match self {
            Self::WebSocket => "/api/runtimes/{runtime_id}/workers/{worker_id}/events/ws",
            Self::ServerSentEvents => "/api/runtimes/{runtime_id}/workers/{worker_id}/events",
        }
    }
}

/// What is wrong with an opening handshake (RFC 6455, 4.2.1).
fn check_handshake(head: &Parts) -> Result<(), &'static str> {
    if !is_websocket_upgrade(&head.headers) {
        return Err("This route needs an upgrade to websocket");
    }
    if head.version < Version::HTTP_11 {
        return Err("An upgrade to websocket needs HTTP/1.1");
    }
    let key = head.headers.get(header::SEC_WEBSOCKET_KEY).map(|key| BASE64.decode(key.as_bytes()));
    match key {
        Some(Ok(key)) if key.len() == 16 => Ok(()),
        _ => Err("The Sec-WebSocket-Key is not 16 bytes in Base64"),
    }
}

fn last_event_id(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("last-event-id")?.to_str().ok()?;
    (!value.is_empty()).then(|| value.to_owned())
}

/// The subprotocols that a WebSocket's opening handshake offers.
pub(super) fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim)
}

/// The answer to an opening handshake (RFC 6455, 4.2.2); `accept` is the answer to its key.
pub fn switching_protocols(head: &Parts, accept: HeaderValue) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if subprotocols(&head.headers).any(|offered| offered == SUBPROTOCOL) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    response
}

/// The head of a stream of server-sent events.
pub fn event_stream() -> Response<()> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A proxy with its defaults would hold events back until it has many (nginx, ngx_http_proxy_module).
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPGRADE: &[(&str, &str)] = &[
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn head(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn parse(uri: &str, headers: &[(&str, &str)]) -> Option<Result<Observation, Error>> {
        Observation::parse(&head("GET", uri, headers))
    }

    #[test]
    fn both_forms() {
        let socket = parse("/api/runtimes/r/workers/w/events/ws?cursor=c%2D1", UPGRADE).unwrap().unwrap();
        assert_eq!(socket.form, Form::WebSocket);
        let worker = WorkerRef { runtime_id: "r".parse().unwrap(), worker_id: "w".parse().unwrap() };
        assert_eq!(
            socket.of,
            Ok(Wanted::Worker(StreamRequest {
                worker: worker.clone(),
                cursor: Some("c-1".into()),
                client: None
            }))
        );
        let events = parse("/api/runtimes/r/workers/w/events", &[]).unwrap().unwrap();
        assert_eq!(
            (events.form, events.of),
            (
                Form::ServerSentEvents,
                Ok(Wanted::Worker(StreamRequest { worker, cursor: None, client: None }))
            )
        );
    }

    #[test]
    fn the_last_event_id_is_the_newer_cursor() {
        let last = [("last-event-id", "c-9")];
        let events = parse("/api/runtimes/r/workers/w/events?cursor=c-1", &last).unwrap().unwrap();
        let Ok(Wanted::Worker(request)) = events.of else { panic!("{:?}", events.of) };
        assert_eq!(request.cursor.as_deref(), Some("c-9"));
    }

    #[test]
    fn all_workers_at_once() {
        let socket = parse("/api/workers/events/ws", UPGRADE).unwrap().unwrap();
        assert_eq!((socket.form, &socket.of), (Form::WebSocket, &Ok(Wanted::Fleet)));
        assert_eq!(socket.template(), "/api/workers/events/ws");
        let events = parse("/api/workers/events", &[]).unwrap().unwrap();
        assert_eq!((events.form, &events.of), (Form::ServerSentEvents, &Ok(Wanted::Fleet)));
        assert_eq!(events.template(), "/api/workers/events");
        let refused = parse("/api/workers/events?cursor=c-1", &[]).unwrap().unwrap().of.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidRequest);
    }

    #[test]
    fn what_keeps_a_viewer_out_is_said_inside() {
        for (uri, kind) in [
            ("/api/runtimes/../workers/w/events/ws", ErrorKind::InvalidIdentifier),
            ("/api/runtimes/r/workers/a%2Fb/events/ws", ErrorKind::InvalidIdentifier),
            ("/api/runtimes/r/workers/w/events/ws?start=1", ErrorKind::InvalidRequest),
        ] {
            let observation = parse(uri, UPGRADE).unwrap().unwrap();
            assert_eq!(observation.of.unwrap_err().kind(), kind, "{uri}");
        }
    }

    #[test]
    fn a_handshake_needs_its_version_and_a_key() {
        let uri = "/api/runtimes/r/workers/w/events/ws";
        let mut old = head("GET", uri, UPGRADE);
        old.version = Version::HTTP_10;
        assert_eq!(Observation::parse(&old).unwrap().unwrap_err().kind(), ErrorKind::InvalidRequest);
        for key in ["x", "", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ==="] {
            let headers: Vec<_> = UPGRADE[..3].iter().copied().chain([("sec-websocket-key", key)]).collect();
            let refused = parse(uri, &headers).unwrap().unwrap_err();
            assert!(refused.detail().contains("Sec-WebSocket-Key"), "{key}: {refused}");
        }
    }

    #[test]
    fn a_proxy_passes_events_on_as_they_come() {
        let head = event_stream();
        assert_eq!(head.headers()["x-accel-buffering"], "no");
        assert_eq!(head.headers()["cache-control"], "no-cache");
    }

    #[test]
    fn what_is_answered_before_any_stream() {
        let plain = parse("/api/runtimes/r/workers/w/events/ws", &[]).unwrap().unwrap_err();
        assert_eq!(plain.kind(), ErrorKind::InvalidRequest);
        for method in ["POST", "HEAD"] {
            let refused = Observation::parse(&head(method, "/api/runtimes/r/workers/w/events", &[])).unwrap();
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::MethodNotAllowed { allow: "GET" });
        }
        for uri in ["/api/runtimes/r/workers/w", "/api/runtimes/r/workers/w/events/x", "/events/ws"] {
            assert!(parse(uri, UPGRADE).is_none(), "{uri}");
        }
    }

    #[test]
    fn a_subprotocol_is_answered_where_it_was_offered() {
        let answer = |offered: &str| {
            let head = head("GET", "/", &[("sec-websocket-protocol", offered)]);
            let response = switching_protocols(&head, HeaderValue::from_static("x"));
            response.headers().get("sec-websocket-protocol").map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(answer("sekisho.v1, bearer.x").as_deref(), Some("sekisho.v1"));
        assert_eq!(answer("graphql-ws"), None);
    }

    #[test]
    fn events_are_one_line_of_data() {
        let event = crate::feed::caught_up().event().clone();
        let event = std::str::from_utf8(&event).unwrap();
        assert!(event.starts_with("data: {\"kind\":\"diagnostic\"") && event.ends_with("}\n\n"), "{event}");
        assert_eq!(event.matches('\n').count(), 2);
    }
}
