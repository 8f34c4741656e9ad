//! A gateway behind the proxies of `docs/proxies.md`, each configured as that page says. A proxy that is not installed is
//! skipped, with a line that says so.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

#[path = "proxies/client.rs"]
mod client;
#[path = "proxies/proxy.rs"]
mod proxy;

use std::process::Command;

use sekisho_tests::processes::{Process, binary, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

use client::Client;
use proxy::{Kind, Proxy, TOKEN};

/// The prefix under which the page puts the gateway.
const PREFIX: &str = "/sekisho";

struct Site {
    client: Client,
    gateway: Process,
    proxy: Proxy,
    // Dropped last: the processes above have files in it.
    folder: TempDir,
}

/// A gateway with shells behind a proxy of this kind; `None` where it is not installed.
fn site(kind: Kind) -> Option<Site> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), TOKEN).unwrap();
    let config = proxy::block("toml").replace("127.0.0.1:8787", "127.0.0.1:0");
    let profile = "\n[embedded.profiles.cat]\ncommand = ['cat']\n";
    std::fs::write(folder.path().join("sekisho.toml"), config + profile).unwrap();
    let mut server = Command::new(binary("sekisho-server"));
    server.current_dir(folder.path()).env("XDG_STATE_HOME", folder.path());
    let gateway = Process::start(server.args(["--config", "sekisho.toml"]));
    let proxy = Proxy::start(kind, folder.path(), gateway.address())?;
    let client = Client::new(proxy.address(), folder.path());
    Some(Site { client, gateway, proxy, folder })
}

#[test]
fn nginx() {
    behind(Kind::Nginx);
}

#[test]
fn caddy() {
    behind(Kind::Caddy);
}

#[test]
fn haproxy() {
    behind(Kind::Haproxy);
}

fn behind(kind: Kind) {
    let Some(site) = site(kind) else {
        println!("skipped: {kind:?} is not installed");
        return;
    };
    let worker = commands(&site);
    origins(&site);
    let cursor = websocket(&site, &worker);
    server_sent_events(&site, &worker, &cursor);
    http2(&site);
    drain(site, &worker);
}

/// Creates a worker; where it is, as the reply says it.
fn commands(site: &Site) -> String {
    let list = site.client.request("GET", &format!("{PREFIX}/api/runtimes"), &[], None);
    assert_eq!(list.status, 200, "{list:?}");
    let create = json!({"intent": {"kind": "assistant"}}).to_string();
    let workers = format!("{PREFIX}/api/runtimes/embedded/workers");
    let created = site.client.request("POST", &workers, &[], Some(&create));
    assert_eq!(created.status, 201, "{created:?}");
    let worker_id = created.json()["worker"]["worker_id"].as_str().unwrap().to_owned();
    let location = created.header("location").unwrap();
    let worker = resolved(&workers, location);
    assert_eq!(worker, format!("{workers}/{worker_id}"), "{location}");
    let detail = site.client.request("GET", &worker, &[], None);
    assert_eq!(detail.json()["worker"]["worker_id"], worker_id);
    worker
}

/// A reference without a scheme or host, resolved against the path of the request (RFC 3986, 5.3).
fn resolved(base: &str, reference: &str) -> String {
    match reference.starts_with('/') {
        true => reference.to_owned(),
        false => format!("{}/{}", base.rsplit_once('/').unwrap().0, reference),
    }
}

fn origins(site: &Site) {
    let ask = |origin| {
        let headers = [("origin", origin)];
        site.client.request("GET", &format!("{PREFIX}/api/runtimes"), &headers, None)
    };
    assert_eq!(ask("https://sekisho.example").status, 200);
    let refused = ask("https://evil.example");
    assert_eq!((refused.status, refused.text("code")), (403, "origin_not_allowed".into()));
}

fn say(site: &Site, worker: &str, content: &str) {
    let body = json!({"content": content}).to_string();
    let answer = site.client.request("POST", &format!("{worker}/input"), &[], Some(&body));
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Watches until the worker has said `text`; the cursor of that event.
fn seen(frames: &mut impl FnMut() -> Value, text: &str) -> String {
    loop {
        let frame = frames();
        let data = &frame["envelope"]["payload"];
        if data["event"] == "text_delta" && data["data"]["text"].as_str().unwrap().contains(text) {
            return frame["envelope"]["cursor"].as_str().unwrap().to_owned();
        }
    }
}

fn websocket(site: &Site, worker: &str) -> String {
    let mut socket = site.client.websocket(&format!("{worker}/events/ws"));
    say(site, worker, "over a websocket");
    seen(&mut || socket.frame(), "over a websocket")
}

/// Each event comes when it happens, not when a buffer is full.
fn server_sent_events(site: &Site, worker: &str, cursor: &str) {
    let mut events = site.client.events(&format!("{worker}/events?cursor={cursor}"));
    for text in ["one event", "another event"] {
        say(site, worker, text);
        seen(&mut || events.frame(), text);
    }
}

fn http2(site: &Site) {
    let address = site.proxy.address();
    let output = Command::new("curl")
        .args(["--silent", "--http2", "--write-out", "\n%{http_version} %{http_code}", "--cacert"])
        .arg(site.folder.path().join("certificate.pem"))
        .args(["--resolve", &format!("sekisho.example:{}:{}", address.port(), address.ip())])
        .args(["--header", &format!("authorization: Bearer {TOKEN}")])
        .arg(format!("https://sekisho.example:{}{PREFIX}/api/runtimes", address.port()))
        .output();
    match output {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.ends_with("\n2 200"), "{said} {}", String::from_utf8_lossy(&output.stderr));
        }
        Err(error) => println!("skipped: HTTP/2, because curl cannot be started: {error}"),
    }
}

/// A viewer is told to come back, and a readiness probe that the gateway is not ready.
fn drain(mut site: Site, worker: &str) {
    let mut socket = site.client.websocket(&format!("{worker}/events/ws"));
    while socket.frame()["diagnostic"]["code"] != "caught_up" {}
    site.gateway.signal("TERM");
    assert_eq!(socket.end(), (Some("going_away".into()), 1001));
    site.gateway.ended();
    eventually("the proxy says that there is no gateway", || {
        let answer = site.client.request("GET", &format!("{PREFIX}/readyz"), &[], None);
        (answer.status >= 500).then_some(())
    });
}
