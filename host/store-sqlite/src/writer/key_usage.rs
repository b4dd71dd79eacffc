//! Loads and stores what the tasks of limited keys take up: loaded once on open, from a small table; after that the writer
//! counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use wasmill_store::rules::key_usage::{KeyChange, KeyDelta, KeyUsage};

use crate::writer::batch::Batch;

const USAGE: &str = "SELECT key, waiting, stored_bytes FROM key_usage";
/// Keys without tasks, which may be gone.
const FORGET: &str = "DELETE FROM key_usage WHERE waiting <= 0 AND stored_bytes <= 0";
const COUNT: &str = "
    INSERT INTO key_usage (key, waiting, stored_bytes) VALUES (?1, ?2, ?3)
    ON CONFLICT (key)
    DO UPDATE SET waiting = waiting + excluded.waiting, stored_bytes = stored_bytes + excluded.stored_bytes";
/// The bytes of an ended task that its end has added.
const ENDED_BYTES: &str = "
    SELECT coalesce(octet_length(result), 0) + coalesce(files_out, 0)
        + coalesce((SELECT octet_length(body) FROM log WHERE log.seq = task.seq), 0)
    FROM task WHERE seq = ?1";
/// The key of a task and all bytes that it takes up.
const STORED_BYTES: &str = "
    SELECT limit_key, coalesce(input_bytes, 0) + coalesce(files_in, 0)
        + iif(finished_at IS NULL, 0, coalesce(octet_length(result), 0) + coalesce(files_out, 0)
        + coalesce((SELECT octet_length(body) FROM log WHERE log.seq = task.seq), 0))
    FROM task WHERE seq = ?1 AND limit_key IS NOT NULL";

/// All statements, for the test of query plans.
#[cfg(test)]
pub(crate) const STATEMENTS: [&str; 5] = [USAGE, FORGET, COUNT, ENDED_BYTES, STORED_BYTES];

/// Loads what was stored last.
pub(crate) fn load(connection: &Connection) -> rusqlite::Result<BTreeMap<Arc<str>, KeyUsage>> {
    connection.execute(FORGET, [])?;
    let mut statement = connection.prepare(USAGE)?;
    let rows = statement.query_map([], |row| {
        let change = KeyChange { waiting: row.get(1)?, stored_bytes: row.get(2)? };
        Ok((row.get::<_, Arc<str>>(0)?, KeyUsage::default().after(change)))
    })?;
    rows.collect()
}

/// Stores the changes of a batch within its transaction.
pub(crate) fn write(connection: &Connection, key_delta: &KeyDelta) -> rusqlite::Result<()> {
    for (key, KeyChange { waiting, stored_bytes }) in key_delta.changes() {
        connection.prepare_cached(COUNT)?.execute(params![key, waiting, stored_bytes])?;
    }
    Ok(())
}

/// Counts the result and the log of a task that has just ended.
pub(crate) fn ended(batch: &mut Batch<'_>, seq: i64, key: Option<&Arc<str>>) -> rusqlite::Result<()> {
    let Some(key) = key else { return Ok(()) };
    let mut statement = batch.connection.prepare_cached(ENDED_BYTES)?;
    let bytes = statement.query_row([seq], |row| row.get(0)).optional()?;
    batch.effects.key_delta.record_bytes(key, bytes.unwrap_or(0));
    Ok(())
}

/// Returns the limited key of a task and the bytes that the task takes up, which its removal frees.
pub(crate) fn of_task(batch: &Batch<'_>, seq: i64) -> rusqlite::Result<Option<(Arc<str>, i64)>> {
    if !batch.has_limited_keys() {
        return Ok(None);
    }
    let mut statement = batch.connection.prepare_cached(STORED_BYTES)?;
    statement.query_row([seq], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}
