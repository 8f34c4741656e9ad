use bytes::Bytes;
use http::header;
use http::request::Parts;
use http::{Method, Request};
use sekisho_core::browser_api::{AccessGuard, Action, Decision, Form, Observation, Route, Wanted, problem};
use sekisho_core::error::{Error, ErrorKind, MAX_RUNTIME_TEXT, Outcome};
use sekisho_core::runtime_api::Command;
use sekisho_core::secret::Access;
use serde_json::Value;

use super::message::Message;

/// The input is a request: method and target, headers, an empty line, the body. Whatever it asks for can be asked of a
/// runtime and be asked for again; a refusal is the client's own, and a problem that says so.
pub fn browser_request(data: &[u8]) {
    let Some(request) = read(data) else { return };
    let (head, body) = request.into_parts();
    let admitted = examine(&head);
    match (Route::parse(&head), Observation::parse(&head)) {
        (Err(error), None) => assert_refusal(&error, &head.method),
        (Err(error), Some(observation)) => {
            assert_eq!(error.kind(), ErrorKind::UnknownRoute);
            match observation {
                Err(error) => assert_refusal(&error, &head.method),
                Ok(Observation { of: Err(error), .. }) => assert_refusal(&error, &head.method),
                Ok(Observation { of: Ok(wanted), form, .. }) => {
                    assert_eq!(head.method, Method::GET);
                    let cursor = matches!(wanted, Wanted::Worker(viewed) if viewed.cursor.is_some());
                    let asked = head.uri.query().is_some() || form == Form::ServerSentEvents;
                    assert!(!cursor || asked, "the request has no cursor");
                }
            }
        }
        (Ok(route), None) => {
            let takes_body = route.takes_body();
            assert!(!takes_body || head.method == Method::POST);
            match route.action(&body) {
                Ok(action) => assert_asked_again(&action),
                Err(error) => {
                    assert!(takes_body, "a body that is not read is refused");
                    assert_refusal(&error, &head.method);
                }
            }
        }
        (Ok(_), Some(_)) => panic!("{} is two routes at once", head.uri.path()),
    }
    let probe = ["/livez", "/healthz", "/readyz"].contains(&head.uri.path());
    if admitted && !probe {
        assert_eq!(head.headers.get_all(header::HOST).iter().count(), 1);
    }
}

fn read(data: &[u8]) -> Option<Request<Bytes>> {
    let Message { first, headers, body } = Message::read(data)?;
    let (method, uri) = first.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(uri).body(body).ok()?;
    *request.headers_mut() = headers;
    Some(request)
}

/// Whether the access guard admits it.
fn examine(head: &Parts) -> bool {
    let hosts = vec!["gate.example".parse().unwrap()];
    let origins = vec!["https://app.example".parse().unwrap()];
    let guard = AccessGuard::new(hosts, origins, "gate-token".parse().ok());
    match guard.examine(head).decision {
        Decision::Admitted => {
            let guarded = head.uri.path().starts_with("/api/");
            let shown = head.headers.iter().any(|(_, value)| {
                value.as_bytes().windows(b"gate-token".len()).any(|part| part == b"gate-token")
            });
            assert!(!guarded || shown, "the request does not carry the token");
            true
        }
        Decision::Preflight(response) => {
            assert!(head.method == Method::OPTIONS && response.body().is_empty());
            false
        }
        Decision::Refused(error) => {
            assert_refusal(&error, &head.method);
            false
        }
    }
}

fn assert_refusal(error: &Error, method: &Method) {
    let response = problem(error);
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert!(response.status().is_client_error(), "{error}");
    assert_eq!(body["status"], response.status().as_u16());
    assert_eq!(body["code"], error.kind().code());
    assert_eq!(body["origin"], "client");
    assert_eq!(error.outcome(), (!method.is_safe()).then_some(Outcome::NotApplied), "{error}");
    let detail = error.detail();
    assert!(detail.chars().count() <= MAX_RUNTIME_TEXT && !detail.contains(char::is_control), "{detail:?}");
}

/// What a request was understood as is understood again, by a gateway and by the runtime behind it.
fn assert_asked_again(action: &Action) {
    let (head, body) = action.request().into_parts();
    let again = Route::parse(&head).and_then(|route| route.action(&body));
    assert_eq!(again.as_ref(), Ok(action));
    if let Action::Command { command, .. } = action {
        let request = command.request(&Access::in_process());
        assert_eq!(Command::from_request(&request).as_ref(), Ok(command));
    }
}
