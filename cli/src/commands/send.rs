//! `send`: input to a worker.

use std::io::{self, IsTerminal, Read};

use sekisho_core::id::WorkerRef;
use sekisho_core::runtime_api::{Input, InputKind};

use crate::failure::Failure;
use crate::secret_prompt;

/// The most that is read from standard input, in bytes. A gateway takes less, unless configured otherwise.
const MAX_INPUT: u64 = 16 << 20;

/// The input that the options name.
pub(crate) fn input_of(
    worker: &WorkerRef,
    words: &[String],
    system: bool,
    secret: bool,
    eof: bool,
) -> Result<Input, Failure> {
    if eof {
        return Ok(Input::eof());
    }
    let kind = if system { InputKind::System } else { InputKind::User };
    if !secret {
        return Ok(Input::new(kind, content(words)?));
    }
    let content = match io::stdin().is_terminal() {
        true => secret_prompt::ask(&format!("secret for {worker}: "))?,
        false => content(&[])?,
    };
    Ok(Input { secret, ..Input::new(kind, content) })
}

/// The message: the words of the command line, or standard input without its last line end.
fn content(words: &[String]) -> Result<String, Failure> {
    if !words.is_empty() && words != ["-"] {
        return Ok(words.join(" "));
    }
    let failed = |error| Failure::Io { what: "cannot read standard input", error };
    let mut bytes = Vec::new();
    io::stdin().lock().take(MAX_INPUT + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_INPUT {
        return Err(Failure::Usage(format!("standard input has more than {MAX_INPUT} bytes")));
    }
    let mut text =
        String::from_utf8(bytes).map_err(|_| Failure::Usage("standard input is not UTF-8".into()))?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}
