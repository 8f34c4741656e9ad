//! Ports of loopback that no other test is given meanwhile. A listener that is bound to find a free port and dropped keeps nothing: the
//! next test may be given the same port, and answer in the place of nobody.

use std::net::SocketAddr;
use std::sync::LazyLock;

use socket2::{Domain, Socket, Type};

/// An address that refuses connections for as long as this process lives: its port is taken, and nothing listens.
pub fn refusing() -> SocketAddr {
    static TAKEN: LazyLock<Socket> = LazyLock::new(|| bound(false));
    address(&TAKEN)
}

/// A port that is kept for a server that will be told of it. Nobody who asks for any port gets it.
pub struct ReservedPort(Socket);

impl ReservedPort {
    /// Takes one that is free.
    #[allow(clippy::new_without_default, reason = "it takes something from the system")]
    pub fn new() -> Self {
        Self(bound(true))
    }

    /// The number to tell the server.
    pub fn port(&self) -> u16 {
        address(&self.0).port()
    }
}

/// A bound socket that does not listen. Where its address may be used again, a server that allows that, too, as servers do, can
/// listen there beside it (socket(7), `SO_REUSEADDR`).
fn bound(is_shared: bool) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(is_shared).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket
}

fn address(socket: &Socket) -> SocketAddr {
    socket.local_addr().unwrap().as_socket().unwrap()
}
