//! What a process writes, as fragments of text and the lines in them.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

/// The longest piece of a line, in bytes: a longer line is told in pieces.
pub(crate) const MAX_LINE: usize = 64 * 1024;

/// When an unfinished line is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pace {
    /// After this time of silence,
    pub(super) silence: Duration,
    /// or when its beginning has waited for that long.
    pub(super) longest: Duration,
}

impl Pace {
    /// For programs that write lines: a prompt is told after 100 ms.
    pub(super) const LINES: Self =
        Self { silence: Duration::from_millis(100), longest: Duration::from_millis(500) };
    /// For terminals, whose output has few lines in it and is waited for after each key.
    pub(super) const TERMINAL: Self =
        Self { silence: Duration::from_millis(5), longest: Duration::from_millis(20) };
}

/// A piece of output: as text, whole characters and, but for the last, whole lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fragment {
    text: String,
    continues: bool,
}

/// A line in a fragment, or a piece of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Line<'a> {
    /// The text without the end of the line, be it `\n` or `\r\n`.
    pub(crate) text: &'a str,
    /// Whether it goes on the piece before it.
    pub(crate) continues: bool,
}

impl Fragment {
    /// The text as it was written, ends of lines included. What is not UTF-8 became U+FFFD.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The lines in it: at most [`MAX_LINE`] bytes each, longer ones in pieces.
    pub(crate) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        Lines { rest: &self.text, continues: self.continues }
    }
}

struct Lines<'a> {
    rest: &'a str,
    continues: bool,
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        while !self.rest.is_empty() {
            let continues = self.continues;
            let line = self.rest.split_once('\n');
            let line = line.map(|(text, rest)| (text.strip_suffix('\r').unwrap_or(text), rest));
            let (text, rest, is_whole) = match line {
                Some((text, rest)) if text.len() <= MAX_LINE => (text, rest, true),
                _ => {
                    let (text, rest) = self.rest.split_at(piece_end(self.rest));
                    (text, rest, false)
                }
            };
            self.rest = rest;
            self.continues = !is_whole;
            // The end of a line all of which was told before is no line.
            if !(continues && text.is_empty()) {
                return Some(Line { text, continues });
            }
        }
        None
    }
}

/// Where the longest piece ends that begins this text and holds whole characters.
fn piece_end(text: &str) -> usize {
    let most = MAX_LINE.min(text.len());
    (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0)
}

/// Makes fragments of the bytes that one stream of a process yields.
pub(super) struct Output {
    pace: Pace,
    /// What has not been told: the beginning of a line.
    pending: Vec<u8>,
    /// When the oldest and the newest byte of `pending` came, unless nothing of it can be told by itself.
    since: Option<(Instant, Instant)>,
    /// Whether what was told last ended within a line.
    within_line: bool,
}

impl Output {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, pending: Vec::new(), since: None, within_line: false }
    }

    /// Takes in what was read. The fragment, if there is one, holds all lines that are complete.
    pub(super) fn push(&mut self, now: Instant, bytes: &[u8]) -> Option<Fragment> {
        let before = self.pending.len();
        self.pending.extend_from_slice(bytes);
        let line_end = bytes.iter().rposition(|byte| *byte == b'\n').map(|at| before + at + 1);
        let told = match line_end {
            Some(end) => self.tell(end),
            None if self.pending.len() >= MAX_LINE => self.tell(tellable(&self.pending)),
            None => None,
        };
        self.since = match (self.since, self.pending.is_empty()) {
            (_, true) => None,
            (Some((oldest, _)), false) if told.is_none() => Some((oldest, now)),
            (_, false) => Some((now, now)),
        };
        told
    }

    /// When [`tell_unfinished`](Self::tell_unfinished) has something to tell, if nothing more comes.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.map(|(oldest, newest)| (oldest + self.pace.longest).min(newest + self.pace.silence))
    }

    /// Tells of an unfinished line what there is, if it is time.
    pub(super) fn tell_unfinished(&mut self, now: Instant) -> Option<Fragment> {
        self.due().filter(|due| *due <= now)?;
        // What cannot be told alone waits for what follows it.
        self.since = None;
        self.tell(tellable(&self.pending))
    }

    /// Tells the rest: there will be no more.
    pub(super) fn finish(&mut self) -> Option<Fragment> {
        self.since = None;
        self.tell(self.pending.len())
    }

    fn tell(&mut self, end: usize) -> Option<Fragment> {
        let text = String::from_utf8_lossy(self.pending.get(..end)?).into_owned();
        self.pending.drain(..end);
        let within_line = !text.ends_with('\n');
        let continues = std::mem::replace(&mut self.within_line, within_line);
        match text.is_empty() {
            true => {
                self.within_line = continues;
                None
            }
            false => Some(Fragment { text, continues }),
        }
    }
}

/// How much can be told by itself: a character that is not complete goes with what follows, and so does a `\r`, which may
/// be half of the end of a line.
fn tellable(bytes: &[u8]) -> usize {
    match bytes.split_last() {
        Some((b'\r', before)) => before.len(),
        _ => character_boundary(bytes),
    }
}

/// The end of the last character that is complete.
fn character_boundary(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(3);
    let lead = (tail..bytes.len()).rev().find(|index| bytes[*index] >= 0xC0);
    match lead.map(|index| (index, bytes[index])) {
        Some((index, lead)) => {
            let length = match lead {
                0xF0.. => 4,
                0xE0.. => 3,
                _ => 2,
            };
            if index + length > bytes.len() { index } else { bytes.len() }
        }
        None => bytes.len(),
    }
}
