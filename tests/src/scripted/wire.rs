//! Connections of a runtime, whatever they are made of.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustls::{ServerConnection, StreamOwned};
use socket2::SockRef;

use crate::client::PATIENCE;

/// A connection, TLS included.
pub(super) trait Stream: Read + Write {
    /// Ends a TLS session.
    fn end_session(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Wire {}

impl Stream for StreamOwned<ServerConnection, Wire> {
    fn end_session(&mut self) -> io::Result<()> {
        self.conn.send_close_notify();
        self.conn.complete_io(&mut self.sock).map(drop)
    }
}

/// What carries the bytes.
pub(super) enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Wire {
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => stream.try_clone().map(Self::Tcp),
            Self::Unix(stream) => stream.try_clone().map(Self::Unix),
        }
    }

    pub(super) fn prepare(&self) {
        match self {
            Self::Tcp(stream) => {
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_nodelay(true).unwrap();
            }
            Self::Unix(stream) => {
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
            }
        }
    }

    pub(super) fn reset(&self) {
        if let Self::Tcp(stream) = self {
            SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }

    /// Closes what is not closed by itself, because a copy of it is still there.
    pub(super) fn shutdown(&self) {
        let lingers = match self {
            Self::Tcp(stream) => SockRef::from(stream).linger().unwrap().is_none(),
            Self::Unix(_) => true,
        };
        if lingers {
            let _ = match self {
                Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
                Self::Unix(stream) => stream.shutdown(Shutdown::Both),
            };
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
