//! Reads that arrive together: equal ones share exchanges, so that a thousand tabs cost a runtime what two do.
//!
//! ```text
//!  first  ├───── exchange ─────┤
//!  second    ├───── exchange ─────┤
//!  third        ┆ waits        ├───── exchange ─────┤      begins when the first has ended
//!  fourth           ┆ waits    ├───── the same ─────┤
//! ```
//!
//! Two exchanges of equal reads are under way at most. A read that comes while they are waits, together with all others
//! that are equal to it, for the next one, which begins when one of the two ends. It never joins one that is under way: what
//! it is told is as fresh as if its own exchange had begun when it came.
//!
//! How many wait has no bound here: a driver has one in how many connections it holds.
//!
//! Only reads are shared, among those who are served with one registry and one policy. A driver obeys:
//!
//! 1. [`Coalescer::ask`] for each [`Read`]. Where it says that an exchange begins, the driver has it; else the waiter is
//!    kept until its turn.
//! 2. When an exchange has ended or is given up, [`Coalescer::ended`]. Where it has waiters for another one, the driver
//!    begins that for all of them, and gives its end, errors included, to each.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use super::request::Action;
use crate::id::{RuntimeId, WorkerId};

/// How many exchanges of equal reads are under way at most.
pub const MAX_EQUAL_READS: usize = 2;

/// An action that asks one runtime and changes nothing.
///
/// What asks all runtimes is none: while it waited for a slow one, it would keep the others from being asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Read(Action);

impl Read {
    /// The read that an action is; the action itself where it is none.
    pub fn of(action: Action) -> Result<Self, Action> {
        match &action {
            Action::Runtime(_) => Ok(Self(action)),
            Action::Command { command, .. } if !command.operation().changes_something() => Ok(Self(action)),
            _ => Err(action),
        }
    }

    /// What it asks for.
    pub fn action(&self) -> &Action {
        &self.0
    }

    fn subject(&self) -> Subject {
        let (runtime_id, worker_id) = self.0.subject();
        (runtime_id.cloned(), worker_id.cloned())
    }
}

/// What a read is about: few that differ are about the same at a time.
type Subject = (Option<RuntimeId>, Option<WorkerId>);

/// The reads that are under way or wait. A `W` is what a driver finds those again by who wait.
#[derive(Debug)]
pub struct Coalescer<W> {
    reads: BTreeMap<Subject, Vec<Equal<W>>>,
}

/// What is to be done for a read.
#[derive(Debug)]
#[must_use = "an exchange that begins is to be ended"]
pub enum Turn<T> {
    /// Its exchange begins at once, for it alone. [`Coalescer::ended`] knows it by this.
    Begins(Arc<Read>),
    /// It waits for the next exchange, and is told the end by this.
    Waits(T),
}

/// Equal reads.
#[derive(Debug)]
struct Equal<W> {
    read: Arc<Read>,
    under_way: usize,
    waiting: Vec<W>,
}

impl<W> Default for Coalescer<W> {
    fn default() -> Self {
        Self { reads: BTreeMap::new() }
    }
}

impl<W> Coalescer<W> {
    /// Takes a read. `wait` makes a waiter of it, where it is to wait, and what that is told by.
    pub fn ask<T>(&mut self, read: Read, wait: impl FnOnce() -> (W, T)) -> Turn<T> {
        let alike = self.reads.entry(read.subject()).or_default();
        let Some(equal) = alike.iter_mut().find(|equal| *equal.read == read) else {
            let read = Arc::new(read);
            alike.push(Equal { read: read.clone(), under_way: 1, waiting: Vec::new() });
            return Turn::Begins(read);
        };
        if equal.under_way < MAX_EQUAL_READS {
            equal.under_way += 1;
            return Turn::Begins(equal.read.clone());
        }
        let (waiter, told) = wait();
        equal.waiting.push(waiter);
        Turn::Waits(told)
    }

    /// Takes that an exchange is over, or that nobody carries it on. The waiters whose exchange begins now: all that
    /// are there still. There is none where there are none.
    #[must_use = "the exchange of those who waited begins now"]
    pub fn ended(&mut self, read: &Arc<Read>, is_there: impl FnMut(&W) -> bool) -> Option<Vec<W>> {
        let subject = read.subject();
        let alike = self.reads.get_mut(&subject)?;
        let index = alike.iter().position(|equal| Arc::ptr_eq(&equal.read, read))?;
        let equal = &mut alike[index];
        let mut waiting = mem::take(&mut equal.waiting);
        waiting.retain(is_there);
        if !waiting.is_empty() {
            return Some(waiting);
        }
        equal.under_way -= 1;
        if equal.under_way == 0 {
            alike.swap_remove(index);
        }
        if alike.is_empty() {
            self.reads.remove(&subject);
        }
        None
    }
}

#[cfg(test)]
mod tests;
