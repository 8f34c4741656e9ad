//! The stream of all workers of all runtimes, as clients see it: the gateway writes these frames, and its clients read
//! them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::exchange::{lists, presenter};
use super::view::{Items, RequestView, RequestsReply, WorkerCapabilities, WorkerView};
use crate::diagnostic::Diagnostic;
use crate::error::Error;
use crate::id::{RequestId, RuntimeId, WorkerId};
use crate::policy::Policy;
use crate::registry::{Reachability, Registry};
use crate::runtime_api::{RequestList, WorkerList, WorkerStatus};

/// One message of the stream of all workers, or the `data` of one server-sent event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FleetFrame {
    /// The state of everything begins: what the viewer had is to be thrown away. It stands first, and again where the
    /// viewer was too slow for what came in between.
    Snapshot {
        /// The number of the last change that is part of it. The numbers of changes only grow.
        position: u64,
        /// How many frames of the kind `runtime` follow. After them, the changes do.
        runtimes: u64,
    },
    /// All that is known of one runtime.
    Runtime {
        /// The runtime.
        runtime: FleetRuntime,
        /// Its workers, in the order in which it lists them.
        workers: Vec<WorkerView>,
        /// Their open requests.
        requests: Vec<RequestView>,
    },
    /// Something is different from now on.
    Change {
        /// Its number: one more than that of the change before it.
        position: u64,
        /// What is different.
        change: FleetChange,
    },
    /// Something about the stream.
    Diagnostic {
        /// What there is to be told.
        diagnostic: Diagnostic,
    },
}

impl FleetFrame {
    /// Reads a frame; `None` where it is not one. Unknown fields are passed over.
    pub fn from_text(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }
}

/// What is different from now on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum FleetChange {
    /// There is a worker that was not there before.
    WorkerAdded {
        /// The worker.
        worker: Box<WorkerView>,
    },
    /// A worker has changed.
    WorkerChanged {
        /// The worker as it is now.
        worker: Box<WorkerView>,
    },
    /// Its runtime no longer lists a worker.
    WorkerGone {
        /// The runtime's half of its name.
        runtime_id: RuntimeId,
        /// Its own half.
        worker_id: WorkerId,
    },
    /// A worker has asked something.
    RequestOpened {
        /// The request.
        request: Box<RequestView>,
    },
    /// A request waits no longer: it was answered or dismissed, or its worker has ended.
    RequestResolved {
        /// The runtime's half of the worker's name.
        runtime_id: RuntimeId,
        /// The worker's own half.
        worker_id: WorkerId,
        /// Which of its requests.
        request_id: RequestId,
    },
    /// There is a runtime that was not there before, or one is reached otherwise than before.
    RuntimeChanged {
        /// The runtime as it is now.
        runtime: FleetRuntime,
    },
    /// A runtime is no longer configured. Nor are there its workers and their requests.
    RuntimeGone {
        /// Which runtime.
        runtime_id: RuntimeId,
    },
    /// Something that this client does not know. No gateway writes it.
    #[serde(other)]
    #[cfg_attr(feature = "pages", schemars(skip))]
    Unknown,
}

/// A runtime in the stream of all workers. While it is not reached, its workers are those that it last listed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "pages", derive(schemars::JsonSchema))]
pub struct FleetRuntime {
    /// Its name.
    pub runtime_id: RuntimeId,
    /// What people call it.
    pub display_name: String,
    /// Where it runs: the [name](crate::registry::RuntimeKind::name) of a kind.
    pub kind: Cow<'static, str>,
    /// Whether the gateway reaches it.
    pub reachability: Reachability,
    /// Since when its workers cannot be listed: when it last answered, or where it never has, when it was first asked in
    /// vain. RFC 3339, UTC, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<String>,
    /// Why they cannot be listed, or what is not shown of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
}

/// What views of a runtime's workers depend on beside what the runtime lists.
pub(crate) type Lens = WorkerCapabilities;

/// How a runtime's workers are shown now.
pub(crate) fn lens(registry: &Registry, policy: &dyn Policy, runtime_id: &RuntimeId) -> Result<Lens, Error> {
    Ok(presenter(registry, policy, runtime_id)?.capabilities(WorkerStatus::Running))
}

/// All workers of a runtime's list that can be shown, and what cannot.
pub(crate) fn shown_workers(
    registry: &Registry,
    policy: &dyn Policy,
    runtime_id: &RuntimeId,
    list: WorkerList,
) -> Result<Items<WorkerView>, Error> {
    Ok(lists::every_worker(&presenter(registry, policy, runtime_id)?, list))
}

/// All requests of a runtime's list that can be shown, and what cannot.
pub(crate) fn shown_requests(
    registry: &Registry,
    policy: &dyn Policy,
    runtime_id: &RuntimeId,
    list: RequestList,
) -> Result<RequestsReply, Error> {
    Ok(lists::requests(&presenter(registry, policy, runtime_id)?, None, list))
}
