//! The seam where permission and redaction plug in. By default everything passes.

use bytes::Bytes;

use crate::id::{RuntimeId, WorkerId, WorkerRef};
use crate::runtime_api::Operation;

/// Decides who may do what, and what of a worker's texts is shown.
///
/// Secrets of the gateway's own are not its business: they are gone before a policy sees a text.
pub trait Policy: Send + Sync {
    /// Whether the operation may be done. What may not is answered with
    /// [`Denied`](super::error::ErrorKind::Denied); a runtime that may not be read is left out of lists.
    fn permits(&self, operation: Operation, runtime_id: &RuntimeId, worker_id: Option<&WorkerId>) -> bool {
        let _ = (operation, runtime_id, worker_id);
        true
    }

    /// A text that a worker or its creator wrote, as it may be shown.
    fn redact(&self, runtime_id: &RuntimeId, text: String) -> String {
        let _ = runtime_id;
        text
    }

    /// The payload of an event, which is JSON, as it may be shown: JSON again.
    fn redact_event(&self, worker: &WorkerRef, payload: Bytes) -> Bytes {
        let _ = worker;
        payload
    }
}

/// The policy that lets everything pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AllowAll;

impl Policy for AllowAll {}
