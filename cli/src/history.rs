//! What was said before a stream began, where its snapshot does not tell.
//!
//! Snapshots of deployed runtimes have no entries, whatever was said before: the transcript tells the history. A gateway may also begin with a snapshot
//! that is some time old, and the events since then. So what is shown of these events is held back until all of them
//! have come; then the items of the transcript that are not among them are shown before them.

use sekisho_core::browser_api::{Action, RuntimeReply};
use sekisho_core::id::RuntimeId;

use crate::backend::{Backend, read};
use crate::render::{Entry, entries, whole};

/// What is held back.
#[derive(Default, Debug)]
pub(crate) struct History {
    held: Option<String>,
}

impl History {
    /// Takes the first snapshot: its entries. Where it has none, and the runtime's snapshots do not tell the history,
    /// texts are held back until [`History::release`].
    pub(crate) fn snapshot(
        &mut self,
        payload: &serde_json::Value,
        tells_history: impl FnOnce() -> bool,
    ) -> Vec<Entry> {
        let entries = whole(entries(payload));
        if entries.is_empty() && !tells_history() {
            self.held = Some(String::new());
        }
        entries
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
        let lines = shown_lines(&held);
        let mut items = whole(items);
        let mut before = lines.len();
        let mut found = None;
        for (index, item) in items.iter().enumerate().rev() {
            match lines[..before].iter().rposition(|line| shows(line, item)) {
                Some(at) => (before, found) = (at, Some(index)),
                // Those after the last one that was shown are shown by events that are still to come.
                None if found.is_none() => {}
                None => break,
            }
        }
        items.truncate(found.unwrap_or(items.len()));
        (items, held)
    }
}

/// Whether the snapshots of a runtime tell what was said before. Those of our runtime do, which tells of features.
pub(crate) fn is_told_by_snapshots(backend: &dyn Backend, runtime_id: &RuntimeId) -> bool {
    let body = backend.ask(&Action::Runtime(runtime_id.clone()));
    let reply = body.and_then(|body| read::<RuntimeReply>(&body));
    // Where that cannot be known now, what happens now is more important.
    reply.map_or(true, |reply| reply.runtime.capabilities.can("idempotency"))
}

/// The lines of a rendered text, without colours.
pub(crate) fn shown_lines(text: &str) -> Vec<String> {
    let plain = |line: &str| {
        let mut parts = line.split('\x1b');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |plain, part| plain + part.split_once('m').map_or("", |(_, rest)| rest))
    };
    text.lines().map(plain).collect()
}

/// Whether a line shows an item, or the first row of it.
pub(crate) fn shows(line: &str, item: &Entry) -> bool {
    let first = crate::text::safe(item.content.lines().next().unwrap_or_default());
    let said = |(role, rest): (&str, &str)| !role.contains(' ') && rest == first;
    line == first || line.split_once("> ").is_some_and(said)
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
        assert!(history.snapshot(&empty, || true).is_empty() && !history.is_holding());
        assert!(history.snapshot(&empty, || false).is_empty());
        assert_eq!(history.pass("> ls\n".into()) + &history.pass("one\ntwo\n".into()), "");
        // The last one is shown by an event that is still to come.
        let (items, held) = history.release(entries(&["one", "cat", "ls", "one", "two", "ne"]));
        assert_eq!((items, held.as_str()), (entries(&["one", "cat"]), "> ls\none\ntwo\n"));
        assert!(!history.is_holding());
        let full =
            serde_json::json!({"event": "snapshot", "data": {"entries": [{"role": "user", "content": "x"}]}});
        assert_eq!(history.snapshot(&full, || false), entries(&["x"]));
        assert!(!history.is_holding());
    }
}
