//! Fails a task whose row cannot be decoded, so that it blocks no other. Claim, dependencies and recovery
//! call it.

use std::sync::Arc;

use rusqlite::{OptionalExtension, params};
use wasmill_model::{Cause, PluginName, TaskId, TaskState, Timestamp};
use wasmill_store::live::LiveChange;
use wasmill_store::{EventKind, EventPayload};

use crate::delivery::deliveries;
use crate::dependency::record;
use crate::queue::save::drop_leftovers;
use crate::read::rows::{nanos, optional};
use crate::writer::batch::Batch;
use crate::writer::key_usage;

pub(crate) const FIND: &str =
    "SELECT id, plugin, attempt, webhook_on IS NOT NULL, limit_key FROM task WHERE seq = ?1 AND state = ?2";
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
        let limit_key = row.get::<_, Option<Arc<str>>>(4).ok().flatten();
        Ok((TaskId::from_bytes(row.get(0)?), plugin, row.get(2).unwrap_or(0), row.get(3)?, limit_key))
    });
    let Some(found) = found.optional()? else { return Ok(()) };
    let (task, plugin, attempt, has_webhook, limit_key): (_, _, u32, bool, _) = found;
    drop(find);
    tracing::error!(%task, %error, "failed a task: its row in the database is damaged");
    drop_leftovers(batch, seq)?;
    record::ended(batch, seq, TaskState::Failed, now)?;
    if has_webhook {
        deliveries::begin(batch, seq, TaskState::Failed, now)?;
    }
    key_usage::ended(batch, seq, limit_key.as_ref())?;
    batch.effects.live_changes.push(LiveChange::Ended(task));
    if let Some(plugin) = plugin {
        batch.record_move(&plugin, limit_key.as_ref(), Some(was), Some(TaskState::Failed));
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
