//! Where the spans of requests go.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sekisho_core::trace::Sampler;

use crate::answered::AnsweredRequest;
use crate::metrics::Exposition;

/// How many spans may wait to be exported; further ones are lost, which is counted and told.
pub const MAX_WAITING_SPANS: usize = 2048;

/// How long the export of a batch of spans may take, unless the environment says otherwise.
pub const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest that the environment can say it may take.
pub const MAX_EXPORT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a program that ends waits for its last spans to be exported.
pub const EXPORT_END_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the spans of requests go: nowhere by default.
#[derive(Clone, Default)]
pub struct Spans(Option<Arc<dyn Recorder>>);

/// What spans are made by and given to.
pub(crate) trait Recorder: Sampler + Send + Sync {
    /// Makes the span of a request. It never waits.
    fn record(&self, request: &AnsweredRequest<'_>);

    /// How many spans a collector has taken.
    fn exported(&self) -> u64;

    /// How many spans no collector has taken, and none will.
    fn lost(&self) -> u64;

    /// Waits for what was given so far to be exported, for at most [`EXPORT_END_TIMEOUT`]; all later spans are lost.
    fn end(&self);

    /// The variables of the environment that lead to the collector and hold what it is shown.
    fn secret_variables(&self) -> &[&'static str];
}

/// The environment does not say where to export spans. It names the variable, and repeats nothing of its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{variable}: {reason}")]
pub struct SpansError {
    /// The variable.
    pub variable: &'static str,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Spans {
    /// Those that this makes.
    #[cfg(feature = "otlp")]
    pub(crate) fn made_by(recorder: Option<Arc<dyn Recorder>>) -> Self {
        Self(recorder)
    }

    /// Those of a program: nowhere, for this is a build without the feature `otlp`.
    ///
    /// # Errors
    ///
    /// None.
    #[cfg(not(feature = "otlp"))]
    pub fn of_environment(_program: &'static str, _version: &'static str) -> Result<Self, SpansError> {
        Ok(Self::default())
    }

    /// What decides which requests are recorded, where any are.
    pub fn sampler(&self) -> Option<&dyn Sampler> {
        self.0.as_deref().map(|recorder| recorder as &dyn Sampler)
    }

    /// Makes the span of a request, if it is recorded. It never waits.
    pub fn record(&self, request: &AnsweredRequest<'_>) {
        if let Some(recorder) = self.0.as_ref().filter(|_| request.trace.is_recorded) {
            recorder.record(request);
        }
    }

    /// Has the metrics tell how many spans were exported and lost, where any are exported.
    ///
    /// # Panics
    ///
    /// Where it was called before with this exposition.
    pub fn count_in(&self, exposition: &Exposition) {
        let Some(recorder) = &self.0 else { return };
        let (exporting, losing) = (recorder.clone(), recorder.clone());
        let exported = move || exporting.exported();
        let lost = move || losing.lost();
        exposition.register_counter(
            "sekisho_spans_exported_total",
            "Spans that the collector took.",
            exported,
        );
        exposition.register_counter("sekisho_spans_lost_total", "Spans that no collector took.", lost);
    }

    /// The variables of the environment that are not meant for workers: they lead to the collector, and hold what it is
    /// shown.
    pub fn secret_variables(&self) -> &[&'static str] {
        self.0.as_ref().map_or(&[], |recorder| recorder.secret_variables())
    }

    /// How long [`Spans::end`] waits at most.
    pub fn end_time(&self) -> Duration {
        self.0.as_ref().map_or(Duration::ZERO, |_| EXPORT_END_TIMEOUT)
    }

    /// Waits for what was given so far to be exported, for at most [`Spans::end_time`]; all later spans are lost.
    pub fn end(&self) {
        self.0.iter().for_each(|recorder| recorder.end());
    }
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spans").field("are_exported", &self.0.is_some()).finish()
    }
}
