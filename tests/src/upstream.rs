//! A runtime that does as it is told, on a real socket.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::acceptor::Acceptor;
use crate::client::PATIENCE;

/// What to do with a request.
#[derive(Clone, Debug)]
pub enum Act {
    /// Send these bytes, and go on with the connection.
    Send(String),
    /// Send these bytes and close.
    SendAndClose(String),
    /// Send these bytes and do nothing more until the test is over.
    SendAndStall(String),
    /// Close with a reset.
    Reset,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Request line and headers.
    pub head: String,
    /// The body.
    pub body: String,
}

/// A JSON response with this status.
pub fn json(status: u16, body: &str) -> Act {
    with_headers(status, "content-type: application/json\r\n", body)
}

/// A response with this status and these header lines.
pub fn with_headers(status: u16, headers: &str, body: &str) -> Act {
    Act::Send(format!("HTTP/1.1 {status} Status\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()))
}

/// What a runtime of this name answers who is there.
pub fn runtime_summary(runtime_id: &str) -> String {
    format!(
        r#"{{"runtime":{{"runtime_id":"{runtime_id}","display_name":null,"backend":"memory","status":"running","worker_count":0,"active_worker_count":0,"stopped_worker_count":0,"cancelled_worker_count":0,"diagnostic_count":0,"limits":{{"max_transcript_projection_items":256,"max_event_batch_items":256}},"features":["idempotency"]}}}}"#
    )
}

/// The response to the question who is there, of a runtime of this name.
pub fn summary_response(runtime_id: &str) -> String {
    let body = runtime_summary(runtime_id);
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Listens on a port of its own until dropped.
pub struct Upstream {
    acceptor: Acceptor,
    asked: Arc<AtomicUsize>,
    over: Arc<Over>,
}

#[derive(Default)]
struct Over {
    is: AtomicBool,
    lock: Mutex<()>,
    told: Condvar,
}

impl Over {
    fn wait(&self) {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.told.wait_while(lock, |()| !self.is.load(Ordering::SeqCst));
        drop(waited);
    }

    fn tell(&self) {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.is.store(true, Ordering::SeqCst);
        drop(lock);
        self.told.notify_all();
    }
}

impl Upstream {
    /// Does with each request what `script` says.
    pub fn start(script: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> Self {
        Self::start_with(Ok, None, script)
    }

    /// The same, but that it shows to be the runtime of this name when it is asked who is there, which is not counted.
    pub fn identified(
        runtime_id: &'static str,
        script: impl Fn(&Asked) -> Act + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(Ok, Some(runtime_id), script)
    }

    /// The same over what `greet` makes of a connection, such as a TLS session.
    pub fn start_with<S: Read + Write>(
        greet: impl Fn(TcpStream) -> io::Result<S> + Send + Sync + 'static,
        runtime_id: Option<&'static str>,
        script: impl Fn(&Asked) -> Act + Send + Sync + 'static,
    ) -> Self {
        let (asked, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(Over::default()));
        let (counted, ended) = (asked.clone(), over.clone());
        let acceptor = Acceptor::start(move |stream| {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let raw = stream.try_clone().unwrap();
            // A client that goes away is what some tests are about.
            let _ = greet(stream)
                .and_then(|mut stream| serve((&mut stream, &raw), runtime_id, &script, &counted, &ended));
        });
        Self { acceptor, asked, over }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.acceptor.address()
    }

    /// How many requests have come.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.over.tell();
    }
}

fn serve(
    (stream, raw): (&mut (impl Read + Write), &TcpStream),
    runtime_id: Option<&str>,
    script: &impl Fn(&Asked) -> Act,
    asked: &AtomicUsize,
    over: &Over,
) -> io::Result<()> {
    loop {
        let request = read_request(stream)?;
        if let Some(runtime_id) = runtime_id.filter(|_| request.head.starts_with("GET /v1/runtime ")) {
            stream.write_all(summary_response(runtime_id).as_bytes())?;
            stream.flush()?;
            continue;
        }
        asked.fetch_add(1, Ordering::SeqCst);
        match script(&request) {
            Act::Send(bytes) => stream.write_all(bytes.as_bytes())?,
            Act::SendAndClose(bytes) => {
                stream.write_all(bytes.as_bytes())?;
                return raw.shutdown(std::net::Shutdown::Both);
            }
            Act::SendAndStall(bytes) => {
                stream.write_all(bytes.as_bytes())?;
                stream.flush()?;
                over.wait();
                return Ok(());
            }
            // Closing with nothing left to linger makes the kernel send a reset.
            Act::Reset => return socket2::SockRef::from(raw).set_linger(Some(Duration::ZERO)),
        }
        stream.flush()?;
    }
}

fn read_request(stream: &mut impl Read) -> io::Result<Asked> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        bytes.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, length)| length.trim().parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Asked { head, body: String::from_utf8_lossy(&body).into_owned() })
}
