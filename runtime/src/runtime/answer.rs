//! One function for each command of v1.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::Request;
use sekisho_core::id::{WorkerId, WorkerRef};
use sekisho_core::runtime_api::{
    Ack, CreateWorker, FEATURE_IDEMPOTENCY, Fault, FaultCode, IdempotencyKey, Input, InputAck, InputKind,
    Profile, Reply, RuntimeLimits, RuntimeStatus, RuntimeSummary, Transcript, WireRef, WorkerDetail,
    WorkerFacts, WorkerStatus, WorkerSummary,
};

use super::{Locked, MAX_PROCESSES, MAX_WORKERS, Shared, State, store_fault};
use crate::event::{Activity, Event};
use crate::idempotency::Conflict;
use crate::store::{Change, Role, WorkerRecord};
use crate::worker::{Handle as WorkerHandle, MAX_INPUT_BYTES, Undeliverable};

/// How many items of a transcript are in one reply at most.
pub const MAX_TRANSCRIPT_ITEMS: u64 = 256;

/// How many events are in one batch at most.
const MAX_EVENT_BATCH: u64 = 256;

/// The longest body of a create, in bytes: what a worker is made of is kept, and listed with all others.
pub const MAX_CREATE_BYTES: usize = 64 * 1024;

/// The profile that needs no process.
pub const BUILTIN_ECHO: &str = "builtin:echo";

/// How much of a name that somebody asked for is repeated to them, in characters.
const MAX_REPEATED: usize = 64;

pub(super) fn invalid(message: impl std::fmt::Display) -> Fault {
    Fault::new(FaultCode::InvalidRequest, format!("invalid request: {message}"))
}

/// What a profile stands for.
enum Program {
    Echo,
    Command(Arc<[String]>),
}

impl Shared {
    pub(super) fn summary(&self) -> Result<Reply, Fault> {
        let running = self.lock().map_err(store_fault)?.running;
        let census = self.store.census().map_err(store_fault)?;
        Ok(Reply::Runtime(RuntimeSummary {
            runtime_id: self.config.runtime_id.to_string(),
            display_name: self.config.display_name.clone(),
            backend: self.store.backend().to_owned(),
            status: if running { RuntimeStatus::Running } else { RuntimeStatus::Stopped },
            worker_count: census.total(),
            active_worker_count: census.running,
            stopped_worker_count: census.stopped,
            cancelled_worker_count: census.cancelled,
            diagnostic_count: 0,
            limits: RuntimeLimits {
                max_transcript_projection_items: MAX_TRANSCRIPT_ITEMS,
                max_event_batch_items: MAX_EVENT_BATCH,
            },
            features: vec![FEATURE_IDEMPOTENCY.to_owned()],
            incarnation: Some(self.incarnation.clone()),
        }))
    }

    pub(super) fn workers(&self) -> Result<Reply, Fault> {
        let workers = self.store.workers().map_err(store_fault)?;
        Ok(Reply::Workers(workers.iter().map(|worker| self.worker_summary(worker)).collect()))
    }

    pub(super) fn worker(&self, worker_id: &WorkerId) -> Result<Reply, Fault> {
        let worker = self.store.worker(worker_id).map_err(store_fault)?;
        worker.map(|worker| self.worker_detail(&worker)).ok_or_else(|| self.not_found(worker_id))
    }

    pub(super) fn transcript(
        &self,
        worker_id: &WorkerId,
        start: Option<u64>,
        limit: Option<u64>,
    ) -> Result<Reply, Fault> {
        let (start, limit) = (start.unwrap_or(0), limit.unwrap_or(MAX_TRANSCRIPT_ITEMS));
        if limit > MAX_TRANSCRIPT_ITEMS {
            let message = format!("limit {limit} exceeds maximum {MAX_TRANSCRIPT_ITEMS}");
            return Err(Fault::new(FaultCode::LimitTooLarge, message));
        }
        let count = usize::try_from(limit).unwrap_or(usize::MAX);
        let page = self.store.page(worker_id, start, count).map_err(store_fault)?;
        let page = page.ok_or_else(|| self.not_found(worker_id))?;
        let worker_ref = self.wire_ref(worker_id);
        // Sequences count from one, offsets from nought: one item's sequence is the offset of the next.
        let next = page.items.last().map_or(start, |item| item.sequence);
        Ok(Reply::Transcript(Transcript {
            items: page.items.iter().map(|item| item.on_the_wire(&worker_ref)).collect(),
            worker_ref,
            start,
            limit,
            total_items: page.total,
            next_start: (next < page.total).then_some(next),
        }))
    }

