//! Fails a task whose row cannot be decoded, so that it blocks no other.

use wasmill_model::{Cause, PluginName, TaskState, Timestamp};
use wasmill_store::live::LiveChange;
use wasmill_store::{EventKind, EventPayload};

use crate::connection::fault::{Error, Result};
use crate::delivery::deliveries;
use crate::dependency::record;
use crate::queue::save::drop_checkpoint;
use crate::read::rows::{get, limit_key, nanos, parsed, task_id};
use crate::writer::batch::Batch;
use crate::writer::key_usage;

/// Clears the columns that may be damaged; the failure says why.
const FAIL: &str = "
    UPDATE task SET state = 'failed', finished_at = $2, cause = $3, message = $4, trace = NULL, usage = NULL
    WHERE seq = $1 AND finished_at IS NULL
    RETURNING id, plugin, attempt, webhook_on IS NOT NULL, limit_key";

/// Fails a task that counts as being in this state, with this error.
pub(crate) async fn fail(
    batch: &mut Batch<'_>,
    seq: i64,
    was: TaskState,
    error: &Error,
    now: Timestamp,
) -> Result<()> {
    let message = format!("its row in the database is damaged: {error}");
    let cause = Cause::HostFault;
    let failed = batch
        .connection
        .optional(FAIL, &[&seq, &nanos(now), &cause.to_string(), &message.as_bytes()])
        .await?;
    let Some(row) = failed else { return Ok(()) };
    let task = task_id(&row, 0)?;
    let attempt = u32::try_from(get::<i64>(&row, 2)?).unwrap_or_default();
    tracing::error!(%task, %error, "failed a task: its row in the database is damaged");
    drop_checkpoint(batch, seq).await?;
    record::ended(batch, seq, TaskState::Failed, now).await?;
    if get(&row, 3)? {
        deliveries::begin(batch, seq, TaskState::Failed, now).await?;
    }
    let limit_key = limit_key(&row, 4)?;
    key_usage::ended(batch, seq, limit_key.as_ref()).await?;
    batch.effects.live_changes.push(LiveChange::Ended(task));
    if let Ok(plugin) = parsed::<PluginName>(&row, 1) {
        batch.record_move(&plugin, limit_key.as_ref(), Some(was), Some(TaskState::Failed));
        let kind = EventKind::Failed(cause);
        batch.effects.events.push(EventPayload { task, plugin, attempt, time: now, kind });
    }
    Ok(())
}
