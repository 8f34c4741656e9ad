use sekisho_core::gateway_client::Severity;

use super::*;

fn request(runtime_id: &str, request_id: &str) -> RequestView {
    RequestView {
        runtime_id: runtime_id.parse().unwrap(),
        worker_id: "w".parse().unwrap(),
        request_id: request_id.parse().unwrap(),
        kind: "permission".into(),
        title: "Write?".into(),
        detail: None,
        tool_call_id: None,
        options: Vec::new(),
        opened_at: "2026-01-10T12:00:00Z".into(),
        expires_at: None,
    }
}

fn reply(requests: &[(&str, &str)], warned: &[Diagnostic]) -> RequestsReply {
    let requests = requests.iter().map(|(runtime_id, request_id)| request(runtime_id, request_id)).collect();
    RequestsReply { requests, diagnostics: warned.to_vec() }
}

fn away(runtime_id: &str) -> Diagnostic {
    let runtime_id = Some(runtime_id.parse().unwrap());
    Diagnostic { runtime_id, ..Diagnostic::new("network_error", Severity::Warning, "m") }
}

#[test]
fn each_question_is_told_once_when_it_opens_and_once_when_it_is_gone() {
    let mut open = OpenSet::default();
    let (first, second) = (request("a", "r1"), request("b", "r1"));
    assert_eq!(open.handle(reply(&[("a", "r1")], &[])), [Change::Opened(first.clone())]);
    assert_eq!(open.handle(reply(&[("a", "r1")], &[])), []);
    let changes = open.handle(reply(&[("b", "r1")], &[]));
    assert_eq!(changes, [Change::Gone(first), Change::Opened(second.clone())]);
    assert_eq!(open.handle(reply(&[], &[])), [Change::Gone(second.clone())]);
    assert_eq!(open.handle(reply(&[("b", "r1")], &[])), [Change::Opened(second)]);
}

#[test]
fn a_question_of_a_runtime_that_does_not_answer_is_not_gone() {
    let mut open = OpenSet::default();
    open.handle(reply(&[("a", "r1"), ("b", "r1")], &[]));
    let changes = open.handle(reply(&[], &[away("a")]));
    assert_eq!(changes, [Change::Warned(away("a")), Change::Gone(request("b", "r1"))]);
    assert_eq!(open.handle(reply(&[], &[away("a")])), [], "warned of once");
    assert_eq!(open.handle(reply(&[("a", "r1")], &[])), [], "it has been open all the time");
    let changes = open.handle(reply(&[("a", "r2")], &[away("a")]));
    let gone = Change::Gone(request("a", "r1"));
    assert_eq!(changes, [Change::Warned(away("a")), gone, Change::Opened(request("a", "r2"))]);
}
