//! The terminal, switched to keys one by one, and back in all circumstances.

use std::fs::File;
use std::io::{self, IsTerminal, Stdin, Write};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize,
    tcsetattr, ttyname,
};

/// What a terminal is switched to beside keys.
#[derive(Clone, Copy)]
pub(crate) struct Mode {
    on: &'static [u8],
    /// Also colours off and everything shown, wherever it was left.
    off: &'static [u8],
}

/// What is written goes on where it is; pastes are told from keys.
pub(crate) const LINES: Mode = Mode { on: b"\x1b[?2004h", off: b"\x1b[0m\x1b[?2026l\x1b[?2004l" };

/// The other screen, without a cursor; lines that are too long are cut.
pub(crate) const OTHER_SCREEN: Mode =
    Mode { on: b"\x1b[?1049h\x1b[?25l\x1b[?7l", off: b"\x1b[0m\x1b[?2026l\x1b[?7h\x1b[?25h\x1b[?1049l" };

/// How long a terminal that takes nothing is waited for before it is switched back.
const LAST_WRITE_TIMEOUT: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// How large a terminal is taken for that does not say, in columns and rows.
const SIZE: (usize, usize) = (80, 24);

/// The terminal of this process.
pub(crate) struct Terminal {
    input: Stdin,
    out: Arc<File>,
    before: Termios,
    mode: Mode,
    /// Whether it is to be switched back.
    entered: Arc<AtomicBool>,
}

impl Terminal {
    /// Whether there is one that can be written on as this wants to.
    pub(crate) fn is_there() -> bool {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term.is_empty() || term == "dumb");
        io::stdin().is_terminal() && io::stdout().is_terminal() && !is_dumb
    }

    /// Switches to keys, and to this.
    pub(crate) fn open(mode: Mode) -> io::Result<Self> {
        let input = io::stdin();
        // Opened anew, as what is set for this one is not to be set for all who share standard output.
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let out = ttyname(io::stdout(), Vec::new())
            .and_then(|path| rustix::fs::open(path, flags, rustix::fs::Mode::empty()))
            .or_else(|_| rustix::io::fcntl_dupfd_cloexec(io::stdout(), 0))?;
        let (before, out, entered) = (tcgetattr(&input)?, Arc::new(out.into()), Arc::default());
        let terminal = Self { input, out, before, mode, entered };
        terminal.restore_on_panic();
        terminal.enter()?;
        Ok(terminal)
    }

    /// Switches to keys, again.
    pub(crate) fn enter(&self) -> io::Result<()> {
        let mut keys = self.before.clone();
        keys.input_modes -= InputModes::BRKINT
            | InputModes::ICRNL
            | InputModes::INLCR
            | InputModes::INPCK
            | InputModes::ISTRIP;
        keys.input_modes -= InputModes::IXON;
        keys.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
        keys.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::IEXTEN | LocalModes::ISIG;
        keys.special_codes[SpecialCodeIndex::VMIN] = 1;
        keys.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&self.input, OptionalActions::Now, &keys)?;
        self.entered.store(true, Ordering::SeqCst);
        // Where it is full, pastes come line by line.
        let _ = self.write(self.mode.on);
        Ok(())
    }

    /// Switches back. What was typed and not read is for the next program, or is dropped.
    pub(crate) fn restore(&self, drop_typed: bool) {
        let when = if drop_typed { OptionalActions::Flush } else { OptionalActions::Now };
        restore(&self.out, &self.before, self.mode, &self.entered, when);
    }

    /// What was typed; nothing means that the terminal is gone.
    pub(crate) fn read<'a>(&self, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        let length = rustix::io::read(&self.input, &mut *buffer)?;
        Ok(&buffer[..length])
    }

    /// Writes as much as the terminal takes now.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        match (&*self.out).write(bytes) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(0)
            }
            written => written,
        }
    }

    pub(crate) fn input(&self) -> &Stdin {
        &self.input
    }

    pub(crate) fn out(&self) -> &File {
        &self.out
    }

    /// Columns and rows.
    pub(crate) fn size(&self) -> (usize, usize) {
        match tcgetwinsize(&self.out) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => SIZE,
        }
    }

    fn restore_on_panic(&self) {
        let (out, before, report) = (self.out.clone(), self.before.clone(), panic::take_hook());
        let (mode, entered) = (self.mode, self.entered.clone());
        panic::set_hook(Box::new(move |panic| {
            restore(&out, &before, mode, &entered, OptionalActions::Now);
            report(panic);
        }));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.restore(false);
    }
}

fn restore(mut out: &File, before: &Termios, mode: Mode, entered: &AtomicBool, when: OptionalActions) {
    // What was written since is not to be hidden or overwritten.
    if entered.swap(false, Ordering::SeqCst) {
        // Where the terminal is gone, or takes nothing, there is nothing to restore.
        let mut polled = [PollFd::new(out, PollFlags::OUT)];
        let _ = rustix::event::poll(&mut polled, Some(&LAST_WRITE_TIMEOUT));
        let _ = out.write_all(mode.off);
    }
    let _ = tcsetattr(io::stdin(), when, before);
}
