use std::sync::Arc;

use super::*;
use crate::runtime_api::{
    Capability, CreateWorker, IdempotencyKey, Input, InputKind, Intent, Profile, Reason,
};
use crate::secret::Access;

const TOKEN: &str = "first-token";

/// A call, a clock, and what the call has said so far.
struct Scene {
    call: Call,
    now: Instant,
}

fn context(honours_keys: bool) -> CallContext {
    let base_url = "http://10.1.2.3:7700/prefix".parse().unwrap();
    CallContext {
        runtime_id: "rt".parse().unwrap(),
        access: Access::remote(base_url, TOKEN.parse().ok()).into(),
        limits: CallLimits::default(),
        honours_keys: Some(honours_keys),
        identified: true,
        jitter: Jitter::new(1),
        permit: Permit::of(&Arc::default(), 1).unwrap(),
        probe: None,
    }
}

impl Scene {
    fn new(command: Command) -> Self {
        Self::with(command, false)
    }

    fn with(command: Command, honours_keys: bool) -> Self {
        Self::of(command, context(honours_keys))
    }

    /// Nothing is known of the runtime yet.
    fn unknown(command: Command) -> Self {
        Self::of(command, CallContext { honours_keys: None, identified: false, ..context(false) })
    }

    #[expect(clippy::disallowed_methods, reason = "an instant has no other origin")]
    fn of(command: Command, context: CallContext) -> Self {
        let now = Instant::now();
        let total = CallLimits::default().total();
        Self { call: Call::new(now, context, command, total), now }
    }

    /// It asks who is there.
    #[track_caller]
    fn asks(&mut self) -> Attempt {
        let attempt = self.sends();
        assert_eq!((attempt.request.method().as_str(), attempt.request.uri().path()), QUESTION);
        attempt
    }

    #[track_caller]
    fn sends(&mut self) -> Attempt {
        match self.call.poll(self.now) {
            CallOutput::Send(attempt) => attempt,
            other => panic!("{other:?}"),
        }
    }

