//! What the server counts and logs of requests.

use std::time::Instant;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};
use sekisho_config::RuntimeSettings;
use sekisho_core::runtime_api::Operation;
use sekisho_core::trace::TraceParent;
use sekisho_telemetry::{Exposition, HttpRequests, Logging};

use crate::{Runtime, RuntimeMetrics};

/// Where metrics are asked for.
const METRICS: &str = "/metrics";

/// What is counted.
pub(super) struct Counts {
    exposition: Exposition,
    requests: HttpRequests,
}

/// A request that is being answered.
pub(super) struct Asked {
    route: &'static str,
    method: Method,
    trace: Option<TraceParent>,
    started: Instant,
}

impl Counts {
    pub(super) fn new(settings: &RuntimeSettings, runtime: &Runtime, logging: &Logging) -> Self {
        let exposition = Exposition::new("sekisho-runtime", env!("CARGO_PKG_VERSION"));
        exposition.register(RuntimeMetrics::new(&settings.runtime_id, runtime.clone()));
        let lost = logging.lost_lines();
        exposition.register_counter("sekisho_log_lines_lost_total", "Lines that nothing read in time.", lost);
        Self { requests: HttpRequests::new(&exposition), exposition }
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
        let trace = TraceParent::of(&head.headers);
        Asked { route, method: head.method.clone(), trace, started: Instant::now() }
    }

    /// A request is answered.
    pub(super) fn answered(&self, asked: &Asked, response: &Response<Bytes>) {
        let Asked { route, method, trace, started } = asked;
        let (status, took) = (response.status(), started.elapsed());
        self.requests.answered(route, method, status, (!status.is_informational()).then_some(took));
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    trace_id = trace.map(|trace| tracing::field::display(format!("{:032x}", trace.trace_id))),
                    method = method.as_str(),
                    route,
                    status = status.as_u16(),
                    duration_ms = took.as_secs_f64() * 1e3,
                    "request"
                )
            };
        }
        match status.is_server_error() {
            true => line!(warn),
            false => line!(debug),
        }
    }
}
