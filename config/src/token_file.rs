//! Tokens in files that somebody may replace.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use sekisho_core::secret::{MAX_TOKEN_LENGTH, Token, TokenError};
use sekisho_core::transport::TokenSource;

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

/// Why a file gives no token. It names neither the file nor what is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFileError {
    /// The file is not there, or may not be read.
    #[error("the token file cannot be read")]
    Unreadable,
    /// What is in it is not a token.
    #[error(transparent)]
    NotAToken(#[from] TokenError),
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

    fn token(&self) -> Result<Token, TokenFileError> {
        let mut text = String::new();
        let file = File::open(&self.path).map_err(|_| TokenFileError::Unreadable)?;
        file.take(MAX_FILE).read_to_string(&mut text).map_err(|_| TokenFileError::Unreadable)?;
        Ok(text.parse()?)
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

    /// Looks at the file at most once a second. One that is unreadable or holds no token is one that somebody is
    /// writing just now: it is looked at again.
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
        assert_eq!(TokenFile::open(path.clone()).unwrap_err(), TokenFileError::Unreadable);
        for text in ["", "two words", &"x".repeat(9000)] {
            fs::write(&path, text).unwrap();
            assert!(matches!(TokenFile::open(path.clone()).unwrap_err(), TokenFileError::NotAToken(_)));
        }
        let printed = format!("{:?}", TokenFile::open(path).unwrap_err());
        assert!(!printed.contains("xxx") && !printed.contains("token\""), "{printed}");
    }
}
