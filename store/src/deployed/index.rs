//! Where the lines of a growing file begin.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;

use super::{MAX_LINE_BYTES, MAX_TRANSCRIPT_BYTES};
use crate::problem::Problem;

/// Of every so many lines the beginning is kept.
const LINES_PER_MARK: u64 = 1024;

/// How much is read at a time.
const BUFFER_BYTES: usize = 64 * 1024;

/// The lines of a file that is only ever appended to. What was read once is not read again to be counted.
#[derive(Debug, Default)]
pub(super) struct LineIndex {
    /// The file's device and number: another file under the same name begins anew.
    identity: Option<(u64, u64)>,
    /// The end of the last terminated line. What is behind it is looked through again each time: an owner that
    /// comes back after a crash may have cut it off.
    end: u64,
    lines: u64,
    /// Where the lines 0, `LINES_PER_MARK`, twice that … begin.
    marks: Vec<u64>,
    cut: bool,
}

impl LineIndex {
    /// How many terminated lines there are.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// Whether the file is longer than what is read of one.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Takes in what was appended since the last time.
    pub(super) fn update(&mut self, file: &File) -> Result<(), Problem> {
        let metadata = file.metadata()?;
        let identity = Some((metadata.dev(), metadata.ino()));
        if self.identity != identity || metadata.len() < self.end {
            *self = Self { identity, ..Self::default() };
        }
        let until = metadata.len().min(MAX_TRANSCRIPT_BYTES);
        self.cut = metadata.len() > MAX_TRANSCRIPT_BYTES;
        let mut reader = file;
        let mut seen = self.end;
        reader.seek(SeekFrom::Start(seen))?;
        let at_most = |bytes: u64| usize::try_from(bytes).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
        let mut buffer = vec![0; at_most(until.saturating_sub(seen))];
        while seen < until {
            let wanted = at_most(until - seen).min(buffer.len());
            let count = reader.read(&mut buffer[..wanted])?;
            if count == 0 {
                break;
            }
            for (position, _) in buffer[..count].iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
                if self.lines.is_multiple_of(LINES_PER_MARK) {
                    self.marks.push(self.end);
                }
                self.lines += 1;
                self.end = seen + position as u64 + 1;
            }
            seen += count as u64;
        }
        Ok(())
    }

    /// Gives the terminated lines from the number `start` on, without their ends, as long as `take` says yes. A line
    /// over [`MAX_LINE_BYTES`] is given as an empty one.
    pub(super) fn read_from(
        &self,
        mut file: &File,
        start: u64,
        mut take: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), Problem> {
        if start >= self.lines {
            return Ok(());
        }
        let mark = start / LINES_PER_MARK;
        // There is a mark for the line `start`, as there is such a line.
        let begin = usize::try_from(mark).ok().and_then(|mark| self.marks.get(mark)).copied().unwrap_or(0);
        file.seek(SeekFrom::Start(begin))?;
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, file.take(self.end - begin));
        let mut line = Vec::new();
        for number in mark * LINES_PER_MARK..self.lines {
            let wanted = number >= start;
            let Some(fits) = next_line(&mut reader, wanted.then_some(&mut line))? else { break };
            if wanted && !take(if fits { &line } else { &[] }) {
                break;
            }
        }
        Ok(())
    }
}

/// Reads over the next line, and into `line` what fits of it. Says whether all did; `None` at the end of the file.
fn next_line(reader: &mut impl BufRead, mut line: Option<&mut Vec<u8>>) -> Result<Option<bool>, Problem> {
    if let Some(line) = &mut line {
        line.clear();
    }
    let mut fits = true;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(None);
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let piece = &buffer[..end.unwrap_or(buffer.len())];
        if let Some(line) = &mut line {
            fits &= (line.len() + piece.len()) as u64 <= MAX_LINE_BYTES;
            if fits {
                line.extend_from_slice(piece);
            }
        }
        let used = piece.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_some() {
            return Ok(Some(fits));
        }
    }
}
