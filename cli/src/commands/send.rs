//! `send`: input to a worker.

use std::io::{self, Read};

use crate::failure::Failure;

/// The most that is read from standard input, in bytes. A gateway takes less, unless configured otherwise.
const MAX_INPUT: u64 = 16 << 20;

/// The message: the words of the command line, or standard input without its last line end.
pub(crate) fn content(words: &[String]) -> Result<String, Failure> {
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
