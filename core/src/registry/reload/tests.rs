use super::*;
use crate::call::{CallInput, CallOutput};
use crate::error::{ErrorKind, NetworkPhase};
use crate::registry::{FAILURES_TO_OPEN, Load, Reachability};
use crate::runtime_api::Command;
use crate::secret::{Access, REDACTED};
use crate::transport::{Failure, FailureCause};
use std::time::Instant;

fn spec(runtime_id: &str, port: u16, token: &str) -> RuntimeSpec {
    let base_url = format!("http://127.0.0.1:{port}").parse().unwrap();
    let access = Access::remote(base_url, token.parse().ok());
    RuntimeSpec { access, ..RuntimeSpec::embedded(runtime_id.parse().unwrap()) }
}

fn ids(ids: &[&str]) -> Vec<RuntimeId> {
    ids.iter().map(|id| id.parse().unwrap()).collect()
}

#[expect(clippy::disallowed_methods, reason = "an instant has no other origin")]
fn now() -> Instant {
    Instant::now()
}

/// Fails a call to a runtime that nothing listens for.
fn fail(registry: &mut Registry, now: Instant, runtime_id: &str) -> Result<(), ErrorKind> {
    let runtime_id = runtime_id.parse().unwrap();
    let call = registry.call(now, &runtime_id, Command::workers(), None);
    let mut call = call.map_err(|error| error.kind())?;
    let mut clock = now;
    loop {
        match call.poll(clock) {
            CallOutput::Send(attempt) => {
                let refused = Failure::unsent(FailureCause::Network(NetworkPhase::Connect));
                call.handle(clock, CallInput::Failed(attempt.id, refused));
            }
            CallOutput::RefreshCredential => call.handle(clock, CallInput::Credential(None)),
            CallOutput::Wait { until, .. } => clock = until,
            CallOutput::Done(_) => break,
        }
    }
    registry.finish(now, call);
    Ok(())
}

#[test]
fn what_stays_is_known_and_what_is_new_is_not() {
    let now = now();
    let mut one = Registry::new(vec![spec("a", 1, "tok-a"), spec("b", 2, "tok-b")], 1).unwrap();
    let mut other = one.clone();
    while fail(&mut one, now, "a").is_ok() {}
    let under_way = one.call(now, &"b".parse().unwrap(), Command::workers(), None).unwrap();

    let specs = vec![spec("c", 3, "tok-c"), spec("a", 1, "tok-a"), spec("b", 4, "tok-b")];
    let next = one.reconfigured(specs).unwrap();
    assert_eq!(next.runtime_ids(), ids(&["c", "a", "b"]));
    for registry in [&mut one, &mut other] {
        let adopted = registry.adopt(&next);
        let expected = Adopted { added: ids(&["c"]), replaced: ids(&["b"]), gone: Vec::new() };
        assert_eq!(adopted, expected);
        assert!(registry.adopt(&next).is_empty());
    }
    // The one that failed knows so, and the other does not, as before.
    assert_eq!(fail(&mut one, now, "a"), Err(ErrorKind::RuntimeUnavailable));
    assert_eq!(fail(&mut other, now, "a"), Ok(()));
    // The call to where b was does not count where it is now, and teaches nothing of it.
    let b = "b".parse().unwrap();
    assert_eq!(one.load(&b), Some(Load::default()));
    assert!(one.finish(now, under_way).is_none());
    assert_eq!(one.health(&b).unwrap().reachability, Reachability::Unknown);

    let adopted = one.adopt(&next.reconfigured(vec![spec("b", 4, "tok-b")]).unwrap());
    let end = |runtime: &str| {
        let worker = WorkerRef { runtime_id: runtime.parse().unwrap(), worker_id: "w".parse().unwrap() };
        adopted.end_of_stream(&worker).map(|error| error.kind())
    };
    assert_eq!((end("a"), end("b")), (Some(ErrorKind::UnknownRuntime), None));
    assert_eq!(adopted, Adopted { gone: ids(&["c", "a"]), ..Adopted::default() });
    assert_eq!(fail(&mut one, now, "a"), Err(ErrorKind::UnknownRuntime));
}

