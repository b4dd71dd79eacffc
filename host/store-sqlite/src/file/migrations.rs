//! Schema migrations. Run on open; they never change a file of an unknown format.

use std::path::Path;

use rusqlite::Connection;
use wasmill_store::StoreError;

use crate::file::fault::fault;

/// Application id of Wasmill: the letters `WSML`.
const APPLICATION_ID: i64 = 0x5753_4d4c;

/// Application id of a backup, until a host opens it: the letters `WSMC`.
pub(crate) const COPY_ID: i64 = 0x5753_4d43;

/// Application id of databases from before the first release: the letters `WMIL`.
const APPLICATION_ID_BEFORE_RELEASE: i64 = 0x574d_494c;

/// The migrations; the first makes schema version 1. A released one never changes.
const STEPS: [&str; 1] = [include_str!("migrations/0001_schema.sql")];

pub(crate) const VERSION: i64 = STEPS.len() as i64;

/// Reads the schema version of a database, 0 for a new one.
///
/// # Errors
///
/// Refuses the database of another program, of a newer Wasmill, and of one from before the first release.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let read = |sql: &str| {
        connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(|error| fault(path, &error))
    };
    let found = read("PRAGMA application_id")?;
    let tables = read("SELECT count(*) FROM sqlite_master")?;
    let new = found == 0 && tables == 0;
    if found == APPLICATION_ID_BEFORE_RELEASE {
        return Err(StoreError::Outdated { database: path.display().to_string() });
    }
    if found != APPLICATION_ID && found != COPY_ID && !new {
        return Err(StoreError::Foreign {
            database: path.display().to_string(),
            found,
            supported: APPLICATION_ID,
        });
    }
    let version = read("PRAGMA user_version")?;
    if version < i64::from(!new) {
        let message = format!("its schema version is missing ({version})");
        return Err(StoreError::Corrupt { database: path.display().to_string(), message });
    }
    if version > VERSION {
        return Err(StoreError::Newer {
            database: path.display().to_string(),
            found: version,
            supported: VERSION,
        });
    }
    Ok(version)
}

/// Makes a backup the database of a host, in the file itself and not in its log: the next start reads the file alone to
/// tell whether a log beside it is its own.
pub(crate) fn adopt(connection: &Connection) -> rusqlite::Result<()> {
    let id: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    if id == COPY_ID {
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        // A backup has no log until a host opens it, unless somebody gave it one.
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    }
    Ok(())
}

/// Applies missing migrations, each in a transaction with its version.
pub(crate) fn apply(connection: &Connection, version: i64) -> rusqlite::Result<()> {
    for (number, step) in (1..).zip(STEPS).skip_while(|(number, _)| *number <= version) {
        let transaction = connection.unchecked_transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    Ok(())
}
