//! A runtime that writes all it knows about itself into everything it says, and a gateway that passes on none of it.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use sekisho_tests::client::{request, request_with};
use sekisho_tests::processes::{Process, binary};
use sekisho_tests::upstream::{Act, Asked, Upstream};
use sekisho_tests::viewer::Viewer;

const TOKEN: &str = "t0k3n-0f-th3-runt1m3";

/// Every text field, header and id of v1, with the secret in it.
fn echo(asked: &Asked, secret: &str) -> Act {
    let json_escaped: String = secret.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    let percent_encoded: String = secret.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let said = format!("{secret} {json_escaped} {percent_encoded} {}", secret.replace('/', "\\/"));
    let path = asked.head.split(' ').nth(1).and_then(|path| path.strip_prefix("/prefix")).unwrap();
    let reference = |id: &str| format!(r#"{{"runtime_id":"rt","worker_id":"{id}"}}"#);
    let worker = |id: &str, rest: &str| {
        format!(
            r#"{{"worker_ref":{},"runtime_id":"rt","worker_id":"{id}","status":"running",
            "intent":{{"kind":"role","role":"{said}","purpose":"{said}"}},
            "profile":{{"kind":"named","value":"{said}"}},{rest}"transcript_len":1,"last_event_id":2}}"#,
            reference(id)
        )
    };
    let detail = format!(
        r#""config_bundle":{{"id":"{said}"}},"requested_capabilities":[{{"name":"{said}","reason":"{said}"}}],
        "workspace_refs":[{{"name":"{said}","reference":"{said}"}}],"mount_refs":[{{"name":"{said}","reference":"{said}"}}],"#
    );
    let counts = r#""requested_capability_count":1,"has_config_bundle":true,"#;
    let body = match path {
        "/v1/runtime" => format!(
            r#"{{"runtime":{{"runtime_id":"rt","display_name":"{said}","backend":"{said}","status":"running",
            "worker_count":1,"active_worker_count":1,"stopped_worker_count":0,"cancelled_worker_count":0,
            "diagnostic_count":0,"limits":{{"max_transcript_projection_items":1,"max_event_batch_items":1}},
            "features":["{said}"],"incarnation":"{said}"}}}}"#
        ),
        "/v1/workers" if asked.head.starts_with("POST") => {
            format!(r#"{{"worker":{}}}"#, worker("new", &detail))
        }
        "/v1/workers" => {
            format!(
                r#"{{"workers":[{},{}]}}"#,
                worker("w", counts),
                worker(&secret.replace('/', "_"), counts)
            )
        }
        "/v1/workers/w" => format!(r#"{{"worker":{}}}"#, worker("w", &detail)),
        path if path.starts_with("/v1/workers/w/transcript") => format!(
            r#"{{"transcript":{{"worker_ref":{},"start":0,"limit":1,"total_items":1,"items":[{{"sequence":1,
            "worker_ref":{},"role":"{said}","content":"{said}","event_id":1}}],"next_start":null}}}}"#,
            reference("w"),
            reference("w")
        ),
        _ => {
            let body = format!(r#"{{"error":{{"code":"{said}","message":"{said}"}}}}"#);
            return response(if path.ends_with("stop") { 500 } else { 400 }, secret, &body);
        }
    };
    response(200, secret, &body)
}

