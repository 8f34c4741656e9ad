//! HTTP/1.1 over one connection, and its end where a WebSocket begins.

use std::io::{Read, Write};
use std::time::Instant;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use sekisho_core::error::{NetworkPhase, TimeoutPhase};
use sekisho_core::transport::{
    Failure, FailureCause, MAX_FRAME, MAX_HEAD, MAX_HEADERS, MAX_WRITE_BUFFER, READ_BUFFER,
};
use tungstenite::WebSocket;
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{Role, WebSocketConfig};
use ureq_proto::BodyMode;
use ureq_proto::client::state::{Cleanup, RecvBody, RecvResponse};
use ureq_proto::client::{Call, RecvBodyResult, RecvResponseResult, SendRequestResult};

use crate::socket::{Socket, is_timeout};

/// How much is read at once, in bytes.
const CHUNK: usize = 16 << 10;

/// A connection that carries one request at a time.
///
/// A request is written in one piece, and a server that answers before it has read all of it is heard (RFC 9112, 9.5).
pub(crate) struct Connection {
    socket: Socket,
    /// What has been read and belongs to nothing yet.
    input: Vec<u8>,
    /// What is left of the request to be written.
    request: Vec<u8>,
    /// How much of it has been taken, by the socket or by TLS.
    taken: usize,
    /// How many bytes the socket had taken before it.
    before: u64,
    is_reusable: bool,
}

/// The head of a response, and what it takes to read the rest.
pub(crate) struct Answer {
    pub(crate) head: Response<()>,
    state: RecvResponseResult,
}

/// What has become of a request that was to be written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// All of it is written.
    Written,
    /// There is something to be read.
    Interrupted,
    /// It cannot be written any more.
    Broken,
}

impl Connection {
    pub(crate) fn new(socket: Socket) -> Self {
        let (input, request) = (Vec::new(), Vec::new());
        Self { socket, input, request, taken: 0, before: 0, is_reusable: true }
    }

    /// Whether it can carry another request: the last one was written as a whole, its response read to the end, and the
    /// other side has neither closed the connection nor said anything unasked.
    pub(crate) fn is_reusable(&mut self) -> bool {
        self.is_reusable && self.input.is_empty() && self.request.is_empty() && self.socket.is_quiet()
    }

    /// Sends a request, and reads the head of its response.
    pub(crate) fn send(&mut self, request: &Request<Bytes>, respond_by: Instant) -> Result<Answer, Failure> {
        self.is_reusable = false;
        self.before = self.socket.written();
        self.taken = 0;
        let call;
        // Only a request that is not one of HTTP/1.1 cannot be written down, and core makes none.
        let unsendable = Failure::unsent(FailureCause::Network(NetworkPhase::Send));
        (self.request, call) = written_down(request).ok_or(unsendable)?;
        self.read_head(call, respond_by)
    }

    fn read_head(&mut self, mut call: Call<RecvResponse>, respond_by: Instant) -> Result<Answer, Failure> {
        let not_http = || Failure::sent(FailureCause::NotHttp);
        loop {
            if !self.input.is_empty() {
                let (used, head) = call.try_response(&self.input, false).map_err(|_| not_http())?;
                self.input.drain(..used);
                if let Some(head) = head {
                    if used > MAX_HEAD || head.headers().len() > MAX_HEADERS {
                        return Err(not_http());
                    }
                    return Ok(Answer { head, state: call.proceed().ok_or_else(not_http)? });
                }
                if used > 0 {
                    continue;
                }
                if self.input.len() > MAX_HEAD {
                    return Err(not_http());
                }
            }
            self.await_answer(respond_by)?;
        }
    }

    /// Writes what is left of the request, and reads something.
    fn await_answer(&mut self, respond_by: Instant) -> Result<(), Failure> {
        while !self.request.is_empty() {
            let progress = self.write(respond_by).map_err(|cause| self.unfinished(cause))?;
            if progress == Progress::Written {
                break;
            }
            match self.read(None) {
                Ok(count) if count > 0 => return Ok(()),
                // What there was to be read was TLS's own.
                Err(error) if is_timeout(&error) && progress == Progress::Interrupted => {}
                _ => return Err(self.unfinished(FailureCause::Network(NetworkPhase::Send))),
            }
        }
        match self.read(Some(respond_by)) {
            Ok(count) if count > 0 => Ok(()),
            Err(error) if is_timeout(&error) => {
                Err(Failure::sent(FailureCause::Timeout(TimeoutPhase::Response)))
            }
            _ => Err(Failure::sent(FailureCause::Network(NetworkPhase::Receive))),
        }
    }

    /// A failure before the request was written as a whole.
    fn unfinished(&self, cause: FailureCause) -> Failure {
        Failure { cause, sent: self.socket.written() > self.before }
    }

    /// Writes until nothing is left of the request, or the other side has something to say before.
    fn write(&mut self, deadline: Instant) -> Result<Progress, FailureCause> {
        self.socket.set_deadline(None);
        loop {
            let rest = &self.request[self.taken..];
            let written = match rest.is_empty() {
                true => self.socket.flush().map(|()| 0),
                false => self.socket.write(rest),
            };
            match written {
                Ok(_) if rest.is_empty() => {
                    self.request = Vec::new();
                    return Ok(Progress::Written);
                }
                Ok(count) => self.taken += count,
                Err(error) if is_timeout(&error) => match self.socket.wait(deadline) {
                    Ok(false) => {}
                    Ok(true) => return Ok(Progress::Interrupted),
                    Err(error) if is_timeout(&error) => {
                        return Err(FailureCause::Timeout(TimeoutPhase::Response));
                    }
                    Err(_) => return Ok(Progress::Broken),
                },
                Err(_) => return Ok(Progress::Broken),
            }
        }
    }

