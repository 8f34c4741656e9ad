//! Viewers of a worker, through real sockets and across every kind of break: no gap, no double, or a typed end.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use sekisho_core::viewer::{MAX_VIEWER_MESSAGE, ReplayLimits};
use sekisho_server::{Config, Server};
use sekisho_tests::client::{PATIENCE, request, request_with};
use sekisho_tests::follower::Follower;
use sekisho_tests::processes::{Process, binary, eventually};
use sekisho_tests::stream_runtime::StreamRuntime;
use sekisho_tests::upstream::{Upstream, json, with_headers};
use sekisho_tests::viewer::{Seen, Viewer};
use tungstenite::Message;

fn gateway(runtime: &StreamRuntime, more: &str) -> Server {
    let config = format!("listen = '127.0.0.1:0'\n{more}\n{}", runtime.configuration());
    Server::start(Config::from_toml(&config).unwrap()).unwrap()
}

#[test]
fn viewers_come_and_go_while_the_runtime_breaks_off() {
    let runtime = Arc::new(StreamRuntime::start(1024));
    let gateway = gateway(&runtime, "");
    let address = gateway.local_addr();
    let over = Arc::new(AtomicBool::new(false));
    let events = 600;
    let viewers: Vec<_> = (0..6)
        .map(|number| {
            let over = over.clone();
            thread::spawn(move || {
                let mut follower = Follower::new(address);
                let mut seen = 0;
                while !over.load(Ordering::SeqCst) {
                    seen += 5 + number;
                    follower.read_to(seen.min(events), || address);
                    // Goes, and comes back with its cursor.
                    let cursor = follower.viewer.cursor.clone();
                    follower.viewer = Viewer::open(address, "rt/w", cursor.as_deref());
                    follower.jump_allowed = false;
                }
                follower.read_to(events, || address);
                follower.resynchronized
            })
        })
        .collect();
    for number in 1..=events {
        runtime.publish();
        if number % 97 == 0 {
            runtime.break_off();
        }
        if number % 10 == 0 {
            thread::yield_now();
        }
    }
    over.store(true, Ordering::SeqCst);
    for viewer in viewers {
        assert_eq!(viewer.join().unwrap(), 0, "nothing was lost, so nothing may be skipped");
    }
}

#[test]
fn outages_are_told_and_what_is_lost_is_told() {
    let runtime = StreamRuntime::start(1024);
    let gateway = gateway(&runtime, "");
    let mut viewer = Viewer::open(gateway.local_addr(), "rt/w", None);
    let code = |viewer: &mut Viewer| match viewer.see() {
        Seen::Diagnostic(code) => code,
        other => panic!("{other:?}"),
    };
    assert!(viewer.see().is_snapshot());
    assert_eq!(code(&mut viewer), "caught_up");
    runtime.down(true);
    assert_eq!(code(&mut viewer), "upstream_disconnected");
    runtime.publish();
    runtime.down(false);
    assert_eq!(code(&mut viewer), "upstream_resumed");
    assert!(matches!(viewer.see(), Seen::Event { payload, .. } if payload["data"]["text"] == "1"));

    runtime.lose_state();
    assert_eq!(code(&mut viewer), "upstream_disconnected");
    assert_eq!(code(&mut viewer), "resynchronized");
    assert!(viewer.see().is_snapshot());
}

fn server(directory: &Path, runtime: &StreamRuntime) -> Process {
    let config = directory.join("sekisho.toml");
    let key = directory.join("cursor.key");
    let text = format!("listen = '127.0.0.1:0'\ncursor_key_file = {key:?}\n{}", runtime.configuration());
    std::fs::write(&config, text).unwrap();
    Process::start(Command::new(binary("sekisho-server")).arg("--config").arg(config))
}

