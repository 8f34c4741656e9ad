//! Output that is given up.

use std::collections::BTreeMap;

use crate::journal::record::{LostRow, Record, WorkerNo};

/// Gives up the events and items among these records, and notes in their place what is lost of each worker.
pub(super) fn give_up(records: Vec<Record>) -> Vec<Record> {
    let mut lost: BTreeMap<WorkerNo, LostRow> = BTreeMap::new();
    let mut kept = Vec::new();
    for record in records {
        let (worker, items_gone, events_after) = match &record {
            Record::Item(item) => (item.worker, item.sequence, 0),
            Record::Event(event) => (event.worker, 0, event.place),
            Record::Lost(lost) => (lost.worker, lost.items_gone, lost.events_after),
            _ => {
                kept.push(record);
                continue;
            }
        };
        let row = lost.entry(worker).or_default();
        row.worker = worker;
        row.items_gone = row.items_gone.max(items_gone);
        row.events_after = row.events_after.max(events_after);
    }
    // A worker that is forgotten has nothing to lose any more.
    for record in &kept {
        if let Record::Forget(worker) = record {
            lost.remove(worker);
        }
    }
    kept.extend(lost.into_values().map(Record::Lost));
    kept
}
