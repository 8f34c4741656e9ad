//! The key that cursors are sealed with, in a file that gateways share.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sekisho_core::cursor::CursorKey;

use crate::config::{ConfigError, at};

/// The key in a file, which is made where there is none; without a file, one that lasts as long as the process.
pub(crate) fn cursor_key(path: Option<&Path>) -> Result<CursorKey, ConfigError> {
    let fault = |reason: &str| at("cursor_key_file", reason);
    let fresh = || {
        let mut bytes = [0; CursorKey::LENGTH];
        getrandom::fill(&mut bytes).map_err(|_| fault("this system has no random source"))?;
        Ok(CursorKey::from_bytes(bytes))
    };
    let Some(path) = path else { return fresh() };
    match fs::read_to_string(path) {
        Ok(text) => text.parse().map_err(|error| at("cursor_key_file", error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = fresh()?;
            // Nobody must be able to read it before it is whole, nor two servers to make two.
            let written = file_beside(path, &key.to_hex()).and_then(|temporary| {
                let linked = fs::hard_link(&temporary, path);
                fs::remove_file(&temporary)?;
                linked
            });
            match written {
                Ok(()) => Ok(key),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => cursor_key(Some(path)),
                Err(_) => Err(fault("the file is not there and cannot be made")),
            }
        }
        Err(_) => Err(fault("the file cannot be read")),
    }
}

/// A new file in the same directory, for its owner alone.
fn file_beside(path: &Path, text: &str) -> io::Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(temporary)
}
