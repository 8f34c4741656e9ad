use bytes::Bytes;
use http::Response;

use super::*;
use crate::call::{CallInput, CallOutput};
use crate::error::{NetworkPhase, Outcome};
use crate::runtime_api::{CreateWorker, Intent, Profile, RuntimeStatus};
use crate::transport::{Attempt, Failure, FailureCause, IdlePool, Pooled, Via};
use crate::watch::GIVE_UP_AFTER;

fn id(text: &str) -> RuntimeId {
    text.parse().unwrap()
}

fn spec(runtime_id: &str, max_in_flight: usize) -> RuntimeSpec {
    RuntimeSpec {
        runtime_id: id(runtime_id),
        display_name: None,
        kind: RuntimeKind::Remote,
        access: Access::remote("http://127.0.0.1:1".parse().unwrap(), "token".parse().ok()),
        limits: CallLimits::default(),
        max_in_flight,
        give_up_after: GIVE_UP_AFTER,
    }
}

fn registry(max_in_flight: usize) -> Registry {
    Registry::new(vec![spec("b", max_in_flight), spec("a", max_in_flight)], 1).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "an instant has no other origin")]
fn epoch() -> Instant {
    Instant::now()
}

/// Runs a call to its end with the same answer to each attempt.
fn run(
    registry: &mut Registry,
    now: Instant,
    command: Command,
    answer: Result<(u16, &str), Failure>,
) -> Option<Change> {
    let call = registry.call(now, &id("a"), command, None).unwrap();
    finish(registry, now, call, answer)
}

fn finish(
    registry: &mut Registry,
    now: Instant,
    mut call: Call,
    answer: Result<(u16, &str), Failure>,
) -> Option<Change> {
    let mut clock = now;
    loop {
        match call.poll(clock) {
            CallOutput::Send(attempt) => {
                let input = match answer {
                    Ok((status, body)) => {
                        let body = Bytes::copy_from_slice(body.as_bytes());
                        CallInput::Response(
                            attempt.id,
                            Response::builder().status(status).body(body).unwrap(),
                        )
                    }
                    Err(failure) => CallInput::Failed(attempt.id, failure),
                };
                call.handle(clock, input);
            }
            CallOutput::RefreshCredential => {
                call.handle(clock, CallInput::Credential("new-token".parse().ok()))
            }
            CallOutput::Wait { until, .. } => clock = until,
            CallOutput::Done(_) => return registry.finish(now, call),
        }
    }
}

const REFUSED: Failure = Failure { cause: FailureCause::Network(NetworkPhase::Connect), sent: false };
const LIST: Result<(u16, &str), Failure> = Ok((200, r#"{"workers":[]}"#));
/// A worker of another runtime.
const OTHER: Result<(u16, &str), Failure> = Ok((
    200,
    r#"{"workers":[{"worker_ref":{"runtime_id":"b","worker_id":"w"},"runtime_id":"b","worker_id":"w","status":"running",
    "intent":{"kind":"assistant"},"profile":{"kind":"runtime_default"},"requested_capability_count":0,
    "has_config_bundle":false,"transcript_len":0,"last_event_id":0}]}"#,
));
const SUMMARY: &str = r#"{"runtime":{"runtime_id":"a","display_name":null,"backend":"memory","status":"running",
    "worker_count":3,"active_worker_count":1,"stopped_worker_count":1,"cancelled_worker_count":1,"diagnostic_count":0,
    "limits":{"max_transcript_projection_items":256,"max_event_batch_items":256},"features":["idempotency"]}}"#;

#[test]
fn ids_are_unique_and_keep_their_order() {
    assert_eq!(registry(1).runtime_ids(), [id("b"), id("a")]);
    let twice = Registry::new(vec![spec("a", 1), spec("b", 1), spec("a", 1)], 1);
    assert_eq!(twice.err(), Some(DuplicateRuntime(id("a"))));
}

