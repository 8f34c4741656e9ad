//! Tokens in files that may be replaced while the program runs.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use sekisho_core::secret::{MAX_TOKEN_LENGTH, Token, TokenError};
use sekisho_core::transport::TokenSource;

use crate::file::{self, Content, ReadError};

/// How often a file is looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The most that is read of a file: a token, and white space around it.
const MAX_FILE: u64 = MAX_TOKEN_LENGTH as u64 + 64;

/// A file that holds one token. Prints nothing of itself.
///
/// Looking at it takes a `stat`, and reading it a `read` of at most a few KiB, of a file on this machine: quick
/// enough for an event loop.
pub struct TokenFile {
    path: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Clone, Copy)]
struct Seen {
    looked_at: Option<Instant>,
    stamp: Option<(SystemTime, u64)>,
}

/// Why a file gives no token. It names the file and nothing of what is in it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFileError {
    /// The file is not there, or cannot be read.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
    /// What is in it is not a token.
    #[error("{}: {error}", path.display())]
    NotAToken {
        /// The file.
        path: PathBuf,
        /// What is wrong with its content.
        error: TokenError,
    },
}

impl TokenFile {
    /// A file and the token that is in it now.
    pub fn open(path: PathBuf) -> Result<(Self, Token), TokenFileError> {
        let file = Self { seen: Mutex::new(Seen { looked_at: None, stamp: None }), path };
        let stamp = file.stamp();
        let token = file.token()?;
        file.seen.lock().unwrap_or_else(PoisonError::into_inner).stamp = stamp;
        Ok((file, token))
    }

    /// What to warn of where other users of the machine may read or change the file.
    pub fn exposure(&self) -> Option<String> {
        self.content().ok()?.exposure()
    }

    fn content(&self) -> Result<Content, ReadError> {
        file::read(&self.path, MAX_FILE)
    }

    fn token(&self) -> Result<Token, TokenFileError> {
        let text = self.content()?.into_text(&self.path)?;
        text.parse().map_err(|error| TokenFileError::NotAToken { path: self.path.clone(), error })
    }

    fn stamp(&self) -> Option<(SystemTime, u64)> {
        let metadata = fs::metadata(&self.path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    }
}

impl TokenSource for TokenFile {
    fn read(&self) -> Option<Token> {
        self.token().ok()
    }

    /// Looks at the file at most once a second. One that is unreadable or holds no token may be
    /// in the middle of being written: it is looked at again.
    fn changed(&self, now: Instant) -> Option<Token> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.looked_at.is_some_and(|looked_at| now.saturating_duration_since(looked_at) < LOOK_EVERY) {
            return None;
        }
        seen.looked_at = Some(now);
        let stamp = self.stamp();
        if stamp == seen.stamp {
            return None;
        }
        let token = self.token().ok()?;
        seen.stamp = stamp;
        Some(token)
    }
}

impl fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenFile")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_token_is_seen_and_looked_for_once_a_second() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "first\n").unwrap();
        let (file, token) = TokenFile::open(path.clone()).unwrap();
        assert_eq!(Ok(token), "first".parse());
        let now = Instant::now();
        assert_eq!(file.changed(now), None);
        fs::write(&path, "the second").unwrap();
        assert_eq!(file.changed(now + LOOK_EVERY / 2), None);
        assert_eq!(file.changed(now + LOOK_EVERY), "the second".parse().ok());
        assert_eq!(file.changed(now + LOOK_EVERY * 2), None);
        fs::write(&path, "").unwrap();
        assert_eq!(file.changed(now + LOOK_EVERY * 3), None);
        fs::write(&path, "the very third").unwrap();
        assert_eq!(file.changed(now + LOOK_EVERY * 4), "the very third".parse().ok());
    }

    #[test]
    fn what_gives_no_token() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let missing = TokenFile::open(path.clone()).unwrap_err().to_string();
        assert_eq!(missing, format!("cannot read {}: there is no such file", path.display()));
        for text in ["", "two words", &"x".repeat(4100)] {
            fs::write(&path, text).unwrap();
            assert!(matches!(TokenFile::open(path.clone()).unwrap_err(), TokenFileError::NotAToken { .. }));
        }
        fs::write(&path, "two words of hunter2").unwrap();
        let printed = format!("{:?}", TokenFile::open(path).unwrap_err());
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}
