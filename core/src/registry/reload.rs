//! A configuration that changes while the gateway runs.

use std::sync::Arc;

use super::{DuplicateRuntime, Entry, Registry, RuntimeSpec};
use crate::backoff::Jitter;
use crate::error::{Error, ErrorKind};
use crate::id::{RuntimeId, WorkerRef};

/// What is different after a registry has [adopted](Registry::adopt) another.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Adopted {
    /// Runtimes that there were none of.
    pub added: Vec<RuntimeId>,
    /// Runtimes that are elsewhere now, or of another kind. What is under way to where they were comes to its end;
    /// streams from there are to be ended.
    pub replaced: Vec<RuntimeId>,
    /// Runtimes that there are none of any more.
    pub gone: Vec<RuntimeId>,
}

impl Adopted {
    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What ends the streams of a worker that are open, if anything does: viewers of one that is elsewhere now come back.
    pub fn end_of_stream(&self, worker: &WorkerRef) -> Option<Error> {
        let WorkerRef { runtime_id, worker_id } = worker;
        let error = if self.gone.contains(runtime_id) {
            Error::new(ErrorKind::UnknownRuntime)
        } else if self.replaced.contains(runtime_id) {
            let detail = "the gateway goes to this runtime by another way from now on";
            Error::with_detail(ErrorKind::RuntimeUnavailable, detail)
        } else {
            return None;
        };
        Some(error.of_runtime(runtime_id).of_worker(Some(worker_id)))
    }
}

impl Registry {
    /// The same registry with these runtimes. What is known of those that stay where they are is kept, their calls go on
    /// counting, and a token that is another is used at once. Secrets of runtimes that are gone stay secret.
    ///
    /// # Errors
    ///
    /// Where two have the same id; nothing has changed then.
    pub fn reconfigured(&self, specs: Vec<RuntimeSpec>) -> Result<Self, DuplicateRuntime> {
        let mut ids: Vec<&RuntimeId> = specs.iter().map(|spec| &spec.runtime_id).collect();
        ids.sort_unstable();
        if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(DuplicateRuntime(twice[0].clone()));
        }
        let accesses = self.accesses.clone();
        let mut registry = Self { order: Vec::new(), entries: Default::default(), accesses };
        for spec in specs {
            let known = self.entries.get(&spec.runtime_id).filter(|known| known.is_at(&spec));
            registry.insert(match known {
                Some(known) => {
                    let mut access = known.access.clone();
                    if let Some(token) = spec.access.token() {
                        access.use_token(token.clone());
                    }
                    Entry { spec, access, ..known.clone() }
                }
                None => {
                    let is_used = |index| self.uses(index) || registry.uses(index);
                    let access = self.accesses.add(spec.access.clone(), is_used);
                    // Spread by what no other runtime has: its place among all that there have been.
                    let jitter = Jitter::new(access.index() as u64);
                    Entry::new(spec, access, jitter)
                }
            })?;
        }
        Ok(registry)
    }

    /// Whether one of the runtimes has this access of all that there are.
    fn uses(&self, index: usize) -> bool {
        self.entries.values().any(|entry| entry.access.index() == index)
    }

    /// Takes over the runtimes of another registry, which was [made](Self::reconfigured) of this one or of a clone.
    /// What this one knows of those that stay where they are, it goes on knowing.
    pub fn adopt(&mut self, other: &Self) -> Adopted {
        let mut adopted = Adopted::default();
        let before = std::mem::replace(self, other.clone());
        for (runtime_id, entry) in &mut self.entries {
            match before.entries.get(runtime_id) {
                Some(known) if Arc::ptr_eq(&known.in_flight, &entry.in_flight) => {
                    let (spec, access) = (entry.spec.clone(), entry.access.clone());
                    *entry = Entry { spec, access, ..known.clone() };
                }
                Some(_) => adopted.replaced.push(runtime_id.clone()),
                None => adopted.added.push(runtime_id.clone()),
            }
        }
        let is_gone = |runtime_id: &&RuntimeId| !self.entries.contains_key(*runtime_id);
        adopted.gone = before.order.iter().filter(is_gone).cloned().collect();
        adopted
    }
}

impl Entry {
    /// Whether the runtime is where a configuration has it. One that is to be shown no token any more is taken for another:
    /// an access may have another token, but never none again.
    fn is_at(&self, spec: &RuntimeSpec) -> bool {
        let loses_token = self.access.has_credential() && !spec.access.has_credential();
        self.spec.kind == spec.kind && self.spec.access.is_same_place(&spec.access) && !loses_token
    }
}

#[cfg(test)]
mod tests;
