//! How many requests a server has answered, and in which time.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts};

use crate::metrics::Exposition;

/// The bounds of durations, in seconds.
pub const DURATIONS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What the route of a request is called that has none.
const NO_ROUTE: &str = "none";

/// The requests that a server has answered. Each thread takes a [`HttpRequests::counter`] of it.
#[derive(Clone, Debug)]
pub struct HttpRequests {
    requests: IntCounterVec,
    durations: HistogramVec,
}

impl HttpRequests {
    /// Of a program: `sekisho_http_requests_total` and `sekisho_http_request_duration_seconds`.
    ///
    /// # Panics
    ///
    /// Where there are some already.
    pub fn new(exposition: &Exposition) -> Self {
        let requests =
            Opts::new("sekisho_http_requests_total", "Requests that were answered, streams included.");
        let durations = HistogramOpts::new(
            "sekisho_http_request_duration_seconds",
            "From the head of a request to its response, streams left out.",
        );
        let requests =
            IntCounterVec::new(requests, &["route", "method", "code"]).expect("names are constants");
        let durations = HistogramVec::new(durations.buckets(DURATIONS.to_vec()), &["route"]);
        let durations = durations.expect("names are constants");
        exposition.register(requests.clone());
        exposition.register(durations.clone());
        Self { requests, durations }
    }

    /// Counts a response, as [`RequestCounter::answered`] does.
    pub fn answered(&self, route: &str, method: &Method, status: StatusCode, took: Option<Duration>) {
        self.of(named(route), name(method), status).answered(took);
    }

    fn of(&self, route: &str, method: &str, status: StatusCode) -> Alike {
        Alike {
            requests: self.requests.with_label_values(&[route, method, status.as_str()]),
            durations: self.durations.with_label_values(&[route]),
        }
    }

    /// A counter for one thread.
    pub fn counter(&self) -> RequestCounter {
        RequestCounter { all: self.clone(), known: RefCell::default() }
    }
}

type Key = (&'static str, &'static str, u16);

/// Where requests are counted that have the same labels.
#[derive(Clone, Debug)]
struct Alike {
    requests: IntCounter,
    durations: Histogram,
}

impl Alike {
    fn answered(&self, took: Option<Duration>) {
        self.requests.inc();
        if let Some(took) = took {
            self.durations.observe(took.as_secs_f64());
        }
    }
}

/// Counts requests, and knows what it has counted before by heart.
#[derive(Debug)]
pub struct RequestCounter {
    all: HttpRequests,
    known: RefCell<HashMap<Key, Alike>>,
}

impl RequestCounter {
    /// Counts a response. `route` is a template, empty where there is no such route; `took` is none for a stream.
    pub fn answered(&self, route: &'static str, method: &Method, status: StatusCode, took: Option<Duration>) {
        let (route, method) = (named(route), name(method));
        let mut known = self.known.borrow_mut();
        let alike = known.entry((route, method, status.as_u16()));
        alike.or_insert_with(|| self.all.of(route, method, status)).answered(took);
    }
}

/// A route as a label.
fn named(route: &str) -> &str {
    if route.is_empty() { NO_ROUTE } else { route }
}

/// A method as a label: a client may send any.
fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_bounded_and_streams_have_no_duration() {
        let exposition = Exposition::new("test", "1");
        let requests = HttpRequests::new(&exposition);
        let (one, other) = (requests.counter(), requests.counter());
        one.answered("/a/{id}", &Method::GET, StatusCode::OK, Some(Duration::from_millis(2)));
        other.answered("/a/{id}", &Method::GET, StatusCode::OK, None);
        for method in ["BREW", "WHEN"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            one.answered("", &method, StatusCode::NOT_FOUND, Some(Duration::ZERO));
        }
        let response = exposition.response();
        let text = std::str::from_utf8(response.body()).unwrap();
        for line in [
            r#"sekisho_build_info{program="test",version="1"} 1"#,
            r#"sekisho_http_requests_total{code="200",method="GET",route="/a/{id}"} 2"#,
            r#"sekisho_http_requests_total{code="404",method="other",route="none"} 2"#,
            r#"sekisho_http_request_duration_seconds_count{route="/a/{id}"} 1"#,
            r#"sekisho_http_request_duration_seconds_bucket{route="/a/{id}",le="0.001"} 0"#,
            r#"sekisho_http_request_duration_seconds_bucket{route="/a/{id}",le="0.0025"} 1"#,
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
    }
}
