//! The line that is being written, and those before it.

use std::collections::VecDeque;

use unicode_width::UnicodeWidthChar;

use super::keys::Key;

/// The longest line, in bytes. A gateway takes 1 MiB with all that goes around it, unless configured otherwise.
pub(super) const MAX_LINE: usize = 768 << 10;

/// How many lines are kept.
const MAX_HISTORY: usize = 500;

/// How many bytes of lines are kept.
const MAX_HISTORY_BYTES: usize = 4 << 20;

/// A line, and where in it the next character goes.
#[derive(Default, Debug)]
pub(super) struct Line {
    text: String,
    at: usize,
    /// What was taken out last, to be put in somewhere else.
    cut: String,
}

impl Line {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Where the next character goes, in bytes.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The text, after which the line is empty.
    pub(super) fn take(&mut self) -> String {
        self.at = 0;
        std::mem::take(&mut self.text)
    }

    /// Another text instead, to be written on at its end.
    pub(super) fn set(&mut self, text: String) {
        self.at = text.len();
        self.text = text;
    }

    /// Does what a key says, as bash and its like have it; whether that is anything to a line.
    pub(super) fn key(&mut self, key: &Key) -> bool {
        match key {
            Key::Char(character) => self.insert(character.encode_utf8(&mut [0; 4])),
            Key::Paste(text) => self.insert(text),
            Key::AltEnter => self.insert("\n"),
            Key::Left | Key::Control('b') => self.at = self.before(self.at),
            Key::Right | Key::Control('f') => self.at = self.after(self.at),
            Key::WordLeft | Key::Alt('b') => self.at = self.word_before(char::is_alphanumeric),
            Key::WordRight | Key::Alt('f') => self.at = self.word_after(),
            Key::Home | Key::Control('a') => self.at = self.row_start(),
            Key::End | Key::Control('e') => self.at = self.row_end(),
            Key::Backspace | Key::Control('h') => {
                let before = self.before(self.at);
                self.text.drain(before..self.at);
                self.at = before;
            }
            Key::Delete | Key::Control('d') => drop(self.text.drain(self.at..self.after(self.at))),
            Key::Control('k') => self.cut(self.at, self.row_end()),
            Key::Control('u') => self.cut(self.row_start(), self.at),
            Key::Control('w') => self.cut(self.word_before(|character| !character.is_whitespace()), self.at),
            Key::Alt('\u{8}') => self.cut(self.word_before(char::is_alphanumeric), self.at),
            Key::Alt('d') => self.cut(self.at, self.word_after()),
            Key::Control('y') => self.insert(&self.cut.clone()),
            _ => return false,
        }
        true
    }

    /// Goes to the row above, if the line has one.
    pub(super) fn up(&mut self) -> bool {
        let start = self.row_start();
        let Some(end) = start.checked_sub(1) else { return false };
        let start_above = self.text[..end].rfind('\n').map_or(0, |end| end + 1);
        self.at = self.along(start_above, end, self.text[start..self.at].chars().count());
        true
    }

    /// Goes to the row below, if the line has one.
    pub(super) fn down(&mut self) -> bool {
        let start = self.row_end() + 1;
        if start > self.text.len() {
            return false;
        }
        let end = self.text[start..].find('\n').map_or(self.text.len(), |length| start + length);
        self.at = self.along(start, end, self.text[self.row_start()..self.at].chars().count());
        true
    }

    /// So many characters along a row, or its end.
    fn along(&self, start: usize, end: usize, characters: usize) -> usize {
        self.text[start..end].char_indices().nth(characters).map_or(end, |(at, _)| start + at)
    }

    fn insert(&mut self, text: &str) {
        if self.text.len() + text.len() <= MAX_LINE {
            self.text.insert_str(self.at, text);
            self.at += text.len();
        }
    }

    fn cut(&mut self, start: usize, end: usize) {
        if start < end {
            self.cut = self.text.drain(start..end).collect();
            self.at = start;
        }
    }

    /// The character before, with what is drawn over it.
    fn before(&self, at: usize) -> usize {
        let mut back = self.text[..at].char_indices().rev();
        back.find(|(_, character)| character.width() != Some(0)).map_or(0, |(at, _)| at)
    }

    fn after(&self, at: usize) -> usize {
        let mut on = self.text[at..].char_indices().skip(1);
        on.find(|(_, character)| character.width() != Some(0))
            .map_or(self.text.len(), |(length, _)| at + length)
    }

    fn word_before(&self, is_part: fn(char) -> bool) -> usize {
        let trimmed = self.text[..self.at].trim_end_matches(|character| !is_part(character));
        trimmed.trim_end_matches(is_part).len()
    }

    fn word_after(&self) -> usize {
        let rest = self.text[self.at..].trim_start_matches(|character: char| !character.is_alphanumeric());
        self.text.len() - rest.trim_start_matches(char::is_alphanumeric).len()
    }

