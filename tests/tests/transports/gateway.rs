//! The third side: the scenarios of commands through a real gateway, as its clients see them.

use sekisho_core::error::Outcome;
use sekisho_server::{Config, Server};
use sekisho_tests::client::request_with;
use sekisho_tests::scenarios::calls::{Asked, Scenario};
use sekisho_tests::scenarios::{MAX_RESPONSE, Source, TOKEN, Way};
use sekisho_tests::scripted::Scripted;

use crate::run::{Facts, Stretch, limits};

/// Whether a scenario is one for a gateway. What a replaced token does is shown with a source of tokens that the test has,
/// and what a connection does that is used again with one event loop; certificates of tests are none of the system's.
pub(crate) fn carries(scenario: &Scenario, way: Way) -> bool {
    let plain =
        [Way::Unresolved, Way::Refused, Way::NoSocket, Way::Full, Way::FullSocket, Way::Tcp, Way::Unix];
    scenario.source == Source::Unchanged && scenario.times == 1 && plain.contains(&way)
}

/// What a client is told in the end; `None` where the command succeeds.
pub(crate) fn call(scenario: &Scenario, (way, asked): (Way, Asked), stretch: Stretch) -> Option<Facts> {
    let runtime = Scripted::start(way, asked, scenario.connections.clone());
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, TOKEN).unwrap();
    let limits = limits(scenario.patience, stretch);
    let config = format!(
        "listen = '127.0.0.1:0'\nmax_request_bytes = 67108864\nmax_response_bytes = {MAX_RESPONSE}\n[[remote]]\nruntime_id = 'rt'\nbase_url = '{}'\n\
         token_file = '{}'\nallow_plaintext = true\nconnect_timeout_ms = {}\nresponse_timeout_ms = {}\n",
        runtime.base_url,
        token.display(),
        limits.connect.as_millis(),
        limits.response.as_millis()
    );
    let gateway = Server::start(Config::from_toml(&config).unwrap()).unwrap();
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
