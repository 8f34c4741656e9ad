//! `create`.

use std::sync::Arc;

use sekisho_core::browser_api::{Action, WorkerReply};
use sekisho_core::id::WorkerRef;
use sekisho_core::runtime_api::{Command, CreateWorker, Intent, Profile};

use crate::args::{Create, Pair, Variable};
use crate::attach;
use crate::backend::{Backend, read};
use crate::failure::Failure;
use crate::requests::fresh_key;
use crate::resolve::with_runtime;
use crate::show::Show;
use crate::text::{WARNING, safe_line};

/// Starts a worker, and prints its name.
pub(crate) fn create(backend: &Arc<dyn Backend>, create: Create, show: Show) -> Result<(), Failure> {
    let Create { runtime_id, profile, name, labels, cwd, env, task, role, purpose, attach, idempotency_key } =
        create;
    if attach {
        attach::check(show)?;
    }
    let intent = match (task, role) {
        (Some(objective), _) => Intent::Task { objective },
        (None, Some(role)) => Intent::Role { role, purpose },
        (None, None) => Intent::Assistant { purpose },
    };
    let profile = match profile {
        None => Profile::RuntimeDefault,
        Some(name) if name.starts_with("builtin:") => Profile::Builtin(name),
        Some(name) => Profile::Named(name),
    };
    let mut worker = CreateWorker::new(intent, profile);
    (worker.name, worker.cwd) = (name, cwd);
    worker.labels = labels.into_iter().map(|Pair(key, value)| (key, value)).collect();
    worker.env = env.into_iter().map(|Variable(name, value)| (name, value)).collect();
    let key = Some(idempotency_key.map_or_else(fresh_key, Ok)?);
    let command = Command::Create { worker: Box::new(worker), key };
    // Nothing was made on a runtime that there is not, of which this may be the beginning.
    let body = with_runtime(&**backend, &runtime_id, |runtime_id| {
        let action = Action::Command { runtime_id: runtime_id.clone(), command: command.clone() };
        Ok(backend.ask(&action)?)
    })?;
    let WorkerReply { worker, .. } = read(&body)?;
    if show.json {
        show.json_text(&body)?;
    } else {
        show.line(safe_line(&format!("{}/{}", worker.runtime_id, worker.worker_id)))?;
    }
    let worker = WorkerRef { runtime_id: worker.runtime_id, worker_id: worker.worker_id };
    if backend.embeds(&worker.runtime_id) && !attach {
        show.note(WARNING, "the embedded runtime is part of this command: the worker ends with it");
    }
    if attach { attach::run(backend, &worker, show) } else { Ok(()) }
}
