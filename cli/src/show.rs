//! Texts, tables and colours for people.

mod table;

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

pub(crate) use table::Table;

use crate::args::{ColorWhen, Global};
use crate::failure::Failure;

/// Names.
pub(crate) const STRONG: Style = Style::new().bold();
/// What matters less.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// What is well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What wants attention.
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default();
/// What is wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
/// What was said by somebody.
pub(crate) const SAID: Style = AnsiColor::Cyan.on_default();

/// The widest text that is looked at for a table where there is no terminal, in columns.
const NO_TERMINAL: usize = usize::MAX;

/// Where output goes, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Show {
    /// JSON rather than texts for people.
    pub(crate) json: bool,
    /// Colours on standard output.
    pub(crate) color: bool,
    /// Colours on standard error.
    pub(crate) color_errors: bool,
}

impl Show {
    pub(crate) fn new(global: &Global) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let wanted = |terminal: bool| match global.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => terminal && !no_color && !dumb,
        };
        Self {
            json: global.json,
            color: wanted(io::stdout().is_terminal()),
            color_errors: wanted(io::stderr().is_terminal()),
        }
    }

    /// Text on standard output, as it is.
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::output)
    }

    /// One line on standard output.
    pub(crate) fn line(&self, line: impl AsRef<[u8]>) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(line.as_ref())
            .and_then(|()| out.write_all(b"\n"))
            .and_then(|()| out.flush())
            .map_err(Failure::output)
    }

    /// A value as one line of JSON.
    pub(crate) fn json_line(&self, value: &impl Serialize) -> Result<(), Failure> {
        let error = |error: serde_json::Error| Failure::output(error.into());
        self.line(serde_json::to_vec(value).map_err(error)?)
    }

    /// A table, cut to the terminal's width where there is one.
    pub(crate) fn table(&self, table: &Table) -> Result<(), Failure> {
        let width = terminal_width().unwrap_or(NO_TERMINAL);
        let mut out = io::stdout().lock();
        table.write(&mut out, width, self.color).and_then(|()| out.flush()).map_err(Failure::output)
    }

    /// Something about what is going on, for who sits at the terminal.
    pub(crate) fn note(&self, style: Style, text: &str) {
        // Where there is nobody to tell, it need not be told.
        let _ = writeln!(io::stderr(), "sekisho: {}", painted(self.color_errors, style, &safe(text)));
    }
}

/// A text in a style, where there are colours.
pub(crate) fn painted(color: bool, style: Style, text: &str) -> String {
    match color && style != Style::new() {
        true => format!("{style}{text}{style:#}"),
        false => text.to_owned(),
    }
}

/// How wide the terminal on standard output is, if it is one.
fn terminal_width() -> Option<usize> {
    let out = io::stdout();
    let size = out.is_terminal().then(|| rustix::termios::tcgetwinsize(&out).ok()).flatten()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// A text that does nothing to a terminal: what controls one, or turns the direction of writing, is shown instead.
/// Line ends and tabs stay.
pub(crate) fn safe(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' | '\t' => character,
            // The pictures of the control characters stand in their order.
            '\0'..='\u{1f}' => char::from_u32(0x2400 + character as u32).unwrap_or('\u{fffd}'),
            '\u{7f}' => '\u{2421}',
            '\u{80}'..='\u{9f}' => '\u{fffd}',
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                '\u{fffd}'
            }
            _ => character,
        })
        .collect()
}

/// The same on one line.
pub(crate) fn safe_line(text: &str) -> String {
    safe(text).replace(['\n', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_but_text() {
        assert_eq!(safe("a\tb\nc 関所 é"), "a\tb\nc 関所 é");
        assert_eq!(safe("\u{1b}]0;title\u{7}\r\u{0}\u{7f}"), "␛]0;title␇␍␀␡");
        assert_eq!(safe("\u{9b}31m\u{202e}x"), "\u{fffd}31m\u{fffd}x");
        assert_eq!(safe_line("two\nlines\t!"), "two lines !");
    }
}
