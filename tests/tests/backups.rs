//! A runtime's store, backed up while it is in use and put back, as `docs/operating.md` says.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use sekisho_server::{Config, Server};
use sekisho_tests::client::request;
use sekisho_tests::processes::binary;
use sekisho_tests::viewer::{Seen, Viewer};

const WORKERS: &str = "/api/runtimes/embedded/workers";

/// A gateway whose embedded runtime has no programs: its workers echo.
fn start(folder: &Path) -> Server {
    let config = format!(
        "listen = '127.0.0.1:0'\ncursor_key_file = {:?}\n[embedded]\nstore = {:?}\n",
        folder.join("key"),
        folder.join("store")
    );
    Server::start(Config::from_toml(&config).unwrap()).unwrap()
}

fn say(server: &Server, worker_id: &str, content: &str) {
    let body = format!(r#"{{"content":"{content}"}}"#);
    let said = request(server.local_addr(), "POST", &format!("{WORKERS}/{worker_id}/input"), Some(&body));
    assert_eq!(said.status, 200, "{said:?}");
}

/// The command of the page that makes a backup, between these two files; whether there is the tool for it.
fn back_up(store: &Path, backup: &Path) -> bool {
    let page = include_str!("../../docs/operating.md");
    let line = page.lines().find(|line| line.starts_with("sqlite3 ")).unwrap();
    let line = line
        .replace("/var/lib/sekisho-runtime/build-box/store.db", store.to_str().unwrap())
        .replace("/backup/store.db", backup.to_str().unwrap());
    match Command::new("sqlite3").arg("--version").output() {
        Err(error) if error.kind() == ErrorKind::NotFound => return false,
        tried => assert!(tried.unwrap().status.success()),
    }
    assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success(), "{line}");
    true
}

#[test]
fn a_store_that_was_backed_up_while_in_use_can_be_put_back() {
    let folder = tempfile::tempdir().unwrap();
    let (store, backup) = (folder.path().join("store"), folder.path().join("backup.db"));
    let server = start(folder.path());
    let created =
        request(server.local_addr(), "POST", WORKERS, Some(r#"{"intent":{"kind":"assistant"}}"#)).json();
    let worker_id = created["worker"]["worker_id"].as_str().unwrap();
    say(&server, worker_id, "before");
    if !back_up(&store.join("store.db"), &backup) {
        println!("skipped: sqlite3 is not installed");
        return;
    }
    say(&server, worker_id, "after");
    let mut viewer = Viewer::open(server.local_addr(), &format!("embedded/{worker_id}"), None);
    let Seen::Event { cursor, .. } = viewer.see() else { panic!("no snapshot") };
    drop(viewer);
    server.shutdown();

    fs::remove_dir_all(&store).unwrap();
    fs::create_dir(&store).unwrap();
    fs::copy(&backup, store.join("store.db")).unwrap();
    let check =
        Command::new(binary("sekisho-runtime")).args(["store", "check"]).arg(&store).output().unwrap();
    assert!(check.status.success(), "{check:?}");

    let server = start(folder.path());
    let worker = format!("{WORKERS}/{worker_id}");
    let shown = request(server.local_addr(), "GET", &worker, None).json();
    assert_eq!(shown["worker"]["end"]["reason"], "runtime_lost", "{shown}");
    let transcript = request(server.local_addr(), "GET", &format!("{worker}/transcript"), None).json();
    let items = transcript["transcript"]["items"].as_array().unwrap();
    let said: Vec<_> = items.iter().filter(|item| item["role"] == "user").collect();
    assert!(said.len() == 1 && said[0]["content"] == "before", "{transcript}");
    // A viewer that had seen more is told so, and not given other events as if they came next.
    let events = request(server.local_addr(), "GET", &format!("{worker}/events?cursor={cursor}"), None);
    assert_eq!((events.status, events.text("code")), (410, "cursor_expired".to_owned()));
    server.shutdown();
}
