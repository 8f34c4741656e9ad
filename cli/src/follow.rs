//! The commands that go on until the worker ends.

use std::io;
use std::time::{Duration, Instant};

use anstyle::Style;
use rustix::event::{PollFd, PollFlags, Timespec};
use sekisho_core::feed::{CAUGHT_UP, RESYNCHRONIZED, UPSTREAM_DISCONNECTED, UPSTREAM_RESUMED};
use sekisho_core::gateway_client::{Envelope, GatewayEvent};
use sekisho_core::id::WorkerRef;
use sekisho_core::runtime_api::Command;

use crate::backend::{Backend, read};
use crate::commands;
use crate::failure::Failure;
use crate::render::Renderer;
use crate::show::Show;
use crate::text::{GOOD, WARNING};
use crate::views::WorkerReply;

/// How long a stream must be quiet before it is asked whether the worker has ended. What it still had to say has come
/// by then.
const QUIET: Duration = Duration::from_millis(250);

/// How often it is looked whether anybody still reads the output.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Knows when to ask whether the worker has ended, and asks.
struct Life<'a> {
    backend: &'a dyn Backend,
    worker: &'a WorkerRef,
    /// Whether something has happened since it was last asked that may have been the end.
    in_doubt: bool,
}

impl<'a> Life<'a> {
    fn new(backend: &'a dyn Backend, worker: &'a WorkerRef) -> Self {
        Self { backend, worker, in_doubt: true }
    }

    fn hear(&mut self, followed: &GatewayEvent) {
        self.in_doubt |= match followed {
            GatewayEvent::Event(envelope) => envelope.may_be_the_end(),
            _ => true,
        };
    }

    /// How long to wait for the next event.
    fn patience(&self) -> Duration {
        if self.in_doubt { QUIET } else { LOOK_EVERY }
    }

    /// Whether the worker has ended, asked in a quiet moment.
    fn is_over(&mut self) -> Result<bool, Failure> {
        if !std::mem::take(&mut self.in_doubt) {
            return Ok(false);
        }
        let command = Command::Worker(self.worker.worker_id.clone());
        match self.backend.ask(&commands::of(self.worker, command)) {
            Ok(body) => Ok(read::<WorkerReply>(&body)?.worker.has_ended()),
            // The stream says what is wrong, and goes on when it is mended.
            Err(problem) if problem.retryable => {
                self.in_doubt = true;
                Ok(false)
            }
            Err(problem) => Err(problem.into()),
        }
    }
}

/// Shows each event until the worker ends.
pub(crate) fn watch(
    backend: &dyn Backend,
    worker: &WorkerRef,
    cursor: Option<String>,
    show: Show,
) -> Result<(), Failure> {
    let mut renderer = Renderer::new(show.color);
    until_the_end(backend, worker, cursor, |moment| match moment {
        Moment::Event(envelope) if show.json => show.json_text(&envelope.text),
        Moment::Event(envelope) => show.text(&renderer.event(&envelope.payload)),
        other => beside(other, show),
    })
}

/// Shows a transcript from an offset on, and what is added to it, until the worker ends.
pub(crate) fn transcript(
    backend: &dyn Backend,
    worker: &WorkerRef,
    from: u64,
    show: Show,
) -> Result<(), Failure> {
    let mut next = commands::transcript(backend, worker, from, show)?;
    let mut asked = Instant::now();
    let mut stale = true;
    until_the_end(backend, worker, None, |moment| {
        stale |= matches!(moment, Moment::Event(_));
        // Not for each event: while there are many, one answer has what several told of.
        if stale && (matches!(moment, Moment::Quiet) || asked.elapsed() >= QUIET) {
            next = commands::transcript(backend, worker, next, show)?;
            asked = Instant::now();
            stale = false;
        }
        beside(moment, show)
    })
}

/// Deals with what is none of the worker's events, where there is no more to it than output.
fn beside(moment: Moment<'_>, show: Show) -> Result<(), Failure> {
    match moment {
        Moment::Told(style, text) => show.note(style, &text),
        Moment::Quiet if reader_is_gone() => return Err(Failure::NobodyReads),
        _ => {}
    }
    Ok(())
}

/// What happens on a stream, as far as its shower is concerned.
pub(crate) enum Moment<'a> {
    Event(&'a Envelope),
    /// Something about the stream is to be told.
    Told(Style, String),
    /// What has happened before has been passed on.
    CaughtUp,
    /// Nothing has happened for a moment.
    Quiet,
}

/// Passes on what happens until the worker ends, or it cannot be passed on.
pub(crate) fn until_the_end(
    backend: &dyn Backend,
    worker: &WorkerRef,
    cursor: Option<String>,
    mut pass_on: impl FnMut(Moment<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut stream = backend.follow(worker, cursor)?;
    let mut life = Life::new(backend, worker);
    loop {
        match stream.next_until(Instant::now() + life.patience()) {
            None => {
                pass_on(Moment::Quiet)?;
                if life.is_over()? {
                    return Ok(());
                }
            }
            Some(Ok(followed)) => {
                life.hear(&followed);
                match &followed {
                    GatewayEvent::Event(envelope) => pass_on(Moment::Event(envelope))?,
                    GatewayEvent::Notice(notice) if notice.code == CAUGHT_UP => pass_on(Moment::CaughtUp)?,
                    other => {
                        if let Some((style, text)) = said(other) {
                            pass_on(Moment::Told(style, text))?;
                        }
                    }
                }
            }
            Some(Err(Ok(()))) => return Ok(()),
            Some(Err(Err(problem))) => return Err(problem.into()),
        }
    }
}

/// What to tell of what happens to a stream, and not on it.
fn said(followed: &GatewayEvent) -> Option<(Style, String)> {
    let in_a_moment = |pause: Option<Duration>| match pause {
        Some(pause) => format!("; trying again in {:.1} s", pause.as_secs_f64()),
        None => String::new(),
    };
    Some(match followed {
        GatewayEvent::Away { retry_after, problem } => {
            (WARNING, format!("{}: {}{}", problem.title, problem.detail, in_a_moment(Some(*retry_after))))
        }
        GatewayEvent::Back => (GOOD, "the gateway is back, and nothing was missed".into()),
        GatewayEvent::StartedOver => {
            (WARNING, "the place to go on from is gone: what follows begins anew".into())
        }
        GatewayEvent::Notice(notice) => match &*notice.code {
            CAUGHT_UP => return None,
            UPSTREAM_DISCONNECTED => {
                (WARNING, format!("the runtime is away{}", in_a_moment(notice.retry_after())))
            }
            UPSTREAM_RESUMED => (GOOD, "the runtime is back, and nothing was missed".into()),
            RESYNCHRONIZED => (
                WARNING,
                "the runtime has forgotten the place to go on from: what follows begins anew".into(),
            ),
            _ => (WARNING, format!("{} ({})", notice.message, notice.code)),
        },
        _ => return None,
    })
}

/// Whether standard output is a pipe that nobody reads any more. Writing to it would tell, too, but there may be
/// nothing to write for a long time.
fn reader_is_gone() -> bool {
    let out = io::stdout();
    // What is asked for is nothing: that the other end is gone is told anyway.
    let mut asked = [PollFd::new(&out, PollFlags::empty())];
    let polled = rustix::event::poll(&mut asked, Some(&Timespec::default()));
    polled.is_ok() && asked[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}
