//! Between the runtime's types and those of a journal.

use std::sync::Arc;

use sekisho_core::id::WorkerId;
use sekisho_core::runtime_api::CreateWorker;
use sekisho_store::journal::{
    AnswerRow, EventRow, ItemRow, KeptWorker, Millis, Payload, Record, Recovered, Stopping, StoredEvents,
    WorkerNo, WorkerRow,
};

use crate::event::Activity;
use crate::idempotency::{Fingerprint, KeptAnswer};
use crate::record::{Ordered, Phase, WorkerRecord};
use crate::store::{Backlog, Loaded, Role, StoreError, StoredEvent, StoredItem, Write};
use crate::timestamp::Timestamp;

/// A worker's number in the journal.
pub(super) fn number_of(record: &WorkerRecord) -> WorkerNo {
    WorkerNo::try_from(record.created_by).unwrap_or(WorkerNo::MAX)
}

/// What one append writes, as a journal takes it. `number` knows the workers that answers are about.
pub(super) fn records(
    no: WorkerNo,
    writes: &[Write],
    number: impl Fn(&WorkerId) -> Option<WorkerNo>,
) -> Vec<Record> {
    let is_output = writes.iter().any(|write| match write {
        Write::Item(item) => matches!(item.role, Role::Assistant | Role::Stderr | Role::Thinking),
        _ => false,
    });
    let at = writes.iter().find_map(|write| match write {
        Write::Item(item) => Some(millis(item.at)),
        _ => None,
    });
    let mut records = Vec::with_capacity(writes.len());
    for (position, write) in writes.iter().enumerate() {
        records.push(match write {
            Write::Record(record) => Record::Worker(Box::new(worker_row(no, record))),
            Write::Item(item) => Record::Item(item_row(no, item)),
            Write::Event(event) => Record::Event(EventRow {
                worker: no,
                place: event.event_id,
                at: at.unwrap_or(0),
                output: is_output,
                payload: payload(event, &writes[position + 1..]),
            }),
            Write::Answer(KeptAnswer { key, body: None, .. }) => Record::Unanswered(key.as_str().into()),
            Write::Answer(KeptAnswer { key, fingerprint, at, worker_id, body: Some(body) }) => {
                Record::Answer(AnswerRow {
                    key: key.as_str().into(),
                    at: millis(*at),
                    worker: worker_id.as_ref().and_then(&number),
                    fingerprint: fingerprint.0,
                    reply: text(body),
                })
            }
            Write::Forgotten => Record::Forget(no),
        });
    }
    records
}

/// A payload is JSON that serde_json wrote: text.
fn text(bytes: &[u8]) -> Arc<str> {
    String::from_utf8_lossy(bytes).into()
}

/// An event's payload, or the items that follow it where they are all of its text.
fn payload(event: &StoredEvent, following: &[Write]) -> Payload {
    lines(event, following).unwrap_or_else(|| Payload::Json(text(&event.payload)))
}

