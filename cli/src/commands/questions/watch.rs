//! `requests --watch`: each question as it opens, and as it no longer waits.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sekisho_core::browser_api::{RequestView, RequestsReply};
use sekisho_core::diagnostic::Diagnostic;
use sekisho_core::gateway_client::Problem;
use serde_json::json;

use super::action;
use crate::args::Watched;
use crate::backend::{Backend, read};
use crate::commands::list::tell;
use crate::failure::Failure;
use crate::resolve;
use crate::show::Show;
use crate::streaming::{CHECK_READER_EVERY, reader_is_gone};
use crate::text::{FAINT, GOOD, STRONG, WARNING, painted, safe_line};

/// How long after an answer the open questions are asked for again.
const POLL_EVERY: Duration = Duration::from_secs(2);

/// How long an answer may take before the outage is told. It is waited for all the same: there are never two polls at
/// once, and an answer that comes late is used.
const POLL_DEADLINE: Duration = Duration::from_secs(15);

/// Prints the open questions, and each as it opens and as it no longer waits, until the output is no longer read.
pub(crate) fn watch(backend: &Arc<dyn Backend>, scope: Option<Watched>, show: Show) -> Result<(), Failure> {
    let scope = match scope {
        Some(Watched::Worker(worker)) => Some(Watched::Worker(resolve::worker(&**backend, &worker)?)),
        Some(Watched::Runtime(id)) => Some(Watched::Runtime(resolve::runtime(&**backend, &id)?)),
        None => None,
    };
    let mut open = OpenSet::default();
    let mut away = None;
    let mut first = true;
    loop {
        let reply = match poll(backend, scope.as_ref(), &mut away, show)? {
            Ok(body) => read::<RequestsReply>(&body)?,
            Err(problem) if problem.retryable => {
                gone_away(&mut away, show, &Failure::from(problem).to_string());
                pause()?;
                continue;
            }
            Err(problem) => return Err(problem.into()),
        };
        if let Some(since) = away.take() {
            show.note(
                GOOD,
                &format!("answered again after {} s", Instant::now().duration_since(since).as_secs()),
            );
        }
        let changes = open.handle(reply);
        for change in &changes {
            print(change, show)?;
        }
        if std::mem::take(&mut first) && changes.is_empty() {
            show.note(FAINT, "no question waits for an answer now");
        }
        pause()?;
    }
}

/// Asks once, in a thread of its own, so that an answer that does not come keeps nothing else from being noticed.
fn poll(
    backend: &Arc<dyn Backend>,
    scope: Option<&Watched>,
    away: &mut Option<Instant>,
    show: Show,
) -> Result<Result<Bytes, Box<Problem>>, Failure> {
    let (sender, answer): (_, Receiver<Result<Bytes, Box<Problem>>>) = mpsc::channel();
    let (asked, action) = (backend.clone(), action(scope));
    // Where the command is over, the answer is of no use.
    thread::spawn(move || drop(sender.send(asked.ask(&action))));
    let overdue = Instant::now() + POLL_DEADLINE;
    loop {
        match answer.recv_timeout(CHECK_READER_EVERY) {
            Ok(answer) => return Ok(answer),
            Err(RecvTimeoutError::Timeout) if Instant::now() >= overdue => {
                gone_away(away, show, &format!("no answer within {} s", POLL_DEADLINE.as_secs()));
            }
            Err(RecvTimeoutError::Timeout) => {}
            // A thread that panicked has said so.
            Err(RecvTimeoutError::Disconnected) => return Ok(Err(Box::new(Problem::unexpected_body()))),
        }
        if reader_is_gone() {
            return Err(Failure::ReaderGone);
        }
    }
}

/// Tells of an outage, once.
fn gone_away(away: &mut Option<Instant>, show: Show, why: &str) {
    if away.is_none() {
        *away = Some(Instant::now());
        show.note(WARNING, &format!("{why}; trying again"));
    }
}

