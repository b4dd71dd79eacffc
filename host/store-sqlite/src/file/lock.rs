//! The lock on the data folder: one process at a time. The kernel releases it when the process ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use wasmill_store::StoreError;

use crate::config::LockHolder;
use crate::file::fault::io_fault;

/// Name of the locked file.
pub(crate) const FILE: &str = "wasmill.lock";

/// Holds the data folder until it is dropped.
///
/// The file stays: if it were deleted, two processes could each lock a file of that name.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held, never read")] File);

impl Lock {
    /// Locks the data folder and writes the process id into the file for a second process to report.
    pub(crate) fn take(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        let failed = |error| io_fault("lock", &path, &error);
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked { path: dir.to_owned(), pid: pid(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self(file))
    }
}

/// Returns the process that has a data folder open, if any. Creates and writes nothing.
pub fn holder(dir: &Path) -> Option<LockHolder> {
    let path = dir.join(FILE);
    // Opening a pipe would block.
    let mut file = path.is_file().then(|| File::open(path))?.ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(LockHolder { pid: pid(&mut file) }),
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

fn pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
