//! The spans of requests, as a collector gets them (`cargo test -p sekisho-server --features otlp --test spans`).
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sekisho_tests::client::{request, request_with};
use sekisho_tests::ports::refusing;
use sekisho_tests::processes::{Process, eventually};
use sekisho_tests::upstream::{Act, Asked, Upstream, json};
use tempfile::TempDir;

const RUNTIME_TOKEN: &str = "a-token-that-stays-with-its-runtime";
const COLLECTOR_KEY: &str = "a-key-that-the-collector-alone-is-shown";

/// Ids whose bytes are letters, so that they are found in a message as it is.
const TRACE: &str = "41414141414141414141414141414141";
const CALLER: &str = "00-41414141414141414141414141414141-4242424242424242-01";
const NOT_RECORDED: &str = "00-43434343434343434343434343434343-4242424242424242-00";

/// A runtime or a collector, and all that it was asked.
struct Heard {
    upstream: Upstream,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Heard {
    fn start(runtime_id: Option<&'static str>, answer: impl Fn() -> Act + Send + Sync + 'static) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = asked.clone();
        let script = move |asked: &Asked| {
            heard.lock().unwrap().push(asked.clone());
            answer()
        };
        let upstream = match runtime_id {
            Some(runtime_id) => Upstream::identified(runtime_id, script),
            None => Upstream::start(script),
        };
        Self { upstream, asked }
    }

    /// Heads and bodies, one after the other.
    fn all(&self) -> String {
        self.asked.lock().unwrap().iter().map(|asked| asked.head.clone() + &asked.body).collect()
    }
}

/// A gateway of a runtime, whose spans go to a collector.
struct Gateway {
    process: Process,
    _directory: TempDir,
}

impl Gateway {
    fn start(runtime: SocketAddr, collector: SocketAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (config, key, token) = (
            directory.path().join("sekisho.toml"),
            directory.path().join("key"),
            directory.path().join("token"),
        );
        fs::write(&token, RUNTIME_TOKEN).unwrap();
        let text = format!(
            "listen = '127.0.0.1:0'\ncursor_key_file = {key:?}\nembedded.enabled = false\n\
             [[remote]]\nruntime_id = 'rt'\nbase_url = 'http://{runtime}'\ntoken_file = {token:?}\n"
        );
        fs::write(&config, text).unwrap();
        let mut command = server();
        command
            .arg("--config")
            .arg(&config)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{collector}"))
            .env("OTEL_EXPORTER_OTLP_HEADERS", format!("x-key={COLLECTOR_KEY}"))
            .env("OTEL_EXPORTER_OTLP_TIMEOUT", "1000");
        Self { process: Process::start(&mut command), _directory: directory }
    }

    fn address(&self) -> SocketAddr {
        self.process.address()
    }

    /// Ends it; what it logged.
    fn log(mut self) -> String {
        self.process.signal("TERM");
        let (status, log) = self.process.ended();
        assert!(status.success(), "{log}");
        log
    }
}

/// The server, without what the environment of the tests says of spans.
fn server() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho-server"));
    let of_spans = std::env::vars_os().map(|(name, _)| name);
    of_spans.filter(|name| name.to_string_lossy().starts_with("OTEL_")).for_each(|name| {
        command.env_remove(name);
    });
    command.env_remove("RUST_LOG");
    command
}

const LIST: &str = "/api/runtimes/rt/workers";

#[test]
fn a_request_is_a_span_and_no_secret_is_in_it() {
    let runtime = Heard::start(Some("rt"), || json(200, r#"{"workers":[]}"#));
    let collector = Heard::start(None, || json(200, ""));
    let gateway = Gateway::start(runtime.upstream.address(), collector.upstream.address());
    for traceparent in [NOT_RECORDED, CALLER] {
        let headers = [("host", "localhost"), ("traceparent", traceparent)];
        assert_eq!(request_with(gateway.address(), "GET", LIST, &headers, None).status, 200);
    }
    assert_eq!(request(gateway.address(), "GET", "/api/runtimes/nowhere/workers/a-worker", None).status, 404);
    assert_eq!(request(gateway.address(), "GET", "/a-path", None).status, 404);
    let log = gateway.log();

    let exported = collector.all();
    for expected in [
        "POST /v1/traces HTTP/1.1",
        COLLECTOR_KEY,
        "sekisho-server",
        "GET /api/runtimes/{runtime_id}/workers",
        "AAAAAAAAAAAAAAAA",
        "BBBBBBBB",
        "http.response.status_code",
        "sekisho.attempts",
        "unknown_runtime",
        "a-worker",
    ] {
        assert!(exported.contains(expected), "{expected} is not in {exported:?}");
    }
    let (places, told) = (runtime.all(), runtime.upstream.address().to_string());
    for kept in ["CCCCCCCCCCCCCCCC", RUNTIME_TOKEN, &told, "a-path"] {
        assert!(!exported.contains(kept), "{kept} is in {exported:?}");
    }
    // The runtime is told that its part is recorded, too, and of a request that is not that it is not.
    let of_trace = |trace: &str, flags: &str| {
        let is_of_it = |line: &&str| line.starts_with(&format!("traceparent: 00-{trace}-"));
        let mut lines = places.lines().filter(is_of_it).peekable();
        lines.peek().is_some() && lines.all(|line| line.ends_with(flags))
    };
    assert!(of_trace(TRACE, "-01") && of_trace(&TRACE.replace('1', "3"), "-00"), "{places}");
    for secret in [COLLECTOR_KEY, RUNTIME_TOKEN, &collector.upstream.address().to_string()] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn a_collector_that_does_not_answer_keeps_nobody_waiting() {
    let runtime = Heard::start(Some("rt"), || json(200, r#"{"workers":[]}"#));
    let silent = Heard::start(None, || Act::SendAndStall(String::new()));
    for collector in [refusing(), silent.upstream.address()] {
        let gateway = Gateway::start(runtime.upstream.address(), collector);
        // More than may wait.
        for _ in 0..2_100 {
            assert_eq!(request(gateway.address(), "GET", "/livez", None).status, 200);
        }
        eventually("spans that are lost", || {
            let metrics = request(gateway.address(), "GET", "/metrics", None).body;
            let lost = metrics.lines().find_map(|line| line.strip_prefix("sekisho_spans_lost_total "))?;
            (lost != "0").then_some(())
        });
        let ends = Instant::now();
        let log = gateway.log();
        // The bound of what a server waits for its last spans, and of what is in flight.
        assert!(ends.elapsed() < Duration::from_secs(20), "{:?}", ends.elapsed());
        assert!(log.contains("spans were lost") || log.contains("does not take spans"), "{log}");
        assert!(!log.contains(&collector.to_string()) && !log.contains(COLLECTOR_KEY), "{log}");
    }
}

#[test]
fn what_cannot_be_obeyed_is_a_failed_start_that_names_the_variable() {
    let mut command = server();
    command.args(["--listen", "127.0.0.1:0"]).env("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://a-secret-host");
    let ended = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && said.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{said}");
    assert!(!said.contains("a-secret-host"), "{said}");
}
