//! The newest items of one worker's transcript, in memory.

use std::collections::VecDeque;

use sekisho_store::journal::{Ticket, WorkerNo};

use super::convert::number_of;
use crate::record::WorkerRecord;
use crate::store::{MAX_PAGE_BYTES, StoredItem};

/// How many durable items are kept in memory: as many as a snapshot shows.
const MAX_ITEMS: usize = 256;

/// How much text of durable items is kept in memory, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// The end of a transcript: everything that is not durable, and a little more. Before it everything is durable.
pub(super) struct Tail {
    pub(super) no: WorkerNo,
    items: VecDeque<(Ticket, StoredItem)>,
    bytes: usize,
    /// How many items there ever were.
    total: u64,
    newest: Option<Ticket>,
}

impl Tail {
    /// Of a worker of which nothing more has to be kept.
    pub(super) fn of(record: &WorkerRecord) -> Self {
        let (no, total) = (number_of(record), record.transcript_len);
        Self { no, items: VecDeque::new(), bytes: 0, total, newest: None }
    }

    /// What was noted last of the worker.
    pub(super) fn newest_ticket(&self) -> Option<Ticket> {
        self.newest
    }

    pub(super) fn noted(&mut self, ticket: Ticket) {
        self.newest = Some(ticket);
    }

    /// Takes in the next item.
    pub(super) fn push(&mut self, item: StoredItem, ticket: Ticket) {
        self.total = item.sequence;
        self.bytes += item.content.len();
        self.items.push_back((ticket, item));
    }

    /// The sequence of the first item in here, or of the next one that will be.
    pub(super) fn from(&self) -> u64 {
        self.items.front().map_or(self.total + 1, |(_, item)| item.sequence)
    }

    /// Lets go of what is durable beyond the bounds.
    pub(super) fn trim(&mut self, written: Ticket) {
        while self.items.len() > MAX_ITEMS || self.bytes > MAX_BYTES {
            match self.items.front() {
                Some((ticket, _)) if *ticket <= written => self.drop_first(),
                _ => break,
            }
        }
    }

    /// Lets go of all that is durable, and says whether that was all.
    pub(super) fn clear(&mut self, written: Ticket) -> bool {
        while self.items.front().is_some_and(|(ticket, _)| *ticket <= written) {
            self.drop_first();
        }
        self.items.is_empty() && self.newest.is_none_or(|newest| newest <= written)
    }

    fn drop_first(&mut self) {
        if let Some((_, item)) = self.items.pop_front() {
            self.bytes -= item.content.len();
        }
    }

    /// The items after the first `start` that are in here, as many as one page has.
    pub(super) fn page(&self, start: u64, limit: usize) -> Vec<StoredItem> {
        let mut bytes = 0;
        let skip = usize::try_from(start.saturating_add(1).saturating_sub(self.from())).unwrap_or(usize::MAX);
        let mut items = Vec::new();
        for (_, item) in self.items.iter().skip(skip).take(limit) {
            bytes += item.content.len();
            if bytes > MAX_PAGE_BYTES && !items.is_empty() {
                break;
            }
            items.push(item.clone());
        }
        items
    }

    /// The newest items in here that the event `until` or an earlier one told, and whether older ones have no room.
    pub(super) fn newest(&self, until: u64, limit: usize, max_bytes: usize) -> (Vec<StoredItem>, bool) {
        let end = self.items.partition_point(|(_, item)| item.event_id <= until);
        let (mut newest, mut bytes, mut is_full) = (Vec::new(), 0, false);
        for (_, item) in self.items.range(..end).rev() {
            bytes += item.content.len();
            is_full = newest.len() >= limit || bytes > max_bytes;
            if is_full {
                break;
            }
            newest.push(item.clone());
        }
        newest.reverse();
        (newest, is_full)
    }
}
