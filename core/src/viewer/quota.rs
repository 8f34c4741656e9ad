//! How many viewers a gateway has, and how many it may have.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::{GOING_AWAY_EACH, GOING_AWAY_OVER};
use crate::backoff::Jitter;
use crate::error::{Error, ErrorKind};

/// Counts the viewers of a gateway, over all its event loops.
#[derive(Debug)]
pub(super) struct Quota {
    max: usize,
    count: AtomicUsize,
    /// How many have been admitted so far.
    admitted: AtomicU64,
}

/// The right of one viewer to be there. Dropping it makes room for another.
#[derive(Debug)]
pub(super) struct Permit {
    quota: Arc<Quota>,
    number: u64,
}

impl Quota {
    pub(super) fn new(max: usize) -> Self {
        Self { max, count: AtomicUsize::new(0), admitted: AtomicU64::new(0) }
    }

    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn admit(self: &Arc<Self>) -> Result<Permit, Error> {
        let one_more = |count| (count < self.max).then_some(count + 1);
        match self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_) => {
                let number = self.admitted.fetch_add(1, Ordering::Relaxed);
                Ok(Permit { quota: self.clone(), number })
            }
            Err(_) => Err(Error::new(ErrorKind::TooManyViewers)),
        }
    }
}

impl Permit {
    /// How long this viewer may stay once the gateway shuts down, so that not all viewers come back at once.
    pub(super) fn going_away_in(&self) -> Duration {
        let viewers = u32::try_from(self.quota.count()).unwrap_or(u32::MAX);
        let over = GOING_AWAY_EACH.saturating_mul(viewers).min(GOING_AWAY_OVER);
        // The number of a viewer says nothing about which others are left: they are spread by chance.
        let share = Jitter::new(self.number).next() % 1024;
        over * share as u32 / 1024
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.quota.count.fetch_sub(1, Ordering::Relaxed);
    }
}
