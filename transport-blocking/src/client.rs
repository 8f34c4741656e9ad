//! A pooled HTTP/1.1 client for one runtime.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri};
use rustls::ClientConfig;
use sekisho_core::error::{NetworkPhase, TimeoutPhase};
use sekisho_core::transport::{
    Attempt, AttemptLimits, Connect, Failure, FailureCause, MAX_FRAME, MAX_HEAD, MAX_HEADERS, MAX_IDLE,
    MAX_REFUSAL, MAX_WRITE_BUFFER, READ_BUFFER, Target, TokenSource, Unopened,
};
use tungstenite::WebSocket;
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{Role, WebSocketConfig};
use ureq::{Agent, AsSendBody, Body, Error, Timeout};

use crate::connector::{Failed, LeftOver, Remains, ToRuntime, Unresolved};
use crate::socket::Socket;

/// How many idle connections are kept.
const MAX_IDLE_CONNECTIONS: usize = 16;

/// What ureq takes a runtime for: it needs some authority, and is not told the real one.
const STAND_IN: &str = "runtime.invalid";

/// Carries attempts to one runtime and keeps its connections for the next ones.
///
/// It never follows a redirect, knows no proxy, and sends what the attempt holds and nothing else.
pub struct HttpClient {
    tls: Option<Arc<ClientConfig>>,
    token_source: Option<Arc<dyn TokenSource>>,
    /// Made when it is known where to connect to, which is the same for all attempts.
    agent: OnceLock<Agent>,
}

/// A stream that a runtime has opened.
pub struct Opened(pub(crate) WebSocket<Socket>);

impl HttpClient {
    /// A client with nothing pooled. `tls` says whom to trust where the runtime's base URL is `https`.
    pub fn new(tls: Option<Arc<ClientConfig>>) -> Self {
        Self { tls, token_source: None, agent: OnceLock::new() }
    }

    /// The same client for a runtime whose token may be replaced.
    pub fn with_token_source(self, token_source: Arc<dyn TokenSource>) -> Self {
        Self { token_source: Some(token_source), ..self }
    }

    pub(crate) fn token_source(&self) -> Option<&dyn TokenSource> {
        self.token_source.as_deref()
    }

    /// Performs one attempt: the whole response, or why there is none. All attempts of a client go to one target.
    pub fn exchange(&self, attempt: Attempt) -> Result<Response<Bytes>, Failure> {
        let Attempt { target, request, limits, .. } = attempt;
        if limits.deadline <= Instant::now() {
            return Err(Failure::unsent(FailureCause::Timeout(TimeoutPhase::Connect)));
        }
        let agent = self.agent.get_or_init(|| self.agent(target, None));
        let (head, body) = for_ureq(request).into_parts();
        // A body makes a `content-length`, be it of 0: a GET has none.
        let head = match head.method {
            Method::GET => run(agent, Request::from_parts(head, ()), &limits),
            _ => run(agent, Request::from_parts(head, &body[..]), &limits),
        };
        read_body(answered(head)?, limits.max_body).map_err(Failure::sent)
    }

