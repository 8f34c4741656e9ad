//! What is told of each request: a line of the log, and a span where these are exported.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use sekisho_core::error::Error;
use sekisho_core::id::{RuntimeId, WorkerId};
use sekisho_core::trace::RequestTrace;
use sekisho_telemetry::{AnsweredRequest, Spans};
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
    spans: Spans,
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
    pub(crate) fn new(trace: RequestTrace, method: Method, started: Instant, spans: Spans) -> Self {
        let (route, about) = Default::default();
        Self { trace, method, started, route, about, attempts: 0, upstream: None, spans }
    }

    /// Whether it will be told of, so that it is worth to know what it is about.
    pub(crate) fn is_told(&self) -> bool {
        self.trace.is_recorded || enabled!(target: TARGET, Level::INFO)
    }

    /// Takes what it is about.
    pub(crate) fn about(&mut self, runtime_id: Option<&RuntimeId>, worker_id: Option<&WorkerId>) {
        self.about = About { runtime_id: runtime_id.cloned(), worker_id: worker_id.cloned() };
    }

    /// Tells what it came to.
    pub(crate) fn tell(&self, outcome: &Outcome<'_>) {
        let answered = AnsweredRequest {
            trace: &self.trace,
            method: &self.method,
            route: self.route,
            status: outcome.status,
            error: outcome.error,
            about_runtime: self.about.runtime_id.as_ref(),
            about_worker: self.about.worker_id.as_ref(),
            attempts: self.attempts,
            upstream: self.upstream,
            frames: outcome.frames,
            took: self.started.elapsed(),
        };
        log(&answered);
        self.spans.record(&answered);
    }
}

/// Writes the line: as a warning where a server failed, and for those alone who want it all where the request was about
/// the gateway itself, as probes and pages are.
fn log(answered: &AnsweredRequest<'_>) {
    macro_rules! line {
        ($level:ident) => {
            $level!(
                target: TARGET,
                id = answered.trace.request_id.as_str(),
                trace_id = %format_args!("{:032x}", answered.trace.sent_on.trace_id),
                method = answered.method.as_str(),
                route = answered.route,
                status = answered.status.as_u16(),
                code = answered.code(),
                origin = answered.origin(),
                phase = answered.phase(),
                outcome = answered.outcome(),
                runtime_id = answered.runtime_id(),
                worker_id = answered.worker_id(),
                attempts = answered.attempts(),
                upstream_ms = answered.upstream.map(millis),
                duration_ms = millis(answered.took),
                frames = answered.frames,
                "request"
            )
        };
    }
    match answered.route.starts_with("/api/") || answered.route.is_empty() {
        _ if answered.is_failure() => line!(warn),
        true => line!(info),
        false => line!(debug),
    }
}

fn millis(duration: Duration) -> f64 {
    // As many digits as are worth to be read.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// A stream to a viewer, or one that only tells why there is none. It is told of when it is over.
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
        self.asked.tell(&Outcome { status: self.status, error, frames: Some(self.frames.get()) });
    }
}
