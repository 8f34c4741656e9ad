//! What `/metrics` answers.

use std::sync::{Arc, Mutex, PoisonError};

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
pub struct Exposition {
    registry: Registry,
    /// Held while an answer is made. Much is looked at only then, and set or added up before it is written: two at a time
    /// would count twice, or see half of what the other sets.
    answering: Arc<Mutex<()>>,
}

impl Exposition {
    /// What every program has: which build it is, and what the system knows of its process.
    pub fn new(program: &str, version: &str) -> Self {
        let exposition = Self { registry: Registry::new(), answering: Arc::default() };
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
        self.registry.register(Box::new(collector)).expect("each metric has a name of its own");
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
        self.response_after(|| {})
    }

    /// The answer, once this has set what is so right now. Only one answer is made at a time.
    pub fn response_after(&self, set: impl FnOnce()) -> Response<Bytes> {
        let mut text = String::new();
        let answering = self.answering.lock().unwrap_or_else(PoisonError::into_inner);
        set();
        let gathered = self.registry.gather();
        drop(answering);
        let encoded = TextEncoder::new().encode_utf8(&gathered, &mut text);
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

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn answers_that_are_asked_for_at_once_count_nothing_twice() {
        let exposition = Exposition::new("test", "1");
        exposition.register_counter("seven", "Seven.", || 7);
        let seen = IntCounter::new("seen", "What is set when it is looked at.").unwrap();
        exposition.register(seen.clone());
        let ask = || {
            for _ in 0..300 {
                let response = exposition.response_after(|| {
                    seen.reset();
                    thread::yield_now();
                    seen.inc_by(9);
                });
                let text = std::str::from_utf8(response.body()).unwrap();
                assert!(text.lines().any(|line| line == "seven 7"), "{text}");
                assert!(text.lines().any(|line| line == "seen 9"), "{text}");
            }
        };
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(ask);
            }
        });
    }
}