#[test]
fn gateways_share_their_cursors_and_outlive_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = StreamRuntime::start(1024);
    let first = server(directory.path(), &runtime);
    let mut followers: Vec<Follower> = (0..4).map(|_| Follower::new(first.address())).collect();
    let mut beside = Follower::new(first.address());
    runtime.publish();
    for follower in followers.iter_mut().chain([&mut beside]) {
        follower.read_to(1, || first.address());
    }
    let mode = std::os::unix::fs::MetadataExt::mode(
        &std::fs::metadata(directory.path().join("cursor.key")).unwrap(),
    );
    assert_eq!(mode & 0o777, 0o600);

    let second = server(directory.path(), &runtime);
    let cursor = beside.viewer.cursor.clone();
    beside.viewer = Viewer::open(second.address(), "rt/w", cursor.as_deref());
    beside.jump_allowed = false;
    for _ in 0..20 {
        runtime.publish();
    }
    beside.read_to(21, || second.address());

    first.signal("KILL");
    let third = server(directory.path(), &runtime);
    for (number, follower) in followers.iter_mut().enumerate() {
        let other = if number % 2 == 0 { &second } else { &third };
        follower.read_to(21, || other.address());
    }
    runtime.publish();
    for follower in &mut followers {
        follower.read_to(22, || second.address());
    }
}

#[test]
fn five_hundred_viewers_are_one_stream() {
    let runtime = StreamRuntime::start(1024);
    let gateway = gateway(&runtime, "");
    let mut viewers: Vec<Viewer> =
        (0..500).map(|_| Viewer::open(gateway.local_addr(), "rt/w", None)).collect();
    for viewer in &mut viewers {
        assert!(viewer.see().is_snapshot());
    }
    runtime.publish();
    let mut seen = Vec::new();
    for viewer in &mut viewers {
        seen.push(loop {
            match viewer.see() {
                event @ Seen::Event { .. } => break event,
                Seen::Diagnostic(code) => assert_eq!(code, "caught_up"),
                Seen::Closed(code) => panic!("{code}"),
            }
        });
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "the same event has the same id and cursor for everybody");
    assert_eq!(runtime.streams(), (1, 1));
}

#[test]
fn old_cursors_share_few_replays() {
    let runtime = StreamRuntime::start(20_000);
    let gateway = gateway(&runtime, "");
    let address = gateway.local_addr();
    let mut first = Follower::new(address);
    runtime.publish();
    first.read_to(1, || panic!("sent away"));
    let old = first.viewer.cursor.clone();
    // More than the ring has.
    let events = 9_000;
    (1..events).for_each(|_| runtime.publish());
    first.read_to(events, || panic!("sent away"));
    let viewers: Vec<_> = (0..24)
        .map(|_| {
            let old = old.clone();
            thread::spawn(move || {
                let viewer = Viewer::open(address, "rt/w", old.as_deref());
                let mut follower =
                    Follower { viewer, expected: Some(2), jump_allowed: false, resynchronized: 0 };
                follower.read_to(events, || panic!("sent away"));
            })
        })
        .collect();
    viewers.into_iter().for_each(|viewer| viewer.join().unwrap());
    let most = 1 + ReplayLimits::default().of_worker;
    assert!((2..=most).contains(&runtime.streams().1), "{:?}", runtime.streams());
    // The runtime notices as it writes.
    eventually("the replays are gone", || {
        runtime.publish();
        (runtime.streams().0 == 1).then_some(())
    });
}

