//! The folder of a store, and that one process has it.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use rustix::fs::FlockOperation;

use super::OpenError;

/// The name of the database in the folder.
pub(crate) const DATABASE: &str = "store.db";

/// The name of the file that the owner holds a lock on.
const LOCK: &str = "lock";

/// Where Linux lists the locks that processes of this system hold.
const LOCKS: &str = "/proc/locks";

/// The databases of which this process is the owner, by device and number.
///
/// SQLite shares the index of a log among all connections of a process. One that was opened to be read only would be
/// so for the owner, too: readers of the owner's process use the owner's, and none reads while an owner opens.
static OWNED: RwLock<BTreeSet<(u64, u64)>> = RwLock::new(BTreeSet::new());

/// That this process owns the store in a folder.
pub(crate) struct Ownership {
    database: (u64, u64),
    _lock: File,
}

impl Drop for Ownership {
    fn drop(&mut self) {
        OWNED.write().unwrap_or_else(PoisonError::into_inner).remove(&self.database);
    }
}

/// Keeps this process from becoming an owner.
pub(crate) struct Reading(RwLockReadGuard<'static, BTreeSet<(u64, u64)>>);

impl Reading {
    pub(crate) fn begin() -> Self {
        Self(OWNED.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether this process is the owner of the store in a folder.
    pub(crate) fn is_of_owner(&self, folder: &Path) -> bool {
        fs::metadata(folder.join(DATABASE))
            .is_ok_and(|metadata| self.0.contains(&(metadata.dev(), metadata.ino())))
    }
}

/// Whether a process may be the owner of the store in a folder: where the system does not list its locks, one may be.
///
/// The lock is not tried: who tries one holds it for a moment, in which an owner that comes would be refused.
pub(crate) fn may_have_owner(folder: &Path) -> bool {
    match (fs::metadata(folder.join(LOCK)), File::open(LOCKS)) {
        (Err(_), _) => false,
        (Ok(_), Err(_)) => true,
        (Ok(lock), Ok(list)) => is_locked(BufReader::new(list), lock.ino()),
    }
}

/// Whether a list of the form of `/proc/locks` has an exclusive lock of a file with this number, on whatever device: file
/// systems that are made of others give each file a device of its own.
fn is_locked(list: impl BufRead, number: u64) -> bool {
    let is_of_file = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", _, file, ..] = fields[..] else { return false };
        file.rsplit(':').next().and_then(|text| text.parse().ok()) == Some(number)
    };
    list.lines().map_while(Result::ok).any(|line| is_of_file(&line))
}

/// Takes a folder ([`take`]) and opens the database in it, while nothing in this process reads one.
pub(crate) fn own<T>(
    folder: &Path,
    open: impl FnOnce() -> Result<T, OpenError>,
) -> Result<(Ownership, T), OpenError> {
    let mut owned = OWNED.write().unwrap_or_else(PoisonError::into_inner);
    let lock = take(folder)?;
    let opened = open()?;
    let metadata = fs::metadata(folder.join(DATABASE)).map_err(|error| OpenError::Io(error.kind()))?;
    let database = (metadata.dev(), metadata.ino());
    owned.insert(database);
    Ok((Ownership { database, _lock: lock }, opened))
}

/// Makes the folder where there is none, and takes it for this process as long as the file is open.
///
/// The lock is of the file, not of its name, and the kernel lets go of it however the process ends: a lock that is
/// left by an earlier owner cannot be.
fn take(folder: &Path) -> Result<File, OpenError> {
    let io = |error: io::Error| OpenError::Io(error.kind());
    if !folder.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
    }
    let private = || {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options
    };
    let lock = private().open(folder.join(LOCK)).map_err(io)?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(OpenError::InUse),
        Err(error) => return Err(io(error.into())),
    }
    // SQLite gives its other files the mode of this one. A file that is there is left alone.
    if !fs::exists(folder.join(DATABASE)).map_err(io)? {
        private().open(folder.join(DATABASE)).map_err(io)?;
    }
    Ok(lock)
}

#[cfg(test)]
mod tests;
