//! Removes tasks that ended long ago, a few at a time, and finds those that are too many.

use rusqlite::{Connection, OptionalExtension, params};

use super::batch::{Batch, Operation};
use super::rows::{parsed, size, state};
use crate::Mark;

/// The most tasks that one step removes: a few milliseconds that other writes wait for.
const ROWS_MAX: usize = 200;

/// Bytes after which a step ends early, as large results take longer to remove.
const BYTES_MAX: i64 = 4 << 20;

pub(super) const OLDEST: &str = "
    SELECT task.seq, coalesce(octet_length(result), 0) + coalesce(input_bytes, 0)
        + coalesce(octet_length(log_lines.body), 0)
    FROM task INDEXED BY task_finished LEFT JOIN log_lines ON log_lines.seq = task.seq
    WHERE finished_at IS NOT NULL AND (finished_at, task.seq) <= (?1, ?2)
    ORDER BY finished_at, task.seq LIMIT ?3";
/// The same without those whose result a task still waits to be handed.
pub(super) const OLDEST_FREE: &str = "
    SELECT task.seq, coalesce(octet_length(result), 0) + coalesce(input_bytes, 0)
        + coalesce(octet_length(log_lines.body), 0)
    FROM task INDEXED BY task_finished LEFT JOIN log_lines ON log_lines.seq = task.seq
    WHERE finished_at IS NOT NULL AND (finished_at, task.seq) <= (?1, ?2)
        AND NOT EXISTS (SELECT 1 FROM dependency INDEXED BY dependency_on WHERE on_seq = task.seq)
    ORDER BY finished_at, task.seq LIMIT ?3";
pub(super) const DROP: &str = "DELETE FROM task WHERE seq = ?1 RETURNING plugin, state";
pub(super) const SURPLUS: &str = "
    SELECT finished_at, seq FROM task INDEXED BY task_finished WHERE finished_at IS NOT NULL
    ORDER BY finished_at DESC, seq DESC LIMIT 1 OFFSET ?1";

#[derive(Debug)]
pub(super) struct Prune {
    pub(super) until: Mark,
}

impl Operation for Prune {
    type Answer = u64;
    const DURABLE: bool = false;

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<u64> {
        let Mark { finished_at, seq } = self.until;
        let sql = if batch.line.depended_on { OLDEST_FREE } else { OLDEST };
        let mut oldest = batch.connection.prepare_cached(sql)?;
        let mut rows = oldest.query(params![finished_at, seq, size(ROWS_MAX)])?;
        let (mut pruned, mut bytes) = (Vec::new(), 0);
        while bytes < BYTES_MAX
            && let Some(row) = rows.next()?
        {
            pruned.push(row.get::<_, i64>(0)?);
            bytes += row.get::<_, i64>(1)?;
        }
        drop(rows);
        let mut drop = batch.connection.prepare_cached(DROP)?;
        for seq in &pruned {
            let dropped = drop.query_row([seq], |row| Ok((parsed(row, 0)?, state(row, 1)?))).optional()?;
            if let Some((plugin, was)) = dropped {
                batch.moves.moved(&plugin, Some(was), None);
            }
        }
        Ok(pruned.len() as u64)
    }
}

/// Finds the newest ended task that is one too many. Looks at the index alone.
pub(super) fn surplus(connection: &Connection, keep_max: u64) -> rusqlite::Result<Option<Mark>> {
    let keep_max = i64::try_from(keep_max).unwrap_or(i64::MAX);
    let mark = |row: &rusqlite::Row<'_>| Ok(Mark { finished_at: row.get(0)?, seq: row.get(1)? });
    connection.prepare_cached(SURPLUS)?.query_row([keep_max], mark).optional()
}
