//! Output cut into lines.

/// The longest piece of output that is waited for without an end of line, in bytes.
pub(crate) const MAX_LINE: usize = 64 * 1024;

/// Cuts bytes into lines, and lines that are too long at a boundary between characters.
///
/// What is not UTF-8 becomes U+FFFD. A line loses its end, `\n` or `\r\n`.
#[derive(Default)]
pub(super) struct Lines {
    pending: Vec<u8>,
    /// How much of `pending` was searched for an end of line in vain.
    searched: usize,
}

impl Lines {
    /// Takes in what was read, and hands over each line that it completes.
    pub(super) fn push(&mut self, bytes: &[u8], mut line: impl FnMut(&str)) {
        self.pending.extend_from_slice(bytes);
        let mut begin = 0;
        while let Some(length) = self.complete(begin) {
            let end = begin + length;
            match self.pending.get(begin..end) {
                Some([text @ .., b'\r', b'\n'] | [text @ .., b'\n'] | text) => {
                    line(&String::from_utf8_lossy(text))
                }
                None => break,
            }
            begin = end;
            self.searched = begin;
        }
        self.searched = self.pending.len() - begin;
        self.pending.drain(..begin);
    }

    /// Hands over what is left where the output ended without an end of line.
    pub(super) fn finish(&mut self, line: impl FnOnce(&str)) {
        if !self.pending.is_empty() {
            line(&String::from_utf8_lossy(&self.pending));
        }
        self.pending.clear();
        self.searched = 0;
    }

    /// The length of the line that begins there, its end included, if there is all of it.
    fn complete(&self, begin: usize) -> Option<usize> {
        let searched = self.searched.max(begin);
        let rest = &self.pending[begin..];
        // A line of the greatest length is followed by its end: one more byte decides.
        let window = rest.len().min(MAX_LINE + 1);
        let unsearched = self.pending.get(searched..begin + window)?;
        match unsearched.iter().position(|byte| *byte == b'\n') {
            Some(position) => Some(searched - begin + position + 1),
            None if rest.len() > MAX_LINE => Some(boundary(&rest[..MAX_LINE])),
            None => None,
        }
    }
}

/// Where to cut `bytes` so that a character which goes on behind them stays whole.
fn boundary(bytes: &[u8]) -> usize {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of an output that arrives in pieces of one size.
    fn lines(output: &[u8], piece: usize) -> Vec<String> {
        let mut found = Vec::new();
        let mut lines = Lines::default();
        for piece in output.chunks(piece) {
            lines.push(piece, |line| found.push(line.to_owned()));
        }
        lines.finish(|line| found.push(line.to_owned()));
        found
    }

    #[test]
    fn lines_are_the_same_however_they_arrive() {
        for (output, expected) in [
            (&b""[..], &[][..]),
            (b"a", &["a"]),
            (b"a\n", &["a"]),
            (b"a\r\nb\n", &["a", "b"]),
            (b"\n\na", &["", "", "a"]),
            (b"a\rb\n", &["a\rb"]),
            ("関所\n関".as_bytes(), &["関所", "関"]),
            (b"\xE9\x96\nx\xFF\n", &["\u{FFFD}", "x\u{FFFD}"]),
        ] {
            for piece in 1..=output.len().max(1) {
                assert_eq!(lines(output, piece), expected, "{output:?} by {piece}");
            }
        }
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let sizes = |output: &str, piece: usize| -> Vec<usize> {
            let found = lines(output.as_bytes(), piece);
            assert_eq!(found.concat(), output.replace('\n', ""));
            found.iter().map(String::len).collect()
        };
        let x = |count: usize| "x".repeat(count);
        for piece in [1000, 4096, MAX_LINE, MAX_LINE + 1, 1 << 20] {
            assert_eq!(sizes(&x(MAX_LINE), piece), [MAX_LINE]);
            assert_eq!(sizes(&(x(MAX_LINE) + "\n"), piece), [MAX_LINE]);
            assert_eq!(sizes(&(x(MAX_LINE) + "\ny"), piece), [MAX_LINE, 1]);
            assert_eq!(sizes(&x(2 * MAX_LINE + 1), piece), [MAX_LINE, MAX_LINE, 1]);
            assert_eq!(sizes(&(x(MAX_LINE - 1) + "関"), piece), [MAX_LINE - 1, 3]);
            assert_eq!(sizes(&(x(MAX_LINE - 2) + "関"), piece), [MAX_LINE - 2, 3]);
            assert_eq!(sizes(&(x(MAX_LINE - 3) + "関y"), piece), [MAX_LINE, 1]);
            assert_eq!(sizes(&(x(MAX_LINE - 3) + "😀"), piece), [MAX_LINE - 3, 4]);
            assert_eq!(sizes(&(x(MAX_LINE - 1) + "é"), piece), [MAX_LINE - 1, 2]);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_cut_anywhere() {
        let output = vec![0xFF; MAX_LINE + 1];
        assert_eq!(lines(&output, 4096).concat(), "\u{FFFD}".repeat(MAX_LINE + 1));
        let output = vec![0x80; MAX_LINE + 1];
        assert_eq!(lines(&output, 4096).len(), 2);
    }
}
