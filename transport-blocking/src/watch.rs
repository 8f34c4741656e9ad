//! The loop around a watch.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sekisho_core::error::Error;
use sekisho_core::secret::Token;
use sekisho_core::transport::{ConnId, Connect, Frames, Loss, PING_TIMEOUT, Unopened};
use sekisho_core::watch::{Watch, WatchEvent, WatchInput, WatchOutput};
use tungstenite::error::ProtocolError;
use tungstenite::{Message, WebSocket};

use crate::client::Opened;
use crate::drive::Transport;
use crate::socket::{Socket, is_timeout};

/// A watch and what carries it.
pub struct WatchDriver {
    watch: Watch,
    transport: Arc<Transport>,
    link: Option<(ConnId, Stream)>,
}

/// A stream that a runtime has opened.
enum Stream {
    Socket(Box<WebSocket<Socket>>),
    InProcess(Box<dyn Frames>),
}

impl WatchDriver {
    /// Nothing happens before the first [`WatchDriver::next_event`].
    pub fn new(watch: Watch, transport: Arc<Transport>) -> Self {
        Self { watch, transport, link: None }
    }

    /// What happens next on the stream, or why it has ended; `Ok` after [`WatchDriver::stop`] alone. Blocks until then.
    pub fn next_event(&mut self) -> Result<WatchEvent, Result<(), Error>> {
        loop {
            if let Some(next) = self.advance(None) {
                return next;
            }
        }
    }

    /// The same, but `None` when the instant has come before anything has happened: for whoever has something else to
    /// do, too, or may want to stop. Connecting is not cut short, but bounded by the limits of its runtime. With an
    /// instant that is past, only what is already known is told, and nothing is read.
    pub fn next_event_until(&mut self, instant: Instant) -> Option<Result<WatchEvent, Result<(), Error>>> {
        self.advance(Some(instant))
    }

    fn advance(&mut self, instant: Option<Instant>) -> Option<Result<WatchEvent, Result<(), Error>>> {
        loop {
            match self.watch.poll(Instant::now()) {
                WatchOutput::Connect(connect) => self.connect(connect),
                WatchOutput::Ping(id) => {
                    // Also the time to notice that the token has changed: nobody else tells a stream that is open.
                    let credential = WatchInput::Credential(self.transport.credential());
                    self.watch.handle(Instant::now(), credential);
                    self.ping(id);
                }
                WatchOutput::Close(_) => self.link = None,
                WatchOutput::RefreshCredential => {
                    self.watch.handle(Instant::now(), WatchInput::Credential(self.transport.credential()));
                }
                WatchOutput::Event(event) => return Some(Ok(event)),
                WatchOutput::Stopped(result) => return Some(Err(result)),
                WatchOutput::Wait { until, .. } => {
                    if instant.is_some_and(|instant| instant <= Instant::now()) {
                        return None;
                    }
                    self.wait(instant.map_or(until, |instant| instant.min(until)));
                }
            }
        }
    }

    /// Ends it: the next call of [`WatchDriver::next_event`] says so.
    pub fn stop(&mut self) {
        self.watch.handle(Instant::now(), WatchInput::Stop);
    }

    /// A token that was read anew on the way, for the registry to use.
    pub fn take_refreshed(&mut self) -> Option<Token> {
        self.watch.take_refreshed()
    }

    fn connect(&mut self, connect: Connect) {
        let id = connect.id;
        let opened = self.transport.open(connect).map(|stream| self.link = Some((id, stream)));
        self.watch.handle(Instant::now(), WatchInput::opened(id, opened));
    }

    fn ping(&mut self, id: ConnId) {
        let input = match &mut self.link {
            Some((_, Stream::Socket(socket))) => {
                socket.get_mut().set_deadline(Instant::now() + PING_TIMEOUT);
                match socket.send(Message::Ping(Bytes::new())) {
                    Ok(()) => return,
                    Err(_) => WatchInput::Lost(id, Loss::Ended),
                }
            }
            // Where there is no wire, there is nobody to lose.
            Some((_, Stream::InProcess(_))) => WatchInput::Pong(id),
            None => return,
        };
        self.hear(input);
    }

    /// Waits for the connection to have something, or for the instant.
    fn wait(&mut self, until: Instant) {
        let input = match &mut self.link {
            None => {
                thread::sleep(until.saturating_duration_since(Instant::now()));
                None
            }
            Some((id, Stream::Socket(socket))) => next_message(*id, socket, until),
            Some((id, Stream::InProcess(frames))) => next_frame(*id, frames.as_mut(), until),
        };
        if let Some(input) = input {
            self.hear(input);
        }
    }

    fn hear(&mut self, input: WatchInput) {
        if let WatchInput::Lost(..) = input {
            self.link = None;
        }
        self.watch.handle(Instant::now(), input);
    }
}

fn next_message(id: ConnId, socket: &mut WebSocket<Socket>, until: Instant) -> Option<WatchInput> {
    socket.get_mut().set_deadline(until);
    loop {
        return Some(match socket.read() {
            Ok(Message::Text(text)) => WatchInput::Frame(id, text.into()),
            Ok(Message::Pong(_)) => WatchInput::Pong(id),
            // Answered by the library, with the next thing that is read or written.
            Ok(Message::Ping(_) | Message::Close(_) | Message::Frame(_)) => continue,
            Ok(Message::Binary(_)) => WatchInput::Lost(id, Loss::Malformed),
            Err(tungstenite::Error::Io(error)) if is_timeout(&error) => return None,
            Err(error) => WatchInput::Lost(id, loss(&error)),
        });
    }
}

fn next_frame(id: ConnId, frames: &mut dyn Frames, until: Instant) -> Option<WatchInput> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match frames.poll_frame(&mut context) {
            Poll::Ready(Some(text)) => return Some(WatchInput::Frame(id, text)),
            Poll::Ready(None) => return Some(WatchInput::Lost(id, Loss::Ended)),
            Poll::Pending => match until.saturating_duration_since(Instant::now()) {
                Duration::ZERO => return None,
                left => thread::park_timeout(left),
            },
        }
    }
}

/// A waker for a thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Deployed runtimes end a stream by dropping the connection, which is no more than an end.
pub(crate) fn loss(error: &tungstenite::Error) -> Loss {
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
    #[expect(clippy::result_large_err, reason = "moved once, and seldom")]
    fn open(&self, connect: Connect) -> Result<Stream, Unopened> {
        match self {
            Self::Network(client) => {
                let Opened(socket) = client.open(connect)?;
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
