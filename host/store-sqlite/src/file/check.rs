//! Integrity checks on open. They never repair anything.
//!
//! A small database is checked completely. A large one would keep its tasks waiting, so opening it reads only
//! what the next runs need: both ends of every table and index, and all unfinished tasks (in the recovery).
//! The complete check then runs while the host serves.

use std::path::Path;

use rusqlite::Connection;
use wasmill_store::StoreError;

use crate::file::fault::fault;
use crate::file::migrations;

/// Largest database to check completely on open: about 0.2 s.
const WHOLE_BYTES_MAX: u64 = 64 << 20;

/// All tables and indexes of the schema.
const SCHEMA: &str =
    "SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY 1, 2";

/// The key columns of a table.
const KEY: &str = "SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk";

/// Checks as much as is fast; returns true if that was everything.
pub(crate) fn at_opening(connection: &Connection, path: &Path) -> Result<bool, StoreError> {
    let damaged = |error: rusqlite::Error| match fault(path, &error) {
        // Such as a missing table.
        StoreError::Unavailable { .. } if error.sqlite_error_code() == Some(rusqlite::ErrorCode::Unknown) => {
            damage(path, error.to_string())
        }
        other => other,
    };
    let expected = Connection::open_in_memory().and_then(|new| {
        migrations::apply(&new, 0)?;
        schema(&new)
    });
    let expected = expected.map_err(|error| fault(path, &error))?;
    let found = schema(connection).map_err(damaged)?;
    if let Some((kind, name)) = expected.iter().find(|part| !found.contains(part)) {
        return Err(damage(path, format!("the {kind} {name} is missing")));
    }
    for (_, table) in expected.iter().filter(|(kind, _)| kind == "table") {
        both_ends(connection, table).map_err(damaged)?;
    }
    whole_if_small(connection, path)
}

/// Checks the whole database if it is small; returns true if it did.
pub(crate) fn whole_if_small(connection: &Connection, path: &Path) -> Result<bool, StoreError> {
    if std::fs::metadata(path).map_or(0, |file| file.len()) > WHOLE_BYTES_MAX {
        return Ok(false);
    }
    whole(connection, path)?;
    Ok(true)
}

fn schema(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut statement = connection.prepare(SCHEMA)?;
    let parts = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    parts.collect()
}

/// Reads the first and the last row of a table.
fn both_ends(connection: &Connection, table: &str) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(KEY)?;
    let key = statement.query_map([table], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    for order in ["ASC", "DESC"] {
        let key: Vec<_> = key.iter().map(|column| format!("{column} {order}")).collect();
        let sql = format!("SELECT * FROM {table} ORDER BY {} LIMIT 1", key.join(", "));
        connection.prepare(&sql)?.query([])?.next()?;
    }
    Ok(())
}

/// Checks every page and the order of every table and index.
pub(crate) fn whole(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| fault(path, &error))?;
    if found == "ok" { Ok(()) } else { Err(damage(path, found.replace('\n', " "))) }
}

fn damage(path: &Path, message: String) -> StoreError {
    StoreError::Corrupt { database: path.display().to_string(), message }
}
