#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::net::TcpListener;
use std::sync::LazyLock;

use sekisho_core::transport::CONNECTION_ATTEMPT_DELAY;
use socket2::Socket;

use super::*;

/// A listener that answers no further connection: its backlog is full. What fills it is returned with it.
fn silent() -> (SocketAddr, Vec<socket2::Socket>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut kept = vec![listener];
    loop {
        let waiting = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let connected = waiting.connect_timeout(&address, Duration::from_millis(200));
        kept.push(waiting);
        if connected.is_err() {
            return (address.as_socket().unwrap(), kept);
        }
    }
}

/// An address where nothing listens, and which no other test is given.
fn refusing() -> SocketAddr {
    static TAKEN: LazyLock<Socket> = LazyLock::new(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket
    });
    TAKEN.local_addr().unwrap().as_socket().unwrap()
}

fn within(limit: Duration) -> Instant {
    Instant::now() + limit
}

#[test]
fn a_silent_address_keeps_no_other_from_being_tried() {
    let (silent, _kept) = silent();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let started = Instant::now();
    let stream =
        connect_tcp(&[silent, listener.local_addr().unwrap()], within(Duration::from_secs(30))).unwrap();
    assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
    let took = started.elapsed();
    assert!(took >= CONNECTION_ATTEMPT_DELAY && took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn an_address_that_refuses_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = [refusing(), refusing(), listener.local_addr().unwrap()];
    let stream = connect_tcp(&addresses, within(Duration::from_secs(30))).unwrap();
    assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
    let none = connect_tcp(&[refusing(), refusing()], within(Duration::from_secs(30)));
    assert_eq!(none.unwrap_err(), FailureCause::Network(NetworkPhase::Connect));
}

#[test]
fn all_addresses_share_one_deadline() {
    let ((one, _kept), (other, _also)) = (silent(), silent());
    let limit = Duration::from_millis(600);
    let started = Instant::now();
    let none = connect_tcp(&[one, other], within(limit));
    assert_eq!(none.unwrap_err(), FailureCause::Timeout(TimeoutPhase::Connect));
    assert!(started.elapsed() >= limit);
}
