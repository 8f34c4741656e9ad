//! The client of `clients/js`, in node and in a page, at the real server.
//!
//! Where node (20.10 or newer) or Chromium is not installed, these say that they were skipped. By themselves:
//!
//! ```sh
//! cargo build --workspace --bins && cargo test -p sekisho-tests --test javascript -- --nocapture
//! ```
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sekisho_core::browser_api::openapi;
use sekisho_tests::browser::{Site, chromium};
use sekisho_tests::client::request_with;
use sekisho_tests::processes::{Process, binary};
use sekisho_tests::typescript::declarations;
use serde_json::{Value, json};

const TOKEN: &str = "kXk7m2_Qv-9ZbTf0sR4aWg";

fn client() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients/js")
}

/// What the scenario comes to, wherever it runs.
fn expected() -> Value {
    let error = |code: &str, status: Option<u16>, outcome: Option<&str>| json!({ "name": "GatewayError", "code": code, "status": status, "outcome": outcome });
    json!({
        "runtimes": [["embedded", "reachable"]],
        "profiles": ["sh", "agent", "builtin:echo"],
        "shell": {
            "first": "one\ntwo\n",
            "second": "three\n",
            "snapshots": 1,
            "repeated": 0,
            "waited": 1,
            "last_state": "closed",
            "listed": true,
            "found": ["echo two", "echo three"],
            "said": ["echo one", "echo two", "echo three"],
            "stopped": true,
        },
        "agent": {
            "title": "Write notes.txt",
            "options": ["allow", "always", "reject"],
            "everywhere": true,
            "answered": true,
            "late": error("request_already_answered", Some(409), Some("not_applied")),
        },
        "fleet": {
            "runtimes": ["embedded"],
            "changes": ["anew", "request_opened", "request_resolved", "worker_added", "worker_changed"],
        },
        "errors": {
            "unknown": error("worker_not_found", Some(404), None),
            "unknown_command": error("worker_not_found", Some(404), Some("not_applied")),
            "unknown_stream": error("worker_not_found", None, None),
            "bad_cursor": error("cursor_malformed", None, None),
            "no_token": error("unauthorized", Some(401), None),
            "no_token_stream": error("unauthorized", Some(401), None),
            "nothing_there": error("gateway_unreachable", None, Some("unknown")),
            "too_late": error("gateway_timeout", None, None),
            "wrong_body": error("invalid_request", Some(400), Some("not_applied")),
            "aborted": "enough",
            "step": "TypeError",
            "thrown": "of the caller",
        },
    })
}

/// The real server, whose workers are shells and agents.
struct Gateway {
    process: Process,
    _directory: tempfile::TempDir,
}

impl Gateway {
    fn start(origin: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (config, token) = (directory.path().join("sekisho.toml"), directory.path().join("token"));
        fs::write(&token, TOKEN).unwrap();
        let text = format!(
            "listen = '127.0.0.1:0'\nallowed_origins = ['{origin}']\naccess_token_file = {token:?}\n\
             [embedded.profiles.sh]\ncommand = ['sh']\n\
             [embedded.profiles.agent]\nkind = 'acp'\ncommand = [{:?}]\ncwd = '/'\n",
            binary("scripted-agent")
        );
        fs::write(&config, text).unwrap();
        let process = Process::start(Command::new(binary("sekisho-server")).arg("--config").arg(&config));
        Self { process, _directory: directory }
    }

    fn url(&self) -> String {
        format!("http://{}", self.process.address())
    }

    fn new_agent(&self) -> String {
        let authorization = format!("Bearer {TOKEN}");
        let headers = [("authorization", &*authorization), ("content-type", "application/json")];
        let body = r#"{"intent":{"kind":"assistant"},"profile":{"kind":"named","value":"agent"}}"#;
        let path = "/api/runtimes/embedded/workers";
        let created = request_with(self.process.address(), "POST", path, &headers, Some(body)).json();
        created["worker"]["worker_id"].as_str().unwrap().to_owned()
    }
}

/// The files of the client.
fn site() -> Site {
    Site::start(|path| {
        let media_type = if path.ends_with(".js") { "text/javascript" } else { "text/html; charset=utf-8" };
        Some((media_type, fs::read_to_string(client().join(path.strip_prefix('/')?)).ok()?))
    })
}

/// The arguments that node needs for WebSocket, which it has by itself from 22 on.
fn node() -> Option<Command> {
    let mut node = Command::new("node");
    node.arg("--experimental-websocket");
    let probe = "if (typeof WebSocket !== 'function' || !AbortSignal.any) process.exit(1)";
    let works = Command::new("node").args(["--experimental-websocket", "-e", probe]).output();
    if !works.is_ok_and(|output| output.status.success()) {
        println!("skipped: node 20.10 or newer is not installed (apt-get install nodejs)");
        return None;
    }
    Some(node)
}

#[test]
fn the_types_are_those_of_the_document() {
    let path = client().join("openapi.d.ts");
    let expected = declarations(&openapi::document());
    if env::var_os("SEKISHO_UPDATE_DOCS").is_some() {
        fs::write(&path, expected).unwrap();
    } else {
        assert!(
            fs::read_to_string(&path).unwrap_or_default() == expected,
            "clients/js/openapi.d.ts is not what the OpenAPI document says; to write it anew:\n\
             SEKISHO_UPDATE_DOCS=1 cargo test -p sekisho-tests --test javascript"
        );
    }
}

#[test]
fn the_package_has_all_of_its_files() {
    let package: Value =
        serde_json::from_str(&fs::read_to_string(client().join("package.json")).unwrap()).unwrap();
    let listed = package["files"].as_array().unwrap();
    for entry in fs::read_dir(client()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_of_the_module = name.ends_with(".js") || name.ends_with(".ts");
        assert!(!is_of_the_module || listed.contains(&json!(name)), "{name}");
    }
}

#[test]
fn in_node() {
    let Some(mut node) = node() else { return };
    let gateway = Gateway::start("http://unused.example");
    let output = node
        .arg("--test")
        .args(["watch.test.js", "fleet.test.js", "gateway.test.js"])
        .current_dir(client().join("test"))
        .env("SEKISHO_URL", gateway.url())
        .env("SEKISHO_TOKEN", TOKEN)
        .env("SEKISHO_EXPECTED", expected().to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("# fail 0") && said.contains("# skipped 0"), "{said}");
}

#[test]
fn in_a_page() {
    let Some(chromium) = chromium() else { return };
    let site = site();
    let gateway = Gateway::start(&site.origin());
    let report = site.visit(&chromium, &format!("/test/scenario.html#url={}&token={TOKEN}", gateway.url()));
    assert_eq!(report, expected(), "{report:#}");
}

#[test]
fn the_example_watches_and_answers() {
    let Some(chromium) = chromium() else { return };
    let site = site();
    let gateway = Gateway::start(&site.origin());
    let worker_id = gateway.new_agent();
    let asked = format!(
        "/test/example.html#url={}&token={TOKEN}&runtime_id=embedded&worker_id={worker_id}",
        gateway.url()
    );
    let report = site.visit(&chromium, &asked);
    assert_eq!(report["options"], json!(["allow", "always", "reject"]), "{report}");
    assert!(report["output"].as_str().unwrap().contains("> I will write, write done"), "{report}");
}