fn response(status: u16, secret: &str, body: &str) -> Act {
    let headers =
        ["server", "x-where", "set-cookie", "location", "content-type", "retry-after", "www-authenticate"]
            .map(|name| format!("{name}: {secret}\r\n"))
            .concat();
    Act::Send(format!("HTTP/1.1 {status} {secret}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()))
}

fn start(directory: &Path, base_url: &str) -> Process {
    let (config, token) = (directory.join("config.toml"), directory.join("token"));
    std::fs::write(&token, TOKEN).unwrap();
    let text = format!(
        "listen = '127.0.0.1:0'\n[embedded]\nenabled = false\n[[remote]]\nruntime_id = 'rt'\n\
         base_url = '{base_url}'\ntoken_file = {token:?}\n"
    );
    std::fs::write(&config, text).unwrap();
    Process::start(
        Command::new(binary("sekisho-server")).arg("--config").arg(config).env("RUST_LOG", "trace"),
    )
}

#[test]
fn nothing_of_it_is_passed_on() {
    // What the runtime repeats: its base URL, its authority, its token, one after the other.
    let secrets: Arc<OnceLock<[String; 3]>> = Arc::default();
    let known = secrets.clone();
    let turn = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let current = turn.clone();
    let upstream = Upstream::start(move |asked| {
        let secret = &known.get().unwrap()[current.load(std::sync::atomic::Ordering::SeqCst)];
        echo(asked, secret)
    });
    let authority = upstream.address().to_string();
    let base_url = format!("http://{authority}/prefix");
    secrets.set([base_url.clone(), authority.clone(), TOKEN.to_owned()]).unwrap();

    let directory = tempfile::tempdir().unwrap();
    let mut gateway = start(directory.path(), &base_url);
    let mut seen = String::new();
    let mut good = 0;
    for secret in 0..3 {
        turn.store(secret, std::sync::atomic::Ordering::SeqCst);
        for (method, path, body) in [
            ("GET", "/api/runtimes", None),
            ("GET", "/api/runtimes/rt", None),
            ("GET", "/metrics", None),
            ("GET", "/api/workers", None),
            ("GET", "/api/runtimes/rt/workers", None),
            ("GET", "/api/runtimes/rt/workers/w", None),
            ("GET", "/api/runtimes/rt/workers/w/transcript", None),
            ("POST", "/api/runtimes/rt/workers", Some(r#"{"intent":{"kind":"assistant"}}"#)),
            ("POST", "/api/runtimes/rt/workers/w/input", Some(r#"{"content":"x"}"#)),
            ("POST", "/api/runtimes/rt/workers/w/stop", None),
        ] {
            let answer = request(gateway.address(), method, path, body);
            good += usize::from(answer.status < 300);
            seen += &format!("{method} {path}\n{}\n{}\n", answer.head, answer.body);
        }
    }
    assert_eq!(good, 24, "{seen}");
    assert!(seen.contains("[redacted]"));
    gateway.signal("TERM");
    let (status, logs) = gateway.ended();
    assert!(status.success());
    assert!(logs.contains("a call failed"), "{logs}");
    let port = upstream.address().port().to_string();
    for secret in [authority.as_str(), TOKEN, &port, "/prefix", directory.path().to_str().unwrap()] {
        assert!(!seen.contains(secret), "{secret} in {seen}");
        assert!(!logs.contains(secret), "{secret} in {logs}");
    }
}

#[test]
fn a_token_is_read_anew_when_the_runtime_refuses_it() {
    let directory = tempfile::tempdir().unwrap();
    let upstream = Upstream::start(|asked| {
        let known = asked.head.contains("authorization: Bearer the-next-token\r\n");
        response(if known { 200 } else { 401 }, "nothing", r#"{"workers":[]}"#)
    });
    let gateway = start(directory.path(), &format!("http://{}", upstream.address()));
    let ask = || request(gateway.address(), "GET", "/api/runtimes/rt/workers", None);
    assert_eq!(ask().text("code"), "runtime_auth_failed");
    assert_eq!(upstream.asked(), 1, "the same token is not tried twice");
    std::fs::write(directory.path().join("token"), "the-next-token").unwrap();
    assert_eq!(ask().status, 200);
}

#[test]
fn the_access_token_is_in_no_log() {
    const ACCESS: &str = "acc3ss-t0k3n-0f-th3-g4t3w4y";
    let directory = tempfile::tempdir().unwrap();
    let (config, token) = (directory.path().join("config.toml"), directory.path().join("token"));
    std::fs::write(&token, ACCESS).unwrap();
    std::fs::write(&config, format!("listen = '127.0.0.1:0'\naccess_token_file = {token:?}\n")).unwrap();
    let mut command = Command::new(binary("sekisho-server"));
    let mut gateway = Process::start(command.arg("--config").arg(config).env("RUST_LOG", "trace"));
    let ask = |headers: &[(&str, &str)]| {
        let status = request_with(gateway.address(), "GET", "/api/runtimes", headers, None).status;
        // In the path and the query it is none, and no reason to write it down.
        let wrong = request(gateway.address(), "GET", &format!("/{ACCESS}?token={ACCESS}"), None).status;
        (status, wrong)
    };
    let right = format!("Bearer {ACCESS}");
    assert_eq!(ask(&[("authorization", &right)]), (200, 404));
    let wrong = format!("Bearer {ACCESS}-and-more");
    assert_eq!(ask(&[("authorization", &wrong), ("traceparent", ACCESS)]), (401, 404));
    let protocols = format!("sekisho.v1, bearer.{ACCESS}");
    let worker = "embedded/worker";
    let refused =
        Viewer::open_with(gateway.address(), worker, None, &[("sec-websocket-protocol", &protocols)]);
    drop(refused);
    gateway.signal("HUP");
    gateway.signal("TERM");
    let (status, logs) = gateway.ended();
    assert!(status.success() && logs.contains("\"request\""), "{logs}");
    assert!(!logs.contains(ACCESS), "{logs}");
}
