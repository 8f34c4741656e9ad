//! Which items of a transcript have been shown, for the case that events are lost.
//!
//! Events and items have no numbers in common. What is known is how many items there were when the stream was quiet, at
//! which moment all had been shown; and what was shown since then. Items after that number whose contents were shown, in
//! their order, have been seen.

use crate::history::{shown_lines, shows};
use crate::render::Entry;

/// How much of what was shown is kept, in bytes.
const MAX_SHOWN: usize = 256 << 10;

/// What has been shown.
#[derive(Default, Debug)]
pub(super) struct Seen {
    items: Option<u64>,
    shown: String,
}

impl Seen {
    /// All items up to this number have been shown.
    pub(super) fn counted(&mut self, items: u64) {
        self.items = Some(items);
        self.shown.clear();
    }

    /// This was shown.
    pub(super) fn shown(&mut self, text: &str) {
        if self.shown.len() + text.len() <= MAX_SHOWN {
            self.shown.push_str(text);
        }
    }

    /// How many items are known to have been shown, if that is known.
    pub(super) fn items(&self) -> Option<u64> {
        self.items
    }

    /// The items that have not been shown, of those after the ones that are known to have been.
    pub(super) fn not_seen(&self, items: Vec<Entry>) -> Vec<Entry> {
        let lines = shown_lines(&self.shown);
        let mut rest = &lines[..];
        let seen = items.iter().take_while(|item| match rest.iter().position(|line| shows(line, item)) {
            Some(at) => {
                rest = &rest[at + 1..];
                true
            }
            None => false,
        });
        let seen = seen.count();
        items.into_iter().skip(seen).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(contents: &[&str]) -> Vec<Entry> {
        let entry = |content: &&str| Entry {
            role: "assistant".into(),
            content: (*content).to_owned(),
            continues: false,
        };
        contents.iter().map(entry).collect()
    }

    #[test]
    fn what_was_shown_is_not_shown_again() {
        let mut seen = Seen::default();
        assert_eq!(seen.items(), None);
        seen.shown("before\n");
        seen.counted(3);
        seen.shown("> ls\n");
        seen.shown("a\nb\n");
        assert_eq!(seen.items(), Some(3));
        assert_eq!(seen.not_seen(entries(&["ls", "a", "b", "c", "a"])), entries(&["c", "a"]));
        assert_eq!(seen.not_seen(entries(&["before"])), entries(&["before"]));
        seen.counted(8);
        assert_eq!(seen.not_seen(entries(&["a"])), entries(&["a"]));
    }
}