fn lines(event: &StoredEvent, following: &[Write]) -> Option<Payload> {
    let told =
        event.payload.strip_prefix(br#"{"event":"text_delta","data":{"text":"#)?.strip_suffix(b"}}")?;
    let items: Vec<&StoredItem> = following
        .iter()
        .map_while(|write| match write {
            Write::Item(item) => Some(item),
            _ => None,
        })
        .collect();
    let first = items.first()?.sequence;
    let contents: Vec<&str> = items.iter().map(|item| &*item.content).collect();
    let joined = contents.join("\n");
    let is_told = |text: &str| serde_json::to_vec(text).is_ok_and(|text| text == told);
    let ended = told.ends_with(br#"\n""#);
    let said = if ended { joined + "\n" } else { joined };
    is_told(&said).then_some(Payload::Lines { first, count: items.len() as u64, ended })
}

fn worker_row(no: WorkerNo, record: &WorkerRecord) -> WorkerRow {
    let (stopping, ended_at, end) = match &record.phase {
        Phase::Running => (None, None, None),
        Phase::Stopping(Ordered { cancel, reason, event_id }) => {
            let stopping = Stopping { cancel: *cancel, reason: reason.clone(), event_id: *event_id };
            (Some(stopping), None, None)
        }
        Phase::Ended { end, at, .. } => (None, Some(millis(*at)), Some(end.clone())),
    };
    WorkerRow {
        no,
        worker_id: record.worker_id.clone(),
        status: record.status(),
        // A create was JSON when it came.
        request: serde_json::to_string(&*record.spec).unwrap_or_default().into(),
        name: record.spec.name.clone(),
        labels: record.spec.labels.clone(),
        created_at: millis(record.created_at),
        started_at: record.started_at.map(millis),
        ended_at,
        stopping,
        ended_by: record.closed_by(),
        end,
        // Plain data, as what a worker was created with.
        agent: record.agent.as_ref().and_then(|agent| serde_json::to_string(agent).ok()).map(Into::into),
    }
}

/// What was recovered, as the runtime takes it.
pub(super) fn loaded(recovered: Recovered) -> Loaded {
    let mut loaded = Loaded {
        incarnation: Some(recovered.incarnation),
        last_event_id: recovered.last_place,
        ..Loaded::default()
    };
    if recovered.interrupted {
        loaded.diagnostics.push("the last runtime ended without closing its store".to_owned());
    }
    if recovered.cut_bytes > 0 {
        let cut = format!("{} bytes were cut off that had never been acknowledged", recovered.cut_bytes);
        loaded.diagnostics.push(cut);
    }
    let mut ids = std::collections::BTreeMap::new();
    for worker in recovered.workers {
        let (no, worker_id) = (worker.row.no, worker.row.worker_id.clone());
        ids.insert(no, worker_id.clone());
        match worker_record(worker) {
            Some(record) => loaded.workers.push(record),
            None => loaded.corrupt.push(worker_id),
        }
    }
    for damaged in recovered.damaged {
        match damaged.worker_id.and_then(|worker_id| worker_id.parse().ok()) {
            Some(worker_id) => loaded.corrupt.push(worker_id),
            None => loaded.diagnostics.push("the record of a worker is damaged, its id included".to_owned()),
        }
    }
    if !loaded.corrupt.is_empty() {
        loaded.diagnostics.push(format!("the records of {} workers are damaged", loaded.corrupt.len()));
    }
    loaded.answers = recovered.answers.into_iter().filter_map(|answer| kept_answer(answer, &ids)).collect();
    loaded
}

fn kept_answer(
    answer: AnswerRow,
    ids: &std::collections::BTreeMap<WorkerNo, WorkerId>,
) -> Option<KeptAnswer> {
    let worker_id = match answer.worker {
        Some(no) => Some(ids.get(&no)?.clone()),
        None => None,
    };
    Some(KeptAnswer {
        key: answer.key.parse().ok()?,
        fingerprint: Fingerprint(answer.fingerprint),
        at: timestamp(answer.at),
        worker_id,
        body: Some(answer.reply.as_bytes().to_vec().into()),
    })
}

fn worker_record(KeptWorker { row, extent }: KeptWorker) -> Option<WorkerRecord> {
    let spec: CreateWorker = serde_json::from_str(&row.request).ok()?;
    let phase = match (row.end, row.ended_at, row.stopping) {
        (Some(end), Some(at), _) => {
            Phase::Ended { end, at: timestamp(at), event_id: row.ended_by.unwrap_or(extent.last_event_id) }
        }
        (None, None, Some(Stopping { cancel, reason, event_id })) => {
            Phase::Stopping(Ordered { cancel, reason, event_id })
        }
        (None, None, None) => Phase::Running,
        _ => return None,
    };
    let agent = match &row.agent {
        Some(agent) => Some(serde_json::from_str(agent).ok()?),
        None => None,
    };
    Some(WorkerRecord {
        worker_id: row.worker_id,
        spec: Arc::new(spec),
        created_by: u64::try_from(row.no).ok()?,
        created_at: timestamp(row.created_at),
        started_at: row.started_at.map(timestamp),
        last_output_at: extent.last_output_at.map(timestamp),
        phase,
        activity: Activity::default(),
        agent,
        transcript_len: extent.items,
        last_event_id: extent.last_event_id,
    })
}

fn item_row(no: WorkerNo, item: &StoredItem) -> ItemRow {
    ItemRow {
        worker: no,
        sequence: item.sequence,
        place: item.event_id,
        at: millis(item.at),
        role: item.role.as_str().into(),
        cont: item.cont,
        content: Arc::clone(&item.content),
    }
}

/// An item that was read back.
pub(super) fn item(row: ItemRow) -> Result<StoredItem, StoreError> {
    Ok(StoredItem {
        sequence: row.sequence,
        role: Role::from_name(&row.role).ok_or(StoreError::Corrupt)?,
        content: row.content,
        event_id: row.place,
        at: timestamp(row.at),
        cont: row.cont,
    })
}

pub(super) fn backlog(found: StoredEvents) -> Backlog {
    let events = found.events.into_iter();
    let events = events.map(|event| StoredEvent { event_id: event.place, payload: event.payload.into() });
    Backlog { before: found.before, events: events.collect() }
}

fn millis(at: Timestamp) -> Millis {
    Millis::try_from(at.as_millis()).unwrap_or(Millis::MAX)
}

fn timestamp(at: Millis) -> Timestamp {
    Timestamp::from_millis(u64::try_from(at).unwrap_or(0))
}
