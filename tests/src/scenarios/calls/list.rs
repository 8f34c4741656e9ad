//! The scenarios themselves.

use super::Repeated::{Always, Never, WhereHarmless};
use super::{Asked, Scenario, answered, scenario};
use crate::scenarios::Step::{Answer as Answered, EndSession, Hear, HearHead, Pause, Reset, Stall};
use crate::scenarios::{
    ANSWER, Answer, EVERY_WAY, Framing, MAX_RESPONSE, PLAIN, Source, Step, Way, nothing_done, response, say,
    typed,
};

/// Every one, in the order of the documentation.
pub(super) fn all() -> Vec<Scenario> {
    [connecting(), breaking(), slow(), bodies(), nonsense(), refusals(), reuse(), early()].concat()
}

fn connecting() -> Vec<Scenario> {
    let no_connection = || vec![vec![]];
    vec![
        scenario("the name does not resolve", no_connection()).over(&[Way::Unresolved]).fails_in(
            "resolve",
            "network_error",
            "not_applied",
            Always,
        ),
        scenario("the connection is refused, or there is no such socket", no_connection())
            .over(&[Way::Refused, Way::NoSocket, Way::FullSocket])
            .fails_in("connect", "network_error", "not_applied", Always),
        scenario("the connection is not answered", no_connection()).over(&[Way::Full]).short().fails_in(
            "connect",
            "runtime_timeout",
            "not_applied",
            Never,
        ),
        scenario("the certificate is not trusted, or is of another name", no_connection())
            .over(&[Way::Untrusted, Way::Misnamed])
            .fails_in("tls", "network_error", "not_applied", Never),
        scenario(
            "TLS is expected, and something else is spoken",
            vec![vec![say("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"), Stall]],
        )
        .over(&[Way::Plaintext])
        .fails_in("tls", "network_error", "not_applied", Never),
        scenario("TLS is expected, and the connection is closed", no_connection())
            .over(&[Way::Plaintext])
            .fails_in("tls", "network_error", "not_applied", Never),
        scenario("TLS is expected, and nothing is said", vec![vec![Stall]])
            .over(&[Way::Plaintext])
            .short()
            .fails_in("connect", "runtime_timeout", "not_applied", Never),
    ]
}

fn breaking() -> Vec<Scenario> {
    vec![
        answered("the connection is reset after the request", [Reset]).over(&[Way::Tcp, Way::Tls]).fails_in(
            "receive",
            "network_error",
            "unknown",
            WhereHarmless,
        ),
        answered("the connection is closed without a byte", []).over(EVERY_WAY).fails_in(
            "receive",
            "network_error",
            "unknown",
            WhereHarmless,
        ),
        answered("the connection is closed within the head", [say("HTTP/1.1 200 OK\r\ncontent-le")])
            .over(EVERY_WAY)
            .fails_in("receive", "network_error", "unknown", WhereHarmless),
        scenario("the connection is closed once, and then all is well", vec![vec![Hear], vec![Hear, ANSWER]])
            .over(EVERY_WAY)
            .fails_in("receive", "network_error", "unknown", Never)
            .but_repeating_helps(),
        scenario("the connection is closed within a big request", vec![vec![HearHead]])
            .over(EVERY_WAY)
            .with_big_input()
            .fails_in("send", "network_error", "unknown", WhereHarmless),
    ]
}

