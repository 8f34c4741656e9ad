//! The writing side of a journal, for who drives it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::record::{Record, WorkerNo};
use super::shared::Shared;
use super::writer::{Order, Writer};
use super::{Ticket, WriteError};

/// What a journal takes for the present.
pub type Clock = Box<dyn Fn() -> Instant + Send + Sync>;

/// The [`Writer`] of a journal that its caller drives. Where it is dropped, nothing is written any more.
pub struct Writing(Arc<Shared>);

impl fmt::Debug for Writing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writing").finish_non_exhaustive()
    }
}

impl Writing {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// What is to be done now ([`Writer::step`]).
    pub fn step(&self) -> Order {
        self.0.step()
    }

    /// Reports what came of a batch ([`Writer::applied`]), and tells those who wait for it.
    pub fn applied(&self, batch: Vec<Record>, result: Result<BTreeSet<WorkerNo>, WriteError>) {
        self.0.applied(batch, result);
    }

    /// Reports what came of a piece of the other work ([`Writer::tidied`]).
    pub fn tidied(&self, has_more: bool) {
        self.0.tidied(has_more);
    }

    /// Everything that was noted so far.
    pub fn noted(&self) -> Ticket {
        self.0.ask(Writer::noted)
    }

    /// Everything that is durable.
    pub fn written(&self) -> Ticket {
        self.0.ask(Writer::written)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.leave();
    }
}
