//! Removes finished tasks beyond the retention bounds, a few at a time.
//!
//! A reader finds them, so that the writer never skips rows: any number of tasks that are still needed may
//! precede them. The writer checks each again, as it may be needed since.

use chrono::DateTime;
use rusqlite::{Connection, OptionalExtension, params};
use wasmill_store::rules::prune::{DROPS_MAX, FinishedTask, LOOKS_MAX, PruneScan};
use wasmill_store::{Excess, Prunable, PruneCursor, PruneProgress, PruneStep, Pruned, RetentionBounds};

use crate::delivery::deliveries::PENDING;
use crate::file::fault::is_of_machine;
use crate::read::rows::{nanos, parsed, seq, size, state, task_ref};
use crate::writer::batch::{Batch, Operation};
use crate::writer::key_usage;

pub(crate) const ENDED: &str = "
    SELECT task.seq, finished_at, coalesce(octet_length(result), 0) + coalesce(input_bytes, 0)
        + coalesce((SELECT octet_length(body) FROM log WHERE log.seq = task.seq), 0),
        EXISTS (SELECT 1 FROM dependency INDEXED BY dependency_on WHERE on_seq = task.seq),
        (SELECT pending_since FROM webhook WHERE webhook.seq = task.seq AND state = 'pending')
    FROM task INDEXED BY task_finished
    WHERE finished_at IS NOT NULL AND (finished_at, task.seq) > (?1, ?2)
    ORDER BY finished_at, task.seq LIMIT ?3";
pub(crate) const DROP: &str = "
    DELETE FROM task WHERE seq = ?1 AND finished_at IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM dependency INDEXED BY dependency_on WHERE on_seq = ?1)
        AND NOT EXISTS (SELECT 1 FROM webhook WHERE webhook.seq = ?1 AND webhook.state = 'pending')
    RETURNING plugin, state";
/// Gives up the delivery of a pruned task; if the task turns out to be needed, the delivery stays given up.
pub(crate) const DROP_DELIVERY: &str =
    "UPDATE webhook SET state = 'given-up', next_attempt_at = NULL WHERE seq = ?1 AND state = 'pending'";

/// All statements, for the test of query plans.
#[cfg(test)]
pub(crate) const STATEMENTS: [&str; 3] = [ENDED, DROP, DROP_DELIVERY];

#[derive(Debug)]
pub(crate) struct Prune {
    pub(crate) step: PruneStep,
}

impl Operation for Prune {
    type Answer = Pruned;
    const DURABLE: bool = false;

    fn cost(&self) -> u64 {
        self.step.0.len() as u64
    }

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Pruned> {
        let mut pruned = Pruned::default();
        let mut drop = batch.connection.prepare_cached(DROP)?;
        for Prunable { task, drops_delivery } in &self.step.0 {
            let seq = seq(*task);
            let mut deliveries = 0;
            if *drops_delivery {
                deliveries = batch.connection.prepare_cached(DROP_DELIVERY)?.execute([seq])? as u64;
            }
            let counted = key_usage::of_task(batch, seq)?;
            let dropped = drop.query_row([seq], |row| Ok((parsed(row, 0)?, state(row, 1)?))).optional();
            let dropped = match dropped {
                // It stays, which is no reason to keep the others.
                Err(error) if !is_of_machine(&error) => {
                    tracing::error!(seq, %error, "failed to prune a task: its row is damaged");
                    None
                }
                dropped => dropped?,
            };
            pruned += Pruned { tasks: u64::from(dropped.is_some()), deliveries };
            if let Some((plugin, was)) = dropped {
                let limit_key = counted.as_ref().map(|(key, _)| key);
                batch.effects.record_move(&plugin, limit_key, Some(was), None);
                if let Some((key, bytes)) = &counted {
                    batch.effects.key_delta.record_bytes(key, -bytes);
                }
            }
        }
        batch.effects.deliveries_dropped += pruned.deliveries;
        Ok(pruned)
    }
}

/// Scans finished tasks, oldest first, until enough beyond the bounds are found. `stored` is their recent
/// number.
pub(crate) fn excess(
    connection: &Connection,
    bounds: &RetentionBounds,
    cursor: PruneCursor,
    stored: u64,
    tasks_max: usize,
) -> rusqlite::Result<Excess> {
    let snapshot = connection.unchecked_transaction()?;
    let progress = match cursor.0 {
        Some(progress) => progress,
        None => PruneProgress {
            finished_at: DateTime::from_timestamp_nanos(i64::MIN),
            task: task_ref(0),
            kept: 0,
            drops_left: drops(&snapshot, bounds)?,
        },
    };
    let mut scan = PruneScan::new(bounds, progress, stored, tasks_max);
    let mut statement = snapshot.prepare_cached(ENDED)?;
    let mut rows =
        statement.query(params![nanos(progress.finished_at), seq(progress.task), size(LOOKS_MAX)])?;
    while !scan.is_full() {
        let Some(row) = rows.next()? else {
            let is_all = scan.looked_at < LOOKS_MAX;
            return Ok(scan.end(is_all));
        };
        let next = FinishedTask {
            task: task_ref(row.get(0)?),
            finished_at: DateTime::from_timestamp_nanos(row.get(1)?),
            bytes: row.get(2)?,
            is_wanted: row.get(3)?,
            pending_since: row.get::<_, Option<i64>>(4)?.map(DateTime::from_timestamp_nanos),
        };
        if !scan.look(&next) {
            return Ok(scan.end(true));
        }
    }
    Ok(scan.end(false))
}

/// Returns how many pending deliveries exceed their bound.
fn drops(connection: &Connection, bounds: &RetentionBounds) -> rusqlite::Result<u64> {
    let Some(limit) = bounds.pending_max else { return Ok(0) };
    let counted_max = i64::try_from(limit.saturating_add(DROPS_MAX)).unwrap_or(i64::MAX);
    let pending: i64 = connection.prepare_cached(PENDING)?.query_one([counted_max], |row| row.get(0))?;
    Ok(pending.unsigned_abs().saturating_sub(limit))
}
