//! Checks a database that no host has open, as opening it does, and changes nothing.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use wasmill_store::StoreError;

use crate::file::fault::fault;
use crate::file::{check, connection, folder, leftover, lock, migrations};

/// Checks the database of a data folder as [`Database::open`](crate::Database::open) does, and changes nothing. Returns
/// `Ok` if there is no database or a host has it open. Blocks the thread; reads only parts of a large database.
///
/// # Errors
///
/// The errors of [`Database::open`](crate::Database::open) that concern the database.
pub fn examine(dir: &Path) -> Result<(), StoreError> {
    let is_in_use = || lock::holder(dir).is_some();
    if is_in_use() {
        return Ok(());
    }
    // Checks the lock again: a host that opened the database in between changes what is read here.
    examine_unused(dir).or_else(|error| if is_in_use() { Ok(()) } else { Err(error) })
}

/// Opens the database of a data folder to read it, and creates no files there.
pub(crate) fn reader(dir: &Path, path: &Path) -> Result<Connection, StoreError> {
    let has_log = dir.join("wasmill.db-wal").metadata().is_ok_and(|file| file.len() > 0);
    let connection = if has_log { connection::reader(path) } else { immutable(path) };
    connection.map_err(|error| fault(path, &error))
}

fn examine_unused(dir: &Path) -> Result<(), StoreError> {
    folder::check_folder(dir)?;
    let path = &dir.join("wasmill.db");
    leftover::check(path)?;
    if !path.metadata().is_ok_and(|file| file.len() > 0) {
        return Ok(());
    }
    let connection = reader(dir, path)?;
    let version = migrations::check(&connection, path)?;
    if version == migrations::VERSION {
        check::at_opening(&connection, path)?;
    } else {
        // An older schema differs from the current one until it is migrated on open.
        check::whole_if_small(&connection, path)?;
    }
    Ok(())
}

/// Opens a database read-only, without locks and without files beside it.
fn immutable(path: &Path) -> rusqlite::Result<Connection> {
    let path = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(format!("file:{path}?immutable=1"), flags)
}
