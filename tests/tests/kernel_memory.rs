//! What the kernel holds for a viewer that does not read.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use sekisho_server::{Config, Server};
use sekisho_tests::stream_runtime::StreamRuntime;
use sekisho_tests::viewer::{Seen, Viewer};

/// The most that the kernel may hold on the gateway's side of one viewer, in bytes.
const BAR: u64 = 512 << 10;

/// More than the kernel would hold by itself, and less than the ring: none of the viewers lags.
const EVENTS: u64 = 3_000;
const LENGTH: usize = 2_000;

/// What the kernel holds that was written from this port, by the client's port: as its own account of it has it (`ss -tm`), or
/// the payload alone where that tool is missing; `None` where the system tells neither.
fn held(port: u16) -> Option<BTreeMap<u16, u64>> {
    let filter = format!(":{port}");
    let told = Command::new("ss").args(["-tmnOH", "state", "all", "sport", "=", &filter]).output();
    let port_of = |address: &str, radix| u16::from_str_radix(address.rsplit_once(':')?.1, radix).ok();
    if let Ok(told) = told
        && told.status.success()
    {
        let row = |line: &str| {
            let mut addresses = line.split_ascii_whitespace().filter(|word| word.starts_with("127.0.0.1:"));
            let written =
                line.split_once("skmem:(")?.1.split([',', ')']).find_map(|item| item.strip_prefix('w'))?;
            Some((port_of(addresses.next_back()?, 10)?, written.parse().ok()?))
        };
        return Some(String::from_utf8_lossy(&told.stdout).lines().filter_map(row).collect());
    }
    let row = |line: &str| {
        let row: Vec<&str> = line.split_ascii_whitespace().collect();
        let queued = row[4].split(':').next()?;
        (port_of(row[1], 16)? == port)
            .then_some((port_of(row[2], 16)?, u64::from_str_radix(queued, 16).ok()?))
    };
    Some(fs::read_to_string("/proc/net/tcp").ok()?.lines().skip(1).filter_map(row).collect())
}

/// Asks for a stream, and reads nothing of it.
fn silent(gateway: SocketAddr, path: &str, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(gateway).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {gateway}\r\n{headers}\r\n").unwrap();
    stream
}

#[test]
fn a_viewer_that_does_not_read_takes_little_of_the_kernel() {
    if !Path::new("/proc/net/tcp").exists() {
        return println!("skipped: this system does not tell what it holds of a connection");
    }
    let runtime = StreamRuntime::start(16);
    let config = format!("listen = '127.0.0.1:0'\n{}", runtime.configuration());
    let gateway = Server::start(Config::from_toml(&config).unwrap()).unwrap();
    let address = gateway.local_addr();
    let mut reader = Viewer::open(address, "rt/w", None);
    assert!(reader.see().is_snapshot());
    assert_eq!(reader.see(), Seen::Diagnostic("caught_up".to_owned()));
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let path = "/api/runtimes/rt/workers/w/events";
    let silent = [silent(address, &format!("{path}/ws"), upgrade), silent(address, path, "")];
    let pad = "x".repeat(LENGTH);
    for number in 1..=EVENTS {
        runtime.publish_payload(&format!(
            r#"{{"event":"text_delta","data":{{"text":"{number}","pad":"{pad}"}}}}"#
        ));
    }
    // Who reads has seen all of it: what is not with the others by now is held for them.
    for number in 1..=EVENTS {
        let Seen::Event { payload, .. } = reader.see() else { panic!("sent away at {number}") };
        assert_eq!(payload["data"]["text"], number.to_string());
    }
    let held = held(address.port()).unwrap();
    for stream in &silent {
        let port = stream.local_addr().unwrap().port();
        let bytes = held[&port];
        assert!((1..=BAR).contains(&bytes), "{bytes} bytes for one that does not read");
    }
}
