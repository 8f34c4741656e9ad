//! What sekisho's servers tell their operators: the log, and metrics for Prometheus (`docs/operating.md`).
//!
//! [`Logging`] is where `tracing` events of sekisho's own crates go: text on a terminal, one JSON object a line
//! elsewhere. [`Exposition`] is what `/metrics` answers, with what every program has; a program registers its own.
#![forbid(unsafe_code)]

mod lines;
mod log;
mod metrics;
#[cfg(target_os = "linux")]
mod process;
mod requests;

pub use lines::MAX_WAITING_LINES;
pub use log::{Format, InvalidFormat, InvalidLevels, Levels, Logging};
pub use metrics::{Exposition, METRICS_TYPE};
pub use requests::{DURATIONS, HttpRequests, RequestCounter};
