//! Workers that are agents, as clients of a gateway see them: real binaries, a remote runtime, HTTP and WebSocket.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Instant;

use sekisho_tests::client::{Answer, PATIENCE, request, request_with};
use sekisho_tests::processes::{Process, binary};
use sekisho_tests::viewer::{Seen, Viewer};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A runtime with agents, and what gateways to it are configured with.
struct Bench {
    folder: TempDir,
    runtime: Process,
}

impl Bench {
    fn new(command: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("runtime.toml");
        let config = format!(
            "runtime_id = 'box'\nlisten = '127.0.0.1:0'\n[profiles.agent]\nkind = 'acp'\ncwd = '/'\ncommand = {}",
            json!(command)
        );
        fs::write(&file, config).unwrap();
        let runtime = Process::start(Command::new(binary("sekisho-runtime")).arg("--config").arg(&file));
        Self { folder, runtime }
    }

    fn scripted() -> Self {
        Self::new(&[env!("CARGO_BIN_EXE_scripted-agent")])
    }

    /// Another gateway with the same key.
    fn gateway(&self) -> Process {
        let file = self.folder.path().join("gateway.toml");
        let config = format!(
            "listen = '127.0.0.1:0'\ncursor_key_file = '{}'\n[embedded]\nenabled = false\n[[remote]]\nruntime_id = 'box'\nbase_url = 'http://{}'",
            self.folder.path().join("cursor.key").display(),
            self.runtime.address()
        );
        fs::write(&file, config).unwrap();
        let gateway = Process::start(Command::new(binary("sekisho-server")).arg("--config").arg(&file));
        // What the runtime has is known once it was asked.
        assert_eq!(request(gateway.address(), "GET", "/api/runtimes/box", None).status, 200);
        gateway
    }
}

fn post(gateway: SocketAddr, path: &str, body: &Value) -> Answer {
    request(gateway, "POST", path, Some(&body.to_string()))
}

