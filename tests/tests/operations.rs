//! What an operator sees of a gateway, and changes while it runs: metrics, the log, and the configuration.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use sekisho_tests::client::{Answer, raw, request, request_with};
use sekisho_tests::ports::refusing;
use sekisho_tests::processes::{Process, binary, eventually};
use sekisho_tests::stream_runtime::StreamRuntime;
use sekisho_tests::upstream::{Upstream, json};
use sekisho_tests::viewer::Viewer;
use serde_json::Value;
use tempfile::TempDir;

const TOKEN: &str = "an-access-token-of-32-characters";

/// A gateway of its own with a configuration that can be changed.
struct Gateway {
    directory: TempDir,
    process: Process,
}

impl Gateway {
    fn start(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("sekisho.toml");
        let key = directory.path().join("key");
        let text = format!("listen = '127.0.0.1:0'\ncursor_key_file = {key:?}\n{text}");
        fs::write(&config, text).unwrap();
        let mut command = Command::new(binary("sekisho-server"));
        command.env_remove("RUST_LOG").arg("--config").arg(&config);
        let process = Process::start(&mut command);
        Self { directory, process }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn address(&self) -> SocketAddr {
        self.process.address()
    }

    fn get(&self, path: &str) -> Answer {
        request(self.address(), "GET", path, None)
    }

    /// Changes the configuration, and has it taken over.
    fn reload(&self, text: &str) {
        let key = self.path("key");
        let text = format!("listen = '127.0.0.1:0'\ncursor_key_file = {key:?}\n{text}");
        // In one step, so that it is read as a whole whenever it is.
        fs::write(self.path("next.toml"), text).unwrap();
        fs::rename(self.path("next.toml"), self.path("sekisho.toml")).unwrap();
        self.process.signal("HUP");
    }

    /// Ends it; the lines of its log.
    fn log(mut self) -> Vec<Value> {
        self.process.signal("TERM");
        let (status, log) = self.process.ended();
        assert!(status.success(), "{log}");
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }
}

/// The number of a metric.
fn metric(metrics: &str, series: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    line.parse().ok()
}

/// The families of metrics, but for those that are only there once something has happened.
fn families(metrics: &str) -> Vec<&str> {
    metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect()
}

/// The names that a text has in backticks, or a dashboard in its expressions.
fn named(text: &str) -> Vec<&str> {
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let words = text.split(|letter| !is_of_name(letter));
    let is_metric = |word: &&str| word.starts_with("sekisho_") && !word.starts_with("sekisho_server");
    words.filter(is_metric).map(|word| word.trim_end_matches("_bucket")).collect()
}

/// Has Prometheus' own tool look at metrics, where it is there.
fn check_with_promtool(metrics: &str) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut promtool) = command.spawn() else {
        println!("skipped: there is no promtool on this machine");
        return;
    };
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    assert!(said.status.success() && said.stderr.is_empty(), "{said:?}");
}