#[test]
fn a_viewer_that_does_not_read_loses_only_its_own_connection() {
    let runtime = StreamRuntime::start(200_000);
    let gateway = gateway(&runtime, "");
    let mut slow = Viewer::open(gateway.local_addr(), "rt/w", None);
    assert!(slow.see().is_snapshot());
    let mut quick = Follower::new(gateway.local_addr());
    // More than fits into the sockets' buffers and the ring together.
    let payload = |number: u64| {
        format!(r#"{{"event":"text_delta","data":{{"text":"{number}","pad":"{}"}}}}"#, "x".repeat(2000))
    };
    let events = 12_000;
    for number in 1..=events {
        runtime.publish_payload(&payload(number));
        if number % 500 == 0 {
            quick.read_to(number, || panic!("the quick one was sent away"));
        }
    }
    let (mut expected, mut codes) = (1, Vec::new());
    let code = loop {
        match slow.see() {
            Seen::Event { payload, .. } => {
                assert_eq!(payload["data"]["text"], expected.to_string(), "what it did get has no gap");
                expected += 1;
            }
            Seen::Diagnostic(code) => codes.push(code),
            Seen::Closed(code) => break code,
        }
    };
    assert_eq!((codes.last().map(String::as_str), code), (Some("viewer_lagged"), 4001));
    assert!(expected < events);
    let cursor = slow.cursor.clone();
    let mut back = Viewer::open(gateway.local_addr(), "rt/w", cursor.as_deref());
    while expected <= events {
        match back.see() {
            Seen::Event { payload, .. } => {
                assert_eq!(payload["data"]["text"], expected.to_string());
                expected += 1;
            }
            Seen::Diagnostic(_) => {}
            Seen::Closed(code) => panic!("{code}"),
        }
    }
}

#[test]
fn every_cursor_fault_has_its_own_code() {
    let runtime = StreamRuntime::start(4);
    let ours = gateway(&runtime, "");
    let theirs = gateway(&runtime, "");
    let cursor_at = |gateway: &Server| {
        let mut viewer = Viewer::open(gateway.local_addr(), "rt/w", None);
        assert!(viewer.see().is_snapshot());
        viewer.cursor.unwrap()
    };
    runtime.publish();
    let (good, foreign) = (cursor_at(&ours), cursor_at(&theirs));
    let mut flipped = good.clone().into_bytes();
    flipped[good.len() / 2] = if flipped[good.len() / 2] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).unwrap();
    let end = |worker: &str, cursor: &str| Viewer::open(ours.local_addr(), worker, Some(cursor)).end();
    let told = |code: &str| vec![code.to_owned()];
    assert_eq!(end("rt/w", "nonsense"), (told("cursor_malformed"), 4500));
    assert_eq!(end("rt/w", &flipped), (told("cursor_malformed"), 4500));
    assert_eq!(end("rt/other", &good), (told("cursor_malformed"), 4500));
    assert_eq!(end("rt/w", &foreign), (told("cursor_unknown"), 4401));

    let sse = |cursor: &str| {
        let path = format!("/api/runtimes/rt/workers/w/events?cursor={cursor}");
        let answer = request(ours.local_addr(), "GET", &path, None);
        (answer.status, answer.text("code"))
    };
    assert_eq!(sse("nonsense"), (400, "cursor_malformed".into()));
    assert_eq!(sse(&foreign), (410, "cursor_unknown".into()));

    // A gateway that has never seen the stream asks the runtime, which keeps four events.
    for _ in 0..10 {
        runtime.publish();
    }
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    let keyed = format!("cursor_key_file = {key:?}");
    let before = gateway(&runtime, &keyed);
    let old = cursor_at(&before);
    before.shutdown();
    for _ in 0..10 {
        runtime.publish();
    }
    let after = gateway(&runtime, &keyed);
    let mut expired = Viewer::open(after.local_addr(), "rt/w", Some(&old));
    assert_eq!(expired.end(), (told("cursor_expired"), 4400));
    // A place that is not there yet, as after a loss of state, is no other place.
    let newest = cursor_at(&after);
    after.shutdown();
    runtime.lose_state();
    let later = gateway(&runtime, &keyed);
    let mut from_the_future = Viewer::open(later.local_addr(), "rt/w", Some(&newest));
    assert_eq!(from_the_future.end(), (told("cursor_expired"), 4400));
}

