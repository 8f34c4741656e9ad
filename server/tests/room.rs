//! A gateway's own runtime that is full.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::process::Command;

use sekisho_tests::client::{Answer, request};
use sekisho_tests::processes::{Process, eventually};

const WORKERS: &str = "/api/runtimes/embedded/workers";

#[test]
fn a_runtime_that_is_full_is_busy_and_may_be_asked_again() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho-server"));
    command.env_remove("RUST_LOG").args(["--listen", "127.0.0.1:0", "--exec", "sleep 1000"]);
    let gateway = Process::start(&mut command);
    let ask = |method: &str, path: &str, body: Option<&str>| request(gateway.address(), method, path, body);
    let create = || ask("POST", WORKERS, Some(r#"{"intent":{"kind":"assistant"}}"#));
    let created: Vec<Answer> = (0..128).map(|_| create()).collect();
    assert!(created.iter().all(|answer| answer.status == 201));

    let full = create();
    let problem = full.json();
    assert_eq!((full.status, problem["code"].as_str()), (503, Some("runtime_busy")), "{problem}");
    assert_eq!((&problem["retryable"], problem["outcome"].as_str()), (&true.into(), Some("not_applied")));
    assert_eq!(
        (problem["runtime_code"].as_str(), full.header("retry-after")),
        (Some("runtime_full"), Some("1"))
    );

    // It takes one again as soon as one has ended, and lists all of them meanwhile.
    let list = ask("GET", WORKERS, None).json();
    assert_eq!(list["items"].as_array().unwrap().len(), 128);
    let first = created[0].json()["worker"]["worker_id"].as_str().unwrap().to_owned();
    assert_eq!(ask("POST", &format!("{WORKERS}/{first}/cancel"), Some("{}")).status, 200);
    eventually("room", || (create().status == 201).then_some(()));
}