    fn read(&mut self, deadline: Option<Instant>) -> std::io::Result<usize> {
        self.socket.set_deadline(deadline);
        let length = self.input.len();
        self.input.resize(length + CHUNK, 0);
        let result = self.socket.read(&mut self.input[length..]);
        self.input.truncate(length + result.as_ref().copied().unwrap_or(0));
        result
    }

    /// Reads the rest of a response.
    pub(crate) fn read_body(
        &mut self,
        Answer { head, state }: Answer,
        max_body: usize,
        read_by: Instant,
    ) -> Result<Response<Bytes>, FailureCause> {
        let (body, rest) = match state {
            RecvResponseResult::RecvBody(call) => self.read_to_end(call, max_body, read_by)?,
            RecvResponseResult::Cleanup(call) => (Vec::new(), call),
            RecvResponseResult::Redirect(call) => (Vec::new(), call.proceed()),
        };
        // Under HTTP/1.0 the next request would be another one.
        self.is_reusable = head.version() == Version::HTTP_11 && !rest.must_close_connection();
        Ok(head.map(|()| body.into()))
    }

    fn read_to_end(
        &mut self,
        mut call: Call<RecvBody>,
        max_body: usize,
        read_by: Instant,
    ) -> Result<(Vec<u8>, Call<Cleanup>), FailureCause> {
        if matches!(call.body_mode(), BodyMode::LengthDelimited(length) if length > max_body as u64) {
            return Err(FailureCause::TooLarge);
        }
        let ends_with_connection = call.body_mode() == BodyMode::CloseDelimited;
        let (mut body, mut decoded) = (Vec::new(), vec![0; CHUNK]);
        loop {
            let read = call.read(&self.input, &mut decoded);
            let (used, count) = read.map_err(|_| FailureCause::CutShort)?;
            self.input.drain(..used);
            body.extend_from_slice(&decoded[..count]);
            if body.len() > max_body {
                return Err(FailureCause::TooLarge);
            }
            if call.can_proceed() && !ends_with_connection {
                break;
            }
            if used > 0 || count > 0 {
                continue;
            }
            match self.read(Some(read_by)) {
                Ok(0) if ends_with_connection => break,
                Ok(count) if count > 0 => {}
                Err(error) if is_timeout(&error) => return Err(FailureCause::Timeout(TimeoutPhase::Body)),
                _ => return Err(FailureCause::CutShort),
            }
        }
        let rest = match call.proceed().ok_or(FailureCause::CutShort)? {
            RecvBodyResult::Cleanup(call) => call,
            RecvBodyResult::Redirect(call) => call.proceed(),
        };
        Ok((body, rest))
    }

    /// Takes the connection over for messages.
    pub(crate) fn upgrade(self) -> WebSocket<Socket> {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_WRITE_BUFFER)
            .max_message_size(Some(MAX_FRAME))
            .max_frame_size(Some(MAX_FRAME));
        WebSocket::from_partially_read(self.socket, self.input, Role::Client, Some(config))
    }
}

/// A request as it goes over the wire, and what reads its response; `None` where it is not one of HTTP/1.1.
fn written_down(request: &Request<Bytes>) -> Option<(Vec<u8>, Call<RecvResponse>)> {
    let body = request.body();
    let mut head = request.clone().map(drop);
    // A body of no bytes has a length, too, where a body is expected (RFC 9110, 8.6).
    if !body.is_empty() || matches!(*head.method(), Method::POST | Method::PUT | Method::PATCH) {
        head.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    let mut call = Call::new(head).ok()?.proceed();
    let (mut bytes, mut part) = (Vec::new(), vec![0; MAX_HEAD]);
    while !call.can_proceed() {
        let count = call.write(&mut part).ok()?;
        bytes.extend_from_slice(&part[..count]);
    }
    let call = match call.proceed().ok()?? {
        SendRequestResult::SendBody(mut call) => {
            call.consume_direct_write(body.len()).ok()?;
            bytes.extend_from_slice(body);
            call.proceed()?
        }
        SendRequestResult::RecvResponse(call) => call,
        SendRequestResult::Await100(_) => return None,
    };
    Some((bytes, call))
}

/// An opening handshake (RFC 6455, 4.1).
pub(crate) struct Handshake {
    pub(crate) request: Request<Bytes>,
    key: String,
}

impl Handshake {
    pub(crate) fn new(request: Request<()>) -> Self {
        let key = generate_key();
        let mut request = request.map(|()| Bytes::new());
        // A key is base64.
        let value = HeaderValue::from_str(&key).ok();
        request.headers_mut().extend(value.map(|value| (header::SEC_WEBSOCKET_KEY, value)));
        Self { request, key }
    }

    /// Whether this is the answer to it.
    pub(crate) fn is_accepted_by(&self, head: &Response<()>) -> bool {
        let accept = head.headers().get(header::SEC_WEBSOCKET_ACCEPT);
        head.status() == StatusCode::SWITCHING_PROTOCOLS
            && accept.is_some_and(|accept| accept == derive_accept_key(self.key.as_bytes()).as_str())
    }
}
