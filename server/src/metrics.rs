//! What the gateway counts (`docs/operating.md`, "Metrics").
//!
//! No label is a worker, a path, a client or a key: what a client or a worker makes up must not make up series.

mod current;
mod families;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use prometheus::{Histogram, IntCounter};
use sekisho_core::browser_api::Form;
use sekisho_core::call::Call;
use sekisho_core::error::{Error, Outcome};
use sekisho_core::id::RuntimeId;
use sekisho_core::registry::Registry;
use sekisho_core::runtime_api::{Operation, Reply};
use sekisho_core::viewer::StreamContext;
use sekisho_core::watch::WatchEvent;
use sekisho_runtime::{Runtime, RuntimeMetrics};
use sekisho_telemetry::{HttpRequests, RequestCounter, Spans};

use self::families::Families;

pub(crate) use self::current::Sources;

/// All that a gateway counts, over all its event loops.
#[derive(Clone)]
pub(crate) struct Metrics {
    requests: HttpRequests,
    families: Arc<Families>,
}

/// The same for one event loop, which finds by heart what it counts often.
pub(crate) struct LoopMetrics {
    shared: Metrics,
    requests: RequestCounter,
    runtimes: RefCell<BTreeMap<RuntimeId, OfRuntime>>,
}

/// What is counted of one runtime.
struct OfRuntime {
    attempts: IntCounter,
    retries: IntCounter,
    operations: BTreeMap<&'static str, OfOperation>,
}

/// What is counted of one operation at one runtime.
#[derive(Clone)]
struct OfOperation {
    succeeded: IntCounter,
    duration: Histogram,
}

impl Metrics {
    pub(crate) fn new(spans: &Spans) -> Self {
        let families = Families::new();
        spans.count_in(&families.exposition);
        Self { requests: HttpRequests::new(&families.exposition), families: Arc::new(families) }
    }

    /// For one event loop.
    pub(crate) fn of_loop(&self) -> LoopMetrics {
        LoopMetrics { shared: self.clone(), requests: self.requests.counter(), runtimes: RefCell::default() }
    }

    /// What `/metrics` answers, with what is so right now.
    pub(crate) fn response(
        &self,
        registry: &Registry,
        streams: &StreamContext,
        sources: &Sources,
    ) -> Response<Bytes> {
        let families = &self.families;
        families.exposition.response_after(|| families.set(registry, streams, sources))
    }

    /// Counts that a configuration was taken over, or could not be.
    pub(crate) fn reloaded(&self, succeeded: bool) {
        let result = if succeeded { "succeeded" } else { "failed" };
        self.families.reloads.with_label_values(&[result]).inc();
    }

    /// Adds what an embedded runtime counts.
    pub(crate) fn add_runtime(&self, runtime_id: &RuntimeId, runtime: Runtime) {
        self.families.exposition.register(RuntimeMetrics::new(runtime_id, runtime));
    }

    /// Adds a number that something else counts.
    pub(crate) fn add_counter(&self, name: &str, help: &str, read: impl Fn() -> u64 + Send + Sync + 'static) {
        self.families.exposition.register_counter(name, help, read);
    }
}

impl LoopMetrics {
    /// All of it, over all event loops.
    pub(crate) fn shared(&self) -> &Metrics {
        &self.shared
    }

    fn families(&self) -> &Families {
        &self.shared.families
    }

    /// Counts a response, and the problem where it is one; `took` is none for a stream.
    pub(crate) fn answered(
        &self,
        route: &'static str,
        method: &Method,
        status: StatusCode,
        took: Option<Duration>,
        error: Option<&Error>,
    ) {
        self.requests.answered(route, method, status, took);
        if let Some(error) = error {
            self.problem(error);
        }
    }

    fn problem(&self, error: &Error) {
        let (code, origin) = (error.kind().code(), error.kind().origin().name());
        self.families().problems.with_label_values(&[code, origin]).inc();
    }

