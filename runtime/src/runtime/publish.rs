//! How what happens to a worker becomes events, items, records and frames.

use std::sync::Arc;

use bytes::Bytes;
use sekisho_core::id::WorkerId;
use serde_json::value::RawValue;

use super::Shared;
use super::state::{Locked, State};
use crate::cursor::Cursor;
use crate::event::Event;
use crate::frame::{self, Diagnostic};
use crate::idempotency::KeptAnswer;
use crate::record::WorkerRecord;
use crate::store::{Role, StoreError, StoredEvent, StoredItem, Ticket, Write};
use crate::stream::{Stream, StreamFrame};

/// Something that happened to a worker: an event, with what it adds to the transcript.
pub(super) struct Happened {
    /// `None` where it was told before, and goes into the transcript only now.
    pub(super) event: Option<Event>,
    pub(super) items: Vec<Said>,
}

/// An item for the transcript.
pub(super) struct Said {
    pub(super) role: Role,
    pub(super) content: Arc<str>,
    pub(super) cont: bool,
}

impl Happened {
    pub(super) fn event(event: Event) -> Self {
        Self { event: Some(event), items: Vec::new() }
    }

    pub(super) fn said(event: Event, role: Role, content: Arc<str>) -> Self {
        Self { event: Some(event), items: vec![Said { role, content, cont: false }] }
    }
}

/// All that goes into the store and to the subscribers as one.
#[derive(Default)]
pub(super) struct Publication {
    /// In the order in which it happened.
    pub(super) happened: Vec<Happened>,
    /// The worker's record where more changes than its counts, or the worker is new.
    pub(super) record: Option<WorkerRecord>,
    /// The answer to the request that made it happen.
    pub(super) answer: Option<KeptAnswer>,
    /// Whether the worker wrote it.
    pub(super) is_output: bool,
}

impl State {
    /// Takes in the record of a worker.
    fn put(&mut self, record: WorkerRecord) {
        let (worker_id, ends) = (record.worker_id.clone(), record.has_ended());
        self.records.put(record);
        if ends {
            self.ends += 1;
            self.backlogs.ended(&worker_id, self.ends);
        } else {
            self.backlogs.resumed(&worker_id);
        }
    }

    /// The id of the first event that is published next.
    pub(super) fn next_event_id(&self) -> u64 {
        self.last_event_id + 1
    }
}

impl Shared {
    /// The one way of an event: it gets its id, goes to the store with what it changes, and to the subscribers of the
    /// worker. Under the lock, so that ids only grow within a stream.
    pub(super) fn publish(
        &self,
        locked: &mut Locked<'_>,
        worker_id: &WorkerId,
        publication: Publication,
    ) -> Result<Ticket, StoreError> {
        let Publication { happened, mut record, answer, is_output } = publication;
        let now = self.now();
        let known = record.as_ref().or_else(|| locked.records.get(worker_id)).ok_or(StoreError::Missing)?;
        let mut sequence = known.transcript_len;
        let mut event_id = locked.last_event_id;
        // Of this worker.
        let mut newest = known.last_event_id;
        let stream = self.stream(locked, worker_id)?;
        let mut writes = Vec::with_capacity(3);
        let mut frames = Vec::with_capacity(happened.len());
        for Happened { event, items } in happened {
            if let Some(event) = event {
                event_id += 1;
                newest = event_id;
                let payload = frame::payload(&event);
                frames.push(self.frame(worker_id, event_id, &payload));
                let payload = Box::<str>::from(payload).into_string().into();
                writes.push(Write::Event(StoredEvent { event_id, payload }));
            }
            for Said { role, content, cont } in items {
                sequence += 1;
                writes.push(Write::Item(StoredItem {
                    sequence,
                    role,
                    content,
                    event_id: newest,
                    at: now,
                    cont,
                }));
            }
        }
        if let Some(record) = &mut record {
            (record.transcript_len, record.last_event_id) = (sequence, newest);
            writes.insert(0, Write::Record(Box::new(record.clone())));
        }
        writes.extend(answer.clone().map(Write::Answer));
        let ticket = self.store.append(worker_id, writes)?;
        locked.last_ticket = ticket;

        locked.last_event_id = event_id;
        match record {
            Some(record) => locked.put(record),
            None => {
                if let Some(record) = locked.records.get_mut(worker_id) {
                    (record.transcript_len, record.last_event_id) = (sequence, newest);
                    record.last_output_at = is_output.then_some(now).or(record.last_output_at);
                }
            }
        }
        if let Some(answer) = answer {
            locked.answers.keep(answer);
        }
        self.push(locked, worker_id, &stream, frames);
        Ok(ticket)
    }

