//! A terminal that shows one thing and is drawn anew.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
use signal_hook::flag;
use signal_hook::low_level::emulate_default_handler;

use crate::failure::Failure;
use crate::show::{Show, Table};
use crate::terminal::{OTHER_SCREEN, Terminal};
use crate::text::{FAINT, painted};

/// The keys that end it: q, Ctrl-C and Ctrl-D.
const END_KEYS: &[u8] = b"qQ\x03\x04";

/// What a key begins with that is more than a character, and how.
const ESCAPE: u8 = 0x1b;

/// The terminal while it shows a list.
pub(super) struct Screen {
    terminal: Terminal,
    show: Show,
    /// Whether a key was pressed that ends it, or the terminal is gone.
    end: Arc<AtomicBool>,
    /// The signal that ends it, if one has come.
    signal: Arc<AtomicUsize>,
    /// Whether the terminal is of another size now.
    resized: Arc<AtomicBool>,
    /// Whether this process was stopped, and what the terminal shows is that of others.
    continued: Arc<AtomicBool>,
}

impl Screen {
    /// Whether there is a terminal to draw on.
    pub(super) fn is_there() -> bool {
        Terminal::is_there()
    }

    pub(super) fn open(show: Show) -> Result<Self, Failure> {
        let failed = |error| Failure::Io { what: "cannot use the terminal", error };
        let (end, signal, resized, continued): (Arc<AtomicBool>, Arc<AtomicUsize>, _, _) = Default::default();
        for number in [SIGTERM, SIGHUP, SIGINT, SIGQUIT] {
            // The numbers of signals are small.
            flag::register_usize(number, signal.clone(), number as usize).map_err(failed)?;
        }
        flag::register(SIGWINCH, Arc::clone(&resized)).map_err(failed)?;
        flag::register(SIGCONT, Arc::clone(&continued)).map_err(failed)?;
        let terminal = Terminal::open(OTHER_SCREEN).map_err(failed)?;
        let pressed = end.clone();
        // It waits for a key until the process ends.
        thread::spawn(move || {
            let mut keys = [0; 64];
            while !is_end(rustix::io::read(io::stdin(), &mut keys).map(|length| &keys[..length])) {}
            pressed.store(true, Ordering::Relaxed);
        });
        Ok(Self { terminal, show, end, signal, resized, continued })
    }

    /// Whether the user or the system wants it to end.
    pub(super) fn is_to_end(&self) -> bool {
        self.end.load(Ordering::Relaxed) || self.signal.load(Ordering::Relaxed) != 0
    }

    /// Gives the terminal back. A signal then does what it does elsewhere: its sender sees that it was obeyed.
    pub(super) fn close(self) {
        let signal = self.signal.load(Ordering::Relaxed);
        drop(self);
        if let Ok(signal @ 1..) = i32::try_from(signal) {
            let _ = emulate_default_handler(signal);
        }
    }

    /// Whether what is shown has to be drawn anew, whatever there is to be shown.
    pub(super) fn is_stale(&self) -> Result<bool, Failure> {
        if self.continued.swap(false, Ordering::Relaxed) {
            self.terminal.enter().map_err(Failure::output)?;
            return Ok(true);
        }
        Ok(self.resized.swap(false, Ordering::Relaxed))
    }

    /// Draws lines and below them as much of a table as there is room for.
    pub(super) fn draw(&self, head: &[String], table: Option<&Table>) -> Result<(), Failure> {
        let (width, height) = self.terminal.size();
        let mut rows = Vec::new();
        if let Some(table) = table {
            table.write(&mut rows, width, self.show.color).map_err(Failure::output)?;
        }
        let rows = String::from_utf8_lossy(&rows);
        let lines: Vec<&str> = head.iter().map(String::as_str).chain(rows.lines()).collect();
        // The last line says what there was no room for.
        let fits = if lines.len() > height { height.saturating_sub(1) } else { lines.len() };
        let more = format!("… and {} more", lines.len() - fits);
        let more = painted(self.show.color, FAINT, &more);
        let last = (fits < lines.len()).then_some(&*more);
        let mut text = String::from("\x1b[?2026h\x1b[H");
        for (number, line) in lines[..fits].iter().copied().chain(last).enumerate() {
            text.push_str(if number == 0 { "" } else { "\r\n" });
            // Before it is written: behind a line as wide as the terminal, its last character would be cleared.
            text.push_str("\x1b[K");
            text.push_str(line);
        }
        if lines.len() < height {
            text.push_str("\r\n\x1b[J");
        }
        text.push_str("\x1b[?2026l");
        self.show.text(&text)
    }
}

/// Whether what was read ends it: a key, or that the terminal is gone.
fn is_end(read: Result<&[u8], rustix::io::Errno>) -> bool {
    match read {
        Err(rustix::io::Errno::INTR) | Ok([ESCAPE, ..]) => false,
        Ok([]) | Err(_) => true,
        Ok(keys) => keys.iter().any(|key| END_KEYS.contains(key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_it() {
        for keys in [&b"q"[..], b"Q", b"\x03", b"\x04", b"jq", b""] {
            assert!(is_end(Ok(keys)), "{keys:?}");
        }
        // An arrow, F2, and what is no key here.
        for keys in [&b"\x1b[A"[..], b"\x1bOQ", b"j", b"\n"] {
            assert!(!is_end(Ok(keys)), "{keys:?}");
        }
        assert!(is_end(Err(rustix::io::Errno::IO)) && !is_end(Err(rustix::io::Errno::INTR)));
    }
}
