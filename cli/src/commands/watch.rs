//! `watch` and `wait`: one worker, several, or all of them, until they end.

mod missed;
mod several;

use std::io::{self, IsTerminal};
use std::sync::{Arc, mpsc};
use std::thread;

use anstyle::Style;
use sekisho_core::gateway_client::Envelope;
use sekisho_core::id::WorkerRef;
use sekisho_core::runtime_api::WorkerEnd;
use serde::Serialize;

use crate::args::Watched;
use crate::backend::Backend;
use crate::failure::{Failure, end_status};
use crate::history::{History, is_told_by_snapshots};
use crate::render::{RenderOptions, Renderer, end_in_words, whole};
use crate::resolve;
use crate::show::Show;
use crate::streaming::{Moment, reader_is_gone, until_the_end};
use crate::text::{WARNING, safe_line};
use crate::transcript;
use missed::Seen;
use several::Several;

/// How to watch.
#[derive(Clone, Debug)]
pub(crate) struct WatchOptions {
    /// The cursor to go on after, of one worker.
    pub(crate) cursor: Option<String>,
    /// With what is of no interest most of the time.
    pub(crate) verbose: bool,
    /// Whether the exit status is the worker's.
    pub(crate) exit_code: bool,
}

/// Shows the events of workers until all have ended; those of a runtime, or of all, without an end.
pub(crate) fn watch(
    backend: &Arc<dyn Backend>,
    watched: &[Watched],
    all: bool,
    options: &WatchOptions,
    show: Show,
) -> Result<(), Failure> {
    let watched =
        watched.iter().map(|watched| resolved(&**backend, watched)).collect::<Result<Vec<_>, _>>()?;
    let status = match &watched[..] {
        [Watched::Worker(worker)] if !all => watch_one(&**backend, worker, options, show)?,
        _ if options.cursor.is_some() => return Err(Failure::Usage("--cursor is for one worker".into())),
        _ => Several::new(backend, options, show).watch(&watched, all)?,
    };
    if options.exit_code { Failure::of_status(status) } else { Ok(()) }
}

/// What is named, where only the beginning of its id may have been given.
fn resolved(backend: &dyn Backend, watched: &Watched) -> Result<Watched, Failure> {
    match watched {
        Watched::Worker(worker) => resolve::worker(backend, worker).map(Watched::Worker),
        Watched::Runtime(runtime_id) => resolve::runtime(backend, runtime_id).map(Watched::Runtime),
    }
}

/// Waits until all of these workers have ended.
pub(crate) fn wait(
    backend: &Arc<dyn Backend>,
    workers: &[WorkerRef],
    exit_code: bool,
    show: Show,
) -> Result<(), Failure> {
    let (sender, ends) = mpsc::channel();
    for worker in workers {
        let worker = resolve::worker(&**backend, worker)?;
        let (backend, sender) = (backend.clone(), sender.clone());
        thread::spawn(move || {
            let end = until_the_end(&*backend, &worker, None, |moment| match moment {
                Moment::Quiet if reader_is_gone() => Err(Failure::ReaderGone),
                _ => Ok(()),
            });
            // Where the command is over, no one waits for it.
            let _ = sender.send((worker, end));
        });
    }
    drop(sender);
    let mut status = 0;
    for (worker, end) in ends {
        let end = end?;
        status = status.max(end_status(end.as_ref()));
        if show.json {
            let WorkerRef { runtime_id, worker_id } = &worker;
            show.json_line(&Waited { runtime_id: runtime_id.as_str(), worker_id: worker_id.as_str(), end })?;
        } else {
            show.line(safe_line(&format!("{worker}: {}", end_in_words(end.as_ref()))))?;
        }
    }
    if exit_code { Failure::of_status(status) } else { Ok(()) }
}

#[derive(Serialize)]
struct Waited<'a> {
    runtime_id: &'a str,
    worker_id: &'a str,
    end: Option<WorkerEnd>,
}

fn watch_one(
    backend: &dyn Backend,
    worker: &WorkerRef,
    options: &WatchOptions,
    show: Show,
) -> Result<u8, Failure> {
    let rewritable = io::stdout().is_terminal();
    let render = RenderOptions { color: show.color, verbose: options.verbose, rewritable };
    let mut view = WatchView::new(worker, render, show.json);
    let end = until_the_end(backend, worker, options.cursor.clone(), |moment| {
        view.show(backend, moment, &Whole(show))
    })?;
    view.finish(backend, &Whole(show))?;
    Ok(end_status(end.as_ref()))
}

