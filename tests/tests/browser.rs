//! A real browser, on pages of an allowed and of another origin.
//!
//! These run among all tests where Chromium is installed; elsewhere they say that they were skipped. By themselves:
//!
//! ```sh
//! apt-get install chromium     # or CHROMIUM=/path/to/one
//! cargo build -p sekisho-server && cargo test -p sekisho-tests --test browser -- --nocapture
//! ```
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use sekisho_tests::browser::{Site, Tab, chromium};
use sekisho_tests::client::request_with;
use sekisho_tests::processes::{Process, binary, eventually};
use serde_json::{Value, json};

const TOKEN: &str = "kXk7m2_Qv-9ZbTf0sR4aWg";

/// What all pages have: what they were asked, in the fragment of their URL, and the way to report.
const PAGE: &str = r#"
const asked = new URLSearchParams(location.hash.slice(1));
const token = asked.get("token");
const authorized = { "authorization": "Bearer " + token, "content-type": "application/json" };
const seen = [];

function open(at, cursor) {
    const query = cursor === undefined ? "" : "?cursor=" + encodeURIComponent(cursor);
    const url = at.replace("http:", "ws:") + "/events/ws" + query;
    return new WebSocket(url, ["sekisho.v1", "bearer." + token]);
}

async function report(run) {
    const tired = new Promise((_, reject) => {
        setTimeout(() => reject("no end after " + JSON.stringify(seen)), 30000);
    });
    const said = await Promise.race([run(), tired]).catch(error => ({ error: String(error?.stack ?? error) }));
    await fetch("/report", { method: "POST", body: JSON.stringify(said) });
}
"#;

/// Follows a worker, drops, comes back with the last cursor, and has itself refused twice. A second viewer that stays
/// tells what there was to see.
const FOLLOW: &str = r#"
function watch(at, cursor) {
    const socket = open(at, cursor);
    const viewer = { frames: [], closed: null };
    let wake = () => {};
    socket.onmessage = ({ data }) => {
        viewer.frames.push(JSON.parse(data));
        seen.push(data);
        wake();
    };
    socket.onclose = ({ code, reason, wasClean }) => {
        viewer.closed = { code, reason, wasClean };
        seen.push(viewer.closed);
        wake();
    };
    const until = async reached => {
        while (!reached()) {
            if (viewer.closed) throw new Error("closed: " + JSON.stringify(viewer));
            await new Promise(resolve => { wake = resolve; });
        }
        viewer.protocol = socket.protocol;
        return viewer;
    };
    return Object.assign(Object.create({
        caughtUp: () => until(() => viewer.frames.some(({ diagnostic }) => diagnostic?.code === "caught_up")),
        heard: line => until(() => viewer.frames.some(({ envelope }) => envelope?.payload.data?.text?.trimEnd() === line)),
        ended: () => until(() => viewer.closed),
        leave: () => socket.close(),
        lastCursor: () => viewer.frames.findLast(({ envelope }) => envelope).envelope.cursor,
    }), { viewer });
}

report(async () => {
    const at = asked.get("at");
    const say = async content => {
        const response = await fetch(at + "/input", {
            method: "POST", headers: authorized, body: JSON.stringify({ content }),
        });
        if (!response.ok) throw new Error(await response.text());
    };

    const stays = watch(at);
    await stays.caughtUp();
    const leaves = watch(at);
    await leaves.caughtUp();
    await say("echo one");
    await leaves.heard("one");
    leaves.leave();
    await leaves.ended();

    await say("echo two");
    const returns = watch(at, leaves.lastCursor());
    await returns.caughtUp();
    await returns.heard("two");
    await say("echo three");
    await returns.heard("three");
    await stays.heard("three");

    return {
        stays: stays.viewer,
        leaves: leaves.viewer,
        returns: returns.viewer,
        malformed: await watch(at, "not-a-cursor").ended(),
        unknown: await watch(at.replace(/[^/]+$/, "worker-99999999")).ended(),
    };
});
"#;

/// Tries every way in that a page has.
const KNOCK: &str = r#"
const knock = async at => {
    const workers = at.replace(/\/[^/]+$/, "");
    const body = '{"intent":{"kind":"assistant"}}';
    const ask = options => fetch(workers, options).then(
        ({ type, status }) => type === "opaque" ? type : status,
        error => error.name,
    );
    return {
        socket: await new Promise(resolve => {
            const socket = open(at);
            socket.onopen = () => resolve("open");
            socket.onclose = ({ code }) => resolve(code);
        }),
        events: await new Promise(resolve => {
            const source = new EventSource(at + "/events");
            source.onopen = () => resolve("open");
            source.onerror = () => resolve("error");
        }),
        read: await ask({ headers: authorized }),
        read_without_preflight: await ask({}),
        write: await ask({ method: "POST", headers: authorized, body }),
        write_without_preflight: await ask({
            method: "POST", mode: "no-cors", headers: { "content-type": "text/plain" }, body,
        }),
    };
};

