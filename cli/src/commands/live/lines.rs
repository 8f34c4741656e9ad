//! What changes, a line each.

use std::collections::BTreeMap;

use sekisho_core::browser_api::{FleetChange, FleetRuntime, WorkerView};
use sekisho_core::gateway_client::FleetView;
use sekisho_core::id::{RuntimeId, WorkerRef};

use super::{Moment, Scope};
use crate::commands::list;
use crate::failure::Failure;
use crate::show::Show;
use crate::text::{FAINT, STRONG, WARNING, painted, safe_line};

/// Tells the workers and runtimes that are there, and then what is different.
pub(super) struct Lines<'a> {
    scope: &'a Scope<'a>,
    show: Show,
    /// What was said last of each worker: of some changes there is nothing to be seen.
    said: BTreeMap<WorkerRef, String>,
    /// The same of each runtime.
    said_of_runtimes: BTreeMap<RuntimeId, String>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(scope: &'a Scope<'a>, show: Show) -> Self {
        let (said, said_of_runtimes) = Default::default();
        Self { scope, show, said, said_of_runtimes }
    }

    pub(super) fn tell(&mut self, view: &FleetView, moment: Moment) -> Result<(), Failure> {
        match moment {
            Moment::State(before) => {
                view.changes_since(&before).iter().try_for_each(|change| self.change(change))
            }
            Moment::Change(change) => self.change(&change),
            Moment::Note(style, note) => {
                self.show.note(style, &note);
                Ok(())
            }
            Moment::Quiet => Ok(()),
        }
    }

    fn change(&mut self, change: &FleetChange) -> Result<(), Failure> {
        match change {
            FleetChange::WorkerAdded { worker } | FleetChange::WorkerChanged { worker } => {
                self.worker(worker)
            }
            FleetChange::WorkerGone { runtime_id, worker_id } => {
                let worker = WorkerRef { runtime_id: runtime_id.clone(), worker_id: worker_id.clone() };
                self.gone(&worker)
            }
            FleetChange::RuntimeChanged { runtime } => self.runtime(change, runtime),
            FleetChange::RuntimeGone { runtime_id } => {
                let workers: Vec<WorkerRef> =
                    self.said.keys().filter(|worker| worker.runtime_id == *runtime_id).cloned().collect();
                workers.iter().try_for_each(|worker| self.gone(worker))?;
                self.runtime_gone(change, runtime_id)
            }
            // The worker that asks changes with it.
            FleetChange::RequestOpened { .. }
            | FleetChange::RequestResolved { .. }
            | FleetChange::Unknown => Ok(()),
        }
    }

    fn worker(&mut self, worker: &WorkerView) -> Result<(), Failure> {
        let name = WorkerRef { runtime_id: worker.runtime_id.clone(), worker_id: worker.worker_id.clone() };
        if !self.scope.has(worker) {
            // It may have been among those that are wanted.
            return self.gone(&name);
        }
        let Show { json, color, .. } = self.show;
        if json {
            // One that was there before may be among those that are wanted only now.
            let is_new = self.said.insert(name, String::new()).is_none();
            let worker = Box::new(worker.clone());
            return self.show.json_line(&match is_new {
                true => FleetChange::WorkerAdded { worker },
                false => FleetChange::WorkerChanged { worker },
            });
        }
        let status = list::status(worker);
        let more = worker.facts.name.clone().unwrap_or_else(|| list::intent(&worker.intent));
        let line = format!(
            "{}  {}  {}",
            painted(color, STRONG, &safe_line(&list::full_name(worker))),
            painted(color, list::style_of(&status), &status),
            safe_line(&more)
        );
        if self.said.insert(name, line.clone()).as_ref() == Some(&line) {
            return Ok(());
        }
        self.show.line(line)
    }

    fn gone(&mut self, worker: &WorkerRef) -> Result<(), Failure> {
        if self.said.remove(worker).is_none() {
            return Ok(());
        }
        let WorkerRef { runtime_id, worker_id } = worker;
        if self.show.json {
            let (runtime_id, worker_id) = (runtime_id.clone(), worker_id.clone());
            return self.show.json_line(&FleetChange::WorkerGone { runtime_id, worker_id });
        }
        let name = painted(self.show.color, STRONG, &safe_line(&worker.to_string()));
        self.show.line(format!("{name}  {}", painted(self.show.color, FAINT, "gone")))
    }

    fn runtime_gone(&mut self, change: &FleetChange, runtime_id: &RuntimeId) -> Result<(), Failure> {
        if !self.scope.has_runtime(runtime_id) {
            return Ok(());
        }
        if self.show.json {
            return self.show.json_line(change);
        }
        self.said_of_runtimes.remove(runtime_id);
        self.show.note(WARNING, &format!("{runtime_id} is no longer configured"));
        Ok(())
    }

    fn runtime(&mut self, change: &FleetChange, runtime: &FleetRuntime) -> Result<(), Failure> {
        if !self.scope.has_runtime(&runtime.runtime_id) {
            return Ok(());
        }
        if self.show.json {
            return self.show.json_line(change);
        }
        let said = match &runtime.failing_since {
            Some(since) => format!("{} is not reached since {since}", runtime.runtime_id),
            None => format!("{} is reached", runtime.runtime_id),
        };
        let before = self.said_of_runtimes.insert(runtime.runtime_id.clone(), said.clone());
        // That all is well at the beginning is nothing to be told.
        let is_news = before.as_ref().map_or(runtime.failing_since.is_some(), |before| *before != said);
        if is_news {
            self.show.note(WARNING, &said);
        }
        Ok(())
    }
}
