//! HTTP/1.1 over one connection, and its end where a WebSocket begins.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use sekisho_core::error::{NetworkPhase, TimeoutPhase};
use sekisho_core::transport::{Failure, FailureCause, MAX_FRAME, MAX_HEAD, MAX_WRITE_BUFFER, READ_BUFFER};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::socket::{Meter, Socket};

/// A stream of messages.
pub(crate) type WebSocket = WebSocketStream<TokioIo<Upgraded>>;

/// A connection that carries one request at a time.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    meter: Arc<Meter>,
    /// Whether the last request was written as a whole.
    is_written: bool,
}

/// Why a request got no response.
pub(crate) enum Unanswered {
    /// It was given back untouched.
    Unsent(Box<Request<Full<Bytes>>>),
    /// What has been seen of it.
    Failed(Failure),
}

impl Unanswered {
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Self::Unsent(_) => Failure::unsent(FailureCause::Network(NetworkPhase::Send)),
            Self::Failed(failure) => failure,
        }
    }
}

impl Connection {
    pub(crate) async fn new(socket: Socket) -> hyper::Result<Self> {
        let meter = socket.meter();
        let sender = match socket {
            Socket::Plain(wire) => speak_http(wire).await,
            Socket::Tls(session) => speak_http(session).await,
        };
        Ok(Self { sender: sender?, meter, is_written: true })
    }

    pub(crate) async fn is_ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Whether it can carry another request. One that was answered before its request was written as a whole cannot:
    /// the rest of the request may never be read.
    pub(crate) fn is_reusable(&self) -> bool {
        self.is_written && !self.sender.is_closed()
    }

    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
        respond_by: Instant,
    ) -> Result<Response<Incoming>, Unanswered> {
        let before = self.meter.written();
        let body = request.body().size_hint().lower();
        let answer = timeout_at(respond_by, self.sender.try_send_request(request)).await;
        let written = self.meter.written() - before;
        let sent = written > 0;
        // Little of the end can be missing where more than the body is there: a head is small.
        self.is_written = written > body;
        let failed = |cause| Unanswered::Failed(Failure { cause, sent });
        match answer {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(mut error)) => Err(match error.take_message() {
                Some(request) => Unanswered::Unsent(Box::new(request)),
                None if error.error().is_parse() => failed(FailureCause::NotHttp),
                None if self.is_written => failed(FailureCause::Network(NetworkPhase::Receive)),
                None => failed(FailureCause::Network(NetworkPhase::Send)),
            }),
            Err(_) => Err(failed(FailureCause::Timeout(TimeoutPhase::Response))),
        }
    }

    /// Takes the connection over for messages; `None` where that cannot be done.
    pub(crate) async fn upgrade(self, mut head: Response<Incoming>) -> Option<WebSocket> {
        let upgraded = hyper::upgrade::on(&mut head).await.ok()?;
        self.meter.upgraded();
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_WRITE_BUFFER)
            .max_message_size(Some(MAX_FRAME))
            .max_frame_size(Some(MAX_FRAME));
        Some(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, Some(config)).await)
    }
}

/// An opening handshake (RFC 6455, 4.1).
pub(crate) struct Handshake {
    pub(crate) request: Request<Full<Bytes>>,
    pub(crate) key: Key,
}

/// A random key that the other side has to answer.
pub(crate) struct Key(String);

impl Handshake {
    pub(crate) fn new(request: Request<()>) -> Self {
        let key = generate_key();
        let mut request = request.map(|()| Full::default());
        // A key is base64.
        let value = HeaderValue::from_str(&key).ok();
        request.headers_mut().extend(value.map(|value| (header::SEC_WEBSOCKET_KEY, value)));
        Self { request, key: Key(key) }
    }
}

impl Key {
    /// Whether this is the answer to it.
    pub(crate) fn accepts<B>(&self, head: &Response<B>) -> bool {
        let accept = head.headers().get(header::SEC_WEBSOCKET_ACCEPT);
        head.status() == StatusCode::SWITCHING_PROTOCOLS
            && accept.is_some_and(|accept| accept == derive_accept_key(self.0.as_bytes()).as_str())
    }
}

async fn speak_http(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> hyper::Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) =
        http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await?;
    // Ends with the connection or with its sender. A request that waits for a response is told how.
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}
