//! Schema migrations. Run on open; they never change a file of an unknown format.

use std::path::Path;

use rusqlite::Connection;

use super::fault::fault;
use crate::StoreError;

/// Application id of Wasmill: the letters `WMIL`.
const APPLICATION_ID: i64 = 0x574d_494c;

/// The migrations; the first makes schema version 1. A released one never changes.
const STEPS: [&str; 20] = [
    include_str!("migrations/0001_tasks.sql"),
    include_str!("migrations/0002_plugins.sql"),
    include_str!("migrations/0003_ends.sql"),
    include_str!("migrations/0004_log_lines.sql"),
    include_str!("migrations/0005_usage.sql"),
    include_str!("migrations/0006_queue.sql"),
    include_str!("migrations/0007_schedule.sql"),
    include_str!("migrations/0008_webhook.sql"),
    include_str!("migrations/0009_depend.sql"),
    include_str!("migrations/0010_trace.sql"),
    include_str!("migrations/0011_group.sql"),
    include_str!("migrations/0012_park.sql"),
    include_str!("migrations/0013_clock.sql"),
    include_str!("migrations/0014_jitter.sql"),
    include_str!("migrations/0015_stop.sql"),
    include_str!("migrations/0016_wait.sql"),
    include_str!("migrations/0017_log_numbers.sql"),
    include_str!("migrations/0018_start.sql"),
    include_str!("migrations/0019_redelivery.sql"),
    include_str!("migrations/0020_filters.sql"),
];

pub(super) const VERSION: i64 = STEPS.len() as i64;

/// Reads the schema version of a database, 0 for a new one.
///
/// # Errors
///
/// Refuses the database of another program or of a newer Wasmill.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let read = |sql: &str| {
        connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(|error| fault(path, &error))
    };
    let found = read("PRAGMA application_id")?;
    let tables = read("SELECT count(*) FROM sqlite_master")?;
    let new = found == 0 && tables == 0;
    if found != APPLICATION_ID && !new {
        return Err(StoreError::Foreign { path: path.to_owned(), found, supported: APPLICATION_ID });
    }
    let version = read("PRAGMA user_version")?;
    if version < i64::from(!new) {
        let message = format!("its schema version is missing ({version})");
        return Err(StoreError::Corrupt { path: path.to_owned(), message });
    }
    if version > VERSION {
        return Err(StoreError::Newer { path: path.to_owned(), found: version, supported: VERSION });
    }
    Ok(version)
}

/// Applies missing migrations, each in a transaction with its version.
pub(super) fn apply(connection: &Connection, version: i64) -> rusqlite::Result<()> {
    for (number, step) in (1..).zip(STEPS).skip_while(|(number, _)| *number <= version) {
        let transaction = connection.unchecked_transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    Ok(())
}
