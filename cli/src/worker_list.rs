//! Workers of a runtime or of all, over all pages of the list.

use bytes::Bytes;
use sekisho_core::browser_api::{Action, AllWorkers, Items, WorkerView};
use sekisho_core::diagnostic::Diagnostic;
use sekisho_core::gateway_client::Problem;
use sekisho_core::id::RuntimeId;
use sekisho_core::runtime_api::{Command, WorkerFilter};

use crate::backend::{Backend, read};
use crate::failure::Failure;

/// How many pages are read at most. A server that always has another one is not asked for ever.
const MAX_PAGES: usize = 1000;

/// Workers, and what is wrong with those that are not there.
#[derive(Default, Debug)]
pub(crate) struct Workers {
    pub(crate) items: Vec<WorkerView>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) extent: Extent,
}

/// How much of the list was read.
#[must_use = "what was not read is to be told"]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Extent {
    #[default]
    Whole,
    /// The first [`MAX_PAGES`] pages: there are more.
    Cut,
}

impl Extent {
    /// A failure where there is more, with how it is got at.
    pub(crate) fn whole(self, how: &'static str) -> Result<(), Failure> {
        match self {
            Self::Whole => Ok(()),
            Self::Cut => Err(Failure::Usage(format!(
                "there are more workers than on the {MAX_PAGES} pages that were read: {how}"
            ))),
        }
    }
}

/// The workers of one runtime or of all, in the order of the API: oldest first.
pub(crate) fn workers(
    backend: &dyn Backend,
    runtime_id: Option<&RuntimeId>,
    filter: &WorkerFilter,
) -> Result<Workers, Failure> {
    let mut workers = Workers::default();
    workers.extent = pages(backend, runtime_id, filter, |body| {
        let Items { items, diagnostics, next_after } = read::<Items<WorkerView>>(body)?;
        workers.items.extend(items);
        for diagnostic in diagnostics {
            // Each page tells of a runtime that cannot be reached.
            if !workers.diagnostics.contains(&diagnostic) {
                workers.diagnostics.push(diagnostic);
            }
        }
        Ok(next_after)
    })?;
    Ok(workers)
}

/// Passes on the body of each page. What that gives is where the next page begins.
pub(crate) fn pages(
    backend: &dyn Backend,
    runtime_id: Option<&RuntimeId>,
    filter: &WorkerFilter,
    mut pass_on: impl FnMut(&Bytes) -> Result<Option<String>, Failure>,
) -> Result<Extent, Failure> {
    let mut after = None;
    for _ in 0..MAX_PAGES {
        let body = backend.ask(&action(runtime_id, filter, after.as_deref())?)?;
        match pass_on(&body)? {
            Some(next) => after = Some(next),
            None => return Ok(Extent::Whole),
        }
    }
    Ok(Extent::Cut)
}

fn action(
    runtime_id: Option<&RuntimeId>,
    filter: &WorkerFilter,
    after: Option<&str>,
) -> Result<Action, Failure> {
    let mut filter = filter.clone();
    let unexpected = || Box::new(Problem::unexpected_body());
    match runtime_id {
        Some(runtime_id) => {
            filter.after = after.map(|after| after.parse().map_err(|_| unexpected())).transpose()?;
            Ok(Action::Command { runtime_id: runtime_id.clone(), command: Command::Workers(filter) })
        }
        None => {
            let after = after.map(|after| after.parse().map_err(|_| unexpected())).transpose()?;
            Ok(Action::AllWorkers(AllWorkers { filter, after }))
        }
    }
}

#[cfg(test)]
mod tests;
