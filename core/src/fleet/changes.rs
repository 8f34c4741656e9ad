//! What has changed about one runtime.

use std::collections::BTreeMap;

use crate::browser_api::{FleetChange, FleetRuntime, RequestView, WorkerView};
use crate::id::{RequestId, WorkerId};

/// All that is known of one runtime.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RuntimeState {
    pub(crate) runtime: FleetRuntime,
    pub(crate) workers: Vec<WorkerView>,
    pub(crate) requests: Vec<RequestView>,
}

impl RuntimeState {
    /// Nothing is known of its workers.
    pub(crate) fn bare(runtime: FleetRuntime) -> Self {
        Self { runtime, workers: Vec::new(), requests: Vec::new() }
    }
}

/// The changes that make `before` what is `now`, in an order in which each makes sense: a request is opened once its worker is
/// there.
pub(crate) fn between(before: &RuntimeState, now: &RuntimeState) -> Vec<FleetChange> {
    let mut changes = Vec::new();
    if before.runtime != now.runtime {
        changes.push(FleetChange::RuntimeChanged { runtime: now.runtime.clone() });
    }
    workers(&before.workers, &now.workers, &mut changes);
    requests(&before.requests, &now.requests, &mut changes);
    changes
}

fn workers(before: &[WorkerView], now: &[WorkerView], changes: &mut Vec<FleetChange>) {
    let mut old: BTreeMap<&WorkerId, &WorkerView> =
        before.iter().map(|worker| (&worker.worker_id, worker)).collect();
    let mut come = Vec::new();
    for worker in now {
        match old.remove(&worker.worker_id) {
            None => come.push(FleetChange::WorkerAdded { worker: worker.clone().into() }),
            Some(old) if old != worker => {
                come.push(FleetChange::WorkerChanged { worker: worker.clone().into() });
            }
            Some(_) => {}
        }
    }
    changes.extend(old.into_values().map(|worker| FleetChange::WorkerGone {
        runtime_id: worker.runtime_id.clone(),
        worker_id: worker.worker_id.clone(),
    }));
    changes.extend(come);
}

fn requests(before: &[RequestView], now: &[RequestView], changes: &mut Vec<FleetChange>) {
    fn name(request: &RequestView) -> (&WorkerId, &RequestId) {
        (&request.worker_id, &request.request_id)
    }
    let mut old: BTreeMap<_, &RequestView> = before.iter().map(|request| (name(request), request)).collect();
    let mut opened = Vec::new();
    for request in now {
        if old.remove(&name(request)) != Some(request) {
            opened.push(FleetChange::RequestOpened { request: request.clone().into() });
        }
    }
    changes.extend(old.into_values().map(|request| FleetChange::RequestResolved {
        runtime_id: request.runtime_id.clone(),
        worker_id: request.worker_id.clone(),
        request_id: request.request_id.clone(),
    }));
    changes.extend(opened);
}
