//! What each command does.

mod create;
mod list;
mod send;
mod transcript;
mod watch;

use std::sync::Arc;

use sekisho_core::browser_api::Action;
use sekisho_core::id::WorkerRef;
use sekisho_core::runtime_api::{Input, InputKind};

use crate::args::{Command, Named};
use crate::attach;
use crate::backend::Backend;
use crate::failure::Failure;
use crate::requests::{acknowledgement, cancel, input, stop};
use crate::resolve::{self, with_runtime, with_worker};
use crate::show::Show;
use crate::text::safe_line;
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
        Command::Workers { runtime_id: None } => list::workers(backend, None, show),
        Command::Workers { runtime_id: Some(runtime_id) } => {
            with_runtime(backend, &runtime_id, |runtime_id| list::workers(backend, Some(runtime_id), show))
        }
        Command::Worker { named: Named { worker } } => {
            with_worker(backend, &worker, |worker| list::worker(backend, worker, show))
        }
        Command::Create(create) => create::create(shared, create, show),
        Command::Send { named: Named { worker }, text, system, idempotency_key } => {
            let content = send::content(&text)?;
            let kind = if system { InputKind::System } else { InputKind::User };
            with_worker(backend, &worker, |worker| {
                let said = Input::new(kind, content.clone());
                let action = input(worker, said, idempotency_key.clone())?;
                acknowledged(backend, worker, &action, show)
            })
        }
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
        Command::Watch { watched, all, cursor, verbose, no_exit_code } => {
            let options = WatchOptions { cursor, verbose, exit_code: !no_exit_code };
            watch::watch(shared, &watched, all, &options, show)
        }
        Command::Wait { workers, no_exit_code } => watch::wait(shared, &workers, !no_exit_code, show),
        Command::Attach { named: Named { worker } } => {
            attach::check(show)?;
            attach::run(shared, &resolve::worker(backend, &worker)?, show)
        }
        // They need no backend, and were dealt with before there was one.
        Command::Doctor { .. } | Command::Completions { .. } | Command::Man { .. } => Ok(()),
    }
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
