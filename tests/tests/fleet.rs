//! All workers of all runtimes as one stream, through real sockets.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::thread;

use sekisho_core::browser_api::{FleetChange, FleetFrame};
use sekisho_core::fleet::POLL_EVERY;
use sekisho_server::{Config, Server};
use sekisho_tests::client::{PATIENCE, request};
use sekisho_tests::fleet_runtime::{FleetRuntime, FleetViewer};

fn gateway(runtimes: &[FleetRuntime], more: &str) -> Server {
    let remotes: String = runtimes.iter().map(FleetRuntime::configuration).collect();
    let config = format!("listen = '127.0.0.1:0'\n{more}\n[embedded]\nenabled = false\n{remotes}");
    Server::start(Config::from_toml(&config).unwrap()).unwrap()
}

#[test]
fn many_viewers_see_each_change_of_many_workers_once() {
    let (runtimes, workers, viewers, changes) = (5, 40, 24, 30);
    let runtimes: Vec<_> =
        (0..runtimes).map(|number| FleetRuntime::start(&format!("rt-{number}"), workers)).collect();
    let gateway = gateway(&runtimes, "");
    let address = gateway.local_addr();
    let watching: Vec<_> = (0..viewers)
        .map(|_| {
            let (mut viewer, seen) = FleetViewer::open(address);
            assert_eq!(seen, workers * 5);
            thread::spawn(move || {
                // A worker that changes twice between two looks has changed once.
                let mut seen = [0; 5];
                while seen.iter().any(|last| *last < changes) {
                    let FleetChange::WorkerChanged { worker } = viewer.see_change() else {
                        panic!("a change")
                    };
                    let runtime: usize = worker.runtime_id.as_str()[3..].parse().unwrap();
                    assert!(worker.last_event_id > seen[runtime], "newer and newer");
                    seen[runtime] = worker.last_event_id;
                }
            })
        })
        .collect();
    for _ in 0..changes {
        runtimes.iter().for_each(|runtime| runtime.change(7));
        thread::sleep(POLL_EVERY / 20);
    }
    watching.into_iter().for_each(|viewer| viewer.join().unwrap());
    let asked: Vec<usize> = runtimes.iter().map(FleetRuntime::asked).collect();
    assert!(asked.iter().all(|asked| *asked < 12), "as often as for a single viewer: {asked:?}");
}

#[test]
fn a_runtime_is_left_alone_once_nobody_watches() {
    let runtimes = [FleetRuntime::start("rt", 1)];
    let gateway = gateway(&runtimes, "");
    drop(FleetViewer::open(gateway.local_addr()));
    // The gateway finds out that the viewer is gone as soon as it has read the end of the connection.
    let mut before = runtimes[0].asked();
    let is_quiet = |_: &u32| {
        thread::sleep(POLL_EVERY * 3 / 2);
        std::mem::replace(&mut before, runtimes[0].asked()) == runtimes[0].asked()
    };
    assert!((0..5).find(is_quiet).is_some(), "it is still asked");
    let (_, workers) = FleetViewer::open(gateway.local_addr());
    assert_eq!(workers, 1);
}

#[test]
fn the_same_as_server_sent_events() {
    let runtimes = [FleetRuntime::start("rt", 2)];
    let gateway = gateway(&runtimes, "");
    let mut stream = TcpStream::connect(gateway.local_addr()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /api/workers/events HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let lines = BufReader::new(stream).lines().map(Result::unwrap);
    let mut frames = lines.filter_map(|line| FleetFrame::from_text(line.strip_prefix("data: ")?.as_bytes()));
    assert!(matches!(frames.next(), Some(FleetFrame::Snapshot { runtimes: 1, .. })));
    assert!(matches!(frames.next(), Some(FleetFrame::Runtime { workers, .. }) if workers.len() == 2));
    runtimes[0].change(1);
    assert!(matches!(frames.next(), Some(FleetFrame::Change { position: 1, .. })));
}

#[test]
fn who_may_not_watch_is_told_before_the_stream() {
    let runtimes = [FleetRuntime::start("rt", 1)];
    let gateway = gateway(&runtimes, "max_viewers = 1");
    let _viewer = FleetViewer::open(gateway.local_addr());
    let refused = request(gateway.local_addr(), "GET", "/api/workers/events", None);
    assert_eq!((refused.status, refused.text("code")), (503, "too_many_viewers".to_owned()));
    let odd = request(gateway.local_addr(), "GET", "/api/workers/events?cursor=x", None);
    assert_eq!((odd.status, odd.text("code")), (400, "invalid_request".to_owned()));
    let posted = request(gateway.local_addr(), "POST", "/api/workers/events", None);
    assert_eq!(posted.status, 405);
}

#[test]
fn a_server_that_shuts_down_says_so() {
    let runtimes = [FleetRuntime::start("rt", 1)];
    let gateway = gateway(&runtimes, "");
    let (mut viewer, _) = FleetViewer::open(gateway.local_addr());
    let ending = thread::spawn(move || gateway.shutdown());
    let FleetFrame::Diagnostic { diagnostic } = viewer.see() else { panic!("a diagnostic") };
    assert_eq!(diagnostic.code, "going_away");
    drop(viewer);
    ending.join().unwrap();
}

#[test]
fn a_runtime_that_cannot_be_reached_is_told_of() {
    let gone = FleetRuntime::start("gone", 1);
    let configuration = gone.configuration();
    drop(gone);
    let there = [FleetRuntime::start("there", 3)];
    let gateway = gateway(&there, &configuration);
    let (_, workers) = FleetViewer::open(gateway.local_addr());
    assert_eq!(workers, 3);
}
