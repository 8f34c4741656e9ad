//! Sockets that the service manager has opened (`sd_listen_fds(3)`).

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::{Mutex, PoisonError};

use listenfd::ListenFd;

use crate::BindError;

/// Those that were not taken yet.
static LEFT: Mutex<Option<ListenFd>> = Mutex::new(None);

/// A socket that listens already.
pub(crate) enum Inherited {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Takes the socket of this number; the first is 0.
pub(crate) fn take(number: usize) -> Result<Inherited, BindError> {
    let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
    let left = left.get_or_insert_with(ListenFd::from_env);
    let socket = match left.take_tcp_listener(number) {
        Ok(tcp) => tcp.map(Inherited::Tcp),
        // It is of another kind, and still there.
        Err(_) => {
            left.take_unix_listener(number).map_err(|_| BindError::NoSocket(number))?.map(Inherited::Unix)
        }
    };
    let socket = socket.ok_or(BindError::NoSocket(number))?;
    let failed = |error: io::Error| BindError::Listen { on: format!("systemd:{number}"), kind: error.kind() };
    match &socket {
        Inherited::Tcp(tcp) => tcp.set_nonblocking(true).and_then(|()| crate::bound_sending(tcp)),
        Inherited::Unix(unix) => unix.set_nonblocking(true),
    }
    .map_err(failed)?;
    Ok(socket)
}
