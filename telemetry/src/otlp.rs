//! Spans to a collector of OpenTelemetry, over OTLP/HTTP.
//!
//! The libraries of OpenTelemetry make the messages, batch them in a thread of their own, and repeat what a collector was
//! too busy for. What is kept here is what they leave open: that each span is counted, that the log tells of a collector
//! that fails without telling where it is, and that nothing waits for it longer than it should.

mod collector;
mod environment;
mod progress;
mod span;

use std::env;
use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SamplingDecision, ShouldSample, SpanData, SpanExporter,
    SpanProcessor,
};
use sekisho_core::trace::{Sampler, TraceParent};
use tracing::{info, warn};

use self::collector::Collector;
use self::environment::{SECRET_VARIABLES, Settings};
use self::progress::{Progress, Tell};
use self::span::span_of;
use crate::answered::AnsweredRequest;
use crate::spans::{EXPORT_END_TIMEOUT, MAX_WAITING_SPANS, Recorder, Spans, SpansError};

impl Spans {
    /// Those of a program, exported as the variables of OpenTelemetry say (`docs/operating.md`): nowhere where these
    /// name no collector.
    ///
    /// # Errors
    ///
    /// Where a variable cannot be obeyed.
    pub fn of_environment(program: &'static str, version: &'static str) -> Result<Self, SpansError> {
        recorder(program, version).map(Self::made_by)
    }
}

/// Makes the spans of a program and has them exported, where the environment names a collector.
fn recorder(program: &'static str, version: &'static str) -> Result<Option<Arc<dyn Recorder>>, SpansError> {
    let variable = |name: &str| env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let Some(settings) = Settings::read(variable)? else { return Ok(None) };
    if settings.exposes_headers() {
        warn!("what the collector of spans is shown goes over the network in the clear");
    }
    let collector = Collector::new(&settings)?;
    let progress = Arc::new(Progress::new(MAX_WAITING_SPANS));
    let exporter = OtlpExporter::builder()
        .with_http()
        .with_http_client(collector.clone())
        .with_timeout(settings.timeout)
        .build()
        // What it says of a variable may repeat it.
        .map_err(|_| settings.endpoint_error("not usable"))?;
    let exporter = Counted { exporter, collector: collector.clone(), progress: progress.clone() };
    let batches = BatchConfigBuilder::default().with_max_queue_size(MAX_WAITING_SPANS).build();
    let mut processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    processor.set_resource(&resource(program, version));
    let scope = InstrumentationScope::builder(program).with_version(version).build();
    info!("spans are exported");
    Ok(Some(Arc::new(Exporting { sampler: settings.sampler, processor, scope, collector, progress })))
}

/// What the spans are said to be of: this program, unless the environment says otherwise.
fn resource(program: &'static str, version: &'static str) -> Resource {
    let of_program = [KeyValue::new("service.name", program), KeyValue::new("service.version", version)];
    let resource = Resource::builder_empty()
        .with_attributes(of_program)
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_detector(Box::new(EnvResourceDetector::new()));
    let named = env::var("OTEL_SERVICE_NAME").ok().filter(|name| !name.is_empty());
    match named {
        Some(name) => resource.with_service_name(name).build(),
        None => resource.build(),
    }
}

/// Makes spans, and has them exported.
struct Exporting {
    sampler: opentelemetry_sdk::trace::Sampler,
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
    collector: Collector,
    progress: Arc<Progress>,
}

impl Sampler for Exporting {
    fn is_recorded(&self, trace_id: u128, parent: Option<TraceParent>) -> bool {
        let parent = parent.map(|parent| {
            let (trace_id, span_id) = (TraceId::from(parent.trace_id), SpanId::from(parent.span_id));
            let flags = TraceFlags::new(parent.flags);
            let place = SpanContext::new(trace_id, span_id, flags, true, TraceState::NONE);
            Context::new().with_remote_span_context(place)
        });
        let trace_id = TraceId::from(trace_id);
        let sampled = self.sampler.should_sample(parent.as_ref(), trace_id, "", &SpanKind::Server, &[], &[]);
        sampled.decision == SamplingDecision::RecordAndSample
    }
}

impl Recorder for Exporting {
    fn record(&self, request: &AnsweredRequest<'_>) {
        if self.progress.admit() {
            self.processor.on_end(span_of(request, SystemTime::now(), &self.scope));
        }
    }

    fn exported(&self) -> u64 {
        self.progress.exported()
    }

    fn lost(&self) -> u64 {
        self.progress.lost()
    }

    fn end(&self) {
        // Whether that took too long is seen in what is lost.
        let _ = self.processor.shutdown_with_timeout(EXPORT_END_TIMEOUT);
        self.collector.end();
        if let Some(lost) = self.progress.end() {
            warn!(lost, "spans were lost");
        }
    }

    fn secret_variables(&self) -> &[&'static str] {
        SECRET_VARIABLES
    }
}

/// Exports batches of spans, and takes account of them.
struct Counted {
    exporter: OtlpExporter,
    collector: Collector,
    progress: Arc<Progress>,
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = self.progress.begins(batch.len());
        let result = self.exporter.export(batch).await;
        let tell = self.progress.ended(Instant::now(), count, result.is_ok());
        match tell {
            Some(Tell::Fails { lost }) => {
                let reason = self.collector.trouble().map(tracing::field::display);
                warn!(reason, lost, "the collector does not take spans");
            }
            Some(Tell::Works { lost }) => info!(lost, "the collector takes spans again"),
            Some(Tell::Loses { lost }) => warn!(lost, "spans were lost"),
            None => {}
        }
        result
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counted")
    }
}
