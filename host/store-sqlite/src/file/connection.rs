//! Opens and configures connections. The writer and the readers call it.

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use wasmill_store::StoreError;

use crate::file::fault::{fault, io_fault};
use crate::file::{leftover, migrations};

/// How long to wait for another program, such as a backup, that locks the database.
const BUSY: Duration = Duration::from_secs(5);

/// More than this crate has statements, so each is prepared once.
const STATEMENTS_MAX: usize = 192;

/// Pragmas of the writer.
///
/// A WAL checkpoint copies the log into the database and delays the commit it follows. At 4,000 pages (16
/// MiB) it happens a quarter as often as by default, and a page that changed often is copied once. Larger
/// logs gain little and make each stall longer. A long read keeps the log from restarting;
/// `journal_size_limit` frees the disk space afterwards.
const WRITER: &str = "
    PRAGMA foreign_keys = ON;
    PRAGMA cache_size = -32768;
    PRAGMA wal_autocheckpoint = 4000;
    PRAGMA journal_size_limit = 67108864;
    PRAGMA temp_store = MEMORY;
";

const READER: &str = "
    PRAGMA query_only = ON;
    PRAGMA cache_size = -4096;
    PRAGMA temp_store = MEMORY;
";

/// Creates the data folder if it is missing, accessible to its owner only.
pub(crate) fn create_dir(dir: &Path) -> Result<(), StoreError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(dir).map_err(|error| io_fault("create data folder", dir, &error))
}

/// Opens the write connection and migrates the schema.
pub(crate) fn writer(path: &Path) -> Result<Connection, StoreError> {
    leftover::check(path)?;
    // SQLite gives its other files the mode of this one: tasks may hold secrets.
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(path);
    file.map_err(|error| io_fault("open database", path, &error))?;
    let faulty = |error| fault(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = open(path, flags).map_err(faulty)?;
    let version = migrations::check(&connection, path)?;
    migrations::adopt(&connection).map_err(faulty)?;
    let mode: String =
        connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(faulty)?;
    if mode != "wal" {
        let message = format!("the file system of {} allows no write-ahead log", path.display());
        return Err(StoreError::Unavailable { message });
    }
    connection.execute_batch(WRITER).map_err(faulty)?;
    migrations::apply(&connection, version).map_err(faulty)?;
    Ok(connection)
}

/// Opens a read-only connection.
pub(crate) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.execute_batch(READER)?;
    Ok(connection)
}

fn open(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(connection)
}