fn slow() -> Vec<Scenario> {
    vec![
        answered("no response comes", [Stall]).over(EVERY_WAY).short().fails_in(
            "response",
            "runtime_timeout",
            "unknown",
            Never,
        ),
        answered("the head of the response does not come to its end", [say("HTTP/1.1 200 OK\r\n"), Stall])
            .short()
            .fails_in("response", "runtime_timeout", "unknown", Never),
        answered("the head of the response comes too slowly", slowly("HTTP/1.1 200 OK\r\nx: y\r\n"))
            .short()
            .fails_in("response", "runtime_timeout", "unknown", Never),
        answered("an interim response, and no other", [say("HTTP/1.1 103 Early Hints\r\n\r\n"), Stall])
            .short()
            .fails_in("response", "runtime_timeout", "unknown", Never),
        scenario("a big request is not read", vec![vec![HearHead, Stall]])
            .over(EVERY_WAY)
            .with_big_input()
            .short()
            .fails_in("response", "runtime_timeout", "unknown", Never),
        answered("the body stalls", [say("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{"), Stall])
            .over(EVERY_WAY)
            .short()
            .fails_in("body", "runtime_timeout", "unknown", Never),
        answered(
            "a chunked body stalls",
            [say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n"), Stall],
        )
        .short()
        .fails_in("body", "runtime_timeout", "unknown", Never),
        answered(
            "the body comes too slowly",
            [say("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")]
                .into_iter()
                .chain(slowly("{                      ")),
        )
        .short()
        .fails_in("body", "runtime_timeout", "unknown", Never),
        answered("a body of unknown length stalls", [say("HTTP/1.0 200 OK\r\n\r\n{"), Stall])
            .short()
            .fails_in("body", "runtime_timeout", "unknown", Never),
    ]
}

/// Byte by byte, and never to the end.
fn slowly(text: &str) -> Vec<Step> {
    text.bytes().flat_map(|byte| [say([byte]), Pause]).chain([Stall]).collect()
}

fn bodies() -> Vec<Scenario> {
    let of_length = |length, framing| Answered(Answer { length: Some(length), framing, ..PLAIN });
    vec![
        answered("the body is cut short", [say("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{")])
            .over(EVERY_WAY)
            .fails("malformed_response", "unknown", Never),
        answered(
            "a chunked body is cut short",
            [say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{")],
        )
        .over(EVERY_WAY)
        .fails("malformed_response", "unknown", Never),
        answered(
            "the connection is reset within the body",
            [say("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{"), Pause, Reset],
        )
        .fails("malformed_response", "unknown", Never),
        answered("a body of unknown length is reset", [say("HTTP/1.0 200 OK\r\n\r\n{"), Pause, Reset]).fails(
            "malformed_response",
            "unknown",
            Never,
        ),
        answered(
            "a chunk is none",
            [say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n")],
        )
        .fails("malformed_response", "unknown", Never),
        answered("the body is as large as it may be", [of_length(MAX_RESPONSE, Framing::Length)]),
        answered("a chunked body is as large as it may be", [of_length(MAX_RESPONSE, Framing::Chunks)]),
        answered(
            "a body of unknown length is as large as it may be",
            [of_length(MAX_RESPONSE, Framing::Close)],
        )
        .over(&[Way::Tcp, Way::Unix]),
        answered("the body is larger than it may be", [of_length(MAX_RESPONSE + 1, Framing::Length), Stall])
            .over(EVERY_WAY)
            .fails("response_too_large", "unknown", Never),
        answered(
            "a chunked body is larger than it may be",
            [of_length(MAX_RESPONSE + 1, Framing::Chunks), Stall],
        )
        .fails("response_too_large", "unknown", Never),
        answered(
            "a body of unknown length is larger than it may be",
            [of_length(MAX_RESPONSE + 1, Framing::Close), Stall],
        )
        .fails("response_too_large", "unknown", Never),
        answered(
            "a body is announced that is larger than it may be",
            [say("HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n{"), Stall],
        )
        .short()
        .fails("response_too_large", "unknown", Never),
    ]
}

fn nonsense() -> Vec<Scenario> {
    let big_head = format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "x".repeat(256 << 10));
    let many_headers = format!("HTTP/1.1 200 OK\r\n{}content-length: 2\r\n\r\n{{}}", "x: x\r\n".repeat(110));
    vec![
        answered("what comes is not HTTP", [say("SSH-2.0-OpenSSH_9.2\r\n")]).over(EVERY_WAY).fails(
            "malformed_response",
            "unknown",
            Never,
        ),
        answered("what comes is HTTP/2", [say("\0\0\u{12}\u{4}\0\0\0\0\0\0\u{3}\0\0\0\u{64}\0\u{4}\0\0")])
            .fails("malformed_response", "unknown", Never),
        answered(
            "the lengths of the body contradict each other",
            [say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}")],
        )
        .fails("malformed_response", "unknown", Never),
        answered("the head has more than 64 KiB", [say(big_head)]).fails(
            "malformed_response",
            "unknown",
            Never,
        ),
        answered("the head has more than 100 lines", [say(many_headers)]).fails(
            "malformed_response",
            "unknown",
            Never,
        ),
        answered(
            "the protocol is switched, unasked",
            [say("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")],
        )
        .fails("malformed_response", "unknown", Never),
        answered("a success is not 200", [response(204, "", "")]).fails(
            "malformed_response",
            "unknown",
            Never,
        ),
        answered("the body is not JSON", [response(200, "", "<html>it works</html>")]).fails(
            "malformed_response",
            "unknown",
            Never,
        ),
        answered("the body is JSON of another shape", [response(200, "", r#"{"worker":{"id":7}}"#)]).fails(
            "malformed_response",
            "unknown",
            Never,
        ),
        Scenario {
            asked: &[Asked::Read],
            ..answered(
                "a text of the body is cut within a character",
                [worker(r#""objective":"cut \ud83d""#)],
            )
        },
        Scenario {
            asked: &[Asked::Read],
            ..answered(
                "the body has fields and values that are not known, 300 levels deep, and a number out of range",
                [worker(&format!(
                    r#""objective":"x"}},"status":"resting","end":{{"reason":"evicted"}},"more":[1e400,{}7{}],"x":{{"y":1"#,
                    "[".repeat(300),
                    "]".repeat(300),
                ))],
            )
        },
        answered("the response speaks of another worker", [Answered(Answer { worker_id: "v", ..PLAIN })])
            .fails("identity_mismatch", "unknown", Never),
    ]
}

/// A worker whose intent goes on like this.
fn worker(intent: &str) -> Step {
    let body = format!(
        r#"{{"worker":{{"worker_ref":{{"runtime_id":"rt","worker_id":"w"}},"runtime_id":"rt","worker_id":"w",
        "profile":{{"kind":"runtime_default"}},"transcript_len":0,"last_event_id":2,
        "intent":{{"kind":"task",{intent}}}{}}}}}"#,
        if intent.contains("status") { "" } else { r#","status":"running""# },
    );
    response(200, "", &body)
}

fn refusals() -> Vec<Scenario> {
    let page = "<html>a proxy's words</html>";
    vec![
        answered("a redirect", [response(302, "location: http://127.0.0.1:1/\r\n", "")]).fails(
            "unexpected_redirect",
            "unknown",
            Never,
        ),
        answered("a redirect with a body", [response(307, "location: http://127.0.0.1:1/\r\n", page)]).fails(
            "unexpected_redirect",
            "unknown",
            Never,
        ),
        answered("304", [say("HTTP/1.1 304 Not Modified\r\n\r\n")]).fails(
            "unexpected_redirect",
            "unknown",
            Never,
        ),
        answered("401, and the token is still the same", [typed(401, "unauthorized")]).fails(
            "runtime_auth_failed",
            "not_applied",
            Never,
        ),
        answered("401, and the token cannot be read", [typed(401, "unauthorized")])
            .source(Source::Unreadable)
            .fails("runtime_auth_failed", "not_applied", Never),
        answered("401, and the token has been replaced", [typed(401, "unauthorized"), Hear, ANSWER])
            .over(EVERY_WAY)
            .source(Source::Replaced)
            .recovers(1),
        answered("403", [response(403, "", page)]).fails("runtime_auth_failed", "not_applied", Never),
        answered("404 in the runtime's own words", [typed(404, "worker_not_found")]).fails(
            "worker_not_found",
            "not_applied",
            Never,
        ),
        answered("404 without a word", [response(404, "", "")]).fails("unsupported", "not_applied", Never),
        answered("404 of a proxy's", [response(404, "", page)]).fails("unsupported", "not_applied", Never),
        answered("405", [response(405, "allow: GET\r\n", "")]).fails("unsupported", "not_applied", Never),
        answered("501", [response(501, "", "")]).fails("unsupported", "not_applied", Never),
        answered("400 in the runtime's own words", [typed(400, "invalid_request")]).fails(
            "invalid_request",
            "not_applied",
            Never,
        ),
        answered("409, the runtime is stopped", [typed(409, "runtime_stopped")]).fails(
            "runtime_stopped",
            "not_applied",
            Never,
        ),
        answered("409, the worker is busy", [typed(409, "worker_busy")]).fails(
            "worker_busy",
            "not_applied",
            Never,
        ),
        answered("409, the key was used before", [typed(409, "idempotency_conflict")]).fails(
            "idempotency_conflict",
            "not_applied",
            Never,
        ),
        answered("409, for a cause that is not known", [typed(409, "of_tomorrow")]).fails(
            "conflict",
            "not_applied",
            Never,
        ),
        answered("400, the JSON is called invalid", [typed(400, "invalid_json")]).fails(
            "runtime_error",
            "not_applied",
            Never,
        ),
        answered("403 in the runtime's own words", [typed(403, "not_allowed")]).fails(
            "not_allowed",
            "not_applied",
            Never,
        ),
        answered("413", [response(413, "", "")]).fails("payload_too_large", "not_applied", Never),
        scenario(
            "429",
            vec![vec![Hear, response(429, "", ""), Hear, response(429, "", ""), Hear, response(429, "", "")]],
        )
        .fails("runtime_busy", "not_applied", WhereHarmless),
        answered("429, for longer than there is time", [response(429, "retry-after: 3600\r\n", "")]).fails(
            "runtime_busy",
            "not_applied",
            Never,
        ),
        answered(
            "429 for a second, and then all is well",
            [response(429, "retry-after: 1\r\n", ""), Hear, ANSWER],
        )
        .fails("runtime_busy", "not_applied", Never)
        .but_repeating_helps(),
        answered("503", [response(503, "connection: close\r\n", page)]).fails(
            "runtime_busy",
            "unknown",
            WhereHarmless,
        ),
        scenario(
            "503 in the runtime's own words",
            vec![vec![
                Hear,
                typed(503, "runtime_full"),
                Hear,
                typed(503, "runtime_full"),
                Hear,
                typed(503, "runtime_full"),
            ]],
        )
        .fails("runtime_busy", "not_applied", WhereHarmless),
        answered("503, for longer than there is time", [response(503, "retry-after: 3600\r\n", "")]).fails(
            "runtime_busy",
            "unknown",
            Never,
        ),
        answered("500 in the runtime's own words", [typed(500, "store_io")]).fails(
            "runtime_error",
            "unknown",
            Never,
        ),
        answered("500 in the runtime's own words, of what it has not done", [nothing_done(500, "store_io")])
            .fails("runtime_error", "not_applied", Never),
        answered("502 of a proxy's", [response(502, "", page)]).fails("runtime_error", "unknown", Never),
    ]
}

fn reuse() -> Vec<Scenario> {
    let beginning = |head| Answered(Answer { head, ..PLAIN });
    vec![
        answered("a response", [ANSWER]).over(EVERY_WAY),
        answered("a chunked response", [Answered(Answer { framing: Framing::Chunks, ..PLAIN })])
            .over(EVERY_WAY),
        answered(
            "a response under HTTP/1.0",
            [Answered(Answer { head: "HTTP/1.0 200 OK\r\n", framing: Framing::Close, ..PLAIN })],
        )
        .over(&[Way::Tcp, Way::Unix]),
        answered(
            "a response under HTTP/1.0 after which the connection is kept",
            [beginning("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n"), Stall],
        ),
        answered(
            "an interim response before the other",
            [
                say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </>\r\n\r\n"),
                Pause,
                ANSWER,
            ],
        )
        .over(EVERY_WAY),
        answered(
            "a head that comes in parts",
            [say("HTTP/1.1 200 OK\r\nx: "), Pause, say("y\r\n"), Pause, beginning("")],
        ),
        answered("a connection that is used again", [ANSWER, Hear, ANSWER]).over(EVERY_WAY).twice(),
        answered(
            "a connection that is used again after a chunked response",
            [Answered(Answer { framing: Framing::Chunks, ..PLAIN }), Hear, ANSWER],
        )
        .over(EVERY_WAY)
        .twice(),
        answered("a connection that the runtime closed while it was idle", [ANSWER]).over(EVERY_WAY).twice(),
        answered("a TLS session that the runtime ended while it was idle", [ANSWER, EndSession, Stall])
            .over(&[Way::Tls])
            .twice(),
        answered(
            "a connection that is to be closed",
            [beginning("HTTP/1.1 200 OK\r\nconnection: close\r\n"), Stall],
        )
        .twice(),
        scenario(
            "a connection on which more is said than was asked",
            vec![
                vec![
                    Hear,
                    say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n\r\n"),
                    Stall,
                ],
                vec![Hear, ANSWER],
            ],
        )
        .twice(),
        scenario(
            "a connection whose last response was over the limit",
            vec![
                vec![Hear, Answered(Answer { length: Some(MAX_RESPONSE + 1), ..PLAIN }), Stall],
                vec![Hear, ANSWER],
            ],
        )
        .twice(),
    ]
}

fn early() -> Vec<Scenario> {
    vec![
        scenario("a big request", vec![vec![Hear, ANSWER]]).over(EVERY_WAY).with_big_input(),
        scenario("413 before a big request was read", vec![vec![HearHead, response(413, "", ""), Stall]])
            .over(EVERY_WAY)
            .with_big_input()
            .fails("payload_too_large", "not_applied", Never),
        scenario(
            "413 before a big request was read, and then all is well",
            vec![vec![HearHead, response(413, "", ""), Stall], vec![Hear, ANSWER]],
        )
        .over(EVERY_WAY)
        .with_big_input()
        .twice(),
        scenario(
            "413 before a big request was read, and the connection is closed",
            vec![vec![HearHead, response(413, "connection: close\r\n", "")]],
        )
        .over(EVERY_WAY)
        .with_big_input()
        .fails("payload_too_large", "not_applied", Never),
    ]
}
