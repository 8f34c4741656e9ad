use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::runtime_api::{CommandError, Fault, FaultCode, Input, InputKind, Intent, MAX_RETRY_AFTER};
use crate::secret::{Access, REDACTED};

/// Exchanges with a deployed runtime, byte for byte.
const RECORDED: &str = include_str!("../recorded-exchanges.json");

fn runtime_id() -> RuntimeId {
    "remote-a".parse().unwrap()
}

fn get(worker_id: &str) -> Command {
    Command::Worker(worker_id.parse().unwrap())
}

fn response(status: u16, body: &str) -> Response<Bytes> {
    Response::builder().status(status).body(Bytes::copy_from_slice(body.as_bytes())).unwrap()
}

fn read(command: &Command, response: &Response<Bytes>) -> Result<Reply, Rejection> {
    Reply::from_response(command, &runtime_id(), &Scrubber::default(), response)
}

struct Recorded {
    name: String,
    request: http::Request<Bytes>,
    response: Response<Bytes>,
}

fn recorded() -> Vec<Recorded> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let exchanges: Vec<Value> = serde_json::from_str(RECORDED).unwrap();
    let exchanges: Vec<Recorded> = exchanges
        .iter()
        .map(|exchange| {
            let (request, response) = (&exchange["request"], &exchange["response"]);
            let mut answer = Response::builder().status(response["status"].as_u64().unwrap() as u16);
            for (name, value) in response["headers"].as_object().unwrap() {
                answer = answer.header(name, text(value));
            }
            Recorded {
                name: text(&exchange["name"]),
                request: http::Request::builder()
                    .method(text(&request["method"]).as_str())
                    .uri(text(&request["path"]))
                    .body(text(&request["body"]).into())
                    .unwrap(),
                response: answer.body(text(&response["body"]).into()).unwrap(),
            }
        })
        .collect();
    assert_eq!(exchanges.len(), 24);
    exchanges
}

#[test]
fn recorded_requests_are_read_and_written_again() {
    for Recorded { name, request, .. } in recorded() {
        let read_back = Command::from_request(&request);
        match name.as_str() {
            "route_unknown" => assert_eq!(read_back, Err(CommandError::UnknownRoute)),
            "method_not_allowed" => {
                assert_eq!(read_back, Err(CommandError::MethodNotAllowed { allow: "GET,HEAD,POST" }));
            }
            "create_missing_intent" | "create_bad_json" | "input_bad_kind" => {
                assert!(
                    matches!(&read_back,
                    Err(CommandError::Fault(fault)) if fault.code == FaultCode::InvalidJson),
                    "{name}"
                );
            }
            "transcript_bad_query" => {
                assert!(
                    matches!(&read_back,
                    Err(CommandError::Fault(fault)) if fault.code == FaultCode::InvalidQuery),
                    "{name}"
                );
            }
            _ => {
                let command = read_back.unwrap();
                let sent = command.request(&Access::in_process());
                assert_eq!(sent.uri(), request.uri(), "{name}");
                assert_eq!(sent.method(), request.method(), "{name}");
                let value =
                    |body: &Bytes| serde_json::from_slice::<Value>(body).unwrap_or(serde_json::json!({}));
                if sent.method() == http::Method::POST {
                    assert_eq!(value(sent.body()), value(request.body()), "{name}");
                }
                assert_eq!(Command::from_request(&sent), Ok(command), "{name}");
            }
        }
    }
}

#[test]
fn recorded_replies_are_read_and_written_again_byte_for_byte() {
    let mut replies = 0;
    for Recorded { name, request, response } in recorded() {
        let Ok(command) = Command::from_request(&request) else { continue };
        match read(&command, &response) {
            Ok(reply) => {
                replies += 1;
                assert_eq!(reply.response().body(), response.body(), "{name}");
            }
            Err(rejection) => {
                let (kind, code) = match name.as_str() {
                    "worker_unknown" | "input_unknown_worker" | "stop_unknown_worker" => {
                        (ErrorKind::WorkerNotFound, "worker_not_found")
                    }
                    "unauthorized_missing" => (ErrorKind::RuntimeAuthFailed, "unauthorized"),
                    "input_empty" | "input_after_stop" => (ErrorKind::InvalidRequest, "invalid_request"),
                    "transcript_limit_too_large" => (ErrorKind::InvalidRequest, "limit_too_large"),
                    other => panic!("{other}: {rejection:?}"),
                };
                assert_eq!((rejection.kind, rejection.runtime_code.as_deref()), (kind, Some(code)), "{name}");
                assert!(rejection.not_applied, "{name}");
                let code = FaultCode::from_code(code).unwrap();
                let message = rejection.message.unwrap();
                assert_eq!(Fault::new(code, message).response().body(), response.body(), "{name}");
            }
        }
    }
    assert_eq!(replies, 11);
}

