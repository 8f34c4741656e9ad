//! `create`.

use std::sync::Arc;

use sekisho_core::browser_api::{Action, WorkerReply};
use sekisho_core::id::WorkerRef;
use sekisho_core::runtime_api::{Command, CreateWorker, Intent, Profile};

use crate::args::Create;
use crate::attach;
use crate::backend::{Backend, read};
use crate::failure::Failure;
use crate::requests::fresh_key;
use crate::show::Show;
use crate::text::{WARNING, safe_line};

/// Starts a worker, and prints its name.
pub(crate) fn create(backend: &Arc<dyn Backend>, create: Create, show: Show) -> Result<(), Failure> {
    let Create { runtime_id, profile, task, role, purpose, attach, idempotency_key } = create;
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
    let worker = CreateWorker::new(intent, profile);
    let key = Some(idempotency_key.map_or_else(fresh_key, Ok)?);
    let command = Command::Create { worker: Box::new(worker), key };
    let body = backend.ask(&Action::Command { runtime_id: runtime_id.clone(), command })?;
    let WorkerReply { worker, .. } = read(&body)?;
    if show.json {
        show.json_text(&body)?;
    } else {
        show.line(safe_line(&format!("{}/{}", worker.runtime_id, worker.worker_id)))?;
    }
    let worker = WorkerRef { runtime_id, worker_id: worker.worker_id };
    if backend.embeds(&worker.runtime_id) && !attach {
        show.note(WARNING, "the embedded runtime is part of this command: the worker ends with it");
    }
    if attach { attach::run(backend, &worker, show) } else { Ok(()) }
}
