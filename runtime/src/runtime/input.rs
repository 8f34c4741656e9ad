//! What workers are told.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::{Fault, FaultCode, IdempotencyKey, Input, InputAck, InputKind, Reply};

use super::once::Keyed;
use super::pending::Decided;
use super::publish::{Happened, Publication};
use super::{Shared, invalid, store_fault};
use crate::event::Event;
use crate::record::{Phase, WorkerRecord};
use crate::store::Role;
use crate::worker::{MAX_INPUT_BYTES, Undeliverable};

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
        check_content(&input.content)?;
        refuse_unless_running(record)?;
        let transcript_sequence = record.transcript_len + 1;
        let handle = locked.threads.get(worker_id).cloned();
        if let Some(handle) = &handle {
            handle
                .room_for(input.content.len())
                .map_err(|undeliverable| refusal(worker_id, undeliverable))?;
        }
        let content: Arc<str> = input.content.into();
        let role = match input.kind {
            InputKind::User => Role::User,
            InputKind::System => Role::System,
            InputKind::Eof => return Err(invalid("this runtime cannot end a worker's input")),
        };
        let event = Event::user_message(Arc::clone(&content));
        let mut happened = vec![Happened::said(event, role, Arc::clone(&content))];
        if handle.is_none() {
            let event = Event::TextDelta { text: Arc::clone(&content) };
            happened.push(Happened::said(event, Role::Assistant, Arc::clone(&content)));
        }
        let reply = Reply::Input(InputAck {
            worker_ref: self.wire_ref(worker_id),
            status: record.status(),
            transcript_sequence,
            event_id: locked.next_event_id(),
        });
        let answer = keyed.answer(self, Some(worker_id), &reply);
        let publication = Publication { happened, record: None, answer, is_output: handle.is_none() };
        let ticket = self.publish(&mut locked, worker_id, publication).map_err(store_fault)?;
        if let Some(handle) = handle {
            // Only its own end can have come between, and that drops all that was not read.
            let _ = handle.write(content);
        }
        Ok(Decided::changed(reply.response(), ticket))
    }
}

fn check_content(content: &str) -> Result<(), Fault> {
    if content.is_empty() {
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
