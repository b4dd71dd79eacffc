//! Copies the database into a new file, also while a host uses it: a read like any other.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::fault::{fault, io_fault};
use super::home::identity;
use super::{check, connection, lock, migrations};
use crate::{Backup, StoreError};

/// Copies the database of this data folder to `file`.
pub(crate) fn backup(dir: &Path, file: &Path, replace: bool) -> Result<Backup, StoreError> {
    let path = dir.join("wasmill.db");
    if !path.exists() {
        let message = format!("there is no database {}; name the data folder with --data", path.display());
        return Err(StoreError::NotThere { message });
    }
    check_target(dir, file, replace)?;
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

/// What SQLite puts behind the name of a database for the files beside it.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// How a file of SQLite begins.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Refuses a target whose replacement would destroy something else than an earlier copy: anything in a data folder,
/// a part of a database under any name, the database itself, or what is no copy.
fn check_target(dir: &Path, file: &Path, replace: bool) -> Result<(), StoreError> {
    let refuse = |why: &str| {
        let message = format!("{} {why}", file.display());
        Err(StoreError::NoBackup { message })
    };
    let name = file.file_name().ok_or_else(|| no_file(file))?.to_string_lossy();
    let folder = folder_of(file);
    if !folder.is_dir() {
        let message = format!("the folder {} does not exist; make it first", folder.display());
        return Err(StoreError::NotThere { message });
    }
    if ["wasmill.db", lock::FILE].iter().any(|own| folder.join(own).symlink_metadata().is_ok()) {
        return refuse(
            "lies in the data folder of a server, whose files a copy must not take the place of; put it into another folder",
        );
    }
    if BESIDE.iter().any(|part| name.ends_with(part)) {
        return refuse("is what SQLite calls a part of a database; choose another name for the copy");
    }
    // By number, as a file may have many names: hard links, and those of linked folders.
    if identity(file).is_some_and(|found| identity(&dir.join("wasmill.db")) == Some(found)) {
        return refuse("is the database that is to be copied; name another file for the copy");
    }
    // A link counts as what it is: the copy would take its place.
    let Ok(found) = file.symlink_metadata() else { return check_beside(file) };
    if !found.is_file() {
        return refuse("is no regular file; choose another name for the copy");
    }
    if !replace {
        return Err(exists(file));
    }
    let mut begin = Vec::new();
    let read = File::open(file).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut begin));
    read.map_err(|error| io_fault("read", file, &error))?;
    if !begin.is_empty() && begin != MAGIC {
        return refuse("is no database, so no earlier copy; choose another name for the copy");
    }
    check_beside(file)
}

/// Refuses a name beside which SQLite keeps parts of a database: one that is in use, or that was not closed. A
/// copy in its place would be taken for the old one, and damaged by what is left of that.
fn check_beside(file: &Path) -> Result<(), StoreError> {
    for part in BESIDE {
        let mut beside = file.as_os_str().to_owned();
        beside.push(part);
        if Path::new(&beside).symlink_metadata().is_ok() {
            let message = format!(
                "{} is part of a database that is in use or was not closed; choose another name for the copy",
                Path::new(&beside).display()
            );
            return Err(StoreError::NoBackup { message });
        }
    }
    Ok(())
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
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
        File::open(folder_of(file)).and_then(|folder| folder.sync_all()).map_err(failed)?;
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
