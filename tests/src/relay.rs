//! A port that stays while what is behind it goes and comes back somewhere else.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::acceptor::Acceptor;

/// Passes connections on, until dropped.
pub struct Relay {
    acceptor: Acceptor,
    state: Arc<Mutex<State>>,
}

struct State {
    /// `None` when it is over.
    to: Option<SocketAddr>,
    open: Vec<TcpStream>,
}

impl Relay {
    /// Passes connections on to this address.
    pub fn start(to: SocketAddr) -> Self {
        let state = Arc::new(Mutex::new(State { to: Some(to), open: Vec::new() }));
        let passing = state.clone();
        let acceptor = Acceptor::start(move |near| {
            let mut state = passing.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(to) = state.to else { return };
            // Where nothing listens, the connection is closed at once.
            let Ok(far) = TcpStream::connect(to) else { return };
            for (from, into) in [(&near, &far), (&far, &near)] {
                let (from, into) = (from.try_clone().unwrap(), into.try_clone().unwrap());
                thread::spawn(move || pass(from, into));
            }
            state.open.extend([near, far]);
        });
        Self { acceptor, state }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.acceptor.address()
    }

    /// Passes new connections on to another address, and cuts those that there are.
    pub fn redirect(&self, to: SocketAddr) {
        self.turn(Some(to));
    }

    fn turn(&self, to: Option<SocketAddr>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.to = to;
        for stream in state.open.drain(..) {
            // One that is closed already is what is wanted.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.turn(None);
    }
}

fn pass(mut from: TcpStream, mut into: TcpStream) {
    let mut bytes = [0; 8 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if into.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = into.shutdown(Shutdown::Write);
}
