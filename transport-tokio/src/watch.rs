//! The loop around a watch.

use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use sekisho_core::error::Error;
use sekisho_core::transport::{ConnId, Loss, PING_TIMEOUT, Unopened};
use sekisho_core::watch::{Watch, WatchEvent, WatchInput, WatchOutput};
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::transport::{Stream, Transport};

/// A watch and what carries it.
///
/// Between two calls of [`WatchDriver::next`] nothing is lost, and neither is when the future that it returns is dropped.
pub struct WatchDriver {
    watch: Watch,
    transport: Arc<Transport>,
    link: Link,
}

/// What is under way.
enum Link {
    None,
    /// An attempt.
    Asking(Pin<Box<dyn Future<Output = WatchInput> + Send>>),
    Opening(ConnId, Pin<Box<dyn Future<Output = Result<Stream, Unopened>> + Send>>),
    Open(ConnId, Stream),
}

impl WatchDriver {
    /// Nothing happens before the first [`WatchDriver::next`].
    pub fn new(watch: Watch, transport: Arc<Transport>) -> Self {
        let mut driver = Self { watch, transport, link: Link::None };
        driver.use_changed_token();
        driver
    }

    fn use_changed_token(&mut self) {
        let now = Instant::now();
        if let Some(token) = self.transport.changed_credential(now) {
            self.watch.handle(now, WatchInput::Credential(Some(token)));
        }
    }

    /// What happens next on the stream, or why it has ended; `Ok` after [`WatchDriver::stop`] alone.
    pub async fn next(&mut self) -> Result<WatchEvent, Result<(), Error>> {
        loop {
            match self.watch.poll(Instant::now()) {
                WatchOutput::Send(attempt) => {
                    let (id, transport) = (attempt.id, self.transport.clone());
                    self.link = Link::Asking(Box::pin(async move {
                        WatchInput::report(id, transport.exchange(attempt).await)
                    }));
                }
                WatchOutput::Connect(connect) => {
                    let (id, transport) = (connect.id, self.transport.clone());
                    self.link = Link::Opening(id, Box::pin(async move { transport.open(connect).await }));
                }
                WatchOutput::Ping(id) => self.ping(id).await,
                WatchOutput::Close(_) => self.link = Link::None,
                WatchOutput::RefreshCredential => {
                    self.watch.handle(Instant::now(), WatchInput::Credential(self.transport.credential()));
                }
                WatchOutput::Event(event) => return Ok(event),
                WatchOutput::Stopped(result) => return Err(result),
                WatchOutput::Wait { until, .. } => {
                    let input = tokio::select! {
                        biased;
                        input = self.link.next() => input,
                        () = sleep_until(until.into()) => continue,
                    };
                    self.hear(input);
                }
            }
        }
    }

    /// Ends it: the next call of [`WatchDriver::next`] says so.
    pub fn stop(&mut self) {
        self.watch.handle(Instant::now(), WatchInput::Stop);
    }

    /// Whether the stream is open, and a good one.
    pub fn is_live(&self) -> bool {
        self.watch.is_live()
    }

    fn hear(&mut self, input: WatchInput) {
        if input.ends_link() {
            self.link = Link::None;
        }
        // A frame may hold a token that has just replaced the one the stream was opened with.
        self.use_changed_token();
        self.watch.handle(Instant::now(), input);
    }

    async fn ping(&mut self, id: ConnId) {
        let input = match &mut self.link {
            Link::Open(_, Stream::Socket(socket)) => {
                match timeout(PING_TIMEOUT, socket.send(Message::Ping(Bytes::new()))).await {
                    Ok(Ok(())) => return,
                    _ => WatchInput::Lost(id, Loss::Ended),
                }
            }
            // Where there is no wire, there is nothing to lose.
            Link::Open(_, Stream::InProcess(_)) => WatchInput::Pong(id),
            _ => return,
        };
        self.hear(input);
    }
}

impl Link {
    async fn next(&mut self) -> WatchInput {
        match self {
            Self::None => pending().await,
            Self::Asking(asking) => asking.await,
            Self::Opening(id, opening) => {
                let id = *id;
                let opened = opening.await.map(|stream| *self = Self::Open(id, stream));
                WatchInput::opened(id, opened)
            }
            Self::Open(id, stream) => stream.next(*id).await,
        }
    }
}

impl Stream {
    async fn next(&mut self, id: ConnId) -> WatchInput {
        let socket = match self {
            Self::InProcess(frames) => {
                // A worker that never pauses must not keep everything else from happening.
                tokio::task::coop::consume_budget().await;
                return match poll_fn(|context| frames.poll_frame(context)).await {
                    Some(text) => WatchInput::Frame(id, text),
                    None => WatchInput::Lost(id, Loss::Ended),
                };
            }
            Self::Socket(socket) => socket,
        };
        loop {
            return match socket.next().await {
                Some(Ok(Message::Text(text))) => WatchInput::Frame(id, text.into()),
                Some(Ok(Message::Pong(_))) => WatchInput::Pong(id),
                // Answered by the library, with the next thing that is read or written.
                Some(Ok(Message::Ping(_) | Message::Close(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Binary(_))) => WatchInput::Lost(id, Loss::Malformed),
                Some(Err(error)) => WatchInput::Lost(id, loss(&error)),
                None => WatchInput::Lost(id, Loss::Ended),
            };
        }
    }
}

/// Deployed runtimes end a stream by dropping the connection, which is no more than an end.
fn loss(error: &tungstenite::Error) -> Loss {
    match error {
        tungstenite::Error::Capacity(_) => Loss::TooLarge,
        tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Loss::Ended,
        tungstenite::Error::Protocol(_) | tungstenite::Error::Utf8(_) | tungstenite::Error::AttackAttempt => {
            Loss::Malformed
        }
        _ => Loss::Ended,
    }
}

impl fmt::Debug for WatchDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WatchDriver").field(&self.watch).finish()
    }
}
