//! The lock that keeps other processes out of a data folder: on a file in it, until the process ends. The file stays: if
//! it were deleted, two processes could each lock a file of that name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Locks a file, creating it, for its owner alone, if it is missing; gives it back unlocked as the error if another process has locked it.
///
/// # Errors
///
/// Fails if the file cannot be opened or locked.
pub fn lock_file(path: &Path) -> io::Result<Result<File, File>> {
    // A user who may read it could lock it.
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Ok(file)),
        Err(TryLockError::WouldBlock) => Ok(Err(file)),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Opens a file that another process has locked; `None` if nobody has, or there is none. Creates and writes nothing.
pub fn locked_by_other(path: &Path) -> Option<File> {
    // Opening a pipe would block.
    let file = path.is_file().then(|| File::open(path))?.ok()?;
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)).then_some(file)
}
