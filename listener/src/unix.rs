//! Unix sockets, and the files that they leave.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::{BACKLOG, BindError};

/// The file of a socket, which goes with it.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Which file it is: another server may have put its own there since.
    inode: Option<u64>,
}

impl SocketFile {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.inode.is_some() && inode(&self.path) == self.inode {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> Option<u64> {
    Some(fs::symlink_metadata(path).ok()?.ino())
}

pub(crate) fn bind(path: &Path) -> Result<(UnixListener, SocketFile), BindError> {
    let address = SockAddr::unix(path).map_err(|_| BindError::PathTooLong(path.to_owned()))?;
    clear(path)?;
    let failed = |error: io::Error| BindError::Listen { on: path.display().to_string(), kind: error.kind() };
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
    socket.bind(&address).map_err(failed)?;
    let file = SocketFile { path: path.to_owned(), inode: inode(path) };
    // A connection is refused until the socket listens, and by then the mode is the right one.
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    socket.listen(BACKLOG).map_err(failed)?;
    Ok((socket.into(), file))
}

/// Removes a socket that a server left behind, and nothing else.
fn clear(path: &Path) -> Result<(), BindError> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    let abandoned = metadata.file_type().is_socket()
        && UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if !abandoned {
        return Err(BindError::Occupied(path.to_owned()));
    }
    let failed = |error: io::Error| BindError::Listen { on: path.display().to_string(), kind: error.kind() };
    fs::remove_file(path).map_err(failed)
}
