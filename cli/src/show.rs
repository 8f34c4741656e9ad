//! Where output goes: text, tables and JSON on standard output, notes on standard error.

mod table;

use std::io::{self, IsTerminal, Write};

use anstyle::Style;
use serde::Serialize;

pub(crate) use table::Table;

use crate::args::{ColorWhen, Global};
use crate::failure::Failure;
use crate::text::{json_safe, painted, safe};

/// The width of tables where there is no terminal, in columns.
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

    /// Text of a renderer on standard output: a carriage return in it clears the line that was begun.
    pub(crate) fn rendered(&self, text: &str) -> Result<(), Failure> {
        self.text(&text.replace('\r', "\r\x1b[K"))
    }

    /// One line on standard output.
    pub(crate) fn line(&self, line: impl AsRef<[u8]>) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(line.as_ref())
            .and_then(|()| out.write_all(b"\n"))
            .and_then(|()| out.flush())
            .map_err(Failure::output)
    }

    /// JSON that was received, on one line: what would control a terminal in it is escaped.
    pub(crate) fn json_text(&self, json: &[u8]) -> Result<(), Failure> {
        self.line(json_safe(&String::from_utf8_lossy(json)))
    }

    /// A value as one line of JSON.
    pub(crate) fn json_line(&self, value: &impl Serialize) -> Result<(), Failure> {
        let error = |error: serde_json::Error| Failure::output(error.into());
        self.json_text(&serde_json::to_vec(value).map_err(error)?)
    }

    /// A table, cut to the terminal's width where there is one.
    pub(crate) fn table(&self, table: &Table) -> Result<(), Failure> {
        let width = terminal_width().unwrap_or(NO_TERMINAL);
        let mut out = io::stdout().lock();
        table.write(&mut out, width, self.color).and_then(|()| out.flush()).map_err(Failure::output)
    }

    /// A line about what this program does, on standard error.
    pub(crate) fn note(&self, style: Style, text: &str) {
        // A standard error that is closed is no reason to fail.
        let _ = writeln!(io::stderr(), "sekisho: {}", painted(self.color_errors, style, &safe(text)));
    }
}

/// How wide the terminal on standard output is, if it is one.
fn terminal_width() -> Option<usize> {
    let out = io::stdout();
    let size = out.is_terminal().then(|| rustix::termios::tcgetwinsize(&out).ok()).flatten()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}
