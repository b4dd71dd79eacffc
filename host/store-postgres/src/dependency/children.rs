//! Children of a task: what their ends mean for it, what its end means for them, and how it reads them.

use std::time::Duration;

use tokio_postgres::Row;
use wasmill_model::{
    CHILDREN_READ_BYTES_MAX, CHILDREN_READ_MAX, Cause, Child, TaskId, TaskState, Timestamp, WakeOn,
};
use wasmill_store::rules::children::{self as rules, ChildrenRead};
use wasmill_store::stored::wake_on;
use wasmill_store::{Claim, StopRequest};

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::queue::cancel::{Cancelling, SET_CAUSE, cancel, cancellable, request_stop};
use crate::queue::post_event;
use crate::read::rows::{
    get, host, limit_key, optional_state, parsed, seq, size, state, task_id, text, uuid,
};
use crate::writer::batch::Batch;
use crate::writer::quarantine;

const COUNT_ENDED: &str = "
    UPDATE task SET children_ended = children_ended + 1 WHERE seq = $1
    RETURNING state, wake_on, children_ended >= children, plugin, limit_key";
const HAVE_ENDED: &str = "
    SELECT ($2 AND children_ended > children_seen) OR ($3 AND children_ended >= children) FROM task WHERE seq = $1";
/// Children that are not asked to stop yet; those that are run within the slots.
const UNFINISHED: &str = "
    SELECT seq, state, claim_token, id, plugin, attempt, trace, created_at, started_at, webhook_on IS NOT NULL,
        limit_key, host
    FROM task
    WHERE parent = $1 AND finished_at IS NULL AND (state <> 'running' OR stop_requested_at IS NULL)
    ORDER BY seq LIMIT $2";
/// The bytes are those of the children up to each, so that no more are sent than one look returns.
const CHILDREN: &str = "
    SELECT name, id, outcome, is_there, CASE WHEN outcome = 'failed' THEN message ELSE result END FROM (
        SELECT d.name, d.id, d.outcome, d.position, other.seq IS NOT NULL AS is_there, other.message, other.result,
            sum(coalesce(length(CASE WHEN d.outcome = 'failed' THEN other.message ELSE other.result END), 0))
                OVER (ORDER BY d.position) AS bytes,
            row_number() OVER (ORDER BY d.position) AS place
        FROM (
            SELECT dependency.* FROM task JOIN dependency ON dependency.seq = task.seq
            WHERE task.seq = $1 AND task.id = $2 AND task.claim_token = $3 AND task.host = $4
                AND task.state = 'running' AND dependency.name IS NOT NULL AND dependency.position >= $5
            ORDER BY dependency.position LIMIT $6) AS d
        LEFT JOIN task AS other ON other.seq = d.on_seq AND other.id = d.id) AS sized
    WHERE bytes <= $7::bigint OR place = 1 ORDER BY position";

/// Counts the end of a child, and resumes its parent if that waits for it.
pub(crate) async fn ended(batch: &mut Batch<'_>, parent: i64, at: Timestamp) -> Result<()> {
    let Some(row) = batch.connection.optional(COUNT_ENDED, &[&parent]).await? else { return Ok(()) };
    if rules::wakes(state(&row, 0)?, wake_on::read(get(&row, 1)?), get(&row, 2)?) {
        let (plugin, limit_key) = (parsed(&row, 3)?, limit_key(&row, 4)?);
        post_event::wake(batch, parent, &plugin, limit_key.as_ref(), at).await?;
    }
    Ok(())
}

/// Returns true if the children of a running task that is about to be suspended have done what it waits for.
pub(crate) async fn have_ended(batch: &Batch<'_>, seq: i64, wake_on: WakeOn) -> Result<bool> {
    let row = batch.connection.one(HAVE_ENDED, &[&seq, &wake_on.any_child, &wake_on.all_children]).await?;
    get(&row, 0)
}

/// Cancels up to this many unfinished children of a task that has ended in this state; returns how many.
pub(crate) async fn cancel_some(
    batch: &mut Batch<'_>,
    parent: TaskId,
    end: TaskState,
    at: Timestamp,
    limit: usize,
) -> Result<usize> {
    let rows = batch.connection.query(UNFINISHED, &[&uuid(parent), &size(limit)]).await?;
    let message = rules::cancel_message(parent, end);
    for row in &rows {
        match cancellable(row) {
            Ok((seq, was, of, has_webhook)) => {
                let cause = Cause::Parent.to_string();
                batch.connection.execute(SET_CAUSE, &[&seq, &cause, &message.as_bytes()]).await?;
                if was == TaskState::Running {
                    request_stop(batch, seq, false, Duration::ZERO, at).await?;
                    // Another host is told by the request.
                    if get::<Option<i64>>(row, 11)? == Some(batch.host) {
                        let stop = StopRequest { task: of.task, token: of.token, kill_at: at };
                        batch.effects.stops.push(stop);
                    }
                } else {
                    cancel(batch, Cancelling { seq, of, was, has_webhook, run: None }, at).await?;
                }
            }
            // It would be the first one of every batch.
            Err(error) if error.is_of_value() => {
                let was = state(row, 1).unwrap_or(TaskState::Available);
                quarantine::fail(batch, get(row, 0)?, was, &error, at).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(rows.len())
}

/// Reads the children of a claimed task from this number on.
pub(crate) async fn read(connection: &Connection, claim: &Claim, start: u64) -> Result<Vec<Child>> {
    let task = claim.task_ref();
    let rows = connection
        .query(
            CHILDREN,
            &[
                &seq(task),
                &uuid(claim.id),
                &claim.token(),
                &host(task),
                &rules::position(start),
                &size(CHILDREN_READ_MAX),
                &CHILDREN_READ_BYTES_MAX.cast_signed(),
            ],
        )
        .await?;
    let mut read = ChildrenRead::default();
    for row in &rows {
        if !read.add(child(row)?) {
            break;
        }
    }
    Ok(read.into_children())
}

fn child(row: &Row) -> Result<Child> {
    let is_there: bool = get(row, 3)?;
    let outcome =
        optional_state(row, 2)?.map(|outcome| if is_there { outcome } else { TaskState::Cancelled });
    let has_text = matches!(outcome, Some(TaskState::Completed | TaskState::Failed));
    let text = if has_text { text(row, 4)? } else { None };
    Ok(Child { name: get(row, 0)?, id: task_id(row, 1)?, outcome, text: text.unwrap_or_default() })
}
