//! How many commits there were, and how long they took.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::WriteError;
use super::engine::Engine;
use super::record::{Millis, Record, WorkerNo};

/// The commits of a journal since it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Commits {
    /// Those that are durable.
    pub committed: u64,
    /// Those that failed, and are tried again.
    pub failed: u64,
    /// How long all of them took, the wait for the disk included.
    pub time: Duration,
}

/// What counts them.
#[derive(Debug, Default)]
pub(super) struct Counts {
    committed: AtomicU64,
    failed: AtomicU64,
    nanos: AtomicU64,
}

impl Counts {
    pub(super) fn read(&self) -> Commits {
        Commits {
            committed: self.committed.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            time: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)),
        }
    }
}

/// An engine whose commits are counted.
pub(super) struct Counted<E> {
    pub(super) engine: E,
    pub(super) counts: Arc<Counts>,
}

impl<E: Engine> Engine for Counted<E> {
    fn apply(&mut self, batch: &[Record]) -> Result<BTreeSet<WorkerNo>, WriteError> {
        let started = Instant::now();
        let result = self.engine.apply(batch);
        let nanos = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.counts.nanos.fetch_add(nanos, Ordering::Relaxed);
        let count = if result.is_ok() { &self.counts.committed } else { &self.counts.failed };
        count.fetch_add(1, Ordering::Relaxed);
        result
    }

    fn tidy(&mut self, now: Millis) -> Result<bool, WriteError> {
        self.engine.tidy(now)
    }

    fn close(&mut self) -> Result<(), WriteError> {
        self.engine.close()
    }
}
