//! Promotes due tasks: scheduled and suspended ones whose time has come become available.

use tokio_postgres::Row;
use wasmill_model::{TaskState, Timestamp};

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::queue::floors::lowering_floors;
use crate::read::rows::{get, limit_key, nanos, optional_time, parsed, size, state};
use crate::writer::batch::Batch;
use crate::writer::quarantine;

/// The task that is due for longest first.
const PROMOTE: &str = lowering_floors!(
    "
    WITH due AS (
        SELECT seq, state FROM task WHERE state IN ('scheduled', 'suspended') AND ready_at <= $1
        ORDER BY ready_at, seq LIMIT $2),
    moved AS (UPDATE task SET state = 'available' FROM due WHERE task.seq = due.seq
        RETURNING task.seq, task.plugin, task.task_group, task.state, task.sort_key, task.limit_key, due.state AS was)",
    "SELECT seq, plugin, was, limit_key FROM moved"
);
#[cfg(test)]
pub(crate) const EXPANDED: [&str; 1] = [PROMOTE];
const NEXT_DUE: &str = "SELECT min(ready_at) FROM task WHERE state IN ('scheduled', 'suspended')";

/// Maximum tasks that a claim promotes, unless it claims more.
const PROMOTED_MAX: usize = 1_000;

/// Tasks that became available.
#[must_use = "they are to be recorded"]
pub(crate) struct Promoted(Vec<Row>);

impl Promoted {
    /// Promotes tasks that are due at `now`; at least `claimed_max`, so that a claim misses none.
    pub(crate) async fn write(connection: &Connection, now: Timestamp, claimed_max: usize) -> Result<Self> {
        let limit = size(claimed_max.max(PROMOTED_MAX));
        Ok(Self(connection.query(PROMOTE, &[&nanos(now), &limit]).await?))
    }

    /// Records that they have moved.
    pub(crate) async fn record(self, batch: &mut Batch<'_>, now: Timestamp) -> Result<()> {
        for row in self.0 {
            match parsed(&row, 1) {
                Ok(plugin) => {
                    let (limit_key, was) = (limit_key(&row, 3)?, state(&row, 2)?);
                    batch.record_move(&plugin, limit_key.as_ref(), Some(was), Some(TaskState::Available));
                }
                Err(error) => {
                    quarantine::fail(batch, get(&row, 0)?, TaskState::Scheduled, &error, now).await?;
                }
            }
        }
        Ok(())
    }
}

/// Returns when the next task is due; in the past if not all due tasks were promoted.
pub(crate) async fn next_due(connection: &Connection) -> Result<Option<Timestamp>> {
    optional_time(&connection.one(NEXT_DUE, &[]).await?, 0)
}
