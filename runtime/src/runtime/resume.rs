//! Agents that are taken up again.

use std::sync::Arc;

use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::{Ack, Fault, FaultCode, Reply};

use super::beginning::{Beginning, Begun};
use super::pending::Decided;
use super::publish::{Happened, Publication};
use super::slot::NewProcess;
use super::{Shared, create, store_refusal};
use crate::event::{Activity, Event, SystemItem};
use crate::profile::ProfileKind;
use crate::record::Phase;

impl Shared {
    /// Starts the agent of a worker again that went with an earlier runtime: it goes on in its session, under the same
    /// name and in the same stream. As with a create, the answer comes when its process has started; whether it could
    /// take up the session is told in the stream.
    pub(super) fn resume_worker(self: &Arc<Self>, worker_id: &WorkerId) -> Result<Decided, Fault> {
        let mut locked = self.lock_for_change()?;
        self.refuse_when_stopped(&locked)?;
        let mut record = self.record(&locked, worker_id)?.clone();
        if !record.has_ended() {
            let message = format!("worker {worker_id} is running");
            return Err(Fault::new(FaultCode::WorkerRunning, message));
        }
        if !record.is_resumable() || locked.threads.contains_key(worker_id) {
            let message = format!("worker {worker_id} cannot be taken up again");
            return Err(Fault::new(FaultCode::WorkerNotRunning, message));
        }
        let profile = self.profile(&record.spec.profile)?;
        let profile = profile.filter(|profile| matches!(profile.kind, ProfileKind::Agent(..)));
        let profile = profile.ok_or_else(|| {
            Fault::new(FaultCode::UnknownProfile, "the worker's profile is no agent any more")
        })?;
        self.refuse_when_full(&locked)?;
        self.refuse_while_failing()?;
        let handle = create::handle_of(profile)?;
        let why = Beginning::Resume(Box::new(record.clone()));
        if let Some(agent) = &mut record.agent {
            agent.starts_before += 1;
        }
        record.phase = Phase::Running;
        record.started_at = None;
        let spec = Arc::clone(&record.spec);
        let status = record.status();
        let happened = vec![
            Happened::event(Event::SystemItem { item: SystemItem::Resumed }),
            Happened::event(Event::Status { status: Activity::Idle }),
        ];
        let event_id = locked.next_event_id();
        let publication = Publication { happened, record: Some(record), ..Publication::default() };
        let ticket = self.publish(&mut locked, worker_id, publication).map_err(store_refusal)?;
        let reply = Reply::Ack(Ack { worker_ref: self.wire_ref(worker_id), status, event_id });
        let (worker_id, response) = (worker_id.clone(), reply.response());
        let begun = Begun { worker_id, why, response, ticket };
        Ok(Decided::Starting(self.start_process(locked, NewProcess::new(begun, profile, spec, handle))))
    }
}
