//! Binds a Unix socket: with the mode 0660 before anybody can connect, and in place of one that nobody listens on.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio::net::{UnixListener, UnixSocket};
use tokio::time::{Instant, sleep};

/// Owner and group may connect: the group is that of a proxy.
const MODE: u32 = 0o660;

/// How long a start waits for another one that binds in the same folder.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// The name of a bound socket. Dropping it removes the file, unless another has its name by now.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        // A relative path would be another one if the folder of the process changed.
        let path = std::path::absolute(path)?;
        let found = fs::symlink_metadata(&path)?;
        Ok(Self { path, inode: (found.dev(), found.ino()) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_own =
            fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.inode);
        if is_own && let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "failed to remove the Unix socket");
        }
    }
}

/// Binds a socket and listens on it.
///
/// # Errors
///
/// Fails with `AddrInUse` if somebody listens there, and with `AlreadyExists` if the path is no socket.
pub(super) async fn bind(path: &Path, backlog: u32) -> io::Result<(UnixListener, SocketFile)> {
    // Between the look at an old socket and the new one, no other start may do the same.
    let _lock =
        lock(path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))).await?;
    remove_stale(path).await?;
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    let file = SocketFile::of(path)?;
    // Nobody can connect before it listens.
    fs::set_permissions(path, Permissions::from_mode(MODE))?;
    Ok((socket.listen(backlog)?, file))
}

/// Removes a socket that nobody listens on.
async fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(
            ErrorKind::AlreadyExists,
            "there is a file of this name that is no socket",
        ));
    }
    match UnixSocket::new_stream()?.connect(path).await {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        // A full queue counts as somebody who listens.
        Ok(_) => Err(ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(ErrorKind::AddrInUse.into()),
        Err(error) => Err(error),
    }
}

/// Locks a folder until the file is dropped.
async fn lock(folder: &Path) -> io::Result<File> {
    let folder = File::open(folder)?;
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(folder),
            Err(error) if error != rustix::io::Errno::WOULDBLOCK => return Err(error.into()),
            Err(_) if Instant::now() > deadline => {
                return Err(io::Error::new(ErrorKind::TimedOut, "another process has locked its folder"));
            }
            Err(_) => sleep(LOCK_RETRY).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener as StdListener;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_one_that_is_used_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        drop(StdListener::bind(&path).unwrap());
        assert!(path.exists(), "its file outlives a listener of std");
        let (listener, file) = bind(&path, 8).await.unwrap();
        assert_eq!(mode(&path), MODE);
        assert_eq!(bind(&path, 8).await.unwrap_err().kind(), ErrorKind::AddrInUse);
        // Even if its queue is full.
        let mut waiting = Vec::new();
        while let Ok(stream) = UnixSocket::new_stream().unwrap().connect(&path).await {
            waiting.push(stream);
        }
        assert_eq!(bind(&path, 8).await.unwrap_err().kind(), ErrorKind::AddrInUse);
        drop((listener, file));
        assert!(!path.exists(), "a listener of ours takes its file along");
    }

    #[tokio::test]
    async fn nothing_but_a_socket_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        fs::write(&path, "precious").unwrap();
        assert_eq!(bind(&path, 8).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let link = folder.path().join("link.sock");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(bind(&link, 8).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    }

    #[tokio::test]
    async fn a_file_that_took_the_name_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        let (listener, file) = bind(&path, 8).await.unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another").unwrap();
        drop((listener, file));
        assert_eq!(fs::read_to_string(&path).unwrap(), "another");
    }

    #[tokio::test]
    async fn of_two_starts_one_listens() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..20 {
            let path = folder.path().join("api.sock");
            drop(StdListener::bind(&path).unwrap());
            let (first, second) = tokio::join!(bind(&path, 8), bind(&path, 8));
            assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
        }
    }
}