#[test]
fn an_unknown_runtime_is_refused() {
    let command = Command::Stop { worker_id: "w".parse().unwrap(), reason: Default::default() };
    let error = registry(1).call(epoch(), &id("c"), command, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownRuntime);
    assert_eq!(error.outcome(), Some(Outcome::NotApplied));
}

#[test]
fn the_share_is_counted_over_all_clones_and_given_back() {
    let mut registry = registry(2);
    let mut clone = registry.clone();
    let now = epoch();
    let first = registry.call(now, &id("a"), Command::workers(), None).unwrap();
    let second = clone.call(now, &id("a"), Command::workers(), None).unwrap();
    for full in [&mut registry, &mut clone] {
        let error = full.call(now, &id("a"), Command::workers(), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RuntimeUnavailable);
        assert_eq!(error.retry_after(), Some(SHARE_RETRY_AFTER));
        assert!(
            full.call(now, &id("b"), Command::workers(), None).is_ok(),
            "another runtime's share is its own"
        );
    }
    let load = registry.load(&id("a"));
    assert_eq!(load, Some(Load { in_flight: 2, refused_for_share: 2, ..Load::default() }));
    assert_eq!(clone.load(&id("a")), load);
    drop(first);
    assert!(clone.call(now, &id("a"), Command::workers(), None).is_ok());
    drop(second);
}

#[test]
fn reachability_follows_how_calls_end() {
    let now = epoch();
    for (answer, reachability, seen) in [
        (LIST, Reachability::Reachable, true),
        (Ok((401, "")), Reachability::Unauthorized, false),
        (Ok((403, "<html>")), Reachability::Unauthorized, false),
        (Ok((302, "")), Reachability::Reachable, true),
        (Ok((200, "<html>")), Reachability::Reachable, true),
        (Ok((404, "")), Reachability::Reachable, true),
        (Ok((502, "<html>")), Reachability::Reachable, true),
        (OTHER, Reachability::Misdirected, false),
        (Err(REFUSED), Reachability::Unreachable, false),
    ] {
        let mut registry = registry(1);
        run(&mut registry, now, Command::workers(), answer);
        let health = registry.health(&id("a")).unwrap();
        assert_eq!(
            (health.reachability, health.last_seen),
            (reachability, seen.then_some(now)),
            "{answer:?}"
        );
        assert_eq!(registry.health(&id("b")).unwrap().reachability, Reachability::Unknown);
    }
}

#[test]
fn what_is_unsupported_is_learned_and_unlearned() {
    let (mut registry, now) = (registry(1), epoch());
    run(&mut registry, now, Command::workers(), Ok((501, "")));
    assert!(registry.health(&id("a")).unwrap().unsupported.contains(&Operation::ListWorkers));
    run(&mut registry, now, Command::workers(), LIST);
    assert!(registry.health(&id("a")).unwrap().unsupported.is_empty());
}

#[test]
fn a_runtime_that_keeps_failing_is_left_alone_and_found_again() {
    let (mut registry, mut now) = (registry(1), epoch());
    while registry.call(now, &id("a"), Command::workers(), None).is_ok() {
        run(&mut registry, now, Command::workers(), Err(REFUSED));
    }
    let error = registry.call(now, &id("a"), Command::workers(), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RuntimeUnavailable);
    assert!(registry.call(now, &id("b"), Command::workers(), None).is_ok());
    assert!(registry.probes(now).is_empty());
    now += error.retry_after().unwrap();
    let refused = registry.call(now, &id("a"), Command::workers(), None).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::RuntimeUnavailable, "no client's call is the probe");

    // Of all clones one asks at a time.
    let mut clone = registry.clone();
    let probe = registry.probes(now).pop().unwrap();
    assert!(probe.is_probe() && registry.probes(now).is_empty() && clone.probes(now).is_empty());
    let failed = finish(&mut registry, now, probe, Err(REFUSED)).unwrap();
    clone.apply(failed);
    assert!(clone.probes(now).is_empty(), "it asks again later");
    now += LONGEST_COOLDOWN;
    // One that was dropped half-way is not waited for.
    drop(registry.probes(now));
    let probe = clone.probes(now).pop().unwrap();
    registry.apply(finish(&mut clone, now, probe, Ok((200, SUMMARY))).unwrap());
    for clone in [&mut registry, &mut clone] {
        assert!(clone.call(now, &id("a"), Command::workers(), None).is_ok());
        assert!(clone.probes(now).is_empty());
    }
}

