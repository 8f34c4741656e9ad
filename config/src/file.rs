//! Files that are read at the start: of this machine, of bounded size, and never waited for without a limit.

use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;

/// How long a pipe may take to bring all that is to be read of it.
const PIPE_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest configuration or PEM file, in bytes.
pub(crate) const MAX_TEXT: u64 = 1 << 20;

/// Why a file cannot be read. It names the file and nothing of what is in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadError {
    path: PathBuf,
    reason: String,
}

impl std::error::Error for ReadError {}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read {}: {}", self.path.display(), self.reason)
    }
}

/// What a file holds, and who may get at it.
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    metadata: Metadata,
}

impl Content {
    /// The content as text.
    pub(crate) fn into_text(self, path: &Path) -> Result<String, ReadError> {
        String::from_utf8(self.bytes)
            .map_err(|_| ReadError { path: path.to_owned(), reason: "it is not UTF-8".into() })
    }

    /// What to warn of where a file that holds a secret is open to other users of the machine.
    pub(crate) fn exposure(&self) -> Option<String> {
        let mode = self.metadata.permissions().mode();
        let what = match (mode & 0o022 != 0, mode & 0o004 != 0) {
            _ if !self.metadata.is_file() => return None,
            (true, _) => "changed",
            (false, true) => "read",
            (false, false) => return None,
        };
        Some(format!("the file can be {what} by other users of this machine (chmod 600)"))
    }
}

/// Reads a regular file, or what a pipe brings in time, as far as it has no more than so many bytes.
pub(crate) fn read(path: &Path, max: u64) -> Result<Content, ReadError> {
    read_within(path, max, PIPE_TIMEOUT)
}

fn read_within(path: &Path, max: u64, pipe_timeout: Duration) -> Result<Content, ReadError> {
    let failed = |reason: &str| ReadError { path: path.to_owned(), reason: reason.to_owned() };
    let content = read_bounded(path, max, pipe_timeout).map_err(|error| failed(&reason(&error)))?;
    if content.bytes.len() as u64 > max {
        return Err(failed(&format!("it has more than {max} bytes")));
    }
    Ok(content)
}

fn read_bounded(path: &Path, max: u64, pipe_timeout: Duration) -> io::Result<Content> {
    // To open a pipe that no process writes to would wait without a limit.
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut bytes = Vec::new();
    if metadata.is_file() {
        file.take(max + 1).read_to_end(&mut bytes)?;
    } else {
        read_pipe(file, max, pipe_timeout, &mut bytes)?;
    }
    Ok(Content { bytes, metadata })
}

/// Reads to the end of file, for at most so long.
fn read_pipe(mut file: File, max: u64, timeout: Duration, bytes: &mut Vec<u8>) -> io::Result<()> {
    let started = Instant::now();
    let mut buffer = [0; 4096];
    while bytes.len() as u64 <= max {
        let left = timeout.saturating_sub(started.elapsed());
        let mut polled = [PollFd::from_borrowed_fd(file.as_fd(), PollFlags::IN)];
        let ready = rustix::event::poll(&mut polled, Timespec::try_from(left).ok().as_ref())?;
        if ready == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => bytes.extend_from_slice(&buffer[..length]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Why the system did not do it, in plain words.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::IsADirectory => "it is a directory".into(),
        io::ErrorKind::NotADirectory => "a part of the path is not a directory".into(),
        io::ErrorKind::TimedOut => format!("nothing came within {} s", PIPE_TIMEOUT.as_secs()),
        io::ErrorKind::StorageFull => "the disk is full".into(),
        kind => kind.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_cannot_be_read_is_named_with_its_reason() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let said =
            |path: &Path| read(path, 8).map(|content| content.bytes).map_err(|error| error.to_string());
        let refused = |path: &Path, reason: &str| {
            assert_eq!(said(path), Err(format!("cannot read {}: {reason}", path.display())));
        };
        refused(&path, "there is no such file");
        refused(directory.path(), "it is a directory");
        fs::write(&path, "123456789").unwrap();
        refused(&path, "it has more than 8 bytes");
        refused(&path.join("x"), "a part of the path is not a directory");
        fs::write(&path, "12345678").unwrap();
        assert_eq!(said(&path), Ok(b"12345678".to_vec()));
    }

    #[test]
    fn a_pipe_without_a_writer_does_not_hang() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let error = read_within(&path, 8, Duration::from_millis(10)).err().unwrap();
        assert!(error.reason.starts_with("nothing came"), "{error}");
        // Where there is a writer, what it writes is read to its end.
        let writer = std::thread::spawn({
            let path = path.clone();
            move || fs::write(path, "token")
        });
        let content = loop {
            match read(&path, 8) {
                Ok(content) if !content.bytes.is_empty() => break content,
                _ => std::thread::yield_now(),
            }
        };
        assert_eq!(content.bytes, b"token");
        assert_eq!(content.exposure(), None);
        writer.join().unwrap().unwrap();
    }

    #[test]
    fn files_that_others_may_get_at_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "x").unwrap();
        for (mode, expected) in [
            (0o600, None),
            (0o640, None),
            (0o644, Some("read")),
            (0o660, Some("changed")),
            (0o666, Some("changed")),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let exposure = read(&path, 8).unwrap().exposure();
            assert_eq!(exposure.is_some(), expected.is_some(), "{mode:o}");
            assert!(exposure.unwrap_or_default().contains(expected.unwrap_or_default()));
        }
    }
}
