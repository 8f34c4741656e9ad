//! What may happen between a transport and a runtime, and what must come of it: plain data, for any transport.

pub mod calls;
mod frames;
pub mod streams;

/// How many bytes a response may have.
pub const MAX_RESPONSE: usize = 4096;

/// The token that a runtime is first asked with.
pub const TOKEN: &str = "token-1";

/// The token that replaces it.
pub const NEW_TOKEN: &str = "token-2";

/// The way to a runtime.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// A host whose name does not resolve.
    Unresolved,
    /// A port where nothing listens.
    Refused,
    /// A unix socket that is not there.
    NoSocket,
    /// A port whose listener accepts no connection, and whose backlog is full.
    Full,
    /// The same with a unix socket.
    FullSocket,
    /// A TCP connection.
    Tcp,
    /// A unix socket.
    Unix,
    /// TLS with a certificate that is trusted.
    Tls,
    /// TLS with a certificate of an issuer that is not trusted.
    Untrusted,
    /// TLS with a trusted certificate of another name.
    Misnamed,
    /// TLS is expected, and not spoken.
    Plaintext,
}

/// The ways that carry a request to where it should go.
pub const EVERY_WAY: &[Way] = &[Way::Tcp, Way::Tls, Way::Unix];

/// One thing that a runtime does with a connection. After the last one it closes the connection.
#[derive(Clone, Debug)]
pub enum Step {
    /// Reads a whole request.
    Hear,
    /// Reads the head of a request, and nothing of its body.
    HearHead,
    /// Reads a WebSocket frame.
    HearFrame,
    /// Sends the response that the command hopes for.
    Answer(Answer),
    /// Sends these bytes.
    Say(Vec<u8>),
    /// Sends a 101 that accepts the WebSocket of the last request, and these bytes in the same segment.
    Accept(Vec<u8>),
    /// Gives the client time to read what was sent, so that what follows comes by itself.
    Pause,
    /// Ends the TLS session, but not the connection.
    EndSession,
    /// Does nothing more, and does not read, for as long as the client lasts.
    Stall,
    /// Ends the connection with a reset.
    Reset,
}

/// A response that makes sense.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// What its head begins with.
    pub head: &'static str,
    /// The worker that it speaks of.
    pub worker_id: &'static str,
    /// How long its body is, filled with white space; else as long as needs be.
    pub length: Option<usize>,
    /// How the length of the body is told.
    pub framing: Framing,
}

/// How the length of a body is told (RFC 9112, 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// By `content-length`.
    Length,
    /// By chunks.
    Chunks,
    /// By the end of the connection.
    Close,
}

/// How much time there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Patience {
    /// So much that it never matters.
    Ample,
    /// So little that it is soon over.
    Short,
}

/// What the source of the runtime's token has when it is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// The same token.
    Unchanged,
    /// Another one.
    Replaced,
    /// None that can be read.
    Unreadable,
}

/// A response with a body whose length is told.
pub fn response(status: u16, headers: &str, body: &str) -> Step {
    Step::Say(
        format!("HTTP/1.1 {status} Status\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
            .into_bytes(),
    )
}

/// A typed refusal of the runtime's.
pub fn typed(status: u16, code: &str) -> Step {
    let body = format!(r#"{{"error":{{"code":"{code}","message":"the runtime's words"}}}}"#);
    response(status, "content-type: application/json\r\n", &body)
}

/// A failure of the runtime, which says that nothing of the command has been done.
pub fn nothing_done(status: u16, code: &str) -> Step {
    let body =
        format!(r#"{{"error":{{"code":"{code}","message":"the runtime's words","outcome":"not_applied"}}}}"#);
    response(status, "content-type: application/json\r\n", &body)
}

/// These bytes.
pub fn say(bytes: impl Into<Vec<u8>>) -> Step {
    Step::Say(bytes.into())
}

/// The response that the command hopes for.
pub const ANSWER: Step = Step::Answer(PLAIN);

/// The same as a value to be changed.
pub const PLAIN: Answer =
    Answer { head: "HTTP/1.1 200 OK\r\n", worker_id: "w", length: None, framing: Framing::Length };