    /// Lets the time pass that the call says it waits for.
    #[track_caller]
    fn waits(&mut self, reason: CallWait) -> Duration {
        match self.call.poll(self.now) {
            CallOutput::Wait { until, why } if why == reason => {
                let pause = until - self.now;
                self.now = until;
                pause
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn done(&mut self) -> Result<Reply, Error> {
        match self.call.poll(self.now) {
            CallOutput::Done(result) => result,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn fails(&mut self, failure: Failure) {
        let id = self.sends().id;
        self.call.handle(self.now, CallInput::Failed(id, failure));
    }

    #[track_caller]
    fn answers(&mut self, status: u16, body: &str) {
        let id = self.sends().id;
        let response =
            Response::builder().status(status).body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
        self.call.handle(self.now, CallInput::Response(id, response));
    }
}

fn list() -> Command {
    Command::workers()
}

fn create(key: Option<&str>) -> Command {
    let worker = CreateWorker {
        requested_capabilities: vec![Capability { name: "read".into(), reason: None }],
        ..CreateWorker::new(Intent::Assistant { purpose: None }, Profile::default())
    };
    Command::Create { worker: Box::new(worker), key: key.map(|key| key.parse::<IdempotencyKey>().unwrap()) }
}

fn input() -> Command {
    let input = Input::new(InputKind::User, "hello");
    Command::Input { worker_id: "w".parse().unwrap(), input, key: None }
}

fn stop() -> Command {
    Command::Stop { worker_id: "w".parse().unwrap(), reason: Reason::default() }
}

const RESET: Failure = Failure { cause: FailureCause::Network(NetworkPhase::Receive), sent: true };
const REFUSED: Failure = Failure { cause: FailureCause::Network(NetworkPhase::Connect), sent: false };
const QUESTION: (&str, &str) = ("GET", "/prefix/v1/runtime");
const RIGHT: &str = r#"{"runtime":{"runtime_id":"rt","display_name":null,"backend":"memory","status":"running",
    "worker_count":0,"active_worker_count":0,"stopped_worker_count":0,"cancelled_worker_count":0,"diagnostic_count":0,
    "limits":{"max_transcript_projection_items":256,"max_event_batch_items":256},"features":["idempotency"]}}"#;
const NO_WORKERS: &str = r#"{"workers":[]}"#;

#[test]
fn the_request_is_complete_and_prints_nothing() {
    let mut scene = Scene::new(create(Some("key-1")));
    let attempt = scene.sends();
    assert_eq!(attempt.request.uri(), "/prefix/v1/workers");
    let header = |name: &str| attempt.request.headers()[name].to_str().unwrap();
    assert_eq!(header("host"), "10.1.2.3:7700");
    assert_eq!(header("authorization"), "Bearer first-token");
    assert_eq!(header("idempotency-key"), "key-1");
    assert_eq!(header("content-type"), "application/json");
    assert!(
        attempt.target == crate::transport::Target::Tcp { host: "10.1.2.3".into(), port: 7700, tls: false }
    );
    let printed = format!("{attempt:?} {:?}", scene.call);
    for secret in ["10.1", "7700", "first", "prefix"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn a_reply_ends_it() {
    let mut scene = Scene::new(list());
    scene.answers(200, NO_WORKERS);
    assert_eq!(scene.done(), Ok(Reply::Workers(vec![].into())));
    assert_eq!(scene.done().unwrap_err().misuse(), Some(Misuse::PolledAfterEnd), "the end is reported once");
}

#[test]
fn reads_are_tried_again_until_attempts_run_out() {
    let mut scene = Scene::new(list());
    scene.fails(RESET);
    let first = scene.waits(CallWait::Backoff);
    scene.fails(RESET);
    let second = scene.waits(CallWait::Backoff);
    assert!(first >= FIRST_BACKOFF / 2 && first <= FIRST_BACKOFF, "{first:?}");
    assert!(second >= FIRST_BACKOFF && second <= FIRST_BACKOFF * 2, "{second:?}");
    scene.fails(RESET);
    let error = scene.done().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network(NetworkPhase::Receive));
    assert_eq!(error.outcome(), None);
    assert_eq!(scene.call.attempts(), MAX_ATTEMPTS);
}

/// Command, whether the runtime honours keys, failure, whether it is tried again, outcome.
type Row = (fn() -> Command, bool, Failure, bool, Option<Outcome>);

#[test]
fn who_is_tried_again_after_what() {
    use FailureCause::{CutShort, NotHttp, Timeout, TooLarge};
    let keyed: fn() -> Command = || create(Some("k"));
    let unkeyed: fn() -> Command = || create(None);
    let broken = Failure::sent(FailureCause::Network(NetworkPhase::Send));
    let unresolved = Failure::unsent(FailureCause::Network(NetworkPhase::Resolve));
    let distrusted = Failure::unsent(FailureCause::Network(NetworkPhase::Tls));
    let no_connection = Failure::unsent(Timeout(TimeoutPhase::Connect));
    let no_head = Failure::sent(Timeout(TimeoutPhase::Response));
    let no_end = Failure::sent(Timeout(TimeoutPhase::Body));
    let not_applied = Some(Outcome::NotApplied);
    let unknown = Some(Outcome::Unknown);
    let table: &[Row] = &[
        (list, false, RESET, true, None),
        (list, false, REFUSED, true, None),
        (list, false, unresolved, true, None),
        (list, false, distrusted, false, None),
        (list, false, no_connection, false, None),
        (list, false, no_head, false, None),
        (list, false, Failure::sent(CutShort), false, None),
        (list, false, Failure::sent(NotHttp), false, None),
        (list, false, Failure::sent(TooLarge), false, None),
        (stop, false, RESET, true, unknown),
        (stop, false, REFUSED, true, not_applied),
        (stop, false, no_end, false, unknown),
        (input, false, RESET, false, unknown),
        (input, false, broken, false, unknown),
        (input, false, REFUSED, true, not_applied),
        (input, false, unresolved, true, not_applied),
        (input, false, distrusted, false, not_applied),
        (input, false, no_connection, false, not_applied),
        (input, false, no_head, false, unknown),
        (unkeyed, true, RESET, false, unknown),
        (keyed, false, RESET, false, unknown),
        (keyed, true, RESET, true, unknown),
        (keyed, true, Failure::sent(CutShort), false, unknown),
    ];
    for (row, (command, honours_keys, failure, again, outcome)) in table.iter().enumerate() {
        let mut scene = Scene::with(command(), *honours_keys);
        scene.fails(*failure);
        for _ in 1..if *again { MAX_ATTEMPTS } else { 1 } {
            scene.waits(CallWait::Backoff);
            scene.fails(*failure);
        }
        let error = scene.done().unwrap_err();
        assert_eq!(error.kind(), failure.cause.into(), "row {row}");
        assert_eq!(error.outcome(), *outcome, "row {row}");
    }
}

#[test]
fn a_doubt_is_never_forgotten() {
    let mut scene = Scene::new(stop());
    scene.fails(RESET);
    scene.waits(CallWait::Backoff);
    scene.fails(REFUSED);
    scene.waits(CallWait::Backoff);
    scene.fails(REFUSED);
    assert_eq!(scene.done().unwrap_err().outcome(), Some(Outcome::Unknown));
}

#[test]
fn a_busy_runtime_is_given_the_time_it_asks_for() {
    let busy = |seconds: u32, command| {
        let mut scene = Scene::new(command);
        let id = scene.sends().id;
        let response =
            Response::builder().status(503).header("retry-after", seconds).body(Bytes::new()).unwrap();
        scene.call.handle(scene.now, CallInput::Response(id, response));
        scene
    };
    let mut scene = busy(7, list());
    assert_eq!(scene.waits(CallWait::Backoff), Duration::from_secs(7));
    scene.answers(200, NO_WORKERS);
    assert!(scene.done().is_ok());

    for mut scene in [busy(60, list()), busy(1, input())] {
        let error = scene.done().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RuntimeBusy, "no time for it, or not harmless");
        assert!(error.retry_after().is_some());
    }
}

#[test]
fn a_token_is_read_anew_once() {
    let mut scene = Scene::new(input());
    scene.answers(401, "");
    assert!(matches!(scene.call.poll(scene.now), CallOutput::RefreshCredential));
    scene.call.handle(scene.now, CallInput::Credential("second-token".parse().ok()));
    let attempt = scene.sends();
    assert_eq!(attempt.request.headers()["authorization"], "Bearer second-token");
    let answer = Response::builder().status(401).body(Bytes::new()).unwrap();
    scene.call.handle(scene.now, CallInput::Response(attempt.id, answer));
    let error = scene.done().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RuntimeAuthFailed);
    assert_eq!(error.outcome(), Some(Outcome::NotApplied));
    assert_eq!(scene.call.attempts(), 1, "what was refused for its token does not count");
}

#[test]
fn the_same_token_is_not_tried_twice() {
    for token in [None, Some(TOKEN)] {
        let mut scene = Scene::new(list());
        scene.answers(401, "");
        assert!(matches!(scene.call.poll(scene.now), CallOutput::RefreshCredential));
        scene.call.handle(scene.now, CallInput::Credential(token.and_then(|token| token.parse().ok())));
        assert_eq!(scene.done().unwrap_err().kind(), ErrorKind::RuntimeAuthFailed);
    }
}

#[test]
fn a_credential_that_never_comes_is_not_waited_for_beyond_the_deadline() {
    let mut scene = Scene::new(list());
    scene.answers(401, "");
    assert!(matches!(scene.call.poll(scene.now), CallOutput::RefreshCredential));
    assert_eq!(scene.waits(CallWait::Credential), CallLimits::default().total());
    assert_eq!(scene.done().unwrap_err().kind(), ErrorKind::RuntimeAuthFailed);
}

#[test]
fn a_silent_transport_ends_in_a_timeout() {
    let mut scene = Scene::new(input());
    let attempt = scene.sends();
    assert_eq!(scene.waits(CallWait::Attempt), CallLimits::default().total() + REPORT_GRACE);
    let error = scene.done().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RuntimeTimeout(TimeoutPhase::Response));
    assert_eq!(error.outcome(), Some(Outcome::Unknown));
    scene.call.handle(scene.now, CallInput::Failed(attempt.id, REFUSED));
    assert_eq!(
        scene.done().unwrap_err().misuse(),
        Some(Misuse::PolledAfterEnd),
        "late input changes nothing"
    );
}

#[test]
fn late_input_for_an_attempt_that_is_over_is_ignored() {
    let mut scene = Scene::new(list());
    let first = scene.sends();
    scene.call.handle(scene.now, CallInput::Failed(first.id, RESET));
    scene.call.handle(scene.now, CallInput::Failed(first.id, RESET));
    scene.waits(CallWait::Backoff);
    let second = scene.sends();
    let late = Response::builder().status(404).body(Bytes::new()).unwrap();
    scene.call.handle(scene.now, CallInput::Response(first.id, late));
    scene.call.handle(scene.now, CallInput::Credential("stray".parse().ok()));
    scene.waits(CallWait::Attempt);
    assert_ne!(first.id, second.id);
}

#[test]
fn commands_that_must_not_be_repeated_ask_for_a_fresh_connection() {
    assert_eq!(Scene::new(list()).sends().limits.max_idle, MAX_IDLE);
    assert_eq!(Scene::new(input()).sends().limits.max_idle, MAX_IDLE_FOR_ONCE);
    assert_eq!(Scene::with(create(Some("k")), true).sends().limits.max_idle, MAX_IDLE);
}

#[test]
fn what_the_runtime_said_is_passed_on_under_its_own_code() {
    let mut scene = Scene::new(input());
    scene
        .answers(400, r#"{"error":{"code":"invalid_request","message":"no first-token\nat 10.1.2.3:7700"}}"#);
    let error = scene.done().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert_eq!(error.runtime_code(), Some("invalid_request"));
    assert_eq!(error.detail(), "The request is invalid: no [redacted]at [redacted]");
    assert_eq!(error.runtime_id().unwrap().as_str(), "rt");
    assert_eq!(error.worker_id().unwrap().as_str(), "w");
}

#[test]
fn a_token_that_comes_while_an_attempt_is_under_way_does_not_leave_either() {
    let mut scene = Scene::new(Command::workers());
    let attempt = scene.sends();
    scene.call.handle(scene.now, CallInput::Credential("second-token".parse().ok()));
    let fault = r#"{"error":{"code":"x","message":"first-token second-token"}}"#;
    let response = Response::builder().status(400).body(fault.into()).unwrap();
    scene.call.handle(scene.now, CallInput::Response(attempt.id, response));
    let error = scene.done().unwrap_err();
    assert!(error.detail().ends_with(": [redacted] [redacted]"), "{}", error.detail());
}

#[test]
fn late_reports_of_an_attempt_that_is_over_change_nothing() {
    let mut scene = Scene::new(Command::workers());
    let first = scene.sends().id;
    let broken = Failure::unsent(FailureCause::Network(NetworkPhase::Connect));
    scene.call.handle(scene.now, CallInput::Failed(first, broken));
    scene.waits(CallWait::Backoff);
    scene.sends();
    scene.call.handle(scene.now, CallInput::Failed(first, broken));
    scene.call.handle(scene.now, CallInput::Response(first, Response::new("late".into())));
    scene.waits(CallWait::Attempt);
}

#[test]
fn an_attempt_prints_what_is_asked_and_not_where() {
    let printed = format!("{:?}", Scene::new(Command::workers()).sends());
    assert!(printed.contains("GET") && printed.contains("AttemptId(1)"), "{printed}");
    assert!(!printed.contains("10.1.2.3") && !printed.contains("prefix"), "{printed}");
}

#[test]
fn nothing_is_changed_on_another_machine() {
    for command in [input(), stop(), create(Some("k"))] {
        let mut scene = Scene::unknown(command);
        let question = scene.asks();
        let Via::Identify(identity) = &question.via else { panic!() };
        let other = RIGHT.replace("\"rt\"", "\"other\"");
        scene.call.handle(scene.now, CallInput::Response(question.id, Response::new(other.into())));
        let error = scene.done().unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::IdentityMismatch, Some(Outcome::NotApplied)));
        assert!(!identity.is_confirmed());
        let report = scene.call.into_report();
        assert_eq!(report.end, Some((Operation::ReadRuntime, Err(ErrorKind::IdentityMismatch))));
        assert!(report.identity.is_none() && report.summary.is_none());
    }
}

