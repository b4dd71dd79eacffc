//! Fails a task whose row cannot be decoded, so that it blocks no other. Claim, dependencies and recovery
//! call it.

use rusqlite::{OptionalExtension, params};
use wasmill_model::{Cause, PluginName, TaskId, TaskState, Timestamp};
use wasmill_store::live::LiveChange;
use wasmill_store::{EventKind, EventPayload};

use crate::delivery::deliveries;
use crate::dependency::record;
use crate::queue::save::drop_checkpoint;
use crate::read::rows::{nanos, optional};
use crate::writer::batch::Batch;

pub(crate) const FIND: &str =
    "SELECT id, plugin, attempt, webhook_on IS NOT NULL FROM task WHERE seq = ?1 AND state = ?2";
/// Clears the columns that may be damaged; the failure says why.
pub(crate) const FAIL: &str = "
    UPDATE task SET state = ?2, finished_at = ?3, cause = ?4, message = ?5, trace = NULL, usage = NULL,
        tags = iif(json_valid(tags), tags, NULL)
    WHERE seq = ?1 AND finished_at IS NULL";

/// Fails a task that counts as being in this state, with this error.
pub(crate) fn fail(
    batch: &mut Batch<'_>,
    seq: i64,
    was: TaskState,
    error: &rusqlite::Error,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let message = format!("its row in the database is damaged: {error}");
    let cause = Cause::HostFault;
    let failed = params![seq, TaskState::Failed.as_str(), nanos(now), cause.to_string(), message];
    if batch.connection.prepare_cached(FAIL)?.execute(failed)? == 0 {
        return Ok(());
    }
    let mut find = batch.connection.prepare_cached(FIND)?;
    let found = find.query_row(params![seq, TaskState::Failed.as_str()], |row| {
        let plugin = optional::<PluginName>(row, 1).ok().flatten();
        Ok((TaskId::from_bytes(row.get(0)?), plugin, row.get(2).unwrap_or(0), row.get(3)?))
    });
    let Some((task, plugin, attempt, has_webhook)): Option<(_, _, u32, bool)> = found.optional()? else {
        return Ok(());
    };
    drop(find);
    tracing::error!(%task, %error, "failed a task: its row in the database is damaged");
    drop_checkpoint(batch, seq)?;
    record::ended(batch, seq, TaskState::Failed, now)?;
    if has_webhook {
        deliveries::begin(batch, seq, TaskState::Failed, now)?;
    }
    batch.effects.live_changes.push(LiveChange::Ended(task));
    if let Some(plugin) = plugin {
        batch.record_move(&plugin, Some(was), Some(TaskState::Failed));
        batch.effects.events.push(EventPayload {
            task,
            plugin,
            attempt,
            time: now,
            kind: EventKind::Failed(cause),
        });
    }
    Ok(())
}