#[test]
fn clones_hear_of_what_changed_and_of_nothing_else() {
    let (mut registry, now) = (registry(1), epoch());
    let mut clone = registry.clone();
    let change = run(&mut registry, now, Command::Runtime, Ok((200, SUMMARY))).unwrap();
    clone.apply(change);
    assert_eq!(clone.health(&id("a")), registry.health(&id("a")));
    assert_eq!(clone.health(&id("a")).unwrap().status(), RuntimeStatus::Running);

    let soon = now + Duration::from_millis(500);
    assert!(run(&mut registry, soon, Command::workers(), LIST).is_none());
    let later = now + Duration::from_secs(1);
    clone.apply(run(&mut registry, later, Command::workers(), LIST).unwrap());
    assert_eq!(clone.health(&id("a")).unwrap().last_seen, Some(later));
    // What a clone has seen later than the others stays seen.
    let much_later = later + Duration::from_secs(60);
    run(&mut clone, much_later, Command::workers(), LIST);
    clone.apply(run(&mut registry, later, Command::workers(), Err(REFUSED)).unwrap());
    assert_eq!(clone.health(&id("a")).unwrap().last_seen, Some(much_later));
    assert_eq!(clone.health(&id("a")).unwrap().reachability, Reachability::Unreachable);
    assert!(
        run(&mut registry, later, Command::workers(), Err(REFUSED)).is_some(),
        "all failures count together"
    );
}

/// The call that creates a worker under a key.
fn keyed_create(registry: &mut Registry, now: Instant) -> Call {
    let worker = CreateWorker {
        requested_capabilities: vec![],
        ..CreateWorker::new(Intent::Assistant { purpose: None }, Profile::default())
    };
    registry
        .call(now, &id("a"), Command::Create { worker: Box::new(worker), key: "key".parse().ok() }, None)
        .unwrap()
}

