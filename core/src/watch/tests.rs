use super::*;
use crate::runtime_api::{Envelope, Frame};
use crate::secret::Access;
use crate::transport::{Attempt, Connect, REPORT_GRACE, Via};

const TOKEN: &str = "first-token";

/// The right runtime's answer.
const RIGHT: &str = r#"{"runtime":{"runtime_id":"rt","display_name":null,"backend":"memory","status":"running","worker_count":0,"active_worker_count":0,"stopped_worker_count":0,"cancelled_worker_count":0,"diagnostic_count":0,"limits":{"max_transcript_projection_items":256,"max_event_batch_items":256},"features":["idempotency"]}}"#;

fn worker() -> WorkerRef {
    WorkerRef { runtime_id: "rt".parse().unwrap(), worker_id: "w".parse().unwrap() }
}

/// A watch, a clock, and the connection that is open.
struct Scene {
    watch: Watch,
    now: Instant,
    id: ConnId,
}

impl Scene {
    fn follow() -> Self {
        Self::new(None, OnExpiredCursor::Resynchronize)
    }

    fn replay(cursor: &str) -> Self {
        Self::new(UpstreamCursor::new(cursor), OnExpiredCursor::Stop)
    }

    #[expect(clippy::disallowed_methods, reason = "an instant has no other origin")]
    fn new(cursor: Option<UpstreamCursor>, on_expired_cursor: OnExpiredCursor) -> Self {
        let now = Instant::now();
        let context = WatchContext {
            worker: worker(),
            access: Access::remote("http://10.1.2.3:7700".parse().unwrap(), TOKEN.parse().ok()).into(),
            limits: CallLimits::default(),
            give_up_after: GIVE_UP_AFTER,
            jitter: Jitter::new(1),
        };
        Self { watch: Watch::new(now, context, cursor, on_expired_cursor), now, id: ConnId::of(0) }
    }

    /// A stream that is live after a snapshot at `c0`.
    fn live() -> Self {
        let mut scene = Self::follow();
        scene.opens(None);
        scene.frame(&snapshot("c0"));
        scene.says(&["snapshot c0"]);
        scene
    }

    #[track_caller]
    fn asks(&mut self) -> Attempt {
        match self.watch.poll(self.now) {
            WatchOutput::Send(attempt) => attempt,
            other => panic!("{other:?}"),
        }
    }

    fn answers(&mut self, id: AttemptId, status: u16, body: &str) {
        let response =
            Response::builder().status(status).body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
        self.watch.handle(self.now, WatchInput::Response(id, response));
    }

