//! The worker's own terminal, given through: keys as they are, output as it is, and the size.
//!
//! One thread reads the stream and writes what the worker's terminal shows; one sends what is typed, in the order in which
//! it was typed; one hears of signals. The keys that leave are Ctrl-P Ctrl-Q, as in `docker attach`.

use std::io::{self, Write};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use sekisho_core::id::WorkerRef;
use sekisho_core::runtime_api::{Command, Input, InputKind, TerminalSize, WorkerEnd};
use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

use super::check;
use crate::backend::Backend;
use crate::failure::{Failure, end_status};
use crate::render::end_in_words;
use crate::requests::{input, of};
use crate::show::Show;
use crate::streaming::{Moment, until_the_end};
use crate::text::{FAINT, WARNING};

/// The keys that leave: Ctrl-P and then Ctrl-Q.
const LEAVE: [u8; 2] = [0x10, 0x11];

/// How long keys are gathered before they are sent.
const GATHER: Duration = Duration::from_millis(5);

/// The most that is sent at once, in bytes.
const MAX_INPUT: usize = 64 << 10;

/// The terminal of this process without any treatment of keys and output, until this is dropped.
struct RawTerminal(Termios);

impl RawTerminal {
    fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // Whatever the worker has switched on: colours, another screen, a hidden cursor, mouse and paste reports.
        let _ = io::stdout().write_all(b"\x1b[0m\x1b[?1049l\x1b[?25h\x1b[?1000l\x1b[?2004l\r\n");
        let _ = io::stdout().flush();
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// What happens.
enum Event {
    Typed(Vec<u8>),
    /// The keys that leave, or the terminal is gone.
    Left,
    Resized,
    Signal(i32),
    Ended(Result<Option<WorkerEnd>, Failure>),
    Failed(Failure),
}

/// Gives the terminal of a worker through until the user leaves or the worker ends. Exits with the worker's status.
pub(crate) fn run(backend: &Arc<dyn Backend>, worker: &WorkerRef, show: Show) -> Result<(), Failure> {
    check(show)?;
    let failed = |error| Failure::Io { what: "cannot use the terminal", error };
    resize(&**backend, worker)?;
    let (sender, events) = mpsc::channel();
    let mut signals = Signals::new([SIGWINCH, SIGTERM, SIGHUP]).map_err(failed)?;
    let terminal = RawTerminal::enter().map_err(failed)?;
    spawn(&sender, move |sender| {
        for signal in signals.forever() {
            let event = if signal == SIGWINCH { Event::Resized } else { Event::Signal(signal) };
            if sender.send(event).is_err() {
                break;
            }
        }
    });
    spawn(&sender, type_keys);
    let (shown_backend, shown_worker) = (backend.clone(), worker.clone());
    spawn(&sender, move |sender| {
        let _ = sender.send(Event::Ended(show_output(&*shown_backend, &shown_worker)));
    });
    let typed = send_typed(backend, worker, &sender);
    let ending = wait(&events, &typed, &**backend, worker);
    drop(terminal);
    match ending {
        Event::Ended(Ok(end)) => {
            show.note(FAINT, &format!("{worker} has ended: {}", end_in_words(end.as_ref())));
            Failure::of_status(end_status(end.as_ref()))
        }
        Event::Ended(Err(failure)) | Event::Failed(failure) => Err(failure),
        Event::Signal(signal) => {
            let _ = signal_hook::low_level::emulate_default_handler(signal);
            Ok(())
        }
        _ => {
            let embedded = backend.embeds(&worker.runtime_id);
            let fate = if embedded { "which ends with this command" } else { "which goes on" };
            show.note(if embedded { WARNING } else { FAINT }, &format!("left {worker}, {fate}"));
            Ok(())
        }
    }
}

fn spawn(sender: &Sender<Event>, work: impl FnOnce(Sender<Event>) + Send + 'static) {
    let sender = sender.clone();
    thread::spawn(move || work(sender));
}

/// Passes on what happens until something ends it.
fn wait(
    events: &Receiver<Event>,
    typed: &Sender<Vec<u8>>,
    backend: &dyn Backend,
    worker: &WorkerRef,
) -> Event {
    loop {
        match events.recv() {
            Ok(Event::Typed(bytes)) => drop(typed.send(bytes)),
            // The worker can be without its size for a moment: the next change tells it again.
            Ok(Event::Resized) => drop(resize(backend, worker)),
            Ok(ending) => return ending,
            Err(_) => return Event::Left,
        }
    }
}

/// Reads keys until those that leave.
fn type_keys(sender: Sender<Event>) {
    let mut keys = LeaveKeys::default();
    let mut buffer = [0; 4096];
    loop {
        let length = match rustix::io::read(io::stdin(), &mut buffer) {
            Ok(0) => 0,
            Ok(length) => length,
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => 0,
        };
        let (typed, left) = keys.feed(&buffer[..length]);
        let left = left || length == 0;
        if (!typed.is_empty() && sender.send(Event::Typed(typed)).is_err()) || left {
            let _ = sender.send(Event::Left);
            return;
        }
    }
}

/// Finds the keys that leave among others.
#[derive(Default, Debug)]
struct LeaveKeys {
    /// Whether the first of them was the last key. It is held back until the next one.
    begun: bool,
}

impl LeaveKeys {
    /// What is to be sent, and whether the user leaves.
    fn feed(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut typed = Vec::with_capacity(bytes.len() + 1);
        for byte in bytes {
            match (std::mem::take(&mut self.begun), *byte) {
                (true, byte) if byte == LEAVE[1] => return (typed, true),
                (begun, byte) => {
                    if begun {
                        typed.push(LEAVE[0]);
                    }
                    if byte == LEAVE[0] {
                        self.begun = true;
                    } else {
                        typed.push(byte);
                    }
                }
            }
        }
        (typed, false)
    }
}

/// Sends what is typed, in its order, in a thread of its own.
fn send_typed(backend: &Arc<dyn Backend>, worker: &WorkerRef, sender: &Sender<Event>) -> Sender<Vec<u8>> {
    let (typed, waiting) = mpsc::channel::<Vec<u8>>();
    let (backend, worker) = (backend.clone(), worker.clone());
    spawn(sender, move |sender| {
        let mut rest = Vec::new();
        while let Ok(bytes) = waiting.recv() {
            rest.extend(bytes);
            // A paste comes in many pieces, and a key by itself at once.
            while rest.len() < MAX_INPUT {
                match waiting.recv_timeout(GATHER) {
                    Ok(more) => rest.extend(more),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
                }
            }
            let content = whole_characters(&mut rest);
            if content.is_empty() {
                continue;
            }
            let said = Input { raw: true, ..Input::new(InputKind::User, content) };
            let sent = input(&worker, said, None).and_then(|action| Ok(backend.ask(&action)?));
            if let Err(failure) = sent {
                let _ = sender.send(Event::Failed(failure));
                return;
            }
        }
    });
    typed
}

/// Takes the characters that are whole: a key may come in two pieces.
fn whole_characters(bytes: &mut Vec<u8>) -> String {
    let whole = match std::str::from_utf8(bytes) {
        Ok(_) => bytes.len(),
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => bytes.len(),
    };
    let taken: Vec<u8> = bytes.drain(..whole).collect();
    String::from_utf8_lossy(&taken).into_owned()
}

/// Writes what the worker's terminal shows until the worker ends.
fn show_output(backend: &dyn Backend, worker: &WorkerRef) -> Result<Option<WorkerEnd>, Failure> {
    until_the_end(backend, worker, None, |moment| match moment {
        Moment::Event(envelope) => write(&output(&envelope.payload)),
        Moment::Note(_, text) => write(&format!("\r\nsekisho: {}\r\n", crate::text::safe(&text))),
        _ => Ok(()),
    })
}

fn write(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::output)
}

