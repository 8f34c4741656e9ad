//! The loop around a [`GatewayStream`].

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use sekisho_core::gateway_client::{
    GatewayEvent, GatewayStream, GatewayStreamInput, GatewayStreamOutput, OneWorker, Problem, Subject,
};
use sekisho_core::heartbeat::PONG_WITHIN;
use sekisho_core::transport::{ConnId, Connect, Loss};
use tungstenite::{Message, WebSocket};

use crate::client::{HttpClient, Opened};
use crate::socket::{Socket, is_timeout, loss};

/// What ended a stream.
pub type Ended = Result<(), Box<Problem>>;

/// A [`GatewayStream`] and the connection that carries it.
pub struct GatewayStreamDriver<S: Subject = OneWorker> {
    stream: GatewayStream<S>,
    client: Arc<HttpClient>,
    link: Option<(ConnId, Box<WebSocket<Socket>>)>,
    /// When the caller was last given something: while it deals with that, nothing is read.
    returned: Option<Instant>,
}

impl<S: Subject> GatewayStreamDriver<S> {
    /// Nothing happens before the first [`GatewayStreamDriver::next_event`].
    pub fn new(stream: GatewayStream<S>, client: Arc<HttpClient>) -> Self {
        Self { stream, client, link: None, returned: None }
    }

    /// What happens next on the stream, or why it has ended. Blocks until then.
    pub fn next_event(&mut self) -> Result<GatewayEvent<S::Event>, Ended> {
        loop {
            if let Some(next) = self.advance(None) {
                return next;
            }
        }
    }

    /// The same, but `None` when the instant has come before anything has happened. Connecting is not cut short.
    pub fn next_event_until(&mut self, instant: Instant) -> Option<Result<GatewayEvent<S::Event>, Ended>> {
        self.advance(Some(instant))
    }

    fn advance(&mut self, instant: Option<Instant>) -> Option<Result<GatewayEvent<S::Event>, Ended>> {
        if let Some(returned) = self.returned.take() {
            self.stream.extend(returned.elapsed());
        }
        let next = self.advance_until(instant);
        self.returned = Some(Instant::now());
        next
    }

    fn advance_until(&mut self, instant: Option<Instant>) -> Option<Result<GatewayEvent<S::Event>, Ended>> {
        loop {
            match self.stream.poll(Instant::now()) {
                GatewayStreamOutput::Connect(connect) => self.connect(connect),
                GatewayStreamOutput::Ping(id) => self.ping(id),
                GatewayStreamOutput::Close(_) => self.link = None,
                GatewayStreamOutput::Event(event) => return Some(Ok(event)),
                GatewayStreamOutput::Stopped(result) => return Some(Err(result)),
                GatewayStreamOutput::Wait { until, .. } => {
                    if instant.is_some_and(|instant| instant <= Instant::now()) {
                        return None;
                    }
                    self.wait(instant.map_or(until, |instant| instant.min(until)));
                }
            }
        }
    }

    fn connect(&mut self, connect: Connect) {
        let id = connect.id;
        let opened = self.client.open(connect).map(|Opened(socket)| self.link = Some((id, Box::new(socket))));
        self.feed(GatewayStreamInput::opened(id, opened));
    }

    fn ping(&mut self, id: ConnId) {
        let Some((_, socket)) = &mut self.link else { return };
        socket.get_mut().set_deadline(Instant::now() + PONG_WITHIN);
        // The library keeps what could not be written yet, and writes it with the next thing.
        match socket.send(Message::Ping(Bytes::new())) {
            Err(tungstenite::Error::Io(error)) if is_timeout(&error) => {}
            Err(error) => self.feed(GatewayStreamInput::Lost(id, loss(&error))),
            Ok(()) => {}
        }
    }

    /// Waits for the connection to have something, or for the instant.
    fn wait(&mut self, until: Instant) {
        let Some((id, socket)) = &mut self.link else {
            return thread::sleep(until.saturating_duration_since(Instant::now()));
        };
        let id = *id;
        socket.get_mut().set_deadline(until);
        let input = match socket.read() {
            Ok(Message::Text(text)) => GatewayStreamInput::Frame(id, text.into()),
            Ok(Message::Pong(_)) => GatewayStreamInput::Pong(id),
            // A ping is answered by the library, with the next thing that is read or written.
            Ok(Message::Ping(_) | Message::Frame(_)) => return,
            Ok(Message::Close(frame)) => GatewayStreamInput::Closed(id, frame.map(|frame| frame.code.into())),
            Ok(Message::Binary(_)) => GatewayStreamInput::Lost(id, Loss::Malformed),
            Err(tungstenite::Error::Io(error)) if is_timeout(&error) => return,
            Err(error) => GatewayStreamInput::Lost(id, loss(&error)),
        };
        self.feed(input);
    }

    fn feed(&mut self, input: GatewayStreamInput) {
        if let Some((_, mut socket)) = self.link.take_if(|_| input.ends_link()) {
            // The answer to a close, for which the gateway may be waiting.
            let _ = socket.flush();
        }
        self.stream.handle(Instant::now(), input);
    }
}

impl<S: Subject> fmt::Debug for GatewayStreamDriver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GatewayStreamDriver").field(&self.stream).finish()
    }
}
