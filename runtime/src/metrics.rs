//! What is counted of a runtime, for Prometheus (`docs/operating.md`, "Metrics").

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, IntCounterVec, IntGauge, IntGaugeVec, Opts};
use sekisho_core::id::RuntimeId;

use crate::{Figures, Runtime};

/// The figures of a runtime, looked at when they are asked for.
pub struct RuntimeMetrics {
    runtime: Runtime,
    workers: IntGaugeVec,
    open_requests: IntGauge,
    subscriptions: IntGauge,
    commits: IntCounterVec,
    commit_seconds: Counter,
}

impl RuntimeMetrics {
    /// Those of a runtime, whose id is their label `runtime`.
    pub fn new(runtime_id: &RuntimeId, runtime: Runtime) -> Self {
        let opts = |name: &str, help: &str| Opts::new(name, help).const_label("runtime", runtime_id.as_str());
        let workers = opts("sekisho_workers", "Workers by their status.");
        let commits = opts("sekisho_store_commits_total", "Commits of the store, by how they ended.");
        let gauge = |opts| IntGauge::with_opts(opts).expect("names are constants");
        let seconds = opts("sekisho_store_commit_seconds_total", "Time that the commits of the store took.");
        Self {
            runtime,
            workers: IntGaugeVec::new(workers, &["status"]).expect("names are constants"),
            open_requests: gauge(opts(
                "sekisho_requests_open",
                "Requests of workers that wait for an answer.",
            )),
            subscriptions: gauge(opts("sekisho_subscriptions", "Streams of workers that are open.")),
            commits: IntCounterVec::new(commits, &["result"]).expect("names are constants"),
            commit_seconds: Counter::with_opts(seconds).expect("names are constants"),
        }
    }

    fn all(&self) -> [&dyn Collector; 5] {
        let Self { workers, open_requests, subscriptions, commits, commit_seconds, .. } = self;
        [workers, open_requests, subscriptions, commits, commit_seconds]
    }

    fn set(&self, figures: &Figures) {
        for (status, count) in figures.workers {
            self.workers.with_label_values(&[status]).set(number(count));
        }
        self.open_requests.set(number(figures.open_requests));
        self.subscriptions.set(number(figures.subscriptions));
        let Some(store) = figures.store else { return };
        for (result, commits) in [("committed", store.committed), ("failed", store.failed)] {
            let counter = self.commits.with_label_values(&[result]);
            counter.inc_by(commits.saturating_sub(counter.get()));
        }
        self.commit_seconds.inc_by((store.commit_time.as_secs_f64() - self.commit_seconds.get()).max(0.0));
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Collector for RuntimeMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.set(&self.runtime.figures());
        self.all().into_iter().flat_map(Collector::collect).collect()
    }
}