#[test]
fn a_read_needs_no_question() {
    assert_ne!(Scene::unknown(list()).sends().request.uri().path(), QUESTION.1);
    let attempt = Scene::unknown(Command::Runtime).sends();
    assert!(matches!(attempt.via, Via::Identify(_)), "this is the question itself");
}

#[test]
fn a_runtime_in_the_same_process_is_asked_for_what_it_can_do_alone() {
    let context = || CallContext { access: Access::in_process().into(), identified: false, ..context(false) };
    let mut scene = Scene::of(input(), context());
    assert_eq!(scene.sends().request.method(), "POST");
    let mut scene = Scene::of(input(), CallContext { honours_keys: None, ..context() });
    let question = scene.sends();
    assert_eq!(question.request.uri(), "/v1/runtime");
    scene.call.handle(scene.now, CallInput::Response(question.id, Response::new(RIGHT.into())));
    assert_eq!(scene.sends().request.method(), "POST");
    assert_eq!(scene.call.attempts(), 1);
}

#[test]
fn a_question_that_fails_is_asked_again_and_proves_that_nothing_happened() {
    let mut scene = Scene::unknown(input());
    for _ in 1..MAX_ATTEMPTS {
        let id = scene.asks().id;
        scene.call.handle(scene.now, CallInput::Failed(id, RESET));
        scene.waits(CallWait::Backoff);
    }
    let id = scene.asks().id;
    scene.call.handle(scene.now, CallInput::Failed(id, RESET));
    let error = scene.done().unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (RESET.cause.into(), Some(Outcome::NotApplied)));
    assert_eq!(scene.call.attempts(), MAX_ATTEMPTS);
}

