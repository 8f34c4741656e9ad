#![allow(clippy::disallowed_methods, reason = "the clock of a test begins somewhere")]

use bytes::Bytes;

use super::*;
use crate::gateway_client::{Diagnostic, Envelope, Problem, Severity};

/// A machine with a clock.
struct Watching {
    end: EndDetector,
    now: Instant,
}

impl Watching {
    /// One whose stream has shown all that was before, and whose worker was running then.
    fn live() -> Self {
        let now = Instant::now();
        let mut watching = Self { end: EndDetector::new(now), now };
        watching.event("snapshot");
        watching.notice(CAUGHT_UP);
        assert_eq!(watching.wait(), QUIET);
        watching.answered(EndAnswer::Running);
        watching
    }

    fn event(&mut self, event: &str) {
        self.payload(&format!(r#"{{"event":"{event}","data":{{}}}}"#));
    }

    fn payload(&mut self, payload: &str) {
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        let envelope = Envelope { cursor: "c".into(), event_id: "e".into(), text: Bytes::new(), payload };
        self.end.handle(self.now, &GatewayEvent::Event(envelope));
    }

    fn notice(&mut self, code: &str) {
        let notice =
            Diagnostic { code: code.to_owned().into(), ..Diagnostic::new("", Severity::Info, String::new()) };
        self.end.handle(self.now, &GatewayEvent::Diagnostic(notice));
    }

    /// Waits for as long as it says; how long that was.
    fn wait(&mut self) -> Duration {
        let EndOutput::Wait(until) = self.end.poll(self.now) else { panic!("it does not wait") };
        let waited = until - self.now;
        self.now = until;
        waited
    }

    fn answered(&mut self, answer: EndAnswer) {
        assert_eq!(self.end.poll(self.now), EndOutput::Ask);
        // One question at a time.
        assert!(matches!(self.end.poll(self.now), EndOutput::Wait(_)));
        self.end.handle_answer(self.now, answer);
    }
}

#[test]
fn the_stream_says_it_and_that_is_the_last_word() {
    let mut watching = Watching::live();
    watching.payload(
        r#"{"event":"system_item","data":{"item":{"kind":"ended","reason":"exited","exit_code":3}}}"#,
    );
    let EndOutput::Ended(Some(end)) = watching.end.poll(watching.now) else { panic!() };
    assert_eq!(end.exit_code, Some(3));
}

#[test]
fn a_runtime_that_says_nothing_is_asked_every_ten_seconds_of_silence() {
    let mut watching = Watching::live();
    for _ in 0..3 {
        assert_eq!(watching.wait(), ASK_EVERY);
        watching.answered(EndAnswer::Running);
    }
    // Each event begins the ten seconds anew.
    watching.now += ASK_EVERY / 2;
    watching.event("text_delta");
    assert_eq!(watching.wait(), ASK_EVERY);
    watching.answered(EndAnswer::Ended(None));
    assert_eq!(watching.wait(), QUIET);
    assert_eq!(watching.end.poll(watching.now), EndOutput::Ended(None));
}

#[test]
fn what_may_be_the_end_is_asked_about_in_a_quiet_moment() {
    let mut watching = Watching::live();
    watching.event("run_end");
    watching.now += QUIET / 2;
    watching.event("text_delta");
    assert_eq!(watching.wait(), QUIET);
    watching.answered(EndAnswer::Running);
    assert_eq!(watching.wait(), ASK_EVERY, "the doubt is gone");
}

#[test]
fn what_it_still_said_is_heard() {
    let mut watching = Watching::live();
    watching.event("status");
    watching.wait();
    assert_eq!(watching.end.poll(watching.now), EndOutput::Ask);
    watching.event("text_delta");
    watching.now += Duration::from_millis(1);
    watching.end.handle_answer(watching.now, EndAnswer::Ended(None));
    for _ in 0..5 {
        watching.now += QUIET / 2;
        watching.event("text_delta");
        assert!(matches!(watching.end.poll(watching.now), EndOutput::Wait(_)));
    }
    assert_eq!(watching.wait(), QUIET);
    assert_eq!(watching.end.poll(watching.now), EndOutput::Ended(None));
}

#[test]
fn a_replay_has_gaps() {
    let now = Instant::now();
    let mut watching = Watching { end: EndDetector::new(now), now };
    watching.event("snapshot");
    assert_eq!(watching.wait(), REPLAY_QUIET);
    watching.answered(EndAnswer::Ended(None));
    watching.now += QUIET;
    watching.event("text_delta");
    assert_eq!(watching.wait(), REPLAY_QUIET);
    assert_eq!(watching.end.poll(watching.now), EndOutput::Ended(None));
}

#[test]
fn who_is_away_is_not_asked() {
    let problem = || Box::new(Problem::unexpected_body());
    let away = [
        GatewayEvent::Away { retry_after: Duration::ZERO, problem: problem() },
        GatewayEvent::Diagnostic(Diagnostic {
            code: UPSTREAM_DISCONNECTED.to_owned().into(),
            ..Diagnostic::new("", Severity::Warning, String::new())
        }),
    ];
    for away in away {
        let mut watching = Watching::live();
        watching.end.handle(watching.now, &away);
        for _ in 0..3 {
            watching.wait();
        }
        let back = match away {
            GatewayEvent::Away { .. } => GatewayEvent::Back { nothing_missed: true },
            _ => return watching.notice(UPSTREAM_RESUMED),
        };
        watching.end.handle(watching.now, &back);
        watching.wait();
        watching.answered(EndAnswer::Unknown);
        assert_eq!(watching.wait(), ASK_EVERY, "no answer is asked for again");
    }
}
