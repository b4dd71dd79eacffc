//! Looks for damage at the opening. It never repairs anything.
//!
//! A small database is checked as a whole. A large one would keep its tasks waiting: there, what the next
//! runs need is read at the opening, both ends of every table and index and all tasks that are not final
//! (the recovery does that), and the whole is checked while the host serves.

use std::path::Path;

use rusqlite::Connection;

use super::fault::fault;
use crate::StoreError;

/// The largest database that is checked as a whole at the opening: some 0.2 s.
const WHOLE_BYTES_MAX: u64 = 64 << 20;

/// The tables there must be.
const TABLES: [&str; 4] = ["task", "input", "log_lines", "checkpoint"];

/// Checks as much as there is time for at the opening; true if that was all.
pub(super) fn at_opening(connection: &Connection, path: &Path) -> Result<bool, StoreError> {
    let damaged = |error: rusqlite::Error| match fault(path, &error) {
        // Such as a table or an index that is missing.
        StoreError::Unavailable { .. } if error.sqlite_error_code() == Some(rusqlite::ErrorCode::Unknown) => {
            damage(path, error.to_string())
        }
        other => other,
    };
    for table in TABLES {
        for order in ["ASC", "DESC"] {
            let sql = format!("SELECT * FROM {table} ORDER BY seq {order} LIMIT 1");
            let read = connection.prepare(&sql).and_then(|mut ends| ends.query([])?.next().map(|_| ()));
            read.map_err(damaged)?;
        }
    }
    if std::fs::metadata(path).map_or(0, |file| file.len()) > WHOLE_BYTES_MAX {
        return Ok(false);
    }
    whole(connection, path)?;
    Ok(true)
}

/// Checks every page and the order in every table and index.
pub(super) fn whole(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| fault(path, &error))?;
    if found == "ok" { Ok(()) } else { Err(damage(path, found.replace('\n', " "))) }
}

fn damage(path: &Path, message: String) -> StoreError {
    StoreError::Corrupt { path: path.to_owned(), message }
}
