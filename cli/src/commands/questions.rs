//! `requests`, `answer` and `resume`: the questions of workers that wait for a person.

use sekisho_core::browser_api::{Action, RequestView, RequestsReply};
use sekisho_core::id::{RequestId, WorkerRef};
use sekisho_core::runtime_api::{Answer, Command};

use super::list::tell;
use crate::backend::{Backend, read};
use crate::failure::Failure;
use crate::requests::{fresh_key, of};
use crate::show::{Show, Table};
use crate::text::{STRONG, WARNING, safe_line};

/// Lists what waits for an answer: of one worker, or of all on all runtimes.
pub(crate) fn list(backend: &dyn Backend, worker: Option<&WorkerRef>, show: Show) -> Result<(), Failure> {
    let action = match worker {
        Some(worker) => of(worker, Command::Requests(worker.worker_id.clone())),
        None => Action::AllRequests,
    };
    let body = backend.ask(&action)?;
    if show.json {
        return show.json_text(&body);
    }
    let RequestsReply { requests, diagnostics, .. } = read(&body)?;
    let mut table = Table::new(&["WORKER", "REQUEST", "QUESTION", "OPTIONS"], 2);
    for RequestView { runtime_id, worker_id, request_id, title, options, .. } in &requests {
        let options: Vec<&str> = options.iter().map(|option| option.option_id.as_str()).collect();
        table.row([
            (format!("{runtime_id}/{worker_id}"), STRONG),
            (request_id.to_string(), WARNING),
            (safe_line(title), anstyle::Style::new()),
            (safe_line(&options.join(" ")), anstyle::Style::new()),
        ]);
    }
    show.table(&table)?;
    for diagnostic in &diagnostics {
        tell(show, diagnostic.runtime_id.as_ref(), diagnostic);
    }
    Ok(())
}

/// An answer to a request, under a random key: with an option, or without one to dismiss it.
pub(crate) fn answer(
    worker: &WorkerRef,
    request_id: RequestId,
    option_id: Option<String>,
) -> Result<Action, Failure> {
    let answer = option_id.map_or(Answer::Dismiss, Answer::Option);
    let key = Some(fresh_key()?);
    Ok(of(worker, Command::Answer { worker_id: worker.worker_id.clone(), request_id, answer, key }))
}

/// Takes up a worker again whose runtime went away.
pub(crate) fn resume(worker: &WorkerRef) -> Action {
    of(worker, Command::Resume(worker.worker_id.clone()))
}
