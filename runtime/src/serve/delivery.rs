//! One stream over one WebSocket, to its end.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use sekisho_core::browser_api::WRITE_TIMEOUT;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error, Message, Utf8Bytes};

use super::connection::drained;
use crate::Subscription;
use crate::frame::Diagnostic;

/// How often a client is asked for a sign of life, and how long it may take to give one.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long the last words and the client's answer to them may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// How much is read at once, in bytes. Clients have nothing to say.
const READ_SIZE: usize = 1024;

/// How much is gathered before it is written, in bytes.
const WRITE_SIZE: usize = 4 * 1024;

/// The most of a frame that is written in one piece, in bytes. What is longer goes as a fragmented message
/// (RFC 6455, 5.4): the buffer for writing keeps the size that it once needed, and whether the client takes
/// anything can be told by the piece.
const FRAGMENT: usize = 8 * 1024;

/// The longest message of a client that is read, in bytes, to be told that there is nothing to say.
const MAX_MESSAGE: usize = 64 * 1024;

/// Delivers until the stream ends, the client goes, or the server does.
pub(super) async fn deliver<S>(stream: S, frames: Subscription, mut draining: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut delivery = Delivery::new(stream, frames).await;
    let ending = tokio::select! {
        ending = poll_fn(|context| delivery.poll(context)) => ending,
        () = drained(&mut draining) => Ending::Drained,
    };
    if timeout(FAREWELL, delivery.part(ending)).await.is_err() {
        tracing::debug!("a stream's end was not heard");
    }
}

/// Why a delivery ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    /// The stream is over, and its last frame said why.
    Over,
    /// The client said something.
    Spoken,
    /// The client closed.
    Closed,
    /// The server ends.
    Drained,
    /// The connection broke, or the client does not live or does not read.
    Lost,
}

struct Delivery<S> {
    socket: WebSocketStream<S>,
    frames: Subscription,
    /// What is left of the frame that is being written.
    rest: Bytes,
    /// Whether a part of it was.
    continued: bool,
    /// Since when the client takes nothing.
    stalled: Option<Instant>,
    heartbeat: Interval,
    /// Whether there was a sign of life since the last heartbeat.
    heard: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Delivery<S> {
    async fn new(stream: S, frames: Subscription) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_SIZE)
            .write_buffer_size(WRITE_SIZE)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
        let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { socket, frames, rest: Bytes::new(), continued: false, stalled: None, heartbeat, heard: true }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ending> {
        // The client is heard even where it takes nothing.
        if let Some(ending) = self.hear(context) {
            return Poll::Ready(ending);
        }
        while self.heartbeat.poll_tick(context).is_ready() {
            if let Err(ending) = self.beat() {
                return Poll::Ready(ending);
            }
        }
        self.tell(context)
    }

    /// Reads what the client says, until that is nothing more now.
    fn hear(&mut self, context: &mut Context<'_>) -> Option<Ending> {
        loop {
            match Pin::new(&mut self.socket).poll_next(context) {
                Poll::Pending => return None,
                Poll::Ready(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => self.heard = true,
                Poll::Ready(Some(Ok(Message::Text(_) | Message::Binary(_) | Message::Frame(_)))) => {
                    return Some(Ending::Spoken);
                }
                Poll::Ready(Some(Err(Error::Capacity(_)))) => return Some(Ending::Spoken),
                Poll::Ready(Some(Ok(Message::Close(_)))) => return Some(Ending::Closed),
                Poll::Ready(Some(Err(_)) | None) => return Some(Ending::Lost),
            }
        }
    }

    /// Asks for a sign of life, if there was one since the last time.
    fn beat(&mut self) -> Result<(), Ending> {
        match self.stalled {
            Some(since) if since.elapsed() >= WRITE_TIMEOUT => Err(Ending::Lost),
            // The question would not reach it, or has not yet.
            Some(_) => Ok(()),
            None if !self.heard => Err(Ending::Lost),
            None => {
                self.heard = false;
                self.send(Message::Ping(Bytes::new()))
            }
        }
    }

    /// Writes all frames that there are, and then sees to it that they are on their way.
    fn tell(&mut self, context: &mut Context<'_>) -> Poll<Ending> {
        loop {
            // A socket may take more into its buffer while the client takes nothing out of it.
            let room = match self.stalled {
                Some(_) => Pin::new(&mut self.socket).poll_flush(context),
                None => Pin::new(&mut self.socket).poll_ready(context),
            };
            if let Err(ending) = ready!(self.taken(room)) {
                return Poll::Ready(ending);
            }
            if self.rest.is_empty() {
                match self.frames.poll_frame(context) {
                    Poll::Ready(Some(frame)) => self.rest = frame,
                    Poll::Ready(None) => return Poll::Ready(Ending::Over),
                    Poll::Pending => break,
                }
            }
            let fragment = self.next_fragment();
            if let Err(ending) = self.send(fragment) {
                return Poll::Ready(ending);
            }
        }
        let flushed = Pin::new(&mut self.socket).poll_flush(context);
        match ready!(self.taken(flushed)) {
            Ok(()) => Poll::Pending,
            Err(ending) => Poll::Ready(ending),
        }
    }

    /// Takes note of whether the client takes what is written. That it does so again is a sign of life.
    fn taken(&mut self, written: Poll<Result<(), Error>>) -> Poll<Result<(), Ending>> {
        match &written {
            Poll::Pending => {
                self.stalled.get_or_insert_with(Instant::now);
            }
            Poll::Ready(_) => self.heard |= self.stalled.take().is_some(),
        }
        written.map_err(|_| Ending::Lost)
    }

    fn next_fragment(&mut self) -> Message {
        let opcode = if self.continued { Data::Continue } else { Data::Text };
        let piece = self.rest.split_to(FRAGMENT.min(self.rest.len()));
        self.continued = !self.rest.is_empty();
        // Frames are JSON made by ourselves: as a `Message::Text` their UTF-8 would be checked for every client.
        Message::Frame(Frame::message(piece, OpCode::Data(opcode), !self.continued))
    }

    /// Hands over what is written when the time comes. There has to be room for it.
    fn send(&mut self, message: Message) -> Result<(), Ending> {
        Pin::new(&mut self.socket).start_send(message).map_err(|_| Ending::Lost)
    }

    /// Says the last that there is to say, and hears the client out.
    async fn part(&mut self, ending: Ending) {
        let (last, code) = match ending {
            Ending::Over => (None, CloseCode::Normal),
            Ending::Spoken => (Some(Diagnostic::ObservationOnly), CloseCode::Normal),
            Ending::Drained => (Some(Diagnostic::Unavailable), CloseCode::Away),
            // Reading on is what brings the answer on its way.
            Ending::Closed => return self.hear_out().await,
            Ending::Lost => return,
        };
        // A message that was begun is ended before another begins.
        if self.write_rest().await.is_err() {
            return;
        }
        self.rest = last.map(Diagnostic::into_frame).unwrap_or_default();
        let close = Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::from_static("") }));
        if self.write_rest().await.is_ok() && self.socket.send(close).await.is_ok() {
            self.hear_out().await;
        }
    }

    async fn write_rest(&mut self) -> Result<(), Error> {
        while !self.rest.is_empty() {
            let fragment = self.next_fragment();
            self.socket.feed(fragment).await?;
        }
        Ok(())
    }

    /// Until the client has closed, or nothing can be heard of it.
    async fn hear_out(&mut self) {
        while let Some(Ok(_)) = self.socket.next().await {}
    }
}

#[cfg(test)]
mod tests;
