//! What may become of a worker's stream.

use sekisho_core::watch::OnExpiredCursor;

use super::Step::{Accept, Hear, HearFrame, Pause, Reset, Stall};
use super::frames::{BINARY, CLOSE, PING, TEXT, diagnostic, envelope, event, frame, snapshot};
use super::{EVERY_WAY, Patience, Source, Step, Way, response, say, typed};

/// One thing that may happen, and what must come of it.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What happens, as the table in the documentation says it.
    pub name: &'static str,
    /// The ways by which it may happen.
    pub ways: &'static [Way],
    /// What the runtime does with each connection; with further ones the last again.
    pub connections: Vec<Vec<Step>>,
    /// Where to resume.
    pub from: Option<&'static str>,
    /// What to do where the runtime does not know that place any more.
    pub on_expired_cursor: OnExpiredCursor,
    /// How much time there is.
    pub patience: Patience,
    /// Whether what happens is no reason to stop, and the stream is given up at once.
    pub gives_up: bool,
    /// What the token's source has.
    pub source: Source,
    /// What is told; the stream is stopped after it, where it has not come to its end.
    pub told: &'static [Told],
}

/// What is told of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// The state of the worker at a place.
    Snapshot(&'static str),
    /// Something happened, which is the place after it.
    Event(&'static str),
    /// The runtime is away.
    Disconnected,
    /// It is back.
    Resumed,
    /// It is back without the place.
    Resynchronized,
    /// The end, with a code and a phase.
    Stopped(&'static str, Option<&'static str>),
}

use Told::{Disconnected, Event, Resumed, Resynchronized, Snapshot, Stopped};

fn scenario(name: &'static str, connections: Vec<Vec<Step>>, told: &'static [Told]) -> Scenario {
    Scenario {
        name,
        ways: &[Way::Tcp],
        connections,
        from: None,
        on_expired_cursor: OnExpiredCursor::Resynchronize,
        patience: Patience::Ample,
        gives_up: false,
        source: Source::Unchanged,
        told,
    }
}

impl Scenario {
    fn over(self, ways: &'static [Way]) -> Self {
        Self { ways, ..self }
    }

    fn from(self, place: &'static str) -> Self {
        Self { from: Some(place), ..self }
    }

    fn short(self) -> Self {
        Self { patience: Patience::Short, ..self }
    }

    fn gives_up(self) -> Self {
        Self { gives_up: true, ..self }
    }

    fn source(self, source: Source) -> Self {
        Self { source, ..self }
    }

    fn stops_on_expired_cursor(self) -> Self {
        Self { on_expired_cursor: OnExpiredCursor::Stop, ..self }
    }
}

/// The runtime answers the request for a stream with something else than a stream, and that is the end.
fn refused(name: &'static str, answer: Vec<Step>, told: &'static [Told]) -> Scenario {
    let steps = [Hear].into_iter().chain(answer).collect();
    scenario(name, vec![steps], told)
}

/// The stream begins well, and then the runtime does this.
fn begun(name: &'static str, steps: Vec<Step>, told: &'static [Told]) -> Scenario {
    let steps = [Hear, Accept(snapshot("c0")), Pause].into_iter().chain(steps).collect();
    scenario(name, vec![steps], told)
}

/// Every one, in the order of the documentation.
pub fn all() -> Vec<Scenario> {
    [connecting(), refusals(), frames(), ends(), resuming()].concat()
}

fn connecting() -> Vec<Scenario> {
    let no_connection = || vec![vec![]];
    vec![
        scenario("the name does not resolve", no_connection(), &[Stopped("network_error", Some("resolve"))])
            .over(&[Way::Unresolved])
            .gives_up(),
        scenario(
            "the connection is refused, or there is no such socket",
            no_connection(),
            &[Stopped("network_error", Some("connect"))],
        )
        .over(&[Way::Refused, Way::NoSocket, Way::FullSocket])
        .gives_up(),
        scenario(
            "the connection is not answered",
            no_connection(),
            &[Stopped("runtime_timeout", Some("connect"))],
        )
        .over(&[Way::Full])
        .short()
        .gives_up(),
        scenario(
            "the certificate is not trusted, or is of another name",
            no_connection(),
            &[Stopped("network_error", Some("tls"))],
        )
        .over(&[Way::Untrusted, Way::Misnamed])
        .gives_up(),
        refused(
            "the connection is reset after the request",
            vec![Reset],
            &[Stopped("network_error", Some("receive"))],
        )
        .over(&[Way::Tcp, Way::Tls])
        .gives_up(),
        refused(
            "the connection is closed without a byte",
            vec![],
            &[Stopped("network_error", Some("receive"))],
        )
        .over(EVERY_WAY)
        .gives_up(),
        refused("no response comes", vec![Stall], &[Stopped("runtime_timeout", Some("response"))])
            .short()
            .gives_up(),
        refused(
            "what comes is not HTTP",
            vec![say("SSH-2.0-OpenSSH_9.2\r\n")],
            &[Stopped("malformed_response", None)],
        ),
    ]
}

fn refusals() -> Vec<Scenario> {
    let page = "<html>a proxy's words</html>";
    let typed_body = r#"{"error":{"code":"worker_not_found","message":"m"}}"#;
    let head = format!("HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\n\r\n", typed_body.len());
    let chunk = format!("{:x}\r\n{typed_body}\r\n", typed_body.len());
    let worker_not_found = &[Stopped("worker_not_found", None)];
    vec![
        refused(
            "a redirect",
            vec![response(302, "location: /\r\n", "")],
            &[Stopped("unexpected_redirect", None)],
        ),
        refused(
            "401, and the token is still the same",
            vec![typed(401, "unauthorized")],
            &[Stopped("runtime_auth_failed", None)],
        ),
        scenario(
            "401, and the token has been replaced",
            vec![vec![Hear, typed(401, "unauthorized")], vec![Hear, Accept(snapshot("c0")), Stall]],
            &[Snapshot("c0")],
        )
        .over(EVERY_WAY)
        .source(Source::Replaced),
        refused("403", vec![response(403, "", page)], &[Stopped("runtime_auth_failed", None)]),
        refused("404 in the runtime's own words", vec![typed(404, "worker_not_found")], worker_not_found),
        refused(
            "404 in the runtime's own words, after the head",
            vec![say(head), Pause, say(typed_body)],
            worker_not_found,
        )
        .over(EVERY_WAY),
        refused(
            "404 in the runtime's own words, in chunks",
            vec![
                say("HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n"),
                Pause,
                say(chunk),
                Pause,
                say("0\r\n\r\n"),
            ],
            worker_not_found,
        )
        .over(EVERY_WAY),
        refused("404 without a word", vec![response(404, "", "")], &[Stopped("unsupported", None)]),
        refused("404 of a proxy's", vec![response(404, "", page)], &[Stopped("unsupported", None)]),
        refused("405", vec![response(405, "allow: POST\r\n", "")], &[Stopped("unsupported", None)]),
        refused(
            "400 in the runtime's own words",
            vec![typed(400, "invalid_request")],
            &[Stopped("invalid_request", None)],
        ),
        refused(
            "409, the runtime is stopped",
            vec![typed(409, "runtime_stopped")],
            &[Stopped("runtime_stopped", None)],
        )
        .gives_up(),
        refused("429", vec![response(429, "", "")], &[Stopped("runtime_busy", None)]).gives_up(),
        refused("503", vec![response(503, "", page)], &[Stopped("runtime_busy", None)]).gives_up(),
        refused(
            "500 in the runtime's own words",
            vec![typed(500, "store_io")],
            &[Stopped("runtime_error", None)],
        )
        .gives_up(),
        refused("200 with a page", vec![response(200, "", page)], &[Stopped("malformed_response", None)]),
        refused(
            "the body of the refusal is cut short",
            vec![say("HTTP/1.1 404 Not Found\r\ncontent-length: 10\r\n\r\n{")],
            &[Stopped("malformed_response", None)],
        ),
        refused(
            "the body of the refusal stalls",
            vec![say("HTTP/1.1 404 Not Found\r\ncontent-length: 10\r\n\r\n{"), Stall],
            &[Stopped("runtime_timeout", Some("body"))],
        )
        .short()
        .gives_up(),
        refused(
            "the body of the refusal is over 64 KiB",
            vec![response(404, "", &" ".repeat(65 << 10))],
            &[Stopped("response_too_large", None)],
        ),
        refused(
            "101 with another key than the one that was sent",
            vec![
                say("HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                     sec-websocket-accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"),
                Stall,
            ],
            &[Stopped("malformed_frame", None)],
        ),
        refused(
            "101 without a key",
            vec![
                say("HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n"),
                Stall,
            ],
            &[Stopped("malformed_frame", None)],
        ),
        scenario(
            "503 once, and then all is well",
            vec![vec![Hear, response(503, "", page)], vec![Hear, Accept(snapshot("c0")), Stall]],
            &[Snapshot("c0")],
        ),
    ]
}

fn frames() -> Vec<Scenario> {
    let live = &[Snapshot("c0"), Event("c1")];
    let malformed = &[Snapshot("c0"), Stopped("malformed_frame", None)];
    let too_large = [&[0x81, 127][..], &(17_u64 << 20).to_be_bytes(), b"{"].concat();
    let not_frames = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(200));
    // 17 messages' worth in one, each a part of it.
    let part = |first: u8| [&[first, 127][..], &(1_u64 << 20).to_be_bytes(), &[b' '; 1 << 20]].concat();
    let parts = [part(TEXT), part(0).repeat(16)].concat();
    vec![
        scenario(
            "a stream",
            vec![vec![Hear, Accept(vec![]), Pause, say(snapshot("c0")), Pause, say(event("c1")), Stall]],
            live,
        )
        .over(EVERY_WAY),
        scenario(
            "a stream whose first frames come with the 101",
            vec![vec![Hear, Accept([snapshot("c0"), event("c1")].concat()), Stall]],
            live,
        )
        .over(EVERY_WAY),
        scenario(
            "a stream whose first frame comes with the 101 in part",
            vec![vec![
                Hear,
                Accept(snapshot("c0")[..20].to_vec()),
                Pause,
                say([&snapshot("c0")[20..], &event("c1")].concat()),
                Stall,
            ]],
            live,
        )
        .over(EVERY_WAY),
        begun("a ping", vec![say(frame(PING, b"here?")), HearFrame, say(event("c1")), Stall], live)
            .over(EVERY_WAY),
        begun("a binary message", vec![say(frame(BINARY, b"{}")), Stall], malformed),
        begun("text that is not UTF-8", vec![say(frame(TEXT, b"\"\xff\"")), Stall], malformed),
        begun("text that is not a frame of v1", vec![say(frame(TEXT, b"{}")), Stall], malformed),
        begun("what is not WebSocket", vec![say(not_frames), Stall], malformed),
        begun(
            "an event of another worker",
            vec![say(envelope("c1", "c1", "v", "{}")), Stall],
            &[Snapshot("c0"), Stopped("identity_mismatch", None)],
        ),
        begun(
            "a frame of 17 MiB",
            vec![say(too_large.clone()), Stall],
            &[Snapshot("c0"), Stopped("response_too_large", None)],
        )
        .gives_up(),
        begun(
            "a message of 17 MiB in frames of 1 MiB",
            vec![say(parts), Stall],
            &[Snapshot("c0"), Stopped("response_too_large", None)],
        )
        .gives_up(),
        scenario(
            "a frame of 17 MiB, and then all is well",
            vec![
                vec![Hear, Accept(snapshot("c0")), Pause, say(too_large), Stall],
                vec![Hear, Accept(snapshot("c9")), Stall],
            ],
            &[Snapshot("c0"), Disconnected, Resynchronized, Snapshot("c9")],
        ),
        scenario(
            "no frame comes",
            vec![vec![Hear, Accept(vec![]), Stall]],
            &[Stopped("runtime_timeout", Some("response"))],
        )
        .short()
        .gives_up(),
    ]
}