#[test]
fn every_status_has_its_kind() {
    use ErrorKind::*;
    let typed = |code: &str| format!(r#"{{"error":{{"code":"{code}","message":"m"}}}}"#);
    let said = |code: &str, outcome: &str| {
        format!(r#"{{"error":{{"code":"{code}","message":"m","outcome":{outcome}}}}}"#)
    };
    let html = "<html>no</html>";
    for (status, body, kind, not_applied) in [
        (200, html.to_owned(), MalformedResponse, false),
        (200, r#"{"worker":{}}"#.to_owned(), MalformedResponse, false),
        (200, r#"{"worker":"#.to_owned(), MalformedResponse, false),
        (200, String::new(), MalformedResponse, false),
        (204, String::new(), MalformedResponse, false),
        (301, String::new(), UnexpectedRedirect, false),
        (307, typed("worker_not_found"), UnexpectedRedirect, false),
        (400, typed("invalid_request"), InvalidRequest, true),
        (400, html.to_owned(), MalformedResponse, false),
        (401, typed("unauthorized"), RuntimeAuthFailed, true),
        (401, html.to_owned(), RuntimeAuthFailed, true),
        (403, html.to_owned(), RuntimeAuthFailed, true),
        (403, typed("not_allowed"), NotAllowed, true),
        (403, typed("of_tomorrow"), RuntimeAuthFailed, true),
        (400, typed("unknown_profile"), UnknownProfile, true),
        (400, typed("invalid_json"), RuntimeError, true),
        (400, typed("worker_busy"), InvalidRequest, true),
        (404, typed("worker_not_found"), WorkerNotFound, true),
        (404, typed("request_gone"), RequestGone, true),
        (404, typed("no_such_page"), Unsupported, true),
        (404, html.to_owned(), Unsupported, true),
        (404, String::new(), Unsupported, true),
        (405, String::new(), Unsupported, true),
        (409, typed("runtime_stopped"), RuntimeStopped, true),
        (409, typed("worker_busy"), WorkerBusy, true),
        (409, typed("idempotency_conflict"), IdempotencyConflict, true),
        (409, typed("worker_not_running"), WorkerNotRunning, true),
        (409, typed("worker_running"), WorkerRunning, true),
        (409, typed("no_terminal"), Conflict, true),
        (409, typed("request_already_answered"), RequestAlreadyAnswered, true),
        (409, typed("of_tomorrow"), Conflict, true),
        (409, typed("invalid_request"), Conflict, true),
        (409, html.to_owned(), MalformedResponse, false),
        (413, html.to_owned(), PayloadTooLarge, true),
        (418, html.to_owned(), MalformedResponse, false),
        (429, html.to_owned(), RuntimeBusy, true),
        (500, typed("store_io"), RuntimeError, false),
        (500, said("store_io", r#""not_applied""#), RuntimeError, true),
        (500, said("store_io", r#""unknown""#), RuntimeError, false),
        (500, said("store_io", "[7]"), RuntimeError, false),
        (500, said("of_tomorrow", r#""not_applied""#), RuntimeError, false),
        (503, said("store_io", r#""not_applied""#), RuntimeBusy, false),
        (500, html.to_owned(), RuntimeError, false),
        (501, String::new(), Unsupported, true),
        (502, html.to_owned(), RuntimeError, false),
        (503, typed("worker_not_found"), RuntimeBusy, false),
        (503, typed("runtime_full"), RuntimeBusy, true),
        (504, html.to_owned(), RuntimeError, false),
        (999, html.to_owned(), MalformedResponse, false),
    ] {
        let rejection = read(&get("w-1"), &response(status, &body)).unwrap_err();
        assert_eq!((rejection.kind, rejection.not_applied), (kind, not_applied), "{status} {body}");
    }
}

#[test]
fn a_body_that_was_too_large_is_called_so() {
    let typed = r#"{"error":{"code":"invalid_json","message":"length limit exceeded"}}"#;
    for (length, kind) in [(5, ErrorKind::RuntimeError), (2 << 20, ErrorKind::PayloadTooLarge)] {
        let input = Input::new(InputKind::User, "x".repeat(length));
        let command = Command::Input { worker_id: "w".parse().unwrap(), input, key: None };
        let rejection = read(&command, &response(400, typed)).unwrap_err();
        assert_eq!((rejection.kind, rejection.not_applied), (kind, true), "{length}");
    }
}

#[test]
fn a_list_cannot_lack_its_worker() {
    let typed = r#"{"error":{"code":"worker_not_found","message":"m"}}"#;
    let rejection = read(&Command::workers(), &response(404, typed)).unwrap_err();
    assert_eq!(rejection.kind, ErrorKind::Unsupported);
}

#[test]
fn a_reply_about_another_is_refused() {
    let worker = recorded().into_iter().find(|exchange| exchange.name == "worker_detail").unwrap();
    let answer = |body: String| read(&get("worker-00000001"), &response(200, &body));
    let body = String::from_utf8(worker.response.body().to_vec()).unwrap();
    assert!(answer(body.clone()).is_ok());
    for (from, to) in [
        ("worker-00000001", "worker-00000002"),
        ("remote-a", "remote-b"),
        (r#""worker_id":"worker-00000001","status""#, r#""worker_id":"worker-00000002","status""#),
    ] {
        let rejection = answer(body.replace(from, to)).unwrap_err();
        assert_eq!(rejection.kind, ErrorKind::IdentityMismatch, "{from}");
        assert!(!rejection.not_applied);
    }
}

#[test]
fn secrets_go_before_anybody_sees_them() {
    let access = Access::remote("http://rt.example:7700".parse().unwrap(), "t0p-s3cret".parse().ok());
    let hostile = r#"{"workers":[{"worker_ref":{"runtime_id":"remote-a","worker_id":"rt.example:7700"},"runtime_id":"remote-a","worker_id":"rt.example:7700","status":"running","intent":{"kind":"task","objective":"t0p\u002ds3cret"},"profile":{"kind":"named","value":"http:\/\/rt.example:7700"},"requested_capability_count":0,"has_config_bundle":false,"transcript_len":0,"last_event_id":2}]}"#;
    let reply =
        Reply::from_response(&Command::workers(), &runtime_id(), access.scrubber(), &response(200, hostile))
            .unwrap();
    let printed = format!("{reply:?}");
    assert!(!printed.contains("7700") && !printed.contains("t0p"), "{printed}");
    let Reply::Workers(WorkerList { workers, .. }) = reply else { panic!("{printed}") };
    assert_eq!(workers[0].worker_id, REDACTED);
    assert_eq!(workers[0].intent, Intent::Task { objective: REDACTED.into() });

    let fault = format!(r#"{{"error":{{"code":"t0p-s3cret","message":"{}t0p-s3cret"}}}}"#, "x".repeat(507));
    let refused = |status, fault: &str| {
        Reply::from_response(&get("w"), &runtime_id(), access.scrubber(), &response(status, fault))
            .unwrap_err()
    };
    let rejection = refused(409, &fault);
    assert_eq!(rejection.runtime_code.as_deref(), Some(REDACTED));
    assert_eq!(rejection.message.unwrap(), format!("{}[reda", "x".repeat(507)));

    let apart = r#"{"error":{"code":"t0p\u0007-s3cret","message":"at rt.exa\u001bmple"}}"#;
    let rejection = refused(409, apart);
    assert_eq!(rejection.runtime_code.as_deref(), Some(REDACTED));
    assert_eq!(rejection.message.unwrap(), format!("at {REDACTED}"));
}

#[test]
fn the_words_of_a_runtime_that_failed_are_not_repeated() {
    let fault = r#"{"error":{"code":"store_io","message":"cannot write /srv/state/workers.log"}}"#;
    for status in [500, 502, 503] {
        let rejection = read(&get("w"), &response(status, fault)).unwrap_err();
        assert_eq!((rejection.runtime_code.as_deref(), rejection.message), (Some("store_io"), None));
    }
}

#[test]
fn retry_after_is_read_and_bounded() {
    let wait = |headers: &[(&str, &str)]| {
        let mut answer = Response::builder().status(503);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        read(&Command::workers(), &answer.body(Bytes::new()).unwrap()).unwrap_err().retry_after
    };
    assert_eq!(wait(&[]), None);
    assert_eq!(wait(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
    assert_eq!(wait(&[("retry-after", "99999999")]), Some(MAX_RETRY_AFTER));
    assert_eq!(wait(&[("retry-after", "soon")]), None);
    let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(
        wait(&[date, ("retry-after", "Sun, 06 Nov 1994 08:49:57 GMT")]),
        Some(Duration::from_secs(20))
    );
    assert_eq!(wait(&[date, ("retry-after", "Sun, 06 Nov 1994 08:49:07 GMT")]), Some(Duration::ZERO));
    assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:49:57 GMT")]), None);
}

#[test]
fn one_odd_thing_costs_that_thing() {
    let exchange = |name: &str| recorded().into_iter().find(|exchange| exchange.name == name).unwrap();
    let page = exchange("transcript_default");
    let body = String::from_utf8(page.response.body().to_vec()).unwrap();
    let command = Command::from_request(&page.request).unwrap();
    let read = |body: &str| match read(&command, &response(200, body)).unwrap() {
        Reply::Transcript(page) => page,
        other => panic!("{other:?}"),
    };
    let whole = read(&body);
    let (content, role) = (&whole.items[0].content, &whole.items[0].role);
    let half = read(&body.replacen(&serde_json::json!(content).to_string(), r#""cut \ud83d""#, 1));
    assert_eq!((half.items[0].content.as_str(), half.left_out), ("cut \u{fffd}", 0));
    let odd = read(&body.replacen(&format!(r#""role":"{role}""#), r#""role":null"#, 1));
    assert_eq!((odd.items.len(), odd.left_out), (whole.items.len() - 1, 1));
    assert_eq!(odd.total_items, whole.total_items);
}

#[test]
fn whatever_is_odd_the_rest_is_bounded_work() {
    let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
    let body = format!(r#"{{"workers":[{deep},{{"x":1e400}},7],"more":{deep}}}"#);
    let Ok(Reply::Workers(list)) = read(&Command::workers(), &response(200, &body)) else { panic!() };
    assert_eq!((list.workers.len(), list.left_out), (0, 3));
}
