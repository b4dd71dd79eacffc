//! Loads and stores the task counts of plugins. Loaded once on open, from an index and a small table; after
//! that the writer counts.

use std::collections::BTreeMap;

use chrono::DateTime;
use rusqlite::{Connection, params};
use wasmill_model::{PluginName, Timestamp};
use wasmill_store::PluginCounts;
use wasmill_store::rules::plugin_counts::{CountDelta, StateDelta};

use crate::read::rows::{is_later, parsed, state};

const AVAILABLE: &str = "
    SELECT plugin, 'available', count(*), 0 FROM task INDEXED BY task_available
    WHERE state = 'available' GROUP BY plugin";
const LATER: &str = concat!(
    "SELECT plugin, state, count(*), 0 FROM task INDEXED BY task_later WHERE ",
    is_later!(),
    " GROUP BY plugin, state"
);
const FINISHED: &str = "SELECT plugin, state, tasks, removed FROM finished_count";
const COUNT: &str = "
    INSERT INTO finished_count (plugin, state, tasks, removed) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (plugin, state)
    DO UPDATE SET tasks = tasks + excluded.tasks, removed = removed + excluded.removed";
// A due task is promoted by the next claim, so an available one need not be the oldest. The first one of no group is found
// behind those with a head start.
const OLDEST: &str = "
    SELECT min(first) FROM (
        SELECT * FROM (
            SELECT ready_at AS first FROM task INDEXED BY task_available
            WHERE state = 'available' AND plugin = ?1 AND task_group IS NULL AND priority = 0
            ORDER BY sort_key LIMIT 1) UNION ALL
        SELECT min(ready_at) FROM task INDEXED BY task_preferred
        WHERE state = 'available' AND (priority <> 0 OR task_group IS NOT NULL) AND plugin = ?1 UNION ALL
        SELECT min(ready_at) FROM task INDEXED BY task_later WHERE state = 'scheduled' AND plugin = ?1 UNION ALL
        SELECT min(ready_at) FROM task INDEXED BY task_later WHERE state = 'suspended' AND plugin = ?1)";

/// All statements, for the test of query plans.
#[cfg(test)]
pub(crate) const STATEMENTS: [&str; 5] = [AVAILABLE, LATER, FINISHED, COUNT, OLDEST];

/// Loads the counts after recovery, when nothing is running.
pub(crate) fn load(connection: &Connection) -> rusqlite::Result<BTreeMap<PluginName, PluginCounts>> {
    let mut plugin_counts: BTreeMap<PluginName, PluginCounts> = BTreeMap::new();
    for sql in [AVAILABLE, LATER, FINISHED] {
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let plugin = match parsed(row, 0) {
                Ok(plugin) => plugin,
                Err(error) => {
                    tracing::error!(%error, "tasks of a plugin are not counted: its name is damaged");
                    continue;
                }
            };
            let tally = plugin_counts.entry(plugin).or_default();
            let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
            tally.set(state(row, 1)?, count(2)?, count(3)?);
        }
    }
    Ok(plugin_counts)
}

/// Stores the count changes of a batch within its transaction.
pub(crate) fn write(connection: &Connection, count_delta: &CountDelta) -> rusqlite::Result<()> {
    let is_final = |change: &StateDelta<'_>| change.state.is_final();
    for StateDelta { plugin, state, tasks: ended, removed } in
        count_delta.changes().into_iter().filter(is_final)
    {
        let values = params![plugin.as_str(), state.as_str(), ended, removed];
        connection.prepare_cached(COUNT)?.execute(values)?;
    }
    Ok(())
}

/// Returns, for each plugin with waiting tasks that are not blocked, when the first of them became or becomes
/// available.
pub(crate) fn oldest(
    connection: &Connection,
    plugins: &[(PluginName, PluginCounts)],
) -> rusqlite::Result<Vec<(PluginName, Timestamp)>> {
    let mut statement = connection.prepare_cached(OLDEST)?;
    let mut oldest = Vec::new();
    for (plugin, _) in plugins.iter().filter(|(_, counts)| counts.waiting() > counts.blocked) {
        let ready_at: Option<i64> = statement.query_one([plugin.as_str()], |row| row.get(0))?;
        oldest.extend(ready_at.map(|ready_at| (plugin.clone(), DateTime::from_timestamp_nanos(ready_at))));
    }
    Ok(oldest)
}
