//! Which workers a list is to have.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::wire::{NextAfter, WorkerFacts, WorkerList, WorkerStatus, WorkerSummary};
use crate::id::WorkerId;
use crate::query::{self, QueryError};

/// Which workers a list is to have, and from where on. By default all of them.
///
/// A runtime with [`Feature::Pages`](super::Feature::Pages) chooses by itself; of the list of another the gateway does.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WorkerFilter {
    /// Those in this state.
    pub status: Option<WorkerStatus>,
    /// Those of this name.
    pub name: Option<String>,
    /// Those with all of these labels.
    pub labels: BTreeMap<String, String>,
    /// So many at most, and at least one.
    pub limit: Option<u64>,
    /// Those after this one.
    pub after: Option<WorkerId>,
}

/// The worker after which a page was to begin is not in the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the query parameter \"after\" names no worker of the list")]
pub struct UnknownAfter;

/// The parameters of a filter; the last may be given several times.
#[cfg(feature = "pages")]
pub(crate) const FILTER: [&str; 5] = [STATUS, NAME, LIMIT, AFTER, LABEL];

const STATUS: &str = "status";
const NAME: &str = "name";
const LABEL: &str = "label";
const LIMIT: &str = "limit";
const AFTER: &str = "after";

impl WorkerFilter {
    /// What a query asks for. `after` comes as it is: not everywhere is it a worker's id.
    pub(crate) fn from_query(query: Option<&str>) -> Result<(Self, Option<Cow<'_, str>>), QueryError> {
        let parameters = query::read(query, [STATUS, NAME, LIMIT, AFTER], Some(LABEL))?;
        let [status, name, limit, after] = parameters.single;
        let status = match status.as_deref() {
            None => None,
            Some("running") => Some(WorkerStatus::Running),
            Some("stopped") => Some(WorkerStatus::Stopped),
            Some("cancelled") => Some(WorkerStatus::Cancelled),
            Some(_) => {
                let expected = "running, stopped or cancelled";
                return Err(QueryError::Other { name: STATUS, expected });
            }
        };
        let mut labels = BTreeMap::new();
        for label in parameters.repeated {
            let expected = "KEY=VALUE, with another KEY each time";
            let odd = QueryError::Other { name: LABEL, expected };
            let Some((key, value)) = label.split_once('=') else { return Err(odd) };
            if labels.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(odd);
            }
        }
        let limit = query::number(LIMIT, limit.as_deref())?;
        if limit == Some(0) {
            return Err(QueryError::Other { name: LIMIT, expected: "at least 1" });
        }
        Ok((Self { status, name: name.map(Cow::into_owned), labels, limit, after: None }, after))
    }

    /// The same with `after` being a worker's id.
    pub(super) fn from_query_of_one(query: Option<&str>) -> Result<Self, QueryError> {
        let (filter, after) = Self::from_query(query)?;
        let after = after.map(|after| after.parse()).transpose();
        let after = after.map_err(|_| QueryError::Other { name: AFTER, expected: "a worker's id" })?;
        Ok(Self { after, ..filter })
    }

    /// The parameters of a query that asks for the same, `after` being as given.
    pub(crate) fn parameters<'a>(
        &'a self,
        after: Option<Cow<'a, str>>,
    ) -> impl Iterator<Item = (&'static str, Cow<'a, str>)> {
        let single = [
            (STATUS, self.status.map(|status| status.name().into())),
            (NAME, self.name.as_deref().map(Cow::Borrowed)),
            (LIMIT, self.limit.map(|limit| limit.to_string().into())),
            (AFTER, after),
        ];
        let labels = self.labels.iter().map(|(key, value)| (LABEL, format!("{key}={value}").into()));
        single.into_iter().filter_map(|(name, value)| Some((name, value?))).chain(labels)
    }

    /// The parameters of a query that asks one runtime for the same.
    pub(super) fn parameters_of_one(&self) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
        self.parameters(self.after.as_ref().map(|after| Cow::Borrowed(after.as_str())))
    }

    /// Whether a worker is among those that are wanted, wherever a page begins.
    pub fn admits(&self, worker: &WorkerSummary) -> bool {
        self.admits_state(worker.status, &worker.facts)
    }

    /// Whether a worker of this status, of which this is told, is among them.
    pub fn admits_state(&self, status: WorkerStatus, facts: &WorkerFacts) -> bool {
        self.status.is_none_or(|wanted| status == wanted)
            && self.name.as_ref().is_none_or(|name| facts.name.as_ref() == Some(name))
            && self.labels.iter().all(|(key, value)| facts.labels.get(key) == Some(value))
    }

    /// The page that this asks for, of the list of all workers.
    pub fn page_of(&self, list: WorkerList) -> Result<WorkerList, UnknownAfter> {
        let WorkerList { mut workers, left_out, diagnostics, .. } = list;
        if let Some(after) = &self.after {
            let place = workers.iter().position(|worker| worker.worker_id == after.as_str());
            workers.drain(..=place.ok_or(UnknownAfter)?);
        }
        workers.retain(|worker| self.admits(worker));
        let limit = self.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let more = workers.len() > limit;
        workers.truncate(limit);
        let last = workers.last().filter(|_| more);
        let next_after = match (last, self.limit) {
            (Some(last), _) => NextAfter::Worker(last.worker_id.clone()),
            (None, Some(_)) => NextAfter::Nothing,
            (None, None) => NextAfter::Whole,
        };
        Ok(WorkerList { workers, next_after, left_out, diagnostics })
    }
}
