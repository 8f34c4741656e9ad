//! Connections that are kept for the next attempt, and whether the right runtime is at their other end.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Response, Version, header};

use super::limits::{MAX_IDLE, MAX_IDLE_CONNECTIONS, MAX_IDLE_FOR_ONCE, MAX_LONG_IDLE_CONNECTIONS};

/// Which connection an attempt or a stream may use.
///
/// A base URL can lead to a machine that was not meant: another process has its port, or a name its address. What
/// changes something, and every stream, therefore goes over a connection on which `GET /v1/runtime` has been answered
/// rightly.
#[derive(Clone, Debug)]
pub enum Via {
    /// Any: a pooled one, or else a new one.
    Any,
    /// Any. The transport keeps the [`Identity`] with the connection, for as long as it keeps the connection.
    Identify(Identity),
    /// Only a pooled one whose [`Identity`] is [confirmed](Identity::is_confirmed). Where there is none, the transport
    /// opens no other, but reports [`NotIdentified`](super::FailureCause::NotIdentified) as unsent.
    Identified,
}

impl Via {
    /// Whether a new connection may be opened.
    pub fn allows_new(&self) -> bool {
        !matches!(self, Self::Identified)
    }
}

/// Whether the other end of a connection has shown to be the runtime that was meant.
#[derive(Clone)]
pub struct Identity(Arc<AtomicBool>);

/// An [`Identity`] that may be gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct WeakIdentity(Weak<AtomicBool>);

impl Identity {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// Whether the right runtime is at the other end.
    pub fn is_confirmed(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn confirm(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn downgrade(&self) -> WeakIdentity {
        WeakIdentity(Arc::downgrade(&self.0))
    }
}

impl WeakIdentity {
    /// Whether there is still a connection whose other end is the right runtime.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.0.upgrade().is_some_and(|confirmed| confirmed.load(Ordering::Acquire))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_confirmed() { "Identity(confirmed)" } else { "Identity" })
    }
}

/// Whether a connection ends with this response (RFC 9112, 9.3). No transport reuses one of HTTP/1.0.
pub(crate) fn ends_connection(response: &Response<Bytes>) -> bool {
    let options = response.headers().get_all(header::CONNECTION).iter();
    let mut options = options.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    response.version() < Version::HTTP_11
        || options.any(|option| option.trim_ascii().eq_ignore_ascii_case("close"))
}

/// A connection to one runtime, with what is known of its other end.
#[derive(Debug)]
pub struct Pooled<C> {
    /// The transport's own connection.
    pub connection: C,
    identity: Option<Identity>,
}

impl<C> Pooled<C> {
    /// A connection that was just opened.
    pub fn new(connection: C) -> Self {
        Self { connection, identity: None }
    }

    /// Notes that an attempt has gone over the connection. To be called before it is [kept](IdlePool::keep).
    pub fn used_by(&mut self, via: &Via) {
        if let Via::Identify(identity) = via {
            self.identity = Some(identity.clone());
        }
    }

    fn suits(&self, via: &Via) -> bool {
        match via {
            Via::Any | Via::Identify(_) => true,
            Via::Identified => self.identity.as_ref().is_some_and(Identity::is_confirmed),
        }
    }
}

/// The idle connections to one runtime. The one that was used last is used next.
///
/// It keeps at most [`MAX_IDLE_CONNECTIONS`] for at most [`MAX_IDLE`], and those that have been idle for longer than
/// [`MAX_IDLE_FOR_ONCE`] only up to [`MAX_LONG_IDLE_CONNECTIONS`]: each takes up one of the runtime's places.
#[derive(Debug)]
pub struct IdlePool<C> {
    /// The one that was used last is at the back.
    idle: VecDeque<(Instant, Pooled<C>)>,
}

impl<C> Default for IdlePool<C> {
    fn default() -> Self {
        Self { idle: VecDeque::new() }
    }
}

impl<C> IdlePool<C> {
    /// Takes the connection that was used last among those that `via` allows, unless it has been idle for longer than
    /// `max_idle`.
    pub fn take(&mut self, now: Instant, via: &Via, max_idle: Duration) -> Option<Pooled<C>> {
        let index = self.idle.iter().rposition(|(_, pooled)| pooled.suits(via))?;
        if now.saturating_duration_since(self.idle[index].0) > max_idle {
            return None;
        }
        self.idle.remove(index).map(|(_, pooled)| pooled)
    }

    /// Keeps a connection that can carry another request.
    pub fn keep(&mut self, now: Instant, pooled: Pooled<C>) {
        self.idle.push_back((now, pooled));
        if self.idle.len() > MAX_IDLE_CONNECTIONS {
            self.idle.pop_front();
        }
    }

    /// Drops the connections that are not `open` any more or have been idle for too long. To be called about once a
    /// second.
    pub fn prune(&mut self, now: Instant, open: impl Fn(&C) -> bool) {
        let mut long_idle = 0;
        for index in (0..self.idle.len()).rev() {
            let (since, pooled) = &self.idle[index];
            let idle = now.saturating_duration_since(*since);
            long_idle += usize::from(idle > MAX_IDLE_FOR_ONCE);
            if idle > MAX_IDLE || long_idle > MAX_LONG_IDLE_CONNECTIONS || !open(&pooled.connection) {
                self.idle.remove(index);
            }
        }
    }
}

#[cfg(test)]
mod tests;
