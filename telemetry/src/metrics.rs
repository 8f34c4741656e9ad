//! What `/metrics` answers.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntGauge, Opts, Registry, TextEncoder};

/// The media type of the answer: version 0.0.4 of Prometheus' text format.
pub const METRICS_TYPE: &str = prometheus::TEXT_FORMAT;

/// Everything that a program counts.
#[derive(Clone, Debug)]
pub struct Exposition(Registry);

impl Exposition {
    /// What every program has: which build it is, and what the system knows of its process.
    pub fn new(program: &str, version: &str) -> Self {
        let registry = Registry::new();
        let exposition = Self(registry);
        let opts = Opts::new("sekisho_build_info", "1; which program this is is in the labels.");
        let opts = opts.const_label("program", program).const_label("version", version);
        if let Ok(build) = IntGauge::with_opts(opts) {
            build.set(1);
            exposition.register(build);
        }
        #[cfg(target_os = "linux")]
        exposition.register(crate::process::Process::default());
        exposition
    }

    /// Has a metric, or several, in the answer.
    ///
    /// # Panics
    ///
    /// Where there is one of the same name already: names are constants of the program.
    pub fn register(&self, collector: impl Collector + 'static) {
        self.0.register(Box::new(collector)).expect("each metric has a name of its own");
    }

    /// Has a number in the answer that something else counts, and that only grows.
    ///
    /// # Panics
    ///
    /// Where there is a metric of the same name already: names are constants of the program.
    pub fn register_counter(&self, name: &str, help: &str, read: impl Fn() -> u64 + Send + Sync + 'static) {
        let counter = IntCounter::new(name, help).expect("names are constants");
        self.register(Pulled { counter, read });
    }

    /// The answer.
    pub fn response(&self) -> Response<Bytes> {
        let mut text = String::new();
        let encoded = TextEncoder::new().encode_utf8(&self.0.gather(), &mut text);
        let mut response = Response::new(Bytes::from(text));
        if encoded.is_err() {
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(METRICS_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// A counter whose number is read when it is asked for.
struct Pulled<F> {
    counter: IntCounter,
    read: F,
}

impl<F: Fn() -> u64 + Send + Sync> Collector for Pulled<F> {
    fn desc(&self) -> Vec<&Desc> {
        self.counter.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.counter.reset();
        self.counter.inc_by((self.read)());
        self.counter.collect()
    }
}