    /// Opens a stream on a connection of its own.
    #[expect(clippy::result_large_err, reason = "moved once, and seldom")]
    pub fn open(&self, connect: Connect) -> Result<Opened, Unopened> {
        let Connect { target, request, limits, .. } = connect;
        let left_over = LeftOver::default();
        let agent = self.agent(target, Some(left_over.clone()));
        let key = generate_key();
        let mut request = for_ureq(request);
        // A key is base64.
        request
            .headers_mut()
            .extend(HeaderValue::from_str(&key).ok().map(|key| (header::SEC_WEBSOCKET_KEY, key)));
        let request = agent
            .configure_request(request)
            .timeout_connect(Some(limits.connect))
            .timeout_recv_response(Some(limits.response))
            .timeout_recv_body(Some(limits.response))
            .build();
        let head = answered(agent.run(request)).map_err(Unopened::Failed)?;
        if head.status() != StatusCode::SWITCHING_PROTOCOLS {
            let failed = |cause| Unopened::Failed(Failure::sent(cause));
            return Err(Unopened::Refused(read_body(head, MAX_REFUSAL).map_err(failed)?));
        }
        let expected = derive_accept_key(key.as_bytes());
        if head.headers().get(header::SEC_WEBSOCKET_ACCEPT).is_none_or(|accept| accept != expected.as_str()) {
            return Err(Unopened::Malformed);
        }
        drop(head);
        let Remains { socket, read } = left_over.take().ok_or(Unopened::Malformed)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_WRITE_BUFFER)
            .max_message_size(Some(MAX_FRAME))
            .max_frame_size(Some(MAX_FRAME));
        Ok(Opened(WebSocket::from_partially_read(socket, read, Role::Client, Some(config))))
    }

    fn agent(&self, target: Target, left_over: Option<LeftOver>) -> Agent {
        let config = Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent("")
            .accept("")
            .accept_encoding("")
            .max_response_header_size(MAX_HEAD)
            .max_idle_connections(MAX_IDLE_CONNECTIONS)
            .max_idle_connections_per_host(MAX_IDLE_CONNECTIONS)
            .max_idle_age(MAX_IDLE)
            .build();
        Agent::with_parts(config, ToRuntime { target, tls: self.tls.clone(), left_over }, Unresolved)
    }
}

fn run(
    agent: &Agent,
    request: Request<impl AsSendBody>,
    limits: &AttemptLimits,
) -> Result<Response<Body>, Error> {
    let request = agent
        .configure_request(request)
        .max_idle_age(limits.max_idle)
        .timeout_connect(Some(limits.connect))
        .timeout_recv_response(Some(limits.response))
        .timeout_recv_body(Some(limits.body))
        .timeout_global(Some(limits.deadline.saturating_duration_since(Instant::now())))
        .build();
    agent.run(request)
}

/// The request with an authority, as ureq wants it; `Host` stays what it is.
fn for_ureq<T>(mut request: Request<T>) -> Request<T> {
    let origin_form = request.uri().path_and_query().cloned();
    let path = origin_form.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let uri = Uri::builder().scheme("http").authority(STAND_IN).path_and_query(path).build();
    // All three parts are valid by themselves, and make an absolute URI.
    *request.uri_mut() = uri.expect("a scheme, an authority and a path");
    request
}

/// The head of a response, or why there is none.
fn answered(head: Result<Response<Body>, Error>) -> Result<Response<Body>, Failure> {
    match head {
        Ok(head) if head.headers().len() > MAX_HEADERS => Err(Failure::sent(FailureCause::NotHttp)),
        Ok(head) => Ok(head),
        Err(error) => Err(unanswered(&error)),
    }
}

/// What it means that a request has got no head of a response.
fn unanswered(error: &Error) -> Failure {
    match error {
        Error::Other(inner) => match inner.downcast_ref() {
            Some(Failed(failure)) => *failure,
            None => Failure::sent(FailureCause::NotHttp),
        },
        Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            Failure::unsent(FailureCause::Timeout(TimeoutPhase::Connect))
        }
        // Time was over between two reads.
        Error::Timeout(_) => Failure::sent(FailureCause::Timeout(TimeoutPhase::Response)),
        // The connection ended before a head had come.
        Error::Io(_) => Failure::sent(FailureCause::Network(NetworkPhase::Receive)),
        _ => Failure::sent(FailureCause::NotHttp),
    }
}

fn read_body(head: Response<Body>, max_body: usize) -> Result<Response<Bytes>, FailureCause> {
    let (head, mut body) = head.into_parts();
    if body.content_length().is_some_and(|length| length > max_body as u64) {
        return Err(FailureCause::TooLarge);
    }
    // ureq takes a body that has just the limit for one that is over it.
    let limit = max_body as u64 + 1;
    match body.with_config().limit(limit).read_to_vec() {
        Ok(bytes) if bytes.len() <= max_body => Ok(Response::from_parts(head, bytes.into())),
        Ok(_) | Err(Error::BodyExceedsLimit(_)) => Err(FailureCause::TooLarge),
        Err(error) => match unanswered(&error).cause {
            FailureCause::Timeout(_) => Err(FailureCause::Timeout(TimeoutPhase::Body)),
            _ => Err(FailureCause::CutShort),
        },
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpClient")
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opened")
    }
}
