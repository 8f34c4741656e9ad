//! An interactive terminal for one worker.
//!
//! One thread reads the stream and puts what it shows into the [`OutputQueue`](output_queue::OutputQueue), which is
//! bounded: the stream is read as fast as the terminal takes it. Commands are sent by threads of their own. All else is
//! the [`EventLoop`], which waits for nothing but the next key, the next text to show, or room in the terminal. What keys
//! and lines mean is decided by the [`Session`](session::Session), what is written by the [`Screen`](screen::Screen).

mod event_loop;
mod keys;
mod line;
mod mailbox;
mod open_requests;
mod output_queue;
mod raw;
mod screen;
mod session;
mod stream;

use std::any::Any;
use std::panic;
use std::sync::Arc;

use sekisho_core::id::WorkerRef;
use sekisho_core::runtime_api::WorkerEnd;
use signal_hook::low_level::emulate_default_handler;

use self::event_loop::EventLoop;
pub(crate) use self::raw::run as run_raw;
use crate::backend::Backend;
use crate::failure::{Failure, end_status};
use crate::render::end_in_words;
use crate::show::Show;
use crate::terminal::Terminal;
use crate::text::{FAINT, WARNING};

const HELP: &str = "  Enter            sends the line; Alt-Enter begins another row of it
  1, 2, …          and Enter: answers the oldest question that is shown and open, with the option of that number;
                   with a space before it, or while no question is open, it is sent as any other line
  Ctrl-D, /quit    leave, without stopping the worker
  Ctrl-C           clears the line, and Up brings it back; on an empty line it interrupts what the worker is doing,
                   at once where the worker says that it is at work, else when pressed twice; /interrupt
  Ctrl-X Ctrl-P    a line that is not shown, and that transcript and events do not have
  Ctrl-X Ctrl-D    the end of input, once confirmed; /eof at once
  Ctrl-X Ctrl-S    stops the worker, once confirmed; /stop [REASON] at once
  Ctrl-X Ctrl-C    cancels the worker, once confirmed; /cancel [REASON] at once
  Up, Down         earlier lines, those of the worker's history included; editing keys as in bash
  Ctrl-L, Ctrl-Z   clear the screen, suspend
  //…              sends a line that begins with one of these commands; other lines with / go to the worker as they are
  A paste of several lines becomes one line of several rows, which Enter sends as one.
";

/// Whether there can be an interactive terminal at all.
pub(crate) fn check(show: Show) -> Result<(), Failure> {
    let usage = |reason: &str| Err(Failure::Usage(format!("attach {reason}: use `send` and `watch`")));
    if show.json {
        return usage("is for people, and prints no JSON");
    }
    if !Terminal::is_there() {
        return usage("needs a terminal to read from and to write to");
    }
    Ok(())
}

/// Shows a worker's history and what it says, and sends what is typed, until the user leaves or the worker ends.
pub(crate) fn run(backend: &Arc<dyn Backend>, worker: &WorkerRef, show: Show) -> Result<(), Failure> {
    check(show)?;
    let failed = |error| Failure::Io { what: "cannot use the terminal", error };
    let (ending, left_behind) =
        EventLoop::new(backend, worker, show).and_then(EventLoop::run).map_err(failed)?;
    if left_behind > 0 {
        show.note(WARNING, &format!("{left_behind} of your lines may not have reached {worker}"));
    }
    match ending {
        Ending::Left if backend.embeds(&worker.runtime_id) => {
            show.note(WARNING, &format!("left {worker}, which ends with this command, as its runtime does"));
            Ok(())
        }
        Ending::Left => {
            show.note(FAINT, &format!("left {worker}, which goes on"));
            Ok(())
        }
        Ending::Ended(Ok(end)) => {
            let how = end.as_ref().map(|end| format!(": {}", end_in_words(Some(end)))).unwrap_or_default();
            show.note(FAINT, &format!("{worker} has ended{how}"));
            Failure::of_status(end_status(end.as_ref()))
        }
        Ending::Ended(Err(failure)) => Err(failure),
        Ending::Signal(signal) => {
            // The sender of the signal sees that it was obeyed.
            let _ = emulate_default_handler(signal);
            Ok(())
        }
        Ending::TerminalGone => Ok(()),
        Ending::Panicked(panic) => panic::resume_unwind(panic),
    }
}

/// Why it is over.
enum Ending {
    Left,
    /// The stream has ended: with the worker, or for this reason.
    Ended(Result<Option<WorkerEnd>, Failure>),
    Signal(i32),
    TerminalGone,
    Panicked(Box<dyn Any + Send>),
}
