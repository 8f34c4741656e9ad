//! A pooled HTTP/1.1 client for one runtime.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Body as _;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use sekisho_core::error::{NetworkPhase, TimeoutPhase};
use sekisho_core::transport::{
    Attempt, AttemptLimits, Connect, Failure, FailureCause, MAX_FRAME, MAX_HEAD, MAX_IDLE, MAX_REFUSAL,
    MAX_WRITE_BUFFER, READ_BUFFER, Target, TokenSource, Unopened,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::stream::{Meter, Stream};

/// How many idle connections are kept.
const MAX_IDLE_CONNECTIONS: usize = 64;

/// Carries attempts to one runtime and keeps its connections for the next ones.
///
/// It never follows a redirect, knows no proxy, and sends what the attempt holds and nothing else.
pub struct HttpClient {
    tls: Option<Arc<ClientConfig>>,
    token_source: Option<Arc<dyn TokenSource>>,
    /// The one used last is at the back, and is used first.
    idle: Mutex<VecDeque<Idle>>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    meter: Arc<Meter>,
    /// Whether the last request was written as a whole.
    is_written: bool,
    /// Whether it has been in the pool.
    pooled: bool,
}

impl HttpClient {
    /// A client with nothing pooled. `tls` says whom to trust where the runtime's base URL is `https`.
    pub fn new(tls: Option<Arc<ClientConfig>>) -> Self {
        Self { tls, token_source: None, idle: Mutex::default() }
    }

    /// The same client for a runtime whose token may be replaced; several clients may share the source.
    pub fn with_token_source(self, token_source: Arc<dyn TokenSource>) -> Self {
        Self { token_source: Some(token_source), ..self }
    }

    pub(crate) fn token_source(&self) -> Option<&dyn TokenSource> {
        self.token_source.as_deref()
    }

    pub(crate) async fn exchange(&self, attempt: Attempt) -> Result<Response<Bytes>, Failure> {
        let Attempt { target, request, limits, .. } = attempt;
        let deadline = Instant::from_std(limits.deadline);
        let connect_by = deadline.min(Instant::now() + limits.connect);
        let mut request = request.map(Full::new);
        loop {
            let mut connection = self.connection(&target, &limits, connect_by).await?;
            let respond_by = deadline.min(Instant::now() + limits.response);
            let head = match connection.send(request, respond_by).await {
                Ok(head) => head,
                Err(Unanswered::Unsent(unsent)) if connection.pooled => {
                    // It had been closed in the pool, and nothing of this was written to it.
                    request = *unsent;
                    continue;
                }
                Err(Unanswered::Unsent(_)) => {
                    return Err(Failure::unsent(FailureCause::Network(NetworkPhase::Send)));
                }
                Err(Unanswered::Failed(failure)) => return Err(failure),
            };
            let read_by = deadline.min(Instant::now() + limits.body);
            let response = read_body(head, limits.max_body, read_by).await.map_err(Failure::sent)?;
            // Under HTTP/1.0 the next request would be another one: hyper adapts it.
            if response.version() == Version::HTTP_11 {
                self.keep(connection);
            }
            return Ok(response);
        }
    }

    /// Opens a stream on a connection of its own.
    pub(crate) async fn open(
        &self,
        connect: Connect,
    ) -> Result<WebSocketStream<TokioIo<Upgraded>>, Unopened> {
        let Connect { target, request, limits, .. } = connect;
        let connect_by = Instant::now() + limits.connect;
        let unsent = |cause| Unopened::Failed(Failure::unsent(cause));
        let (stream, meter) = match timeout_at(connect_by, Stream::connect(&target, self.tls.as_ref())).await
        {
            Ok(connected) => connected.map_err(unsent)?,
            Err(_) => return Err(unsent(FailureCause::Timeout(TimeoutPhase::Connect))),
        };
        let mut connection = Connection::new(stream, meter).await.map_err(Unopened::Failed)?;
        let key = generate_key();
        let mut request = request.map(|()| Full::default());
        // A key is base64.
        request
            .headers_mut()
            .extend(HeaderValue::from_str(&key).ok().map(|key| (header::SEC_WEBSOCKET_KEY, key)));
        let respond_by = Instant::now() + limits.response;
        let mut head = match connection.send(request, respond_by).await {
            Ok(head) => head,
            Err(Unanswered::Failed(failure)) => return Err(Unopened::Failed(failure)),
            Err(Unanswered::Unsent(_)) => return Err(unsent(FailureCause::Network(NetworkPhase::Send))),
        };
        if head.status() != StatusCode::SWITCHING_PROTOCOLS {
            let read_by = Instant::now() + limits.response;
            let failed = |cause| Unopened::Failed(Failure::sent(cause));
            let response = read_body(head, MAX_REFUSAL, read_by).await.map_err(failed)?;
            return Err(Unopened::Refused(response));
        }
        let expected = derive_accept_key(key.as_bytes());
        if head.headers().get(header::SEC_WEBSOCKET_ACCEPT).is_none_or(|accept| accept != expected.as_str()) {
            return Err(Unopened::Malformed);
        }
        let upgraded = hyper::upgrade::on(&mut head).await.map_err(|_| Unopened::Malformed)?;
        connection.meter.upgraded();
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_WRITE_BUFFER)
            .max_message_size(Some(MAX_FRAME))
            .max_frame_size(Some(MAX_FRAME));
        Ok(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, Some(config)).await)
    }

    /// A pooled connection, or else a new one.
    async fn connection(
        &self,
        target: &Target,
        limits: &AttemptLimits,
        connect_by: Instant,
    ) -> Result<Connection, Failure> {
        while let Some(mut connection) = self.take(limits.max_idle) {
            // Ready at once, but for a connection whose last response was read a moment ago.
            if let Ok(Ok(())) = timeout_at(connect_by, connection.sender.ready()).await {
                return Ok(connection);
            }
        }
        match timeout_at(connect_by, Stream::connect(target, self.tls.as_ref())).await {
            Ok(Ok((stream, meter))) => Connection::new(stream, meter).await,
            Ok(Err(cause)) => Err(Failure::unsent(cause)),
            Err(_) => Err(Failure::unsent(FailureCause::Timeout(TimeoutPhase::Connect))),
        }
    }

    fn take(&self, max_idle: Duration) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = idle.pop_back()?;
        if latest.since.elapsed() <= max_idle {
            return Some(latest.connection);
        }
        // All others have been idle for longer. They may still do for a command that can be repeated.
        if latest.since.elapsed() <= MAX_IDLE {
            idle.push_back(latest);
        } else {
            idle.clear();
        }
        None
    }

    fn keep(&self, connection: Connection) {
        // Who answers before the request was written as a whole may never read the rest of it.
        if connection.sender.is_closed() || !connection.is_written {
            return;
        }
        let connection = Connection { pooled: true, ..connection };
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push_back(Idle { connection, since: Instant::now() });
        if idle.len() > MAX_IDLE_CONNECTIONS {
            idle.pop_front();
        }
    }

    pub(crate) fn prune(&self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|idle| idle.since.elapsed() <= MAX_IDLE && !idle.connection.sender.is_closed());
    }
}

