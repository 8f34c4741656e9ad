//! A line that is typed without being shown.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::failure::Failure;

/// The longest line, in bytes.
const MAX_SECRET: usize = 64 << 10;

const INTERRUPT: u8 = 0x03;
const END: u8 = 0x04;
const ERASE_LINE: u8 = 0x15;

/// The terminal, which is as it was before once this is dropped.
struct Hidden {
    terminal: File,
    before: Termios,
}

impl Hidden {
    fn new() -> io::Result<Self> {
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&terminal)?;
        let mut hidden = before.clone();
        // Ctrl-C comes as a key: a signal would leave the terminal without echo.
        hidden.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        let hidden_terminal = Self { terminal, before };
        tcsetattr(&hidden_terminal.terminal, OptionalActions::Flush, &hidden)?;
        Ok(hidden_terminal)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = self.terminal.write_all(b"\n");
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}

/// Asks on the terminal of this process for a line, which is not shown.
pub(crate) fn ask(prompt: &str) -> Result<String, Failure> {
    let failed = |error| Failure::Io { what: "cannot ask on the terminal", error };
    let mut hidden = Hidden::new().map_err(failed)?;
    hidden.terminal.write_all(prompt.as_bytes()).map_err(failed)?;
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        match hidden.terminal.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        }
        match byte[0] {
            b'\r' | b'\n' => break,
            END if line.is_empty() => return Err(Failure::Usage("nothing was entered".into())),
            INTERRUPT => return Err(Failure::Usage("nothing was sent".into())),
            ERASE_LINE => line.clear(),
            // A whole character of UTF-8.
            0x08 | 0x7f => while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            byte if line.len() < MAX_SECRET => line.push(byte),
            _ => return Err(Failure::Usage(format!("a secret has at most {MAX_SECRET} bytes"))),
        }
    }
    String::from_utf8(line).map_err(|_| Failure::Usage("what was entered is not UTF-8".into()))
}
