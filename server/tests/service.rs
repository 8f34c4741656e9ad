//! The server as a service: what its manager is told, how it leaves, and a look at its configuration.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use sekisho_tests::client::{PATIENCE, request};
use sekisho_tests::processes::{NO_STATE, Process, eventually};

fn server() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho-server"));
    command.env_remove("RUST_LOG").env("STATE_DIRECTORY", NO_STATE);
    command
}

#[test]
fn the_service_manager_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let told = UnixDatagram::bind(&path).unwrap();
    told.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = || {
        let mut message = [0; 1024];
        let length = told.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    };
    let mut command = server();
    command.args(["--listen", "127.0.0.1:0", "--exec", "env"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "2000000");
    let mut server = Process::start(&mut command);
    assert_eq!(hear(), format!("READY=1\nSTATUS={}\n", server.said()));
    assert_eq!(hear(), "WATCHDOG=1\n");

    // None of this is meant for workers.
    let body = r#"{"intent":{"kind":"assistant"}}"#;
    let made = request(server.address(), "POST", "/api/runtimes/embedded/workers", Some(body));
    let worker_id = made.json()["worker"]["worker_id"].as_str().unwrap().to_owned();
    let path = format!("/api/runtimes/embedded/workers/{worker_id}");
    eventually("the worker has ended", || {
        let status = request(server.address(), "GET", &path, None).json()["worker"]["status"].clone();
        (status == "stopped").then_some(())
    });
    let said = request(server.address(), "GET", &format!("{path}/transcript"), None).body;
    assert!(
        said.contains("PATH=") && !said.contains("NOTIFY_SOCKET") && !said.contains("WATCHDOG"),
        "{said}"
    );

    assert_eq!(hear(), "WATCHDOG=1\n");
    server.signal("HUP");
    let reloading = eventually("it is reloading", || Some(hear()).filter(|it| it != "WATCHDOG=1\n"));
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    let ready = eventually("it is ready again", || Some(hear()).filter(|it| it != "WATCHDOG=1\n"));
    assert_eq!(ready, format!("READY=1\nSTATUS={}\n", server.said()));
    server.signal("TERM");
    let stopping =
        eventually("it says that it is stopping", || Some(hear()).filter(|it| it != "WATCHDOG=1\n"));
    assert!(stopping.starts_with("STOPPING=1\nEXTEND_TIMEOUT_USEC="), "{stopping}");
    assert!(server.ended().0.success());
}

#[test]
fn it_goes_on_while_others_learn_that_it_leaves() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("sekisho.toml");
    fs::write(&config, "listen = '127.0.0.1:0'\ndrain_delay_ms = 2000\n").unwrap();
    let mut server = Process::start(server().arg("--config").arg(&config));
    let get = |path| request(server.address(), "GET", path, None).status;
    assert_eq!(get("/readyz"), 200);
    server.signal("TERM");
    eventually("it says that it is not ready", || (get("/readyz") == 503).then_some(()));
    assert_eq!((get("/livez"), get("/api/runtimes/embedded")), (200, 200));
    assert!(server.ended().0.success());
}

fn check(config: &Path) -> Output {
    server().arg("check").arg("--config").arg(config).output().unwrap()
}

#[test]
fn a_configuration_is_looked_at_and_nothing_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("sekisho.toml");
    fs::write(&config, format!("cursor_key_file = '{}'\n", directory.path().join("key").display())).unwrap();
    let good = check(&config);
    assert!(good.status.success() && good.stderr.is_empty(), "{good:?}");
    assert!(String::from_utf8_lossy(&good.stdout).starts_with("listen           http://127.0.0.1:8787\n"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    let elsewhere = server().args(["check", "--listen", "[::1]:9", "--exec", "top"]).output().unwrap();
    let said = String::from_utf8_lossy(&elsewhere.stdout).into_owned();
    assert!(said.contains("http://[::1]:9\n") && said.contains("profiles: exec"), "{said}");
    fs::write(&config, "lisen = 'x'\n").unwrap();
    let bad = check(&config);
    assert_eq!((bad.status.code(), bad.stdout.len()), (Some(1), 0));
    let said = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert!(said.contains("line 1, column 1") && said.contains("lisen"), "{said}");
}

#[test]
fn the_units_keep_to_what_a_service_needs() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd/sekisho-server.service");
    let mut rates = Command::new("systemd-analyze");
    rates.args(["security", "--offline=true", "--no-pager"]).arg(unit);
    let Some(rated) = rates.output().ok().filter(|rated| rated.status.success()) else {
        return println!("skipped: systemd-analyze is not installed, or does not rate files");
    };
    let said = String::from_utf8_lossy(&rated.stdout);
    let level = said.split("exposure level for sekisho-server.service:").nth(1).unwrap();
    let level: f64 = level.split_whitespace().next().unwrap().parse().unwrap();
    assert!(level < 2.0, "{level}");
}

/// Starts a server with a socket that listens, as systemd does for a `.socket` unit.
fn start_with(socket: impl Into<OwnedFd>, arguments: &[&str]) -> Process {
    let mut command = Command::new("sh");
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_sekisho-server")]).args(arguments);
    command.env_remove("RUST_LOG").env("STATE_DIRECTORY", NO_STATE);
    Process::start_with_input(&mut command, Stdio::from(socket.into()))
}

#[test]
fn sockets_that_systemd_has_opened_are_listened_on() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("sekisho.toml");
    fs::write(&config, "listen = 'systemd'\ninsecure_no_access_token = true\n").unwrap();
    let arguments = ["--config", config.to_str().unwrap(), "--exec", "env"];

    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut server = start_with(socket.try_clone().unwrap(), &arguments);
    assert_eq!(server.address(), address);
    assert_eq!(request(address, "GET", "/api/runtimes", None).status, 200);
    // What connects while no server runs is answered by the next one.
    server.signal("TERM");
    assert!(server.ended().0.success());
    let waiting = thread::spawn(move || request(address, "GET", "/livez", None).status);
    let _next = start_with(socket, &arguments);
    assert_eq!(waiting.join().unwrap(), 200);

    let path = directory.path().join("socket");
    let mut server = start_with(UnixListener::bind(&path).unwrap(), &arguments);
    assert_eq!(server.said(), format!("listening on unix:{}", path.display()));
    server.signal("TERM");
    assert!(server.ended().0.success());
    assert!(path.exists(), "it is not the server's to be removed");

    let refused = without_sockets(&arguments).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("has not passed on a socket 0"), "{said}");
}

fn without_sockets(arguments: &[&str]) -> Command {
    let mut command = server();
    command.args(arguments).env_remove("LISTEN_FDS").env_remove("LISTEN_PID");
    command
}
