//! A pooled HTTP/1.1 client for one runtime.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Response, StatusCode};
use rustls::ClientConfig;
use sekisho_core::error::TimeoutPhase;
use sekisho_core::transport::{
    Attempt, Connect, Failure, FailureCause, IdlePool, MAX_IDLE_FOR_ONCE, MAX_REFUSAL, Pooled, Target,
    TokenSource, Unopened, Via,
};
use tungstenite::WebSocket;

use crate::http1::{Connection, Handshake};
use crate::socket::Socket;

/// Carries attempts to one runtime and keeps its connections for the next ones.
///
/// It never follows a redirect, knows no proxy, and sends what the attempt holds and nothing else.
pub struct HttpClient {
    tls: Option<Arc<ClientConfig>>,
    token_source: Option<Arc<dyn TokenSource>>,
    idle: Mutex<IdlePool<Connection>>,
}

/// A stream that a runtime has opened.
pub struct Opened(pub(crate) WebSocket<Socket>);

impl HttpClient {
    /// A client with nothing pooled. `tls` says whom to trust where the runtime's base URL is `https`.
    pub fn new(tls: Option<Arc<ClientConfig>>) -> Self {
        Self { tls, token_source: None, idle: Mutex::default() }
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
        let Attempt { target, request, via, limits, .. } = attempt;
        let within = |limit| limits.deadline.min(Instant::now() + limit);
        let mut pooled = self.connection(&target, &via, limits.max_idle, within(limits.connect))?;
        let connection = &mut pooled.connection;
        let answer = connection.send(&request, within(limits.response))?;
        let response = connection.read_body(answer, limits.max_body, within(limits.body));
        let response = response.map_err(Failure::sent)?;
        if connection.is_reusable() {
            pooled.used_by(&via);
            self.idle().keep(Instant::now(), pooled);
        }
        Ok(response)
    }

    /// Opens a stream.
    #[expect(clippy::result_large_err, reason = "moved once, and seldom")]
    pub fn open(&self, connect: Connect) -> Result<Opened, Unopened> {
        let Connect { target, request, via, limits, .. } = connect;
        let max_idle = if via.allows_new() { Duration::ZERO } else { MAX_IDLE_FOR_ONCE };
        let within = |limit| Instant::now() + limit;
        let mut connection = self.connection(&target, &via, max_idle, within(limits.connect))?.connection;
        let handshake = Handshake::new(request);
        let answer = connection.send(&handshake.request, within(limits.response))?;
        if handshake.is_accepted_by(&answer.head) {
            return Ok(Opened(connection.upgrade()));
        }
        if answer.head.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Unopened::Malformed);
        }
        let refusal = connection.read_body(answer, MAX_REFUSAL, within(limits.response));
        Err(refusal.map_or_else(|cause| Failure::sent(cause).into(), Unopened::Refused))
    }

    /// A pooled connection, or else a new one.
    fn connection(
        &self,
        target: &Target,
        via: &Via,
        max_idle: Duration,
        connect_by: Instant,
    ) -> Result<Pooled<Connection>, Failure> {
        // The lock must not be held while the connection is looked at.
        let take = || self.idle().take(Instant::now(), via, max_idle);
        while let Some(mut pooled) = take() {
            if pooled.connection.is_reusable() {
                return Ok(pooled);
            }
        }
        if !via.allows_new() {
            return Err(Failure::unsent(FailureCause::NotIdentified));
        }
        if connect_by <= Instant::now() {
            return Err(Failure::unsent(FailureCause::Timeout(TimeoutPhase::Connect)));
        }
        let socket = Socket::connect(target, self.tls.as_ref(), connect_by).map_err(Failure::unsent)?;
        Ok(Pooled::new(Connection::new(socket)))
    }

    fn idle(&self) -> MutexGuard<'_, IdlePool<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
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