#[test]
fn what_one_loop_learned_of_where_a_runtime_was_is_not_applied_to_where_it_is() {
    let now = now();
    let mut one = Registry::new(vec![spec("a", 1, "t")], 1).unwrap();
    let mut other = one.clone();
    other.adopt(&one.reconfigured(vec![spec("a", 2, "t")]).unwrap());
    let a = "a".parse().unwrap();
    for _ in 0..FAILURES_TO_OPEN {
        let call = one.call(now, &a, Command::workers(), None).unwrap();
        let error = crate::error::Error::new(ErrorKind::Network(NetworkPhase::Connect));
        drop(call);
        if let Some(change) = one.observed(now, &a, Err(&error)) {
            other.apply(change);
        }
    }
    assert_eq!(one.health(&a).unwrap().reachability, Reachability::Unreachable);
    assert_eq!(other.health(&a).unwrap().reachability, Reachability::Unknown);
}

#[test]
fn secrets_stay_secret_and_tokens_are_replaced_at_once() {
    let now = now();
    let mut registry = Registry::new(vec![spec("a", 1, "tok-a"), spec("b", 2, "tok-b")], 1).unwrap();
    let mut call = registry.call(now, &"a".parse().unwrap(), Command::workers(), None).unwrap();
    let next = registry.reconfigured(vec![spec("a", 1, "new-a"), spec("c", 3, "tok-c")]).unwrap();
    let CallOutput::Send(attempt) = call.poll(now) else { panic!("it begins with an attempt") };
    assert_eq!(attempt.request.headers()["authorization"], "Bearer new-a");
    registry.adopt(&next);
    let entry = &registry.entries[&"c".parse().unwrap()];
    let text = "tok-a new-a tok-b tok-c";
    assert_eq!(entry.access.scrubber().text(text), [REDACTED; 4].join(" "));
}

#[test]
fn a_runtime_that_comes_and_goes_costs_what_one_does() {
    let stays = || spec("stays", 1, "tok");
    let mut registry = Registry::new(vec![stays()], 1).unwrap();
    let mut comes = |specs: Vec<RuntimeSpec>| {
        registry = registry.reconfigured(specs).unwrap();
        registry.entries.values().map(|entry| entry.access.index()).max()
    };
    for _ in 0..10 {
        assert_eq!(comes(vec![stays(), spec("guest", 2, "tok-g")]), Some(1));
        assert_eq!(comes(vec![stays()]), Some(0));
    }
    // Two that lead to the same place have a token each.
    assert_eq!(comes(vec![stays(), spec("guest", 2, "tok-g"), spec("other", 2, "tok-o")]), Some(2));
    assert_eq!(comes(vec![stays(), spec("guest", 3, "tok-g")]), Some(3));
    assert_eq!(comes(vec![stays(), spec("guest", 2, "tok-g")]), Some(1));
}

#[test]
fn two_of_one_id_are_refused_before_anything_changes() {
    let registry = Registry::new(vec![spec("a", 1, "tok-a")], 1).unwrap();
    let twice = registry.reconfigured(vec![spec("a", 1, "new"), spec("a", 2, "new")]);
    assert_eq!(twice.err(), Some(DuplicateRuntime("a".parse().unwrap())));
    let entry = &registry.entries[&"a".parse().unwrap()];
    assert!(entry.access.has_token(&"tok-a".parse().unwrap()));
}

#[test]
fn a_token_that_is_taken_away_is_not_shown_any_more() {
    let authorization = |registry: &mut Registry| {
        let now = now();
        let mut call = registry.call(now, &"a".parse().unwrap(), Command::workers(), None).unwrap();
        let CallOutput::Send(attempt) = call.poll(now) else { panic!("it is sent") };
        attempt.request.headers().contains_key("authorization")
    };
    let mut registry = Registry::new(vec![spec("a", 1, "tok-a")], 1).unwrap();
    assert!(authorization(&mut registry));
    let next = registry.reconfigured(vec![spec("a", 1, "")]).unwrap();
    assert_eq!(registry.adopt(&next).replaced, ids(&["a"]));
    assert!(!authorization(&mut registry));
    // And a new one is shown at once.
    let next = registry.reconfigured(vec![spec("a", 1, "tok-b")]).unwrap();
    assert!(registry.adopt(&next).is_empty());
    assert!(authorization(&mut registry));
}
