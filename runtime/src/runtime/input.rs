//! What workers are told.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::{
    EndReason, Fault, FaultCode, IdempotencyKey, Input, InputAck, InputKind, Reply, WorkerEnd,
};

use super::ending::plain;
use super::once::Keyed;
use super::pending::Decided;
use super::publish::{Happened, Publication};
use super::state::State;
use super::{Shared, invalid, store_fault, store_refusal};
use crate::event::Event;
use crate::record::{Phase, WorkerRecord};
use crate::store::Role;
use crate::worker::{Handle, MAX_INPUT_BYTES, Undeliverable};

/// What stands in place of a secret input.
const SECRET: &str = "[secret]";

impl Shared {
    pub(super) fn input(
        &self,
        request: &Request<Bytes>,
        worker_id: &WorkerId,
        input: Input,
        key: Option<IdempotencyKey>,
    ) -> Result<Decided, Fault> {
        let keyed = Keyed::new(request, key);
        let mut locked = self.lock_for_change()?;
        if let Some(known) = self.recall(&mut locked, &keyed)? {
            return Ok(known);
        }
        self.refuse_when_stopped(&locked)?;
        let record = self.record(&locked, worker_id)?;
        if input.kind != InputKind::Eof {
            // To a process an empty line is a line. What has none answers as deployed runtimes do.
            let takes_lines = !input.raw && locked.threads.contains_key(worker_id);
            check_content(&input.content, takes_lines)?;
        }
        if input.raw {
            self.refuse_without_terminal(record)?;
        }
        refuse_unless_running(record)?;
        let handle = locked.threads.get(worker_id).cloned();
        if let Some(handle) = &handle {
            let room = handle.room_for(input.content.len());
            room.map_err(|undeliverable| refusal(worker_id, undeliverable))?;
        }
        self.refuse_while_failing()?;
        let happened = told(&input, handle.is_some());
        let reply = self.input_ack(&locked, record, happened.is_empty());
        let answer = keyed.answer(self, Some(worker_id), &reply);
        let publication = Publication { happened, record: None, answer, is_output: handle.is_none() };
        let mut ticket = self.publish(&mut locked, worker_id, publication).map_err(store_refusal)?;
        match handle {
            // Only its own end can have come between, and that drops all that was not read.
            Some(handle) => drop(deliver(&handle, input)),
            // What echoes has nothing more to say then.
            None if input.kind == InputKind::Eof => {
                let end = WorkerEnd { exit_code: Some(0), ..plain(EndReason::Exited) };
                ticket = self.tell_end(&mut locked, worker_id, end).map_err(store_fault)?;
            }
            None => {}
        }
        Ok(Decided::changed(reply.response(), ticket))
    }

    /// The acknowledgement of an input. The end of input is no item and no event of its own.
    fn input_ack(&self, state: &State, record: &WorkerRecord, is_end: bool) -> Reply {
        let WorkerRecord { transcript_len, last_event_id, .. } = *record;
        let (transcript_sequence, event_id) = match is_end {
            true => (transcript_len, last_event_id),
            false => (transcript_len + 1, state.next_event_id()),
        };
        Reply::Input(InputAck {
            worker_ref: self.wire_ref(&record.worker_id),
            status: record.status(),
            transcript_sequence,
            event_id,
        })
    }
}

/// What transcript and events have of an input. A worker without a process echoes it.
fn told(input: &Input, has_process: bool) -> Vec<Happened> {
    let role = match input.kind {
        InputKind::User => Role::User,
        InputKind::System => Role::System,
        InputKind::Eof => return Vec::new(),
    };
    let content: Arc<str> = if input.secret { SECRET.into() } else { input.content.as_str().into() };
    let event = Event::user_message(Arc::clone(&content));
    let mut happened = vec![Happened::said(event, role, Arc::clone(&content))];
    if !has_process {
        let event = Event::TextDelta { text: Arc::clone(&content) };
        happened.push(Happened::said(event, Role::Assistant, content));
    }
    happened
}

fn deliver(handle: &Handle, input: Input) -> Result<(), Undeliverable> {
    match input.kind {
        InputKind::Eof => handle.close_input(),
        _ if input.raw => handle.write_raw(input.content.into()),
        _ => handle.write(input.content.into()),
    }
}

fn check_content(content: &str, may_be_empty: bool) -> Result<(), Fault> {
    if content.is_empty() && !may_be_empty {
        return Err(invalid("worker input content must not be empty"));
    }
    if content.len() > MAX_INPUT_BYTES {
        let message = format_args!("worker input content is over the limit of {MAX_INPUT_BYTES} bytes");
        return Err(invalid(message));
    }
    Ok(())
}

pub(super) fn refuse_unless_running(record: &WorkerRecord) -> Result<(), Fault> {
    let why = match record.phase {
        Phase::Running => return Ok(()),
        Phase::Stopping(_) => "was told to end",
        Phase::Ended { .. } => "is not running",
    };
    Err(Fault::new(FaultCode::WorkerNotRunning, format!("worker {} {why}", record.worker_id)))
}

fn refusal(worker_id: &WorkerId, undeliverable: Undeliverable) -> Fault {
    match undeliverable {
        Undeliverable::Full => {
            let message = format!("worker {worker_id} has not read its earlier input yet");
            Fault::new(FaultCode::WorkerBusy, message)
        }
        Undeliverable::Closed => {
            let message = format!("worker {worker_id} takes no more input: its standard input is closed");
            Fault::new(FaultCode::WorkerNotRunning, message)
        }
    }
}
