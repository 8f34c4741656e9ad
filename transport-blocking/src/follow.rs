//! The loop around a follow.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use sekisho_core::client::{Follow, FollowInput, FollowOutput, Followed, Problem};
use sekisho_core::watch::{ConnId, Connect, Loss};
use tungstenite::{Message, WebSocket};

use crate::client::{Client, Opened, Unopened};
use crate::socket::{Socket, is_timeout};
use crate::watch::loss;

/// What ended a stream.
pub type Ended = Result<(), Box<Problem>>;

/// A follow, and what carries it.
pub struct Following {
    follow: Follow,
    client: Arc<Client>,
    link: Option<(ConnId, Box<WebSocket<Socket>>)>,
}

impl Following {
    /// Nothing happens before the first [`Following::next_event`].
    pub fn new(follow: Follow, client: Arc<Client>) -> Self {
        Self { follow, client, link: None }
    }

    /// What happens next on the stream, or why it has ended. Blocks until then.
    pub fn next_event(&mut self) -> Result<Followed, Ended> {
        loop {
            if let Some(next) = self.advance(None) {
                return next;
            }
        }
    }

    /// The same, but `None` when the instant has come before anything has happened. Connecting is not cut short.
    pub fn next_event_until(&mut self, instant: Instant) -> Option<Result<Followed, Ended>> {
        self.advance(Some(instant))
    }

    fn advance(&mut self, instant: Option<Instant>) -> Option<Result<Followed, Ended>> {
        loop {
            match self.follow.poll(Instant::now()) {
                FollowOutput::Connect(connect) => self.connect(connect),
                FollowOutput::Close(_) => self.link = None,
                FollowOutput::Event(event) => return Some(Ok(event)),
                FollowOutput::Stopped(result) => return Some(Err(result)),
                FollowOutput::Wait { until, .. } => {
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
        let input = match self.client.open(connect) {
            Ok(Opened(socket)) => {
                self.link = Some((id, Box::new(socket)));
                FollowInput::Opened(id)
            }
            Err(Unopened::Refused(response)) => FollowInput::Refused(id, response),
            Err(Unopened::Malformed) => FollowInput::Lost(id, Loss::Malformed),
            Err(Unopened::Failed(failure)) => FollowInput::Lost(id, Loss::Failed(failure.cause)),
        };
        self.follow.handle(Instant::now(), input);
    }

    /// Waits for the connection to have something, or for the instant.
    fn wait(&mut self, until: Instant) {
        let Some((id, socket)) = &mut self.link else {
            return thread::sleep(until.saturating_duration_since(Instant::now()));
        };
        let id = *id;
        socket.get_mut().set_deadline(until);
        let input = match socket.read() {
            Ok(Message::Text(text)) => FollowInput::Frame(id, text.into()),
            // A ping is answered by the library, with the next thing that is read or written.
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => FollowInput::Alive(id),
            Ok(Message::Close(frame)) => FollowInput::Closed(id, frame.map(|frame| frame.code.into())),
            Ok(Message::Binary(_)) => FollowInput::Lost(id, Loss::Malformed),
            Err(tungstenite::Error::Io(error)) if is_timeout(&error) => return,
            Err(error) => FollowInput::Lost(id, loss(&error)),
        };
        if let FollowInput::Closed(..) | FollowInput::Lost(..) = input {
            // The answer to a close, which whoever closed may be waiting for.
            let _ = socket.flush();
            self.link = None;
        }
        self.follow.handle(Instant::now(), input);
    }
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Following").field(&self.follow).finish()
    }
}