    pub(super) fn create(
        self: &Arc<Self>,
        request: &Request<Bytes>,
        made_of: CreateWorker,
        key: Option<IdempotencyKey>,
    ) -> Result<Reply, Fault> {
        let mut launch = None;
        let reply = self.once(request, key, |state| {
            self.refuse_when_stopped(state)?;
            let size = request.body().len();
            if size > MAX_CREATE_BYTES {
                return Err(invalid(format_args!(
                    "a worker of {size} bytes is over the limit of {MAX_CREATE_BYTES}"
                )));
            }
            let program = self.program(&made_of.profile)?;
            if self.store.census().map_err(store_fault)?.total() >= MAX_WORKERS {
                return Err(invalid(format_args!(
                    "the runtime has its {MAX_WORKERS} workers and takes no more"
                )));
            }
            let worker_id = worker_id(state.last_worker + 1)?;
            let mut process = None;
            if let Program::Command(command) = program {
                if state.threads.len() >= MAX_PROCESSES {
                    let message =
                        format_args!("the runtime runs its {MAX_PROCESSES} processes and starts no more");
                    return Err(invalid(message));
                }
                let mailbox = WorkerHandle::new(false)
                    .map_err(|_| invalid("the runtime has no room for a process now"))?;
                process = Some((command, Arc::new(mailbox)));
            }
            let event = Event::Status { status: Activity::Idle };
            let created = Change::Created(Arc::new(made_of));
            self.publish(state, &worker_id, event, Some(created)).map_err(store_fault)?;
            state.last_worker += 1;
            if let Some((command, mailbox)) = process {
                state.threads.insert(worker_id.clone(), Arc::clone(&mailbox));
                launch = Some((worker_id.clone(), command, mailbox));
            }
            self.worker(&worker_id)
        });
        // Whatever the reply is: a worker that is on the list of threads gets its thread.
        if let Some((worker_id, command, mailbox)) = launch {
            self.launch(&worker_id, command, mailbox);
        }
        reply
    }

    pub(super) fn input(
        &self,
        request: &Request<Bytes>,
        worker_id: &WorkerId,
        input: Input,
        key: Option<IdempotencyKey>,
    ) -> Result<Reply, Fault> {
        self.once(request, key, |state| {
            self.refuse_when_stopped(state)?;
            let standing = self.store.standing(worker_id).map_err(store_fault)?;
            let standing = standing.ok_or_else(|| self.not_found(worker_id))?;
            if input.content.is_empty() {
                return Err(invalid("worker input content must not be empty"));
            }
            if input.content.len() > MAX_INPUT_BYTES {
                let message =
                    format_args!("worker input content is over the limit of {MAX_INPUT_BYTES} bytes");
                return Err(invalid(message));
            }
            if standing.status != WorkerStatus::Running {
                return Err(invalid(format_args!("worker {worker_id} is not running")));
            }
            let mailbox = state.threads.get(worker_id).cloned();
            if let Some(mailbox) = &mailbox {
                mailbox.room_for(input.content.len()).map_err(|undeliverable| match undeliverable {
                    Undeliverable::Full => {
                        let message = format!("worker {worker_id} has not read its earlier input yet");
                        Fault::new(FaultCode::WorkerBusy, message)
                    }
                    Undeliverable::Closed => {
                        invalid(format_args!("worker {worker_id} has closed its standard input"))
                    }
                })?;
            }
            let content: Arc<str> = input.content.into();
            let role = match input.kind {
                InputKind::User => Role::User,
                InputKind::System => Role::System,
            };
            let said = Change::Said(role, Arc::clone(&content));
            let event = Event::user_message(Arc::clone(&content));
            let published = self.publish(state, worker_id, event, Some(said)).map_err(store_fault)?;
            match mailbox {
                // Only its own end can have come between, and that drops all that was not read.
                Some(mailbox) => drop(mailbox.write(content)),
                None => {
                    let said = Change::Said(Role::Assistant, Arc::clone(&content));
                    let event = Event::TextDelta { text: content };
                    self.publish(state, worker_id, event, Some(said)).map_err(store_fault)?;
                }
            }
            Ok(Reply::Input(InputAck {
                worker_ref: self.wire_ref(worker_id),
                status: standing.status,
                transcript_sequence: published.transcript_len,
                event_id: published.event_id,
            }))
        })
    }

    /// Stop and cancel. A worker that has ended keeps its status, but one that takes its time to stop can still
    /// be killed.
    pub(super) fn end(&self, worker_id: &WorkerId, as_what: WorkerStatus) -> Result<Reply, Fault> {
        let mut state = self.lock().map_err(store_fault)?;
        let standing = self.store.standing(worker_id).map_err(store_fault)?;
        let standing = standing.ok_or_else(|| self.not_found(worker_id))?;
        let (status, event_id) = match standing.ended_by {
            Some(event_id) => (standing.status, event_id),
            None => {
                let event = Event::Status { status: Activity::Paused };
                let ended = Some(Change::Ended(as_what));
                let published = self.publish(&mut state, worker_id, event, ended).map_err(store_fault)?;
                (as_what, published.event_id)
            }
        };
        if let Some(mailbox) = state.threads.get(worker_id) {
            match as_what {
                WorkerStatus::Cancelled => mailbox.cancel(),
                _ => mailbox.stop(self.config.stop_grace),
            }
        }
        drop(state);
        self.store.commit().map_err(store_fault)?;
        Ok(Reply::Ack(Ack { worker_ref: self.wire_ref(worker_id), status, event_id }))
    }

