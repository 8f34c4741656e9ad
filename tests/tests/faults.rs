//! Every fault on the way to a runtime, made for real: each has its own code, phase and outcome, and none of them
//! tells where the runtime is.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::pki_types::PrivatePkcs8KeyDer;
use sekisho_server::{Config, Server};
use sekisho_tests::client::{Answer, request};
use sekisho_tests::ports::refusing;
use sekisho_tests::upstream::{Act, Upstream, json, runtime_summary, with_headers};

const DETAIL: &str = r#"{"worker":{"worker_ref":{"runtime_id":"rt","worker_id":"w"},"runtime_id":"rt","worker_id":"w","status":"running","intent":{"kind":"assistant"},"profile":{"kind":"runtime_default"},"transcript_len":0,"last_event_id":2}}"#;
const ACK: &str = r#"{"ack":{"worker_ref":{"runtime_id":"rt","worker_id":"w"},"status":"running","transcript_sequence":1,"event_id":8}}"#;

const GET: (&str, &str, Option<&str>) = ("GET", "/api/runtimes/rt/workers/w", None);
const INPUT: (&str, &str, Option<&str>) =
    ("POST", "/api/runtimes/rt/workers/w/input", Some(r#"{"content":"hello"}"#));
const STOP: (&str, &str, Option<&str>) = ("POST", "/api/runtimes/rt/workers/w/stop", None);

fn gateway(base_url: &str, more: &str) -> Server {
    let config = format!(
        "listen = '127.0.0.1:0'\nmax_response_bytes = 2000\n[[remote]]\nruntime_id = 'rt'\n\
         base_url = '{base_url}'\nconnect_timeout_ms = 400\nresponse_timeout_ms = 400\n{more}"
    );
    Server::start(Config::from_toml(&config).unwrap()).unwrap()
}

fn ask(gateway: &Server, (method, path, body): (&str, &str, Option<&str>)) -> Answer {
    request(gateway.local_addr(), method, path, body)
}

/// What must be true of a fault, whatever is asked.
struct Fault {
    code: &'static str,
    status: u16,
    origin: &'static str,
    phase: &'static str,
    /// Of an input.
    outcome: &'static str,
}

#[track_caller]
fn check(gateway: &Server, upstream: Option<SocketAddr>, fault: &Fault) {
    for (asked, outcome) in [(GET, ""), (INPUT, fault.outcome)] {
        let answer = ask(gateway, asked);
        let told = (
            answer.status,
            answer.text("code"),
            answer.text("origin"),
            answer.text("phase"),
            answer.text("outcome"),
        );
        let expected =
            (fault.status, fault.code.into(), fault.origin.into(), fault.phase.into(), outcome.into());
        assert_eq!(told, expected, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let everything = format!("{}{}", answer.head, answer.body);
        let address = upstream.map(|address| address.port().to_string());
        for secret in ["127.0.0.1", "localhost", "http://", "https://"].into_iter().chain(address.as_deref())
        {
            assert!(!everything.contains(secret), "{secret} in {everything}");
        }
    }
}

/// A fault of an upstream that answers every request so.
#[track_caller]
fn answered(act: Act, fault: &Fault) {
    let upstream = Upstream::identified("rt", move |_| act.clone());
    let gateway = gateway(&format!("http://{}", upstream.address()), "");
    check(&gateway, Some(upstream.address()), fault);
    gateway.shutdown();
}

fn typed(status: u16, code: &str) -> Act {
    json(status, &format!(r#"{{"error":{{"code":"{code}","message":"the runtime's words"}}}}"#))
}

#[test]
fn a_name_that_does_not_resolve() {
    // A label of more than 63 characters is refused before anybody is asked (RFC 1035, 2.3.4).
    let gateway = gateway(&format!("http://{}.invalid", "x".repeat(64)), "");
    let fault = Fault {
        code: "network_error",
        status: 502,
        origin: "network",
        phase: "resolve",
        outcome: "not_applied",
    };
    check(&gateway, None, &fault);
}

#[test]
fn refused() {
    let address = refusing();
    let gateway = gateway(&format!("http://{address}"), "");
    let fault = Fault {
        code: "network_error",
        status: 502,
        origin: "network",
        phase: "connect",
        outcome: "not_applied",
    };
    check(&gateway, Some(address), &fault);
}

#[test]
fn reset() {
    let fault =
        Fault { code: "network_error", status: 502, origin: "network", phase: "receive", outcome: "unknown" };
    answered(Act::Reset, &fault);
    answered(Act::SendAndClose(String::new()), &fault);
    answered(Act::SendAndClose("HTTP/1.1 200 OK\r\ncontent-le".into()), &fault);
}

#[test]
fn a_certificate_of_somebody_elses() {
    let issued = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let (own, other) = (issued("localhost"), issued("localhost"));
    let tls = Arc::new(
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![own.cert.der().clone()],
                PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()).into(),
            )
            .unwrap(),
    );
    let greet = move |stream: TcpStream| {
        let session = rustls::ServerConnection::new(tls.clone()).map_err(io::Error::other)?;
        Ok(rustls::StreamOwned::new(session, stream))
    };
    let upstream = Upstream::start_with(greet, Some("rt"), |_| json(200, DETAIL));
    let directory = tempfile::tempdir().unwrap();
    let trusting = |pem: &str, name: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, pem).unwrap();
        let base_url = format!("https://localhost:{}", upstream.address().port());
        gateway(&base_url, &format!("ca_file = {path:?}"))
    };
    let fault =
        Fault { code: "network_error", status: 502, origin: "network", phase: "tls", outcome: "not_applied" };
    check(&trusting(&other.cert.pem(), "other"), Some(upstream.address()), &fault);
    assert_eq!(upstream.asked(), 0, "nothing is sent to a runtime whose certificate is not trusted");
    assert_eq!(ask(&trusting(&own.cert.pem(), "own"), GET).status, 200);
}

#[test]
fn tls_where_there_is_none() {
    let upstream = Upstream::identified("rt", |_| json(200, DETAIL));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca");
    let pem = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    std::fs::write(&path, pem).unwrap();
    let base_url = format!("https://localhost:{}", upstream.address().port());
    let gateway = gateway(&base_url, &format!("ca_file = {path:?}"));
    // The upstream waits for the end of a request that never comes, and the gateway for a greeting.
    let fault = Fault {
        code: "runtime_timeout",
        status: 504,
        origin: "runtime",
        phase: "connect",
        outcome: "not_applied",
    };
    check(&gateway, Some(upstream.address()), &fault);
}

#[test]
fn no_answer_to_connect() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    // Fills the backlog: the kernel then answers no further connection.
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, std::time::Duration::from_millis(200)) {
        waiting.push(stream);
    }
    let gateway = gateway(&format!("http://{address}"), "");
    let fault = Fault {
        code: "runtime_timeout",
        status: 504,
        origin: "runtime",
        phase: "connect",
        outcome: "not_applied",
    };
    check(&gateway, Some(address), &fault);
}

