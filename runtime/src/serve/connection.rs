//! One connection: HTTP/1.1 in, [`Runtime::handle`], HTTP/1.1 out; or, once, a stream.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use sekisho_core::runtime_api::{Fault, FaultCode, Observe, is_websocket_upgrade};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;
use tungstenite::handshake::derive_accept_key;

use super::delivery::deliver;
use crate::Runtime;

/// The longest body of a request, in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// How much of a body that is too long is read all the same, in bytes, so that the client hears why it is refused
/// rather than find its connection reset.
const MAX_DISCARDED: usize = 16 * 1024 * 1024;

/// How long a client may take for a request's body.
const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// How long a client may take for a request's head, and how long it may keep a connection without one.
const HEAD_DEADLINE: Duration = Duration::from_secs(60);

/// How long a client may take to let the answer to its upgrade out.
const UPGRADE_DEADLINE: Duration = Duration::from_secs(10);

/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 32 * 1024;

/// What all connections lead to.
pub(super) struct AccessGuard {
    pub(super) runtime: Runtime,
    pub(super) has_token: bool,
}

/// Serves a connection to its end, or until it is idle once the server is draining. One that becomes a stream has
/// ended as far as this is concerned.
pub(super) async fn serve<S>(stream: S, door: Arc<AccessGuard>, mut draining: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let ours = draining.clone();
    let service = service_fn(|request: Request<Incoming>| {
        let (door, draining) = (Arc::clone(&door), ours.clone());
        async move { Ok::<_, Infallible>(door.answer(request, draining).await.map(Full::new)) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE).max_buf_size(MAX_HEAD);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = drained(&mut draining) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if ended.is_err() {
        tracing::debug!("a connection ended early");
    }
}

/// Returns when the server is about to end.
pub(super) async fn drained(draining: &mut watch::Receiver<bool>) {
    // A server that is gone without a word is not going to serve any more either.
    let _ = draining.wait_for(|draining| *draining).await;
}

impl AccessGuard {
    async fn answer(
        &self,
        mut request: Request<Incoming>,
        draining: watch::Receiver<bool>,
    ) -> Response<Bytes> {
        if !self.has_token && is_of_a_page(request.headers()) {
            let message = "a runtime without a token does not speak to browsers";
            return closing(StatusCode::UNAUTHORIZED, FaultCode::Unauthorized, message);
        }
        // Elsewhere the wish to speak another protocol is one that a server may leave alone (RFC 9110, 7.8).
        let upgrades = is_websocket_upgrade(request.headers()) && Observe::from_request(&request).is_some();
        let upgrade = upgrades.then(|| hyper::upgrade::on(&mut request));
        let (head, body) = request.into_parts();
        match timeout(BODY_DEADLINE, read(body)).await {
            Ok(Ok(body)) => {
                let request = Request::from_parts(head, body);
                match upgrade {
                    Some(upgrade) => self.upgrade(&request, upgrade, draining),
                    None => self.runtime.handle(&request),
                }
            }
            Ok(Err(Unread::TooLong)) => {
                let message = format!("invalid request: the body is over the limit of {MAX_BODY} bytes");
                closing(StatusCode::PAYLOAD_TOO_LARGE, FaultCode::InvalidRequest, message)
            }
            Ok(Err(Unread::Broken)) => {
                let message = "invalid request: the body is not complete";
                closing(StatusCode::BAD_REQUEST, FaultCode::InvalidRequest, message)
            }
            Err(_) => {
                let message = "invalid request: the body took too long";
                closing(StatusCode::REQUEST_TIMEOUT, FaultCode::InvalidRequest, message)
            }
        }
    }

    /// Turns the connection into a stream (RFC 6455, 4.2.2), where the runtime gives one.
    fn upgrade(
        &self,
        request: &Request<Bytes>,
        upgrade: OnUpgrade,
        draining: watch::Receiver<bool>,
    ) -> Response<Bytes> {
        let subscription = match self.runtime.observe(request) {
            Ok(subscription) => subscription,
            Err(refusal) => return refusal,
        };
        tokio::spawn(async move {
            match timeout(UPGRADE_DEADLINE, upgrade).await {
                Ok(Ok(upgraded)) => deliver(TokioIo::new(upgraded), subscription, draining).await,
                Ok(Err(_)) | Err(_) => tracing::debug!("an upgrade was not completed"),
            }
        });
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        let key = request.headers().get(header::SEC_WEBSOCKET_KEY);
        let accept = key.and_then(|key| derive_accept_key(key.as_bytes()).try_into().ok());
        headers.extend(accept.map(|accept: HeaderValue| (header::SEC_WEBSOCKET_ACCEPT, accept)));
        response
    }
}

/// Whether a browser sent this for some page. Without a token the machine's own border is all that protects a
/// runtime on loopback, and every page that its user looks at is inside of that border: it could have a worker
/// made and tell it what to run. A browser says so in headers that pages cannot take away (Fetch, 3.2 and Fetch
/// Metadata Request Headers, 2); other clients have no reason to send them.
fn is_of_a_page(headers: &HeaderMap) -> bool {
    const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    headers.contains_key(header::ORIGIN) || headers.contains_key(SEC_FETCH_SITE)
}

enum Unread {
    TooLong,
    Broken,
}

async fn read(mut body: Incoming) -> Result<Bytes, Unread> {
    let announced = body.size_hint().lower();
    if announced > MAX_DISCARDED as u64 {
        return Err(Unread::TooLong);
    }
    let mut content = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        length += data.len();
        if length <= MAX_BODY {
            content.extend_from_slice(&data);
        } else if length <= MAX_DISCARDED {
            content.clear();
        } else {
            break;
        }
    }
    if length > MAX_BODY { Err(Unread::TooLong) } else { Ok(content.freeze()) }
}

/// A refusal after which the connection cannot be used: it may stand in the middle of a body.
fn closing(status: StatusCode, code: FaultCode, message: impl Into<String>) -> Response<Bytes> {
    let mut response = Fault::new(code, message).response();
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_told_by_their_headers() {
        for (name, of_a_page) in [
            ("origin", true),
            ("sec-fetch-site", true),
            ("referer", false),
            ("host", false),
            ("user-agent", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("x"));
            assert_eq!(is_of_a_page(&headers), of_a_page, "{name}");
        }
    }
}
