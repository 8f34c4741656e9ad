//! What a client is asked for before anything is routed: identifiers, hosts, origins, tokens, media types and sizes.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::io::{Read, Write};
use std::net::TcpStream;

use sekisho_core::browser_api::MAX_REQUEST_HEAD;
use sekisho_server::{Config, Server};
use sekisho_tests::client::{PATIENCE, raw, request, request_with};
use sekisho_tests::upstream::{Upstream, json};

fn gateway(upstream: &Upstream, more: &str) -> Server {
    let config = format!(
        "listen = '127.0.0.1:0'\nmax_request_bytes = 100\n{more}\n[[remote]]\nruntime_id = 'rt'\nbase_url = 'http://{}'",
        upstream.address()
    );
    Server::start(Config::from_toml(&config).unwrap()).unwrap()
}

fn silent() -> Upstream {
    Upstream::start(|asked| panic!("a request left: {asked:?}"))
}

#[test]
fn no_request_leaves_for_what_is_no_identifier() {
    let upstream = silent();
    let gateway = gateway(&upstream, "");
    let long = "x".repeat(10_000);
    for id in [
        "..",
        ".",
        "%2e%2e",
        "%2E",
        "a%2Fb",
        "a%5Cb",
        "",
        &long,
        "%00",
        "a%0Ab",
        "%E9%96%A2",
        "%25",
        "a%20b",
        "*",
    ] {
        for path in [
            format!("/api/runtimes/{id}/workers"),
            format!("/api/runtimes/rt/workers/{id}"),
            format!("/api/runtimes/rt/workers/{id}/transcript"),
        ] {
            let answer = request(gateway.local_addr(), "GET", &path, None);
            assert_eq!(
                (answer.status, answer.text("code")),
                (400, "invalid_identifier".into()),
                "{path:.50}"
            );
        }
        let path = format!("/api/runtimes/rt/workers/{id}/input");
        let answer = request(gateway.local_addr(), "POST", &path, Some(r#"{"content":"x"}"#));
        assert_eq!(answer.text("code"), "invalid_identifier", "{path:.50}");
        assert_eq!(answer.text("outcome"), "not_applied");
    }
    let slashed = request(gateway.local_addr(), "POST", "/api/runtimes/rt/workers/a/b/input", Some("{}"));
    assert_eq!(slashed.text("code"), "invalid_identifier");
    let unknown = request(gateway.local_addr(), "GET", "/api/runtimes/other/workers", None);
    assert_eq!((unknown.status, unknown.text("code")), (404, "unknown_runtime".into()));
    assert_eq!(upstream.asked(), 0);
}

#[test]
fn pages_of_other_sites_stay_outside() {
    let upstream = silent();
    let gateway = gateway(&upstream, "allowed_origins = ['https://app.example']");
    let ask = |method, headers: &[(&str, &str)]| {
        request_with(gateway.local_addr(), method, "/api/no-such-route", headers, None)
    };
    assert_eq!(ask("GET", &[("host", "evil.example")]).text("code"), "host_not_allowed");
    let posted = ask("POST", &[("origin", "https://evil.example")]);
    assert_eq!(
        (posted.text("code"), posted.text("outcome")),
        ("origin_not_allowed".into(), "not_applied".into())
    );
    let own = format!("http://{}", gateway.local_addr());
    assert_eq!(ask("GET", &[("origin", &own)]).text("code"), "unknown_route");
    let allowed = ask("GET", &[("origin", "https://app.example")]);
    assert_eq!(allowed.text("code"), "unknown_route");
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://app.example"));
    let preflight =
        ask("OPTIONS", &[("origin", "https://app.example"), ("access-control-request-method", "POST")]);
    assert_eq!(preflight.status, 204);
}

#[test]
fn the_access_token_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    std::fs::write(&path, "open-sesame\n").unwrap();
    let upstream = silent();
    let gateway = gateway(&upstream, &format!("access_token_file = {path:?}"));
    let ask = |path, headers: &[(&str, &str)]| request_with(gateway.local_addr(), "GET", path, headers, None);
    let refused = ask("/api/runtimes", &[]);
    assert_eq!((refused.status, refused.text("code")), (401, "unauthorized".into()));
    assert!(refused.header("www-authenticate").is_some());
    assert_eq!(ask("/api/runtimes", &[("authorization", "Bearer open-sesam")]).status, 401);
    assert_eq!(ask("/api/no-such-route", &[("authorization", "Bearer open-sesame")]).status, 404);
    assert_eq!(ask("/healthz", &[]).status, 200);
}

#[test]
fn bodies_are_json_and_bounded() {
    let upstream = silent();
    let gateway = gateway(&upstream, "");
    let path = "/api/runtimes/rt/workers/w/input";
    let post = |headers: &[(&str, &str)], body: &str| {
        request_with(gateway.local_addr(), "POST", path, headers, Some(body))
    };
    let json = ("content-type", "application/json");
    assert_eq!(post(&[("content-type", "text/plain")], "{}").status, 415);
    assert_eq!(post(&[], "{}").status, 415);
    let unknown = post(&[json], r#"{"content":"x","colour":"red"}"#);
    assert_eq!(unknown.text("code"), "invalid_request");
    assert!(unknown.text("detail").contains("`colour`"));
    let large = post(&[json], &" ".repeat(101));
    assert_eq!((large.status, large.text("code")), (413, "payload_too_large".into()));
    assert_eq!(large.text("outcome"), "not_applied");
    let chunks = format!("65\r\n{}\r\n0\r\n\r\n", " ".repeat(101));
    let head = "host: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ntransfer-encoding: chunked";
    let chunked =
        raw(gateway.local_addr(), format!("POST {path} HTTP/1.1\r\n{head}\r\n\r\n{chunks}").as_bytes());
    assert_eq!(chunked.text("code"), "payload_too_large");
    let wrong = request(gateway.local_addr(), "DELETE", path, None);
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("POST")));
}

