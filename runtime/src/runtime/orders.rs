//! What is done to workers beside input and their end: interrupt, resize, removal.

use bytes::Bytes;
use http::Request;
use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::{
    Ack, Fault, FaultCode, IdempotencyKey, Reply, TerminalSize as WireTerminalSize,
};

use super::input::refuse_unless_running;
use super::once::Keyed;
use super::pending::Decided;
use super::publish::Publication;
use super::{Shared, store_refusal};
use crate::record::WorkerRecord;
use crate::worker::TerminalSize;

impl Shared {
    /// What Ctrl-C is to the worker. One without a process is doing nothing that could be interrupted.
    pub(super) fn interrupt(
        &self,
        request: &Request<Bytes>,
        worker_id: &WorkerId,
        key: Option<IdempotencyKey>,
    ) -> Result<Decided, Fault> {
        let keyed = Keyed::new(request, key);
        let mut locked = self.lock_for_change()?;
        if let Some(known) = self.recall(&mut locked, &keyed)? {
            return Ok(known);
        }
        let record = self.record(&locked, worker_id)?;
        refuse_unless_running(record)?;
        let reply = self.ack(record);
        let handle = locked.threads.get(worker_id).cloned();
        let answer = keyed.answer(self, Some(worker_id), &reply);
        // Without a key there is nothing to keep of it.
        let ticket = match answer {
            None => None,
            Some(_) => {
                self.refuse_while_failing()?;
                let publication = Publication { answer, ..Publication::default() };
                Some(self.publish(&mut locked, worker_id, publication).map_err(store_refusal)?)
            }
        };
        if let Some(handle) = handle {
            handle.interrupt();
        }
        Ok(Decided::Answer(reply.response(), ticket))
    }

    /// Changes the size of a worker's terminal.
    pub(super) fn resize(&self, worker_id: &WorkerId, size: WireTerminalSize) -> Result<Decided, Fault> {
        let locked = self.lock_for_change()?;
        let record = self.record(&locked, worker_id)?;
        self.refuse_without_terminal(record)?;
        refuse_unless_running(record)?;
        if let Some(handle) = locked.threads.get(worker_id) {
            handle.resize(TerminalSize { cols: size.cols.get(), rows: size.rows.get() });
        }
        Ok(Decided::read(self.ack(record).response()))
    }

    /// Forgets a worker that has ended.
    pub(super) fn remove(&self, worker_id: &WorkerId) -> Result<Decided, Fault> {
        let mut locked = self.lock_for_change()?;
        let record = self.record(&locked, worker_id)?;
        // The end is told a moment before the thread is off the list.
        if !record.has_ended() || locked.threads.contains_key(worker_id) {
            let message = format!("worker {worker_id} has not ended");
            return Err(Fault::new(FaultCode::WorkerRunning, message));
        }
        self.refuse_while_failing()?;
        let ticket = self.forget(&mut locked, worker_id).map_err(store_refusal)?;
        Ok(Decided::changed(Reply::Removed.response(), ticket))
    }

    pub(super) fn refuse_without_terminal(&self, record: &WorkerRecord) -> Result<(), Fault> {
        let profile = self.profile(&record.spec.profile).ok().flatten();
        match profile.is_some_and(|profile| profile.has_terminal()) {
            true => Ok(()),
            false => {
                let message = format!("worker {} has no terminal", record.worker_id);
                Err(Fault::new(FaultCode::NoTerminal, message))
            }
        }
    }

    fn ack(&self, record: &WorkerRecord) -> Reply {
        Reply::Ack(Ack {
            worker_ref: self.wire_ref(&record.worker_id),
            status: record.status(),
            event_id: record.last_event_id,
        })
    }
}
