//! What answers the commands: a server, or this process, which goes to the runtimes itself. Both answer alike.

mod direct;
mod server;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use sekisho_core::browser_api::{Action, AllWorkers, Items, WorkerView};
use sekisho_core::gateway_client::{GatewayEvent, Problem};
use sekisho_core::id::{RuntimeId, WorkerRef};
use sekisho_core::runtime_api::{Command, WorkerFilter};
use sekisho_transport_blocking::Ended;
use serde::de::DeserializeOwned;

pub(crate) use direct::{Direct, read_configuration};
pub(crate) use server::ThroughServer;

use crate::args::Global;
use crate::failure::Failure;

/// What answers the browser API.
pub(crate) trait Backend: Send + Sync {
    /// The body of the reply to an action (`docs/http-api.md`).
    fn ask(&self, action: &Action) -> Result<Bytes, Box<Problem>>;

    /// Whether a runtime is part of this process, so that its workers end with it.
    fn embeds(&self, runtime_id: &RuntimeId) -> bool;

    /// A worker's stream: after a cursor, or from a snapshot of the present on.
    fn open_stream(
        &self,
        worker: &WorkerRef,
        cursor: Option<String>,
    ) -> Result<Box<dyn Stream>, Box<Problem>>;

    /// What the user may do about a problem.
    fn hint(&self, problem: &Problem) -> Option<String>;
}

/// A worker's stream.
pub(crate) trait Stream: Send {
    /// What happens next, or how the stream has ended; `None` when the instant has come before.
    fn next_until(&mut self, instant: Instant) -> Option<Result<GatewayEvent, Ended>>;
}

/// The one that the command line chose.
pub(crate) fn open(global: &Global) -> Result<Arc<dyn Backend>, Failure> {
    Ok(match &global.config {
        Some(path) => Arc::new(Direct::new(read_configuration(path)?)?),
        None => Arc::new(ThroughServer::new(global)?),
    })
}

/// A reply, read.
pub(crate) fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Box<Problem>> {
    serde_json::from_slice(body).map_err(|_| Problem::unexpected_body().into())
}

/// Workers of one runtime or of all, over as many pages as it takes.
pub(crate) fn workers(
    backend: &dyn Backend,
    runtime_id: Option<&RuntimeId>,
) -> Result<Items<WorkerView>, Box<Problem>> {
    let mut all = Items { items: Vec::new(), diagnostics: Vec::new(), next_after: None };
    let mut after: Option<String> = None;
    loop {
        let page: Items<WorkerView> = read(&backend.ask(&match runtime_id {
            None => {
                let after =
                    after.map(|after| after.parse().map_err(|_| Box::new(Problem::unexpected_body())));
                Action::AllWorkers(AllWorkers { after: after.transpose()?, ..AllWorkers::default() })
            }
            Some(runtime_id) => {
                let after = after
                    .map(|after| after.parse().map_err(|_| Box::new(Problem::unexpected_body())))
                    .transpose()?;
                let filter = WorkerFilter { after, ..WorkerFilter::default() };
                Action::Command { runtime_id: runtime_id.clone(), command: Command::Workers(filter) }
            }
        })?)?;
        // A page without rows would not get on.
        let next_after = page.next_after.filter(|_| !page.items.is_empty());
        all.items.extend(page.items);
        // Each page tells of the runtimes that failed.
        let new: Vec<_> = page.diagnostics.into_iter().filter(|it| !all.diagnostics.contains(it)).collect();
        all.diagnostics.extend(new);
        match next_after {
            Some(next) => after = Some(next),
            None => return Ok(all),
        }
    }
}

/// A random number of this process: nothing secret depends on it.
fn seed() -> u64 {
    RandomState::new().hash_one("sekisho")
}
