//! One attempt over HTTP/1.1, as far as it goes without waiting.
//!
//! What this example leaves out is TLS, Unix sockets, several addresses tried side by side
//! ([`AddressRace`](sekisho_core::transport::AddressRace)) and bodies without a `Content-Length`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version, header};
use sekisho_core::error::{NetworkPhase, TimeoutPhase};
use sekisho_core::transport::{
    Attempt, AttemptId, AttemptLimits, Failure, FailureCause, IdlePool, MAX_HEAD, MAX_HEADERS, Pooled,
    Target, Via,
};

/// How much is read at once, in bytes.
const CHUNK: usize = 16 << 10;

/// An attempt that is under way.
pub(crate) struct Exchange {
    id: AttemptId,
    via: Via,
    limits: AttemptLimits,
    link: Link,
    request: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    head: Option<Head>,
    /// When the present phase must be over.
    until: Instant,
    is_reusable: bool,
}

enum Link {
    /// The standard library neither resolves a name nor connects without waiting, so that a thread does it.
    Connecting(Receiver<Result<TcpStream, FailureCause>>),
    Open(Pooled<TcpStream>),
    /// There will be none.
    Failed(FailureCause),
}

/// The head of a response, and where the body is in what was read.
struct Head {
    response: Response<()>,
    body_at: usize,
    body_length: usize,
}

impl Exchange {
    pub(crate) fn begin(now: Instant, attempt: Attempt, pool: &mut IdlePool<TcpStream>) -> Self {
        let Attempt { id, target, request, via, limits } = attempt;
        let (link, phase) = match pool.take(now, &via, limits.max_idle) {
            Some(pooled) => (Link::Open(pooled), limits.response),
            None if via.allows_new() => (connect(target, limits.connect), limits.connect),
            None => (Link::Failed(FailureCause::NotIdentified), Duration::ZERO),
        };
        let until = limits.deadline.min(now + phase);
        let (request, input) = (written_down(&request), Vec::new());
        Self { id, via, limits, link, request, written: 0, input, head: None, until, is_reusable: false }
    }

    pub(crate) fn id(&self) -> AttemptId {
        self.id
    }

    /// The response, or why there is none, once that is known.
    pub(crate) fn advance(&mut self, now: Instant) -> Option<Result<Response<Bytes>, Failure>> {
        let result = match &self.link {
            Link::Open(_) => self.converse(now),
            Link::Failed(cause) => Err(*cause),
            Link::Connecting(connecting) => match connecting.try_recv() {
                Ok(Ok(stream)) => {
                    self.link = Link::Open(Pooled::new(stream));
                    self.until = self.limits.deadline.min(now + self.limits.response);
                    self.converse(now)
                }
                Ok(Err(cause)) => Err(cause),
                Err(TryRecvError::Empty) if now < self.until => Ok(None),
                Err(_) => Err(FailureCause::Timeout(TimeoutPhase::Connect)),
            },
        };
        result.map_err(|cause| Failure { cause, sent: self.written > 0 }).transpose()
    }

    /// Writes and reads what can be written and read at once.
    fn converse(&mut self, now: Instant) -> Result<Option<Response<Bytes>>, FailureCause> {
        let Link::Open(pooled) = &mut self.link else { return Ok(None) };
        let written = write(&mut pooled.connection, &self.request, &mut self.written);
        let mut chunk = [0; CHUNK];
        loop {
            // A runtime may answer before it has read the whole request, and may then read no more of it.
            if let Some(response) = self.response(now)? {
                return Ok(Some(response));
            }
            let Link::Open(pooled) = &mut self.link else { return Ok(None) };
            match pooled.connection.read(&mut chunk) {
                Ok(count) if count > 0 => self.input.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && written.is_ok() => break,
                _ if written.is_err() => return Err(FailureCause::Network(NetworkPhase::Send)),
                _ if self.head.is_some() => return Err(FailureCause::CutShort),
                _ => return Err(FailureCause::Network(NetworkPhase::Receive)),
            }
        }
        let phase = if self.head.is_some() { TimeoutPhase::Body } else { TimeoutPhase::Response };
        if now < self.until { Ok(None) } else { Err(FailureCause::Timeout(phase)) }
    }

