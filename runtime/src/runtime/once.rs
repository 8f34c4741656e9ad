//! Commands that are carried out once for each idempotency key.

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::{Fault, FaultCode, IdempotencyKey, Reply};

use super::pending::Decided;
use super::state::Locked;
use super::{Shared, store_refusal};
use crate::idempotency::{Conflict, Fingerprint, KeptAnswer};

/// The key of a request, with what it stands for.
pub(super) struct Keyed(Option<(IdempotencyKey, Fingerprint)>);

impl Keyed {
    pub(super) fn new(request: &Request<Bytes>, key: Option<IdempotencyKey>) -> Self {
        Self(key.map(|key| (key, Fingerprint::of(request))))
    }

    pub(super) fn key(&self) -> Option<&IdempotencyKey> {
        self.0.as_ref().map(|(key, _)| key)
    }

    /// The answer as it is kept.
    pub(super) fn answer(
        &self,
        shared: &Shared,
        worker_id: Option<&WorkerId>,
        reply: &Reply,
    ) -> Option<KeptAnswer> {
        let body = Some(reply.response().into_body());
        Some(KeptAnswer { worker_id: worker_id.cloned(), body, ..self.no_answer(shared)? })
    }

    /// That there is no answer any more.
    pub(super) fn no_answer(&self, shared: &Shared) -> Option<KeptAnswer> {
        let (key, fingerprint) = self.0.clone()?;
        Some(KeptAnswer { key, fingerprint, at: shared.now(), worker_id: None, body: None })
    }
}

impl Shared {
    /// The answer to an earlier request of the same key. It is looked for, and where there is none the command carried
    /// out, under one lock: of two requests at once the second finds the answer to the first.
    pub(super) fn recall(&self, locked: &mut Locked<'_>, keyed: &Keyed) -> Result<Option<Decided>, Fault> {
        let Some((key, fingerprint)) = &keyed.0 else { return Ok(None) };
        let body = locked.answers.recall(self.now(), key, *fingerprint).map_err(|Conflict| {
            let message = "the idempotency key was used before, for another request";
            Fault::new(FaultCode::IdempotencyConflict, message)
        })?;
        let start = locked.starting.get(key).cloned();
        Ok(body.map(|body| match start {
            Some(start) => Decided::Starting(start),
            // What was told first may still not be durable.
            None => Decided::changed(json(body), locked.last_ticket),
        }))
    }

    /// The state for a command that changes something.
    pub(super) fn lock_for_change(&self) -> Result<Locked<'_>, Fault> {
        self.lock().map_err(store_refusal)
    }
}

fn json(body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
