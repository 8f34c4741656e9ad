//! Why a unix socket cannot be connected to, in a sentence.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// The longest path of a socket, in bytes (`sun_path` of unix(7), with the NUL at its end).
const MAX_PATH: usize = 107;

/// What is wrong at a path; `None` where there is a socket.
pub(super) fn fault(path: &Path) -> Option<String> {
    let length = path.as_os_str().as_bytes().len();
    if length > MAX_PATH {
        return Some(format!("the path has {length} bytes, and a socket's has at most {MAX_PATH}"));
    }
    Some(match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => "there is no socket at this path".into(),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            "this user may not look at the path".into()
        }
        Err(error) => format!("the path cannot be looked at: {}", error.kind()),
        Ok(metadata) if metadata.is_dir() => "the path is a folder, and no socket".into(),
        Ok(metadata) if !metadata.file_type().is_socket() => "the path is a file, and no socket".into(),
        Ok(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn what_is_there_in_place_of_a_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        assert!(fault(&path).unwrap().contains("no socket at this path"));
        assert!(fault(directory.path()).unwrap().contains("a folder"));
        fs::write(&path, "").unwrap();
        assert!(fault(&path).unwrap().contains("a file"));
        let socket = directory.path().join("s");
        let _listener = UnixListener::bind(&socket).unwrap();
        assert_eq!(fault(&socket), None);
        assert!(fault(Path::new(&format!("/{}", "x".repeat(120)))).unwrap().contains("121 bytes"));
    }
}
