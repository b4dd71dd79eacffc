//! Whether the database file is still where it was opened.
//!
//! A folder may be deleted, renamed or mounted over while its files are open: later writes are lost with the
//! process, and another host may use what is there now.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use crate::StoreError;

/// An open file, distinguished from another one of its name.
#[derive(Debug)]
pub(super) struct Home {
    path: Arc<Path>,
    /// Device and inode; `None` if they could not be read on open.
    file: Option<(u64, u64)>,
}

impl Home {
    /// Records the file at this path; it must be open, and the folder locked.
    pub(super) fn of(path: Arc<Path>) -> Self {
        let file = identity(&path);
        Self { path, file }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Fails if the file is gone or was replaced.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if self.file.is_none() {
            return Ok(());
        }
        let what = match identity(&self.path) {
            found if found == self.file => return Ok(()),
            Some(_) => "is not the one that was opened: its folder was replaced",
            None => "is gone: its folder was deleted, renamed or unmounted",
        };
        let path = self.path.display();
        let message = format!("database {path} {what}; put it back, or stop this server and start it again");
        Err(StoreError::Unavailable { message })
    }
}

/// Returns device and inode of a file or folder; `None` if it does not exist.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = path.metadata().ok()?;
    Some((found.dev(), found.ino()))
}
