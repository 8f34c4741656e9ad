//! A terminal that shows one thing and is drawn anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGTERM};

use crate::failure::Failure;
use crate::show::{Show, Table};
use crate::terminal::Terminal;
use crate::text::{FAINT, painted};

/// The other screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// The keys that end it: q, Ctrl-C and Ctrl-D.
const END_KEYS: &[u8] = b"qQ\x03\x04";

/// The terminal while it shows a list.
pub(super) struct Screen {
    terminal: Terminal,
    show: Show,
    end: Arc<AtomicBool>,
}

impl Screen {
    /// Whether there is a terminal to draw on.
    pub(super) fn is_there() -> bool {
        Terminal::is_there()
    }

    pub(super) fn open(show: Show) -> Result<Self, Failure> {
        let end = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, end.clone()).map_err(Failure::output)?;
        }
        let terminal = Terminal::open().map_err(Failure::output)?;
        show.text(ENTER)?;
        let pressed = end.clone();
        // It waits for a key until the process ends.
        thread::spawn(move || {
            let mut keys = [0; 64];
            loop {
                match rustix::io::read(std::io::stdin(), &mut keys) {
                    Ok(length) if length > 0 && !keys[..length].iter().any(|key| END_KEYS.contains(key)) => {}
                    Err(rustix::io::Errno::INTR) => {}
                    // A key that ends it, or the terminal is gone.
                    _ => return pressed.store(true, Ordering::Relaxed),
                }
            }
        });
        Ok(Self { terminal, show, end })
    }

    /// Whether the user or the system wants it to end.
    pub(super) fn is_to_end(&self) -> bool {
        self.end.load(Ordering::Relaxed)
    }

    /// Draws lines and below them as much of a table as there is room for.
    pub(super) fn draw(&mut self, head: &[String], table: &Table) -> Result<(), Failure> {
        let (width, height) = self.terminal.size();
        let mut rows = Vec::new();
        table.write(&mut rows, width, self.show.color).map_err(Failure::output)?;
        let rows = String::from_utf8_lossy(&rows).into_owned();
        let lines: Vec<&str> = head.iter().map(String::as_str).chain(rows.lines()).collect();
        // The last line says what there was no room for.
        let fits = if lines.len() > height { height.saturating_sub(1) } else { lines.len() };
        let mut text = String::from("\x1b[H");
        for (number, line) in lines[..fits].iter().enumerate() {
            text.push_str(if number == 0 { "" } else { "\r\n" });
            text.push_str(line);
            text.push_str("\x1b[K");
        }
        if fits < lines.len() {
            let more = format!("\r\n… and {} more", lines.len() - fits);
            text.push_str(&painted(self.show.color, FAINT, &more));
            text.push_str("\x1b[K");
        }
        text.push_str("\x1b[J");
        self.show.text(&text)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Where the terminal is gone, there is nothing to leave.
        let _ = self.show.text(LEAVE);
    }
}