/// Where what is shown of a worker goes.
trait Output {
    fn json(&self, json: &[u8]) -> Result<(), Failure>;
    fn text(&self, text: &str) -> Result<(), Failure>;
    fn note(&self, style: Style, text: &str);
}

/// All of standard output.
struct Whole(Show);

impl Output for Whole {
    fn json(&self, json: &[u8]) -> Result<(), Failure> {
        self.0.json_text(json)
    }

    fn text(&self, text: &str) -> Result<(), Failure> {
        self.0.rendered(text)
    }

    fn note(&self, style: Style, text: &str) {
        self.0.note(style, text);
    }
}

/// What is known of a worker whose events are shown.
struct WatchView<'a> {
    worker: &'a WorkerRef,
    renderer: Renderer,
    json: bool,
    history: History,
    seen: Seen,
    /// Whether events were lost and the snapshot that follows has not come.
    lost: bool,
    begun: bool,
}

impl<'a> WatchView<'a> {
    fn new(worker: &'a WorkerRef, render: RenderOptions, json: bool) -> Self {
        let renderer = Renderer::new(render);
        let (history, seen) = (History::default(), Seen::default());
        Self { worker, renderer, json, history, seen, lost: false, begun: false }
    }

    fn show(&mut self, backend: &dyn Backend, moment: Moment<'_>, out: &dyn Output) -> Result<(), Failure> {
        let quiet = matches!(moment, Moment::Quiet | Moment::CaughtUp | Moment::Counted(_));
        if quiet && self.history.is_holding() {
            self.release(backend, out)?;
        }
        match moment {
            Moment::Event(envelope) => {
                if self.json {
                    out.json(&envelope.text)?;
                }
                if std::mem::take(&mut self.lost) {
                    return self.catch_up(backend, out);
                }
                let text = self.event(backend, envelope);
                self.seen.shown(&text);
                if self.json { Ok(()) } else { out.text(&self.history.pass(text)) }
            }
            Moment::Note(style, text) => {
                out.note(style, &text);
                Ok(())
            }
            Moment::Lost => {
                self.lost = true;
                Ok(())
            }
            Moment::Counted(items) => {
                self.seen.counted(items);
                Ok(())
            }
            Moment::Quiet if reader_is_gone() => Err(Failure::ReaderGone),
            Moment::Quiet | Moment::CaughtUp | Moment::Unreachable | Moment::Reachable => Ok(()),
        }
    }

    fn event(&mut self, backend: &dyn Backend, envelope: &Envelope) -> String {
        let first = !std::mem::replace(&mut self.begun, true);
        if first && envelope.is_snapshot() && !self.json {
            let payload = sekisho_core::frame::payload_value(&envelope.payload);
            let tells_history = || is_told_by_snapshots(backend, &self.worker.runtime_id);
            let entries = self.history.snapshot(&payload, tells_history);
            return self.renderer.entries(&entries) + &self.renderer.open_requests(&payload);
        }
        self.renderer.event(&envelope.payload)
    }

    /// Shows the history that the snapshot did not have, and what has happened since.
    fn release(&mut self, backend: &dyn Backend, out: &dyn Output) -> Result<(), Failure> {
        // A transcript that cannot be read is no reason not to show what happens now.
        let items = transcript::newest(backend, self.worker).map(|(items, _)| items).unwrap_or_default();
        let (items, held) = self.history.release(items);
        let history = Renderer::new(self.renderer.options()).entries(&items);
        out.text(&(history + &held))
    }

    /// Shows what is still to be shown when nothing more comes.
    fn finish(&mut self, backend: &dyn Backend, out: &dyn Output) -> Result<(), Failure> {
        if self.history.is_holding() {
            self.release(backend, out)?;
        }
        out.text(&self.renderer.finish())
    }

    /// Shows what was said while events were lost, as far as the transcript has it, in place of the snapshot.
    fn catch_up(&mut self, backend: &dyn Backend, out: &dyn Output) -> Result<(), Failure> {
        let Some(start) = self.seen.items() else { return Ok(()) };
        let (items, total) = match transcript::since(backend, self.worker, start) {
            Ok(found) => found,
            // What was lost cannot be shown; the stream goes on.
            Err(Failure::Problem { problem, .. }) => {
                out.note(WARNING, &format!("the transcript cannot be read: {}", problem.title));
                return Ok(());
            }
            Err(failure) => return Err(failure),
        };
        let missed = self.seen.not_seen(items);
        self.seen.counted(total);
        out.note(WARNING, &format!("items of the transcript that had not been shown: {}", missed.len()));
        if self.json {
            return Ok(());
        }
        out.text(&self.renderer.entries(&whole(missed)))
    }
}