    /// Counts how a call ended.
    pub(crate) fn called(&self, call: &Call, end: &Result<Reply, Error>, took: Duration) {
        let (runtime_id, operation) = (call.runtime_id(), call.command().operation());
        let mut runtimes = self.runtimes.borrow_mut();
        let known = match runtimes.get_mut(runtime_id) {
            Some(known) => known,
            None => runtimes.entry(runtime_id.clone()).or_insert_with(|| self.of_runtime(runtime_id)),
        };
        known.attempts.inc_by(u64::from(call.attempts()));
        known.retries.inc_by(u64::from(call.attempts().saturating_sub(1)));
        let (runtime, name) = (runtime_id.as_str(), operation.name());
        let families = self.families();
        let of_operation = known.operations.entry(name).or_insert_with(|| OfOperation {
            succeeded: families.calls.with_label_values(&[runtime, name, "succeeded"]),
            duration: families.call_durations.with_label_values(&[runtime, name]),
        });
        of_operation.duration.observe(took.as_secs_f64());
        match end {
            Ok(_) => of_operation.succeeded.inc(),
            Err(error) => {
                families.calls.with_label_values(&[runtime, name, result(operation, error)]).inc();
                families.call_failures.with_label_values(&[runtime, error.kind().code()]).inc();
            }
        }
    }

    fn of_runtime(&self, runtime_id: &RuntimeId) -> OfRuntime {
        let runtime = &[runtime_id.as_str()];
        OfRuntime {
            attempts: self.families().attempts.with_label_values(runtime),
            retries: self.families().retries.with_label_values(runtime),
            operations: BTreeMap::new(),
        }
    }

    /// Counts a read that shares its exchange.
    pub(crate) fn shared_read(&self) {
        self.families().shared_reads.inc();
    }

    /// Counts what happened on a stream from a runtime.
    pub(crate) fn watched(&self, runtime_id: &RuntimeId, event: &WatchEvent) {
        let event = match event {
            WatchEvent::Live => "connected",
            WatchEvent::Disconnected { .. } => "disconnected",
            WatchEvent::Resumed { .. } => "resumed",
            WatchEvent::Resynchronized => "resynchronized",
            _ => return,
        };
        self.families().stream_events.with_label_values(&[runtime_id.as_str(), event]).inc();
    }

    /// Counts a viewer that comes.
    pub(crate) fn viewer_came(&self, of: &'static str, form: Form, has_cursor: bool) {
        let form = match form {
            Form::WebSocket => "websocket",
            Form::ServerSentEvents => "events",
        };
        let start = if has_cursor { "cursor" } else { "snapshot" };
        self.families().viewers_came.with_label_values(&[of, form, start]).inc();
    }

    /// Counts frames that were written to viewers.
    pub(crate) fn wrote(&self, frames: u64) {
        self.families().frames.inc_by(frames);
    }

    /// Counts a viewer that is gone: by itself, or for this reason.
    pub(crate) fn viewer_left(&self, error: Option<&Error>) {
        let reason = error.map_or("client", |error| error.kind().code());
        self.families().viewers_left.with_label_values(&[reason]).inc();
    }

    /// One more feed, until this is dropped.
    pub(crate) fn feed(&self) -> Feed {
        self.families().feeds.inc();
        Feed(self.shared.families.clone())
    }

    /// One more connection of a client, until this is dropped.
    pub(crate) fn connection(&self) -> ClientConnection {
        self.families().connections_accepted.inc();
        self.families().connections.inc();
        ClientConnection(self.shared.families.clone())
    }

    /// Counts a TLS handshake that failed.
    pub(crate) fn handshake_failed(&self) {
        self.families().handshakes_failed.inc();
    }

    /// How much later than it should the event loop came round to something.
    pub(crate) fn lagged(&self, by: Duration) {
        self.families().loop_lag.observe(by.as_secs_f64());
    }
}

/// How an operation ended that failed.
fn result(operation: Operation, error: &Error) -> &'static str {
    match (operation.changes_something(), error.outcome()) {
        (true, Some(Outcome::NotApplied)) => "not_applied",
        (true, _) => "unknown",
        (false, _) => "failed",
    }
}

/// A feed that is there.
pub(crate) struct Feed(Arc<Families>);

impl Drop for Feed {
    fn drop(&mut self) {
        self.0.feeds.dec();
    }
}

/// A client's connection that is there.
pub(crate) struct ClientConnection(Arc<Families>);

impl Drop for ClientConnection {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}