    fn push(&self, locked: &mut Locked<'_>, worker_id: &WorkerId, stream: &Stream, frames: Vec<StreamFrame>) {
        let Locked { state, woken } = locked;
        for frame in frames {
            woken.0.extend(stream.push(frame).into_values());
        }
        state.backlogs.set(worker_id, stream.bytes());
        let mut exhausted = Vec::new();
        while let Some(reduction) = state.backlogs.reduction(&exhausted) {
            let Some(stream) = state.streams.get(&reduction.owner).cloned() else { return };
            if stream.reduce(reduction.max_bytes) {
                state.backlogs.set(&reduction.owner, stream.bytes());
            } else {
                exhausted.push(reduction.owner);
            }
        }
    }

    /// The stream of a worker, with what the store kept of it.
    pub(super) fn stream(
        &self,
        locked: &mut Locked<'_>,
        worker_id: &WorkerId,
    ) -> Result<Arc<Stream>, StoreError> {
        if let Some(stream) = locked.streams.get(worker_id) {
            return Ok(Arc::clone(stream));
        }
        let limits = &self.config.limits;
        let backlog = self.store.backlog(worker_id, limits.max_backlog_events, limits.max_backlog_bytes)?;
        let kept = backlog.events.iter().map(|event| {
            let payload: &RawValue =
                serde_json::from_slice(&event.payload).map_err(|_| StoreError::Corrupt)?;
            Ok(self.frame(worker_id, event.event_id, payload))
        });
        let kept: Vec<StreamFrame> = kept.collect::<Result<_, _>>()?;
        // Where no event was kept the newest is a place all the same.
        let newest = locked.records.get(worker_id).map(|record| record.last_event_id);
        let before = backlog.before.or(newest.filter(|_| kept.is_empty()));
        let stream = Arc::new(Stream::new(limits, before, kept));
        locked.backlogs.set(worker_id, stream.bytes());
        locked.streams.insert(worker_id.clone(), Arc::clone(&stream));
        Ok(stream)
    }

    fn frame(&self, worker_id: &WorkerId, event_id: u64, payload: &RawValue) -> StreamFrame {
        let cursor = Cursor { epoch: &self.epoch, place: event_id }.to_string();
        let text: Bytes = frame::event(&cursor, worker_id, payload);
        StreamFrame { event_id, text }
    }

    /// Forgets workers that have ended until there is room for those that will.
    pub(super) fn make_room(&self, locked: &mut Locked<'_>) -> Result<(), StoreError> {
        let now = self.now();
        while let Some(worker_id) = locked.records.surplus(now, &self.config.limits).cloned() {
            self.forget(locked, &worker_id)?;
        }
        Ok(())
    }

    /// Forgets a worker that has ended, with all that is kept of it.
    pub(super) fn forget(&self, locked: &mut Locked<'_>, worker_id: &WorkerId) -> Result<Ticket, StoreError> {
        let ticket = self.store.append(worker_id, vec![Write::Forgotten])?;
        locked.last_ticket = ticket;
        locked.records.remove(worker_id);
        locked.answers.forget(worker_id);
        locked.backlogs.remove(worker_id);
        if let Some(stream) = locked.streams.remove(worker_id) {
            locked.woken.0.extend(stream.close(Diagnostic::WorkerNotFound).into_values());
        }
        Ok(ticket)
    }
}