#[test]
fn a_head_is_bounded() {
    let upstream = silent();
    let gateway = gateway(&upstream, "");
    let head_of = |length: usize| {
        let head = "GET /api/runtimes HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-long: ";
        let tail = "\r\n\r\n";
        let long = "x".repeat(length - head.len() - tail.len());
        raw(gateway.local_addr(), format!("{head}{long}{tail}").as_bytes())
    };
    assert_eq!(head_of(MAX_REQUEST_HEAD).status, 200);
    for length in [MAX_REQUEST_HEAD + 1, 40_000, 100_000, 1_000_000] {
        let answer = head_of(length);
        assert_eq!((answer.status, answer.text("code")), (431, "head_too_large".into()), "{length}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
}

#[test]
fn what_is_no_request_is_told_so_as_any_other_error_is() {
    let upstream = silent();
    let gateway = gateway(&upstream, "");
    for bytes in [
        "nonsense\r\n\r\n",
        "GET /api/runtimes HTTP/9.9\r\n\r\n",
        "GET /api/runtimes HTTP/1.1\r\nno colon\r\n\r\n",
        "GET /api/runtimes HTTP/1.1\r\nhost: localhost\r\ncontent-length: x\r\n\r\n",
        "G\u{e9}T / HTTP/1.1\r\n\r\n",
    ] {
        let answer = raw(gateway.local_addr(), bytes.as_bytes());
        assert_eq!((answer.status, answer.text("code")), (400, "invalid_request".into()), "{bytes:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{bytes:?}");
    }
}

#[test]
fn head_requests_have_no_body() {
    let upstream = Upstream::start(|_| json(200, r#"{"workers":[]}"#));
    let gateway = gateway(&upstream, "");
    let answer = request(gateway.local_addr(), "HEAD", "/api/runtimes/rt/workers", None);
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
}

#[test]
fn a_connection_serves_many_requests() {
    let upstream = Upstream::start(|_| json(200, r#"{"workers":[]}"#));
    let gateway = gateway(&upstream, "");
    let mut stream = TcpStream::connect(gateway.local_addr()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..3 {
        stream.write_all(b"GET /api/runtimes/rt/workers HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        while !seen.ends_with(br#"{"items":[],"diagnostics":[]}"#) {
            let count = stream.read(&mut buffer).unwrap();
            assert_ne!(count, 0);
            seen.extend(&buffer[..count]);
        }
    }
    assert_eq!(upstream.asked(), 3);
}
