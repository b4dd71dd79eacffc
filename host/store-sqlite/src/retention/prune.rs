//! Removes finished tasks beyond the retention bounds, a few at a time.
//!
//! A reader finds them, so that the writer never skips rows: any number of tasks that are still needed may
//! precede them. The writer checks each again, as it may be needed since.

use chrono::DateTime;
use rusqlite::{Connection, OptionalExtension, params};
use wasmill_model::Timestamp;
use wasmill_store::{Excess, Prunable, PruneCursor, PruneProgress, PruneStep, Pruned, RetentionBounds};

use crate::delivery::deliveries::PENDING;
use crate::file::fault::is_of_machine;
use crate::read::rows::{nanos, parsed, seq, size, state, task_ref};
use crate::writer::batch::{Batch, Operation};

/// Maximum tasks that one step removes: a few milliseconds that other writes wait for.
const ROWS_MAX: usize = 200;

/// Bytes after which a step ends early, as large results take longer to remove.
const BYTES_MAX: i64 = 4 << 20;

/// Maximum rows per scan, about 20 ms of a reader.
const LOOKS_MAX: usize = 20_000;

/// Maximum pending deliveries counted beyond their bound, and so dropped by one scan.
const DROPS_MAX: u64 = 100_000;

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
                batch.effects.count_delta.record_move(&plugin, Some(was), None);
            }
        }
        batch.effects.deliveries_dropped += pruned.deliveries;
        Ok(pruned)
    }
}

/// Scans finished tasks, oldest first, until enough beyond the bounds are found. `stored` is their recent
/// number.
///
/// The newest `tasks_max` are kept: of the others, as many as exceed that number come first.
pub(crate) fn excess(
    connection: &Connection,
    bounds: &RetentionBounds,
    cursor: PruneCursor,
    stored: u64,
    tasks_max: usize,
) -> rusqlite::Result<Excess> {
    let snapshot = connection.unchecked_transaction()?;
    let mut walked = match cursor.0 {
        Some(walked) => walked,
        None => PruneProgress {
            finished_at: DateTime::from_timestamp_nanos(i64::MIN),
            task: task_ref(0),
            kept: 0,
            drops_left: drops(&snapshot, bounds)?,
        },
    };
    let too_many =
        bounds.tasks_max.map_or(0, |limit| stored.saturating_sub(limit).saturating_sub(walked.kept));
    let is_old = |finished_at: Timestamp| bounds.ended_since.is_some_and(|since| finished_at < since);
    let mut found = Candidate::default();
    let mut statement = snapshot.prepare_cached(ENDED)?;
    let mut rows = statement.query(params![nanos(walked.finished_at), seq(walked.task), size(LOOKS_MAX)])?;
    let mut is_all = false;
    for looked_at in 0.. {
        if found.count == tasks_max {
            break;
        }
        let Some(row) = rows.next()? else {
            is_all = looked_at < LOOKS_MAX;
            break;
        };
        let finished_at = DateTime::from_timestamp_nanos(row.get(1)?);
        if looked_at as u64 >= too_many && !is_old(finished_at) {
            is_all = true;
            break;
        }
        (walked.task, walked.finished_at) = (task_ref(row.get(0)?), finished_at);
        let is_wanted: bool = row.get(3)?;
        let pending_since: Option<i64> = row.get(4)?;
        let drops_delivery = pending_since.is_some_and(|since| {
            walked.drops_left > 0 || bounds.pending_since.is_some_and(|oldest| since < nanos(oldest))
        });
        if is_wanted || (pending_since.is_some() && !drops_delivery) {
            walked.kept += 1;
            continue;
        }
        if drops_delivery {
            walked.drops_left = walked.drops_left.saturating_sub(1);
        }
        found.add(Prunable { task: walked.task, drops_delivery }, row.get(2)?);
    }
    Ok(Excess { steps: found.steps, cursor: PruneCursor(Some(walked)), is_all })
}

/// Returns how many pending deliveries exceed their bound.
fn drops(connection: &Connection, bounds: &RetentionBounds) -> rusqlite::Result<u64> {
    let Some(limit) = bounds.pending_max else { return Ok(0) };
    let counted_max = i64::try_from(limit.saturating_add(DROPS_MAX)).unwrap_or(i64::MAX);
    let pending: i64 = connection.prepare_cached(PENDING)?.query_one([counted_max], |row| row.get(0))?;
    Ok(pending.unsigned_abs().saturating_sub(limit))
}

/// Found tasks, divided into short steps.
#[derive(Default)]
struct Candidate {
    steps: Vec<PruneStep>,
    count: usize,
    /// Bytes of the last step.
    bytes: i64,
}

impl Candidate {
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
