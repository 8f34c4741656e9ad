//! Equal reads that arrive together: what a runtime hears of them, and what each client is told.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use sekisho_core::browser_api::MAX_EQUAL_READS;
use sekisho_server::{Config, Server};
use sekisho_tests::client::{Answer, request};
use sekisho_tests::processes::eventually;
use sekisho_tests::upstream::{Act, Upstream, json};

const LIST: &str = "/api/runtimes/rt/workers";

/// How many clients ask.
const CLIENTS: usize = 40;

/// Holds the answers of a runtime back until there is a permit for each.
#[derive(Default)]
struct Gate {
    permits: Mutex<usize>,
    told: Condvar,
}

impl Gate {
    fn pass(&self) {
        let mut permits =
            self.told.wait_while(self.permits.lock().unwrap(), |permits| *permits == 0).unwrap();
        *permits -= 1;
    }

    fn permit(&self, count: usize) {
        *self.permits.lock().unwrap() += count;
        self.told.notify_all();
    }
}

/// A runtime that answers when it may, and a gateway before it.
struct Held {
    gate: Arc<Gate>,
    upstream: Upstream,
    server: Server,
}

impl Held {
    fn start(answer: impl Fn() -> Act + Send + Sync + 'static) -> Self {
        let gate = Arc::new(Gate::default());
        let held = gate.clone();
        let upstream = Upstream::identified("rt", move |_| {
            held.pass();
            answer()
        });
        let config = Config::from_toml(&format!(
            "listen = '127.0.0.1:0'\nembedded.enabled = false\n\
             [[remote]]\nruntime_id = 'rt'\nbase_url = 'http://{}'\n",
            upstream.address()
        ));
        Self { gate, upstream, server: Server::start(config.unwrap()).unwrap() }
    }

    fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Has clients ask for the same, and waits until all but those wait whose exchanges are under way. Counts how often.
    fn ask(&self, round: usize) -> Vec<JoinHandle<Answer>> {
        let address = self.address();
        let ask = move || request(address, "GET", LIST, None);
        let clients = (0..CLIENTS).map(|_| thread::spawn(ask)).collect();
        self.until_metric("sekisho_shared_reads_total", round * (CLIENTS - MAX_EQUAL_READS));
        let asked = (round - 1) * (MAX_EQUAL_READS + 1) + MAX_EQUAL_READS;
        eventually("the first exchanges", || (self.upstream.asked() == asked).then_some(()));
        clients
    }

    fn until_metric(&self, name: &str, expected: usize) {
        let line = format!("{name} {expected}");
        eventually(&line, || {
            let metrics = request(self.address(), "GET", "/metrics", None).body;
            metrics.lines().any(|shown| shown == line).then_some(())
        });
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Whatever a test has come to, no answer is held back any longer.
        self.gate.permit(usize::MAX / 2);
    }
}

#[test]
fn equal_reads_share_the_next_exchange() {
    let held = Held::start(|| json(200, r#"{"workers":[]}"#));
    for round in 1..=2 {
        let clients = held.ask(round);
        held.gate.permit(MAX_EQUAL_READS + 1);
        let answers: Vec<Answer> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        assert_eq!(held.upstream.asked(), round * (MAX_EQUAL_READS + 1));
        for answer in answers {
            assert_eq!((answer.status, &*answer.body), (200, r#"{"items":[],"diagnostics":[]}"#));
        }
    }
}

#[test]
fn reads_that_differ_do_not_wait_for_each_other() {
    let held = Held::start(|| json(500, ""));
    let address = held.address();
    let ask = |worker| move || request(address, "GET", &format!("{LIST}/w{worker}"), None);
    let clients: Vec<_> = (0..CLIENTS).map(|worker| thread::spawn(ask(worker))).collect();
    eventually("an exchange each", || (held.upstream.asked() == CLIENTS).then_some(()));
    held.gate.permit(CLIENTS);
    assert!(clients.into_iter().all(|client| client.join().unwrap().status == 502));
}

#[test]
fn an_error_is_shared_and_each_client_is_told_of_its_own_request() {
    let held = Held::start(|| json(500, r#"{"error":{"code":"odd","message":"no"}}"#));
    let clients = held.ask(1);
    held.gate.permit(MAX_EQUAL_READS + 1);
    let problems: Vec<_> = clients.into_iter().map(|client| client.join().unwrap().json()).collect();
    assert_eq!(held.upstream.asked(), MAX_EQUAL_READS + 1);
    assert!(problems.iter().all(|problem| problem["code"] == problems[0]["code"]), "{problems:?}");
    let mut instances: Vec<_> =
        problems.iter().map(|problem| problem["instance"].as_str().unwrap()).collect();
    instances.sort_unstable();
    instances.dedup();
    assert_eq!(instances.len(), CLIENTS);
}

#[test]
fn who_leaves_takes_nobody_along() {
    let held = Held::start(|| json(200, r#"{"workers":[]}"#));
    let head = format!("GET {LIST} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let ask = |_| {
        let mut stream = TcpStream::connect(held.address()).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let first: Vec<_> = (0..MAX_EQUAL_READS).map(ask).collect();
    eventually("the first exchanges", || (held.upstream.asked() == MAX_EQUAL_READS).then_some(()));
    let waiting = ask(0);
    held.until_metric("sekisho_shared_reads_total", 1);
    let address = held.address();
    let stays = thread::spawn(move || request(address, "GET", LIST, None));
    held.until_metric("sekisho_shared_reads_total", 2);
    // Those go whose exchanges are under way, and who came first of those that wait.
    drop((first, waiting));
    held.gate.permit(MAX_EQUAL_READS + 1);
    assert_eq!(stays.join().unwrap().status, 200);
    assert_eq!(held.upstream.asked(), MAX_EQUAL_READS + 1);
}