#[track_caller]
fn next_attempt(call: &mut Call, now: Instant) -> Attempt {
    match call.poll(now) {
        CallOutput::Send(attempt) => attempt,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_the_runtime_can_do_is_asked_before_it_matters() {
    let (mut registry, now) = (registry(1), epoch());
    let mut call = keyed_create(&mut registry, now);
    let question = next_attempt(&mut call, now);
    assert_eq!((question.request.method().as_str(), question.request.uri().path()), ("GET", "/v1/runtime"));
    call.handle(now, CallInput::Response(question.id, Response::new(SUMMARY.into())));
    let attempt = next_attempt(&mut call, now);
    assert_eq!(attempt.request.method(), "POST");
    let reset = Failure::sent(FailureCause::Network(NetworkPhase::Receive));
    call.handle(now, CallInput::Failed(attempt.id, reset));
    assert!(matches!(call.poll(now), CallOutput::Wait { .. }), "the runtime honours keys: it is tried again");
    registry.finish(now, call);
    assert!(registry.health(&id("a")).unwrap().has(Feature::Idempotency));
}

#[test]
fn a_connection_that_is_identified_is_used_without_a_question() {
    let (mut registry, now) = (registry(1), epoch());
    let mut clone = registry.clone();
    let mut pool = IdlePool::default();
    let mut call = keyed_create(&mut registry, now);
    let question = next_attempt(&mut call, now);
    let mut connection = Pooled::new(());
    connection.used_by(&question.via);
    pool.keep(now, connection);
    let Attempt { id, via, .. } = question;
    drop(via);
    call.handle(now, CallInput::Response(id, Response::new(SUMMARY.into())));
    let attempt = next_attempt(&mut call, now);
    assert!(pool.take(now, &attempt.via, attempt.limits.max_idle).map(|it| pool.keep(now, it)).is_some());
    let broken = Failure::sent(FailureCause::CutShort);
    call.handle(now, CallInput::Failed(attempt.id, broken));
    assert!(matches!(call.poll(now), CallOutput::Done(Err(_))));
    let change = registry.finish(now, call);

    let next = next_attempt(&mut keyed_create(&mut registry, now), now);
    assert!(matches!(next.via, Via::Identified));
    clone.apply(change.unwrap());
    let elsewhere = next_attempt(&mut keyed_create(&mut clone, now), now);
    assert!(matches!(elsewhere.via, Via::Identify(_)), "a clone has connections of its own");
    pool.prune(now, |()| false);
    let later = next_attempt(&mut keyed_create(&mut registry, now), now);
    assert!(matches!(later.via, Via::Identify(_)), "the connection is gone");
}

#[test]
fn a_token_that_is_replaced_is_used_and_scrubbed_everywhere() {
    let (mut registry, now) = (registry(1), epoch());
    let mut clone = registry.clone();
    let mut under_way = clone.call(now, &id("b"), Command::workers(), None).unwrap();
    let attempt = next_attempt(&mut under_way, now);
    run(&mut registry, now, Command::workers(), Ok((401, "")));
    for registry in [&mut registry, &mut clone] {
        let mut call = registry.call(now, &id("a"), Command::workers(), None).unwrap();
        assert_eq!(next_attempt(&mut call, now).request.headers()["authorization"], "Bearer new-token");
    }
    clone.rotate(&id("a"), "newest-token".parse().unwrap());
    let mut call = registry.call(now, &id("a"), Command::workers(), None).unwrap();
    assert_eq!(next_attempt(&mut call, now).request.headers()["authorization"], "Bearer newest-token");

    // Another runtime, which was asked before, must not tell it either.
    let words = r#"{"error":{"code":"x","message":"newest-token, new-token"}}"#;
    let response = Response::builder().status(400).body(words.into()).unwrap();
    under_way.handle(now, CallInput::Response(attempt.id, response));
    let CallOutput::Done(Err(error)) = under_way.poll(now) else { panic!() };
    assert!(error.detail().ends_with(": [redacted], [redacted]"), "{}", error.detail());
}

#[test]
fn what_befalls_one_runtime_does_not_change_how_long_another_is_paused_for() {
    let now = epoch();
    let unsent = || Failure::unsent(FailureCause::Network(NetworkPhase::Connect));
    let pause = |calls_to_another: usize| {
        let mut registry = registry(64);
        for _ in 0..calls_to_another {
            run(&mut registry, now, Command::workers(), Err(unsent()));
        }
        let mut call = registry.call(now, &id("b"), Command::workers(), None).unwrap();
        let CallOutput::Send(attempt) = call.poll(now) else { panic!() };
        call.handle(now, CallInput::Failed(attempt.id, unsent()));
        let CallOutput::Wait { until, .. } = call.poll(now) else { panic!() };
        until - now
    };
    assert_eq!(pause(0), pause(1));
    assert_eq!(pause(0), pause(FAILURES_TO_OPEN as usize));
}

#[test]
fn who_may_not_see_a_worker_is_told_so() {
    struct DenyAll;
    impl Policy for DenyAll {
        fn permits(&self, _: Operation, _: &RuntimeId, _: Option<&crate::id::WorkerId>) -> bool {
            false
        }
    }
    let worker = WorkerRef { runtime_id: id("a"), worker_id: "w".parse().unwrap() };
    let kind = |policy: &dyn Policy, worker| {
        registry(1).permit_observation(policy, worker).map_err(|error| error.kind())
    };
    assert_eq!(kind(&DenyAll, &worker), Err(ErrorKind::Denied));
    assert_eq!(kind(&crate::policy::AllowAll, &worker), Ok(()));
    let nowhere = WorkerRef { runtime_id: id("c"), ..worker.clone() };
    assert_eq!(kind(&crate::policy::AllowAll, &nowhere), Err(ErrorKind::UnknownRuntime));
}
