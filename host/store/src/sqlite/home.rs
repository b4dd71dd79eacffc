//! Where the database was opened, and whether it is still there.
//!
//! A folder may be deleted, renamed or mounted over while its files are open: what is written then is lost with the
//! process, and another host may be at work on what lies there now.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use crate::StoreError;

/// A file that is open, told from another one that has taken its name.
#[derive(Debug)]
pub(super) struct Home {
    path: Arc<Path>,
    /// Its device and number; `None` if they could not be read when it was opened.
    file: Option<(u64, u64)>,
}

impl Home {
    /// Notes which file lies here; it must have been opened, and nobody else may have the folder.
    pub(super) fn of(path: Arc<Path>) -> Self {
        let file = identity(&path);
        Self { path, file }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Fails if the file is no longer here, or another one is.
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

/// Returns what tells a file or folder from all others; `None` if it is not there.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = path.metadata().ok()?;
    Some((found.dev(), found.ino()))
}
