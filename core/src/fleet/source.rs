//! What is asked of one runtime, and what it has answered.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::feed::Shown;
use super::limits::{LONGEST_POLL_PAUSE, POLL_EVERY};
use crate::backoff::doubled;
use crate::browser_api::{
    FleetRuntime, Lens, Now, RequestView, WorkerView, lens, shown_requests, shown_workers,
};
use crate::call::Seen;
use crate::diagnostic::Diagnostic;
use crate::error::{Error, ErrorKind};
use crate::id::RuntimeId;
use crate::policy::Policy;
use crate::registry::{Reachability, Registry};
use crate::runtime_api::{Operation, Reply, RequestList};

/// What a runtime is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Question {
    /// Its workers.
    Workers,
    /// The open requests of all of them.
    Requests,
}

#[derive(Debug)]
enum State {
    /// To be asked at this instant.
    Due(Question, Instant),
    /// Being asked.
    Asked(Question),
}

/// What an answer tells.
enum Taken {
    /// The same list as before.
    Nothing,
    Workers(Vec<WorkerView>),
    Requests(Vec<RequestView>),
}

/// One runtime.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) shown: Arc<Shown>,
    state: State,
    /// When it was last asked for its workers.
    asked_at: Instant,
    failures: u32,
    /// Its last list of workers, and through what it was shown.
    seen: Option<(Seen, Lens)>,
    /// Through what the list is to be shown that it is asked for.
    lens: Option<Lens>,
    /// What of the list could not be shown.
    of_list: Vec<Diagnostic>,
    /// Whether its open requests may be others than those that are shown.
    requests_stale: bool,
    is_known: bool,
}

/// How a runtime is shown that has not been asked; `None` where there is no such runtime.
pub(super) fn first(registry: &Registry, runtime_id: &RuntimeId) -> Option<Shown> {
    let reachability = registry.health(runtime_id)?.reachability;
    Some(Shown::new(runtime(registry, runtime_id, reachability)?, Vec::new(), Vec::new()))
}

fn runtime(registry: &Registry, runtime_id: &RuntimeId, reachability: Reachability) -> Option<FleetRuntime> {
    let (spec, health) = (registry.spec(runtime_id)?, registry.health(runtime_id)?);
    Some(FleetRuntime {
        runtime_id: runtime_id.clone(),
        display_name: health.display_name(spec).to_owned(),
        kind: spec.kind.name().into(),
        reachability,
        failing_since: None,
        diagnostics: Vec::new(),
    })
}

/// Through what a runtime's workers are shown now.
pub(super) fn lens_of(registry: &Registry, policy: &dyn Policy, runtime_id: &RuntimeId) -> Option<Lens> {
    lens(registry, policy, runtime_id).ok()
}

impl Source {
    pub(super) fn new(now: Instant, shown: Arc<Shown>) -> Self {
        Self {
            shown,
            state: State::Due(Question::Workers, now),
            asked_at: now,
            failures: 0,
            seen: None,
            lens: None,
            of_list: Vec::new(),
            requests_stale: false,
            is_known: false,
        }
    }

