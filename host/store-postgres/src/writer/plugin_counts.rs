//! Loads and stores the task counts of plugins. The first host counts the unfinished tasks; after that every writer
//! stores what it changes.

use std::collections::BTreeMap;

use chrono::DateTime;
use wasmill_model::{PluginName, Timestamp};
use wasmill_store::PluginCounts;
use wasmill_store::rules::plugin_counts::CountDelta;

use crate::connection::database::{Connection, Write};
use crate::connection::fault::Result;
use crate::read::rows::{number, parsed, state};

const COUNTS: &str = "SELECT plugin, state, tasks, removed FROM task_count";
const CLEAR: &str = "
    DELETE FROM task_count WHERE state IN ('available', 'scheduled', 'suspended', 'blocked', 'running')";
const RECOUNT: &str = "
    INSERT INTO task_count (plugin, state, tasks)
    SELECT plugin, state, count(*) FROM task
    WHERE state IN ('available', 'scheduled', 'suspended', 'blocked') GROUP BY plugin, state
    UNION ALL SELECT plugin, state, count(*) FROM task WHERE state = 'running' GROUP BY plugin, state";
const COUNT: &str = "
    INSERT INTO task_count (plugin, state, tasks, removed)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
    ON CONFLICT (plugin, state) DO UPDATE
    SET tasks = task_count.tasks + excluded.tasks, removed = task_count.removed + excluded.removed";
const OLDEST: &str = "
    SELECT min(ready_at) FROM task
    WHERE state IN ('available', 'scheduled', 'suspended') AND plugin = $1";

/// Loads all counts.
pub(crate) async fn load(connection: &Connection) -> Result<BTreeMap<PluginName, PluginCounts>> {
    let mut plugin_counts: BTreeMap<PluginName, PluginCounts> = BTreeMap::new();
    for row in connection.query(COUNTS, &[]).await? {
        let counts = plugin_counts.entry(parsed(&row, 0)?).or_default();
        counts.set(state(&row, 1)?, number(&row, 2)?, number(&row, 3)?);
    }
    Ok(plugin_counts)
}

/// Counts the unfinished tasks anew.
pub(crate) async fn recount(connection: &Connection) -> Result<()> {
    connection.execute(CLEAR, &[]).await?;
    connection.execute(RECOUNT, &[]).await?;
    Ok(())
}

/// Stores the count changes of a batch.
pub(crate) fn write(count_delta: &CountDelta) -> Option<Write<'_>> {
    let changes = count_delta.changes();
    let column = || changes.iter();
    (!changes.is_empty()).then(|| Write {
        sql: COUNT,
        values: vec![
            Box::new(column().map(|change| change.plugin.as_str()).collect::<Vec<_>>()),
            Box::new(column().map(|change| change.state.as_str()).collect::<Vec<_>>()),
            Box::new(column().map(|change| change.tasks).collect::<Vec<_>>()),
            Box::new(column().map(|change| change.removed).collect::<Vec<_>>()),
        ],
    })
}

/// Returns, for each plugin with waiting tasks that are not blocked, when the first of them became or becomes
/// available.
pub(crate) async fn oldest(
    connection: &Connection,
    plugins: &[(PluginName, PluginCounts)],
) -> Result<Vec<(PluginName, Timestamp)>> {
    let mut oldest = Vec::new();
    for (plugin, _) in plugins.iter().filter(|(_, counts)| counts.waiting() > counts.blocked) {
        let ready_at: Option<i64> = connection.one(OLDEST, &[&plugin.as_str()]).await?.get(0);
        oldest.extend(ready_at.map(|ready_at| (plugin.clone(), DateTime::from_timestamp_nanos(ready_at))));
    }
    Ok(oldest)
}
