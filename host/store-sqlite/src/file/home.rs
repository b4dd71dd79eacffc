//! Whether the files of the database are still where they were opened.
//!
//! A folder may be deleted, renamed or mounted over while its files are open, and so may the write-ahead log or
//! the lock file: later writes are lost with the process, and another host may use what is there now.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use wasmill_store::StoreError;

use crate::file::lock;

/// Suffixes of the files of an open database, after its own name.
const SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];

/// The files that a host has open, distinguished from other files of the same names.
#[derive(Debug)]
pub(crate) struct Home {
    path: Arc<Path>,
    /// The database first.
    files: Vec<DatabaseFile>,
}

#[derive(Debug)]
struct DatabaseFile {
    path: PathBuf,
    /// Device and inode; empty until the file exists.
    identity: OnceLock<(u64, u64)>,
}

impl Home {
    /// Records the files of the database at this path; it must be open, and the folder locked.
    pub(crate) fn of(path: Arc<Path>) -> Self {
        let files = SUFFIXES.into_iter().map(|suffix| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            name.into()
        });
        let lock = path.with_file_name(lock::FILE);
        let unrecorded = |path| DatabaseFile { path, identity: OnceLock::new() };
        let files: Vec<_> = files.chain([lock]).map(unrecorded).collect();
        files.iter().for_each(DatabaseFile::record);
        Self { path, files }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Fails if a file is gone or was replaced.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let path = self.path.display();
        let message = match self.files.iter().find_map(DatabaseFile::lost) {
            None => return Ok(()),
            Some((file, was_replaced)) if file == &*self.path => {
                let what = if was_replaced {
                    "is not the one that was opened: its folder was replaced"
                } else {
                    "is gone: its folder was deleted, renamed or unmounted"
                };
                format!("database {path} {what}; put it back, or stop this server and start it again")
            }
            Some((file, was_replaced)) => {
                let what = if was_replaced { "was replaced" } else { "was deleted" };
                let file = file.display();
                format!(
                    "{file}, part of the open database {path}, {what}; stop this server, which writes everything \
                     into the database, and start it again"
                )
            }
        };
        Err(StoreError::Unavailable { message })
    }
}

impl DatabaseFile {
    /// Records the identity of the file if it exists: SQLite creates some files only when it needs them.
    fn record(&self) {
        if let Some(found) = identity(&self.path) {
            self.identity.get_or_init(|| found);
        }
    }

    /// Returns the path if the recorded file is gone, and true if another file has its name.
    fn lost(&self) -> Option<(&Path, bool)> {
        let Some(recorded) = self.identity.get() else {
            self.record();
            return None;
        };
        let found = identity(&self.path);
        (found.as_ref() != Some(recorded)).then_some((&self.path, found.is_some()))
    }
}

/// Returns device and inode of a file or folder; `None` if it does not exist.
pub(crate) fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = path.metadata().ok()?;
    Some((found.dev(), found.ino()))
}