report(async () => {
    const answers = [];
    for (const at of asked.getAll("at")) answers.push(await knock(at));
    return answers;
});
"#;

#[test]
fn a_page_follows_a_worker_and_comes_back() {
    let Some(chromium) = chromium() else { return };
    let page = Page::start(FOLLOW);
    let gateway = Gateway::start(&page, true);
    let report = page.visit(&chromium, &[&gateway]);

    let [stays, leaves, returns] = ["stays", "leaves", "returns"].map(|viewer| &report[viewer]);
    for viewer in [stays, leaves, returns] {
        assert_eq!(viewer["protocol"], "sekisho.v1", "{report}");
        assert_eq!(diagnostics(viewer), ["caught_up"], "{report}");
        let ids: BTreeSet<_> = events(viewer).map(|event| event["event_id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), events(viewer).count(), "{report}");
        for event in events(viewer) {
            assert_eq!(
                (&event["runtime_id"], &event["worker_id"]),
                (&json!("embedded"), &json!(gateway.worker_id))
            );
        }
    }
    for viewer in [stays, leaves] {
        assert_eq!(viewer["frames"][0]["envelope"]["payload"]["event"], "snapshot", "{report}");
    }
    assert_eq!(lines(leaves), ["echo one", "one"], "{report}");
    assert_eq!(lines(returns), ["echo two", "two", "echo three", "three"], "{report}");
    assert!(events(returns).all(|event| event["payload"]["event"] != "snapshot"), "{report}");
    let pieced_together: Vec<_> = events(leaves).filter(has_line).chain(events(returns)).collect();
    assert_eq!(
        events(stays).filter(has_line).collect::<Vec<_>>(),
        pieced_together,
        "cursors and ids included"
    );
    assert_eq!(leaves["closed"], json!({"code": 1005, "reason": "", "wasClean": true}));

    for (viewer, code, reason) in
        [("malformed", 4500, "cursor_malformed"), ("unknown", 4504, "worker_not_found")]
    {
        let viewer = &report[viewer];
        assert_eq!((diagnostics(viewer), events(viewer).count()), (vec![reason], 0), "{report}");
        assert_eq!(viewer["closed"], json!({"code": code, "reason": reason, "wasClean": true}));
    }
    assert!(!report.to_string().contains(TOKEN));
}

#[test]
fn a_page_of_another_origin_stays_outside() {
    let Some(chromium) = chromium() else { return };
    let (allowed, other) = (Page::start(KNOCK), Page::start(KNOCK));
    // The second is how a new user starts it: nothing but the origin keeps pages outside.
    let gateways = [Gateway::start(&allowed, true), Gateway::start(&allowed, false)];
    let workers = || gateways.each_ref().map(Gateway::workers);

    let refused = json!({
        "socket": 1006,
        "events": "error",
        "read": "TypeError",
        "read_without_preflight": "TypeError",
        "write": "TypeError",
        "write_without_preflight": "opaque",
    });
    assert_eq!(other.visit(&chromium, &gateways.each_ref()), json!([refused, refused]));
    assert_eq!(workers(), [1, 1], "those that were there before");

    // That the same page is let in elsewhere shows that it knocks as one should.
    let admitted = |events, read| {
        json!({
            "socket": "open",
            "events": events,
            "read": 200,
            "read_without_preflight": read,
            "write": 201,
            "write_without_preflight": "opaque",
        })
    };
    assert_eq!(
        allowed.visit(&chromium, &gateways.each_ref()),
        json!([admitted("error", 401), admitted("open", 200)])
    );
    assert_eq!(workers(), [2, 2], "what is not JSON creates nothing");
}

#[test]
fn the_gateways_own_page_watches_a_worker() {
    let Some(chromium) = chromium() else { return };
    let gateway = Gateway::start(&Page::start(""), false);
    let worker = format!("/api/runtimes/embedded/workers/{}", gateway.worker_id);
    let json = [("content-type", "application/json")];
    let input = Some(r#"{"content":"echo said $((40 + 2))"}"#);
    assert_eq!(request_with(gateway.address(), "POST", &format!("{worker}/input"), &json, input).status, 200);
    eventually("the shell's answer", || {
        let transcript = request_with(gateway.address(), "GET", &format!("{worker}/transcript"), &[], None);
        transcript.json().to_string().contains("said 42").then_some(())
    });
    let page = |fragment: &str| Tab::open(&chromium, &format!("http://{}/{fragment}", gateway.address()));
    let expected = ["This gateway is ready.", "assistant: said 42", "caught_up", "export function watch"];
    page(&format!("#embedded/{}", gateway.worker_id)).until(&expected);
    page("#embedded/missing").until(&["worker_not_found"]);
}

#[test]
fn the_gateways_own_page_shows_the_document() {
    let Some(chromium) = chromium() else { return };
    let [guarded, open] = [true, false].map(|guarded| Gateway::start(&Page::start(""), guarded));
    let mut reference = Tab::open(&chromium, &format!("http://{}/api", open.address()));
    reference.until(&["id=\"schema-WorkerView\"", "<code>worker_not_found</code>"]);
    // The body is there already: an example.
    reference.evaluate(
        r#"(() => {
            const form = document.querySelector('#create_worker form');
            form.querySelector("input").value = "embedded";
            form.requestSubmit();
        })()"#,
    );
    reference.until(&["201 Created"]);
    assert_eq!(open.workers(), 2);

    let mut asks = Tab::open(&chromium, &format!("http://{}/api", guarded.address()));
    let page = asks.until(&["asks for its access token"]);
    assert!(!page.contains("read_transcript"), "{page}");
    let token = format!(
        r#"(() => {{
            document.getElementById("token").value = "{TOKEN}";
            document.getElementById("access").requestSubmit();
        }})()"#
    );
    asks.evaluate(&token);
    asks.until(&["id=\"read_transcript\""]);
}

