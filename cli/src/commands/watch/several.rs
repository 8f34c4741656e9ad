//! Several workers at once, each line with the name of its worker.

use std::collections::BTreeSet;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anstyle::Style;
use sekisho_core::id::{RuntimeId, WorkerRef};
use sekisho_core::runtime_api::{WorkerFilter, WorkerStatus};

use super::{Output, WatchOptions, WatchView};
use crate::args::Watched;
use crate::backend::Backend;
use crate::failure::{Failure, end_status};
use crate::render::{RenderOptions, end_in_words};
use crate::show::Show;
use crate::streaming::{reader_is_gone, until_the_end};
use crate::text::{FAINT, STRONG, WARNING, painted, safe_line};
use crate::worker_list;

/// How many workers are watched at once.
const MAX_WATCHED: usize = 256;

/// How often the list of workers is read for new ones.
const LIST_EVERY: Duration = Duration::from_secs(3);

/// How one of them ended: its exit status, or why it could not be watched on.
type Ended = (WorkerRef, Result<u8, Failure>);

/// Several workers that are watched.
pub(super) struct Several<'a> {
    backend: &'a Arc<dyn Backend>,
    options: &'a WatchOptions,
    show: Show,
    /// Held while something is printed, so that lines are not mixed.
    printing: Arc<Mutex<()>>,
    sender: Sender<Ended>,
    ended: Receiver<Ended>,
    known: BTreeSet<WorkerRef>,
    running: usize,
    /// The highest exit status.
    status: u8,
    warned: bool,
}

impl<'a> Several<'a> {
    pub(super) fn new(backend: &'a Arc<dyn Backend>, options: &'a WatchOptions, show: Show) -> Self {
        let (sender, ended) = mpsc::channel();
        Self {
            backend,
            options,
            show,
            printing: Arc::default(),
            sender,
            ended,
            known: BTreeSet::new(),
            running: 0,
            status: 0,
            warned: false,
        }
    }

    /// The highest exit status, once all have ended. Where a runtime or all of them are watched, there may always be
    /// another worker.
    pub(super) fn watch(mut self, watched: &[Watched], all: bool) -> Result<u8, Failure> {
        let mut runtimes = Vec::new();
        for watched in watched {
            match watched {
                Watched::Worker(worker) => self.start(worker.clone()),
                Watched::Runtime(runtime_id) => runtimes.push(runtime_id.clone()),
            }
        }
        let without_end = all || !runtimes.is_empty();
        if all {
            runtimes.clear();
        }
        loop {
            if without_end {
                running(&**self.backend, &runtimes)?.into_iter().for_each(|worker| self.start(worker));
            } else if self.running == 0 {
                return Ok(self.status);
            }
            let first = self.ended.recv_timeout(LIST_EVERY);
            let ended: Vec<Ended> = first.into_iter().chain(self.ended.try_iter()).collect();
            for (worker, end) in ended {
                self.ended(&worker, end, without_end)?;
            }
            if reader_is_gone() {
                return Err(Failure::ReaderGone);
            }
        }
    }

    fn ended(
        &mut self,
        worker: &WorkerRef,
        end: Result<u8, Failure>,
        without_end: bool,
    ) -> Result<(), Failure> {
        self.running -= 1;
        match end {
            Ok(status) => self.status = self.status.max(status),
            Err(Failure::ReaderGone) => return Err(Failure::ReaderGone),
            // The others are still there to be watched.
            Err(failure) if without_end || self.known.len() > 1 => {
                self.show.note(WARNING, &format!("{worker}: {failure}"));
                self.status = self.status.max(failure.status());
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    fn start(&mut self, worker: WorkerRef) {
        if self.known.contains(&worker) {
            return;
        }
        if self.running >= MAX_WATCHED {
            if !std::mem::replace(&mut self.warned, true) {
                self.show.note(WARNING, &format!("only {MAX_WATCHED} workers are watched at once"));
            }
            return;
        }
        self.known.insert(worker.clone());
        self.running += 1;
        let (backend, sender, show) = (self.backend.clone(), self.sender.clone(), self.show);
        let render = RenderOptions { color: show.color, verbose: self.options.verbose, rewritable: false };
        let name = painted(show.color, STRONG, &safe_line(&worker.to_string()));
        let prefix = format!("{name}{}", painted(show.color, FAINT, " | "));
        let out = Prefixed { prefix, worker: worker.to_string(), show, printing: self.printing.clone() };
        thread::spawn(move || {
            let mut view = WatchView::new(&worker, render, show.json);
            let end = until_the_end(&*backend, &worker, None, |moment| view.show(&*backend, moment, &out));
            let end = view.finish(&*backend, &out).and(end);
            if let (false, Ok(end)) = (show.json, &end) {
                out.note(FAINT, &end_in_words(end.as_ref()));
            }
            // Where the command is over, no one waits for it.
            let _ = sender.send((worker, end.map(|end| end_status(end.as_ref()))));
        });
    }
}

/// The output of one of several workers.
struct Prefixed {
    prefix: String,
    worker: String,
    show: Show,
    printing: Arc<Mutex<()>>,
}

impl Prefixed {
    fn printing(&self) -> MutexGuard<'_, ()> {
        self.printing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output for Prefixed {
    fn json(&self, json: &[u8]) -> Result<(), Failure> {
        let _printing = self.printing();
        self.show.json_text(json)
    }

    fn text(&self, text: &str) -> Result<(), Failure> {
        let lines: String = text.lines().map(|line| format!("{}{line}\n", self.prefix)).collect();
        let _printing = self.printing();
        self.show.text(&lines)
    }

    fn note(&self, style: Style, text: &str) {
        let _printing = self.printing();
        self.show.note(style, &format!("{}: {text}", self.worker));
    }
}

/// The workers that run, of these runtimes or of all.
fn running(backend: &dyn Backend, runtimes: &[RuntimeId]) -> Result<Vec<WorkerRef>, Failure> {
    let filter = WorkerFilter { status: Some(WorkerStatus::Running), ..WorkerFilter::default() };
    let workers = match worker_list::workers(backend, None, &filter) {
        Ok(workers) => {
            workers.extent.whole("name those to watch")?;
            workers.items
        }
        // The streams tell of the outage.
        Err(Failure::Problem { problem, .. }) if problem.retryable => return Ok(Vec::new()),
        Err(failure) => return Err(failure),
    };
    let workers = workers
        .into_iter()
        .filter(|worker| worker.status == WorkerStatus::Running)
        .map(|worker| WorkerRef { runtime_id: worker.runtime_id, worker_id: worker.worker_id });
    Ok(workers.filter(|worker| runtimes.is_empty() || runtimes.contains(&worker.runtime_id)).collect())
}
