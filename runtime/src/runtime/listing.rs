//! Lists: of workers, page by page, and of profiles.

use sekisho_core::runtime_api::{
    Fault, FaultCode, Intent, NextAfter, ProfileList, ProfileSummary, Reply, WorkerFilter, WorkerList,
    WorkerSummary,
};

use super::{Shared, store_fault};
use crate::profile::BUILTIN_ECHO;
use crate::record::WorkerRecord;

/// The longest text of a row in a list, in characters. What is longer is cut, and the row says so.
pub const MAX_LIST_TEXT: usize = 512;

/// How many rows a page of a list has at most.
pub const MAX_PAGE_ROWS: usize = 1000;

/// How long a page of a list becomes, in bytes of texts: a page ends early rather than be over what a gateway reads of a
/// reply, JSON's escapes included.
pub const MAX_PAGE_TEXT: usize = 1024 * 1024;

impl Shared {
    pub(super) fn workers(&self, filter: &WorkerFilter) -> Result<Reply, Fault> {
        let mut locked = self.lock().map_err(store_fault)?;
        // Those that are too old are forgotten at the latest when they would be shown.
        self.make_room(&mut locked).map_err(store_fault)?;
        let place = match &filter.after {
            None => 0,
            Some(after) => locked.records.place(after).ok_or_else(|| {
                Fault::new(
                    FaultCode::InvalidQuery,
                    "invalid query parameters: after: there is no such worker",
                )
            })?,
        };
        let found = locked.records.after(place).filter(|record| admits(filter, record));
        let Some(limit) = filter.limit else {
            let workers = found.map(|record| self.worker_summary(record)).collect();
            return Ok(Reply::Workers(WorkerList { workers, ..WorkerList::default() }));
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(MAX_PAGE_ROWS);
        let (mut workers, mut text, mut next_after) = (Vec::new(), 0, NextAfter::Nothing);
        for record in found {
            let row = self.worker_summary(record);
            text += text_of(&row);
            if let Some(last) = workers.last().filter(|_| workers.len() == limit || text > MAX_PAGE_TEXT) {
                let WorkerSummary { worker_id, .. } = last;
                next_after = NextAfter::Worker(worker_id.clone());
                break;
            }
            workers.push(row);
        }
        Ok(Reply::Workers(WorkerList { workers, next_after, ..WorkerList::default() }))
    }

    pub(super) fn profiles(&self) -> Result<Reply, Fault> {
        let own = self.config.profiles.iter().enumerate().map(|(index, profile)| ProfileSummary {
            name: profile.name.clone(),
            kind: profile.kind_name().to_owned(),
            default: index == 0,
            terminal: profile.has_terminal(),
            description: profile.description.clone(),
        });
        let echo = ProfileSummary {
            name: BUILTIN_ECHO.to_owned(),
            kind: BUILTIN_ECHO.to_owned(),
            default: self.config.profiles.is_empty(),
            terminal: false,
            description: None,
        };
        Ok(Reply::Profiles(ProfileList { profiles: own.chain([echo]).collect(), left_out: 0 }))
    }

    fn worker_summary(&self, record: &WorkerRecord) -> WorkerSummary {
        let mut truncated = false;
        let intent = shortened(&record.spec.intent, &mut truncated);
        let mut facts = record.facts();
        if let Some(message) = facts.end.as_mut().and_then(|end| end.message.as_mut()) {
            *message = cut(message, &mut truncated);
        }
        WorkerSummary {
            worker_ref: self.wire_ref(&record.worker_id),
            runtime_id: self.config.runtime_id.to_string(),
            worker_id: record.worker_id.to_string(),
            status: record.status(),
            intent,
            profile: record.spec.profile.clone(),
            requested_capability_count: record.spec.requested_capabilities.len() as u64,
            has_config_bundle: record.spec.config_bundle.is_some(),
            transcript_len: record.transcript_len,
            last_event_id: record.last_event_id,
            facts,
            truncated,
        }
    }
}

/// [`WorkerFilter::admits`], without making a row of each worker.
fn admits(filter: &WorkerFilter, record: &WorkerRecord) -> bool {
    filter.status.is_none_or(|status| record.status() == status)
        && filter.name.as_ref().is_none_or(|name| record.spec.name.as_ref() == Some(name))
        && filter.labels.iter().all(|(name, value)| record.spec.labels.get(name) == Some(value))
}

/// How much text there is in a row, about.
fn text_of(row: &WorkerSummary) -> usize {
    const FIXED: usize = 512;
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let intent: usize = row.intent.texts().map(String::len).sum();
    let labels = row.facts.labels.iter().map(|(name, value)| name.len() + value.len());
    let end = row.facts.end.as_ref().map_or(0, |end| text(&end.message));
    FIXED + intent + labels.sum::<usize>() + text(&row.facts.name) + end
}

/// An intent whose texts are short enough for a list.
fn shortened(intent: &Intent, truncated: &mut bool) -> Intent {
    let mut intent = intent.clone();
    intent.texts_mut().for_each(|text| *text = cut(text, truncated));
    intent
}

fn cut(text: &str, truncated: &mut bool) -> String {
    match text.char_indices().nth(MAX_LIST_TEXT) {
        None => text.to_owned(),
        Some(_) => {
            *truncated = true;
            text.chars().take(MAX_LIST_TEXT - 1).chain(['…']).collect()
        }
    }
}

#[cfg(test)]
mod tests;
