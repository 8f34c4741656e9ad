//! The cursors of our own streams.

use std::fmt;

/// How many characters of an incarnation name an epoch.
const EPOCH_LENGTH: usize = 16;

/// A place in a stream as clients keep it: `EPOCH.PLACE`.
///
/// The epoch tells places of before a loss of state from those of after it. The place is the id of the last event
/// that was seen; there is one way only to write it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cursor<'a> {
    pub(crate) epoch: &'a str,
    pub(crate) place: u64,
}

impl<'a> Cursor<'a> {
    /// Reads what a client gave. `None` for what no runtime of ours ever wrote.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (epoch, digits) = text.split_once('.')?;
        let is_of_epoch = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if epoch.len() != EPOCH_LENGTH || !epoch.bytes().all(is_of_epoch) {
            return None;
        }
        let place = digits.parse().ok()?;
        // A parser of numbers takes leading zeros and a sign, too.
        let cursor = Self { epoch, place };
        (cursor.to_string() == text).then_some(cursor)
    }
}

impl fmt::Display for Cursor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.place)
    }
}

/// The epoch of an incarnation.
pub(crate) fn epoch_of(incarnation: &str) -> String {
    incarnation.chars().take(EPOCH_LENGTH).collect()
}

#[cfg(test)]
mod tests;
