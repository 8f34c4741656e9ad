use serde_json::json;

use super::super::keys::Key;
use super::super::session::{Session, UserAction};
use super::*;

fn request(request_id: &str, options: &[&str]) -> Value {
    let options: Vec<Value> = options.iter().map(|id| json!({"option_id": id, "name": id})).collect();
    json!({"request_id": request_id, "title": "Write?", "options": options})
}

fn opened(request: &Value) -> Value {
    json!({"event": "system_item", "data": {"item": {"kind": "request", "request": request}}})
}

fn resolved(request_id: &str) -> Value {
    json!({"event": "system_item", "data": {"item": {"kind": "request_resolved", "request_id": request_id}}})
}

fn open(requests: &[Value]) -> OpenRequests {
    let mut open = OpenRequests::default();
    requests.iter().for_each(|request| assert!(open.handle(&opened(request))));
    open
}

fn line(session: &mut Session, text: &str) -> Option<UserAction> {
    text.chars().for_each(|character| assert_eq!(session.key(Key::Char(character)), None));
    session.key(Key::Enter)
}

fn answer(request_id: &str, option_id: &str) -> Option<UserAction> {
    Some(UserAction::Answer { request_id: request_id.parse().unwrap(), option_id: option_id.into() })
}

fn say(text: &str) -> Option<UserAction> {
    Some(UserAction::Say(text.into()))
}

#[test]
fn the_stream_tells_which_questions_are_open() {
    let (first, second) = (request("r1", &["yes", "no"]), request("r2", &["ok"]));
    let mut requests = open(&[first.clone(), second.clone()]);
    assert!(!requests.handle(&opened(&first)), "told twice");
    assert!(!requests.handle(&opened(&request("r3", &[]))), "no number answers it");
    assert!(!requests.handle(&resolved("r9")));
    assert_eq!(requests.oldest().unwrap().hint(), "1-2 answers r1");
    assert!(requests.handle(&resolved("r1")));
    assert_eq!(requests.oldest().unwrap().hint(), "1 answers r2");
    let snapshot = |requests: &[Value]| json!({"event": "snapshot", "data": {"requests": requests}});
    assert!(requests.handle(&snapshot(&[first, second])));
    assert_eq!(requests.oldest().unwrap().request_id.as_str(), "r1");
    assert!(requests.handle(&json!({"event": "snapshot", "data": {}})));
    assert_eq!(requests, OpenRequests::default());
    for odd in [json!(7), json!({"event": "system_item", "data": {"item": {"kind": "request"}}})] {
        assert!(!requests.handle(&odd), "{odd}");
    }
    let many = (0..1000).filter(|n| requests.handle(&opened(&request(&format!("r{n}"), &["x"])))).count();
    assert_eq!(many, MAX_OPEN);
}

#[test]
fn a_digit_is_the_answer_to_the_oldest_question_that_is_open() {
    let mut session = Session::default();
    assert_eq!(line(&mut session, "1"), say("1"), "no question is open");
    session.set_requests(open(&[request("r1", &["yes", "no"]), request("r2", &["ok"])]));
    assert_eq!(line(&mut session, "2"), answer("r1", "no"));
    for digit in ["0", "3"] {
        let refused = line(&mut session, digit);
        assert!(matches!(refused, Some(UserAction::NoSuchOption(_))), "{digit}: {refused:?}");
    }
    for message in [" 1", "12", "01", "1 ", "1\u{661}", "one", ""] {
        assert_eq!(line(&mut session, message), say(message), "{message:?}");
    }
    session.set_requests(open(&[request("r2", &["ok"])]));
    assert_eq!(line(&mut session, "1"), answer("r2", "ok"));
    session.key(Key::Up);
    assert_eq!(session.line().text(), "one", "answers are in no history");
}

#[test]
fn options_above_nine_have_numbers_too() {
    let options: Vec<String> = (1..=12).map(|n| format!("o{n}")).collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let mut session = Session::default();
    session.set_requests(open(&[request("r1", &options)]));
    assert_eq!(line(&mut session, "12"), answer("r1", "o12"));
    assert_eq!(line(&mut session, "13"), say("13"));
}

#[test]
fn a_digit_never_answers_a_question_that_came_after_it() {
    let mut session = Session::default();
    session.set_requests(open(&[request("r1", &["yes"])]));
    session.key(Key::Char('1'));
    // Another viewer answers the first one just now, and the agent asks something else.
    session.set_requests(open(&[request("r2", &["yes"])]));
    assert_eq!(session.asked().unwrap().request_id.as_str(), "r1");
    assert_eq!(session.key(Key::Enter), answer("r1", "yes"));
    assert_eq!(session.asked().unwrap().request_id.as_str(), "r2");
    session.set_requests(OpenRequests::default());
    session.key(Key::Char('1'));
    session.set_requests(open(&[request("r3", &["yes"])]));
    assert_eq!(session.key(Key::Enter), say("1"), "it was a message when it was begun");
}

#[test]
fn a_secret_is_never_an_answer() {
    let mut session = Session::default();
    session.set_requests(open(&[request("r1", &["yes"])]));
    session.key(Key::Control('x'));
    session.key(Key::Control('p'));
    assert_eq!(line(&mut session, "1"), Some(UserAction::SaySecret("1".into())));
}

#[test]
fn what_became_of_an_answer_is_told() {
    let request_id: RequestId = "r1".parse().unwrap();
    let problem = |code: &str| {
        let mut problem = Problem::unexpected_body();
        problem.code = code.to_owned().into();
        Err(Box::new(problem))
    };
    assert_eq!(told(&request_id, "yes", Ok(Bytes::new())).unwrap(), "r1 is answered: yes");
    let late = told(&request_id, "yes", problem("request_already_answered")).unwrap();
    assert!(late.contains("another answer was first (request_already_answered)"), "{late}");
    assert!(told(&request_id, "yes", problem("request_gone")).is_err());
}
