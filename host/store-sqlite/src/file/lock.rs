//! The lock on the data folder: one process at a time. The kernel releases it when the process ends.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use wasmill_store::{StoreError, lock_file, locked_by_other};

use crate::config::LockHolder;
use crate::file::fault::io_fault;

/// Name of the locked file.
pub(crate) const FILE: &str = "wasmill.lock";

/// Holds the data folder until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held, never read")] File);

impl Lock {
    /// Locks the data folder and writes the process id into the file for a second process to report.
    pub(crate) fn take(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        let failed = |error| io_fault("lock", &path, &error);
        let mut file = lock_file(&path)
            .map_err(failed)?
            .map_err(|mut file| StoreError::Locked { path: dir.to_owned(), pid: pid(&mut file) })?;
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self(file))
    }
}

/// Returns the process that has a data folder open, if any. Creates and writes nothing.
pub fn holder(dir: &Path) -> Option<LockHolder> {
    locked_by_other(&dir.join(FILE)).map(|mut file| LockHolder { pid: pid(&mut file) })
}

fn pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