#[test]
fn what_keeps_a_viewer_out() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "open-sesame").unwrap();
    let runtime = StreamRuntime::start(16);
    let guarded = gateway(&runtime, &format!("access_token_file = {token:?}\nmax_viewers = 2"));
    let open = |worker: &str, headers: &[(&'static str, &str)]| {
        Viewer::open_with(guarded.local_addr(), worker, None, headers)
    };
    let known = ("sec-websocket-protocol", "sekisho.v1, bearer.open-sesame");
    // What protects the gateway is answered as plain HTTP.
    assert_eq!(open("rt/w", &[]).err(), Some(401));
    assert_eq!(open("rt/w", &[known, ("host", "evil.example")]).err(), Some(403));
    assert_eq!(open("rt/w", &[known, ("origin", "http://evil.example")]).err(), Some(403));
    // All else is told inside.
    let end = |worker: &str| {
        let (mut codes, code) = open(worker, &[known]).unwrap().end();
        (codes.pop().unwrap(), code)
    };
    assert_eq!(end("missing/w"), ("unknown_runtime".into(), 4504));
    assert_eq!(end("rt/a%2Fb"), ("invalid_identifier".into(), 4504));
    let _one = open("rt/w", &[known]).unwrap();
    let _two = open("rt/w", &[("authorization", "Bearer open-sesame")]).unwrap();
    assert_eq!(end("rt/w"), ("too_many_viewers".into(), 4003));
    let plain = request_with(
        guarded.local_addr(),
        "GET",
        "/api/runtimes/rt/workers/w/events/ws",
        &[("authorization", "Bearer open-sesame")],
        None,
    );
    assert_eq!((plain.status, plain.text("code")), (400, "invalid_request".into()));
}