/// Waits until the next poll.
fn pause() -> Result<(), Failure> {
    let until = Instant::now() + POLL_EVERY;
    loop {
        if reader_is_gone() {
            return Err(Failure::ReaderGone);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(CHECK_READER_EVERY));
    }
}

fn print(change: &Change, show: Show) -> Result<(), Failure> {
    let (word, request) = match change {
        Change::Warned(diagnostic) => {
            tell(show, diagnostic.runtime_id.as_ref(), diagnostic);
            return Ok(());
        }
        Change::Opened(request) => ("opened", request),
        Change::Gone(request) => ("gone", request),
    };
    if show.json {
        return show.json_line(&json!({ "event": word, "request": request }));
    }
    let RequestView { runtime_id, worker_id, request_id, title, options, .. } = request;
    let worker = painted(show.color, STRONG, &safe_line(&format!("{runtime_id}/{worker_id}")));
    if word == "gone" {
        let rest = format!("{request_id} no longer waits: {title}");
        return show.line(format!("— {worker} {}", painted(show.color, FAINT, &safe_line(&rest))));
    }
    let options: Vec<&str> = options.iter().map(|option| option.option_id.as_str()).collect();
    let request_id = painted(show.color, WARNING, &safe_line(request_id.as_str()));
    let rest = safe_line(&format!("{title} [{}]", options.join(" ")));
    show.line(format!("? {worker} {request_id} {rest}"))
}

/// What a reply says that the ones before it did not.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Change {
    /// A question is asked.
    Opened(RequestView),
    /// A question was answered or dismissed, or its worker was removed.
    Gone(RequestView),
    /// Something cannot be listed.
    Warned(Diagnostic),
}

/// The questions that are open, as far as is known. It holds no more than the last reply, which is bounded, and the
/// questions of runtimes that did not answer.
#[derive(Default, Debug)]
struct OpenSet {
    open: Vec<RequestView>,
    /// What was warned of, and still is so: the runtime and the code.
    warned: BTreeSet<(String, String)>,
}

impl OpenSet {
    /// Takes a reply. A question of a runtime that could not be asked is not gone.
    fn handle(&mut self, RequestsReply { requests, diagnostics }: RequestsReply) -> Vec<Change> {
        let mut changes = Vec::new();
        let about = |diagnostic: &Diagnostic| {
            let runtime_id = diagnostic.runtime_id.as_ref().map(ToString::to_string);
            (runtime_id.unwrap_or_default(), diagnostic.code.to_string())
        };
        let warned: BTreeSet<_> = diagnostics.iter().map(about).collect();
        for diagnostic in &diagnostics {
            if !self.warned.contains(&about(diagnostic)) {
                changes.push(Change::Warned(diagnostic.clone()));
            }
        }
        self.warned = warned;
        // A runtime of which a question is listed has answered, although something of it may have been left out.
        let answered =
            |request: &RequestView| requests.iter().any(|other| other.runtime_id == request.runtime_id);
        let warned_of = |request: &RequestView| {
            let of_it =
                |about: &Diagnostic| about.runtime_id.as_ref().is_none_or(|id| *id == request.runtime_id);
            diagnostics.iter().any(of_it)
        };
        let before = std::mem::take(&mut self.open);
        let (mut open, mut gone) = (Vec::with_capacity(requests.len()), Vec::new());
        for request in &before {
            match requests.iter().any(|other| is_same(other, request)) {
                true => {}
                false if warned_of(request) && !answered(request) => open.push(request.clone()),
                false => gone.push(Change::Gone(request.clone())),
            }
        }
        changes.extend(gone);
        let is_new = |request: &&RequestView| !before.iter().any(|other| is_same(other, request));
        changes.extend(requests.iter().filter(is_new).cloned().map(Change::Opened));
        open.extend(requests);
        self.open = open;
        changes
    }
}

/// Whether they are the same question, whatever else is told of it now.
fn is_same(one: &RequestView, other: &RequestView) -> bool {
    (&one.runtime_id, &one.worker_id, &one.request_id)
        == (&other.runtime_id, &other.worker_id, &other.request_id)
}

#[cfg(test)]
mod tests;
