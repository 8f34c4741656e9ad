//! A bound on what all workers keep together.

use std::collections::BTreeMap;

/// How many bytes each worker keeps of something, and how many they may keep in all.
///
/// Where they keep more, workers that have ended let go first, the one that ended first before the others; then the
/// one that keeps the most.
#[derive(Debug)]
pub(crate) struct Shares<K> {
    max_bytes: usize,
    bytes: usize,
    by_owner: BTreeMap<K, Share>,
}

#[derive(Default, Debug)]
struct Share {
    bytes: usize,
    /// Orders the workers that have ended.
    ended: Option<u64>,
}

/// Which worker has to let go of its oldest, and to how many bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Reduction<K> {
    pub(crate) owner: K,
    pub(crate) max_bytes: usize,
}

impl<K: Ord + Clone> Shares<K> {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, bytes: 0, by_owner: BTreeMap::new() }
    }

    /// How many bytes a worker keeps.
    pub(crate) fn of(&self, owner: &K) -> usize {
        self.by_owner.get(owner).map_or(0, |share| share.bytes)
    }

    /// Notes how many bytes a worker keeps now.
    pub(crate) fn set(&mut self, owner: &K, bytes: usize) {
        let share = match self.by_owner.get_mut(owner) {
            Some(share) => share,
            None => self.by_owner.entry(owner.clone()).or_default(),
        };
        self.bytes = self.bytes - share.bytes + bytes;
        share.bytes = bytes;
    }

    /// Notes that a worker has ended, after those of a lower number.
    pub(crate) fn ended(&mut self, owner: &K, number: u64) {
        if let Some(share) = self.by_owner.get_mut(owner) {
            share.ended = Some(number);
        }
    }

    /// Notes that a worker that had ended goes on.
    pub(crate) fn resumed(&mut self, owner: &K) {
        if let Some(share) = self.by_owner.get_mut(owner) {
            share.ended = None;
        }
    }

    pub(crate) fn remove(&mut self, owner: &K) {
        if let Some(share) = self.by_owner.remove(owner) {
            self.bytes -= share.bytes;
        }
    }

    /// Who has to let go of how much so that all together keep no more than they may. A little more than that, so
    /// that it is not looked for again at once. `exhausted` are workers that have let go of all that they can.
    pub(crate) fn reduction(&self, exhausted: &[K]) -> Option<Reduction<K>> {
        let excess = self.bytes.checked_sub(self.max_bytes).filter(|excess| *excess > 0)?;
        let has_some = |(owner, share): &(&K, &Share)| share.bytes > 0 && !exhausted.contains(owner);
        let ended = self.by_owner.iter().filter(has_some).filter(|(_, share)| share.ended.is_some());
        let first = ended.min_by_key(|(_, share)| share.ended);
        let (owner, share) = match first {
            Some(ended) => ended,
            None => self.by_owner.iter().filter(has_some).max_by_key(|(_, share)| share.bytes)?,
        };
        let max_bytes = share.bytes.saturating_sub(excess + self.max_bytes / 64);
        Some(Reduction { owner: owner.clone(), max_bytes })
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests;
