//! The loop around a watch.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sekisho_core::error::Error;
use sekisho_core::transport::{ConnId, Frames, Loss, PING_TIMEOUT};
use sekisho_core::watch::{Watch, WatchEvent, WatchInput, WatchOutput};
use tungstenite::{Message, WebSocket};

use crate::socket::{Socket, is_timeout, loss};
use crate::transport::{Stream, Transport};

/// A watch and what carries it.
pub struct WatchDriver {
    watch: Watch,
    transport: Arc<Transport>,
    link: Option<(ConnId, Stream)>,
}

impl WatchDriver {
    /// Nothing happens before the first [`WatchDriver::next_event`].
    pub fn new(watch: Watch, transport: Arc<Transport>) -> Self {
        let mut driver = Self { watch, transport, link: None };
        driver.use_changed_token();
        driver
    }

    fn use_changed_token(&mut self) {
        let now = Instant::now();
        if let Some(token) = self.transport.changed_credential(now) {
            self.watch.handle(now, WatchInput::Credential(Some(token)));
        }
    }

    /// What happens next on the stream, or why it has ended; `Ok` after [`WatchDriver::stop`] alone. Blocks until then.
    pub fn next_event(&mut self) -> Result<WatchEvent, Result<(), Error>> {
        loop {
            if let Some(next) = self.advance(None) {
                return next;
            }
        }
    }

    /// The same, but `None` when the instant has come before anything has happened: for a loop that has something else
    /// to do, too. Connecting is not cut short, but bounded by the limits of its runtime. With an
    /// instant that is past, only what is already known is told, and nothing is read.
    pub fn next_event_until(&mut self, instant: Instant) -> Option<Result<WatchEvent, Result<(), Error>>> {
        self.advance(Some(instant))
    }

    fn advance(&mut self, instant: Option<Instant>) -> Option<Result<WatchEvent, Result<(), Error>>> {
        loop {
            match self.watch.poll(Instant::now()) {
                WatchOutput::Send(attempt) => {
                    let input = WatchInput::report(attempt.id, self.transport.exchange(attempt));
                    self.hear(input);
                }
                WatchOutput::Connect(connect) => {
                    let id = connect.id;
                    let opened = self.transport.open(connect);
                    let opened = opened.map(|stream| self.link = Some((id, stream)));
                    self.hear(WatchInput::opened(id, opened));
                }
                WatchOutput::Ping(id) => self.ping(id),
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

    fn ping(&mut self, id: ConnId) {
        let input = match &mut self.link {
            Some((_, Stream::Socket(socket))) => {
                socket.get_mut().set_deadline(Instant::now() + PING_TIMEOUT);
                match socket.send(Message::Ping(Bytes::new())) {
                    Ok(()) => return,
                    Err(_) => WatchInput::Lost(id, Loss::Ended),
                }
            }
            // Where there is no wire, there is nothing to lose.
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
        if input.ends_link() {
            self.link = None;
        }
        // A frame may hold a token that has just replaced the one the stream was opened with.
        self.use_changed_token();
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

impl fmt::Debug for WatchDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WatchDriver").field(&self.watch).finish()
    }
}
