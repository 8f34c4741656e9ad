//! How many instructions a program takes, where something counts them.

use std::io;
use std::process::{Command, Stdio};

/// How many instructions this program takes with these arguments, as callgrind counts them; `None` where valgrind is not
/// installed.
pub(crate) fn instructions_of(arguments: &[&str]) -> io::Result<Option<u64>> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.arg(std::env::current_exe()?).args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    let said = match command.output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        said => said?,
    };
    let text = String::from_utf8_lossy(&said.stderr);
    let counted = text.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    counted.filter(|_| said.status.success()).map(Some).ok_or_else(|| io::Error::other(text.into_owned()))
}
