//! Workers that are agents: their threads, their questions, and what they tell.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::Request;
use sekisho_acp::{AgentConfig, AgentEnd, AgentEvent, AnswerError, Answered, ResolvedBy};
use sekisho_core::id::{RequestId, WorkerId};
use sekisho_core::runtime_api::{
    Ack, Answer, EndReason, Fault, FaultCode, IdempotencyKey, Reply, RequestList, WorkerEnd, WorkerRequest,
};

use super::ending::plain;
use super::once::Keyed;
use super::pending::Decided;
use super::publish::{Happened, Publication, Said};
use super::slot::{NewProcess, ThreadSlot, worker_end};
use super::state::{Locked, State};
use super::{Shared, invalid, store_fault};
use crate::agent::{self, AgentState};
use crate::idempotency::KeptAnswer;
use crate::profile::{AgentSettings, ProfileKind, Program};
use crate::record::{AgentRecord, Phase, WorkerRecord};
use crate::store::{StoreError, Ticket};
use crate::worker::{AgentSink, End, Fragment, OutputSink, SharedAgent, Source, StoreFailed};

/// What the runtime has of an agent that runs.
pub(super) struct AgentSlot {
    pub(super) shared: Arc<SharedAgent>,
    pub(super) state: AgentState,
}

impl Shared {
    /// The machine of an agent that is about to start, where the process is one.
    pub(super) fn begin_agent(&self, process: &NewProcess<'_>) -> Option<Arc<SharedAgent>> {
        let ProfileKind::Agent(program, settings) = &process.profile.kind else { return None };
        let mut locked = Locked::new(self.lock_anyway());
        let known = locked.records.get(&process.begun.worker_id).and_then(|record| record.agent.clone());
        let config = self.agent_config(process, program, settings, &known.unwrap_or_default());
        let shared = Arc::new(SharedAgent::new(config));
        let slot = AgentSlot { shared: Arc::clone(&shared), state: AgentState::default() };
        locked.agents.insert(process.begun.worker_id.clone(), slot);
        Some(shared)
    }

    fn agent_config(
        &self,
        process: &NewProcess<'_>,
        program: &Program,
        settings: &AgentSettings,
        record: &AgentRecord,
    ) -> AgentConfig {
        let AgentSettings { permissions, start_timeout, mcp_servers, mode, model, auth_method } = settings;
        let asked = process.spec.cwd.as_ref().map(Into::into);
        let cwd = asked.or_else(|| program.cwd.clone()).or_else(|| std::env::current_dir().ok());
        AgentConfig {
            permissions: *permissions,
            start_timeout: *start_timeout,
            mcp_servers: mcp_servers.clone(),
            mode: mode.clone(),
            model: model.clone(),
            auth_method: auth_method.clone(),
            resume: record.session_id.clone().filter(|_| record.starts_before > 0),
            starts_before: record.starts_before,
            ..AgentConfig::new(cwd.unwrap_or_default().to_string_lossy())
        }
    }

    /// Publishes what an agent told.
    fn tell_agent(
        &self,
        locked: &mut Locked<'_>,
        worker_id: &WorkerId,
        events: Vec<AgentEvent>,
        answer: Option<KeptAnswer>,
    ) -> Result<Ticket, StoreError> {
        let mut record = locked.records.get(worker_id).cloned().ok_or(StoreError::Missing)?;
        let is_open = matches!(record.phase, Phase::Running);
        let mut agent = record.agent.take().unwrap_or_default();
        let now = self.now();
        let mut event_id = locked.next_event_id();
        let mut happened: Vec<Happened> = Vec::with_capacity(events.len());
        let mut noted = Vec::with_capacity(events.len());
        let mut changes = false;
        for event in events {
            match &event {
                // That it takes no input any more is what was told last.
                AgentEvent::Status(_) if !is_open => continue,
                AgentEvent::Status(status) => record.activity = agent::activity(*status),
                event => changes |= agent::record(&mut agent, event_id, event, now),
            }
            let said = agent::said(&event);
            noted.push((event_id, event.clone()));
            let shown = agent::event(event, now);
            event_id += u64::from(shown.is_some());
            let items = said.map(|(role, content, cont)| Said { role, content, cont });
            match (shown, happened.last_mut(), items) {
                (Some(event), _, items) => {
                    happened.push(Happened { event: Some(event), items: items.into_iter().collect() });
                }
                // It was told by the events before it.
                (None, Some(last), Some(item)) => last.items.push(item),
                (None, None, Some(item)) => happened.push(Happened { event: None, items: vec![item] }),
                (None, _, None) => {}
            }
        }
        record.agent = Some(agent);
        let activity = record.activity;
        let publication =
            Publication { happened, record: changes.then_some(record), answer, is_output: true };
        let ticket = self.publish(locked, worker_id, publication)?;
        if let Some(record) = locked.records.get_mut(worker_id) {
            record.activity = activity;
        }
        if let Some(slot) = locked.agents.get_mut(worker_id) {
            for (event_id, event) in noted {
                slot.state.note(event_id, &event);
            }
        }
        Ok(ticket)
    }