    /// The response, once all of it has been read.
    fn response(&mut self, now: Instant) -> Result<Option<Response<Bytes>>, FailureCause> {
        if self.head.is_none() {
            self.head = read_head(&self.input)?;
            self.until = match &self.head {
                Some(_) => self.limits.deadline.min(now + self.limits.body),
                None => self.until,
            };
        }
        let Some(Head { response, body_at, body_length }) = &self.head else { return Ok(None) };
        if *body_length > self.limits.max_body {
            return Err(FailureCause::TooLarge);
        }
        let Some(body) = self.input.get(*body_at..*body_at + *body_length) else { return Ok(None) };
        self.is_reusable = self.written == self.request.len()
            && self.input.len() == *body_at + *body_length
            && response.version() == Version::HTTP_11
            && !response.headers().contains_key(header::CONNECTION);
        Ok(Some(response.clone().map(|()| Bytes::copy_from_slice(body))))
    }

    /// Keeps the connection for the next attempt, with what is known of its other end. To be called after the call has
    /// heard of the response.
    pub(crate) fn keep_connection(self, now: Instant, pool: &mut IdlePool<TcpStream>) {
        if let (true, Link::Open(mut pooled)) = (self.is_reusable, self.link) {
            pooled.used_by(&self.via);
            pool.keep(now, pooled);
        }
    }
}

/// Whether a connection that carries nothing is still open: there is nothing to be read, not even its end.
pub(crate) fn is_open(stream: &TcpStream) -> bool {
    matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

fn connect(target: Target, timeout: Duration) -> Link {
    let Target::Tcp { host, port, tls: false } = target else {
        return Link::Failed(FailureCause::Network(NetworkPhase::Connect));
    };
    let (sender, receiver) = mpsc::channel();
    // It outlives the attempt where a resolver hangs; what it says then is not heard.
    thread::spawn(move || sender.send(connected(&host, port, timeout)));
    Link::Connecting(receiver)
}

fn connected(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, FailureCause> {
    let mut addresses =
        (host, port).to_socket_addrs().map_err(|_| FailureCause::Network(NetworkPhase::Resolve))?;
    let stream = addresses.find_map(|address| TcpStream::connect_timeout(&address, timeout).ok());
    let stream = stream.ok_or(FailureCause::Network(NetworkPhase::Connect))?;
    let prepared = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true));
    prepared.map(|()| stream).map_err(|_| FailureCause::Network(NetworkPhase::Connect))
}

/// A request as it goes over the wire.
fn written_down(request: &Request<Bytes>) -> Vec<u8> {
    let mut bytes = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    if request.method() == http::Method::POST || !request.body().is_empty() {
        bytes.extend_from_slice(format!("content-length: {}\r\n", request.body().len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(request.body());
    bytes
}

/// Writes what the socket takes.
fn write(stream: &mut TcpStream, bytes: &[u8], written: &mut usize) -> io::Result<()> {
    while *written < bytes.len() {
        match stream.write(&bytes[*written..]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => *written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The head, once all of it is there.
fn read_head(input: &[u8]) -> Result<Option<Head>, FailureCause> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut lines);
    let body_at = match head.parse(input).map_err(|_| FailureCause::NotHttp)? {
        httparse::Status::Complete(length) if length <= MAX_HEAD => length,
        httparse::Status::Partial if input.len() <= MAX_HEAD => return Ok(None),
        _ => return Err(FailureCause::NotHttp),
    };
    let version = if head.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let mut builder = Response::builder().version(version).status(head.code.unwrap_or_default());
    for line in head.headers.iter() {
        builder = builder.header(line.name, line.value);
    }
    let response = builder.body(()).map_err(|_| FailureCause::NotHttp)?;
    let body_length = match response.headers().get(header::CONTENT_LENGTH) {
        Some(length) => length.to_str().ok().and_then(|length| length.parse().ok()),
        None if response.status() == StatusCode::NO_CONTENT => Some(0),
        None => None,
    };
    let body_length = body_length.ok_or(FailureCause::NotHttp)?;
    Ok(Some(Head { response, body_at, body_length }))
}
