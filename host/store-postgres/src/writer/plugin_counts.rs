//! Loads and stores the task counts of plugins. Loaded once on open; after that the writer counts.

use std::collections::BTreeMap;

use chrono::DateTime;
use wasmill_model::{PluginName, Timestamp};
use wasmill_store::PluginCounts;
use wasmill_store::rules::plugin_counts::{CountDelta, FinishedDelta};

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::read::rows::{number, parsed, state};

const WAITING: &str = "
    SELECT plugin, state, count(*), 0::bigint FROM task
    WHERE state IN ('available', 'scheduled', 'suspended', 'blocked') GROUP BY plugin, state";
const FINISHED: &str = "SELECT plugin, state, tasks, removed FROM finished_count";
const COUNT: &str = "
    INSERT INTO finished_count (plugin, state, tasks, removed) VALUES ($1, $2, $3, $4)
    ON CONFLICT (plugin, state) DO UPDATE
    SET tasks = finished_count.tasks + excluded.tasks, removed = finished_count.removed + excluded.removed";
const OLDEST: &str = "
    SELECT min(ready_at) FROM task
    WHERE state IN ('available', 'scheduled', 'suspended') AND plugin = $1";

/// Loads the counts after recovery, when nothing is running.
pub(crate) async fn load(connection: &Connection) -> Result<BTreeMap<PluginName, PluginCounts>> {
    let mut plugin_counts: BTreeMap<PluginName, PluginCounts> = BTreeMap::new();
    for sql in [WAITING, FINISHED] {
        for row in connection.query(sql, &[]).await? {
            let counts = plugin_counts.entry(parsed(&row, 0)?).or_default();
            counts.set(state(&row, 1)?, number(&row, 2)?, number(&row, 3)?);
        }
    }
    Ok(plugin_counts)
}

/// Stores the count changes of a batch within its transaction.
pub(crate) async fn write(connection: &Connection, count_delta: &CountDelta) -> Result<()> {
    for FinishedDelta { plugin, state, ended, removed } in count_delta.ended() {
        connection.execute(COUNT, &[&plugin.as_str(), &state.as_str(), &ended, &removed]).await?;
    }
    Ok(())
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