#[test]
fn a_command_goes_over_the_connection_on_which_the_question_was_answered() {
    let mut scene = Scene::with(input(), false);
    let attempt = scene.sends();
    assert!(matches!(attempt.via, Via::Identified), "the registry knows of one");
    let none = Failure::unsent(FailureCause::NotIdentified);
    scene.call.handle(scene.now, CallInput::Failed(attempt.id, none));
    // Others take the connection on which it asks, as often as it asks.
    for asked in 1..=MAX_QUESTIONS {
        let id = scene.asks().id;
        scene.call.handle(scene.now, CallInput::Response(id, Response::new(RIGHT.into())));
        assert_eq!(scene.call.attempts(), 0, "what was answered is no attempt");
        let attempt = scene.sends();
        assert!(matches!(attempt.via, Via::Identified), "{asked}");
        scene.call.handle(scene.now, CallInput::Failed(attempt.id, none));
    }
    let error = scene.done().unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::RuntimeUnavailable, Some(Outcome::NotApplied)));
}

#[test]
fn a_runtime_that_keeps_no_connection_is_asked_just_before() {
    let mut scene = Scene::unknown(stop());
    for _ in 1..MAX_ATTEMPTS {
        let id = scene.asks().id;
        let last = Response::builder().header("connection", "close").body(RIGHT.into()).unwrap();
        scene.call.handle(scene.now, CallInput::Response(id, last));
        let attempt = scene.sends();
        assert!(matches!(attempt.via, Via::Any));
        scene.call.handle(scene.now, CallInput::Failed(attempt.id, RESET));
        scene.waits(CallWait::Backoff);
    }
    scene.asks();
}
