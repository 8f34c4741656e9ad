//! The loop of every command that goes on until the worker ends: `watch`, `transcript --follow`, `attach` and `wait`.

mod outage;

use std::io;
use std::time::{Duration, Instant};

use anstyle::Style;
use rustix::event::{PollFd, PollFlags, Timespec};
use sekisho_core::feed::CAUGHT_UP;
use sekisho_core::gateway_client::{EndAnswer, EndDetector, EndOutput, Envelope, GatewayEvent};
use sekisho_core::id::WorkerRef;
use sekisho_core::runtime_api::{Command, WorkerEnd};
use serde::Deserialize;

use crate::backend::{Backend, read};
use crate::failure::Failure;
use crate::requests::of;
pub(crate) use outage::Outage;

/// How often it is checked whether the output is still read, while nothing happens.
pub(crate) const CHECK_READER_EVERY: Duration = Duration::from_millis(500);

/// What happens on a stream, for the command that shows it.
pub(crate) enum Moment<'a> {
    /// An event of the worker.
    Event(&'a Envelope),
    /// A line about the stream.
    Note(Style, String),
    /// All that happened before has been passed on.
    CaughtUp,
    /// The gateway or the runtime cannot be reached.
    Unreachable,
    /// It can be reached again.
    Reachable,
    /// Events were lost; a snapshot follows.
    Lost,
    /// Nothing has happened for a moment.
    Quiet,
    /// Nothing has happened for a moment, and the transcript has so many items.
    Counted(u64),
}

/// Passes on what happens until the worker has ended; how it ended, if its runtime tells. A stream that ends by itself is
/// a failure, unless the gateway closed it in good order.
pub(crate) fn until_the_end(
    backend: &dyn Backend,
    worker: &WorkerRef,
    cursor: Option<String>,
    mut pass_on: impl FnMut(Moment<'_>) -> Result<(), Failure>,
) -> Result<Option<WorkerEnd>, Failure> {
    let mut stream = backend.open_stream(worker, cursor)?;
    let mut end = EndDetector::new(Instant::now());
    let mut outage = Outage::default();
    loop {
        let now = Instant::now();
        let until = match end.poll(now) {
            EndOutput::Wait(until) => until.min(now + CHECK_READER_EVERY),
            EndOutput::Ask => {
                let (answer, items) = ask(backend, worker)?;
                if let Some(items) = items {
                    pass_on(Moment::Counted(items))?;
                }
                end.handle_answer(Instant::now(), answer);
                continue;
            }
            EndOutput::Ended(end) => return Ok(end),
        };
        match stream.next_until(until) {
            None => pass_on(Moment::Quiet)?,
            Some(Ok(event)) => {
                let before = outage.is_there();
                if let Some((style, note)) = outage.note(Instant::now(), &event) {
                    pass_on(Moment::Note(style, note))?;
                }
                match (before, outage.is_there()) {
                    (false, true) => pass_on(Moment::Unreachable)?,
                    (true, false) => pass_on(Moment::Reachable)?,
                    _ => {}
                }
                match &event {
                    GatewayEvent::Event(envelope) => pass_on(Moment::Event(envelope))?,
                    GatewayEvent::Diagnostic(notice) if notice.code == CAUGHT_UP => {
                        pass_on(Moment::CaughtUp)?
                    }
                    event if outage::is_loss(event) => pass_on(Moment::Lost)?,
                    _ => {}
                }
                end.handle(Instant::now(), &event);
            }
            Some(Err(Ok(()))) => return Ok(None),
            Some(Err(Err(problem))) => return Err(problem.into()),
        }
    }
}

/// What is read of a worker to know whether it has ended.
#[derive(Deserialize)]
struct Reply {
    worker: State,
}

#[derive(Deserialize)]
struct State {
    status: String,
    #[serde(default)]
    transcript_len: u64,
    #[serde(default)]
    end: Option<WorkerEnd>,
}

/// Whether the worker has ended, and how many items its transcript has.
fn ask(backend: &dyn Backend, worker: &WorkerRef) -> Result<(EndAnswer, Option<u64>), Failure> {
    match backend.ask(&of(worker, Command::Worker(worker.worker_id.clone()))) {
        Ok(body) => {
            let Reply { worker: State { status, transcript_len, end } } = read(&body)?;
            let ended = matches!(&*status, "stopped" | "cancelled");
            let answer = if ended { EndAnswer::Ended(end) } else { EndAnswer::Running };
            Ok((answer, Some(transcript_len)))
        }
        // The stream says what is wrong, and goes on when that has changed.
        Err(problem) if problem.retryable => Ok((EndAnswer::Unknown, None)),
        Err(problem) => Err(problem.into()),
    }
}

/// Whether standard output is a pipe whose reader is gone. A write would tell, too, but there may be nothing to write for
/// a long time.
pub(crate) fn reader_is_gone() -> bool {
    let out = io::stdout();
    // That the other end is gone is told whatever is asked for.
    let mut polled = [PollFd::new(&out, PollFlags::empty())];
    let result = rustix::event::poll(&mut polled, Some(&Timespec::default()));
    result.is_ok() && polled[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}