#[test]
fn what_is_counted_is_shown_to_those_who_may_see_it() {
    let upstream = Upstream::identified("rt", |asked| match asked.head.starts_with("POST") {
        true => json(503, r#"{"error":{"code":"busy","message":"not now"}}"#),
        false => json(200, r#"{"workers":[]}"#),
    });
    let token = tempfile::NamedTempFile::new().unwrap();
    fs::write(token.path(), TOKEN).unwrap();
    let gateway = Gateway::start(&format!(
        "access_token_file = {:?}\n[[remote]]\nruntime_id = 'rt'\nbase_url = 'http://{}'\n",
        token.path(),
        upstream.address()
    ));
    let authorization = format!("Bearer {TOKEN}");
    let ask = |method, path| {
        let headers = [("authorization", authorization.as_str())];
        request_with(gateway.address(), method, path, &headers, None)
    };
    assert_eq!(gateway.get("/metrics").status, 401);
    assert_eq!(ask("GET", "/api/runtimes/rt/workers").status, 200);
    assert_eq!(ask("POST", "/api/runtimes/rt/workers/a-worker/stop").status, 503);
    assert_eq!(ask("GET", "/nowhere/a-path").status, 404);
    let metrics = ask("GET", "/metrics");
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4"));
    let metrics = metrics.body;
    for (series, expected) in [
        (r#"sekisho_http_requests_total{code="401",method="GET",route="none"}"#, 1.0),
        (
            r#"sekisho_http_requests_total{code="200",method="GET",route="/api/runtimes/{runtime_id}/workers"}"#,
            1.0,
        ),
        (r#"sekisho_http_requests_total{code="404",method="GET",route="none"}"#, 1.0),
        (r#"sekisho_problems_total{code="runtime_busy",origin="runtime"}"#, 1.0),
        (r#"sekisho_runtime_calls_total{operation="stop_worker",result="unknown",runtime="rt"}"#, 1.0),
        (r#"sekisho_runtime_calls_total{operation="list_workers",result="succeeded",runtime="rt"}"#, 1.0),
        (r#"sekisho_runtime_call_failures_total{code="runtime_busy",runtime="rt"}"#, 1.0),
        (r#"sekisho_runtime_reachability{reachability="reachable",runtime="rt"}"#, 1.0),
        (r#"sekisho_runtime_circuit_open{runtime="rt"}"#, 0.0),
        (r#"sekisho_workers{runtime="embedded",status="running"}"#, 0.0),
        ("sekisho_log_lines_lost_total", 0.0),
    ] {
        assert_eq!(metric(&metrics, series), Some(expected), "{series}\n{metrics}");
    }
    let attempts = metric(&metrics, r#"sekisho_runtime_attempts_total{runtime="rt"}"#).unwrap();
    let retries = metric(&metrics, r#"sekisho_runtime_retries_total{runtime="rt"}"#).unwrap();
    assert_eq!(attempts - retries, 2.0, "{metrics}");
    assert!(metric(&metrics, r#"sekisho_runtime_connections{runtime="rt"}"#).unwrap() >= 1.0, "{metrics}");
    let documented = fs::read_to_string("../docs/operating.md").unwrap();
    let documented = named(&documented);
    for family in families(&metrics).into_iter().filter(|family| family.starts_with("sekisho_")) {
        assert!(documented.contains(&family), "{family} is not in docs/operating.md");
    }
    let dashboard = fs::read_to_string("../packaging/grafana/sekisho.json").unwrap();
    let _: Value = serde_json::from_str(&dashboard).unwrap();
    for shown in named(&dashboard) {
        assert!(documented.contains(&shown), "the dashboard shows {shown}, which there is none of");
    }
    for made_up in ["a-worker", "a-path", TOKEN, &upstream.address().to_string()] {
        assert!(!metrics.contains(made_up), "{made_up}: {metrics}");
    }
    check_with_promtool(&metrics);
}

#[test]
fn metrics_have_a_listener_of_their_own_where_one_is_configured() {
    let directory = tempfile::tempdir().unwrap();
    // The port is told in the second line, which a test does not read: a socket has its place by its name.
    let socket = directory.path().join("admin");
    let gateway = Gateway::start(&format!("admin_listen = 'unix:{}'\n", socket.display()));
    let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert_eq!(raw(gateway.address(), request).status, 404);
    assert_eq!(gateway.get("/livez").status, 200);
    let ask = |path: &str| {
        use std::io::Read;
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask("/metrics").contains("sekisho_build_info"));
    assert!(ask("/readyz").starts_with("HTTP/1.1 200 "));
    for path in ["/api/runtimes", "/api/workers/events", "/api"] {
        assert!(ask(path).starts_with("HTTP/1.1 404 "), "{path}");
    }
}

#[test]
fn each_request_is_one_line_under_the_name_that_its_client_gave_it() {
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let traced = Arc::new(Mutex::new(Vec::new()));
    let heard = traced.clone();
    let upstream = Upstream::identified("rt", move |asked| {
        let parent = asked.head.lines().find_map(|line| line.strip_prefix("traceparent: "));
        heard.lock().unwrap().push(parent.unwrap_or_default().to_owned());
        json(404, r#"{"error":{"code":"worker_not_found","message":"none"}}"#)
    });
    let gateway = Gateway::start(&format!(
        "[embedded]\nenabled = false\n[[remote]]\nruntime_id = 'rt'\nbase_url = 'http://{}'\n",
        upstream.address()
    ));
    let path = "/api/runtimes/rt/workers/w";
    let named = [("x-request-id", "my-request"), ("traceparent", PARENT)];
    let answer = request_with(gateway.address(), "GET", path, &named, None);
    assert_eq!(answer.header("x-request-id"), Some("my-request"));
    assert_eq!(answer.text("instance"), "urn:sekisho:http-request:my-request");
    let parents = traced.lock().unwrap().clone();
    let [parent] = &parents[..] else { panic!("{parents:?}") };
    assert!(parent.starts_with(&PARENT[..36]) && !parent.contains(&PARENT[36..52]), "{parent}");
    let unnamed = gateway.get(path);
    let made = unnamed.header("x-request-id").unwrap().to_owned();
    assert!(made.len() == 32 && traced.lock().unwrap()[1].contains(&made), "{made}");
    gateway.get("/livez");

    let log = gateway.log();
    let lines: Vec<&Value> = log.iter().filter(|line| line["message"] == "request").collect();
    assert_eq!(lines.len(), 2, "{log:?}");
    let line = lines[0];
    for (field, expected) in [
        ("id", "my-request"),
        ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("method", "GET"),
        ("route", "/api/runtimes/{runtime_id}/workers/{worker_id}"),
        ("code", "worker_not_found"),
        ("origin", "runtime"),
        ("runtime_id", "rt"),
        ("worker_id", "w"),
        ("level", "INFO"),
    ] {
        assert_eq!(line[field], expected, "{field}: {line}");
    }
    assert_eq!((&line["status"], &line["attempts"]), (&404.into(), &1.into()), "{line}");
    assert!(line["duration_ms"].is_number() && line["upstream_ms"].is_number(), "{line}");
    assert_eq!(lines[1]["id"], made);
}

fn remote(runtime_id: &str, address: SocketAddr) -> String {
    format!("[[remote]]\nruntime_id = '{runtime_id}'\nbase_url = 'http://{address}'\n")
}

fn ids(gateway: &Gateway) -> Vec<String> {
    let items = gateway.get("/api/runtimes").json()["items"].as_array().unwrap().clone();
    items.iter().map(|item| item["runtime_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn runtimes_come_and_go_while_the_gateway_runs() {
    let here = StreamRuntime::start(64);
    let there = StreamRuntime::start(64);
    let nothing = refusing();
    let none = "[embedded]\nenabled = false\n";
    let gateway =
        Gateway::start(&format!("{none}{}{}", remote("rt", here.address()), remote("gone", nothing)));
    assert_eq!(ids(&gateway), ["rt", "gone"]);
    let mut staying = Viewer::open(gateway.address(), "rt/w", None);
    assert!(staying.see().is_snapshot());

    // What stays is not disturbed, and what is new is there.
    gateway.reload(&format!("{none}{}{}", remote("rt", here.address()), remote("new", nothing)));
    eventually("the runtimes are others", || (ids(&gateway) == ["rt", "new"]).then_some(()));
    assert_eq!(gateway.get("/api/runtimes/gone/workers").text("code"), "unknown_runtime");
    here.publish();
    while staying.see().is_snapshot() {}

    // A configuration that is wrong changes nothing.
    gateway.reload("no_such_key = 1\n");
    eventually("it is refused", || {
        let failed = r#"sekisho_config_reloads_total{result="failed"}"#;
        (metric(&gateway.get("/metrics").body, failed) == Some(1.0)).then_some(())
    });
    // One whose runtime is elsewhere ends the streams from where it was, with a code on which viewers come back.
    gateway.reload(&format!("{none}{}", remote("rt", there.address())));
    let (frames, code) = staying.end();
    assert_eq!(code, 4002, "{frames:?}");
    let mut back = Viewer::open(gateway.address(), "rt/w", None);
    assert!(back.see().is_snapshot());
    eventually("no stream is left where it was", || {
        // A runtime that has nothing to say does not notice that nothing listens.
        here.publish();
        (here.streams().0 == 0).then_some(())
    });
    assert_eq!(there.streams(), (1, 1));
    gateway.reload(none);
    assert_eq!(back.end().1, 4504);

    let log = gateway.log();
    let said = |message: &str| log.iter().filter(|line| line["message"] == message).collect::<Vec<_>>();
    let reloaded = said("the configuration is reloaded");
    assert_eq!((&reloaded[0]["added"], &reloaded[0]["gone"]), (&"new".into(), &"gone".into()), "{log:?}");
    let refused = said("the configuration from before stays in use");
    assert!(refused[0]["error"].as_str().unwrap().contains("no_such_key"), "{refused:?}");
}

#[test]
fn tokens_bounds_and_levels_are_taken_over_and_the_rest_is_told() {
    let token = |directory: &Path, token: &str| {
        let path = directory.join("token");
        fs::write(&path, token).unwrap();
        format!("access_token_file = {path:?}\n")
    };
    let gateway = Gateway::start("log = 'error'\n");
    assert_eq!(gateway.get("/api/runtimes").status, 200);
    let text = token(gateway.directory.path(), TOKEN);
    gateway.reload(&format!("{text}max_request_bytes = 10\nmax_viewers = 7\nlog = 'info'\n"));
    eventually("the token is asked for", || (gateway.get("/api/runtimes").status == 401).then_some(()));
    let authorization = format!("Bearer {TOKEN}");
    // When a second one is taken over, the first one is for certain.
    gateway.process.signal("HUP");
    eventually("it is reloaded twice", || {
        let headers = [("authorization", authorization.as_str())];
        let metrics = request_with(gateway.address(), "GET", "/metrics", &headers, None).body;
        (metric(&metrics, r#"sekisho_config_reloads_total{result="succeeded"}"#) == Some(2.0)).then_some(())
    });
    let create = |headers: &[(&str, &str)]| {
        let headers = [&[("content-type", "application/json")], headers].concat();
        let body = Some(r#"{"intent":{"kind":"assistant"}}"#);
        request_with(gateway.address(), "POST", "/api/runtimes/embedded/workers", &headers, body)
    };
    assert_eq!(create(&[("authorization", &authorization)]).text("code"), "payload_too_large");
    let log = gateway.log();
    let said = |message: &str| log.iter().find(|line| line["message"] == message);
    let needs = said("these keys have changed, and need a restart").unwrap_or_else(|| panic!("{log:?}"));
    assert_eq!(needs["keys"], "max_viewers");
    assert!(said("request").is_some_and(|line| line["status"] != 200), "nothing before: {log:?}");
}

#[test]
fn a_runtime_has_metrics_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    fs::write(&token, TOKEN).unwrap();
    let mut command = Command::new(binary("sekisho-runtime"));
    command.env_remove("RUST_LOG").args(["--listen", "127.0.0.1:0", "--runtime-id", "box"]);
    command.arg("--token-file").arg(&token).arg("--store").arg(directory.path().join("store"));
    let runtime = Process::start(&mut command);
    let ask = |method: &str, path: &str, body: &str| {
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        let rest = format!("authorization: Bearer {TOKEN}\r\ncontent-length: {length}\r\n\r\n{body}");
        raw(runtime.address(), (head + &rest).as_bytes())
    };
    let unknown =
        raw(runtime.address(), b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert_eq!(unknown.status, 401);
    let create = r#"{"intent":{"kind":"assistant"},"profile":{"kind":"runtime_default"}}"#;
    assert_eq!(ask("POST", "/v1/workers", create).status, 200);
    let metrics = ask("GET", "/metrics", "").body;
    for (series, expected) in [
        (r#"sekisho_workers{runtime="box",status="running"}"#, 1.0),
        (r#"sekisho_requests_open{runtime="box"}"#, 0.0),
        (r#"sekisho_http_requests_total{code="200",method="POST",route="/v1/workers"}"#, 1.0),
        (r#"sekisho_store_commits_total{result="failed",runtime="box"}"#, 0.0),
    ] {
        assert_eq!(metric(&metrics, series), Some(expected), "{series}\n{metrics}");
    }
    let committed = r#"sekisho_store_commits_total{result="committed",runtime="box"}"#;
    assert!(metric(&metrics, committed).unwrap() >= 1.0, "what was answered is durable: {metrics}");
    check_with_promtool(&metrics);
}
