//! Core on an event loop that is not ours: the example of `docs/embedding.md`.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::net::TcpListener;
use std::process::Command;

use sekisho_tests::fleet_runtime::FleetRuntime;

#[test]
fn an_event_loop_of_ones_own_drives_calls() {
    let test = std::env::current_exe().unwrap();
    let example = test.ancestors().nth(2).unwrap().join("examples/own_event_loop");
    if !example.exists() {
        println!("skipped: examples are built by `cargo test --workspace`");
        return;
    }
    let runtimes = [FleetRuntime::start("one", 3), FleetRuntime::start("two", 200)];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = listener.local_addr().unwrap();
    drop(listener);
    let mut command = Command::new(example);
    for runtime in &runtimes {
        command.arg(format!("{}=http://{}", runtime.runtime_id, runtime.address()));
    }
    let said = command.arg(format!("gone=http://{nowhere}")).output().unwrap();
    let out = String::from_utf8(said.stdout).unwrap();
    let mut lines: Vec<&str> = out.lines().collect();
    lines.sort_unstable();
    assert!(said.status.success() && lines.len() == 3, "{out}");
    assert!(lines[0].starts_with("gone: network_error: ") && !lines[0].contains("127.0.0.1"), "{out}");
    assert_eq!(lines[1..], ["one: 3 workers", "two: 200 workers"]);
}
