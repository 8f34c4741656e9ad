//! What tells one start of a runtime from all others. Clients see that what they know of before means nothing now.

use std::hash::{BuildHasher, RandomState};
use std::time::SystemTime;

/// A text of 32 hexadecimal digits that no other start comes up with.
pub(crate) fn fresh() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let half = || RandomState::new().hash_one((std::process::id(), now));
    format!("{:016x}{:016x}", half(), half())
}

/// The text of a start that is simulated, by its number.
pub(crate) fn simulated(number: u128) -> String {
    format!("{number:032x}")
}

#[cfg(test)]
mod tests;
