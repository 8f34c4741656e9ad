use bytes::Bytes;
use http::Response;
use proptest::prelude::*;
use proptest::sample::select;
use sekisho_core::browser_api::problem;
use sekisho_core::call::{CallInput, CallOutput};
use sekisho_core::error::{Error, ErrorKind, NetworkPhase, Outcome, TimeoutPhase};
use sekisho_core::feed::closing_diagnostic;
use sekisho_core::runtime_api::{Command, Input, InputKind};
use sekisho_core::secret::Access;
use sekisho_core::transport::{Failure, FailureCause};
use serde_json::{Value, json};

use crate::any::text;
use crate::{cases, epoch, registry, right_runtime};

/// It says of the error what the error says of itself, as a response and as the end of a stream.
fn is_told(error: &Error) {
    let kind = error.kind();
    let response = problem(error);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let told: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(told["status"], response.status().as_u16());
    assert_eq!(told["type"], format!("urn:sekisho:problem:{}", kind.code()));
    let facts = [
        ("title", json!(kind.title())),
        ("detail", json!(error.detail())),
        ("code", json!(kind.code())),
        ("origin", json!(kind.origin())),
        ("retryable", json!(kind.retryable())),
        ("phase", json!(kind.phase())),
        ("outcome", json!(error.outcome())),
        ("runtime_code", json!(error.runtime_code())),
        ("runtime_id", json!(error.runtime_id())),
        ("worker_id", json!(error.worker_id())),
    ];
    for (name, value) in facts {
        assert_eq!(told[name], value, "{name}");
        assert_eq!(told.get(name).is_none(), value.is_null(), "{name}");
    }
    let seconds = error.retry_after().map(|wait| wait.as_secs_f64().ceil().to_string());
    let header = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(header, seconds);
    assert_eq!(kind == ErrorKind::Unauthorized, response.headers().contains_key("www-authenticate"));

    let last: Value = serde_json::from_slice(closing_diagnostic(error).text()).unwrap();
    let diagnostic = &last["diagnostic"];
    assert_eq!((&diagnostic["code"], &diagnostic["severity"]), (&json!(kind.code()), &json!("error")));
    assert_eq!(diagnostic["message"], error.detail());
}

#[test]
fn every_kind_is_told() {
    for kind in ErrorKind::all() {
        is_told(&Error::new(kind));
        // docs/observation.md: the range alone tells a client what to do.
        let close = kind.close_code();
        assert!([1001, 1008].contains(&close) || (4000..5000).contains(&close), "{kind:?}");
        let may_come_back = close == 1001 || (4000..4400).contains(&close);
        assert!(may_come_back || !kind.retryable(), "{kind:?}");
    }
}

/// How a command ends that is answered so, however often it is tried.
fn end(answer: impl Fn() -> Result<Response<Bytes>, Failure>) -> Error {
    let access = Access::remote("http://vault.example:7700".parse().unwrap(), "s3cr3t-t0k3n".parse().ok());
    let input = Input::new(InputKind::User, "x");
    let command = Command::Input { worker_id: "w".parse().unwrap(), input, key: None };
    let mut now = epoch();
    let mut call = registry(access).call(now, &"rt".parse().unwrap(), command, None).unwrap();
    loop {
        match call.poll(now) {
            CallOutput::Send(attempt) => {
                let report = match answer() {
                    _ if attempt.request.uri().path() == "/v1/runtime" => {
                        CallInput::Response(attempt.id, right_runtime())
                    }
                    Ok(response) => CallInput::Response(attempt.id, response),
                    Err(failure) => CallInput::Failed(attempt.id, failure),
                };
                call.handle(now, report);
            }
            CallOutput::RefreshCredential => call.handle(now, CallInput::Credential(None)),
            CallOutput::Wait { until, .. } => now = until,
            CallOutput::Done(result) => return result.unwrap_err(),
        }
    }
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn a_runtimes_words_are_told(
        status in (201..=599u16).prop_filter("switches to nothing", |status| *status != 101),
        code in text(),
        message in text(),
        retry_after in prop::option::of(0..10_000u32),
    ) {
        let body = json!({"error": {"code": code, "message": message}}).to_string();
        let error = end(|| {
            let mut response = Response::builder().status(status);
            if let Some(seconds) = retry_after {
                response = response.header("retry-after", seconds);
            }
            Ok(response.body(body.clone().into()).unwrap())
        });
        is_told(&error);
        prop_assert_eq!(error.worker_id().map(|id| id.as_str()), Some("w"));
        prop_assert!(error.outcome().is_some(), "whether it happened is left open");
        let shown = problem(&error);
        let shown = String::from_utf8_lossy(shown.body());
        prop_assert!(!shown.contains("vault") && !shown.contains("s3cr3t"), "{}", shown);
    }

    #[test]
    fn what_was_not_sent_did_not_happen(
        cause in select(vec![
            FailureCause::Network(NetworkPhase::Resolve),
            FailureCause::Network(NetworkPhase::Connect),
            FailureCause::Network(NetworkPhase::Tls),
            FailureCause::Network(NetworkPhase::Receive),
            FailureCause::Timeout(TimeoutPhase::Connect),
            FailureCause::Timeout(TimeoutPhase::Body),
        ]),
        sent in any::<bool>(),
    ) {
        let error = end(|| Err(if sent { Failure::sent(cause) } else { Failure::unsent(cause) }));
        is_told(&error);
        let outcome = if sent { Outcome::Unknown } else { Outcome::NotApplied };
        prop_assert_eq!(error.outcome(), Some(outcome));
    }
}
