//! A request as a span.

use std::time::SystemTime;

use http::Method;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::answered::AnsweredRequest;

/// The methods that have names of their own; a client may send any.
const METHODS: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::CONNECT,
    Method::OPTIONS,
    Method::TRACE,
    Method::PATCH,
];

/// The span of a request that has ended now, by OpenTelemetry's conventions for HTTP servers, less all that tells of a
/// URL or a path.
pub(super) fn span_of(
    request: &AnsweredRequest<'_>,
    now: SystemTime,
    scope: &InstrumentationScope,
) -> SpanData {
    let AnsweredRequest { trace, route, .. } = request;
    let place = trace.sent_on;
    let method = METHODS.iter().find(|method| *method == request.method).map(Method::as_str);
    let verb = method.unwrap_or("HTTP");
    SpanData {
        span_context: SpanContext::new(
            TraceId::from(place.trace_id),
            SpanId::from(place.span_id),
            TraceFlags::new(place.flags),
            false,
            TraceState::NONE,
        ),
        parent_span_id: trace.parent_span_id.map_or(SpanId::INVALID, SpanId::from),
        parent_span_is_remote: trace.parent_span_id.is_some(),
        span_kind: SpanKind::Server,
        name: if route.is_empty() { verb.to_owned() } else { format!("{verb} {route}") }.into(),
        start_time: now.checked_sub(request.took).unwrap_or(now),
        end_time: now,
        attributes: attributes(request, method.unwrap_or("_OTHER")),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: if request.is_failure() { Status::error("") } else { Status::Unset },
        instrumentation_scope: scope.clone(),
    }
}

fn attributes(request: &AnsweredRequest<'_>, method: &str) -> Vec<KeyValue> {
    let status = request.status.as_str();
    let text = |text: &str| Value::from(text.to_owned());
    let count = |count: u64| Value::from(i64::try_from(count).unwrap_or(i64::MAX));
    let error_type = request.is_failure().then(|| request.code().unwrap_or(status));
    let upstream_ms = request.upstream.map(|upstream| Value::from(upstream.as_secs_f64() * 1e3));
    [
        ("http.request.method", Some(text(method))),
        ("http.route", Some(request.route).filter(|route| !route.is_empty()).map(text)),
        ("http.response.status_code", Some(count(request.status.as_u16().into()))),
        ("error.type", error_type.map(text)),
        ("sekisho.request_id", Some(text(request.trace.request_id.as_str()))),
        ("sekisho.code", request.code().map(text)),
        ("sekisho.origin", request.origin().map(text)),
        ("sekisho.phase", request.phase().map(text)),
        ("sekisho.outcome", request.outcome().map(text)),
        ("sekisho.runtime_id", request.runtime_id().map(text)),
        ("sekisho.worker_id", request.worker_id().map(text)),
        ("sekisho.attempts", request.attempts().map(|attempts| count(attempts.into()))),
        ("sekisho.upstream_ms", upstream_ms),
        ("sekisho.frames", request.frames.map(count)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some(KeyValue::new(name, value?)))
    .collect()
}
