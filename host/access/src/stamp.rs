//! What a file is now, to see whether it has changed.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What a file was when it was looked at. It changes if another file takes the name, by way of links, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    /// Looks at a file; `None` if there is none, or none that can be reached.
    pub fn of(path: &Path) -> Option<Self> {
        path.metadata().ok().map(|found| Self {
            inode: (found.dev(), found.ino()),
            size: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}
