//! What to write to a terminal, so that output runs on above the line that is being written.
//!
//! The last rows of the terminal are the prompt and the line. To show output, they are taken away, the output is
//! written where it left off, be it in the middle of a line, and they are drawn anew below it.

use anstyle::Style;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::text::{painted, safe};

/// A terminal that understands it shows nothing of what is between the two, but the result.
const BEGIN_UPDATE: &str = "\x1b[?2026h";
const END_UPDATE: &str = "\x1b[?2026l";

/// The line of output that was begun is begun again.
const CLEAR_LINE: &str = "\r\x1b[K";
const CLEAR_TO_END: &str = "\x1b[J";
const CLEAR_ALL: &str = "\x1b[H\x1b[2J";
const PLAIN: &str = "\x1b[0m";

/// How far apart the tab stops are.
const TAB: usize = 8;

/// What stands where a prompt would take too much of the terminal's width.
const SHORT_PROMPT: &str = "> ";

/// What is shown below the output.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) prompt: &'a str,
    pub(super) style: Style,
    pub(super) color: bool,
    pub(super) line: &'a str,
    /// Where in the line the cursor is, in bytes.
    pub(super) at: usize,
}

/// Knows what is on the terminal, as far as it must be known to write on.
#[derive(Debug)]
pub(super) struct Screen {
    columns: usize,
    rows: usize,
    /// Where the output ended, if not at the end of a line.
    column: usize,
    /// What was switched on of colours there.
    style: String,
    drawn: Option<Drawn>,
}

/// The rows below the output.
#[derive(Debug)]
struct Drawn {
    widths: Vec<usize>,
    /// Which of them has the cursor, and where.
    row: usize,
    column: usize,
}

impl Screen {
    pub(super) fn new(columns: usize, rows: usize) -> Self {
        Self { columns: columns.max(2), rows: rows.max(2), column: 0, style: String::new(), drawn: None }
    }

    /// Output, and the view below it. A carriage return clears the line that was begun.
    pub(super) fn output(&mut self, text: &str, view: &View<'_>) -> String {
        if text.is_empty() {
            return self.view(view);
        }
        let mut out = self.lift();
        let mut text = text;
        if self.column >= self.columns {
            // The cursor is where the full row goes on, and where the line after it begins as well.
            text = text.strip_prefix('\n').unwrap_or(text);
            self.column = 0;
        } else if self.column > 0 {
            out.push_str(&format!("\x1b[A\r\x1b[{}C", self.column));
        }
        out.push_str(&self.style);
        out.push_str(&text.replace('\r', CLEAR_LINE));
        self.follow(text);
        if self.column > 0 {
            out.push_str("\r\n");
        }
        out + &self.draw(view)
    }

    /// Whole lines that are none of the output, and the view below them.
    pub(super) fn note(&mut self, lines: &str, view: &View<'_>) -> String {
        let lifted = self.lift();
        self.column = 0;
        format!("{lifted}{lines}{}", self.draw(view))
    }

    /// The view alone.
    pub(super) fn view(&mut self, view: &View<'_>) -> String {
        self.lift() + &self.draw(view)
    }

    /// An empty terminal, but for the view.
    pub(super) fn clear(&mut self, view: &View<'_>) -> String {
        self.drawn = None;
        self.column = 0;
        format!("{BEGIN_UPDATE}{CLEAR_ALL}{}", self.draw(view))
    }

    /// Takes the view away. Output that ended within a line ends it.
    pub(super) fn close(&mut self) -> String {
        let lifted = self.lift();
        self.column = 0;
        format!("{lifted}{END_UPDATE}")
    }

    /// Leaves the view, and goes below it.
    pub(super) fn leave(&mut self) -> String {
        let down = self.drawn.take().map_or(0, |drawn| drawn.widths.len() - 1 - drawn.row);
        self.column = 0;
        "\n".repeat(down + 1)
    }

    /// The terminal has another size.
    pub(super) fn resize(&mut self, columns: usize, rows: usize) {
        self.columns = columns.max(2);
        self.rows = rows.max(2);
        // Where a line within which the output ended has gone is not known.
        self.column = 0;
    }

