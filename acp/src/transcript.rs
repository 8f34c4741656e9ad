//! Fragments put together to transcript items.

use crate::event::{Said, Speaker};
use crate::limits::MAX_ITEM_TEXT;
use crate::text::beginning;

/// The run of fragments that is being put together.
#[derive(Default)]
pub(crate) struct Run(Option<Current>);

struct Current {
    speaker: Speaker,
    /// The agent's name for the message, where it gives one.
    message_id: Option<String>,
    text: String,
    cont: bool,
}

impl Run {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Takes a fragment, and hands over what is complete with it: the run before, if this is another, and pieces of
    /// this one where it is long.
    pub(crate) fn add(&mut self, speaker: Speaker, message_id: Option<&str>, fragment: &str) -> Vec<Said> {
        let mut complete = Vec::new();
        let goes_on = self.0.as_ref().is_some_and(|current| {
            let same_message = match (current.message_id.as_deref(), message_id) {
                (Some(current), Some(next)) => current == next,
                _ => true,
            };
            current.speaker == speaker && same_message
        });
        if !goes_on {
            complete.extend(self.finish());
        }
        let current = self.0.get_or_insert_with(|| Current {
            speaker,
            message_id: message_id.map(str::to_owned),
            text: String::new(),
            cont: false,
        });
        current.text.push_str(fragment);
        while current.text.len() > MAX_ITEM_TEXT {
            let piece = beginning(&current.text, MAX_ITEM_TEXT).to_owned();
            current.text.drain(..piece.len());
            complete.push(Said { speaker, text: piece, cont: current.cont });
            current.cont = true;
        }
        complete
    }

    /// Ends the run.
    pub(crate) fn finish(&mut self) -> Option<Said> {
        let Current { speaker, text, cont, .. } = self.0.take()?;
        (!text.is_empty()).then_some(Said { speaker, text, cont })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_where_another_begins() {
        let mut run = Run::default();
        let said = |speaker, text: &str| Said { speaker, text: text.into(), cont: false };
        assert_eq!(run.finish(), None);
        assert_eq!(run.add(Speaker::Assistant, None, "a"), []);
        assert_eq!(run.add(Speaker::Assistant, Some("m1"), "b"), []);
        assert_eq!(run.add(Speaker::Thinking, None, "c"), [said(Speaker::Assistant, "ab")]);
        assert_eq!(run.finish(), Some(said(Speaker::Thinking, "c")));
        assert_eq!(run.add(Speaker::Assistant, Some("m1"), "d"), []);
        assert_eq!(run.add(Speaker::Assistant, Some("m2"), "e"), [said(Speaker::Assistant, "d")]);
        assert_eq!(run.add(Speaker::Assistant, Some("m2"), ""), []);
        assert_eq!(run.finish(), Some(said(Speaker::Assistant, "e")));
        assert!(run.is_empty());
    }

    #[test]
    fn a_long_run_is_pieces_of_whole_characters() {
        let mut run = Run::default();
        let text = "関".repeat(MAX_ITEM_TEXT);
        let mut pieces = run.add(Speaker::Assistant, None, &text);
        pieces.extend(run.finish());
        assert!(pieces.iter().all(|piece| piece.text.len() <= MAX_ITEM_TEXT));
        assert_eq!(pieces.iter().map(|piece| piece.text.as_str()).collect::<String>(), text);
        let conts: Vec<bool> = pieces.iter().map(|piece| piece.cont).collect();
        assert_eq!(conts, [false, true, true, true]);
    }
}