#[test]
fn what_a_runtime_refuses_is_told_inside() {
    for (answer, code, close) in [
        (json(404, r#"{"error":{"code":"worker_not_found","message":"m"}}"#), "worker_not_found", 4504),
        (json(404, ""), "unsupported", 4501),
        (json(401, ""), "runtime_auth_failed", 4502),
        (with_headers(302, "location: /elsewhere\r\n", ""), "unexpected_redirect", 4502),
        (json(200, "{}"), "malformed_response", 4502),
        (json(503, ""), "runtime_busy", 4002),
    ] {
        let upstream = Upstream::identified("rt", move |_| answer.clone());
        let config = format!(
            "listen = '127.0.0.1:0'\ngive_up_after_ms = 300\n[[remote]]\nruntime_id = 'rt'\nbase_url = 'http://{}'",
            upstream.address()
        );
        let gateway = Server::start(Config::from_toml(&config).unwrap()).unwrap();
        let end = Viewer::open(gateway.local_addr(), "rt/w", None).end();
        assert_eq!(end, (vec![code.to_owned()], close));
    }
}

#[test]
fn a_viewer_is_not_listened_to() {
    let runtime = StreamRuntime::start(16);
    let gateway = gateway(&runtime, "");
    for message in [Message::text("hello"), Message::binary(vec![1, 2]), Message::binary(vec![0; 100_000])] {
        let mut viewer = Viewer::open(gateway.local_addr(), "rt/w", None);
        assert!(viewer.see().is_snapshot());
        viewer.say(message);
        let (codes, code) = viewer.end();
        assert_eq!((codes.last().map(String::as_str), code), (Some("observation_only"), 1008));
    }
}

#[test]
fn a_message_that_never_ends_is_one_that_may_not_be_sent() {
    let runtime = StreamRuntime::start(16);
    let gateway = gateway(&runtime, "");
    let no_mask = [0; 4];
    let fragment = |first: u8, payload: &[u8]| {
        [&[first, 0x80 | u8::try_from(payload.len()).unwrap()], &no_mask[..], payload].concat()
    };
    for payload in [&b""[..], b"x"] {
        let mut viewer = Viewer::open(gateway.local_addr(), "rt/w", None);
        assert!(viewer.see().is_snapshot());
        let rest = fragment(0x00, payload).repeat(MAX_VIEWER_MESSAGE);
        viewer.say_bytes(&[fragment(0x01, payload), rest].concat());
        let (codes, code) = viewer.end();
        assert_eq!((codes.last().map(String::as_str), code), (Some("observation_only"), 1008), "{payload:?}");
    }
}

/// A server's frame: its first byte, and its payload's announced length and bytes.
fn frame(first: u8, length: u64, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 127];
    frame.extend(length.to_be_bytes());
    frame.extend(payload);
    frame
}

#[test]
fn poison_has_a_typed_end() {
    let text = |payload: &str| {
        let envelope =
            format!(r#"{{"cursor":"c","event_id":"snapshot:c","worker_id":"w","payload":{payload}}}"#);
        format!(r#"{{"kind":"event","envelope":{envelope}}}"#).into_bytes()
    };
    let whole = |bytes: Vec<u8>| frame(0x81, bytes.len() as u64, &bytes);
    let other_worker = String::from_utf8(text("{}")).unwrap().replace(r#""w""#, r#""v""#).into_bytes();
    let runtime = StreamRuntime::start(16);
    let config = format!(
        "listen = '127.0.0.1:0'\ngive_up_after_ms = 1000\n{}response_timeout_ms = 500\n",
        runtime.configuration()
    );
    let gateway = Server::start(Config::from_toml(&config).unwrap()).unwrap();
    for (name, bytes, code, close) in [
        ("invalid UTF-8", whole(vec![b'"', 0xff, b'"']), "malformed_frame", 4502),
        ("a binary frame", frame(0x82, 2, b"{}"), "malformed_frame", 4502),
        ("not JSON", whole(b"{".to_vec()), "malformed_frame", 4502),
        ("another worker", whole(other_worker), "identity_mismatch", 4502),
        ("not WebSocket", vec![0xff; 64], "malformed_frame", 4502),
        ("100 MiB announced", frame(0x81, 100 << 20, b"{"), "response_too_large", 4502),
        (
            "fragments past all bounds",
            frame(0x01, 15 << 20, &vec![b' '; 15 << 20])
                .into_iter()
                .chain(frame(0x00, 2 << 20, &vec![b' '; 2 << 20]))
                .collect(),
            "response_too_large",
            4502,
        ),
        ("pings and nothing else", [0x89, 0].repeat(10_000), "runtime_timeout", 4002),
        (
            "a message that never ends",
            [vec![0x01, 0], [0x00, 1, b' '].repeat(10_000)].concat(),
            "runtime_timeout",
            4002,
        ),
    ] {
        runtime.poison(Some(bytes));
        let (codes, end) = Viewer::open(gateway.local_addr(), "rt/w", None).end();
        assert_eq!((codes.last().map(String::as_str), end), (Some(code), close), "{name}");
        let opened = runtime.streams().1;
        assert!(opened < 40, "{name}: {opened} streams were opened");
    }
}

#[test]
fn an_event_that_is_too_large_does_not_stop_the_stream() {
    let runtime = StreamRuntime::start(16);
    let gateway = gateway(&runtime, "max_event_bytes = 1000");
    let mut viewer = Viewer::open(gateway.local_addr(), "rt/w", None);
    assert!(viewer.see().is_snapshot());
    assert_eq!(viewer.see(), Seen::Diagnostic("caught_up".into()));
    runtime.publish_payload(&format!(r#"{{"event":"x","data":"{}"}}"#, "y".repeat(2000)));
    runtime.publish();
    let Seen::Event { payload, cursor, .. } = viewer.see() else { panic!() };
    assert_eq!(payload, serde_json::json!({"event": "sekisho.event_too_large", "data": {"bytes": 2023}}));
    assert!(matches!(viewer.see(), Seen::Event { .. }));
    let mut back = Viewer::open(gateway.local_addr(), "rt/w", Some(&cursor));
    assert!(matches!(back.see(), Seen::Event { payload, .. } if payload["data"]["text"] == "2"));

    // One beyond all bounds is passed by, which is told.
    runtime.publish_payload(&format!(r#"{{"event":"x","data":"{}"}}"#, "y".repeat(17 << 20)));
    runtime.publish();
    loop {
        match viewer.see() {
            Seen::Diagnostic(code) if code == "resynchronized" => break,
            Seen::Closed(code) => panic!("{code}"),
            _ => {}
        }
    }
    assert!(viewer.see().is_snapshot());
}

#[test]
fn secrets_reach_no_viewer() {
    let runtime = StreamRuntime::start(16);
    let gateway = gateway(&runtime, "");
    let secret = format!("http://{}", runtime.address());
    let mut viewer = Viewer::open(gateway.local_addr(), "rt/w", None);
    assert!(viewer.see().is_snapshot());
    assert_eq!(viewer.see(), Seen::Diagnostic("caught_up".into()));
    let escaped: String = secret.chars().map(|it| format!("\\u{:04x}", u32::from(it))).collect();
    let percent: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
    for spelling in
        [&secret, &secret.replace('/', "\\/"), &escaped, &percent, &secret.replace(':', "\\u003a")]
    {
        runtime.publish_payload(&format!(r#"{{"event":"x","data":"see {spelling}."}}"#));
        let Seen::Event { payload, .. } = viewer.see() else { panic!() };
        assert_eq!(payload["data"], "see [redacted].", "{spelling}");
    }
}

#[test]
fn server_sent_events_are_the_same_stream() {
    let runtime = StreamRuntime::start(16);
    let gateway = gateway(&runtime, "");
    runtime.publish();
    let mut viewer = Viewer::open(gateway.local_addr(), "rt/w", None);
    assert!(viewer.see().is_snapshot());
    assert_eq!(viewer.see(), Seen::Diagnostic("caught_up".into()));
    let cursor = viewer.cursor.clone().unwrap();
    runtime.publish();
    let Seen::Event { cursor: second, event_id, .. } = viewer.see() else { panic!() };
    let begun = |header: &str| {
        let mut stream = TcpStream::connect(gateway.local_addr()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let path = "/api/runtimes/rt/workers/w/events";
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{header}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
        while !String::from_utf8_lossy(&seen).contains("caught_up") {
            let count = stream.read(&mut buffer).unwrap();
            assert_ne!(count, 0, "{}", String::from_utf8_lossy(&seen));
            seen.extend(&buffer[..count]);
        }
        (stream, seen)
    };
    let streams = [begun(""), begun(&format!("last-event-id: {cursor}\r\n"))];
    // The end of the gateway is the end of the streams, so that they can be read to their end.
    gateway.shutdown();
    let [fresh, resumed] = streams.map(|(mut stream, mut seen)| {
        stream.read_to_end(&mut seen).unwrap();
        String::from_utf8(seen).unwrap()
    });
    assert!(fresh.contains("content-type: text/event-stream\r\n"), "{fresh}");
    assert!(fresh.contains("\"event\":\"snapshot\""), "{fresh}");
    assert!(resumed.contains(&format!("id: {second}\ndata: ")), "{resumed}");
    assert!(resumed.contains(&event_id) && !resumed.contains("snapshot:"), "{resumed}");
    assert!(resumed.contains("going_away"), "{resumed}");
}

#[test]
fn viewers_are_told_to_come_back_when_the_gateway_goes() {
    let runtime = StreamRuntime::start(16);
    let gateway = gateway(&runtime, "");
    let mut viewers: Vec<Viewer> =
        (0..20).map(|_| Viewer::open(gateway.local_addr(), "rt/w", None)).collect();
    for viewer in &mut viewers {
        assert!(viewer.see().is_snapshot());
    }
    let ends: Vec<_> = viewers.into_iter().map(|mut viewer| thread::spawn(move || viewer.end())).collect();
    gateway.shutdown();
    for end in ends {
        let (codes, code) = end.join().unwrap();
        assert_eq!((codes.last().map(String::as_str), code), (Some("going_away"), 1001));
    }
}
