//! How many calls are under way to a runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One of the calls that may be under way to a runtime at the same time; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<AtomicUsize>);

impl Permit {
    pub(crate) fn of(in_flight: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        in_flight
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < most).then_some(count + 1))
            .ok()?;
        Some(Self(in_flight.clone()))
    }

    /// Whether it was given by this.
    pub(crate) fn is_of(&self, in_flight: &Arc<AtomicUsize>) -> bool {
        Arc::ptr_eq(&self.0, in_flight)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
