//! The loop around a watch.

use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use sekisho_core::error::Error;
use sekisho_core::secret::Token;
use sekisho_core::transport::{ConnId, Connect, Frames, Loss, PING_TIMEOUT, Unopened};
use sekisho_core::watch::{Watch, WatchEvent, WatchInput, WatchOutput};
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::drive::Transport;

/// A stream that a runtime has opened.
pub(crate) enum Stream {
    Socket(Box<WebSocketStream<TokioIo<Upgraded>>>),
    InProcess(Box<dyn Frames>),
}

/// A watch and what carries it.
///
/// Between two calls of [`WatchDriver::next`] nothing is lost, and neither is when the future that it returns is dropped.
pub struct WatchDriver {
    watch: Watch,
    transport: Arc<Transport>,
    link: Link,
}

enum Link {
    None,
    Opening(ConnId, Pin<Box<dyn Future<Output = Result<Stream, Unopened>> + Send>>),
    Open(ConnId, Stream),
}

impl WatchDriver {
    /// Nothing happens before the first [`WatchDriver::next`].
    pub fn new(watch: Watch, transport: Arc<Transport>) -> Self {
        Self { watch, transport, link: Link::None }
    }

    /// What happens next on the stream, or why it has ended; `Ok` after [`WatchDriver::stop`] alone.
    pub async fn next(&mut self) -> Result<WatchEvent, Result<(), Error>> {
        loop {
            match self.watch.poll(Instant::now()) {
                WatchOutput::Connect(connect) => {
                    let (id, transport) = (connect.id, self.transport.clone());
                    self.link = Link::Opening(id, Box::pin(async move { transport.open(connect).await }));
                }
                WatchOutput::Ping(id) => {
                    // Also the time to notice that the token has changed: nobody else tells a stream that is open.
                    let credential = WatchInput::Credential(self.transport.credential());
                    self.watch.handle(Instant::now(), credential);
                    self.ping(id).await;
                }
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
                    if let WatchInput::Lost(..) | WatchInput::Refused(..) = input {
                        self.link = Link::None;
                    }
                    self.watch.handle(Instant::now(), input);
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

    /// A token that was read anew on the way, for the registry to use.
    pub fn take_refreshed(&mut self) -> Option<Token> {
        self.watch.take_refreshed()
    }

    async fn ping(&mut self, id: ConnId) {
        let alive = match &mut self.link {
            Link::Open(_, Stream::Socket(socket)) => {
                matches!(timeout(PING_TIMEOUT, socket.send(Message::Ping(Bytes::new()))).await, Ok(Ok(())))
            }
            // Where there is no wire, there is nobody to lose.
            Link::Open(_, Stream::InProcess(_)) => {
                self.watch.handle(Instant::now(), WatchInput::Pong(id));
                true
            }
            _ => true,
        };
        if !alive {
            self.link = Link::None;
            self.watch.handle(Instant::now(), WatchInput::Lost(id, Loss::Ended));
        }
    }
}

impl Link {
    async fn next(&mut self) -> WatchInput {
        match self {
            Self::None => pending().await,
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

impl Transport {
    async fn open(&self, connect: Connect) -> Result<Stream, Unopened> {
        match self {
            Self::Network(client) => {
                let socket = client.open(connect).await?;
                Ok(Stream::Socket(Box::new(socket)))
            }
            Self::InProcess(runtime) => runtime
                .observe(&connect.request.map(|()| Bytes::new()))
                .map(Stream::InProcess)
                .map_err(Unopened::Refused),
        }
    }
}

impl fmt::Debug for WatchDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WatchDriver").field(&self.watch).finish()
    }
}
