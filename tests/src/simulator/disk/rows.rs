//! What is on a simulated disk: the rows of a store, as its database would have them.

use std::collections::BTreeMap;

use sekisho_store::journal::{
    AnswerRow, EventRow, Extent, ItemRow, ItemWindow, KeptWorker, Payload, Record, SearchPage, StoredEvent,
    StoredEvents, WorkerNo, WorkerRow,
};

/// Places are promised to the disk this many at a time, as the real store does. That a start goes on from the clock as well is
/// left out: it is what is left where the clock is wrong.
const RESERVED_PLACES: u64 = 1 << 30;

/// The rows.
#[derive(Clone, Default)]
pub(super) struct Rows {
    workers: BTreeMap<WorkerNo, Worker>,
    pub(super) answers: Vec<AnswerRow>,
    /// The place of the newest event, and up to which places may have been given out.
    pub(super) last_place: u64,
    pub(super) reserved: u64,
    /// What no database would have taken.
    pub(super) broken: Option<String>,
}

#[derive(Clone)]
struct Worker {
    row: WorkerRow,
    extent: Extent,
    items: Vec<ItemRow>,
    events: Vec<EventRow>,
}

impl Rows {
    /// Promises places to the disk before the first of them is given out.
    pub(super) fn reserve(&mut self) {
        self.reserved = self.last_place + RESERVED_PLACES;
    }

    /// Takes in a batch, or a part of one.
    pub(super) fn apply(&mut self, batch: &[Record]) {
        for record in batch {
            self.take(record);
        }
        if self.last_place + RESERVED_PLACES / 2 > self.reserved {
            self.reserve();
        }
    }

    fn take(&mut self, record: &Record) {
        match record {
            Record::Worker(row) => match self.workers.get_mut(&row.no) {
                Some(worker) => worker.row = WorkerRow::clone(row),
                None => {
                    let (extent, items, events) = Default::default();
                    let worker = Worker { row: WorkerRow::clone(row), extent, items, events };
                    self.workers.insert(row.no, worker);
                }
            },
            Record::Forget(no) => {
                self.workers.remove(no);
                self.answers.retain(|answer| answer.worker != Some(*no));
            }
            Record::Event(event) => {
                if event.place <= self.last_place {
                    self.broken = Some(format!("the place {} is given out twice", event.place));
                }
                self.last_place = event.place;
                if let Some(worker) = self.workers.get_mut(&event.worker) {
                    worker.extent.last_event_id = event.place;
                    worker.extent.last_output_at =
                        event.output.then_some(event.at).or(worker.extent.last_output_at);
                    worker.events.push(event.clone());
                }
            }
            Record::Item(item) => {
                if let Some(worker) = self.workers.get_mut(&item.worker) {
                    if item.sequence != worker.extent.items + 1 {
                        self.broken = Some(format!("{} follows on {}", item.sequence, worker.extent.items));
                    }
                    worker.extent.items = item.sequence;
                    worker.items.push(item.clone());
                }
            }
            Record::Answer(answer) => {
                self.answers.retain(|kept| kept.key != answer.key);
                self.answers.push(answer.clone());
            }
            Record::Unanswered(key) => self.answers.retain(|kept| kept.key != *key),
            other => self.broken = Some(format!("{other:?} is more than a simulated disk is given")),
        }
    }

    pub(super) fn workers(&self) -> Vec<KeptWorker> {
        let kept = |worker: &Worker| KeptWorker { row: worker.row.clone(), extent: worker.extent };
        self.workers.values().map(kept).collect()
    }

    pub(super) fn items(&self, no: WorkerNo, window: ItemWindow) -> Vec<ItemRow> {
        let Some(worker) = self.workers.get(&no) else { return Vec::new() };
        let mut bytes = 0;
        let wanted = worker.items.iter().filter(|item| item.sequence > window.after).take(window.limit);
        let fits = |(number, item): &(usize, &ItemRow)| {
            bytes += item.content.len();
            *number == 0 || bytes <= window.max_bytes
        };
        wanted.enumerate().take_while(fits).map(|(_, item)| item.clone()).collect()
    }

    pub(super) fn newest_items(
        &self,
        no: WorkerNo,
        before: u64,
        until: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Vec<ItemRow> {
        let Some(worker) = self.workers.get(&no) else { return Vec::new() };
        let mut bytes = 0;
        let told = worker.items.iter().rev().filter(|item| item.place <= until && item.sequence < before);
        let fits = |item: &&ItemRow| {
            bytes += item.content.len();
            bytes <= max_bytes
        };
        let mut newest: Vec<ItemRow> = told.take(limit).take_while(fits).cloned().collect();
        newest.reverse();
        newest
    }

    pub(super) fn search(&self, no: WorkerNo, text: &str, before: u64, limit: usize) -> SearchPage {
        let Some(worker) = self.workers.get(&no) else { return SearchPage::default() };
        let holds = |item: &&ItemRow| item.sequence < before && item.content.contains(text);
        let items: Vec<ItemRow> = worker.items.iter().rev().filter(holds).take(limit).cloned().collect();
        let next = items.last().map(|item| item.sequence).filter(|next| items.len() >= limit && *next > 1);
        SearchPage { items, next_before: next }
    }

    pub(super) fn newest_events(
        &self,
        no: WorkerNo,
        after: u64,
        limit: usize,
        max_bytes: usize,
    ) -> StoredEvents {
        let Some(worker) = self.workers.get(&no) else { return StoredEvents::default() };
        let mut found = StoredEvents::default();
        let mut bytes = 0;
        for event in worker.events.iter().rev().filter(|event| event.place > after) {
            let payload = worker.payload(event);
            bytes += payload.as_ref().map_or(0, String::len);
            let is_full = found.events.len() >= limit || bytes > max_bytes && !found.events.is_empty();
            let Some(payload) = payload.filter(|_| !is_full) else {
                found.before = Some(event.place);
                break;
            };
            found.events.push(StoredEvent { place: event.place, at: event.at, payload });
        }
        let from = after.max(worker.extent.events_after);
        found.before = found.before.or(Some(from).filter(|place| *place > 0));
        found.events.reverse();
        found
    }
}

impl Worker {
    /// What an event tells, where its text is there.
    fn payload(&self, event: &EventRow) -> Option<String> {
        let (first, count, ended) = match &event.payload {
            Payload::Json(json) => return Some(json.to_string()),
            Payload::Lines { first, count, ended } => (*first, *count, *ended),
        };
        let items: Vec<&str> = self
            .items
            .iter()
            .filter(|item| (first..first + count).contains(&item.sequence))
            .map(|item| &*item.content)
            .collect();
        if items.len() as u64 != count {
            return None;
        }
        let text = items.join("\n") + if ended { "\n" } else { "" };
        Some(format!(r#"{{"event":"text_delta","data":{{"text":{}}}}}"#, serde_json::Value::String(text)))
    }
}
