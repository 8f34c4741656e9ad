//! The loop around a follow.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use sekisho_core::gateway_client::{
    GatewayEvent, GatewayStream, GatewayStreamInput, GatewayStreamOutput, Problem,
};
use sekisho_core::transport::{ConnId, Connect, Loss};
use tungstenite::{Message, WebSocket};

use crate::client::{HttpClient, Opened};
use crate::socket::{Socket, is_timeout};
use crate::watch::loss;

/// What ended a stream.
pub type Ended = Result<(), Box<Problem>>;

/// A follow, and what carries it.
pub struct GatewayStreamDriver {
    follow: GatewayStream,
    client: Arc<HttpClient>,
    link: Option<(ConnId, Box<WebSocket<Socket>>)>,
}

impl GatewayStreamDriver {
    /// Nothing happens before the first [`GatewayStreamDriver::next_event`].
    pub fn new(follow: GatewayStream, client: Arc<HttpClient>) -> Self {
        Self { follow, client, link: None }
    }

    /// What happens next on the stream, or why it has ended. Blocks until then.
    pub fn next_event(&mut self) -> Result<GatewayEvent, Ended> {
        loop {
            if let Some(next) = self.advance(None) {
                return next;
            }
        }
    }

    /// The same, but `None` when the instant has come before anything has happened. Connecting is not cut short.
    pub fn next_event_until(&mut self, instant: Instant) -> Option<Result<GatewayEvent, Ended>> {
        self.advance(Some(instant))
    }

    fn advance(&mut self, instant: Option<Instant>) -> Option<Result<GatewayEvent, Ended>> {
        loop {
            match self.follow.poll(Instant::now()) {
                GatewayStreamOutput::Connect(connect) => self.connect(connect),
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
        self.follow.handle(Instant::now(), GatewayStreamInput::opened(id, opened));
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
            // A ping is answered by the library, with the next thing that is read or written.
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => GatewayStreamInput::Alive(id),
            Ok(Message::Close(frame)) => GatewayStreamInput::Closed(id, frame.map(|frame| frame.code.into())),
            Ok(Message::Binary(_)) => GatewayStreamInput::Lost(id, Loss::Malformed),
            Err(tungstenite::Error::Io(error)) if is_timeout(&error) => return,
            Err(error) => GatewayStreamInput::Lost(id, loss(&error)),
        };
        if let GatewayStreamInput::Closed(..) | GatewayStreamInput::Lost(..) = input {
            // The answer to a close, which whoever closed may be waiting for.
            let _ = socket.flush();
            self.link = None;
        }
        self.follow.handle(Instant::now(), input);
    }
}

impl fmt::Debug for GatewayStreamDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GatewayStreamDriver").field(&self.follow).finish()
    }
}
