//! What was said before a stream began, where its snapshot does not tell.
//!
//! Snapshots of some runtimes have no entries: the transcript tells the history. A gateway may also begin with a snapshot
//! that is some time old, and the events since then. So what is shown of these events is held back until all of them
//! have come; then the items of the transcript that are not among them are shown before them.

use crate::render::{Entry, entries, whole};

/// What is held back.
#[derive(Default, Debug)]
pub(crate) struct History {
    held: Option<String>,
}

impl History {
    /// Takes the first snapshot: its entries, or `None` where the transcript has to tell, and texts are held back.
    pub(crate) fn snapshot(&mut self, payload: &serde_json::Value) -> Option<Vec<Entry>> {
        let entries = whole(entries(payload));
        if entries.is_empty() {
            self.held = Some(String::new());
            return None;
        }
        Some(entries)
    }

    /// Whether texts are held back.
    pub(crate) fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// Takes a text to be shown; what is to be shown of it now.
    pub(crate) fn pass(&mut self, text: String) -> String {
        match &mut self.held {
            Some(held) => {
                held.push_str(&text);
                String::new()
            }
            None => text,
        }
    }

    /// All events from before have come: the items of the transcript to show, and the text to show after them.
    pub(crate) fn release(&mut self, items: Vec<Entry>) -> (Vec<Entry>, String) {
        let held = self.held.take().unwrap_or_default();
        let mut items = whole(items);
        let mut rest = held.as_str();
        while let Some(item) = items.last()
            && let Some(at) = rest.rfind(item.content.lines().next().unwrap_or_default())
            && !item.content.is_empty()
        {
            rest = &rest[..at];
            items.pop();
        }
        (items, held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(contents: &[&str]) -> Vec<Entry> {
        let entry =
            |content: &&str| Entry { role: "user".into(), content: (*content).to_owned(), continues: false };
        contents.iter().map(entry).collect()
    }

    #[test]
    fn items_are_shown_once() {
        let empty = serde_json::json!({"event": "snapshot", "data": {"entries": []}});
        let mut history = History::default();
        assert_eq!(history.pass("a".into()), "a");
        assert_eq!(history.snapshot(&empty), None);
        assert_eq!(history.pass("> ls\n".into()) + &history.pass("one\ntwo\n".into()), "");
        let (items, held) = history.release(entries(&["one", "cat", "ls", "one", "two"]));
        assert_eq!((items, held.as_str()), (entries(&["one", "cat"]), "> ls\none\ntwo\n"));
        assert!(!history.is_holding());
        let full =
            serde_json::json!({"event": "snapshot", "data": {"entries": [{"role": "user", "content": "x"}]}});
        assert_eq!(history.snapshot(&full), Some(entries(&["x"])));
        assert!(!history.is_holding());
    }
}
