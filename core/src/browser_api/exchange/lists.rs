//! Lists, of one runtime and of all of them.

use super::{End, Now, presenter, runtime_view};
use crate::browser_api::request::AllWorkers;
use crate::browser_api::view::{Items, Presenter, RequestView, RequestsReply, RuntimeView, WorkerView};
use crate::diagnostic::{Diagnostic, Severity};
use crate::error::{self, Error, ErrorKind};
use crate::id::{RuntimeId, WorkerId};
use crate::policy::Policy;
use crate::registry::{Registry, RuntimeKind, RuntimeSpec};
use crate::runtime_api::{
    Command, Feature, NextAfter, Reply, RequestList, StoreDiagnostic, WorkerFilter, WorkerList, WorkerSummary,
};

/// How many diagnostics of a store are shown at most.
const MAX_STORE_DIAGNOSTICS: usize = 64;

/// What is said of stores that are only read.
const STORE_CODES: [&str; 6] =
    ["store_missing", "store_io", "store_corrupt", "store_version", "store_too_large", "identity_mismatch"];

/// How many workers are in one list at most.
const MAX_LISTED: u64 = 200;

/// The same filter with a limit that is one.
fn bounded(filter: &WorkerFilter) -> WorkerFilter {
    WorkerFilter {
        limit: Some(filter.limit.map_or(MAX_LISTED, |limit| limit.min(MAX_LISTED))),
        ..filter.clone()
    }
}

/// What to ask a runtime for so that a filter can be shown: a page where the runtime has pages, else all of its
/// workers.
pub(super) fn page(registry: &Registry, runtime_id: &RuntimeId, filter: &WorkerFilter) -> Command {
    let health = registry.health(runtime_id);
    match health.is_some_and(|health| health.has(Feature::Pages)) {
        true => Command::Workers(bounded(filter)),
        false => Command::workers(),
    }
}

/// What to ask which runtimes for, in order, to show workers of all.
pub(super) fn wanted(
    registry: &Registry,
    asked: &AllWorkers,
    permitted: Vec<RuntimeId>,
) -> Vec<(RuntimeId, Command)> {
    let begun = asked.after.as_ref().map(|after| &after.runtime_id);
    let rest = permitted.into_iter().skip_while(|id| begun.is_some_and(|begun| begun != id));
    rest.map(|id| {
        let command = page(registry, &id, &asked.of(&id));
        (id, command)
    })
    .collect()
}

impl AllWorkers {
    /// The filter of one runtime.
    fn of(&self, runtime_id: &RuntimeId) -> WorkerFilter {
        let after = self.after.as_ref().filter(|after| after.runtime_id == *runtime_id);
        WorkerFilter { after: after.map(|after| after.worker_id.clone()), ..self.filter.clone() }
    }
}

pub(super) fn runtimes(registry: &Registry, now: Now, ends: impl Iterator<Item = End>) -> Items<RuntimeView> {
    let mut shown = Items { items: Vec::new(), diagnostics: Vec::new(), next_after: None };
    for (runtime_id, end) in ends {
        let diagnostics = of_end(registry, &runtime_id, &end);
        shown.diagnostics.extend(diagnostics.iter().cloned());
        shown.items.extend(runtime_view(registry, now, &runtime_id, diagnostics));
    }
    shown
}

/// Workers of all runtimes: a runtime that failed costs its own rows and one diagnostic.
pub(super) fn all_workers(
    registry: &Registry,
    policy: &dyn Policy,
    asked: &AllWorkers,
    ends: impl Iterator<Item = End>,
) -> Result<Items<WorkerView>, Error> {
    let mut shown = Items { items: Vec::new(), diagnostics: Vec::new(), next_after: None };
    let limit = usize::try_from(bounded(&asked.filter).limit.unwrap_or(MAX_LISTED)).unwrap_or(usize::MAX);
    let (mut full, mut more, mut ends) = (false, false, ends.peekable());
    if asked.after.is_some() && ends.peek().is_none() {
        return Err(Error::with_detail(ErrorKind::InvalidRequest, "`after` names no runtime of this list"));
    }
    for (runtime_id, end) in ends {
        let Ok(presenter) = presenter(registry, policy, &runtime_id) else { continue };
        let list = match end {
            Ok(Reply::Workers(list)) => list,
            Ok(_) => continue,
            Err(error) => {
                shown.diagnostics.push((&error).into());
                continue;
            }
        };
        let page = workers(&presenter, &asked.of(&runtime_id), list)?;
        shown.diagnostics.extend(page.diagnostics);
        if full {
            more |= !page.items.is_empty();
            continue;
        }
        let room = limit - shown.items.len();
        more = page.items.len() > room || page.next_after.is_some();
        shown.items.extend(page.items.into_iter().take(room));
        // What comes after the end of a page would leave a gap.
        full = more || shown.items.len() == limit;
    }
    let last = shown.items.last().filter(|_| more);
    shown.next_after = last.map(|last| format!("{}/{}", last.runtime_id, last.worker_id));
    Ok(shown)
}

