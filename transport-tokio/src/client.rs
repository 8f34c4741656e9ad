//! A pooled HTTP/1.1 client for one runtime.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, Version};
use http_body_util::Full;
use rustls::ClientConfig;
use sekisho_core::error::{NetworkPhase, TimeoutPhase};
use sekisho_core::memory::Memory;
use sekisho_core::transport::{
    Attempt, Connect, Failure, FailureCause, IdlePool, MAX_IDLE_FOR_ONCE, MAX_REFUSAL, Pooled, Target,
    TokenSource, Unopened, Via,
};
use tokio::time::{Instant, timeout_at};

use crate::body::read_body;
use crate::http1::{Connection, Handshake, Unanswered, WebSocket};
use crate::socket::{OpenConnections, Socket};

/// Carries attempts to one runtime and keeps its connections for the next ones.
///
/// It never follows a redirect, knows no proxy, and sends what the attempt holds and nothing else.
pub struct HttpClient {
    tls: Option<Arc<ClientConfig>>,
    token_source: Option<Arc<dyn TokenSource>>,
    bodies: Option<Memory>,
    open: OpenConnections,
    idle: Mutex<IdlePool<Connection>>,
}

/// A connection to be used, and whether it has been in the pool.
struct Taken {
    pooled: Pooled<Connection>,
    is_new: bool,
}

impl HttpClient {
    /// A client with nothing pooled. `tls` says whom to trust where the runtime's base URL is `https`.
    pub fn new(tls: Option<Arc<ClientConfig>>) -> Self {
        Self {
            tls,
            token_source: None,
            bodies: None,
            open: OpenConnections::default(),
            idle: Mutex::default(),
        }
    }

    /// The same client, with what it reads of responses counted in this memory, beyond the first [`UNCOUNTED_REPLY`]
    /// bytes of each; several clients may share it.
    ///
    /// [`UNCOUNTED_REPLY`]: sekisho_core::transport::UNCOUNTED_REPLY
    pub fn with_memory(self, bodies: Memory) -> Self {
        Self { bodies: Some(bodies), ..self }
    }

    /// The same client, whose connections are counted here; several clients may share it.
    pub fn counting(self, open: OpenConnections) -> Self {
        Self { open, ..self }
    }

    /// The same client for a runtime whose token may be replaced; several clients may share the source.
    pub fn with_token_source(self, token_source: Arc<dyn TokenSource>) -> Self {
        Self { token_source: Some(token_source), ..self }
    }

    pub(crate) fn token_source(&self) -> Option<&dyn TokenSource> {
        self.token_source.as_deref()
    }

    pub(crate) async fn exchange(&self, attempt: Attempt) -> Result<Response<Bytes>, Failure> {
        let Attempt { target, request, via, limits, .. } = attempt;
        let deadline = Instant::from_std(limits.deadline);
        let connect_by = deadline.min(Instant::now() + limits.connect);
        let mut request = request.map(Full::new);
        loop {
            let Taken { mut pooled, is_new } =
                self.connection(&target, &via, limits.max_idle, connect_by).await?;
            let respond_by = deadline.min(Instant::now() + limits.response);
            let head = match pooled.connection.send(request, respond_by).await {
                Ok(head) => head,
                Err(Unanswered::Unsent(unsent)) if !is_new => {
                    // It had been closed in the pool, and nothing of this was written to it.
                    request = *unsent;
                    continue;
                }
                Err(unanswered) => return Err(unanswered.into_failure()),
            };
            let read_by = deadline.min(Instant::now() + limits.body);
            let response = read_body(head, limits.max_body, self.bodies.as_ref(), read_by).await;
            let response = response.map_err(Failure::sent)?;
            pooled.used_by(&via);
            // Under HTTP/1.0 the next request would be another one: hyper adapts it.
            if response.version() == Version::HTTP_11 && pooled.connection.is_reusable() {
                self.idle().keep(Instant::now().into_std(), pooled);
            }
            return Ok(response);
        }
    }

    /// Opens a stream.
    pub(crate) async fn open(&self, connect: Connect) -> Result<WebSocket, Unopened> {
        let Connect { target, request, via, limits, .. } = connect;
        let connect_by = Instant::now() + limits.connect;
        let max_idle = if via.allows_new() { Duration::ZERO } else { MAX_IDLE_FOR_ONCE };
        let mut handshake = Handshake::new(request);
        loop {
            let taken = self.connection(&target, &via, max_idle, connect_by).await;
            let Taken { pooled, is_new } = taken.map_err(Unopened::Failed)?;
            let mut connection = pooled.connection;
            let respond_by = Instant::now() + limits.response;
            let head = match connection.send(handshake.request, respond_by).await {
                Ok(head) => head,
                Err(Unanswered::Unsent(unsent)) if !is_new => {
                    handshake.request = *unsent;
                    continue;
                }
                Err(unanswered) => return Err(Unopened::Failed(unanswered.into_failure())),
            };
            return match handshake.key.accepts(&head) {
                true => connection.upgrade(head).await.ok_or(Unopened::Malformed),
                false if head.status() == http::StatusCode::SWITCHING_PROTOCOLS => Err(Unopened::Malformed),
                false => {
                    let read_by = Instant::now() + limits.response;
                    let refusal = read_body(head, MAX_REFUSAL, None, read_by).await;
                    Err(refusal.map_or_else(|cause| Failure::sent(cause).into(), Unopened::Refused))
                }
            };
        }
    }

    /// A pooled connection, or else a new one.
    async fn connection(
        &self,
        target: &Target,
        via: &Via,
        max_idle: Duration,
        connect_by: Instant,
    ) -> Result<Taken, Failure> {
        // The lock must not be held while this waits.
        let take = || self.idle().take(Instant::now().into_std(), via, max_idle);
        while let Some(mut pooled) = take() {
            // Ready at once, but for a connection whose last response was read a moment ago.
            if let Ok(true) = timeout_at(connect_by, pooled.connection.is_ready()).await {
                return Ok(Taken { pooled, is_new: false });
            }
        }
        if !via.allows_new() {
            return Err(Failure::unsent(FailureCause::NotIdentified));
        }
        let connected = timeout_at(connect_by, Socket::connect(target, self.tls.as_ref(), &self.open)).await;
        let socket = connected
            .unwrap_or(Err(FailureCause::Timeout(TimeoutPhase::Connect)))
            .map_err(Failure::unsent)?;
        let broken = Failure::unsent(FailureCause::Network(NetworkPhase::Connect));
        let connection = Connection::new(socket).await.map_err(|_| broken)?;
        Ok(Taken { pooled: Pooled::new(connection), is_new: true })
    }

    fn idle(&self) -> MutexGuard<'_, IdlePool<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn prune(&self) {
        self.idle().prune(Instant::now().into_std(), Connection::is_reusable);
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpClient")
    }
}
