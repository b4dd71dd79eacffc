//! Checks a data folder before anything in it is opened or created, and changes nothing.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;
use wasmill_store::StoreError;

use crate::file::lock;

/// The files of a data folder that are opened.
const FILES: [&str; 5] = ["wasmill.db", "wasmill.db-wal", "wasmill.db-shm", "wasmill.db-journal", lock::FILE];

/// Maximum length of the path of a database: SQLite has 512 bytes for it and for the suffix `-journal`.
const PATH_BYTES_MAX: usize = 504;

/// Checks that a data folder exists or can be created, and that what has the names of its files are files.
///
/// # Errors
///
/// [`StoreError::Unavailable`] with what is wrong; permissions are not checked.
pub fn check_folder(dir: &Path) -> Result<(), StoreError> {
    check(dir).map_err(|why| {
        let message = format!("data folder {} cannot be used: {why}", dir.display());
        StoreError::Unavailable { message }
    })
}

fn check(dir: &Path) -> Result<(), String> {
    let path = std::path::absolute(dir).map_err(|error| error.to_string())?;
    let existing = existing(&path)?;
    let missing = path.strip_prefix(&existing).unwrap_or(Path::new(""));
    let name_max = statvfs(&existing).map_or(u64::MAX, |found| found.f_namemax);
    if let Some(name) = missing.iter().find(|name| name.len() as u64 > name_max) {
        return Err(format!("the name {} is longer than {name_max} bytes", shortened(name)));
    }
    let real = existing.canonicalize().unwrap_or(existing).join(missing).join("wasmill.db");
    if real.as_os_str().len() > PATH_BYTES_MAX {
        return Err(format!("the path of its database is longer than {PATH_BYTES_MAX} bytes"));
    }
    for file in FILES {
        match path.join(file).metadata() {
            Ok(found) if !found.is_file() => {
                return Err(format!("{file} in it is not a regular file; move it away"));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(format!("{file}: {error}")),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

/// Returns the folder, or the nearest existing one above it, where it would be created.
fn existing(path: &Path) -> Result<PathBuf, String> {
    for folder in path.ancestors() {
        match folder.metadata() {
            Ok(found) if found.is_dir() => return Ok(folder.to_owned()),
            Ok(_) => return Err(format!("{} is a file; choose another data folder", folder.display())),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.to_string()),
            Err(_) if folder.symlink_metadata().is_ok() => {
                return Err(format!("{} is a link that leads nowhere", folder.display()));
            }
            Err(_) => {}
        }
    }
    Err("no folder above it exists".to_owned())
}

fn shortened(name: &OsStr) -> String {
    format!("{}…", String::from_utf8_lossy(&name.as_bytes()[..20.min(name.len())]))
}