/// What can be shown of one runtime's list, and how much cannot.
pub(super) fn workers(
    presenter: &Presenter<'_>,
    filter: &WorkerFilter,
    list: WorkerList,
) -> Result<Items<WorkerView>, Error> {
    let runtime_id = &presenter.spec.runtime_id;
    let (list, diagnostics) = named(presenter, list);
    let list = match list.next_after {
        NextAfter::Whole => bounded(filter).page_of(list).map_err(|error| {
            Error::with_detail(ErrorKind::InvalidRequest, error.to_string()).of_runtime(runtime_id)
        })?,
        // It has chosen by itself; what it does not know to look at is looked at here.
        NextAfter::Nothing | NextAfter::Worker(_) => WorkerList {
            workers: list.workers.into_iter().filter(|worker| filter.admits(worker)).collect(),
            ..list
        },
    };
    let next_after = list.next_after.worker().filter(|next| next.parse::<WorkerId>().is_ok());
    Ok(Items {
        next_after: next_after.map(str::to_owned),
        diagnostics,
        items: list.workers.into_iter().filter_map(|worker| presenter.listed(worker)).collect(),
    })
}

/// The same of all workers, on no page.
pub(in crate::browser_api) fn every_worker(presenter: &Presenter<'_>, list: WorkerList) -> Items<WorkerView> {
    let (list, diagnostics) = named(presenter, list);
    let items = list.workers.into_iter().filter_map(|worker| presenter.listed(worker)).collect();
    Items { items, diagnostics, next_after: None }
}

/// The workers of a list whose ids are ids, and what is to be told of the others and of the store.
fn named(presenter: &Presenter<'_>, list: WorkerList) -> (WorkerList, Vec<Diagnostic>) {
    let runtime_id = &presenter.spec.runtime_id;
    let WorkerList { workers, next_after, left_out: unreadable, diagnostics } = list;
    let of_store = of_store(presenter.spec, diagnostics);
    let listed = workers.len();
    let workers: Vec<WorkerSummary> =
        workers.into_iter().filter(|worker| worker.worker_id.parse::<WorkerId>().is_ok()).collect();
    let nameless = listed - workers.len();
    let invalid = (nameless > 0).then(|| {
        let message = format!("the runtime lists {nameless} more under ids that are invalid");
        let code = ErrorKind::InvalidIdentifier.code();
        Diagnostic::new(code, Severity::Warning, message).of_runtime(runtime_id)
    });
    let diagnostics = of_store.chain(invalid).chain(left_out(runtime_id, unreadable)).collect();
    (WorkerList { workers, next_after, ..WorkerList::default() }, diagnostics)
}

/// What is to be told beside a runtime: why it could not be asked, or what it says is wrong with it.
pub(super) fn of_end(
    registry: &Registry,
    runtime_id: &RuntimeId,
    end: &Result<Reply, Error>,
) -> Vec<Diagnostic> {
    match (end, registry.spec(runtime_id)) {
        (Err(error), _) => vec![error.into()],
        (Ok(Reply::Runtime(summary)), Some(spec)) => of_store(spec, summary.diagnostics.clone()).collect(),
        (Ok(_), _) => Vec::new(),
    }
}

/// What a store that is only read says of itself. Runtimes of other kinds have no such words.
fn of_store(spec: &RuntimeSpec, diagnostics: Vec<StoreDiagnostic>) -> impl Iterator<Item = Diagnostic> {
    let known = if spec.kind == RuntimeKind::Local { diagnostics } else { Vec::new() };
    let runtime_id = spec.runtime_id.clone();
    known.into_iter().take(MAX_STORE_DIAGNOSTICS).map(move |StoreDiagnostic { code, message }| {
        let code = STORE_CODES.into_iter().find(|known| *known == code).unwrap_or("store_io");
        let message = error::bounded(&error::printable(&message));
        Diagnostic::new(code, Severity::Warning, message).of_runtime(&runtime_id)
    })
}

/// That entries of a list could not be read.
pub(super) fn left_out(runtime_id: &RuntimeId, count: usize) -> Option<Diagnostic> {
    let message = || format!("the runtime lists {count} more that cannot be understood");
    (count > 0).then(|| {
        let code = ErrorKind::MalformedResponse.code();
        Diagnostic::new(code, Severity::Warning, message()).of_runtime(runtime_id)
    })
}

/// Open requests of one worker, or of all workers of a runtime.
pub(in crate::browser_api) fn requests(
    presenter: &Presenter<'_>,
    asked: Option<&WorkerId>,
    list: RequestList,
) -> RequestsReply {
    let listed = list.requests.len();
    let requests: Vec<RequestView> =
        list.requests.into_iter().filter_map(|request| presenter.request(asked, request)).collect();
    let unusable = listed - requests.len() + list.left_out;
    let diagnostics = left_out(&presenter.spec.runtime_id, unusable).into_iter().collect();
    RequestsReply { requests, diagnostics }
}

/// Open requests of all runtimes, oldest first. A runtime that knows of no requests has none.
pub(super) fn all_requests(
    registry: &Registry,
    policy: &dyn Policy,
    ends: impl Iterator<Item = End>,
) -> RequestsReply {
    let mut shown = RequestsReply { requests: Vec::new(), diagnostics: Vec::new() };
    for (runtime_id, end) in ends {
        match end {
            Ok(Reply::Requests(list)) => {
                let Ok(presenter) = presenter(registry, policy, &runtime_id) else { continue };
                let of_one = requests(&presenter, None, list);
                shown.requests.extend(of_one.requests);
                shown.diagnostics.extend(of_one.diagnostics);
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Unsupported => {}
            Err(error) => shown.diagnostics.push((&error).into()),
        }
    }
    // RFC 3339 in UTC with equally many digits: the order of the texts is that of the times.
    shown.requests.sort_by(|one, other| one.opened_at.cmp(&other.opened_at));
    shown
}