    /// Does something once for each idempotency key. Lookup, deed and note are under one lock, so that of two
    /// requests at once the second finds the answer to the first.
    fn once(
        &self,
        request: &Request<Bytes>,
        key: Option<IdempotencyKey>,
        deed: impl FnOnce(&mut Locked<'_>) -> Result<Reply, Fault>,
    ) -> Result<Reply, Fault> {
        let key = key.map(|key| (key, self.fingerprints.of(request)));
        let mut state = self.lock().map_err(store_fault)?;
        let now = Instant::now();
        let known = key.as_ref().map(|(key, fingerprint)| state.answers.recall(now, key, *fingerprint));
        let known = known.transpose().map_err(|Conflict| {
            let message = "the idempotency key was used before, for another request";
            Fault::new(FaultCode::IdempotencyConflict, message)
        })?;
        let reply = match known.flatten() {
            Some(reply) => reply,
            None => {
                let reply = deed(&mut state)?;
                if let Some((key, fingerprint)) = key {
                    state.answers.keep(now, key, fingerprint, reply.clone());
                }
                reply
            }
        };
        drop(state);
        // Also for an answer that was known: whoever was first may still be waiting for the same.
        self.store.commit().map_err(store_fault)?;
        Ok(reply)
    }

    fn refuse_when_stopped(&self, state: &State) -> Result<(), Fault> {
        match state.running {
            true => Ok(()),
            false => {
                let message = format!("runtime {} is stopped", self.config.runtime_id);
                Err(Fault::new(FaultCode::RuntimeStopped, message))
            }
        }
    }

    fn program(&self, profile: &Profile) -> Result<Program, Fault> {
        let command = |(_, command): &(String, Arc<[String]>)| Program::Command(Arc::clone(command));
        let unknown = |name: &str| {
            let name: String = name.chars().take(MAX_REPEATED).collect();
            invalid(format_args!("there is no profile {name:?}"))
        };
        match profile {
            Profile::RuntimeDefault => Ok(self.commands.first().map_or(Program::Echo, command)),
            Profile::Builtin(name) if name == BUILTIN_ECHO => Ok(Program::Echo),
            Profile::Builtin(name) => Err(unknown(name)),
            Profile::Named(name) => self
                .commands
                .iter()
                .find(|(known, _)| known == name)
                .map(command)
                .ok_or_else(|| unknown(name)),
        }
    }

    pub(super) fn wire_ref(&self, worker_id: &WorkerId) -> WireRef {
        let runtime_id = self.config.runtime_id.clone();
        WireRef::from(&WorkerRef { runtime_id, worker_id: worker_id.clone() })
    }

    fn worker_summary(&self, worker: &WorkerRecord) -> WorkerSummary {
        WorkerSummary {
            worker_ref: self.wire_ref(&worker.worker_id),
            runtime_id: self.config.runtime_id.to_string(),
            worker_id: worker.worker_id.to_string(),
            status: worker.standing.status,
            intent: worker.made_of.intent.clone(),
            profile: worker.made_of.profile.clone(),
            requested_capability_count: worker.made_of.requested_capabilities.len() as u64,
            has_config_bundle: worker.made_of.config_bundle.is_some(),
            transcript_len: worker.transcript_len,
            last_event_id: worker.last_event_id,
            facts: WorkerFacts::default(),
            truncated: false,
        }
    }

    fn worker_detail(&self, worker: &WorkerRecord) -> Reply {
        let made_of = CreateWorker::clone(&worker.made_of);
        Reply::Worker(Box::new(WorkerDetail {
            worker_ref: self.wire_ref(&worker.worker_id),
            runtime_id: self.config.runtime_id.to_string(),
            worker_id: worker.worker_id.to_string(),
            status: worker.standing.status,
            intent: made_of.intent,
            profile: made_of.profile,
            config_bundle: made_of.config_bundle,
            requested_capabilities: made_of.requested_capabilities,
            workspace_refs: made_of.workspace_refs,
            mount_refs: made_of.mount_refs,
            transcript_len: worker.transcript_len,
            last_event_id: worker.last_event_id,
            facts: WorkerFacts::default(),
        }))
    }
}

/// The id of the runtime's nth worker, as deployed runtimes write them.
fn worker_id(number: u64) -> Result<WorkerId, Fault> {
    // Letters, digits and a hyphen: it always is one, but that is for the parser to say.
    format!("worker-{number:08}").parse().map_err(|_| invalid("there are no more worker ids"))
}
