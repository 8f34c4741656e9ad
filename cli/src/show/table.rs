//! Tables that fit.

use std::io::{self, Write};

use anstyle::Style;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::text::{FAINT, painted, safe_line};

/// What stands between two columns.
const GAP: &str = "  ";

/// The narrowest a column becomes that has to give way.
const NARROWEST: usize = 8;

/// Rows under a heading.
#[derive(Debug)]
pub(crate) struct Table {
    heading: Vec<&'static str>,
    /// How many columns, from the first on, are never cut.
    whole: usize,
    rows: Vec<Vec<(String, Style)>>,
}

impl Table {
    /// A table of which the first columns, as many as are said, are never cut.
    pub(crate) fn new(heading: &[&'static str], whole: usize) -> Self {
        Self { heading: heading.to_vec(), whole, rows: Vec::new() }
    }

    /// A table of so many columns that need no titles.
    pub(crate) fn untitled(columns: usize) -> Self {
        Self { heading: vec![""; columns], whole: 0, rows: Vec::new() }
    }

    /// Adds a row, of as many cells as there are columns.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = (String, Style)>) {
        self.rows.push(cells.into_iter().map(|(text, style)| (safe_line(&text), style)).collect());
    }

    /// Writes it, at most so wide.
    pub(crate) fn write(&self, out: &mut impl Write, width: usize, color: bool) -> io::Result<()> {
        let widths = self.widths(width);
        if self.heading.iter().any(|title| !title.is_empty()) {
            let heading = self.heading.iter().map(|title| (*title, FAINT));
            write_row(out, heading, &widths, color)?;
        }
        for row in &self.rows {
            write_row(out, row.iter().map(|(text, style)| (text.as_str(), *style)), &widths, color)?;
        }
        Ok(())
    }

    /// How wide each column is. While they are too wide together, the widest gives way.
    fn widths(&self, width: usize) -> Vec<usize> {
        let mut widths: Vec<usize> = self.heading.iter().map(|title| title.width()).collect();
        for row in &self.rows {
            for (widest, (text, _)) in widths.iter_mut().zip(row) {
                *widest = (*widest).max(text.width());
            }
        }
        let gaps = GAP.len() * widths.len().saturating_sub(1);
        let mut over = (widths.iter().sum::<usize>() + gaps).saturating_sub(width);
        while over > 0 {
            let Some(widest) = widths.iter_mut().skip(self.whole).max().filter(|widest| **widest > NARROWEST)
            else {
                break;
            };
            *widest -= 1;
            over -= 1;
        }
        widths
    }
}

fn write_row<'a>(
    out: &mut impl Write,
    cells: impl Iterator<Item = (&'a str, Style)>,
    widths: &[usize],
    color: bool,
) -> io::Result<()> {
    let mut line = String::new();
    let mut owed = 0;
    for ((text, style), width) in cells.zip(widths) {
        let text = cut(text, *width);
        // What would stand behind the last text of a line is left out.
        if !text.is_empty() {
            line.push_str(&" ".repeat(owed));
            line.push_str(&painted(color, style, &text));
            owed = 0;
        }
        owed += width - text.width() + GAP.len();
    }
    writeln!(out, "{line}")
}

/// At most so many columns of a text; an ellipsis tells that there was more.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let fits = |character: &char| match left.checked_sub(character.width().unwrap_or(0)) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    let mut cut: String = text.chars().take_while(fits).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(width: usize) -> String {
        let mut table = Table::new(&["WORKER", "STATUS", "INTENT"], 1);
        let plain = Style::new();
        table.row([
            ("box/worker-1".into(), plain),
            ("running".into(), plain),
            ("a task\nof two lines".into(), plain),
        ]);
        table.row([("関所/w".into(), plain), ("".into(), plain), ("".into(), plain)]);
        let mut out = Vec::new();
        table.write(&mut out, width, false).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_as_wide_as_they_must() {
        assert_eq!(
            written(usize::MAX),
            "WORKER        STATUS   INTENT\nbox/worker-1  running  a task of two lines\n関所/w\n"
        );
    }

    #[test]
    fn the_widest_gives_way() {
        let narrow = written(34);
        assert_eq!(narrow, "WORKER        STATUS   INTENT\nbox/worker-1  running  a task of …\n関所/w\n");
        assert!(narrow.lines().all(|line| line.width() <= 34));
        assert!(
            written(1).contains("box/worker-1  running  a task …"),
            "a name is never cut: {}",
            written(1)
        );
    }

    #[test]
    fn wide_characters_are_not_cut_in_half() {
        assert_eq!(cut("関所関所", 4), "関…");
        assert_eq!(cut("関所関所", 5), "関所…");
    }
}
