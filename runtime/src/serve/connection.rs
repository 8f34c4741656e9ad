//! One connection: HTTP/1.1 in, [`Runtime::respond`], HTTP/1.1 out; or, once, a stream.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use sekisho_core::browser_api::{AccessGuard, Decision};
use sekisho_core::runtime_api::{Fault, FaultCode, Observe, is_websocket_upgrade};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tungstenite::handshake::derive_accept_key;

use super::body::{Bodies, MAX_BODY, Unread};
use super::counts::Counts;
use super::delivery::deliver;
use super::pool::Seat;
use crate::Runtime;
use crate::runtime::{full, unauthorized};

/// How long a client may take for a request's head, and how long it may keep a connection without one.
const HEAD_DEADLINE: Duration = Duration::from_secs(60);

/// How long a client may take to let the answer to its upgrade out.
const UPGRADE_DEADLINE: Duration = Duration::from_secs(10);

/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 32 * 1024;

/// How long a client may keep a connection without having asked anything.
const FIRST_REQUEST: Duration = Duration::from_secs(10);

/// How long a connection that has to make room may take for the answer that is under way.
const LEAVE_DEADLINE: Duration = Duration::from_secs(10);

/// What all connections lead to.
pub(super) struct Front {
    pub(super) runtime: Runtime,
    /// Under which names a runtime without a token may be spoken to; `None` where any name will do.
    pub(super) guard: Option<AccessGuard>,
    pub(super) bodies: Bodies,
    pub(super) counts: Counts,
}

/// Serves a connection to its end, until it has to make room, or until it is idle once the server is draining. One
/// that becomes a stream has ended as far as this is concerned.
pub(super) async fn serve<S>(
    stream: S,
    front: Arc<Front>,
    seat: Arc<Seat>,
    mut draining: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let ours = draining.clone();
    let service = service_fn(|request: Request<Incoming>| {
        let (front, seat, draining) = (Arc::clone(&front), Arc::clone(&seat), ours.clone());
        async move { Ok::<_, Infallible>(front.answer(request, &seat, draining).await.map(Full::new)) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE);
    // A head that is no longer than it may be has room there while it comes.
    http.max_header_size(MAX_HEAD).max_buf_size(2 * MAX_HEAD);
    // A client that has written all that it has to say may close its side and wait for the answer.
    http.half_close(true);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let mut first_request = pin!(sleep(FIRST_REQUEST));
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            // There is nothing that it could be waiting for.
            () = first_request.as_mut(), if !first_request.is_elapsed() => if seat.is_useless() { return },
            () = seat.told_to_leave() => {
                if seat.is_useless() { return }
                connection.as_mut().graceful_shutdown();
                match timeout(LEAVE_DEADLINE, connection.as_mut()).await {
                    Ok(ended) => break ended,
                    Err(_) => return,
                }
            }
            () = drained(&mut draining) => {
                connection.as_mut().graceful_shutdown();
                break connection.await;
            }
        }
    };
    if ended.is_err() {
        tracing::debug!("a connection ended early");
    }
}

/// Returns when the server is about to end.
pub(super) async fn drained(draining: &mut watch::Receiver<bool>) {
    // A server whose sender is gone serves no more either.
    let _ = draining.wait_for(|draining| *draining).await;
}

impl Front {
    async fn answer(
        &self,
        mut request: Request<Incoming>,
        seat: &Seat,
        draining: watch::Receiver<bool>,
    ) -> Response<Bytes> {
        // Elsewhere the wish to speak another protocol is one that a server may leave alone (RFC 9110, 7.8).
        let upgrades = is_websocket_upgrade(request.headers()) && Observe::from_request(&request).is_some();
        let upgrade = upgrades.then(|| hyper::upgrade::on(&mut request));
        let (head, body) = request.into_parts();
        let asked = self.counts.asked(&head);
        let response = self.answer_to(head, body, upgrade, seat, draining).await;
        self.counts.answered(&asked, &response);
        response
    }

