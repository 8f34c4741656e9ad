//! The core in an event loop of somebody's own: the example that `docs/embedding.md` explains.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::collections::BTreeSet;
use std::process::Command;

use sekisho_tests::ports::refusing;
use sekisho_tests::processes::{Process, binary};

const RUNTIMES: [&str; 3] = ["one", "two", "three"];

fn runtime(runtime_id: &str, token_file: &str) -> Process {
    let arguments = ["--listen", "127.0.0.1:0", "--runtime-id", runtime_id, "--token-file", token_file];
    Process::start(Command::new(binary("sekisho-runtime")).args(arguments))
}

/// What the example says, line by line, with the names of workers left out.
fn said(arguments: &[String], token: &str) -> BTreeSet<String> {
    let example =
        Command::new(binary("examples/own_event_loop")).args(arguments).env("SEKISHO_TOKEN", token).output();
    let example = example.unwrap();
    assert!(example.status.success(), "{}", String::from_utf8_lossy(&example.stderr));
    let lines = String::from_utf8(example.stdout).unwrap();
    let without_worker = |line: &str| match (line.split_once('/'), line.split_once(": ")) {
        (Some((runtime_id, _)), Some((_, what))) => format!("{runtime_id}: {what}"),
        _ => line.to_owned(),
    };
    lines.lines().map(without_worker).collect()
}

#[test]
fn a_loop_of_its_own_asks_several_runtimes_at_once() {
    let token = "a-token-of-ours";
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, token).unwrap();
    let runtimes = RUNTIMES.map(|runtime_id| runtime(runtime_id, token_file.to_str().unwrap()));
    let at = |(runtime_id, runtime): (&&str, &Process)| format!("{runtime_id}=http://{}", runtime.address());
    let mut arguments: Vec<_> = RUNTIMES.iter().zip(&runtimes).map(at).collect();
    // Two more: at one address nothing listens, and at the other is the wrong runtime.
    let free = refusing();
    arguments.push(format!("gone=http://{free}"));
    arguments.push(format!("other=http://{}", runtimes[0].address()));

    let steps = ["created", "said hello, item 1", "stopped"];
    let mut expected: BTreeSet<_> =
        RUNTIMES.iter().flat_map(|id| steps.map(|step| format!("{id}: {step}"))).collect();
    expected.insert("gone: network_error not_applied: no connection to the runtime".to_owned());
    let lines = said(&arguments, token);
    let (others, rest): (BTreeSet<_>, BTreeSet<_>) =
        lines.into_iter().partition(|line| line.starts_with("other: "));
    assert_eq!(rest, expected);
    assert!(others.len() == 1 && others.first().unwrap().starts_with("other: identity_mismatch not_applied"));

    let refused = said(&arguments[..1], "another-token");
    assert!(
        refused.len() == 1 && refused.first().unwrap().starts_with("one: runtime_auth_failed not_applied")
    );
}
