//! What sekisho's servers tell their operators: the log, metrics for Prometheus, and spans (`docs/operating.md`).
//!
//! [`Logging`] is where `tracing` events of sekisho's own crates go: text on a terminal, one JSON object a line
//! elsewhere. [`Exposition`] is what `/metrics` answers, with what every program has; a program registers its own.
//! [`Spans`] is where the spans of requests go: nowhere, or with the feature `otlp` to a collector of OpenTelemetry.
//! What is told of a request, in the log or in a span, is an [`AnsweredRequest`].
#![forbid(unsafe_code)]

mod answered;
mod lines;
mod log;
mod metrics;
mod names;
#[cfg(feature = "otlp")]
mod otlp;
#[cfg(target_os = "linux")]
mod process;
mod requests;
mod spans;

pub use answered::AnsweredRequest;
pub use lines::MAX_WAITING_LINES;
pub use log::{Format, InvalidFormat, InvalidLevels, Levels, Logging};
pub use metrics::{Exposition, METRICS_TYPE};
pub use names::Names;
pub use requests::{DURATIONS, HttpRequests, RequestCounter};
pub use spans::{
    EXPORT_END_TIMEOUT, EXPORT_TIMEOUT, MAX_EXPORT_TIMEOUT, MAX_WAITING_SPANS, Spans, SpansError,
};
