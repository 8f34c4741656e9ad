//! The OpenAPI document at the real server: that all of it is there, and that each success is of its schema. That nothing
//! else is there shows in every other test, as all that they are answered is held against the document too.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use sekisho_core::browser_api::openapi;
use sekisho_tests::client::{Answer, request};
use sekisho_tests::processes::{Process, binary, eventually};
use serde_json::Value;

/// A gateway whose workers are terminals and agents.
fn gateway() -> (Process, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("sekisho.toml");
    let text = format!(
        "listen = '127.0.0.1:0'\n[embedded.profiles.terminal]\nkind = 'terminal'\ncommand = ['sh']\n\
         [embedded.profiles.agent]\nkind = 'acp'\ncommand = [{:?}]\ncwd = '/'\n",
        binary("scripted-agent")
    );
    fs::write(&config, text).unwrap();
    let process = Process::start(Command::new(binary("sekisho-server")).arg("--config").arg(&config));
    (process, directory)
}

/// Every route of the document: its method, its path and what it is called.
fn routes(document: &Value) -> impl Iterator<Item = (String, &str, &str)> {
    document["paths"].as_object().unwrap().iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(|(method, operation)| {
            (method.to_uppercase(), &**path, operation["operationId"].as_str().unwrap())
        })
    })
}

/// Asks, and notes which operations have succeeded.
struct Client<'a> {
    address: SocketAddr,
    document: &'a Value,
    done: RefCell<BTreeSet<&'a str>>,
}

impl<'a> Client<'a> {
    fn ask(&self, operation_id: &str, ids: &[(&str, &str)], body: Option<&str>) -> Answer {
        let mut routes = routes(self.document);
        let (method, path, operation_id) = routes.find(|(.., id)| *id == operation_id).unwrap();
        let path =
            ids.iter().fold(path.to_owned(), |path, (name, id)| path.replace(&format!("{{{name}}}"), id));
        let answer = request(self.address, &method, &path, body);
        assert!((200..300).contains(&answer.status), "{operation_id}: {answer:?}");
        self.done.borrow_mut().insert(operation_id);
        answer
    }

    fn new_worker(&self, profile: &str) -> String {
        let body = format!(
            r#"{{"intent":{{"kind":"task","objective":"-"}},"profile":{{"kind":"named","value":"{profile}"}}}}"#
        );
        let created = self.ask("create_worker", &[("runtime_id", "embedded")], Some(&body));
        created.json()["worker"]["worker_id"].as_str().unwrap().to_owned()
    }
}

#[test]
fn each_route_of_the_document_is_answered() {
    let (server, _directory) = gateway();
    let document = request(server.address(), "GET", "/api/openapi.json", None).json();
    assert_eq!(document, openapi::document());
    // The stream of all workers names none that could be missing: it would be answered without an end.
    let ends = |(_, _, id): &(_, _, &str)| *id != "stream_all_workers";
    for (method, path, operation_id) in routes(&document).filter(ends) {
        let filled: Vec<&str> =
            path.split('/').map(|segment| if segment.starts_with('{') { "none" } else { segment }).collect();
        let body = (method == "POST").then_some("{}");
        let answer = request(server.address(), &method, &filled.join("/"), body);
        let code = if answer.status < 400 { String::new() } else { answer.text("code") };
        assert!(!["unknown_route", "method_not_allowed"].contains(&&*code), "{operation_id}: {answer:?}");
        // The document has all methods of a path, and HEAD.
        let other = if method == "DELETE" { "PUT" } else { "PATCH" };
        let refused = request(server.address(), other, &filled.join("/"), None);
        assert_eq!(refused.status, 405, "{other} {path}");
        for allowed in refused.header("allow").unwrap().split(", ").filter(|method| *method != "HEAD") {
            let has = document["paths"][path].get(allowed.to_lowercase()).is_some();
            assert!(has, "the document lacks {allowed} {path}");
        }
    }
}

#[test]
fn each_operation_succeeds_as_the_document_says() {
    let (server, _directory) = gateway();
    let document = openapi::document();
    let client = Client { address: server.address(), document: &document, done: RefCell::default() };
    for asked in ["livez", "healthz", "readyz", "metrics"] {
        client.ask(asked, &[], None);
    }
    for asked in ["list_runtimes", "list_all_workers", "list_every_request"] {
        client.ask(asked, &[], None);
    }
    let runtime = ("runtime_id", "embedded");
    for asked in ["read_runtime", "list_workers", "list_profiles", "list_all_requests"] {
        client.ask(asked, &[runtime], None);
    }
    let terminal = client.new_worker("terminal");
    let worker = [runtime, ("worker_id", &*terminal)];
    client.ask("resize_worker", &worker, Some(r#"{"cols":100,"rows":40}"#));
    client.ask("send_input", &worker, Some(r#"{"content":"echo said"}"#));
    client.ask("interrupt_worker", &worker, None);
    client.ask("stop_worker", &worker, Some(r#"{"reason":"-"}"#));
    eventually("its end", || {
        let status = client.ask("get_worker", &worker, None).json()["worker"]["status"].clone();
        (status == "stopped").then_some(())
    });
    client.ask("read_transcript", &worker, None);
    client.ask("list_all_workers", &[], None);
    eventually("that it may be removed", || {
        let path = format!("/api/runtimes/embedded/workers/{terminal}");
        (request(server.address(), "DELETE", &path, None).status == 204).then_some(())
    });

    let agent = client.new_worker("agent");
    let worker = [runtime, ("worker_id", &*agent)];
    client.ask("send_input", &worker, Some(r#"{"content":"I will write, write done"}"#));
    let request_id = eventually("a request", || {
        let requests = client.ask("list_requests", &worker, None).json();
        requests["requests"][0]["request_id"].as_str().map(str::to_owned)
    });
    client.ask("list_every_request", &[], None);
    let one = [worker[0], worker[1], ("request_id", &request_id)];
    client.ask("answer_requests", &one, Some(r#"{"option_id":"allow"}"#));
    client.ask("cancel_worker", &worker, None);

    let documentation = document["paths"].as_object().unwrap().values().map(|methods| &methods["get"]);
    for file in documentation.filter(|operation| operation["tags"][0] == "documentation") {
        client.ask(file["operationId"].as_str().unwrap(), &[], None);
    }
    // Streams have tests of their own, and so has what needs a runtime that went away.
    let elsewhere = [
        "observe_events",
        "stream_events",
        "observe_all_workers",
        "stream_all_workers",
        "resume_worker",
        "remove_worker",
    ];
    let missing: Vec<&str> = routes(&document)
        .map(|(.., operation_id)| operation_id)
        .filter(|id| !client.done.borrow().contains(id) && !elsewhere.contains(id))
        .collect();
    assert_eq!(missing, [""; 0]);
}
