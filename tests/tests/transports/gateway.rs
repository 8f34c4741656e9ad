//! The third side: the scenarios through a real gateway, as its clients see them.

use sekisho_core::call::CallLimits;
use sekisho_core::error::Outcome;
use sekisho_core::watch::OnExpiredCursor;
use sekisho_server::{Config, Server};
use sekisho_tests::client::request_with;
use sekisho_tests::scenarios::calls::{Asked, Scenario};
use sekisho_tests::scenarios::{MAX_RESPONSE, Source, TOKEN, Way, streams};
use sekisho_tests::scripted::Scripted;
use sekisho_tests::viewer::{Seen, Viewer};
use tempfile::TempDir;

use crate::run::{Facts, Stretch, limits};

/// The ways without certificates, since those of tests are none of the system's.
const PLAIN: [Way; 7] =
    [Way::Unresolved, Way::Refused, Way::NoSocket, Way::Full, Way::FullSocket, Way::Tcp, Way::Unix];

/// Whether a scenario is one for a gateway. What a replaced token does is shown with a source of tokens that the test has,
/// and what a connection does that is used again with one event loop.
pub(crate) fn carries(scenario: &Scenario, way: Way) -> bool {
    let plain =
        [Way::Unresolved, Way::Refused, Way::NoSocket, Way::Full, Way::FullSocket, Way::Tcp, Way::Unix];
    scenario.source == Source::Unchanged && scenario.times == 1 && plain.contains(&way)
}

/// A gateway before a runtime that is asked with a token; the token's file is there for as long as what comes with it.
fn gateway(base_url: &str, limits: CallLimits, more: &str) -> (Server, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, TOKEN).unwrap();
    let config = format!(
        "listen = '127.0.0.1:0'\nmax_request_bytes = 67108864\nmax_response_bytes = {MAX_RESPONSE}\n{more}\
         [[remote]]\nruntime_id = 'rt'\nbase_url = '{base_url}'\ntoken_file = '{}'\nallow_plaintext = true\n\
         connect_timeout_ms = {}\nresponse_timeout_ms = {}\n",
        token.display(),
        limits.connect.as_millis(),
        limits.response.as_millis()
    );
    (Server::start(Config::from_toml(&config).unwrap()).unwrap(), directory)
}

/// What a client is told in the end; `None` where the command succeeds.
pub(crate) fn call(scenario: &Scenario, (way, asked): (Way, Asked), stretch: Stretch) -> Option<Facts> {
    let runtime = Scripted::start(way, asked, scenario.connections.clone());
    let (gateway, _token) = gateway(&runtime.base_url, limits(scenario.patience, stretch), "");
    let worker = "/api/runtimes/rt/workers/w";
    let input = format!(r#"{{"content":"{}"}}"#, "x".repeat(scenario.input));
    let json = ("content-type", "application/json");
    let (method, path, headers, body) = match asked {
        Asked::Read => ("GET", worker.to_owned(), &[][..], None),
        Asked::Stop => ("POST", format!("{worker}/stop"), &[json][..], Some("{}")),
        Asked::Keyed => {
            ("POST", format!("{worker}/input"), &[json, ("idempotency-key", "key")][..], Some(&*input))
        }
        Asked::Change => ("POST", format!("{worker}/input"), &[json][..], Some(&*input)),
    };
    let answer = request_with(gateway.local_addr(), method, &path, headers, body);
    let told = (answer.status >= 300).then(|| {
        let phase = Some(answer.text("phase")).filter(|phase| !phase.is_empty());
        let outcome = match &*answer.text("outcome") {
            "not_applied" => Some(Outcome::NotApplied),
            "unknown" => Some(Outcome::Unknown),
            _ => None,
        };
        (answer.text("code"), phase.map(|phase| &*phase.leak()), outcome)
    });
    drop(gateway);
    runtime.finish();
    told
}

/// Whether a scenario of a stream is one for a gateway: those that begin with a snapshot of the present, since a viewer's
/// cursor is one that it was given.
pub(crate) fn streams(scenario: &streams::Scenario, way: Way) -> bool {
    scenario.source == Source::Unchanged
        && scenario.from.is_none()
        && scenario.on_expired_cursor == OnExpiredCursor::Resynchronize
        && PLAIN.contains(&way)
}

/// What a viewer is shown, in the words of the scenarios; the phase of a failure is nothing that it is told.
pub(crate) fn stream(scenario: &streams::Scenario, way: Way, stretch: Stretch) -> Vec<String> {
    let runtime = Scripted::start(way, Asked::Read, scenario.connections.clone());
    let give_up_after = if scenario.gives_up { "give_up_after_ms = 1\n" } else { "" };
    let (gateway, _token) = gateway(&runtime.base_url, limits(scenario.patience, stretch), give_up_after);
    let mut viewer = Viewer::open(gateway.local_addr(), "rt/w", None);
    let mut told = Vec::new();
    while told.len() < scenario.told.len() {
        told.push(match viewer.see() {
            Seen::Event { event_id, .. } => match event_id.strip_prefix("snapshot:") {
                Some(place) => format!("snapshot {place}"),
                None => format!("event {event_id}"),
            },
            Seen::Diagnostic(code) => match code.as_str() {
                "caught_up" => continue,
                "upstream_disconnected" => "disconnected".to_owned(),
                "upstream_resumed" => "resumed".to_owned(),
                "resynchronized" => code,
                code => format!("stopped: {code}"),
            },
            Seen::Closed(code) => format!("closed: {code}"),
        });
    }
    drop((viewer, gateway));
    runtime.finish();
    told
}