/// Why a request got no response.
enum Unanswered {
    /// It was given back untouched.
    Unsent(Box<Request<Full<Bytes>>>),
    /// What has been seen of it.
    Failed(Failure),
}

impl Connection {
    async fn new(stream: Stream, meter: Arc<Meter>) -> Result<Self, Failure> {
        let sender = match stream {
            Stream::Plain(wire) => speak_http(wire).await,
            Stream::Tls(session) => speak_http(session).await,
        };
        let sender = sender.map_err(|_| Failure::unsent(FailureCause::Network(NetworkPhase::Connect)))?;
        Ok(Self { sender, meter, is_written: false, pooled: false })
    }

    async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
        respond_by: Instant,
    ) -> Result<Response<hyper::body::Incoming>, Unanswered> {
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
}

async fn speak_http(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> hyper::Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) =
        http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await?;
    // Ends with the connection or with its sender. How is told to whoever is waiting for a response.
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}

async fn read_body(
    head: Response<hyper::body::Incoming>,
    max_body: usize,
    read_by: Instant,
) -> Result<Response<Bytes>, FailureCause> {
    let (head, body) = head.into_parts();
    if body.size_hint().lower() > max_body as u64 {
        return Err(FailureCause::TooLarge);
    }
    match timeout_at(read_by, Limited::new(body, max_body).collect()).await {
        Ok(Ok(collected)) => Ok(Response::from_parts(head, collected.to_bytes())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(FailureCause::TooLarge),
        Ok(Err(_)) => Err(FailureCause::CutShort),
        Err(_) => Err(FailureCause::Timeout(TimeoutPhase::Body)),
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpClient")
    }
}