fn ends() -> Vec<Scenario> {
    let lost = &[Snapshot("c0"), Stopped("network_error", Some("receive"))];
    let close = || frame(CLOSE, &1000_u16.to_be_bytes());
    vec![
        begun("the stream is closed properly", vec![say(close()), HearFrame], lost)
            .over(EVERY_WAY)
            .gives_up(),
        begun("the stream is dropped", vec![], lost).over(EVERY_WAY).gives_up(),
        begun("the stream is dropped within a frame", vec![say(&event("c1")[..20])], lost).gives_up(),
        begun("the stream is reset", vec![Reset], lost).over(&[Way::Tcp, Way::Tls]).gives_up(),
        begun(
            "the runtime says that there is no such worker",
            vec![say(diagnostic("runtime.worker_not_found")), Stall],
            &[Snapshot("c0"), Stopped("worker_not_found", None)],
        ),
        begun(
            "the runtime says that it is unavailable",
            vec![say(diagnostic("runtime.unavailable")), Stall],
            &[Snapshot("c0"), Stopped("runtime_error", None)],
        )
        .gives_up(),
        begun(
            "the runtime says what v1 does not know",
            vec![say(diagnostic("runtime.of_tomorrow")), say(event("c1")), Stall],
            &[Snapshot("c0"), Event("c1")],
        ),
    ]
}

