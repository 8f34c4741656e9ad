//! Core on an event loop of one's own: one thread, sockets that do not block, and no async runtime.
//!
//! Lists the workers of several runtimes at the same time:
//!
//! ```sh
//! cargo run -p sekisho-core --example own_event_loop -- build-box=http://127.0.0.1:7700 other=http://127.0.0.1:7701
//! ```
//!
//! What is the application's is short here and not for use: it knows no TLS, no Unix sockets, no pool of connections and
//! nothing of HTTP but a status and a `content-length`, and it looks at its sockets every millisecond where a real loop would
//! be woken. What is core's is all there: deadlines, repetitions, whose error it is.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "an application has a clock and sockets"
)]

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use sekisho_core::call::{Call, CallInput, CallOutput};
use sekisho_core::error::{NetworkPhase, TimeoutPhase};
use sekisho_core::registry::{Registry, RuntimeSpec};
use sekisho_core::runtime_api::{Command, Reply};
use sekisho_core::transport::{Attempt, AttemptId, Failure, FailureCause, Target};

fn main() -> Result<(), Box<dyn Error>> {
    let mut specs = Vec::new();
    for argument in std::env::args().skip(1) {
        let (runtime_id, base_url) = argument.split_once('=').ok_or("RUNTIME=URL")?;
        specs.push(RuntimeSpec::remote(runtime_id.parse()?, base_url.parse()?, None));
    }
    let mut registry = Registry::new(specs, 1)?;
    let runtime_ids = registry.runtime_ids().to_vec();
    let mut running = Vec::new();
    for runtime_id in &runtime_ids {
        let call = registry.call(Instant::now(), runtime_id, Command::workers(), None)?;
        running.push(Running { call, link: None });
    }
    // The event loop: what is due is done, and then it sleeps until something may be.
    while !running.is_empty() {
        let mut still = Vec::new();
        for mut this in running {
            match this.advance() {
                Some(result) => {
                    match result {
                        Ok(Reply::Workers(list)) => {
                            println!("{}: {} workers", this.call.runtime_id(), list.workers.len());
                        }
                        Ok(other) => println!("{}: {other:?}", this.call.runtime_id()),
                        // Fit to be shown to anybody: it never tells where the runtime is.
                        Err(error) => println!("{}: {error}", this.call.runtime_id()),
                    }
                    registry.finish(Instant::now(), this.call);
                }
                None => still.push(this),
            }
        }
        running = still;
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// A call, and the attempt of it that is under way.
struct Running {
    call: Call,
    link: Option<Link>,
}

impl Running {
    /// Does what can be done now; the result, once there is one.
    fn advance(&mut self) -> Option<Result<Reply, sekisho_core::error::Error>> {
        if let Some((id, result)) = self.link.as_mut().and_then(Link::advance) {
            self.link = None;
            self.call.handle(Instant::now(), CallInput::report(id, result));
        }
        loop {
            match self.call.poll(Instant::now()) {
                CallOutput::Send(attempt) => match Link::open(attempt) {
                    Ok(link) => self.link = Some(link),
                    Err((id, failure)) => self.call.handle(Instant::now(), CallInput::Failed(id, failure)),
                },
                CallOutput::RefreshCredential => {
                    self.call.handle(Instant::now(), CallInput::Credential(None));
                }
                CallOutput::Wait { .. } => return None,
                CallOutput::Done(result) => return Some(result),
            }
        }
    }
}

/// One request on a connection of its own.
struct Link {
    id: AttemptId,
    socket: TcpStream,
    unsent: Vec<u8>,
    /// Whether a byte has left: whether the command may have happened depends on it.
    sent: bool,
    received: Vec<u8>,
    deadline: Instant,
    /// How long a response may be.
    max_bytes: usize,
}

impl Link {
    fn open(attempt: Attempt) -> Result<Self, (AttemptId, Failure)> {
        let Attempt { id, target, request, via, limits, .. } = attempt;
        if !via.allows_new() {
            // Commands that change something go over a connection that has shown whose it is. There is no pool here.
            return Err((id, Failure::unsent(FailureCause::NotIdentified)));
        }
        let refused = (id, Failure::unsent(FailureCause::Network(NetworkPhase::Connect)));
        let Target::Tcp { host, port, tls: false } = target else { return Err(refused) };
        let address = (&*host, port).to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
        let socket = address.and_then(|address| TcpStream::connect_timeout(&address, limits.connect).ok());
        let socket = socket.filter(|socket| socket.set_nonblocking(true).is_ok()).ok_or(refused)?;
        let unsent = written(&request);
        let (deadline, max_bytes) = (limits.deadline, limits.max_body);
        Ok(Self { id, socket, unsent, sent: false, received: Vec::new(), deadline, max_bytes })
    }

    /// Writes and reads what can be without waiting; what came of the attempt, once that is known.
    fn advance(&mut self) -> Option<(AttemptId, Result<Response<Bytes>, Failure>)> {
        let result = match self.write().and_then(|()| self.read()) {
            Ok(None) if Instant::now() < self.deadline => return None,
            Ok(None) => Err(FailureCause::Timeout(TimeoutPhase::Response)),
            Ok(Some(response)) => Ok(response),
            Err(cause) => Err(cause),
        };
        Some((self.id, result.map_err(|cause| Failure { cause, sent: self.sent })))
    }

    fn write(&mut self) -> Result<(), FailureCause> {
        while !self.unsent.is_empty() {
            match self.socket.write(&self.unsent) {
                Ok(length) => {
                    self.sent |= length > 0;
                    self.unsent.drain(..length);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Err(FailureCause::Network(NetworkPhase::Send)),
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Result<Option<Response<Bytes>>, FailureCause> {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Err(FailureCause::CutShort),
                Ok(length) => self.received.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(_) => return Err(FailureCause::Network(NetworkPhase::Receive)),
            }
            if self.received.len() > self.max_bytes {
                return Err(FailureCause::TooLarge);
            }
            if let Some(response) = response(&self.received)? {
                return Ok(Some(response));
            }
        }
    }
}

/// A request as it is written.
fn written(request: &Request<Bytes>) -> Vec<u8> {
    let mut bytes = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    if !request.body().is_empty() {
        bytes.extend_from_slice(format!("content-length: {}\r\n", request.body().len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(request.body());
    bytes
}

/// The response that these bytes are; `None` while it is not there as a whole.
fn response(bytes: &[u8]) -> Result<Option<Response<Bytes>>, FailureCause> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| FailureCause::NotHttp)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3));
    let mut response = Response::builder().status(status.ok_or(FailureCause::NotHttp)?);
    let mut length = 0;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        response = response.header(name, value.trim());
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(|_| FailureCause::NotHttp)?;
        }
    }
    let body = &bytes[end + 4..];
    if body.len() < length {
        return Ok(None);
    }
    let body = Bytes::copy_from_slice(&body[..length]);
    response.body(body).map(Some).map_err(|_| FailureCause::NotHttp)
}
