//! The key that cursors are sealed with, in a file that gateways share.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use sekisho_core::cursor::CursorKey;

use crate::error::ConfigError;
use crate::file::{self, Content};
use crate::state_directory::state_directory;

/// The key of the configuration that names the file.
const KEY: &str = "cursor_key_file";

/// The name of the file where the configuration names none.
const DEFAULT_NAME: &str = "cursor.key";

/// The most that is read of the file, in bytes: the key in hexadecimal, and white space around it.
const MAX_FILE: u64 = 2 * CursorKey::LENGTH as u64 + 64;

/// A key, and what to warn of.
pub(crate) struct KeyFile {
    pub(crate) key: CursorKey,
    pub(crate) warning: Option<String>,
}

/// A key that lasts as long as the process.
pub(crate) fn fresh() -> Result<CursorKey, ConfigError> {
    let mut bytes = [0; CursorKey::LENGTH];
    getrandom::fill(&mut bytes).map_err(|_| ConfigError::at(KEY, "this system has no random source"))?;
    Ok(CursorKey::from_bytes(bytes))
}

/// The key in a file, which is made with mode 0600 where there is none.
///
/// Two processes that start at the same moment get the same key: the file appears whole or not at all, and the one that
/// comes second reads it.
pub(crate) fn read_or_make(path: &Path) -> Result<KeyFile, ConfigError> {
    if !is_there(path) {
        let key = fresh()?;
        match make(path, &key.to_hex()) {
            Ok(()) => return Ok(KeyFile { key, warning: None }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                let reason = file::reason(&error);
                return Err(ConfigError::at(KEY, format!("cannot make {}: {reason}", path.display())));
            }
        }
    }
    read(path)
}

/// The key in the file, or one for this process alone where there is no such file yet.
pub(crate) fn read_if_there(path: &Path) -> Result<KeyFile, ConfigError> {
    if is_there(path) { read(path) } else { Ok(KeyFile { key: fresh()?, warning: None }) }
}

fn read(path: &Path) -> Result<KeyFile, ConfigError> {
    let content = file::read(path, MAX_FILE).map_err(|error| ConfigError::at(KEY, error))?;
    let warning = content.exposure().map(|exposure| format!("{KEY}: {exposure}"));
    let key = parse(path, content)?;
    Ok(KeyFile { key, warning })
}

/// The key in the file where the configuration names none: in `$STATE_DIRECTORY`, as systemd sets it, else below
/// `$XDG_STATE_HOME` or `~/.local/state`. Where there can be no such file the key lasts as long as the process, and a
/// warning says so.
pub(crate) fn default_key() -> Result<KeyFile, ConfigError> {
    let without = |reason: String| -> Result<KeyFile, ConfigError> {
        let warning = Some(format!("{KEY}: cursors do not outlast this process: {reason}"));
        Ok(KeyFile { key: fresh()?, warning })
    };
    let Some(directory) = state_directory() else {
        return without("there is no state directory (set cursor_key_file)".into());
    };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
    if let Err(error) = made {
        return without(format!("cannot make {}: {}", directory.display(), file::reason(&error)));
    }
    match read_or_make(&directory.join(DEFAULT_NAME)) {
        Ok(file) => Ok(file),
        Err(error) => without(error.reason),
    }
}

/// Whether there is anything at this path, a link that leads nowhere included: such a link is not written through.
fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn parse(path: &Path, content: Content) -> Result<CursorKey, ConfigError> {
    let text = content.into_text(path).map_err(|error| ConfigError::at(KEY, error))?;
    text.parse().map_err(|error| ConfigError::at(KEY, format!("{}: {error}", path.display())))
}

/// Makes the file, whole or not at all. Nothing is left behind where that fails.
fn make(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    // Has mode 0600 and a name that is not taken, and is removed unless it is kept.
    let mut temporary = tempfile::Builder::new()
        .prefix(".sekisho-key-")
        .tempfile_in(directory.unwrap_or_else(|| Path::new(".")))?;
    temporary.write_all(text.as_bytes())?;
    temporary.as_file().sync_all()?;
    temporary.persist_noclobber(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::thread;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_key_is_made_once_for_all_who_start_at_the_same_moment() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let keys: Vec<String> = thread::scope(|scope| {
            let readers: Vec<_> =
                (0..8).map(|_| scope.spawn(|| read_or_make(&path).unwrap().key.to_hex())).collect();
            readers.into_iter().map(|reader| reader.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
        assert_eq!(names(directory.path()), ["key"], "nothing is left behind");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read_or_make(&path).unwrap().warning.unwrap().contains("other users"));
    }

    #[test]
    fn a_link_that_leads_nowhere_is_not_written_through() {
        let directory = tempfile::tempdir().unwrap();
        let (path, target) = (directory.path().join("key"), directory.path().join("target"));
        symlink(&target, &path).unwrap();
        let error = read_or_make(&path).err().unwrap();
        assert!(error.reason.contains("there is no such file"), "{error}");
        assert_eq!(names(directory.path()), ["key"]);
        // A link that leads to a key is read: that is how secrets are mounted.
        fs::write(&target, fresh().unwrap().to_hex()).unwrap();
        assert!(read_or_make(&path).is_ok());
    }

    #[test]
    fn what_cannot_be_made_says_why_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let error = read_or_make(&directory.path().join("none/key")).err().unwrap();
        assert!(error.reason.starts_with("cannot make") && error.reason.contains("no such file"), "{error}");
        let error = read_or_make(directory.path()).err().unwrap();
        assert!(error.reason.ends_with("it is a directory"), "{error}");
        let path = directory.path().join("key");
        fs::write(&path, "not a key").unwrap();
        assert!(read_or_make(&path).err().unwrap().reason.contains("hexadecimal"));
        assert_eq!(names(directory.path()), ["key"]);
    }
}
