//! The terminal of a worker: a pseudo-terminal of its own (pty(7)), whose other side is the runtime.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::pty::{OpenptFlags, grantpt, openpt, unlockpt};
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Winsize, tcgetattr, tcsetattr, tcsetwinsize,
};

/// How large a terminal is, in characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct TerminalSize {
    pub(crate) cols: u16,
    pub(crate) rows: u16,
}

/// What a terminal is like.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TerminalSettings {
    /// Its size in the beginning.
    pub(crate) size: TerminalSize,
    /// What it can do: the value of `TERM`.
    pub(crate) term: String,
    /// Whether it shows what is typed. A program can change that, as for passwords.
    pub(crate) echo: bool,
}

/// A new terminal: the runtime's side and the program's.
pub(super) fn open(settings: &TerminalSettings) -> io::Result<(OwnedFd, OwnedFd)> {
    #[cfg(any(target_os = "linux", target_os = "freebsd", target_os = "netbsd"))]
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    #[cfg(not(any(target_os = "linux", target_os = "freebsd", target_os = "netbsd")))]
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let ours = openpt(flags)?;
    rustix::io::fcntl_setfd(&ours, rustix::io::FdFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let theirs = other_side(&ours, flags)?;
    let mut modes = tcgetattr(&theirs)?;
    modes.local_modes.set(LocalModes::ECHO, settings.echo);
    modes.input_modes.insert(InputModes::IUTF8);
    tcsetattr(&theirs, OptionalActions::Now, &modes)?;
    resize(&ours, settings.size)?;
    Ok((ours, theirs))
}

#[cfg(target_os = "linux")]
fn other_side(ours: &OwnedFd, flags: OpenptFlags) -> rustix::io::Result<OwnedFd> {
    rustix::pty::ioctl_tiocgptpeer(ours, flags)
}

#[cfg(not(target_os = "linux"))]
fn other_side(ours: &OwnedFd, _: OpenptFlags) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let name = rustix::pty::ptsname(ours, Vec::new())?;
    rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
}

/// Changes the size. The kernel tells the programs on it (SIGWINCH).
pub(super) fn resize(terminal: impl AsFd, TerminalSize { cols, rows }: TerminalSize) -> io::Result<()> {
    let size = Winsize { ws_col: cols, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(terminal, size)?)
}

/// The character that interrupts what runs: Ctrl-C, unless a program chose another.
pub(super) fn interrupt_character(terminal: impl AsFd) -> u8 {
    special_character(terminal, SpecialCodeIndex::VINTR, 0x03)
}

/// The character that ends the input: Ctrl-D, unless a program chose another.
pub(super) fn end_of_file_character(terminal: impl AsFd) -> u8 {
    special_character(terminal, SpecialCodeIndex::VEOF, 0x04)
}

fn special_character(terminal: impl AsFd, index: SpecialCodeIndex, default: u8) -> u8 {
    let chosen = tcgetattr(terminal).map(|modes| modes.special_codes[index]);
    // Zero stands for none.
    chosen.ok().filter(|character| *character != 0).unwrap_or(default)
}

/// What ends a line that is typed: what the Enter key sends, unless the terminal passes it on as it is to a program
/// that reads lines.
pub(super) fn line_end(terminal: impl AsFd) -> &'static [u8] {
    match tcgetattr(terminal) {
        Ok(modes)
            if modes.local_modes.contains(LocalModes::ICANON)
                && !modes.input_modes.contains(InputModes::ICRNL) =>
        {
            b"\n"
        }
        _ => b"\r",
    }
}
