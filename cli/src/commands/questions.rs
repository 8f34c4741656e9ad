//! `requests`: the questions of workers that wait for an answer.

mod watch;

use sekisho_core::browser_api::{Action, RequestView, RequestsReply};
use sekisho_core::runtime_api::Command;

use super::list::tell;
use crate::args::Watched;
use crate::backend::{Backend, read};
use crate::failure::Failure;
use crate::requests::of;
use crate::resolve::{with_runtime, with_worker};
use crate::show::{Show, Table};
use crate::text::{STRONG, WARNING, safe_line};

pub(super) use watch::watch;

/// Lists what waits for an answer: of one worker, of one runtime, or of all on all runtimes.
pub(crate) fn list(backend: &dyn Backend, scope: Option<Watched>, show: Show) -> Result<(), Failure> {
    let ask = |scope: Option<&Watched>| Ok(backend.ask(&action(scope))?);
    let body = match scope {
        None => ask(None)?,
        Some(Watched::Runtime(runtime_id)) => {
            with_runtime(backend, &runtime_id, |id| ask(Some(&Watched::Runtime(id.clone()))))?
        }
        Some(Watched::Worker(worker)) => {
            with_worker(backend, &worker, |worker| ask(Some(&Watched::Worker(worker.clone()))))?
        }
    };
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

/// What reads the open questions.
fn action(scope: Option<&Watched>) -> Action {
    match scope {
        None => Action::AllRequests,
        Some(Watched::Runtime(runtime_id)) => {
            Action::Command { runtime_id: runtime_id.clone(), command: Command::AllRequests }
        }
        Some(Watched::Worker(worker)) => of(worker, Command::Requests(worker.worker_id.clone())),
    }
}
