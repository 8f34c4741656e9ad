//! Opening and reading files that are another process's, without waiting for it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::name;
use crate::problem::Problem;

/// Opens a plain file. Opening a pipe would wait for a writer, and reading one would take what it holds.
pub(super) fn open(path: &Path) -> Result<File, Problem> {
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let file = match opened {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(Problem::NotAFile);
        }
        opened => opened?,
    };
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(Problem::NotAFile),
    }
}

/// Reads a plain file of at most `limit` bytes.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Problem> {
    let file = open(path)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => Err(Problem::TooLarge { limit }),
        false => Ok(bytes),
    }
}

/// The ids of the folders in a folder, in no order: all of them, or one more than `limit`.
pub(super) fn folders(path: &Path, limit: usize) -> Result<Vec<String>, Problem> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = match entry {
            Ok(entry) if entry.file_type().is_ok_and(|kind| kind.is_dir()) => entry,
            Ok(_) => continue,
            // A folder that goes away while it is read is at its end.
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error.into()),
        };
        ids.extend(entry.file_name().to_str().and_then(name::id_of));
        if ids.len() > limit {
            break;
        }
    }
    Ok(ids)
}