/// What a terminal is to be shown of an event.
fn output(payload: &Bytes) -> String {
    let payload: Value = serde_json::from_slice(payload).unwrap_or_default();
    match payload["event"].as_str() {
        Some("text_delta") => payload["data"]["text"].as_str().unwrap_or_default().to_owned(),
        _ => String::new(),
    }
}

/// Gives the worker's terminal the size of this one.
fn resize(backend: &dyn Backend, worker: &WorkerRef) -> Result<(), Failure> {
    let Ok(size) = tcgetwinsize(io::stdout()) else { return Ok(()) };
    let (Some(cols), Some(rows)) = (NonZeroU16::new(size.ws_col), NonZeroU16::new(size.ws_row)) else {
        return Ok(());
    };
    let worker_id = worker.worker_id.clone();
    let command = Command::Resize { worker_id, size: TerminalSize { cols, rows } };
    backend.ask(&of(worker, command))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_keys_leave_and_all_others_are_sent() {
        let fed = |pieces: &[&[u8]]| {
            let mut keys = LeaveKeys::default();
            let mut typed = Vec::new();
            for piece in pieces {
                let (more, left) = keys.feed(piece);
                typed.extend(more);
                if left {
                    return (typed, true);
                }
            }
            (typed, false)
        };
        assert_eq!(fed(&[b"a\x10\x11b"]), (b"a".to_vec(), true));
        assert_eq!(fed(&[b"a\x10", b"\x11"]), (b"a".to_vec(), true));
        assert_eq!(fed(&[b"\x10", b"x\x11"]), (b"\x10x\x11".to_vec(), false));
        assert_eq!(fed(&[b"\x10\x10\x11"]), (b"\x10".to_vec(), true));
        assert_eq!(fed(&[b"\x03\x04\x1b[A"]), (b"\x03\x04\x1b[A".to_vec(), false));
    }

    #[test]
    fn characters_are_sent_whole() {
        let mut bytes = "é関".as_bytes()[..4].to_vec();
        assert_eq!(whole_characters(&mut bytes), "é");
        assert_eq!(bytes.len(), 2);
        let mut odd = vec![b'a', 0xff, b'b'];
        assert_eq!(whole_characters(&mut odd), "a\u{fffd}b");
        assert!(odd.is_empty());
    }
}
