//! The folder in which this process keeps the scratch folders of its runs.
//!
//! Each process has its own, which it holds locked. What the lock of a process that is gone no longer protects is
//! removed at the next start.

use std::fs::{DirBuilder, read_dir};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, fstat, openat, stat};

use crate::folders::scratch::removal::remove_tree;

/// Attempts to create the folder of this process: a sweep of another one may remove it before it is locked.
const ATTEMPTS_MAX: u32 = 16;

/// Where scratch folders are created.
#[derive(Default)]
pub(crate) struct ScratchRoot {
    /// `None` for a temporary folder of the system.
    base: Option<PathBuf>,
    /// Created with the first scratch folder.
    session: Mutex<Option<Arc<Session>>>,
}

/// The folder of this process; removed with all in it when the last run is over and the plugins are gone.
pub(crate) struct Session {
    path: PathBuf,
    _lock: OwnedFd,
}

impl ScratchRoot {
    /// Uses `base`, and starts to remove what killed processes have left there.
    pub(crate) fn open(base: Option<PathBuf>) -> Self {
        if let Some(base) = base.clone().filter(|base| base.is_dir()) {
            let sweeping = std::thread::Builder::new().name("scratch-sweep".to_owned());
            if let Err(error) = sweeping.spawn(move || sweep(&base)) {
                tracing::warn!(%error, "failed to start a thread to remove old scratch folders");
            }
        }
        Self { base, session: Mutex::default() }
    }

    /// Creates an empty folder that only this process may enter. Blocks.
    ///
    /// # Errors
    ///
    /// Fails if the system refuses.
    pub(crate) fn create(&self) -> io::Result<(PathBuf, Arc<Session>)> {
        let create = |session: Arc<Session>| -> io::Result<_> {
            let path = session.path.join(format!("{:032x}", rand::random::<u128>()));
            DirBuilder::new().mode(0o700).create(&path)?;
            Ok((path, session))
        };
        match create(self.session(false)?) {
            // Somebody has removed the folder of this process.
            Err(error) if error.kind() == ErrorKind::NotFound => create(self.session(true)?),
            created => created,
        }
    }

    fn session(&self, is_lost: bool) -> io::Result<Arc<Session>> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        match &*session {
            Some(session) if !is_lost || session.path.is_dir() => Ok(Arc::clone(session)),
            _ => Ok(Arc::clone(session.insert(Arc::new(Session::create(self.base.as_deref())?)))),
        }
    }
}

impl Session {
    fn create(base: Option<&Path>) -> io::Result<Self> {
        let Some(base) = base else {
            let path = tempfile::Builder::new().prefix("wasmill-scratch-").tempdir()?.keep();
            return Ok(Self { _lock: lock(&path)?, path });
        };
        DirBuilder::new().recursive(true).mode(0o700).create(base)?;
        let mut attempt = 1;
        loop {
            let path = base.join(format!("{:032x}", rand::random::<u128>()));
            DirBuilder::new().mode(0o700).create(&path)?;
            match lock(&path) {
                Ok(lock) => return Ok(Self { path, _lock: lock }),
                Err(error) if attempt == ATTEMPTS_MAX => return Err(error),
                Err(_) => attempt += 1,
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.path) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "failed to remove the scratch folders of this process");
        }
    }
}

/// Locks a folder, and checks that it is still at its path.
fn lock(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(CWD, path, flags, Mode::empty())?;
    flock(&folder, FlockOperation::NonBlockingLockExclusive)?;
    let (is, wanted) = (fstat(&folder)?, stat(path)?);
    if (is.st_dev, is.st_ino) == (wanted.st_dev, wanted.st_ino) {
        Ok(folder)
    } else {
        Err(ErrorKind::NotFound.into())
    }
}

/// Removes the folders of processes that are gone.
fn sweep(base: &Path) {
    let Ok(entries) = read_dir(base) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        // A lock that is held means that its process runs.
        let Ok(_lock) = lock(&path) else { continue };
        if let Err(error) = remove_tree(&path) {
            let path = path.display();
            tracing::warn!(%path, %error, "failed to remove an old scratch folder");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_another_uses_is_kept() {
        let outer = tempfile::tempdir().unwrap();
        let base = outer.path().join("scratch");
        let used = ScratchRoot::open(Some(base.clone()));
        let (path, session) = used.create().unwrap();
        std::fs::write(path.join("file"), "x").unwrap();
        // As a process leaves it that is killed: without a lock.
        std::fs::create_dir_all(base.join("left/run/deep")).unwrap();
        std::fs::write(base.join("left/run/deep/file"), "x").unwrap();
        sweep(&base);
        assert!(path.join("file").exists() && !base.join("left").exists());
        drop(session);
        drop(used);
        assert_eq!(read_dir(&base).unwrap().count(), 0);
    }

    #[test]
    fn a_lost_folder_is_created_again() {
        let outer = tempfile::tempdir().unwrap();
        for base in [None, Some(outer.path().join("scratch"))] {
            let root = ScratchRoot::open(base);
            let (first, _) = root.create().unwrap();
            remove_tree(first.parent().unwrap()).unwrap();
            let (second, _) = root.create().unwrap();
            assert!(second.is_dir());
        }
    }
}
