//! What the environment says of the export of spans.

use std::time::Duration;

use http::Uri;
use opentelemetry_sdk::trace::Sampler;
use sekisho_core::secret::BaseUrl;

use crate::spans::{EXPORT_TIMEOUT, MAX_EXPORT_TIMEOUT, SpansError};

/// The variables that lead to the collector, and that hold what it is shown.
pub(super) const SECRET_VARIABLES: &[&str] = &[TRACES_ENDPOINT, ENDPOINT, TRACES_HEADERS, HEADERS];

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const TRACES_HEADERS: &str = "OTEL_EXPORTER_OTLP_TRACES_HEADERS";
const TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
const TRACES_TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT";
const DISABLED: &str = "OTEL_SDK_DISABLED";
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";

/// Variables that can say one thing alone, and what to tell of any other.
const FIXED: &[(&str, &str, &str)] = &[
    (EXPORTER, "otlp", "spans are exported by otlp or none"),
    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf", "spans are exported by http/protobuf alone"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "spans are exported by http/protobuf alone"),
    ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none", "spans are exported uncompressed"),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "none", "spans are exported uncompressed"),
];

/// How spans are exported, and which requests are recorded.
pub(super) struct Settings {
    /// Where the collector is, without the path that it answers at.
    pub(super) collector: BaseUrl,
    /// The variable that said so.
    endpoint: &'static str,
    /// Whether the collector is shown anything beside the spans.
    has_headers: bool,
    /// How long the export of a batch may take.
    pub(super) timeout: Duration,
    /// Which requests are recorded.
    pub(super) sampler: Sampler,
}

impl Settings {
    /// Those of an environment: none where it names no collector, or says that nothing is to be exported.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, SpansError> {
        // An empty variable is like none, as OpenTelemetry's specification has it.
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let either =
            |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, variable(name)?)));
        let is =
            |name: &str, value: &str| variable(name).is_some_and(|said| said.eq_ignore_ascii_case(value));
        if is(DISABLED, "true") || is(EXPORTER, "none") {
            return Ok(None);
        }
        let Some((endpoint, url)) = either([TRACES_ENDPOINT, ENDPOINT]) else { return Ok(None) };
        for &(name, value, reason) in FIXED {
            if variable(name).is_some() && !is(name, value) {
                return Err(SpansError { variable: name, reason });
            }
        }
        let timeout = either([TRACES_TIMEOUT, TIMEOUT]);
        Ok(Some(Self {
            collector: place(&url).ok_or(SpansError {
                variable: endpoint,
                reason: "not a URL of http or https without credentials",
            })?,
            endpoint,
            has_headers: either([TRACES_HEADERS, HEADERS]).is_some(),
            timeout: timeout.map_or(Ok(EXPORT_TIMEOUT), |(name, text)| millis(name, &text))?,
            sampler: sampler(variable(SAMPLER).as_deref(), variable(SAMPLER_ARGUMENT).as_deref())?,
        }))
    }

    /// Whether what the collector is shown could be read on the way.
    pub(super) fn exposes_headers(&self) -> bool {
        self.has_headers && self.collector.exposes_token()
    }

    /// What is wrong with where the collector is said to be.
    pub(super) fn endpoint_error(&self, reason: &'static str) -> SpansError {
        SpansError { variable: self.endpoint, reason }
    }
}

/// Where a URL leads to, without its path.
fn place(url: &str) -> Option<BaseUrl> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme))?;
    format!("{scheme}://{}", uri.authority()?).parse().ok()
}

fn millis(variable: &'static str, text: &str) -> Result<Duration, SpansError> {
    let timeout = text.parse().ok().map(Duration::from_millis);
    timeout
        .filter(|timeout| (Duration::from_millis(1)..=MAX_EXPORT_TIMEOUT).contains(timeout))
        .ok_or(SpansError { variable, reason: "not a number of milliseconds from 1 to 60000" })
}

