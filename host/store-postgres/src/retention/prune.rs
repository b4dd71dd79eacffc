//! Prunes finished tasks beyond the retention bounds, a few at a time.
//!
//! A reader finds them; the writer checks each again, as it may be needed since.

use async_trait::async_trait;
use chrono::DateTime;
use wasmill_model::{PluginName, Timestamp};
use wasmill_store::{Excess, Prunable, PruneCursor, PruneProgress, PruneStep, Pruned, RetentionBounds};

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::delivery::deliveries;
use crate::queue::remove;
use crate::read::rows::{get, nanos, optional_time, parsed, seq, size, state, task_ref, time};
use crate::writer::batch::{Batch, Operation};

/// Maximum tasks that one step removes.
const ROWS_MAX: usize = 200;

/// Bytes after which a step ends early, as large results take longer to remove.
const BYTES_MAX: i64 = 4 << 20;

/// Maximum rows per scan, and rows per query of it.
const LOOKS_MAX: usize = 20_000;
const ROWS_READ: usize = 1_000;

/// Maximum pending deliveries counted beyond their bound, and so dropped by one scan.
const DROPS_MAX: u64 = 100_000;

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
            batch.connection.one(remove::REMOVE, &[&seq]).await?;
            pruned.tasks += 1;
            batch.effects.record_move(&plugin, Some(state(&row, 1)?), None);
        }
        batch.effects.deliveries_dropped += pruned.deliveries;
        Ok(pruned)
    }
}

/// Scans finished tasks, oldest first, until enough beyond the bounds are found. `stored` is their recent
/// number.
///
/// The newest `tasks_max` are kept: of the others, as many as exceed that number come first.
pub(crate) async fn excess(
    connection: &Connection,
    bounds: &RetentionBounds,
    cursor: PruneCursor,
    stored: u64,
    tasks_max: usize,
) -> Result<Excess> {
    let mut walked = match cursor.0 {
        Some(walked) => walked,
        None => PruneProgress {
            finished_at: DateTime::from_timestamp_nanos(i64::MIN),
            task: task_ref(0),
            kept: 0,
            drops_left: drops(connection, bounds).await?,
        },
    };
    let too_many =
        bounds.tasks_max.map_or(0, |limit| stored.saturating_sub(limit).saturating_sub(walked.kept));
    let is_old = |finished_at: Timestamp| bounds.ended_since.is_some_and(|since| finished_at < since);
    let mut steps = Steps::default();
    let mut looked_at = 0;
    loop {
        let values: crate::connection::database::Params<'_> =
            &[&nanos(walked.finished_at), &seq(walked.task), &size(ROWS_READ)];
        let rows = connection.query(ENDED, values).await?;
        let is_all = rows.len() < ROWS_READ;
        for row in &rows {
            if steps.count == tasks_max || looked_at == LOOKS_MAX {
                return Ok(Excess { steps: steps.steps, cursor: PruneCursor(Some(walked)), is_all: false });
            }
            let finished_at = time(row, 1)?;
            if looked_at as u64 >= too_many && !is_old(finished_at) {
                return Ok(Excess { steps: steps.steps, cursor: PruneCursor(Some(walked)), is_all: true });
            }
            looked_at += 1;
            (walked.task, walked.finished_at) = (task_ref(get(row, 0)?), finished_at);
            let is_wanted: bool = get(row, 3)?;
            let pending_since = optional_time(row, 4)?;
            let drops_delivery = pending_since.is_some_and(|since| {
                walked.drops_left > 0 || bounds.pending_since.is_some_and(|oldest| since < oldest)
            });
            if is_wanted || (pending_since.is_some() && !drops_delivery) {
                walked.kept += 1;
                continue;
            }
            if drops_delivery {
                walked.drops_left = walked.drops_left.saturating_sub(1);
            }
            steps.add(Prunable { task: walked.task, drops_delivery }, get(row, 2)?);
        }
        if is_all {
            return Ok(Excess { steps: steps.steps, cursor: PruneCursor(Some(walked)), is_all });
        }
    }
}

/// Returns how many pending deliveries exceed their bound.
async fn drops(connection: &Connection, bounds: &RetentionBounds) -> Result<u64> {
    let Some(limit) = bounds.pending_max else { return Ok(0) };
    let counted_max = i64::try_from(limit.saturating_add(DROPS_MAX)).unwrap_or(i64::MAX);
    Ok(deliveries::pending(connection, counted_max).await?.saturating_sub(limit))
}

/// Found tasks, divided into short steps.
#[derive(Default)]
struct Steps {
    steps: Vec<PruneStep>,
    count: usize,
    /// Bytes of the last step.
    bytes: i64,
}

impl Steps {
    fn add(&mut self, task: Prunable, bytes: i64) {
        self.count += 1;
        match self.steps.last_mut() {
            Some(step) if step.0.len() < ROWS_MAX && self.bytes < BYTES_MAX => {
                step.0.push(task);
                self.bytes += bytes;
            }
            _ => {
                self.steps.push(PruneStep(vec![task]));
                self.bytes = bytes;
            }
        }
    }
}
