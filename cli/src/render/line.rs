//! A line that a program is writing: a carriage return goes back to its beginning, as on a terminal.

/// The longest line that is rewritten, in characters. What is longer is written on at its end.
const MAX_REWRITTEN: usize = 4096;

/// A line, and how much of it was shown.
#[derive(Default, Debug)]
pub(super) struct Line {
    text: Vec<char>,
    /// Where the next character goes.
    at: usize,
    /// How many characters were shown.
    shown: usize,
    /// Whether some of those that were shown have changed.
    changed: bool,
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Writes a text; how much of the line was shown before.
    pub(super) fn write(&mut self, text: &str) -> usize {
        for character in text.chars() {
            match character {
                '\r' if self.text.len() <= MAX_REWRITTEN => self.at = 0,
                '\u{8}' if self.at > 0 => self.at -= 1,
                character if self.at < self.text.len() => {
                    self.changed |= self.at < self.shown && self.text[self.at] != character;
                    self.text[self.at] = character;
                    self.at += 1;
                }
                character => {
                    self.text.push(character);
                    self.at += 1;
                }
            }
        }
        self.shown
    }

    /// How many characters were shown.
    pub(super) fn shown_length(&self) -> usize {
        self.shown
    }

    /// All of it has been shown now.
    pub(super) fn mark_shown(&mut self) {
        self.shown = self.text.len();
        self.changed = false;
    }

    /// What is to be shown behind so many characters that were; or all of it, where those have changed.
    pub(super) fn since_shown(&self, shown: usize) -> Result<String, String> {
        match self.changed {
            false => Ok(self.text.iter().skip(shown).collect()),
            true => Err(self.text.iter().collect()),
        }
    }
}

/// A whole line as a terminal would have shown it last.
pub(super) fn as_shown(text: &str) -> String {
    let mut line = Line::default();
    line.write(text.strip_suffix('\r').unwrap_or(text));
    line.text.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_carriage_return_begins_the_line_again() {
        for (written, shown) in [
            ("abc", "abc"),
            ("10%\r20%", "20%"),
            ("long\rab", "abng"),
            ("ab\r", "ab"),
            ("a\r\r\rb\r", "b"),
            ("abc\u{8}\u{8}x", "axc"),
            ("\u{8}", "\u{8}"),
        ] {
            assert_eq!(as_shown(written), shown, "{written:?}");
        }
    }

    #[test]
    fn what_was_shown_and_changes_is_shown_again() {
        let mut line = Line::default();
        line.write("10%");
        assert_eq!(line.since_shown(0), Ok("10%".into()));
        line.mark_shown();
        let before = line.write(" of 9");
        assert_eq!(line.since_shown(before), Ok(" of 9".into()));
        line.mark_shown();
        let before = line.write("\r10% of 9!");
        assert_eq!(line.since_shown(before), Ok("!".into()), "nothing that was shown has changed");
        line.mark_shown();
        let before = line.write("\r20%");
        assert_eq!(line.since_shown(before), Err("20% of 9!".into()));
    }
}
