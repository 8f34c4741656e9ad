#![allow(clippy::disallowed_methods, reason = "the clock of a test begins somewhere")]

use super::*;
use crate::error::{ErrorKind, NetworkPhase};
use crate::gateway_client::Gateway;
use crate::id::WorkerRef;

const REFUSED: Loss = Loss::Failed(FailureCause::Network(NetworkPhase::Connect));

/// A stream with a clock that jumps to the next deadline.
struct Pair {
    stream: GatewayStream,
    now: Instant,
}

impl Pair {
    fn new(cursor: Option<&str>) -> Self {
        let worker = WorkerRef { runtime_id: "r".parse().unwrap(), worker_id: "w".parse().unwrap() };
        let gateway = Gateway::new("http://127.0.0.1:8787/gate".parse().unwrap(), "s3cret".parse().ok());
        let now = Instant::now();
        Self { stream: gateway.open_stream(now, &worker, cursor.map(Into::into), 7), now }
    }

    fn poll(&mut self) -> GatewayStreamOutput {
        self.stream.poll(self.now)
    }

    /// Waits until there is something to connect to; where, and what was told before.
    fn connect(&mut self) -> (ConnId, String, Vec<GatewayEvent>) {
        let mut told = Vec::new();
        loop {
            match self.poll() {
                GatewayStreamOutput::Connect(connect) => {
                    assert_eq!(connect.request.headers()["authorization"], "Bearer s3cret");
                    return (connect.id, connect.request.uri().to_string(), told);
                }
                GatewayStreamOutput::Event(event) => told.push(event),
                GatewayStreamOutput::Wait { until, why } => {
                    assert_eq!(why, GatewayStreamWait::Backoff);
                    assert!(until > self.now);
                    self.now = until;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn open(&mut self) -> ConnId {
        let (id, _, _) = self.connect();
        self.stream.handle(self.now, GatewayStreamInput::Opened(id));
        id
    }

    fn frame(&mut self, id: ConnId, text: &str) {
        self.stream.handle(self.now, GatewayStreamInput::Frame(id, Bytes::copy_from_slice(text.as_bytes())));
    }

    fn event(&mut self, id: ConnId, cursor: &str) {
        self.frame(
            id,
            &format!(
                r#"{{"kind":"event","envelope":{{"cursor":"{cursor}","event_id":"{cursor}","payload":1}}}}"#
            ),
        );
    }

    /// Loses the connection, and opens the next one.
    fn reopen(&mut self, id: ConnId) -> ConnId {
        self.stream.handle(self.now, GatewayStreamInput::Lost(id, Loss::Ended));
        self.open()
    }

    fn told(&mut self) -> Vec<GatewayEvent> {
        let mut told = Vec::new();
        while let GatewayStreamOutput::Event(event) = self.poll() {
            told.push(event);
        }
        told
    }

    fn diagnostic(&mut self, id: ConnId, code: &str) {
        self.frame(id, &format!(r#"{{"kind":"diagnostic","diagnostic":{{"code":"{code}","message":"m"}}}}"#));
    }

    fn close(&mut self, id: ConnId, code: u16) {
        self.stream.handle(self.now, GatewayStreamInput::Closed(id, Some(code)));
    }

    fn stopped(&mut self) -> Result<(), String> {
        loop {
            match self.poll() {
                GatewayStreamOutput::Stopped(result) => {
                    return result.map_err(|problem| problem.code.into_owned());
                }
                GatewayStreamOutput::Event(_) | GatewayStreamOutput::Close(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn it_comes_back_with_the_cursor_of_the_last_event() {
    let mut pair = Pair::new(None);
    let (id, path, _) = pair.connect();
    assert_eq!(path, "/gate/api/runtimes/r/workers/w/events/ws");
    pair.stream.handle(pair.now, GatewayStreamInput::Opened(id));
    pair.event(id, "c-1");
    pair.event(id, "c-2");
    pair.stream.handle(pair.now, GatewayStreamInput::Lost(id, Loss::Ended));
    let (id, path, told) = pair.connect();
    assert_eq!(path, "/gate/api/runtimes/r/workers/w/events/ws?cursor=c%2D2");
    assert!(
        matches!(&told[..], [GatewayEvent::Event(_), GatewayEvent::Event(_), GatewayEvent::Away { .. }]),
        "{told:?}"
    );
    pair.stream.handle(pair.now, GatewayStreamInput::Opened(id));
    pair.event(id, "c-3");
    assert!(matches!(pair.poll(), GatewayStreamOutput::Event(GatewayEvent::Back { nothing_missed: true })));
    assert!(matches!(pair.poll(), GatewayStreamOutput::Event(GatewayEvent::Event(_))));
    assert_eq!(pair.stream.cursor(), Some("c-3"));
}

#[test]
fn what_to_do_is_in_the_range_of_the_close_code() {
    // Close code, what was said before, whether an event had come; the cursor to come back with, or the end.
    for (code, said, begun, expected) in [
        (1001, "going_away", true, Ok(Some("c-1"))),
        (1000, "", true, Ok(Some("c-1"))),
        (4001, "viewer_lagged", true, Ok(Some("c-1"))),
        (4002, "network_error", true, Ok(Some("c-1"))),
        (4399, "", true, Ok(Some("c-1"))),
        (4400, "cursor_expired", true, Ok(None)),
        (4499, "", true, Ok(None)),
        (4400, "cursor_expired", false, Err("cursor_expired")),
        (1008, "observation_only", true, Err("observation_only")),
        (4500, "cursor_malformed", true, Err("cursor_malformed")),
        (4504, "worker_not_found", true, Err("worker_not_found")),
        (4002, "network_error", false, Err("network_error")),
        (1001, "going_away", false, Err("going_away")),
        (4502, "", true, Err("not_a_gateway")),
    ] {
        let mut pair = Pair::new(Some("c-0"));
        let id = pair.open();
        if begun {
            pair.event(id, "c-1");
        }
        if !said.is_empty() {
            pair.diagnostic(id, said);
        }
        pair.close(id, code);
        match expected {
            Err(code) => assert_eq!(pair.stopped(), Err(code.to_owned())),
            Ok(cursor) => {
                let (_, path, told) = pair.connect();
                let encoded = cursor.map(|cursor| format!("?cursor={}", cursor.replace('-', "%2D")));
                assert!(path.ends_with(&format!("/ws{}", encoded.unwrap_or_default())), "{code}: {path}");
                let started_over = told.contains(&GatewayEvent::StartedOver);
                assert_eq!(started_over, cursor.is_none(), "{code}: {told:?}");
            }
        }
    }
}

#[test]
fn the_end_is_told_as_what_it_is() {
    let mut pair = Pair::new(None);
    let id = pair.open();
    pair.diagnostic(id, "network_error");
    pair.close(id, 4002);
    let GatewayStreamOutput::Stopped(Err(problem)) = pair.poll() else { panic!() };
    assert_eq!((problem.origin, problem.retryable), (crate::error::Origin::Network, true));
    assert_eq!((&*problem.title, &*problem.detail), (ErrorKind::Network(NetworkPhase::Connect).title(), "m"));
}

#[test]
fn nothing_to_come_back_to_is_the_end() {
    let mut pair = Pair::new(None);
    let (id, _, _) = pair.connect();
    pair.stream.handle(pair.now, GatewayStreamInput::Lost(id, REFUSED));
    assert_eq!(pair.stopped(), Err("gateway_unreachable".into()));
}

#[test]
fn pauses_grow_and_end() {
    let mut pair = Pair::new(None);
    let id = pair.open();
    pair.event(id, "c");
    pair.stream.handle(pair.now, GatewayStreamInput::Lost(id, Loss::Ended));
    let started = pair.now;
    let mut pauses = Vec::new();
    let end = loop {
        match pair.poll() {
            GatewayStreamOutput::Connect(connect) => {
                pair.stream.handle(pair.now, GatewayStreamInput::Lost(connect.id, REFUSED));
            }
            GatewayStreamOutput::Event(GatewayEvent::Away { retry_after, .. }) => pauses.push(retry_after),
            GatewayStreamOutput::Event(_) => {}
            GatewayStreamOutput::Wait { until, .. } => pair.now = until,
            GatewayStreamOutput::Stopped(result) => break result.unwrap_err().code,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(end, "gateway_unreachable");
    let took = pair.now - started;
    assert!(took >= GIVE_UP_AFTER && took < GIVE_UP_AFTER + LONGEST_BACKOFF, "{took:?}");
    assert!(pauses[0] <= FIRST_BACKOFF && pauses.iter().all(|pause| *pause <= LONGEST_BACKOFF));
    assert!(pauses.last().unwrap() >= &(LONGEST_BACKOFF / 2));
}

#[test]
fn a_gateway_that_answers_no_ping_is_gone() {
    let mut pair = Pair::new(None);
    let id = pair.open();
    pair.event(id, "c");
    pair.poll();
    for _ in 0..3 {
        let GatewayStreamOutput::Wait { until, why: GatewayStreamWait::Frame } = pair.poll() else {
            panic!()
        };
        pair.now = until;
        assert!(matches!(pair.poll(), GatewayStreamOutput::Ping(pinged) if pinged == id));
        pair.stream.handle(pair.now, GatewayStreamInput::Pong(id));
    }
    let GatewayStreamOutput::Wait { until, .. } = pair.poll() else { panic!() };
    pair.now = until;
    assert!(matches!(pair.poll(), GatewayStreamOutput::Ping(_)));
    let GatewayStreamOutput::Wait { until, why: GatewayStreamWait::Pong } = pair.poll() else { panic!() };
    // Frames are no pongs.
    pair.event(id, "c-2");
    pair.told();
    pair.now = until;
    assert!(matches!(pair.poll(), GatewayStreamOutput::Close(closed) if closed == id));
    let GatewayStreamOutput::Event(GatewayEvent::Away { problem, .. }) = pair.poll() else { panic!() };
    assert_eq!(problem.code, "gateway_timeout");
}

#[test]
fn a_gateway_that_only_sends_away_is_asked_less_and_less_and_then_no_more() {
    for (said, code) in [("too_many_viewers", 4003), ("going_away", 1001), ("error_to_come", 4003)] {
        let mut pair = Pair::new(None);
        let id = pair.open();
        pair.event(id, "c");
        let (started, mut connects, mut id) = (pair.now, 0, id);
        let end = loop {
            pair.frame(
                id,
                &format!(r#"{{"kind":"diagnostic","diagnostic":{{"code":"{said}","severity":"error"}}}}"#),
            );
            pair.close(id, code);
            connects += 1;
            let next = loop {
                match pair.poll() {
                    GatewayStreamOutput::Connect(connect) => break Some(connect.id),
                    GatewayStreamOutput::Stopped(result) => {
                        break {
                            assert!(result.is_err());
                            None
                        };
                    }
                    GatewayStreamOutput::Event(GatewayEvent::Back { .. }) => panic!("it is not back"),
                    GatewayStreamOutput::Event(_) => {}
                    GatewayStreamOutput::Wait { until, .. } => pair.now = until,
                    other => panic!("{other:?}"),
                }
            };
            match next {
                Some(next) => id = next,
                None => break pair.now,
            }
            pair.stream.handle(pair.now, GatewayStreamInput::Opened(id));
        };
        let took = end - started;
        assert!(took >= GIVE_UP_AFTER && took < GIVE_UP_AFTER + 2 * LONGEST_BACKOFF, "{said}: {took:?}");
        assert!(connects < 300, "{said}: {connects}");
    }
}

#[test]
fn nothing_was_missed_is_said_where_it_is_known() {
    let back = |told: &[GatewayEvent]| {
        let mut said = told.iter().filter_map(|event| match event {
            GatewayEvent::Back { nothing_missed } => Some(*nothing_missed),
            _ => None,
        });
        (said.next(), said.next())
    };
    for (codes, expected) in [
        (&["caught_up"][..], Some(true)),
        (&["upstream_disconnected", "caught_up"], Some(false)),
        (&["resynchronized", "caught_up"], Some(false)),
        (&["something_new"], Some(false)),
        (&["network_error"], None),
        (&[], None),
    ] {
        let mut pair = Pair::new(None);
        let id = pair.open();
        pair.event(id, "c-1");
        let id = pair.reopen(id);
        pair.told();
        codes.iter().for_each(|code| pair.diagnostic(id, code));
        assert_eq!(back(&pair.told()), (expected, None), "{codes:?}");
    }
    // After a cursor that was refused, and with a snapshot, something may have been missed.
    let mut pair = Pair::new(None);
    let id = pair.open();
    pair.event(id, "c-1");
    pair.diagnostic(id, "cursor_expired");
    pair.close(id, 4400);
    let id = pair.open();
    pair.told();
    pair.diagnostic(id, "caught_up");
    assert_eq!(back(&pair.told()).0, Some(false));
}

#[test]
fn the_gateway_says_when_to_come_back() {
    let mut pair = Pair::new(None);
    let id = pair.open();
    pair.event(id, "c");
    for (milliseconds, least) in [(7_001, 8), (600_000, 30)] {
        let frame = format!(
            r#"{{"kind":"diagnostic","diagnostic":{{"code":"going_away","retry_after_ms":{milliseconds}}}}}"#
        );
        let id = if milliseconds == 7_001 { id } else { pair.open() };
        pair.frame(id, &frame);
        pair.close(id, 1001);
        let told = pair.told();
        let Some(GatewayEvent::Away { retry_after, .. }) = told.last() else { panic!("{told:?}") };
        let least = Duration::from_secs(least);
        assert!(*retry_after >= least && *retry_after <= least + FIRST_BACKOFF, "{retry_after:?}");
    }
}

#[test]
fn refusals() {
    let refusal = |status: u16, body: &str| {
        let mut pair = Pair::new(None);
        let id = pair.open();
        pair.event(id, "c");
        pair.stream.handle(pair.now, GatewayStreamInput::Lost(id, Loss::Ended));
        let (id, _, _) = pair.connect();
        let response =
            Response::builder().status(status).body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
        pair.stream.handle(pair.now, GatewayStreamInput::Refused(id, response));
        pair
    };
    let unauthorized = crate::browser_api::problem(&crate::error::Error::new(ErrorKind::Unauthorized));
    let body = std::str::from_utf8(unauthorized.body()).unwrap();
    assert_eq!(refusal(401, body).stopped(), Err("unauthorized".into()));
    assert_eq!(refusal(404, "<html>").stopped(), Err("not_a_gateway".into()));
    // A proxy in front of a gateway that is just starting.
    refusal(502, "<html>").connect();
}

#[test]
fn it_stops_when_told_and_ignores_what_is_late() {
    let mut pair = Pair::new(None);
    let id = pair.open();
    pair.stream.handle(pair.now, GatewayStreamInput::Stop);
    pair.event(id, "late");
    pair.close(id, 4504);
    assert!(matches!(pair.poll(), GatewayStreamOutput::Close(closed) if closed == id));
    assert_eq!(pair.stopped(), Ok(()));
}

#[test]
fn what_is_no_frame_ends_it() {
    let mut pair = Pair::new(None);
    let id = pair.open();
    pair.frame(id, "hello");
    assert_eq!(pair.stopped(), Err("not_a_gateway".into()));
}

#[test]
fn a_connection_that_does_not_open_is_not_waited_for_for_ever() {
    let mut pair = Pair::new(None);
    let (id, _, _) = pair.connect();
    let GatewayStreamOutput::Wait { until, why: GatewayStreamWait::Connection } = pair.poll() else {
        panic!()
    };
    assert_eq!(until, pair.now + LIMITS.connect + LIMITS.response + REPORT_GRACE);
    pair.now = until;
    assert!(matches!(pair.poll(), GatewayStreamOutput::Close(closed) if closed == id));
    assert_eq!(pair.stopped(), Err("gateway_timeout".into()));
}