fn resuming() -> Vec<Scenario> {
    let first = || vec![Hear, Accept([snapshot("c0"), event("c1")].concat())];
    let unknown = || [snapshot("c1"), diagnostic("runtime.cursor_unknown_or_expired")].concat();
    vec![
        scenario(
            "the stream is dropped, and resumed at its place",
            vec![first(), vec![Hear, Accept([snapshot("c1"), event("c2")].concat()), Stall]],
            &[Snapshot("c0"), Event("c1"), Disconnected, Resumed, Event("c2")],
        )
        .over(EVERY_WAY),
        scenario(
            "the stream is dropped, and the place is no longer known",
            vec![first(), vec![Hear, Accept(unknown())], vec![Hear, Accept(snapshot("c9")), Stall]],
            &[Snapshot("c0"), Event("c1"), Disconnected, Resynchronized, Snapshot("c9")],
        ),
        scenario(
            "a place to resume from",
            vec![vec![Hear, Accept([snapshot("c1"), event("c2")].concat()), Stall]],
            &[Event("c2")],
        )
        .from("c1"),
        scenario(
            "a place that is no longer known",
            vec![vec![Hear, Accept(unknown())]],
            &[Stopped("cursor_expired", None)],
        )
        .from("c1")
        .stops_on_expired_cursor(),
    ]
}
