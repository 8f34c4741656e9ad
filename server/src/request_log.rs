//! One line of the log for each request.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use sekisho_core::error::Error;
use sekisho_core::id::{RuntimeId, WorkerId};
use sekisho_core::trace::RequestTrace;
use tracing::{Level, debug, enabled, info, warn};

use crate::metrics::LoopMetrics;

/// What the lines are filtered by.
const TARGET: &str = "sekisho_server::request";

/// A request on its way to its answer.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) trace: RequestTrace,
    pub(crate) method: Method,
    pub(crate) started: Instant,
    /// The route as the documentation writes it, empty while it is not known.
    pub(crate) route: &'static str,
    /// What it is about, where that is going to be told.
    about: About,
    /// Attempts at runtimes that it led to.
    pub(crate) attempts: u32,
    /// How long all that was asked of runtimes took.
    pub(crate) upstream: Option<Duration>,
}

/// The runtime and the worker that a request is about.
#[derive(Clone, Default)]
struct About {
    runtime_id: Option<RuntimeId>,
    worker_id: Option<WorkerId>,
}

/// What a request came to.
pub(crate) struct Outcome<'a> {
    pub(crate) status: StatusCode,
    pub(crate) error: Option<&'a Error>,
    /// How many frames a stream was.
    pub(crate) frames: Option<u64>,
}

impl Asked {
    pub(crate) fn new(trace: RequestTrace, method: Method, started: Instant) -> Self {
        let (route, about) = Default::default();
        Self { trace, method, started, route, about, attempts: 0, upstream: None }
    }

    /// Whether a line would be written of it, so that it is worth to know what it is about.
    pub(crate) fn is_logged() -> bool {
        enabled!(target: TARGET, Level::INFO)
    }

    /// Takes what it is about.
    pub(crate) fn about(&mut self, runtime_id: Option<&RuntimeId>, worker_id: Option<&WorkerId>) {
        self.about = About { runtime_id: runtime_id.cloned(), worker_id: worker_id.cloned() };
    }

    /// Writes the line: as a warning where a server failed, and for those alone who want it all where it was about the
    /// gateway itself, as probes and pages are.
    pub(crate) fn log(&self, outcome: &Outcome<'_>) {
        macro_rules! line {
            ($level:ident) => {
                $level!(
                    target: TARGET,
                    id = self.trace.request_id.as_str(),
                    trace_id = %format_args!("{:032x}", self.trace.sent_on.trace_id),
                    method = self.method.as_str(),
                    route = self.route,
                    status = outcome.status.as_u16(),
                    code = outcome.error.map(|error| error.kind().code()),
                    origin = outcome.error.map(|error| error.kind().origin().name()),
                    phase = outcome.error.and_then(|error| error.kind().phase()),
                    outcome = outcome.error.and_then(Error::outcome).map(|outcome| outcome.name()),
                    runtime_id = self.runtime_id(outcome).map(RuntimeId::as_str),
                    worker_id = self.worker_id(outcome).map(WorkerId::as_str),
                    attempts = Some(self.attempts).filter(|attempts| *attempts > 0),
                    upstream_ms = self.upstream.map(millis),
                    duration_ms = millis(self.started.elapsed()),
                    frames = outcome.frames,
                    "request"
                )
            };
        }
        let failed = outcome.status.is_server_error();
        match self.route.starts_with("/api/") || self.route.is_empty() {
            _ if failed => line!(warn),
            true => line!(info),
            false => line!(debug),
        }
    }

    fn runtime_id<'a>(&'a self, outcome: &Outcome<'a>) -> Option<&'a RuntimeId> {
        self.about.runtime_id.as_ref().or_else(|| outcome.error.and_then(Error::runtime_id))
    }

    fn worker_id<'a>(&'a self, outcome: &Outcome<'a>) -> Option<&'a WorkerId> {
        self.about.worker_id.as_ref().or_else(|| outcome.error.and_then(Error::worker_id))
    }
}

fn millis(duration: Duration) -> f64 {
    // As many digits as are worth to be read.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// A stream to a viewer, or one that only tells why there is none. Its line is written when it is over.
pub(crate) struct Viewing {
    asked: Asked,
    status: StatusCode,
    metrics: Rc<LoopMetrics>,
    frames: Cell<u64>,
    /// What ended the stream, where it was not the viewer.
    error: Option<Error>,
}

impl Viewing {
    pub(crate) fn new(asked: Asked, status: StatusCode, metrics: Rc<LoopMetrics>) -> Self {
        Self { asked, status, metrics, frames: Cell::new(0), error: None }
    }

    /// Takes that so many frames were written.
    pub(crate) fn wrote(&self, frames: u64) {
        self.frames.set(self.frames.get() + frames);
        self.metrics.wrote(frames);
    }

    /// Takes why the stream ends.
    pub(crate) fn ended_by(&mut self, error: &Error) {
        self.error = Some(error.clone());
    }
}

impl Drop for Viewing {
    fn drop(&mut self) {
        let error = self.error.as_ref();
        self.metrics.viewer_left(error);
        self.asked.log(&Outcome { status: self.status, error, frames: Some(self.frames.get()) });
    }
}
