//! Copies the database into a new file, also while a host uses it: a read like any other.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::fault::{fault, io_fault};
use super::{check, connection, migrations};
use crate::{Backup, StoreError};

/// Copies the database of this data folder to `file`.
pub(crate) fn backup(dir: &Path, file: &Path, replace: bool) -> Result<Backup, StoreError> {
    let path = dir.join("wasmill.db");
    if !path.exists() {
        let message = format!("there is no database {}; name the data folder with --data", path.display());
        return Err(StoreError::NoBackup { message });
    }
    if !replace && file.exists() {
        return Err(exists(file));
    }
    let source = connection::reader(&path).map_err(|error| fault(&path, &error))?;
    migrations::check(&source, &path)?;
    let partial = Partial::create(file)?;
    // It can only read all the same; this lets it write a new file.
    source.execute_batch("PRAGMA query_only = OFF").map_err(|error| fault(&path, &error))?;
    // One read transaction: complete as of its beginning, without free pages, and nobody waits for it.
    let target = partial.0.to_string_lossy();
    source.execute("VACUUM INTO ?1", [&*target]).map_err(|error| fault(&path, &error))?;
    let tasks = verify(&partial.0)?;
    let bytes = partial.put_in_place(file, replace)?;
    Ok(Backup { tasks, bytes })
}

/// Makes sure that the copy is whole.
fn verify(copy: &Path) -> Result<u64, StoreError> {
    let connection = Connection::open(copy).map_err(|error| fault(copy, &error))?;
    check::whole(&connection, copy)?;
    connection
        .query_row("SELECT count(*) FROM task", [], |row| Ok(row.get::<_, i64>(0)?.cast_unsigned()))
        .map_err(|error| fault(copy, &error))
}

/// The copy until it is whole; deleted unless it is put in its place.
struct Partial(PathBuf);

impl Partial {
    /// Makes an empty file beside the final one, for its owner alone: tasks may hold secrets.
    fn create(file: &Path) -> Result<Self, StoreError> {
        let mut name = std::ffi::OsString::from(".");
        name.push(file.file_name().ok_or_else(|| no_file(file))?);
        name.push(format!(".{}.partial", std::process::id()));
        let partial = file.with_file_name(name);
        let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial);
        created.map_err(|error| io_fault("create", &partial, &error))?;
        Ok(Self(partial))
    }

    /// Makes the copy durable and gives it its name in one step.
    fn put_in_place(&self, file: &Path, replace: bool) -> Result<u64, StoreError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(file),
            _ => io_fault("write", file, &error),
        };
        let copy = File::open(&self.0).map_err(failed)?;
        copy.sync_all().map_err(failed)?;
        if replace {
            fs::rename(&self.0, file).map_err(failed)?;
        } else {
            // Unlike a rename, this fails if the name was taken meanwhile.
            fs::hard_link(&self.0, file).map_err(failed)?;
        }
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(copy.metadata().map_err(failed)?.len())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // It is gone already if it was renamed.
        let _ = fs::remove_file(&self.0);
    }
}

fn exists(file: &Path) -> StoreError {
    let message = format!("{} exists; choose another name, or --force to replace it", file.display());
    StoreError::NoBackup { message }
}

fn no_file(file: &Path) -> StoreError {
    StoreError::NoBackup { message: format!("{} names no file", file.display()) }
}