/// The real server, with one worker, which is a shell.
struct Gateway {
    process: Process,
    worker_id: String,
    _directory: tempfile::TempDir,
}

impl Gateway {
    fn start(allowed: &Page, guarded: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (config, token) = (directory.path().join("sekisho.toml"), directory.path().join("token"));
        fs::write(&token, TOKEN).unwrap();
        let guard = if guarded { format!("access_token_file = {token:?}") } else { String::new() };
        let text = format!(
            "listen = '127.0.0.1:0'\nallowed_origins = ['{}']\n{guard}\n[embedded.profiles.sh]\ncommand = ['sh']\n",
            allowed.origin()
        );
        fs::write(&config, text).unwrap();
        let process = Process::start(Command::new(binary("sekisho-server")).arg("--config").arg(&config));
        let mut gateway = Self { process, worker_id: String::new(), _directory: directory };
        let created = gateway.ask("POST", Some(r#"{"intent":{"kind":"assistant"}}"#));
        gateway.worker_id = created["worker"]["worker_id"].as_str().unwrap().to_owned();
        gateway
    }

    fn ask(&self, method: &str, body: Option<&str>) -> Value {
        let authorization = format!("Bearer {TOKEN}");
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let headers = &headers[..if body.is_some() { 2 } else { 1 }];
        request_with(self.address(), method, "/api/runtimes/embedded/workers", headers, body).json()
    }

    fn address(&self) -> SocketAddr {
        self.process.address()
    }

    fn workers(&self) -> usize {
        self.ask("GET", None)["items"].as_array().unwrap().len()
    }
}

/// A page of an origin of its own.
struct Page(Site);

impl Page {
    fn start(script: &str) -> Self {
        let page = format!("<!doctype html><title>-</title><script>{PAGE}{script}</script>");
        Self(Site::start(move |path| (path == "/").then(|| ("text/html; charset=utf-8", page.clone()))))
    }

    fn origin(&self) -> String {
        self.0.origin()
    }

    /// Shows the page in a browser of its own; what it reports.
    fn visit(&self, chromium: &Path, gateways: &[&Gateway]) -> Value {
        let mut page = format!("/#token={TOKEN}");
        for gateway in gateways {
            let Gateway { worker_id, .. } = gateway;
            page += &format!("&at=http://{}/api/runtimes/embedded/workers/{worker_id}", gateway.address());
        }
        self.0.visit(chromium, &page)
    }
}

fn diagnostics(viewer: &Value) -> Vec<&str> {
    let frames = viewer["frames"].as_array().unwrap().iter();
    frames.filter_map(|frame| frame["diagnostic"]["code"].as_str()).collect()
}

/// The envelopes, snapshots included.
fn events(viewer: &Value) -> impl Iterator<Item = &Value> {
    viewer["frames"].as_array().unwrap().iter().filter_map(|frame| frame.get("envelope"))
}

/// What was said to the worker, and what it answered.
fn lines(viewer: &Value) -> Vec<&str> {
    events(viewer).filter_map(line).collect()
}

fn line(event: &Value) -> Option<&str> {
    let data = &event["payload"]["data"];
    data["text"].as_str().map(str::trim_end).or_else(|| data["segments"][0]["content"].as_str())
}

fn has_line(event: &&Value) -> bool {
    line(event).is_some()
}