    /// It connects once it knows that the right runtime is there.
    #[track_caller]
    fn connects(&mut self, expected: Option<&str>) -> Connect {
        let question = self.asks().id;
        self.answers(question, 200, RIGHT);
        match self.watch.poll(self.now) {
            WatchOutput::Connect(connect) => {
                let cursor = connect.request.uri().query().map(|query| query.replace("cursor=", ""));
                assert_eq!(cursor.as_deref(), expected);
                self.id = connect.id;
                connect
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn opens(&mut self, cursor: Option<&str>) {
        self.connects(cursor);
        self.watch.handle(self.now, WatchInput::Opened(self.id));
    }

    fn frame(&mut self, text: &str) {
        self.watch.handle(self.now, WatchInput::Frame(self.id, Bytes::copy_from_slice(text.as_bytes())));
    }

    fn loses(&mut self, loss: Loss) {
        self.watch.handle(self.now, WatchInput::Lost(self.id, loss));
    }

    fn refuses(&mut self, status: u16, body: &str) {
        let response =
            Response::builder().status(status).body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
        self.watch.handle(self.now, WatchInput::Refused(self.id, response));
    }

    /// What it says next, but that it is live: that has tests of its own.
    fn poll(&mut self) -> WatchOutput {
        loop {
            match self.watch.poll(self.now) {
                WatchOutput::Event(WatchEvent::Live) => {}
                output => return output,
            }
        }
    }

    /// What it says now, up to where it waits; in short.
    #[track_caller]
    fn says(&mut self, expected: &[&str]) {
        let mut said = Vec::new();
        for text in expected {
            said.push(match self.poll() {
                WatchOutput::Event(WatchEvent::Snapshot(it)) => {
                    format!("snapshot {}", it.upstream_cursor.as_str())
                }
                WatchOutput::Event(WatchEvent::Event(it)) => format!("event {}", it.upstream_cursor.as_str()),
                WatchOutput::Event(WatchEvent::Disconnected { .. }) => "disconnected".into(),
                WatchOutput::Event(WatchEvent::Resumed { nothing_missed }) => match nothing_missed {
                    true => "resumed, and nothing was missed".into(),
                    false => "resumed".into(),
                },
                WatchOutput::Event(WatchEvent::Resynchronized) => "resynchronized".into(),
                WatchOutput::Close(id) if id == self.id => "close".into(),
                WatchOutput::Ping(id) if id == self.id => "ping".into(),
                WatchOutput::RefreshCredential => "refresh".into(),
                WatchOutput::Stopped(Ok(())) => "stopped".into(),
                WatchOutput::Stopped(Err(error)) => error.kind().code().into(),
                other => panic!("{other:?} instead of {text}"),
            });
        }
        assert_eq!(said, expected);
    }

    /// Lets the time pass that it says it waits for.
    #[track_caller]
    fn waits(&mut self, reason: WatchWait) -> Duration {
        match self.poll() {
            WatchOutput::Wait { until, why } if why == reason => {
                let pause = until - self.now;
                self.now = until;
                pause
            }
            other => panic!("{other:?}"),
        }
    }
}

fn snapshot(cursor: &str) -> String {
    event_named(&format!("snapshot:{cursor}"), cursor)
}

fn event(cursor: &str) -> String {
    event_named(cursor, cursor)
}

fn event_named(event_id: &str, cursor: &str) -> String {
    let payload: Box<serde_json::value::RawValue> =
        serde_json::from_str(r#"{"event":"text_delta","data":{"text":"x"}}"#).unwrap();
    let envelope = Envelope {
        cursor: cursor.into(),
        event_id: event_id.into(),
        worker_id: "w".into(),
        payload: &payload,
    };
    String::from_utf8(Frame::Event(envelope).into_text().to_vec()).unwrap()
}

fn diagnostic(code: &str) -> String {
    format!(r#"{{"kind":"diagnostic","diagnostic":{{"code":"runtime.{code}","message":"m"}}}}"#)
}

#[test]
fn the_request_is_complete_and_prints_nothing() {
    let mut scene = Scene::replay("wo_1/é");
    let connect = scene.connects(Some("wo%5F1%2F%C3%A9"));
    assert_eq!(connect.request.uri().path(), "/v1/workers/w/events/ws");
    assert_eq!(connect.request.headers()["authorization"], "Bearer first-token");
    let printed = format!("{connect:?} {:?}", scene.watch);
    assert!(!printed.contains("10.1") && !printed.contains("first"), "{printed}");
}

#[test]
fn a_snapshot_comes_first_and_events_follow() {
    let mut scene = Scene::live();
    for cursor in ["c1", "c2"] {
        scene.frame(&event(cursor));
    }
    scene.says(&["event c1", "event c2"]);
    assert_eq!(scene.watch.upstream_cursor(), UpstreamCursor::new("c2").as_ref());
}

#[test]
fn each_connection_that_serves_the_stream_is_live_before_what_it_brings() {
    let live = |scene: &mut Scene| match scene.watch.poll(scene.now) {
        WatchOutput::Event(WatchEvent::Live) => {}
        other => panic!("{other:?}"),
    };
    let mut scene = Scene::follow();
    scene.opens(None);
    scene.frame(&snapshot("c0"));
    live(&mut scene);
    scene.says(&["snapshot c0"]);
    // Connected again without an event: only `Live` says that the runtime knows the cursor.
    scene.loses(Loss::Ended);
    scene.says(&["disconnected"]);
    scene.waits(WatchWait::Backoff);
    scene.opens(Some("c0"));
    scene.frame(&snapshot("c0"));
    scene.waits(WatchWait::CursorErrorGrace);
    live(&mut scene);
    scene.says(&["resumed"]);
    // Back, but elsewhere.
    scene.loses(Loss::Ended);
    scene.says(&["disconnected"]);
    scene.waits(WatchWait::Backoff);
    scene.opens(Some("c0"));
    scene.frame(&snapshot("d0"));
    live(&mut scene);
    scene.says(&["resynchronized", "snapshot d0"]);
}

#[test]
fn a_loss_is_told_and_what_follows_is_resumed_without_gap_or_double() {
    for loss in [
        Loss::Ended,
        Loss::Failed(FailureCause::Network(NetworkPhase::Receive)),
        Loss::Failed(FailureCause::Timeout(TimeoutPhase::Response)),
    ] {
        let mut scene = Scene::live();
        scene.frame(&event("c1"));
        scene.says(&["event c1"]);
        scene.loses(loss);
        scene.says(&["disconnected"]);
        scene.waits(WatchWait::Backoff);
        scene.opens(Some("c1"));
        scene.frame(&snapshot("c1"));
        scene.frame(&event("c1"));
        scene.frame(&event("c2"));
        scene.says(&["resumed", "event c2"]);
    }
}

#[test]
fn a_quiet_stream_is_resumed_when_nothing_speaks_against_it() {
    let mut scene = Scene::live();
    scene.loses(Loss::Ended);
    scene.says(&["disconnected"]);
    scene.waits(WatchWait::Backoff);
    scene.opens(Some("c0"));
    scene.frame(&snapshot("c0"));
    assert_eq!(scene.waits(WatchWait::CursorErrorGrace), CURSOR_ERROR_GRACE);
    scene.says(&["resumed"]);
}

#[test]
fn that_nothing_was_missed_is_told_only_of_a_runtime_that_refuses_cursors_it_has_lost() {
    for (incarnation, told) in
        [("", "resumed"), (r#","incarnation":"i1""#, "resumed, and nothing was missed")]
    {
        let mut scene = Scene::live();
        scene.loses(Loss::Ended);
        scene.says(&["disconnected"]);
        scene.waits(WatchWait::Backoff);
        let question = scene.asks();
        let summary = RIGHT.replacen(r#","worker_count""#, &format!(r#"{incarnation},"worker_count""#), 1);
        scene.answers(question.id, 200, &summary);
        let WatchOutput::Connect(connect) = scene.poll() else { panic!() };
        scene.id = connect.id;
        scene.watch.handle(scene.now, WatchInput::Opened(connect.id));
        scene.frame(&snapshot("c0"));
        scene.waits(WatchWait::CursorErrorGrace);
        scene.says(&[told]);
    }
}

#[test]
fn a_place_that_is_gone_is_told_and_started_over() {
    // Deployed runtimes repeat the cursor before they say that they do not know it.
    for frames in [
        vec![snapshot("c0"), diagnostic("cursor_unknown_or_expired")],
        vec![diagnostic("cursor_malformed")],
        vec![diagnostic("cursor_unknown_or_expired")],
    ] {
        let mut scene = Scene::live();
        scene.loses(Loss::Ended);
        scene.says(&["disconnected"]);
        scene.waits(WatchWait::Backoff);
        scene.opens(Some("c0"));
        frames.iter().for_each(|text| scene.frame(text));
        scene.says(&["close"]);
        scene.waits(WatchWait::Backoff);
        scene.opens(None);
        scene.frame(&snapshot("d7"));
        scene.frame(&event("d8"));
        scene.says(&["resynchronized", "snapshot d7", "event d8"]);
    }
}

#[test]
fn a_snapshot_of_another_place_is_a_new_beginning() {
    let mut scene = Scene::live();
    scene.loses(Loss::Ended);
    scene.says(&["disconnected"]);
    scene.waits(WatchWait::Backoff);
    scene.opens(Some("c0"));
    scene.frame(&snapshot("d0"));
    scene.says(&["resynchronized", "snapshot d0"]);
}

#[test]
fn who_asked_for_a_place_is_told_that_it_is_gone() {
    for frames in [
        vec![snapshot("c0"), diagnostic("cursor_unknown_or_expired")],
        vec![diagnostic("cursor_malformed")],
        vec![snapshot("c9")],
    ] {
        let mut scene = Scene::replay("c0");
        scene.opens(Some("c0"));
        frames.iter().for_each(|text| scene.frame(text));
        scene.says(&["close", "cursor_expired"]);
    }
}

#[test]
fn a_replay_has_no_snapshot() {
    let mut scene = Scene::replay("c0");
    scene.opens(Some("c0"));
    scene.frame(&snapshot("c0"));
    scene.frame(&event("c1"));
    scene.says(&["event c1"]);
    scene.watch.handle(scene.now, WatchInput::Stop);
    scene.says(&["close", "stopped"]);
}

#[test]
fn repeated_events_are_noticed_far_back() {
    let mut scene = Scene::live();
    for number in 1..=DEDUP_WINDOW {
        scene.frame(&event(&format!("c{number}")));
        scene.says(&[&format!("event c{number}")]);
    }
    scene.frame(&event("c1"));
    scene.frame(&event("next"));
    scene.says(&["event next"]);
    assert_eq!(scene.watch.recent.len(), DEDUP_WINDOW);
}

#[test]
fn backoff_starts_over_only_after_a_good_frame() {
    let mut scene = Scene::live();
    let mut pauses = Vec::new();
    scene.loses(Loss::Ended);
    scene.says(&["disconnected"]);
    for _ in 0..4 {
        pauses.push(scene.waits(WatchWait::Backoff));
        scene.opens(Some("c0"));
        scene.loses(Loss::Ended);
    }
    for (failures, pause) in pauses.iter().enumerate() {
        let longest = FIRST_BACKOFF * (1 << failures);
        assert!(*pause >= longest / 2 && *pause <= longest, "{pauses:?}");
    }
    scene.waits(WatchWait::Backoff);
    scene.opens(Some("c0"));
    scene.frame(&snapshot("c0"));
    scene.frame(&event("c1"));
    scene.says(&["resumed", "event c1"]);
    scene.loses(Loss::Ended);
    scene.says(&["disconnected"]);
    assert!(scene.waits(WatchWait::Backoff) <= FIRST_BACKOFF);
}

#[test]
fn it_gives_up_in_the_end_and_says_why() {
    for fresh in [true, false] {
        let mut scene = if fresh { Scene::follow() } else { Scene::live() };
        let cursor = (!fresh).then_some("c0");
        if !fresh {
            scene.loses(Loss::Ended);
            scene.says(&["disconnected"]);
        }
        let started = scene.now;
        let error = loop {
            match scene.watch.poll(scene.now) {
                WatchOutput::Wait { until, .. } => scene.now = until,
                WatchOutput::Send(question) => scene.answers(question.id, 200, RIGHT),
                WatchOutput::Connect(connect) => {
                    scene.id = connect.id;
                    assert_eq!(connect.request.uri().query().is_some(), cursor.is_some());
                    scene.loses(Loss::Failed(FailureCause::Network(NetworkPhase::Connect)));
                }
                WatchOutput::Stopped(Err(error)) => break error,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(error.kind(), ErrorKind::Network(NetworkPhase::Connect));
        assert_eq!(error.worker_id().unwrap().as_str(), "w");
        let tried = scene.now - started;
        assert!(tried <= GIVE_UP_AFTER && tried >= GIVE_UP_AFTER - LONGEST_BACKOFF, "{tried:?}");
    }
}

#[test]
fn what_ends_it_at_once() {
    let typed = r#"{"error":{"code":"worker_not_found","message":"m"}}"#;
    for (status, body, code) in [
        (404, typed, "worker_not_found"),
        (404, "", "unsupported"),
        (405, "", "unsupported"),
        (302, "", "unexpected_redirect"),
        (200, "<html>", "malformed_response"),
    ] {
        let mut scene = Scene::follow();
        scene.connects(None);
        scene.refuses(status, body);
        scene.says(&[code]);
    }
    let other = event("c1").replace(r#""w""#, r#""v""#);
    let nameless = event("c1").replace("c1", &"x".repeat(2000));
    for (text, code) in [
        ("{", "malformed_frame"),
        (other.as_str(), "identity_mismatch"),
        (&event("first-token"), "malformed_frame"),
        (&event_named("at 10.1.2.3:7700", "c1"), "malformed_frame"),
        (&nameless, "malformed_frame"),
        (&diagnostic("worker_not_found"), "worker_not_found"),
    ] {
        let mut scene = Scene::live();
        scene.frame(text);
        scene.says(&["close", code]);
    }
    let mut scene = Scene::follow();
    scene.opens(None);
    scene.frame(&event("c1"));
    scene.says(&["close", "malformed_frame"]);
    let mut scene = Scene::live();
    scene.loses(Loss::Malformed);
    scene.says(&["malformed_frame"]);
}

#[test]
fn what_passes_is_tried_again() {
    for (status, body) in [(503, ""), (429, ""), (500, ""), (502, "<html>")] {
        let mut scene = Scene::follow();
        scene.connects(None);
        scene.refuses(status, body);
        scene.waits(WatchWait::Backoff);
        scene.connects(None);
    }
    for code in ["cursor_expired", "unavailable", "upstream_closed", "websocket_error", "serialize_failed"] {
        let mut scene = Scene::live();
        scene.frame(&diagnostic(code));
        scene.says(&["close", "disconnected"]);
        scene.waits(WatchWait::Backoff);
        scene.connects(Some("c0"));
    }
    let mut scene = Scene::live();
    scene.frame(&diagnostic("of_tomorrow"));
    scene.frame(&event("c1"));
    scene.says(&["event c1"]);
}

#[test]
fn no_place_is_come_back_to_for_ever() {
    let mut scene = Scene::live();
    for stall in 1..=MAX_STALLS {
        scene.frame(&diagnostic("serialize_failed"));
        scene.says(&["close", "disconnected"]);
        scene.waits(WatchWait::Backoff);
        if stall < MAX_STALLS {
            scene.opens(Some("c0"));
            scene.frame(&snapshot("c0"));
            scene.waits(WatchWait::CursorErrorGrace);
            scene.says(&["resumed"]);
        }
    }
    scene.opens(None);
    scene.frame(&snapshot("c5"));
    scene.says(&["resynchronized", "snapshot c5"]);

    scene.loses(Loss::TooLarge);
    scene.says(&["disconnected"]);
    scene.waits(WatchWait::Backoff);
    scene.opens(None);
    scene.frame(&snapshot("c6"));
    scene.says(&["resynchronized", "snapshot c6"]);
}

#[test]
fn pings_are_not_put_off_by_traffic_and_must_be_answered() {
    let mut scene = Scene::live();
    for number in 0..3 {
        scene.waits(WatchWait::Ping);
        scene.frame(&event(&format!("c{number}x")));
        scene.says(&[&format!("event c{number}x"), "ping"]);
        scene.watch.handle(scene.now, WatchInput::Pong(scene.id));
    }
    scene.waits(WatchWait::Ping);
    scene.says(&["ping"]);
    assert_eq!(scene.waits(WatchWait::Pong), PONG_WITHIN);
    scene.says(&["close", "disconnected"]);
}

#[test]
fn a_first_frame_that_never_comes_is_not_waited_for() {
    let mut scene = Scene::follow();
    scene.opens(None);
    assert_eq!(scene.waits(WatchWait::FirstFrame), CallLimits::default().response);
    scene.says(&["close"]);
    scene.waits(WatchWait::Backoff);
    scene.connects(None);
    let CallLimits { connect, response, .. } = CallLimits::default();
    assert_eq!(scene.waits(WatchWait::Connection), connect + response + REPORT_GRACE);
    scene.says(&["close"]);
}

#[test]
fn a_token_is_read_anew_once() {
    let mut scene = Scene::follow();
    scene.connects(None);
    scene.refuses(401, "");
    scene.says(&["refresh"]);
    scene.watch.handle(scene.now, WatchInput::Credential("second-token".parse().ok()));
    let connect = scene.connects(None);
    assert_eq!(connect.request.headers()["authorization"], "Bearer second-token");
    scene.refuses(401, "");
    scene.says(&["runtime_auth_failed"]);

    let mut scene = Scene::follow();
    scene.connects(None);
    scene.refuses(401, "");
    scene.says(&["refresh"]);
    assert_eq!(scene.waits(WatchWait::Credential), CallLimits::default().response);
    scene.says(&["runtime_auth_failed"]);
}

#[test]
fn input_of_another_connection_is_ignored() {
    let mut scene = Scene::live();
    let earlier = scene.id;
    scene.loses(Loss::Ended);
    scene.says(&["disconnected"]);
    scene.waits(WatchWait::Backoff);
    scene.opens(Some("c0"));
    for input in [
        WatchInput::Frame(earlier, event("c1").into()),
        WatchInput::Lost(earlier, Loss::Malformed),
        WatchInput::Opened(earlier),
        WatchInput::Refused(earlier, Response::new(Bytes::new())),
        WatchInput::Credential(None),
    ] {
        scene.watch.handle(scene.now, input);
    }
    scene.waits(WatchWait::FirstFrame);
}

#[test]
fn secrets_in_payloads_are_gone_before_anybody_sees_them() {
    let mut scene = Scene::live();
    let hostile = event("c1").replace(r#""x""#, r#""http:\/\/10.1.2.3:7700 first\u002dtoken""#);
    scene.frame(&hostile);
    let WatchOutput::Event(WatchEvent::Event(observed)) = scene.watch.poll(scene.now) else { panic!() };
    assert_eq!(observed.payload, r#"{"event":"text_delta","data":{"text":"[redacted] [redacted]"}}"#);
}

#[test]
fn a_cursor_may_begin_as_the_port_does() {
    // `snapshot:7700ab.1` has the port in it, and is what it is by chance.
    let mut scene = Scene::follow();
    scene.opens(None);
    scene.frame(&snapshot("7700ab.1"));
    scene.says(&["snapshot 7700ab.1"]);
    scene.frame(&event_named("id:7700", "7700ab.2"));
    scene.says(&["close", "malformed_frame"]);
}

#[test]
fn a_token_that_comes_while_all_is_well_does_not_leave_either() {
    let mut scene = Scene::live();
    scene.watch.handle(scene.now, WatchInput::Credential(None));
    scene.watch.handle(scene.now, WatchInput::Credential("second-token".parse().ok()));
    scene.frame(&event("c1").replace(r#""x""#, r#""first-token second-token""#));
    let WatchOutput::Event(WatchEvent::Event(observed)) = scene.watch.poll(scene.now) else { panic!() };
    assert_eq!(observed.payload, r#"{"event":"text_delta","data":{"text":"[redacted] [redacted]"}}"#);
    scene.loses(Loss::Ended);
    scene.says(&["disconnected"]);
    scene.waits(WatchWait::Backoff);
    assert_eq!(scene.connects(Some("c1")).request.headers()["authorization"], "Bearer second-token");
}

#[test]
fn it_is_live_between_the_first_good_frame_and_the_end() {
    let mut scene = Scene::follow();
    assert!(!scene.watch.is_live());
    scene.opens(None);
    assert!(!scene.watch.is_live());
    scene.frame(&snapshot("c0"));
    assert!(scene.watch.is_live());
    scene.loses(Loss::Ended);
    assert!(!scene.watch.is_live());
}

#[test]
fn what_it_hears_prints_no_length() {
    let of_length = |length| format!("{:?}", WatchInput::Frame(ConnId::of(1), vec![b'x'; length].into()));
    assert_eq!(of_length(1), of_length(100));
}

#[test]
fn another_runtime_is_not_watched() {
    let mut scene = Scene::follow();
    let question = scene.asks();
    assert_eq!(question.request.uri(), "/v1/runtime");
    let Via::Identify(identity) = &question.via else { panic!() };
    scene.answers(question.id, 200, &RIGHT.replace("\"rt\"", "\"other\""));
    assert!(!identity.is_confirmed());
    scene.says(&["identity_mismatch"]);
}

#[test]
fn the_stream_goes_over_the_connection_on_which_the_question_was_answered() {
    let mut scene = Scene::follow();
    let question = scene.asks();
    let Via::Identify(identity) = &question.via else { panic!() };
    scene.answers(question.id, 200, RIGHT);
    assert!(identity.is_confirmed());
    let WatchOutput::Connect(connect) = scene.watch.poll(scene.now) else { panic!() };
    assert!(matches!(connect.via, Via::Identified));

    // It was lost, or something else uses it.
    let none = WatchInput::Lost(connect.id, Loss::Failed(FailureCause::NotIdentified));
    scene.watch.handle(scene.now, none);
    let question = scene.asks().id;
    // This time it ends with the answer.
    let last = Response::builder().header("connection", "close").body(RIGHT.into()).unwrap();
    scene.watch.handle(scene.now, WatchInput::Response(question, last));
    let WatchOutput::Connect(connect) = scene.watch.poll(scene.now) else { panic!() };
    assert!(matches!(connect.via, Via::Any));
}

#[test]
fn a_connection_that_is_always_taken_is_not_asked_for_without_end() {
    let mut scene = Scene::follow();
    for _ in 0..crate::call::MAX_QUESTIONS {
        let id = scene.asks().id;
        scene.answers(id, 200, RIGHT);
        let WatchOutput::Connect(connect) = scene.watch.poll(scene.now) else { panic!() };
        let taken = WatchInput::Lost(connect.id, Loss::Failed(FailureCause::NotIdentified));
        scene.watch.handle(scene.now, taken);
    }
    scene.waits(WatchWait::Backoff);
}

#[test]
fn a_question_that_fails_is_asked_again() {
    let mut scene = Scene::follow();
    let question = scene.asks().id;
    let refused = Failure::unsent(FailureCause::Network(NetworkPhase::Connect));
    scene.watch.handle(scene.now, WatchInput::Failed(question, refused));
    scene.waits(WatchWait::Backoff);
    let question = scene.asks().id;
    scene.answers(question, 503, "");
    scene.waits(WatchWait::Backoff);
    scene.asks();
    let CallLimits { connect, response, .. } = CallLimits::default();
    assert_eq!(scene.waits(WatchWait::Identity), connect + response * 2 + REPORT_GRACE);
    scene.waits(WatchWait::Backoff);
    let question = scene.asks().id;
    scene.answers(question, 401, "");
    scene.says(&["refresh"]);
    scene.watch.handle(scene.now, WatchInput::Credential("second-token".parse().ok()));
    let question = scene.asks();
    assert_eq!(question.request.headers()["authorization"], "Bearer second-token");
}
