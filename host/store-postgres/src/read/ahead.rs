//! The place of a task in its queue.

use wasmill_model::TaskId;

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::read::rows::{number, size, uuid};

/// In the order of claims, from the index that they read.
const AHEAD: &str = "
    SELECT (SELECT count(*) FROM (SELECT 1 FROM task t
        WHERE t.state = 'available' AND t.plugin = own.plugin AND t.task_group = own.task_group
            AND (t.sort_key, t.seq) < (own.sort_key, own.seq) LIMIT $2) AS counted)
    FROM task own WHERE own.id = $1 AND own.state = 'available'";

/// Counts the available tasks of its plugin and group before a task, up to `limit`; `None` unless it is available.
pub(crate) async fn tasks_ahead(connection: &Connection, id: TaskId, limit: usize) -> Result<Option<u64>> {
    let row = connection.optional(AHEAD, &[&uuid(id), &size(limit)]).await?;
    row.map(|row| number(&row, 0)).transpose()
}
