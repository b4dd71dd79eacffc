//! Prunes finished tasks beyond the retention bounds, a few at a time.
//!
//! A reader finds them; the writer checks each again, as it may be needed since.

use async_trait::async_trait;
use chrono::DateTime;
use wasmill_model::PluginName;
use wasmill_store::rules::prune::{DROPS_MAX, FinishedTask, LOOKS_MAX, PruneScan};
use wasmill_store::{Excess, Prunable, PruneCursor, PruneProgress, PruneStep, Pruned, RetentionBounds};

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::delivery::deliveries;
use crate::queue::remove;
use crate::read::rows::{get, nanos, optional_time, parsed, seq, size, state, task_ref, time};
use crate::writer::batch::{Batch, Operation};
use crate::writer::key_usage;

/// Rows per query of a scan.
const ROWS_READ: usize = 1_000;

const ENDED: &str = "
    SELECT task.seq, finished_at, (coalesce(length(result), 0) + coalesce(input_bytes, 0)
        + coalesce((SELECT length(body) FROM log WHERE log.seq = task.seq), 0))::bigint,
        EXISTS (SELECT FROM dependency WHERE on_seq = task.seq),
        (SELECT pending_since FROM webhook WHERE webhook.seq = task.seq AND webhook.state = 'pending')
    FROM task
    WHERE finished_at IS NOT NULL AND (finished_at, task.seq) > ($1, $2)
    ORDER BY finished_at, task.seq LIMIT $3";
const PRUNABLE: &str = "
    SELECT plugin, state FROM task WHERE seq = $1 AND finished_at IS NOT NULL
        AND NOT EXISTS (SELECT FROM dependency WHERE on_seq = $1)
        AND NOT EXISTS (SELECT FROM webhook WHERE webhook.seq = $1 AND webhook.state = 'pending')";
/// Gives up the delivery of a pruned task; if the task turns out to be needed, the delivery stays given up.
const DROP_DELIVERY: &str =
    "UPDATE webhook SET state = 'given-up', next_attempt_at = NULL WHERE seq = $1 AND state = 'pending'";

#[derive(Debug)]
pub(crate) struct Prune {
    pub(crate) step: PruneStep,
}

#[async_trait]
impl Operation for Prune {
    type Answer = Pruned;
    const DURABLE: bool = false;

    fn cost(&self) -> u64 {
        self.step.0.len() as u64
    }

    async fn run(&self, batch: &mut Batch<'_>) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        for Prunable { task, drops_delivery } in &self.step.0 {
            let seq = seq(*task);
            if *drops_delivery {
                pruned.deliveries += batch.connection.execute(DROP_DELIVERY, &[&seq]).await?;
            }
            let Some(row) = batch.connection.optional(PRUNABLE, &[&seq]).await? else { continue };
            let plugin: PluginName = parsed(&row, 0)?;
            let limit_key = key_usage::removing(batch, seq).await?;
            batch.connection.one(remove::REMOVE, &[&seq]).await?;
            pruned.tasks += 1;
            batch.effects.record_move(&plugin, limit_key.as_ref(), Some(state(&row, 1)?), None);
        }
        batch.effects.deliveries_dropped += pruned.deliveries;
        Ok(pruned)
    }
}

/// Scans finished tasks, oldest first, until enough beyond the bounds are found. `stored` is their recent
/// number.
pub(crate) async fn excess(
    connection: &Connection,
    bounds: &RetentionBounds,
    cursor: PruneCursor,
    stored: u64,
    tasks_max: usize,
) -> Result<Excess> {
    let progress = match cursor.0 {
        Some(progress) => progress,
        None => PruneProgress {
            finished_at: DateTime::from_timestamp_nanos(i64::MIN),
            task: task_ref(0),
            kept: 0,
            drops_left: drops(connection, bounds).await?,
        },
    };
    let mut scan = PruneScan::new(bounds, progress, stored, tasks_max);
    loop {
        let values: crate::connection::database::Params<'_> =
            &[&nanos(scan.progress.finished_at), &seq(scan.progress.task), &size(ROWS_READ)];
        let rows = connection.query(ENDED, values).await?;
        for row in &rows {
            if scan.is_full() || scan.looked_at == LOOKS_MAX {
                return Ok(scan.end(false));
            }
            let next = FinishedTask {
                task: task_ref(get(row, 0)?),
                finished_at: time(row, 1)?,
                bytes: get(row, 2)?,
                is_wanted: get(row, 3)?,
                pending_since: optional_time(row, 4)?,
            };
            if !scan.look(&next) {
                return Ok(scan.end(true));
            }
        }
        if rows.len() < ROWS_READ {
            return Ok(scan.end(true));
        }
    }
}

/// Returns how many pending deliveries exceed their bound.
async fn drops(connection: &Connection, bounds: &RetentionBounds) -> Result<u64> {
    let Some(limit) = bounds.pending_max else { return Ok(0) };
    let counted_max = i64::try_from(limit.saturating_add(DROPS_MAX)).unwrap_or(i64::MAX);
    Ok(deliveries::pending(connection, counted_max).await?.saturating_sub(limit))
}