    fn row_start(&self) -> usize {
        self.text[..self.at].rfind('\n').map_or(0, |end| end + 1)
    }

    fn row_end(&self) -> usize {
        self.text[self.at..].find('\n').map_or(self.text.len(), |length| self.at + length)
    }
}

/// The lines before, and how far back one has gone.
#[derive(Default, Debug)]
pub(super) struct History {
    lines: VecDeque<String>,
    bytes: usize,
    /// The line of these that is shown, and the one that was being written.
    shown: Option<(usize, String)>,
}

impl History {
    /// Keeps a line, but not twice in a row.
    pub(super) fn add(&mut self, line: &str) {
        self.shown = None;
        if line.is_empty() || self.lines.back().is_some_and(|last| last == line) {
            return;
        }
        self.bytes += line.len();
        self.lines.push_back(line.to_owned());
        while self.lines.len() > MAX_HISTORY || self.bytes > MAX_HISTORY_BYTES {
            self.bytes -= self.lines.pop_front().map_or(0, |line| line.len());
        }
    }

    /// The line before the one that is shown, which is kept if it is none of these.
    pub(super) fn older(&mut self, current: &str) -> Option<String> {
        let (at, draft) = match self.shown.take() {
            Some((at, draft)) => (at, draft),
            None => (self.lines.len(), current.to_owned()),
        };
        let older = at.checked_sub(1);
        self.shown = (!self.lines.is_empty()).then(|| (older.unwrap_or(at), draft));
        older.map(|at| self.lines[at].clone())
    }

    /// The line after the one that is shown; at last, the one that was being written.
    pub(super) fn newer(&mut self) -> Option<String> {
        let (at, draft) = self.shown.take()?;
        match self.lines.get(at + 1) {
            Some(line) => {
                self.shown = Some((at + 1, draft));
                Some(line.clone())
            }
            None => Some(draft),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line after these keys, with a bar where the next character goes.
    fn after(text: &str, keys: &[Key]) -> String {
        let mut line = Line::default();
        line.set(text.to_owned());
        for key in keys {
            assert!(line.key(key), "{key:?}");
        }
        let (before, behind) = line.text().split_at(line.at());
        format!("{before}|{behind}")
    }

    #[test]
    fn keys_write() {
        use Key::*;
        for (text, keys, expected) in [
            ("ab", &[Left, Char('x')][..], "ax|b"),
            ("ab", &[Control('a'), Delete], "|b"),
            ("ab", &[Control('d')], "ab|"),
            ("関所", &[Left, Backspace], "|所"),
            ("e\u{301}x", &[Left, Left, Right, Backspace], "|x"),
            ("one two.three", &[WordLeft], "one two.|three"),
            ("one two.three", &[Control('w')], "one |"),
            ("one two.three", &[Alt('\u{8}')], "one two.|"),
            ("one two", &[Home, WordRight, Control('k'), Control('a'), Control('y')], " two|one"),
            ("one two", &[Home, Alt('d')], "| two"),
            ("one\ntwo", &[Home], "one\n|two"),
            ("one\ntwo", &[Control('u')], "one\n|"),
            ("one", &[AltEnter, Paste("a\nb".into())], "one\na\nb|"),
            ("", &[Backspace, Delete, Left, Right, WordLeft, WordRight, Control('y')], "|"),
        ] {
            assert_eq!(after(text, keys), expected, "{text:?} {keys:?}");
        }
    }

    #[test]
    fn a_line_is_bounded() {
        let mut line = Line::default();
        line.key(&Key::Paste("x".repeat(MAX_LINE)));
        line.key(&Key::Char('y'));
        assert_eq!(line.text().len(), MAX_LINE);
    }

    #[test]
    fn up_and_down_stay_in_the_column() {
        let mut line = Line::default();
        line.set("one\nt\nthree".into());
        assert!(line.up() && line.at() == 5);
        assert!(line.up() && line.at() == 1);
        assert!(!line.up());
        assert!(line.down() && line.down() && line.at() == 7);
        assert!(!line.down());
    }

    #[test]
    fn history_goes_back_and_forth() {
        let mut history = History::default();
        assert_eq!(history.older("x"), None);
        for line in ["a", "b", "b", ""] {
            history.add(line);
        }
        assert_eq!(history.older("draft").as_deref(), Some("b"));
        assert_eq!(history.older("b").as_deref(), Some("a"));
        assert_eq!(history.older("a"), None);
        assert_eq!(history.newer().as_deref(), Some("b"));
        assert_eq!(history.newer().as_deref(), Some("draft"));
        assert_eq!(history.newer(), None);
        (0..2 * MAX_HISTORY).for_each(|number| history.add(&number.to_string()));
        assert_eq!(history.lines.len(), MAX_HISTORY);
    }
}
