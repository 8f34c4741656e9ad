//! The names of all that is counted.

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
};
use sekisho_telemetry::{DURATIONS, Exposition};

/// The bounds of how much too late an event loop comes round, in seconds.
const LAGS: &[f64] = &[0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// All families of metrics.
pub(super) struct Families {
    pub(super) exposition: Exposition,
    pub(super) problems: IntCounterVec,
    pub(super) attempts: IntCounterVec,
    pub(super) retries: IntCounterVec,
    pub(super) calls: IntCounterVec,
    pub(super) call_failures: IntCounterVec,
    pub(super) call_durations: HistogramVec,
    pub(super) stream_events: IntCounterVec,
    pub(super) viewers_came: IntCounterVec,
    pub(super) viewers_left: IntCounterVec,
    pub(super) shared_reads: IntCounter,
    pub(super) frames: IntCounter,
    pub(super) feeds: IntGauge,
    pub(super) connections: IntGauge,
    pub(super) connections_accepted: IntCounter,
    pub(super) handshakes_failed: IntCounter,
    pub(super) loop_lag: Histogram,
    pub(super) reloads: IntCounterVec,
    pub(super) viewers: IntGauge,
    pub(super) replays: IntGauge,
    pub(super) memory: IntGaugeVec,
    pub(super) reachability: IntGaugeVec,
    pub(super) circuit_open: IntGaugeVec,
    pub(super) in_flight: IntGaugeVec,
    pub(super) upstream_connections: IntGaugeVec,
    pub(super) refusals: IntCounterVec,
    pub(super) certificate_expiry: IntGaugeVec,
}

/// Makes and registers metrics. Their names are constants: where two are the same, no server starts.
struct Maker(Exposition);

impl Maker {
    fn registered<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let made = made.expect("names and labels are constants");
        self.0.register(made.clone());
        made
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.registered(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.registered(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.registered(IntGauge::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.registered(IntGaugeVec::new(Opts::new(name, help), labels))
    }
}

impl Families {
    pub(super) fn new() -> Self {
        let make = Maker(Exposition::new("sekisho-server", env!("CARGO_PKG_VERSION")));
        let lag = HistogramOpts::new(
            "sekisho_event_loop_lag_seconds",
            "How much later than it should an event loop came round.",
        );
        let call_duration = HistogramOpts::new(
            "sekisho_runtime_call_duration_seconds",
            "From the command to its end, repetitions included.",
        );
        Self {
            problems: make.counters("sekisho_problems_total", "Errors that clients were told, instead of a reply.", &["code", "origin"]),
            attempts: make.counters("sekisho_runtime_attempts_total", "Requests that were sent to a runtime for commands.", &["runtime"]),
            retries: make.counters("sekisho_runtime_retries_total", "Those of them that were repetitions.", &["runtime"]),
            calls: make.counters("sekisho_runtime_calls_total", "Commands to a runtime by how they ended.", &["runtime", "operation", "result"]),
            call_failures: make.counters("sekisho_runtime_call_failures_total", "Commands to a runtime that failed, by the error.", &["runtime", "code"]),
            call_durations: make.registered(HistogramVec::new(call_duration.buckets(DURATIONS.to_vec()), &["runtime", "operation"])),
            stream_events: make.counters("sekisho_runtime_stream_events_total", "What happened to the streams from a runtime.", &["runtime", "event"]),
            viewers_came: make.counters("sekisho_viewers_total", "Viewers that were let in.", &["of", "form", "start"]),
            viewers_left: make.counters("sekisho_viewers_left_total", "Viewers that are gone, by the error that ended their stream; client where it left by itself.", &["reason"]),
            shared_reads: make.counter(
                "sekisho_shared_reads_total",
                "Reads that waited for the next exchange of equal ones.",
            ),
            frames: make.counter("sekisho_frames_total", "Frames that were written to viewers."),
            feeds: make.gauge("sekisho_feeds", "Streams of workers that are kept for viewers."),
            connections: make.gauge("sekisho_connections", "Connections of clients."),
            connections_accepted: make.counter("sekisho_connections_accepted_total", "Connections of clients that were accepted."),
            handshakes_failed: make.counter("sekisho_tls_handshakes_failed_total", "TLS handshakes of clients that failed."),
            loop_lag: make.registered(Histogram::with_opts(lag.buckets(LAGS.to_vec()))),
            reloads: make.counters(
                "sekisho_config_reloads_total",
                "Configurations that were to be taken over while the gateway ran.",
                &["result"],
            ),
            viewers: make.gauge("sekisho_viewers", "Viewers that are there."),
            replays: make.gauge("sekisho_replays", "Replay streams that are open or waited for."),
            memory: make.gauges("sekisho_memory_bytes", "Memory that is counted against a bound.", &["of"]),
            reachability: make.gauges("sekisho_runtime_reachability", "1 at the state that a runtime is in.", &["runtime", "reachability"]),
            circuit_open: make.gauges("sekisho_runtime_circuit_open", "1 where a runtime is not asked because it has failed too often.", &["runtime"]),
            in_flight: make.gauges("sekisho_runtime_calls_in_flight", "Commands to a runtime that are under way.", &["runtime"]),
            upstream_connections: make.gauges("sekisho_runtime_connections", "Connections to a runtime, those of streams included.", &["runtime"]),
            refusals: make.counters("sekisho_runtime_refusals_total", "Commands to a runtime that were refused unsent, by the bound.", &["runtime", "limit"]),
            certificate_expiry: make.gauges("sekisho_certificate_expiry_timestamp_seconds", "When the certificate of the listener expires, since 1970.", &["listener"]),
            exposition: make.0,
        }
    }
}