    /// When it is to be asked, unless it is being asked.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.state {
            State::Due(_, at) => Some(at),
            State::Asked(_) => None,
        }
    }

    pub(super) fn is_asked(&self, question: Question) -> bool {
        matches!(self.state, State::Asked(asked) if asked == question)
    }

    /// Whether it has answered, or failed.
    pub(super) fn is_known(&self) -> bool {
        self.is_known
    }

    /// Takes that it is being asked, and for what.
    pub(super) fn begin(&mut self, now: Instant) -> Question {
        let question = match self.state {
            State::Due(question, _) | State::Asked(question) => question,
        };
        if question == Question::Workers {
            self.asked_at = now;
        }
        self.state = State::Asked(question);
        question
    }

    /// The list that need not be read again, where it would be shown as before.
    pub(super) fn known_through(&mut self, lens: Lens, question: Question) -> Option<Seen> {
        if question == Question::Requests {
            return None;
        }
        self.lens = Some(lens);
        self.seen.as_ref().filter(|(_, shown_through)| *shown_through == lens).map(|(seen, _)| seen.clone())
    }

    /// Takes an answer. How the runtime is shown now, where that is new.
    pub(super) fn answered(
        &mut self,
        now: Now,
        registry: &Registry,
        policy: &dyn Policy,
        result: Result<Reply, Error>,
        seen: Option<Seen>,
    ) -> Option<Arc<Shown>> {
        let runtime_id = self.shown.runtime.runtime_id.clone();
        let result = match result {
            // A runtime that knows of no requests has none.
            Err(error) if error.kind() == ErrorKind::Unsupported && self.is_asked(Question::Requests) => {
                Ok(Reply::Requests(RequestList::default()))
            }
            result => result,
        };
        let taken = result.and_then(|reply| self.take(registry, policy, &runtime_id, reply, seen));
        let told = self.runtime(now, registry, taken.as_ref().err())?;
        self.requests_stale &= policy.permits(Operation::ListAllRequests, &runtime_id, None);
        self.plan(now.instant, taken.is_ok());
        let before = &*self.shown;
        let (workers, requests) = match taken {
            Ok(Taken::Workers(workers)) => (workers, before.requests.clone()),
            Ok(Taken::Requests(requests)) => (before.workers.clone(), requests),
            Ok(Taken::Nothing) | Err(_) if told == before.runtime => return None,
            Ok(Taken::Nothing) | Err(_) => (before.workers.clone(), before.requests.clone()),
        };
        self.shown = Arc::new(Shown::new(told, workers, requests));
        Some(self.shown.clone())
    }

    fn take(
        &mut self,
        registry: &Registry,
        policy: &dyn Policy,
        runtime_id: &RuntimeId,
        reply: Reply,
        seen: Option<Seen>,
    ) -> Result<Taken, Error> {
        match reply {
            Reply::Unchanged => Ok(Taken::Nothing),
            Reply::Workers(list) => {
                let mut page = shown_workers(registry, policy, runtime_id, list)?;
                let mut names = BTreeSet::new();
                page.items.retain(|worker| names.insert(worker.worker_id.clone()));
                self.seen = seen.zip(self.lens);
                self.of_list = page.diagnostics;
                let waits = |worker: &WorkerView| worker.facts.requests.is_some_and(|count| count > 0);
                self.requests_stale |= page.items.iter().any(waits) || !self.shown.requests.is_empty();
                Ok(Taken::Workers(page.items))
            }
            Reply::Requests(list) => {
                let mut names = BTreeSet::new();
                let mut requests = shown_requests(registry, policy, runtime_id, list)?.requests;
                requests.retain(|one| names.insert((one.worker_id.clone(), one.request_id.clone())));
                self.requests_stale = false;
                Ok(Taken::Requests(requests))
            }
            _ => Err(Error::new(ErrorKind::Internal).of_runtime(runtime_id)),
        }
    }

    /// The runtime as it is told of now. An error is told as it was at first while it stays of the same kind, as its words
    /// may count the seconds.
    fn runtime(&self, now: Now, registry: &Registry, error: Option<&Error>) -> Option<FleetRuntime> {
        let before = &self.shown.runtime;
        let health = registry.health(&before.runtime_id)?;
        let mut told = runtime(registry, &before.runtime_id, health.reachability)?;
        let Some(error) = error else {
            told.diagnostics.clone_from(&self.of_list);
            return Some(told);
        };
        let answered = health.last_seen.map(|seen| now.instant.saturating_duration_since(seen));
        let since = now.wall.checked_sub(answered.unwrap_or_default()).unwrap_or(now.wall);
        let first = || humantime::format_rfc3339_seconds(since).to_string();
        told.failing_since = Some(before.failing_since.clone().unwrap_or_else(first));
        let is_told = |known: &&Diagnostic| known.code == error.kind().code();
        let known = before.diagnostics.iter().find(is_told).filter(|_| before.failing_since.is_some());
        told.diagnostics = vec![known.cloned().unwrap_or_else(|| error.into())];
        Some(told)
    }

    /// Decides when it is asked next, and for what.
    fn plan(&mut self, now: Instant, answered: bool) {
        self.state = match answered {
            true if self.requests_stale && self.is_asked(Question::Workers) => {
                State::Due(Question::Requests, now)
            }
            true => {
                (self.failures, self.is_known) = (0, true);
                State::Due(Question::Workers, now.max(self.asked_at + POLL_EVERY))
            }
            false => {
                let pause = doubled(POLL_EVERY, self.failures, LONGEST_POLL_PAUSE);
                (self.failures, self.is_known) = (self.failures.saturating_add(1), true);
                State::Due(Question::Workers, now + pause)
            }
        };
    }
}