    async fn answer_to(
        &self,
        head: Parts,
        body: Incoming,
        upgrade: Option<OnUpgrade>,
        seat: &Seat,
        draining: watch::Receiver<bool>,
    ) -> Response<Bytes> {
        if let Err(refusal) = self.admit(&head) {
            // A client that waits to be asked for the body is not asked.
            if !head.headers.contains_key(header::EXPECT) {
                self.bodies.refuse(body).await;
            }
            return closing(refusal.response());
        }
        if let Some(metrics) = self.counts.metrics(&head) {
            return metrics;
        }
        seat.works();
        let response = match self.bodies.read(body).await {
            Ok(body) => {
                let request = Request::from_parts(head, body);
                match upgrade {
                    Some(upgrade) => self.upgrade(&request, upgrade, draining),
                    None => self.runtime.respond(&request).await,
                }
            }
            Err(unread) => closing(refusal(unread)),
        };
        seat.rests();
        response
    }

    /// Whether a request with this head may ask anything: looked at before anything of its body is.
    fn admit(&self, head: &Parts) -> Result<(), Fault> {
        if !self.runtime.admits(&head.headers) {
            return Err(unauthorized());
        }
        let Some(guard) = &self.guard else { return Ok(()) };
        if is_of_a_page(&head.headers) {
            let message = "a runtime without a token does not speak to browsers";
            return Err(Fault::new(FaultCode::Unauthorized, message));
        }
        match guard.examine(head).decision {
            Decision::Admitted | Decision::Preflight(_) => Ok(()),
            Decision::Refused(_) => {
                let message = "a runtime without a token is spoken to by a name of this machine, by the address that \
                               it listens on, or by one of allowed_hosts";
                Err(Fault::new(FaultCode::NotAllowed, message))
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

/// Whether a browser sent this for some page. Without a token a runtime on loopback is protected by being reachable
/// from its machine alone, and every page that a user of the machine looks at is inside: it could have a worker made
/// and tell it what to run. A browser says so in headers that pages cannot take away (Fetch, 3.2 and Fetch Metadata
/// Request Headers, 2); other clients have no reason to send them. Where it says nothing, as to a page whose own name
/// leads to loopback, the `Host` header tells.
fn is_of_a_page(headers: &HeaderMap) -> bool {
    const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    headers.contains_key(header::ORIGIN) || headers.contains_key(SEC_FETCH_SITE)
}

/// What is answered to bytes that are no request, with the status that the HTTP library has found.
pub(super) fn unreadable(status: StatusCode) -> Response<Bytes> {
    let message = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE | StatusCode::URI_TOO_LONG => {
            format!("invalid request: the head is over the limit of {MAX_HEAD} bytes")
        }
        _ => "invalid request: this is not HTTP/1.1".to_owned(),
    };
    Fault::new(FaultCode::InvalidRequest, message).response()
}

fn refusal(unread: Unread) -> Response<Bytes> {
    let (status, message) = match unread {
        Unread::TooLong => {
            let message = format!("invalid request: the body is over the limit of {MAX_BODY} bytes");
            (StatusCode::PAYLOAD_TOO_LARGE, message)
        }
        Unread::Broken => (StatusCode::BAD_REQUEST, "invalid request: the body is not complete".to_owned()),
        Unread::TooSlow => {
            (StatusCode::REQUEST_TIMEOUT, "invalid request: the body took too long".to_owned())
        }
        Unread::NoRoom => {
            let message = "the bodies of requests under way take all the memory that they may";
            return full(message).response();
        }
    };
    let mut response = Fault::new(FaultCode::InvalidRequest, message).response();
    *response.status_mut() = status;
    response
}

/// The same response, after which the connection cannot be used: it may stand in the middle of a body.
fn closing(mut response: Response<Bytes>) -> Response<Bytes> {
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
