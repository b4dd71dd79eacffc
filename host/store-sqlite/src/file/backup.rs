//! Copies the database into a new file while a host may be using it: a read like any other.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use wasmill_store::StoreError;

use crate::config::{Backup, CopiedFiles};
use crate::content::copy::FilesCopy;
use crate::file::fault::{fault, io_fault};
use crate::file::folder::check_folder;
use crate::file::home::identity;
use crate::file::{check, connection, lock, migrations};

/// Copies the database of a data folder, which a host may be using, into a new file: a complete, checked
/// and durable snapshot. Blocks the thread.
///
/// The copy is renamed into place; an existing file is replaced only if `replace`. To restore it, put it
/// into a data folder as `wasmill.db`. The files of its tasks are copied into the folder `files`, if there is to be one:
/// those that are not there from an earlier backup.
///
/// # Errors
///
/// [`StoreError::NotFound`] if there is no database or no folder for the copy, [`StoreError::NoBackup`] if
/// the file exists, [`StoreError::Unavailable`] if it cannot be written; [`StoreError::Foreign`],
/// [`StoreError::Newer`] or [`StoreError::Corrupt`] if the database cannot be used.
pub fn backup(dir: &Path, file: &Path, files: Option<&Path>, replace: bool) -> Result<Backup, StoreError> {
    let path = dir.join("wasmill.db");
    if !path.exists() {
        let message = format!("there is no database {}; name the data folder with --data", path.display());
        return Err(StoreError::NotFound { message });
    }
    check_folder(dir)?;
    check_target(dir, file, replace)?;
    let source = connection::reader(&path).map_err(|error| fault(&path, &error))?;
    migrations::check(&source, &path)?;
    let copy = files.map(|files| FilesCopy::new(dir, files)).transpose()?;
    // Before the database too, so that few tasks can be deleted before their files are copied.
    copy.as_ref().map(|copy| copy.add(&source, &path)).transpose()?;
    let partial = Partial::create(file)?;
    // The source stays read-only; this allows VACUUM INTO to write a new file.
    source.execute_batch("PRAGMA query_only = OFF").map_err(|error| fault(&path, &error))?;
    // One read transaction: a snapshot as of its start, without free pages, that blocks nobody.
    let target = partial.0.to_string_lossy();
    source.execute("VACUUM INTO ?1", [&*target]).map_err(|error| fault(&path, &error))?;
    let tasks = verify(&partial.0)?;
    let files = copy.map(|copy| copy_files(&copy, &partial.0)).transpose()?;
    mark(&partial.0).map_err(|error| fault(&partial.0, &error))?;
    let bytes = partial.put_in_place(file, replace)?;
    Ok(Backup { tasks, bytes, files })
}

/// Copies the files that the tasks of a copy have.
fn copy_files(files: &FilesCopy, copy: &Path) -> Result<CopiedFiles, StoreError> {
    let connection = Connection::open(copy).map_err(|error| fault(copy, &error))?;
    files.add(&connection, copy)
}

/// Suffixes of the files that SQLite keeps beside a database.
const SUFFIXES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// First bytes of every SQLite file.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Refuses a target whose replacement would destroy anything but an earlier copy: any file in a data folder, a
/// file that SQLite keeps beside a database, the database itself under any name, or a file that is not a copy.
fn check_target(dir: &Path, file: &Path, replace: bool) -> Result<(), StoreError> {
    let refuse = |why: &str| {
        let message = format!("{} {why}", file.display());
        Err(StoreError::NoBackup { message })
    };
    let name = file.file_name().ok_or_else(|| no_file(file))?.to_string_lossy();
    let folder = folder_of(file);
    if !folder.is_dir() {
        let message = format!("the folder {} does not exist; create it first", folder.display());
        return Err(StoreError::NotFound { message });
    }
    if ["wasmill.db", lock::FILE].iter().any(|own| folder.join(own).symlink_metadata().is_ok()) {
        return refuse(
            "is in the data folder of a server, where a copy must not replace files; choose another folder for the copy",
        );
    }
    if SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
        return refuse(
            "has a name that SQLite uses for a part of a database; choose another name for the copy",
        );
    }
    // Compared by device and inode, as a file may have many names: hard links and linked folders.
    if identity(file).is_some_and(|found| identity(&dir.join("wasmill.db")) == Some(found)) {
        return refuse("is the database to copy; choose another name for the copy");
    }
    // A link is not followed: the copy would replace the link.
    let Ok(found) = file.symlink_metadata() else { return check_beside(file) };
    if !found.is_file() {
        return refuse("is no regular file; choose another name for the copy");
    }
    if !replace {
        return Err(exists(file));
    }
    let mut start = Vec::new();
    let read = File::open(file).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut start));
    read.map_err(|error| io_fault("read", file, &error))?;
    if !start.is_empty() && start != MAGIC {
        return refuse("is not an earlier copy, as it is not a database; choose another name for the copy");
    }
    check_beside(file)
}

/// Refuses a name with remains of a database in use or not closed beside it: SQLite would apply them to the
/// copy and damage it.
fn check_beside(file: &Path) -> Result<(), StoreError> {
    for suffix in SUFFIXES {
        let mut beside = file.as_os_str().to_owned();
        beside.push(suffix);
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

/// Marks a copy, so that a log of another database beside it is not taken for its own.
fn mark(copy: &Path) -> rusqlite::Result<()> {
    let connection = Connection::open(copy)?;
    connection.pragma_update(None, "application_id", migrations::COPY_ID)?;
    connection.close().map_err(|(_, error)| error)
}

/// Checks the integrity of the copy, and returns its number of tasks.
fn verify(copy: &Path) -> Result<u64, StoreError> {
    let connection = Connection::open(copy).map_err(|error| fault(copy, &error))?;
    check::whole(&connection, copy)?;
    connection
        .query_row("SELECT count(*) FROM task", [], |row| Ok(row.get::<_, i64>(0)?.cast_unsigned()))
        .map_err(|error| fault(copy, &error))
}

/// The unfinished copy; deleted on drop unless it was put in place.
struct Partial(PathBuf);

impl Partial {
    /// Creates an empty file beside the target, readable by its owner only: tasks may hold secrets.
    fn create(file: &Path) -> Result<Self, StoreError> {
        let mut name = std::ffi::OsString::from(".");
        name.push(file.file_name().ok_or_else(|| no_file(file))?);
        name.push(format!(".{}.partial", std::process::id()));
        let partial = file.with_file_name(name);
        let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial);
        created.map_err(|error| io_fault("create", &partial, &error))?;
        Ok(Self(partial))
    }

    /// Makes the copy durable and renames it into place.
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
            // Unlike a rename, this fails if the name was taken in between.
            fs::hard_link(&self.0, file).map_err(failed)?;
        }
        File::open(folder_of(file)).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(copy.metadata().map_err(failed)?.len())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Fails if it was renamed, which is fine.
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
