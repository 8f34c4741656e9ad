//! Standard output cut into lines: those that may be messages, whole, and pieces of all others.

use bytes::{Buf, Bytes, BytesMut};

use crate::limits::{MAX_LINE, MAX_LINE_HEAD, MAX_STRAY};

/// A line without its end, or a piece of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Line {
    /// A line that begins as a message does.
    Message(Bytes),
    /// Any other line, or a piece of it.
    Stray {
        text: Bytes,
        /// Whether it goes on the piece before.
        cont: bool,
    },
    /// The beginning of a line that began as a message and is too long for one.
    TooLong { head: Bytes },
}

/// Cuts bytes into lines. It holds no more than one line and what was last pushed.
#[derive(Default)]
pub(crate) struct Lines {
    buffer: BytesMut,
    /// How much of the buffer was searched for an end of line in vain.
    searched: usize,
    within: Within,
}

/// What the beginning of the buffer belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Within {
    /// A new line.
    #[default]
    Nothing,
    /// A line that is no message, and of which pieces were handed over.
    Stray,
    /// A line that is being left out.
    TooLong,
}

impl Lines {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next line that is there as a whole, or piece of one that is long enough.
    pub(crate) fn next(&mut self) -> Option<Line> {
        loop {
            match self.within {
                Within::TooLong => {
                    let Some(end) = self.end_of_line() else {
                        self.discard(self.buffer.len());
                        return None;
                    };
                    self.discard(end + 1);
                    self.within = Within::Nothing;
                }
                Within::Stray => return self.stray(true),
                Within::Nothing => {
                    let start = self.buffer.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\r'));
                    let blanks = start.unwrap_or(self.buffer.len());
                    match self.buffer.get(blanks) {
                        _ if blanks > MAX_STRAY => return self.stray(false),
                        Some(b'\n') => self.discard(blanks + 1),
                        Some(b'{') => return self.message(),
                        Some(_) => return self.stray(false),
                        None => return None,
                    }
                }
            }
        }
    }

    /// The rest of the output when there is no more: a line that lacks its end.
    pub(crate) fn finish(&mut self) -> Option<Line> {
        let blank = self.buffer.iter().all(u8::is_ascii_whitespace);
        if self.within == Within::TooLong || (blank && self.within == Within::Nothing) {
            self.discard(self.buffer.len());
            return None;
        }
        let cont = self.within == Within::Stray;
        self.within = Within::Nothing;
        let text = self.take(self.buffer.len());
        (!text.is_empty()).then(|| match text.trim_ascii_start().first() {
            Some(b'{') if !cont => Line::Message(text),
            _ => Line::Stray { text, cont },
        })
    }

    /// Forgets what it holds.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn message(&mut self) -> Option<Line> {
        match self.end_of_line() {
            Some(end) if end <= MAX_LINE => {
                let line = self.take(end);
                self.discard(1);
                Some(Line::Message(line))
            }
            None if self.buffer.len() <= MAX_LINE => None,
            _ => {
                self.within = Within::TooLong;
                let head = Bytes::copy_from_slice(&self.buffer[..MAX_LINE_HEAD]);
                Some(Line::TooLong { head })
            }
        }
    }

    fn stray(&mut self, cont: bool) -> Option<Line> {
        match self.end_of_line() {
            Some(end) if end <= MAX_STRAY => {
                let mut text = self.take(end);
                self.discard(1);
                self.within = Within::Nothing;
                if text.last() == Some(&b'\r') {
                    text.truncate(text.len() - 1);
                }
                // Nothing is left of a line that ended where a piece did.
                if cont && text.is_empty() {
                    return self.next();
                }
                Some(Line::Stray { text, cont })
            }
            None if self.buffer.len() <= MAX_STRAY => None,
            _ => {
                self.within = Within::Stray;
                let text = self.take(boundary(&self.buffer[..MAX_STRAY]));
                Some(Line::Stray { text, cont })
            }
        }
    }

    fn end_of_line(&mut self) -> Option<usize> {
        let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
        match memchr::memchr(b'\n', unsearched) {
            Some(at) => Some(self.searched + at),
            None => {
                self.searched = self.buffer.len();
                None
            }
        }
    }

    fn take(&mut self, count: usize) -> Bytes {
        self.searched = 0;
        self.buffer.split_to(count).freeze()
    }

    fn discard(&mut self, count: usize) {
        self.searched = 0;
        self.buffer.advance(count);
    }
}

/// Where to cut so that a character which goes on behind the cut stays whole.
fn boundary(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(3);
    match bytes.iter().skip(tail).rposition(|byte| *byte >= 0xC0) {
        // What begins here may go on; what is no character at all may be cut anywhere.
        Some(at) if std::str::from_utf8(&bytes[tail + at..]).is_err() => tail + at,
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests;
