//! `remove` and `prune`: the runtime forgets workers that have ended.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, SystemTime};

use sekisho_core::id::{RuntimeId, WorkerRef};
use sekisho_core::runtime_api::{Command, WorkerFilter, WorkerStatus};
use serde::Serialize;

use super::list::CHOOSE_FEWER;
use crate::age::since;
use crate::backend::Backend;
use crate::failure::Failure;
use crate::requests::of;
use crate::resolve::with_worker;
use crate::show::Show;
use crate::text::{BAD, safe_line};
use crate::worker_list::{self, Workers};

/// Which workers to forget.
#[derive(Clone, Debug)]
pub(crate) struct Pruned {
    pub(crate) older_than: Option<Duration>,
    pub(crate) status: Option<WorkerStatus>,
    pub(crate) filter: WorkerFilter,
    /// Without a question.
    pub(crate) yes: bool,
    pub(crate) dry_run: bool,
}

#[derive(Serialize)]
struct Removed<'a> {
    runtime_id: &'a str,
    worker_id: &'a str,
}

/// Forgets these workers, up to the first that cannot be.
pub(crate) fn remove(backend: &dyn Backend, workers: &[WorkerRef], show: Show) -> Result<(), Failure> {
    for worker in workers {
        with_worker(backend, worker, |worker| remove_one(backend, worker, show))?;
    }
    Ok(())
}

fn remove_one(backend: &dyn Backend, worker: &WorkerRef, show: Show) -> Result<(), Failure> {
    backend.ask(&of(worker, Command::Remove(worker.worker_id.clone())))?;
    print(worker, show)
}

fn print(worker: &WorkerRef, show: Show) -> Result<(), Failure> {
    let WorkerRef { runtime_id, worker_id } = worker;
    match show.json {
        true => show.json_line(&Removed { runtime_id: runtime_id.as_str(), worker_id: worker_id.as_str() }),
        false => show.line(safe_line(&worker.to_string())),
    }
}

/// Forgets the workers that have ended and that the options name, and prints their names.
pub(crate) fn prune(
    backend: &dyn Backend,
    runtime_id: Option<&RuntimeId>,
    pruned: &Pruned,
    show: Show,
) -> Result<(), Failure> {
    let now = SystemTime::now();
    let Workers { items, extent, .. } = worker_list::workers(backend, runtime_id, &pruned.filter)?;
    let ended: Vec<WorkerRef> = items
        .into_iter()
        .filter(|worker| matches!(worker.status, WorkerStatus::Stopped | WorkerStatus::Cancelled))
        .filter(|worker| pruned.status.as_ref().is_none_or(|status| worker.status == *status))
        .filter(|worker| {
            let age = worker.facts.ended_at.as_deref().and_then(|at| since(at, now));
            // Where it is not told when a worker ended, it is not known to be old.
            pruned.older_than.is_none_or(|least| age.is_some_and(|age| age >= least))
        })
        .map(|worker| WorkerRef { runtime_id: worker.runtime_id, worker_id: worker.worker_id })
        .collect();
    if pruned.dry_run || ended.is_empty() {
        ended.iter().try_for_each(|worker| print(worker, show))?;
        return extent.whole(CHOOSE_FEWER);
    }
    if !pruned.yes && !confirmed(ended.len())? {
        return Ok(());
    }
    let mut failed = None;
    for worker in &ended {
        // One that cannot be removed costs no other.
        if let Err(failure) = remove_one(backend, worker, show) {
            if let Failure::ReaderGone = failure {
                return Err(failure);
            }
            show.note(BAD, &format!("{worker}: {failure}"));
            failed = Some(failure.status());
        }
    }
    failed.map_or(Ok(()), Failure::of_status)?;
    extent.whole("do it again for those that are left")
}

fn confirmed(count: usize) -> Result<bool, Failure> {
    let failed = |error| Failure::Io { what: "cannot ask", error };
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(format!(
            "{count} workers would be forgotten: say --yes, or --dry-run to see which"
        )));
    }
    write!(io::stderr(), "Forget {count} workers that have ended, transcripts included? (y/N) ")
        .map_err(failed)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(failed)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
