//! Promotes due tasks: scheduled and suspended ones whose time has come become available.

use std::sync::Arc;

use chrono::DateTime;
use rusqlite::{Connection, params};
use wasmill_model::{Group, PluginName, TaskState, Timestamp};

use crate::file::fault::is_of_value;
use crate::read::rows::{group, nanos, parsed, size, state};
use crate::writer::batch::Batch;
use crate::writer::quarantine;

/// Due tasks of all plugins, the one that is due for longest first.
pub(crate) const DUE: &str = "
    SELECT seq, plugin, task_group, state, limit_key FROM task INDEXED BY task_due
    WHERE (state = 'scheduled' OR state = 'suspended') AND ready_at <= ?1 ORDER BY ready_at, seq LIMIT ?2";
pub(crate) const PROMOTE: &str = "UPDATE task SET state = 'available' WHERE seq = ?1";
pub(crate) const NEXT_DUE: &str = "
    SELECT min(ready_at) FROM task INDEXED BY task_due WHERE state = 'scheduled' OR state = 'suspended'";

/// Maximum tasks that a claim promotes, unless it claims more: a few milliseconds that other writes wait for.
const PROMOTED_MAX: usize = 1_000;

struct Due {
    plugin: PluginName,
    group: Option<Group>,
    state: TaskState,
    limit_key: Option<Arc<str>>,
}

/// Promotes tasks that are due at `now`; at least `claimed_max`, so that a claim misses none.
pub(crate) fn promote_due(batch: &mut Batch<'_>, now: Timestamp, claimed_max: usize) -> rusqlite::Result<()> {
    let limit = size(claimed_max.max(PROMOTED_MAX));
    let connection = batch.connection;
    let mut find = connection.prepare_cached(DUE)?;
    let mut promote = connection.prepare_cached(PROMOTE)?;
    // All are read before the first is moved: the index that is read changes with each move.
    let rows = find.query_map(params![nanos(now), limit], |row| {
        let due = || {
            let (plugin, group, state) = (parsed(row, 1)?, group(row, 2)?, state(row, 3)?);
            Ok(Due { plugin, group, state, limit_key: row.get(4)? })
        };
        Ok((row.get(0)?, due()))
    })?;
    for (seq, due) in rows.collect::<rusqlite::Result<Vec<(i64, _)>>>()? {
        match due {
            Ok(Due { plugin, group, state, limit_key }) => {
                promote.execute([seq])?;
                batch.record_move(&plugin, limit_key.as_ref(), Some(state), Some(TaskState::Available));
                if let Some(group) = &group {
                    batch.fair_queue.add(&plugin, group);
                }
            }
            Err(error) if is_of_value(&error) => {
                quarantine::fail(batch, seq, TaskState::Scheduled, &error, now)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns when the next task is due; in the past if not all due tasks were promoted.
pub(crate) fn next_due(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let ready_at: Option<i64> = connection.prepare_cached(NEXT_DUE)?.query_one([], |row| row.get(0))?;
    Ok(ready_at.map(DateTime::from_timestamp_nanos))
}
