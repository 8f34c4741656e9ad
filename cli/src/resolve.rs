//! The beginning of an id in place of the whole, where there is only one such id.

use sekisho_core::browser_api::{Action, Items, RuntimeView};
use sekisho_core::error::ErrorKind;
use sekisho_core::id::{RuntimeId, WorkerRef};
use sekisho_core::runtime_api::{Command, WorkerFilter};

use crate::backend::{Backend, read};
use crate::failure::Failure;
use crate::worker_list;

/// How many candidates are named where there are several.
const MAX_NAMED: usize = 8;

/// Does something with a worker. Where there is no such worker, and the ids are the beginning of those of one worker,
/// does it with that one: nothing was done to the first.
pub(crate) fn with_worker<T>(
    backend: &dyn Backend,
    worker: &WorkerRef,
    mut act: impl FnMut(&WorkerRef) -> Result<T, Failure>,
) -> Result<T, Failure> {
    match act(worker) {
        Err(failure) if is_missing(&failure) => match found(backend, worker)? {
            Some(found) => act(&found),
            None => Err(failure),
        },
        done => done,
    }
}

/// The same with a runtime.
pub(crate) fn with_runtime<T>(
    backend: &dyn Backend,
    runtime_id: &RuntimeId,
    mut act: impl FnMut(&RuntimeId) -> Result<T, Failure>,
) -> Result<T, Failure> {
    match act(runtime_id) {
        Err(failure) if is_missing(&failure) => match found_runtime(backend, runtime_id)? {
            Some(found) => act(&found),
            None => Err(failure),
        },
        done => done,
    }
}

/// The runtime itself, or the one whose id it begins.
pub(crate) fn runtime(backend: &dyn Backend, runtime_id: &RuntimeId) -> Result<RuntimeId, Failure> {
    with_runtime(backend, runtime_id, |runtime_id| {
        backend.ask(&Action::Runtime(runtime_id.clone()))?;
        Ok(runtime_id.clone())
    })
}

/// The worker itself, or the one whose id it begins.
pub(crate) fn worker(backend: &dyn Backend, worker: &WorkerRef) -> Result<WorkerRef, Failure> {
    with_worker(backend, worker, |worker| {
        let command = Command::Worker(worker.worker_id.clone());
        backend.ask(&Action::Command { runtime_id: worker.runtime_id.clone(), command })?;
        Ok(worker.clone())
    })
}

fn is_missing(failure: &Failure) -> bool {
    let missing = [ErrorKind::WorkerNotFound.code(), ErrorKind::UnknownRuntime.code()];
    matches!(failure, Failure::Problem { problem, .. } if missing.contains(&&*problem.code))
}

fn found_runtime(backend: &dyn Backend, runtime_id: &RuntimeId) -> Result<Option<RuntimeId>, Failure> {
    let runtimes = read::<Items<RuntimeView>>(&backend.ask(&Action::Runtimes)?)?.items;
    let ids: Vec<String> = runtimes.into_iter().map(|runtime| runtime.runtime_id.to_string()).collect();
    only(runtime_id.as_str(), &ids).map(|id| id.and_then(|id| id.parse().ok()))
}

fn found(backend: &dyn Backend, worker: &WorkerRef) -> Result<Option<WorkerRef>, Failure> {
    let Some(runtime_id) = found_runtime(backend, &worker.runtime_id)? else { return Ok(None) };
    let workers = worker_list::workers(backend, Some(&runtime_id), &WorkerFilter::default())?;
    let ids: Vec<String> = workers.items.iter().map(|worker| worker.worker_id.to_string()).collect();
    let worker_id = only(worker.worker_id.as_str(), &ids)?;
    // Another one that is not listed might begin like this, too.
    workers.extent.whole("give the whole id")?;
    Ok(worker_id.and_then(|id| Some(WorkerRef { runtime_id, worker_id: id.parse().ok()? })))
}

/// The id itself, or the only one that begins like this.
fn only<'a>(beginning: &str, ids: &'a [String]) -> Result<Option<&'a String>, Failure> {
    if let Some(id) = ids.iter().find(|id| *id == beginning) {
        return Ok(Some(id));
    }
    let found: Vec<&String> = ids.iter().filter(|id| id.starts_with(beginning)).collect();
    match found[..] {
        [] => Ok(None),
        [id] => Ok(Some(id)),
        _ => {
            let mut named: Vec<&str> = found.iter().take(MAX_NAMED).map(|id| id.as_str()).collect();
            if found.len() > MAX_NAMED {
                named.push("…");
            }
            Err(Failure::Usage(format!("{beginning} is the beginning of several ids: {}", named.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_id_that_begins_like_this() {
        let ids = ["shell-k3m9x2q7", "shell-k4", "build", "build-2"].map(str::to_owned);
        let only =
            |beginning: &str| only(beginning, &ids).map(|id| id.cloned()).map_err(|error| error.to_string());
        assert_eq!(only("shell-k3"), Ok(Some("shell-k3m9x2q7".into())));
        assert_eq!(only("build"), Ok(Some("build".into())), "an id itself comes first");
        assert_eq!(only("x"), Ok(None));
        let several = only("shell").unwrap_err();
        assert_eq!(several, "shell is the beginning of several ids: shell-k3m9x2q7, shell-k4");
    }
}