fn create(gateway: SocketAddr) -> String {
    let body = json!({ "profile": { "kind": "named", "value": "agent" }, "intent": { "kind": "assistant" } });
    let answer = post(gateway, "/api/runtimes/box/workers", &body);
    let created = answer.json();
    created["worker"]["worker_id"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

fn prompt(gateway: SocketAddr, worker_id: &str, text: &str) {
    let answer =
        post(gateway, &format!("/api/runtimes/box/workers/{worker_id}/input"), &json!({ "content": text }));
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn answer(gateway: SocketAddr, worker_id: &str, request_id: &str, body: &Value, key: &str) -> Answer {
    let path = format!("/api/runtimes/box/workers/{worker_id}/requests/{request_id}");
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    request_with(gateway, "POST", &path, &headers, Some(&body.to_string()))
}

/// A viewer that has seen how the worker stands: what happens from now on, it sees happen.
fn watch(gateway: SocketAddr, worker_id: &str, cursor: Option<&str>) -> (Viewer, Value) {
    let mut viewer = Viewer::open(gateway, &format!("box/{worker_id}"), cursor);
    match viewer.see() {
        Seen::Event { payload, .. } => (viewer, payload),
        other => panic!("{other:?}"),
    }
}

/// The payload of the first event that is as wanted; all of their text so far is added.
fn wait_for(viewer: &mut Viewer, text: &mut String, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match viewer.see() {
            Seen::Event { payload, .. } => {
                if payload["event"] == "text_delta" {
                    text.push_str(payload["data"]["text"].as_str().unwrap());
                }
                if wanted(&payload) {
                    return payload;
                }
            }
            Seen::Diagnostic(_) => {}
            Seen::Closed(code) => panic!("closed with {code}"),
        }
    }
    panic!("nothing of the kind came")
}

fn item(viewer: &mut Viewer, text: &mut String, kind: &str) -> Value {
    wait_for(viewer, text, |payload| payload["data"]["item"]["kind"] == kind)["data"]["item"].clone()
}

fn run_end(viewer: &mut Viewer, text: &mut String) -> Value {
    wait_for(viewer, text, |payload| payload["event"] == "run_end")["data"]["result"].clone()
}

#[test]
fn one_agent_that_two_clients_watch_and_answer() {
    let bench = Bench::scripted();
    let mut gateway = bench.gateway();
    let address = gateway.address();
    let worker_id = create(address);
    let (mut first, _) = watch(address, &worker_id, None);
    let (mut second, _) = watch(address, &worker_id, None);
    let (mut said, mut also_said) = (String::new(), String::new());
    prompt(address, &worker_id, "I will read write write done");
    let question = item(&mut first, &mut said, "request")["request"].clone();
    assert_eq!(item(&mut second, &mut also_said, "request")["request"], question);
    let request_id = question["request_id"].as_str().unwrap();

    // It is in the lists, with its names.
    for path in [
        "/api/requests".to_owned(),
        "/api/runtimes/box/requests".to_owned(),
        format!("/api/runtimes/box/workers/{worker_id}/requests"),
    ] {
        let listed = request(address, "GET", &path, None).json();
        let listed = listed["requests"].as_array().unwrap();
        assert_eq!(listed.len(), 1, "{path}");
        assert_eq!(listed[0]["request_id"], request_id, "{path}");
        assert_eq!(listed[0]["worker_id"], worker_id.as_str(), "{path}");
    }

    // Two answers at once: one wins, and both see which.
    let answers: Vec<Answer> = thread::scope(|scope| {
        let given = ["allow", "reject"].map(|option| {
            let worker_id = &worker_id;
            scope.spawn(move || {
                answer(address, worker_id, request_id, &json!({ "option_id": option }), option)
            })
        });
        given.into_iter().map(|given| given.join().unwrap()).collect()
    });
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    let loser = answers.iter().find(|answer| answer.status == 409).unwrap();
    assert_eq!(loser.text("code"), "request_already_answered");
    let winner = if answers[0].status == 200 { "allow" } else { "reject" };
    for (viewer, text) in [(&mut first, &mut said), (&mut second, &mut also_said)] {
        assert_eq!(item(viewer, text, "request_resolved")["option_id"], winner);
        item(viewer, text, "request");
    }
    // An answer that is sent again with its key is the same acknowledgement.
    let again = answer(address, &worker_id, request_id, &json!({ "option_id": winner }), winner);
    let won = answers.iter().find(|answer| answer.status == 200).unwrap();
    assert_eq!(again.json()["ack"], won.json()["ack"]);

    // The question outlives its viewers and the gateway.
    let cursor = first.cursor.clone();
    gateway.signal("KILL");
    gateway.ended();
    drop((first, second));
    let gateway = bench.gateway();
    let address = gateway.address();
    let open = request(address, "GET", "/api/requests", None).json();
    let request_id = open["requests"][0]["request_id"].as_str().unwrap().to_owned();
    let (mut late, payload) = watch(address, &worker_id, None);
    assert_eq!(payload["data"]["requests"][0]["request_id"], request_id.as_str());
    assert_eq!(payload["data"]["status"], "paused");
    let mut resumed = Viewer::open(address, &format!("box/{worker_id}"), cursor.as_deref());
    let given = answer(address, &worker_id, &request_id, &json!({ "dismiss": true }), "dismiss");
    assert_eq!(given.status, 200, "{given:?}");
    for viewer in [&mut late, &mut resumed] {
        let mut text = String::new();
        assert_eq!(item(viewer, &mut text, "request_resolved")["dismissed"], true);
        let error = wait_for(viewer, &mut text, |payload| payload["event"] == "error");
        assert_eq!(error["data"]["message"], "the turn was cancelled");
    }

    // And the next turn is as good as any.
    prompt(address, &worker_id, "again");
    let mut text = String::new();
    assert_eq!((run_end(&mut late, &mut text), text.as_str()), (json!("finished"), "again "));
}

#[test]
fn interrupt_and_end_through_a_gateway() {
    let bench = Bench::scripted();
    let gateway = bench.gateway();
    let address = gateway.address();
    let worker_id = create(address);
    let (mut viewer, _) = watch(address, &worker_id, None);
    let mut text = String::new();
    prompt(address, &worker_id, "Hello forever");
    wait_for(&mut viewer, &mut text, |payload| payload["event"] == "text_delta");
    let path = format!("/api/runtimes/box/workers/{worker_id}");
    let seen = request(address, "GET", &path, None).json();
    assert_eq!(seen["worker"]["activity"], "running");
    let interrupted = request(address, "POST", &format!("{path}/interrupt"), None);
    assert_eq!(interrupted.status, 200, "{interrupted:?}");
    let error = wait_for(&mut viewer, &mut text, |payload| payload["event"] == "error");
    assert_eq!(error["data"], json!({ "code": "internal", "message": "the turn was cancelled" }));
    let resumed = request(address, "POST", &format!("{path}/resume"), None);
    // Without a durable store there is no such feature.
    assert_eq!((resumed.status, resumed.text("code")), (501, "unsupported".into()));
    let stopped = request(address, "POST", &format!("{path}/stop"), None);
    assert_eq!(stopped.status, 200, "{stopped:?}");
    assert_eq!(item(&mut viewer, &mut text, "ended")["reason"], "stopped");
}

#[test]
fn questions_are_listed_and_answered_from_a_terminal() {
    let bench = Bench::scripted();
    let gateway = bench.gateway();
    let address = gateway.address();
    let worker_id = create(address);
    let (mut viewer, _) = watch(address, &worker_id, None);
    prompt(address, &worker_id, "write choose done");
    let mut text = String::new();
    let sekisho = |arguments: &[&str]| {
        let server = format!("http://{address}");
        let mut command = Command::new(binary("sekisho"));
        let output = command.args(["--server", &server]).args(arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    item(&mut viewer, &mut text, "request");
    let (status, listed) = sekisho(&["requests"]);
    assert_eq!(status, 0);
    let worker = format!("box/{worker_id}");
    assert!(listed.contains(&worker) && listed.contains("Write notes.txt"), "{listed}");
    assert!(listed.contains("allow always reject"), "{listed}");
    assert_eq!(sekisho(&["answer", &worker, "r1-1", "allow"]).0, 0);
    assert_ne!(sekisho(&["answer", &worker, "r1-1", "reject"]).0, 0);
    item(&mut viewer, &mut text, "request");
    let (_, listed) = sekisho(&["--json", "requests", &worker]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["requests"][0]["title"], "Which color?");
    assert_eq!(sekisho(&["answer", "--dismiss", &worker, "r1-2"]).0, 0);
    assert_eq!(run_end(&mut viewer, &mut text), "finished");
    assert_eq!(text, "no color done ");
    // It runs, and the runtime has no store.
    assert_ne!(sekisho(&["resume", &worker]).0, 0);
}

#[test]
fn nothing_of_an_agents_machine_is_told() {
    let bench = Bench::new(&["/no/such/agent"]);
    let gateway = bench.gateway();
    let body = json!({ "profile": { "kind": "named", "value": "agent" }, "intent": { "kind": "assistant" } });
    let refused = post(gateway.address(), "/api/runtimes/box/workers", &body);
    assert_ne!(refused.status, 200);
    let text = format!("{refused:?}");
    assert!(!text.contains("/no/such"), "{text}");
    let profiles = request(gateway.address(), "GET", "/api/runtimes/box/profiles", None).json();
    assert_eq!(profiles["items"][0]["kind"], "acp", "{profiles}");
    assert!(!profiles.to_string().contains("/no/such"));
}

/// The bar of the walk: an agent that others wrote, by HTTP alone, twenty of them at once.
#[test]
fn twenty_agents_of_the_typescript_sdk() {
    let agent = "node_modules/@agentclientprotocol/sdk/dist/examples/agent.js";
    let folder = std::env::var_os("SEKISHO_ACP_AGENTS").map(PathBuf::from);
    let Some(agent) = folder.map(|folder| folder.join(agent)).filter(|agent| agent.exists()) else {
        return println!(
            "skipped: SEKISHO_ACP_AGENTS names no folder with it; docs/agents.md says how to make one"
        );
    };
    let bench = Bench::new(&["node", agent.to_str().unwrap()]);
    let gateway = bench.gateway();
    let address = gateway.address();
    let workers: Vec<String> = (0..20).map(|_| create(address)).collect();
    let mut viewers: Vec<Viewer> =
        workers.iter().map(|worker_id| watch(address, worker_id, None).0).collect();
    for worker_id in &workers {
        prompt(address, worker_id, "hello");
    }
    for (worker_id, viewer) in workers.iter().zip(&mut viewers) {
        let mut text = String::new();
        let question = item(viewer, &mut text, "request")["request"].clone();
        assert_eq!(question["title"], "Modifying critical configuration file");
        let request_id = question["request_id"].as_str().unwrap();
        let given = answer(address, worker_id, request_id, &json!({ "option_id": "allow" }), worker_id);
        assert_eq!(given.status, 200);
        assert_eq!(item(viewer, &mut text, "request_resolved")["option_id"], "allow");
        assert_eq!(run_end(viewer, &mut text), "finished");
        assert!(text.contains("I'll help you") && text.contains("Perfect!"), "{text}");
    }
}
