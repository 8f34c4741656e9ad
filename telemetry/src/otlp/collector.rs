//! The way to a collector.

use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode, Uri};
use opentelemetry_http::{HttpClient, HttpError};
use sekisho_config::trusting_the_system;
use sekisho_core::transport::{Attempt, AttemptLimits, Failure, FailureCause, MAX_IDLE_FOR_ONCE, Target};
use sekisho_transport_blocking::HttpClient as Transport;

use super::environment::Settings;
use crate::spans::SpansError;

/// The longest answer of a collector, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// Sends batches to a collector, each within the time that it may take. A clone is the same one.
#[derive(Clone)]
pub(super) struct Collector(Arc<Inner>);

struct Inner {
    transport: Transport,
    target: Target,
    timeout: Duration,
    has_ended: AtomicBool,
    /// Why the last batch was not taken.
    trouble: Mutex<Option<Trouble>>,
}

/// Why a batch was not taken. It tells nothing of where the collector is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("the program ends")]
    Ended,
    #[error("no connection to it")]
    Unreachable,
    #[error("no answer in time")]
    TooSlow,
    #[error("what it answered is not HTTP, or too large")]
    Unintelligible,
    #[error("it answered {}", .0.as_u16())]
    Refused(StatusCode),
}

impl From<FailureCause> for Trouble {
    fn from(cause: FailureCause) -> Self {
        match cause {
            FailureCause::Network(_) | FailureCause::NoRoom | FailureCause::NotIdentified => {
                Self::Unreachable
            }
            FailureCause::Timeout(_) => Self::TooSlow,
            FailureCause::NotHttp | FailureCause::CutShort | FailureCause::TooLarge => Self::Unintelligible,
        }
    }
}

impl Collector {
    /// The collector of these settings.
    pub(super) fn new(settings: &Settings) -> Result<Self, SpansError> {
        let tls = settings.collector.is_https().then(trusting_the_system).transpose();
        let tls = tls.map_err(|_| settings.endpoint_error("this system trusts no certificate"))?;
        Ok(Self(Arc::new(Inner {
            transport: Transport::new(tls),
            target: settings.collector.target(),
            timeout: settings.timeout,
            has_ended: AtomicBool::new(false),
            trouble: Mutex::default(),
        })))
    }

    /// Has all batches fail from now on.
    pub(super) fn end(&self) {
        self.0.has_ended.store(true, Ordering::Relaxed);
    }

    /// Why the last batch was not taken, if it was not.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        *self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Trouble> {
        if self.0.has_ended.load(Ordering::Relaxed) {
            return Err(Trouble::Ended);
        }
        let request = in_origin_form(request).ok_or(Trouble::Unintelligible)?;
        let Inner { transport, target, timeout, .. } = &*self.0;
        let limits = AttemptLimits {
            connect: *timeout,
            response: *timeout,
            body: *timeout,
            max_body: MAX_ANSWER,
            deadline: Instant::now() + *timeout,
            // What a connection that is just being closed swallows is not sent again.
            max_idle: MAX_IDLE_FOR_ONCE,
        };
        let answer = transport.exchange(Attempt::only(target.clone(), request, limits));
        answer.map_err(|Failure { cause, .. }| cause.into())
    }
}

/// A request with its authority in `Host`, as a server takes it (RFC 9112, 3.2.1).
fn in_origin_form(mut request: Request<Bytes>) -> Option<Request<Bytes>> {
    let uri = std::mem::take(request.uri_mut()).into_parts();
    let host = HeaderValue::from_str(uri.authority?.as_str()).ok()?;
    request.headers_mut().insert(header::HOST, host);
    *request.uri_mut() = Uri::from(uri.path_and_query?);
    Some(request)
}

impl HttpClient for Collector {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        // The thread that exports has nothing else to do.
        let answer = self.send(request);
        let trouble = match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(Trouble::Refused(answer.status())),
            Err(trouble) => Some(*trouble),
        };
        *self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        Box::pin(ready(answer.map_err(HttpError::from)))
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collector")
    }
}