/// The sampler of this name. Without one, requests are recorded that their callers record, and all that no caller says
/// anything of.
fn sampler(name: Option<&str>, argument: Option<&str>) -> Result<Sampler, SpansError> {
    let share = || match argument.map(str::parse) {
        None => Ok(Sampler::AlwaysOn),
        Some(Ok(share)) if (0.0..=1.0).contains(&share) => Ok(Sampler::TraceIdRatioBased(share)),
        Some(_) => Err(SpansError { variable: SAMPLER_ARGUMENT, reason: "not a number from 0 to 1" }),
    };
    let as_its_caller = |root| Sampler::ParentBased(Box::new(root));
    Ok(match name {
        Some("always_on") => Sampler::AlwaysOn,
        Some("always_off") => Sampler::AlwaysOff,
        Some("traceidratio") => share()?,
        None | Some("parentbased_always_on") => as_its_caller(Sampler::AlwaysOn),
        Some("parentbased_always_off") => as_its_caller(Sampler::AlwaysOff),
        Some("parentbased_traceidratio") => as_its_caller(share()?),
        Some(_) => {
            let reason = "not always_on, always_off or traceidratio, nor one of these behind parentbased_";
            return Err(SpansError { variable: SAMPLER, reason });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, SpansError> {
        let of = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string())
        };
        Settings::read(of)
    }

    const AT: (&str, &str) = (ENDPOINT, "http://collector:4318");

    #[test]
    fn nothing_is_exported_unless_the_environment_says_where() {
        for variables in [
            &[][..],
            &[(ENDPOINT, "")],
            &[(HEADERS, "key=value"), (SAMPLER, "always_on")],
            &[AT, (DISABLED, "TRUE")],
            &[AT, (EXPORTER, "none")],
        ] {
            assert!(matches!(read(variables), Ok(None)), "{variables:?}");
        }
    }

    #[test]
    fn what_is_said_of_traces_alone_comes_first() {
        let more =
            [AT, (TRACES_ENDPOINT, "https://elsewhere/v1/traces"), (TIMEOUT, "1"), (TRACES_TIMEOUT, "2")];
        let settings = read(&more).unwrap().unwrap();
        assert!(settings.collector.is_https());
        assert_eq!(settings.endpoint, TRACES_ENDPOINT);
        assert_eq!(settings.timeout, Duration::from_millis(2));
        let settings = read(&[AT, (TRACES_ENDPOINT, ""), (EXPORTER, "otlp")]).unwrap().unwrap();
        assert_eq!((settings.endpoint, settings.timeout), (ENDPOINT, EXPORT_TIMEOUT));
    }

    #[test]
    fn what_cannot_be_obeyed_is_refused_and_not_repeated() {
        for (variable, value) in [
            (ENDPOINT, "s3cret"),
            (ENDPOINT, "ftp://s3cret"),
            (ENDPOINT, "unix:///s3cret"),
            (ENDPOINT, "http://user:s3cret@collector"),
            (TRACES_ENDPOINT, "http://:80/s3cret"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc-s3cret"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip-s3cret"),
            (EXPORTER, "s3cret"),
            (TIMEOUT, "0"),
            (TIMEOUT, "60001"),
            (TRACES_TIMEOUT, "10s3cret"),
            (SAMPLER, "s3cret"),
        ] {
            let error = read(&[(variable, value), AT]).err().unwrap();
            assert_eq!(error.variable, variable);
            assert!(!error.to_string().contains("s3cret") && !format!("{error:?}").contains("s3cret"));
        }
        for share in ["", "2", "-0.1", "NaN", "many"] {
            let read = read(&[AT, (SAMPLER, "traceidratio"), (SAMPLER_ARGUMENT, share)]);
            assert_eq!(
                read.err().map(|error| error.variable),
                (!share.is_empty()).then_some(SAMPLER_ARGUMENT)
            );
        }
    }

    #[test]
    fn headers_are_exposed_on_a_network_without_tls() {
        for (url, is_exposed) in [
            ("http://collector:4318", true),
            ("https://collector:4318", false),
            ("http://127.0.0.1:4318", false),
        ] {
            let settings = read(&[(ENDPOINT, url), (HEADERS, "key=value")]).unwrap().unwrap();
            assert_eq!(settings.exposes_headers(), is_exposed, "{url}");
        }
        assert!(!read(&[AT]).unwrap().unwrap().exposes_headers());
    }

    #[test]
    fn samplers_have_the_names_of_the_specification() {
        use Sampler::{AlwaysOff, AlwaysOn, ParentBased, TraceIdRatioBased};
        let parent_based = |root| ParentBased(Box::new(root));
        for (name, expected) in [
            (None, parent_based(AlwaysOn)),
            (Some("always_on"), AlwaysOn),
            (Some("always_off"), AlwaysOff),
            (Some("traceidratio"), TraceIdRatioBased(0.25)),
            (Some("parentbased_always_on"), parent_based(AlwaysOn)),
            (Some("parentbased_always_off"), parent_based(AlwaysOff)),
            (Some("parentbased_traceidratio"), parent_based(TraceIdRatioBased(0.25))),
        ] {
            let sampler = sampler(name, Some("0.25")).unwrap();
            assert_eq!(format!("{sampler:?}"), format!("{expected:?}"));
        }
    }
}