    /// The open requests of a worker.
    pub(super) fn requests(&self, worker_id: &WorkerId) -> Result<Reply, Fault> {
        let locked = self.lock().map_err(store_fault)?;
        let record = self.record(&locked, worker_id)?;
        let requests = record.open_requests().map(|open| open.request.clone()).collect();
        Ok(Reply::Requests(RequestList { requests, ..RequestList::default() }))
    }

    /// The open requests of all workers, the workers in the order of their age.
    pub(super) fn all_requests(&self) -> Result<Reply, Fault> {
        let locked = self.lock().map_err(store_fault)?;
        let of_worker = |record: &WorkerRecord| {
            let worker_ref = self.wire_ref(&record.worker_id);
            let requests = record
                .open_requests()
                .map(|open| WorkerRequest { worker_ref: Some(worker_ref.clone()), ..open.request.clone() });
            requests.collect::<Vec<_>>()
        };
        let requests = locked.records.after(0).flat_map(of_worker).collect();
        Ok(Reply::Requests(RequestList { requests, ..RequestList::default() }))
    }

    /// Answers a request of a worker. The first answer wins.
    pub(super) fn answer_request(
        &self,
        request: &Request<Bytes>,
        worker_id: &WorkerId,
        request_id: &RequestId,
        answer: &Answer,
        key: Option<IdempotencyKey>,
    ) -> Result<Decided, Fault> {
        let keyed = Keyed::new(request, key);
        let gone = || refusal(worker_id, request_id, AnswerError::Gone);
        let shared = {
            let mut locked = self.lock_for_change()?;
            if let Some(known) = self.recall(&mut locked, &keyed)? {
                return Ok(known);
            }
            self.refuse_when_stopped(&locked)?;
            self.record(&locked, worker_id)?;
            let shared =
                locked.agents.get(worker_id).map(|slot| Arc::clone(&slot.shared)).ok_or_else(gone)?;
            self.refuse_while_failing()?;
            shared
        };
        let option_id = match answer {
            Answer::Option(option_id) => Some(option_id.as_str()),
            Answer::Dismiss => None,
        };
        let act = |agent: &mut sekisho_acp::Agent| {
            // Of two requests at once the second finds the answer to the first.
            match self.recall(&mut self.lock_for_change()?, &keyed)? {
                Some(known) => Ok(Given::Before(known)),
                None => agent.answer(request_id.as_str(), option_id).map(Given::Now),
            }
            .map_err(|error| refusal(worker_id, request_id, error))
        };
        shared.act(act, |given, events| {
            let mut locked = self.lock_for_change()?;
            match given {
                Ok(Given::Now(Answered::First)) => self.acknowledge(&mut locked, worker_id, events, &keyed),
                other => {
                    if !events.is_empty() {
                        self.tell_agent(&mut locked, worker_id, events, None).map_err(store_fault)?;
                    }
                    match other? {
                        Given::Before(known) => Ok(known),
                        Given::Now(_) => {
                            let slot = locked.agents.get(worker_id);
                            let event_id = slot.and_then(|slot| slot.state.resolved_by(request_id.as_str()));
                            let event_id = event_id.unwrap_or(locked.last_event_id);
                            let reply = self.answer_ack(&locked, worker_id, event_id)?;
                            Ok(Decided::changed(reply.response(), locked.last_ticket))
                        }
                    }
                }
            }
        })
    }

