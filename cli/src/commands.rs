//! What each command does.

mod create;
mod grep;
mod list;
mod live;
mod questions;
mod remove;
mod send;
mod transcript;
mod watch;

use std::sync::Arc;

use sekisho_core::browser_api::Action;
use sekisho_core::id::WorkerRef;
use sekisho_core::runtime_api::{Contains, WorkerFilter};

use crate::args::{Command, Filter, Named, Pair, Status};
use crate::attach;
use crate::backend::Backend;
use crate::failure::Failure;
use crate::requests::{self, acknowledgement, cancel, stop};
use crate::resolve::{self, with_runtime, with_worker};
use crate::show::Show;
use crate::text::safe_line;
use grep::GrepOptions;
use remove::Pruned;
use transcript::TranscriptOptions;
use watch::WatchOptions;

/// Does what a command says.
pub(crate) fn run(backend: &Arc<dyn Backend>, command: Command, show: Show) -> Result<(), Failure> {
    // Its other owners are the threads of `attach` and `watch`.
    let (shared, backend) = (backend, &**backend);
    match command {
        Command::Runtimes => list::runtimes(backend, show),
        Command::Runtime { runtime_id } => {
            with_runtime(backend, &runtime_id, |runtime_id| list::runtime(backend, runtime_id, show))
        }
        Command::Workers { runtime_id, filter, status, sort, watch } => {
            let filter = worker_filter(filter, status);
            match runtime_id {
                runtime_id if watch => {
                    let runtime_id = runtime_id.map(|id| resolve::runtime(backend, &id)).transpose()?;
                    live::workers(shared, runtime_id.as_ref(), &filter, sort, show)
                }
                None => list::workers(backend, None, &filter, sort, show),
                Some(runtime_id) => with_runtime(backend, &runtime_id, |runtime_id| {
                    list::workers(backend, Some(runtime_id), &filter, sort, show)
                }),
            }
        }
        Command::Top { runtime_id } => {
            let runtime_id = runtime_id.map(|id| resolve::runtime(backend, &id)).transpose()?;
            live::top(shared, runtime_id.as_ref(), show)
        }
        Command::Profiles { runtime_id } => {
            with_runtime(backend, &runtime_id, |runtime_id| list::profiles(backend, runtime_id, show))
        }
        Command::Requests { scope, watch: false } => questions::list(backend, scope, show),
        Command::Requests { scope, watch: true } => questions::watch(shared, scope, show),
        Command::Grep { text, scope, ignore_case, since, until, max_count } => {
            let options = GrepOptions { contains: Contains { text, ignore_case }, since, until, max_count };
            grep::grep(backend, &options, scope, show)
        }
        Command::Remove { workers } => remove::remove(backend, &workers, show),
        Command::Prune { runtime_id, older_than, status, filter, yes, dry_run } => {
            let status = status.map(|Status(status)| status);
            let older_than = older_than.map(Into::into);
            let pruned = Pruned { older_than, status, filter: worker_filter(filter, None), yes, dry_run };
            let runtime_id = runtime_id.map(|id| resolve::runtime(backend, &id)).transpose()?;
            remove::prune(backend, runtime_id.as_ref(), &pruned, show)
        }
        Command::Worker { named: Named { worker } } => {
            with_worker(backend, &worker, |worker| list::worker(backend, worker, show))
        }
        Command::Create(create) => create::create(shared, create, show),
        Command::Watch { watched, all, cursor, verbose, no_exit_code } => {
            let options = WatchOptions { cursor, verbose, exit_code: !no_exit_code };
            watch::watch(shared, &watched, all, &options, show)
        }
        Command::Wait { workers, no_exit_code } => watch::wait(shared, &workers, !no_exit_code, show),
        command => with_one_worker(shared, command, show),
    }
}

/// Does what a command says that is about one worker.
fn with_one_worker(shared: &Arc<dyn Backend>, command: Command, show: Show) -> Result<(), Failure> {
    let backend = &**shared;
    match command {
        Command::Send { named: Named { worker }, text, system, secret, eof, idempotency_key } => {
            let input = send::input_of(&worker, &text, system, secret, eof)?;
            with_worker(backend, &worker, |worker| {
                let action = requests::input(worker, input.clone(), idempotency_key.clone())?;
                acknowledged(backend, worker, &action, show)
            })
        }
        Command::Interrupt { named: Named { worker } } => with_worker(backend, &worker, |worker| {
            acknowledged(backend, worker, &requests::interrupt(worker)?, show)
        }),
        Command::Answer { named: Named { worker }, request_id, option_id, .. } => {
            with_worker(backend, &worker, |worker| {
                let action = requests::answer(worker, request_id.clone(), option_id.clone())?;
                acknowledged(backend, worker, &action, show)
            })
        }
        Command::Resume { named: Named { worker } } => with_worker(backend, &worker, |worker| {
            acknowledged(backend, worker, &requests::resume(worker), show)
        }),
        Command::Stop { named: Named { worker }, reason } => with_worker(backend, &worker, |worker| {
            acknowledged(backend, worker, &stop(worker, reason.clone()), show)
        }),
        Command::Cancel { named: Named { worker }, reason } => with_worker(backend, &worker, |worker| {
            acknowledged(backend, worker, &cancel(worker, reason.clone()), show)
        }),
        Command::Transcript { named: Named { worker }, from, tail, since, times, raw, follow } => {
            let from = from.map(|from| from.get());
            let options = TranscriptOptions { from, tail, since, times, raw };
            let worker = resolve::worker(backend, &worker)?;
            match follow {
                true => transcript::follow(backend, &worker, &options, show).map(drop),
                false => transcript::print(backend, &worker, &options, show),
            }
        }
        Command::Attach { named: Named { worker }, raw } => {
            attach::check(show)?;
            let worker = resolve::worker(backend, &worker)?;
            if raw { attach::run_raw(shared, &worker, show) } else { attach::run(shared, &worker, show) }
        }
        // The others were done before.
        _ => Ok(()),
    }
}

fn worker_filter(Filter { name, labels }: Filter, status: Option<Status>) -> WorkerFilter {
    let labels = labels.into_iter().map(|Pair(key, value)| (key, value)).collect();
    WorkerFilter { status: status.map(|Status(status)| status), name, labels, ..WorkerFilter::default() }
}

fn acknowledged(
    backend: &dyn Backend,
    worker: &WorkerRef,
    action: &Action,
    show: Show,
) -> Result<(), Failure> {
    let body = backend.ask(action)?;
    if show.json {
        return show.json_text(&body);
    }
    show.line(safe_line(&acknowledgement(worker, &body)?))
}