    /// Takes the view away; the cursor stands where it began.
    fn lift(&mut self) -> String {
        let Some(Drawn { widths, row, column }) = self.drawn.take() else { return BEGIN_UPDATE.to_owned() };
        // Terminals that became narrower have broken the rows anew.
        let broken = |width: usize| width.saturating_sub(1) / self.columns;
        let up = widths[..row].iter().map(|width| 1 + broken(*width)).sum::<usize>() + broken(column + 1);
        let up = if up > 0 { format!("\x1b[{up}A") } else { String::new() };
        format!("{BEGIN_UPDATE}\r{up}{CLEAR_TO_END}")
    }

    fn draw(&mut self, view: &View<'_>) -> String {
        let mut out = if self.style.is_empty() { String::new() } else { PLAIN.to_owned() };
        let (rows, row, column) = self.layout(view);
        let texts: Vec<&str> = rows.iter().map(|row| &*row.text).collect();
        out.push_str(&texts.join("\r\n"));
        if row + 1 < rows.len() {
            out.push_str(&format!("\x1b[{}A", rows.len() - 1 - row));
        }
        out.push('\r');
        if column > 0 {
            out.push_str(&format!("\x1b[{column}C"));
        }
        out.push_str(END_UPDATE);
        self.drawn = Some(Drawn { widths: rows.iter().map(|row| row.width).collect(), row, column });
        out
    }

    /// The rows of a view, as many of them around the cursor as there is room for, and the cursor's place in them.
    fn layout(&self, view: &View<'_>) -> (Vec<Row>, usize, usize) {
        let prompt = if view.prompt.width() <= self.columns / 2 { view.prompt } else { SHORT_PROMPT };
        let first = Row { text: painted(view.color, view.style, prompt), width: prompt.width() };
        let mut rows = Rows { columns: self.columns, rows: vec![first] };
        rows.text(&view.line[..view.at]);
        // The cursor stands on the character that follows, which may be the first of another row.
        let width = view.line[view.at..].chars().next().map_or(1, |next| next.width().unwrap_or(1).max(1));
        rows.make_room(if view.line[view.at..].starts_with(['\n', '\t']) { 1 } else { width });
        let (row, column) = (rows.rows.len() - 1, rows.last().width);
        rows.text(&view.line[view.at..]);
        let mut rows = rows.rows;
        // One row stays for the output.
        let room = self.rows - 1;
        let first = (row + 1).saturating_sub(room);
        rows.truncate(first + room);
        rows.drain(..first);
        (rows, row - first, column)
    }

    /// Where the output is, after it went on with this.
    fn follow(&mut self, text: &str) {
        for (at, _) in text.match_indices('\x1b') {
            let sequence = text[at..].split_inclusive('m').next().unwrap_or_default();
            if sequence == PLAIN {
                self.style.clear();
            } else {
                self.style.push_str(sequence);
            }
        }
        let tail = match text.rfind('\n') {
            Some(end) => {
                self.column = 0;
                &text[end + 1..]
            }
            None => text,
        };
        let mut characters = tail.chars();
        while let Some(character) = characters.next() {
            if character == '\r' {
                self.column = 0;
            } else if character == '\x1b' {
                characters.find(|character| *character == 'm');
            } else if character == '\t' {
                self.column = (self.column / TAB * TAB + TAB).min(self.columns - 1);
            } else {
                let width = character.width().unwrap_or(0);
                self.column = if self.column + width > self.columns { width } else { self.column + width };
            }
        }
    }
}

#[derive(Default, Debug)]
struct Row {
    text: String,
    width: usize,
}

/// Rows that are being filled.
struct Rows {
    columns: usize,
    rows: Vec<Row>,
}

impl Rows {
    fn text(&mut self, text: &str) {
        for character in safe(text).chars() {
            match character {
                '\n' => self.rows.push(Row::default()),
                '\t' => {
                    self.make_room(1);
                    let stop = (self.last().width / TAB * TAB + TAB).min(self.columns);
                    let spaces = stop - self.last().width;
                    self.last().text.push_str(&" ".repeat(spaces));
                    self.last().width = stop;
                }
                _ => {
                    let width = character.width().unwrap_or(0);
                    self.make_room(width);
                    self.last().text.push(character);
                    self.last().width += width;
                }
            }
        }
    }

    /// Begins another row where this one has no room for so much.
    fn make_room(&mut self, width: usize) {
        if self.last().width + width > self.columns {
            self.rows.push(Row::default());
        }
    }

    fn last(&mut self) -> &mut Row {
        if self.rows.is_empty() {
            self.rows.push(Row::default());
        }
        let last = self.rows.len() - 1;
        &mut self.rows[last]
    }
}

#[cfg(test)]
mod tests;
