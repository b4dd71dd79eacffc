//! Where the database was opened, and whether all of it is still there.
//!
//! A folder may be deleted, renamed or mounted over while its files are open, and so may its write-ahead log or its
//! lock: what is written then is lost with the process, and another host may be at work on what lies there now.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::lock;
use crate::StoreError;

/// What the files of an open database are called behind its own name.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];

/// The files that one host has open, told from others that have taken their names.
#[derive(Debug)]
pub(super) struct Home {
    path: Arc<Path>,
    /// The database first.
    files: Vec<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    /// Its device and number, once it is there.
    identity: OnceLock<(u64, u64)>,
}

impl Home {
    /// Notes which files lie here; the database must have been opened, and nobody else may have the folder.
    pub(super) fn of(path: Arc<Path>) -> Self {
        let beside = PARTS.into_iter().map(|part| {
            let mut name = path.as_os_str().to_owned();
            name.push(part);
            name.into()
        });
        let lock = path.with_file_name(lock::FILE);
        let open = |path| OpenFile { path, identity: OnceLock::new() };
        let files: Vec<_> = beside.chain([lock]).map(open).collect();
        files.iter().for_each(OpenFile::note);
        Self { path, files }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Fails if a file is no longer here, or another one is.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let path = self.path.display();
        let message = match self.files.iter().find_map(OpenFile::lost) {
            None => return Ok(()),
            Some((file, is_other)) if file == &*self.path => {
                let what = if is_other {
                    "is not the one that was opened: its folder was replaced"
                } else {
                    "is gone: its folder was deleted, renamed or unmounted"
                };
                format!("database {path} {what}; put it back, or stop this server and start it again")
            }
            Some((file, is_other)) => {
                let what = if is_other { "was replaced" } else { "was deleted" };
                let file = file.display();
                format!(
                    "{file}, a part of the open database {path}, {what}; stop this server, which writes everything \
                     into the database, and start it again"
                )
            }
        };
        Err(StoreError::Unavailable { message })
    }
}

impl OpenFile {
    /// Notes which file this is if it is here by now: SQLite makes some when they are needed.
    fn note(&self) {
        if let Some(found) = identity(&self.path) {
            self.identity.get_or_init(|| found);
        }
    }

    /// Returns its path if it was here and is not, and whether another has taken its name.
    fn lost(&self) -> Option<(&Path, bool)> {
        let Some(known) = self.identity.get() else {
            self.note();
            return None;
        };
        let found = identity(&self.path);
        (found.as_ref() != Some(known)).then_some((&self.path, found.is_some()))
    }
}

/// Returns what tells a file or folder from all others; `None` if it is not there.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = path.metadata().ok()?;
    Some((found.dev(), found.ino()))
}
