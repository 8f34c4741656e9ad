//! What answers the commands: a server, or this process, which goes to the runtimes itself. Both answer alike.

mod direct;
mod server;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use sekisho_core::browser_api::Action;
use sekisho_core::gateway_client::{Envelope, FleetEvent, GatewayEvent, Problem};
use sekisho_core::id::{RuntimeId, WorkerRef};
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

    /// The stream of all workers of all runtimes.
    fn open_fleet_stream(&self) -> Box<dyn Stream<FleetEvent>>;

    /// What the user may do about a problem.
    fn hint(&self, problem: &Problem) -> Option<String>;
}

/// A worker's stream, or that of all workers.
pub(crate) trait Stream<E = Envelope>: Send {
    /// What happens next, or how the stream has ended; `None` when the instant has come before.
    fn next_until(&mut self, instant: Instant) -> Option<Result<GatewayEvent<E>, Ended>>;
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

/// A random number of this process: nothing secret depends on it.
fn seed() -> u64 {
    RandomState::new().hash_one("sekisho")
}
