//! The place of a task in its queue.

use rusqlite::{Connection, OptionalExtension, params};
use wasmill_model::TaskId;

use crate::read::rows::size;

pub(crate) const PLACE: &str =
    "SELECT plugin, task_group, sort_key, seq FROM task WHERE id = ?1 AND state = 'available'";
/// In the order of claims, from the index that they read.
pub(crate) const AHEAD: &str = "
    SELECT count(*) FROM (SELECT 1 FROM task INDEXED BY task_available
        WHERE state = 'available' AND plugin = ?1 AND task_group IS ?2 AND (sort_key, seq) < (?3, ?4) LIMIT ?5)";

/// Counts the available tasks of its plugin and group before a task, up to `limit`; `None` unless it is available.
pub(crate) fn tasks_ahead(
    connection: &Connection,
    id: TaskId,
    limit: usize,
) -> rusqlite::Result<Option<u64>> {
    // Both statements need the same snapshot.
    let snapshot = connection.unchecked_transaction()?;
    let place = snapshot.prepare_cached(PLACE)?.query_row([id.as_bytes()], |row| {
        let (plugin, group): (String, Option<String>) = (row.get(0)?, row.get(1)?);
        Ok((plugin, group, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?))
    });
    let Some((plugin, group, sort_key, seq)) = place.optional()? else { return Ok(None) };
    let values = params![plugin, group, sort_key, seq, size(limit)];
    let ahead = snapshot.prepare_cached(AHEAD)?.query_one(values, |row| row.get::<_, i64>(0))?;
    Ok(Some(ahead.cast_unsigned()))
}
