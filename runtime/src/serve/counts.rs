//! What the server counts and tells of requests.

use std::time::Instant;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};
use sekisho_config::RuntimeSettings;
use sekisho_core::runtime_api::Operation;
use sekisho_core::trace::RequestTrace;
use sekisho_telemetry::{AnsweredRequest, Exposition, HttpRequests, Logging, Names, Spans};

use crate::{Runtime, RuntimeMetrics};

/// Where metrics are asked for.
const METRICS: &str = "/metrics";

/// What is counted.
pub(super) struct Counts {
    exposition: Exposition,
    requests: HttpRequests,
    spans: Spans,
    names: Names,
}

/// A request that is being answered.
pub(super) struct Asked {
    route: &'static str,
    method: Method,
    trace: RequestTrace,
    started: Instant,
}

impl Counts {
    pub(super) fn new(
        settings: &RuntimeSettings,
        runtime: &Runtime,
        logging: &Logging,
        spans: Spans,
    ) -> Self {
        let exposition = Exposition::new("sekisho-runtime", env!("CARGO_PKG_VERSION"));
        exposition.register(RuntimeMetrics::new(&settings.runtime_id, runtime.clone()));
        let lost = logging.lost_lines();
        exposition.register_counter("sekisho_log_lines_lost_total", "Lines that nothing read in time.", lost);
        spans.count_in(&exposition);
        Self { requests: HttpRequests::new(&exposition), exposition, spans, names: Names::default() }
    }

    /// The metrics, where these are asked for.
    pub(super) fn metrics(&self, head: &Parts) -> Option<Response<Bytes>> {
        let is_read = matches!(head.method, Method::GET | Method::HEAD);
        (is_read && head.uri.path() == METRICS).then(|| self.exposition.response())
    }

    /// A request begins.
    pub(super) fn asked(&self, head: &Parts) -> Asked {
        let path = head.uri.path();
        let route = if path == METRICS { Some(METRICS) } else { Operation::route_of_v1(&head.method, path) };
        let route = route.unwrap_or_default();
        let trace = RequestTrace::of(&head.headers, self.spans.sampler(), || self.names.next());
        Asked { route, method: head.method.clone(), trace, started: Instant::now() }
    }

    /// A request is answered.
    pub(super) fn answered(&self, asked: &Asked, response: &Response<Bytes>) {
        let answered = AnsweredRequest {
            trace: &asked.trace,
            method: &asked.method,
            route: asked.route,
            status: response.status(),
            error: None,
            about_runtime: None,
            about_worker: None,
            attempts: 0,
            upstream: None,
            frames: None,
            took: asked.started.elapsed(),
        };
        let AnsweredRequest { route, method, status, took, .. } = answered;
        self.requests.answered(route, method, status, (!status.is_informational()).then_some(took));
        log(&answered);
        self.spans.record(&answered);
    }
}

fn log(answered: &AnsweredRequest<'_>) {
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                trace_id = %format_args!("{:032x}", answered.trace.sent_on.trace_id),
                method = answered.method.as_str(),
                route = answered.route,
                status = answered.status.as_u16(),
                duration_ms = answered.took.as_secs_f64() * 1e3,
                "request"
            )
        };
    }
    match answered.is_failure() {
        true => line!(warn),
        false => line!(debug),
    }
}