    /// Tells an answer that is the first.
    fn acknowledge(
        &self,
        locked: &mut Locked<'_>,
        worker_id: &WorkerId,
        events: Vec<AgentEvent>,
        keyed: &Keyed,
    ) -> Result<Decided, Fault> {
        // It is told first, unless the agent was saying something.
        let before = events.iter().take_while(|event| !matches!(event, AgentEvent::RequestResolved(_)));
        let before = before.filter(|event| agent::is_told(event)).count() as u64;
        let reply = self.answer_ack(locked, worker_id, locked.next_event_id() + before)?;
        let answer = keyed.answer(self, Some(worker_id), &reply);
        let ticket = self.tell_agent(locked, worker_id, events, answer).map_err(store_fault)?;
        // The machine has a line to write, which is the thread's to do.
        if let Some(handle) = locked.threads.get(worker_id) {
            handle.wake();
        }
        Ok(Decided::changed(reply.response(), ticket))
    }

    fn answer_ack(&self, state: &State, worker_id: &WorkerId, event_id: u64) -> Result<Reply, Fault> {
        let status = self.record(state, worker_id)?.status();
        Ok(Reply::Ack(Ack { worker_ref: self.wire_ref(worker_id), status, event_id }))
    }

    /// What is told of the requests of a worker that is gone.
    pub(super) fn dismiss_lost(record: &mut WorkerRecord, reason: &EndReason) -> Vec<Happened> {
        let why = match reason {
            EndReason::RuntimeLost => "runtime_lost",
            _ => ResolvedBy::AgentEnd.as_str(),
        };
        let open = record.agent.as_mut().map(|agent| std::mem::take(&mut agent.requests));
        let dismissed = open.unwrap_or_default().into_iter().map(|open| {
            Happened::event(crate::event::Event::SystemItem {
                item: crate::event::SystemItem::RequestResolved {
                    request_id: open.request.request_id,
                    option_id: None,
                    dismissed: true,
                    reason: why.into(),
                },
            })
        });
        dismissed.collect()
    }
}

/// What became of an answer.
enum Given {
    /// The same request was answered before.
    Before(Decided),
    Now(Answered),
}

fn refusal(worker_id: &WorkerId, request_id: &RequestId, error: AnswerError) -> Fault {
    match error {
        AnswerError::AlreadyAnswered => {
            let message = format!("request {request_id} of worker {worker_id} has another answer already");
            Fault::new(FaultCode::RequestAlreadyAnswered, message)
        }
        AnswerError::UnknownOption => invalid(format_args!("request {request_id} has no such option")),
        _ => {
            let message = format!("worker {worker_id} has no open request {request_id}");
            Fault::new(FaultCode::RequestGone, message)
        }
    }
}

/// The thread of an agent, as its loop sees it.
pub(super) struct AgentThread(pub(super) ThreadSlot);

impl AgentThread {
    /// Gives the slot up with the end of the process, and with what ended it where that was the machine.
    pub(super) fn give_up(self, end: End, agent: Option<AgentEnd>) {
        let told = worker_end(end);
        let told = match agent {
            Some(AgentEnd::NotStarted(error)) => {
                WorkerEnd { message: Some(error.to_string()), ..plain(EndReason::NotStarted) }
            }
            Some(AgentEnd::Failed(failure)) => WorkerEnd { message: Some(failure.to_string()), ..told },
            _ => told,
        };
        self.0.give_up(end, told);
    }
}

impl AgentSink for AgentThread {
    fn started(&self, pid: i32) {
        OutputSink::started(&self.0, pid);
    }

    fn told(&self, events: Vec<AgentEvent>) -> Result<(), StoreFailed> {
        let (shared, worker_id) = (&self.0.shared, self.0.worker_id());
        let told =
            shared.lock().and_then(|mut locked| shared.tell_agent(&mut locked, worker_id, events, None));
        told.map(drop).map_err(|_| StoreFailed)
    }

    fn logged(&self, fragment: &Fragment) -> Result<(), StoreFailed> {
        self.0.said(Source::Error, fragment)
    }

    fn has_room(&self) -> bool {
        let stream = self.0.shared.lock_anyway().streams.get(self.0.worker_id()).cloned();
        stream.is_none_or(|stream| stream.has_room(Instant::now()))
    }
}