#[test]
fn no_response_head() {
    let fault = Fault {
        code: "runtime_timeout",
        status: 504,
        origin: "runtime",
        phase: "response",
        outcome: "unknown",
    };
    answered(Act::SendAndStall(String::new()), &fault);
    answered(Act::SendAndStall("HTTP/1.1 200 OK\r\n".into()), &fault);
}

#[test]
fn a_body_that_stalls() {
    let fault =
        Fault { code: "runtime_timeout", status: 504, origin: "runtime", phase: "body", outcome: "unknown" };
    answered(Act::SendAndStall("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{".into()), &fault);
    answered(
        Act::SendAndStall("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n".into()),
        &fault,
    );
}

#[test]
fn replies_that_make_no_sense() {
    let fault =
        Fault { code: "malformed_response", status: 502, origin: "runtime", phase: "", outcome: "unknown" };
    answered(Act::SendAndClose("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{".into()), &fault);
    answered(Act::SendAndClose("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".into()), &fault);
    answered(Act::SendAndClose("SSH-2.0-OpenSSH_9.2\r\n\r\n".into()), &fault);
    answered(json(200, "<html>it works</html>"), &fault);
    answered(json(200, r#"{"worker":{"id":7}}"#), &fault);
    answered(json(200, "{}"), &fault);
    answered(json(204, ""), &fault);
    answered(json(400, "<html>bad request</html>"), &fault);
}

#[test]
fn too_large() {
    let fault =
        Fault { code: "response_too_large", status: 502, origin: "runtime", phase: "", outcome: "unknown" };
    answered(json(200, &" ".repeat(2001)), &fault);
    let chunk = format!("7d0\r\n{}\r\n", " ".repeat(2000));
    answered(
        Act::Send(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n")),
        &fault,
    );
}

#[test]
fn redirects_are_not_followed() {
    let elsewhere = Upstream::start(|_| json(200, DETAIL));
    let fault =
        Fault { code: "unexpected_redirect", status: 502, origin: "runtime", phase: "", outcome: "unknown" };
    for status in [301, 302, 303, 307, 308] {
        let location = format!("location: http://{}/v1/workers/w\r\n", elsewhere.address());
        answered(with_headers(status, &location, ""), &fault);
    }
    assert_eq!(elsewhere.asked(), 0);
}

#[test]
fn the_credential_is_refused() {
    let fault = Fault {
        code: "runtime_auth_failed",
        status: 502,
        origin: "runtime",
        phase: "",
        outcome: "not_applied",
    };
    answered(typed(401, "unauthorized"), &fault);
    answered(json(403, "<html>forbidden</html>"), &fault);
}

#[test]
fn only_the_runtimes_own_word_makes_a_worker_unknown() {
    let gone =
        Fault { code: "worker_not_found", status: 404, origin: "runtime", phase: "", outcome: "not_applied" };
    answered(typed(404, "worker_not_found"), &gone);
    let unsupported =
        Fault { code: "unsupported", status: 501, origin: "runtime", phase: "", outcome: "not_applied" };
    answered(json(404, ""), &unsupported);
    answered(json(404, "<html>not found</html>"), &unsupported);
    answered(with_headers(405, "allow: GET\r\n", ""), &unsupported);
    answered(json(501, ""), &unsupported);
}

#[test]
fn conflicts() {
    for (code, origin) in
        [("runtime_stopped", "runtime"), ("worker_busy", "runtime"), ("idempotency_conflict", "client")]
    {
        answered(typed(409, code), &Fault { code, status: 409, origin, phase: "", outcome: "not_applied" });
    }
}

#[test]
fn content_that_the_runtime_refuses() {
    let fault =
        Fault { code: "invalid_request", status: 400, origin: "client", phase: "", outcome: "not_applied" };
    answered(typed(400, "limit_too_large"), &fault);
    let fault =
        Fault { code: "payload_too_large", status: 413, origin: "client", phase: "", outcome: "not_applied" };
    answered(json(413, ""), &fault);
}

#[test]
fn busy() {
    for (status, outcome) in [(429, "not_applied"), (503, "unknown")] {
        let act = with_headers(status, "retry-after: 7\r\n", "");
        let upstream = Upstream::identified("rt", move |_| act.clone());
        let gateway = gateway(&format!("http://{}", upstream.address()), "");
        let fault = Fault { code: "runtime_busy", status: 503, origin: "runtime", phase: "", outcome };
        check(&gateway, Some(upstream.address()), &fault);
        assert_eq!(ask(&gateway, INPUT).header("retry-after"), Some("7"));
    }
}

#[test]
fn the_runtime_fails() {
    let fault =
        Fault { code: "runtime_error", status: 502, origin: "runtime", phase: "", outcome: "unknown" };
    answered(typed(500, "store_corrupt"), &fault);
    answered(json(502, "<html>bad gateway</html>"), &fault);
    answered(json(504, ""), &fault);
    let upstream = Upstream::identified("rt", |_| typed(500, "store_corrupt"));
    let gateway = gateway(&format!("http://{}", upstream.address()), "");
    assert_eq!(ask(&gateway, GET).text("runtime_code"), "store_corrupt");
}

#[test]
fn somebody_else_is_spoken_of() {
    let fault =
        Fault { code: "identity_mismatch", status: 502, origin: "runtime", phase: "", outcome: "unknown" };
    for (from, to) in
        [(r#""worker_id":"w""#, r#""worker_id":"v""#), (r#""runtime_id":"rt""#, r#""runtime_id":"tr""#)]
    {
        let (detail, ack) = (DETAIL.replace(from, to), ACK.replace(from, to));
        let upstream = Upstream::identified("rt", move |asked| {
            json(200, if asked.head.starts_with("GET") { &detail } else { &ack })
        });
        let gateway = gateway(&format!("http://{}", upstream.address()), "");
        check(&gateway, Some(upstream.address()), &fault);
    }
}

#[test]
fn what_is_harmless_is_repeated_and_nothing_else() {
    let upstream = Upstream::identified("rt", |_| Act::Reset);
    let gateway = gateway(&format!("http://{}", upstream.address()), "");
    for (asked, times) in [(GET, 3), (STOP, 3), (INPUT, 1)] {
        let before = upstream.asked();
        ask(&gateway, asked);
        assert_eq!(upstream.asked() - before, times, "{asked:?}");
    }
}

#[test]
fn a_runtime_that_never_answers_is_left_alone_after_a_while() {
    let address = refusing();
    let gateway = gateway(&format!("http://{address}"), "");
    // Event loops that fail at the same time may count as one.
    let refusal =
        (0..20).map(|_| ask(&gateway, GET)).find(|answer| answer.text("code") != "network_error").unwrap();
    assert_eq!((refusal.status, refusal.text("code")), (503, "runtime_unavailable".into()));
    assert!(refusal.header("retry-after").is_some());
}

#[test]
fn no_list_waits_for_runtimes_that_hang_and_each_is_found_again() {
    let is_back = Arc::new(AtomicBool::new(false));
    let hangs = |runtime_id: &'static str| {
        let is_back = is_back.clone();
        Upstream::start(move |asked| match is_back.load(Ordering::Relaxed) {
            false => Act::SendAndStall(String::new()),
            true if asked.head.starts_with("GET /v1/runtime ") => json(200, &runtime_summary(runtime_id)),
            true => json(200, r#"{"workers":[]}"#),
        })
    };
    let (hanging, healthy) = (hangs("hangs"), Upstream::identified("rt", |_| json(200, r#"{"workers":[]}"#)));
    let gone = refusing();
    let remote = |runtime_id: &str, address: SocketAddr| {
        format!(
            "[[remote]]\nruntime_id = '{runtime_id}'\nbase_url = 'http://{address}'\nresponse_timeout_ms = 200\n"
        )
    };
    let more = remote("hangs", hanging.address()) + &remote("gone", gone);
    let gateway = gateway(&format!("http://{}", healthy.address()), &more);
    let causes = || -> Vec<(String, String)> {
        let answer = ask(&gateway, ("GET", "/api/workers", None));
        assert_eq!(answer.status, 200);
        let body = answer.json();
        let of = |diagnostic: &serde_json::Value, key: &str| diagnostic[key].as_str().unwrap().to_owned();
        let diagnostics = body["diagnostics"].as_array().unwrap().iter();
        diagnostics.map(|it| (of(it, "runtime_id"), of(it, "code"))).collect()
    };
    let both = |hangs: &str, gone: &str| {
        vec![("hangs".to_owned(), hangs.to_owned()), ("gone".to_owned(), gone.to_owned())]
    };
    assert_eq!(causes(), both("runtime_timeout", "network_error"));
    for _ in 0..3 {
        causes();
    }
    // From now on neither is asked by a list. Whether the gateway asks them meanwhile is its own affair.
    for _ in 0..3 {
        assert_eq!(causes(), both("runtime_unavailable", "runtime_unavailable"));
    }
    is_back.store(true, Ordering::Relaxed);
    // No request of a client reaches it before the gateway has found it.
    let found = || (ask(&gateway, ("GET", "/api/runtimes/hangs/workers", None)).status == 200).then_some(());
    sekisho_tests::processes::eventually("the runtime is found again", found);
    assert_eq!(causes(), [("gone".to_owned(), "runtime_unavailable".to_owned())]);
}

#[test]
fn who_comes_while_the_gateway_shuts_down_is_told_when_to_come_back() {
    let upstream = Upstream::identified("rt", |_| Act::SendAndStall(String::new()));
    let gateway = gateway(&format!("http://{}", upstream.address()), "");
    let address = gateway.local_addr();
    // It is in flight for as long as the runtime may take, and so the gateway is there.
    let in_flight = std::thread::spawn(move || request(address, INPUT.0, INPUT.1, INPUT.2));
    sekisho_tests::processes::eventually("it is in flight", || (upstream.asked() == 1).then_some(()));
    let ending = std::thread::spawn(move || gateway.shutdown());
    let drains = || (request(address, "GET", "/readyz", None).status == 503).then_some(());
    sekisho_tests::processes::eventually("it shuts down", drains);
    let refused = request(address, "GET", "/api/runtimes/rt/workers/w/events", None);
    assert_eq!((refused.status, refused.text("code")), (503, "going_away".into()));
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert_eq!(in_flight.join().unwrap().text("code"), "runtime_timeout");
    ending.join().unwrap();
}

#[test]
fn a_share_of_connections_is_not_exceeded() {
    let upstream = Upstream::identified("rt", |_| Act::SendAndStall(String::new()));
    let gateway = gateway(&format!("http://{}", upstream.address()), "max_in_flight = 1");
    let address = gateway.local_addr();
    let first = std::thread::spawn(move || request(address, GET.0, GET.1, GET.2));
    sekisho_tests::processes::eventually("the first is under way", || (upstream.asked() == 1).then_some(()));
    let second = ask(&gateway, INPUT);
    assert_eq!(
        (second.text("code"), second.text("outcome")),
        ("runtime_unavailable".into(), "not_applied".into())
    );
    assert_eq!(second.header("retry-after"), Some("1"));
    assert_eq!(first.join().unwrap().text("code"), "runtime_timeout");
}
