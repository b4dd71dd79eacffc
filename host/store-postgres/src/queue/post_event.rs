//! Posts an event to a task, and drops those that a run has taken for good.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_postgres::Row;
use wasmill_model::{EventName, NewEvent, PluginName, PostedEvent, TaskState, Timestamp, WakeOn};
use wasmill_store::commit::large;
use wasmill_store::rules::post_event;
use wasmill_store::stored::wake_on;
use wasmill_store::{Claim, IdempotencyKey, PostOutcome, StoreError};

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::queue::floors::lowering_floors;
use crate::queue::idempotency;
use crate::read::rows::{get, host, limit_key, nanos, number, optional, parsed, seq, state, text, uuid};
use crate::writer::batch::{Batch, Operation};

const FIND: &str = "
    SELECT seq, state, plugin, limit_key, wake_on, events_posted,
        (SELECT count(*) FROM posted_event WHERE posted_event.seq = task.seq)
    FROM task WHERE id = $1";
const ADD: &str = "
    WITH numbered AS (UPDATE task SET events_posted = $2 WHERE seq = $1)
    INSERT INTO posted_event (seq, number, name, payload) VALUES ($1, $2, $3, $4)";
const WAKE: &str = lowering_floors!(
    "
    WITH moved AS (UPDATE task SET state = 'available', sort_key = sort_key + least(ready_at, $2) - ready_at,
        ready_at = least(ready_at, $2), wait_ns = NULL
        WHERE seq = $1
        RETURNING plugin, task_group, state, sort_key, seq)",
    "SELECT seq FROM moved"
);
#[cfg(test)]
pub(crate) const EXPANDED: [&str; 1] = [WAKE];
const NEXT: &str = "
    SELECT posted_event.number, posted_event.name, posted_event.payload
    FROM task JOIN posted_event USING (seq)
    WHERE task.seq = $1 AND task.id = $2 AND task.claim_token = $3 AND task.host = $4 AND task.state = 'running'
        AND posted_event.number > $5
    ORDER BY posted_event.number LIMIT 1";
const DROP_TAKEN: &str = "DELETE FROM posted_event WHERE seq = $1 AND number <= $2";
const HAS_ANY: &str = "SELECT EXISTS (SELECT FROM posted_event WHERE seq = $1)";

#[derive(Debug)]
pub(crate) struct PostEvent {
    pub(crate) event: NewEvent,
    pub(crate) request: Option<IdempotencyKey>,
    pub(crate) now: Timestamp,
}

#[async_trait]
impl Operation for PostEvent {
    type Answer = std::result::Result<PostOutcome, StoreError>;
    const DURABLE: bool = true;

    fn cost(&self) -> u64 {
        1 + large(self.event.payload.len())
    }

    async fn run(&self, batch: &mut Batch<'_>) -> Result<Self::Answer> {
        let connection = batch.connection;
        if let Some(request) = &self.request
            && let Some(earlier) = idempotency::find(connection, request, self.now).await?
        {
            return Ok(earlier.map(|earlier| post_event::replayed(&earlier.tasks, self.now)));
        }
        let Some(row) = connection.optional(FIND, &[&uuid(self.event.task)]).await? else {
            return Ok(Ok(PostOutcome::NotFound));
        };
        let task = Found::read(&row)?;
        if let Some(refused) = post_event::refusal(task.state, task.kept) {
            return Ok(Ok(refused));
        }
        let NewEvent { name, payload, .. } = &self.event;
        let name = name.as_ref().map(EventName::as_str);
        let number = task.events_posted + 1;
        connection.execute(ADD, &[&task.seq, &number, &name, &payload.as_bytes()]).await?;
        if post_event::wakes(task.state, task.wake_on) {
            wake(batch, task.seq, &task.plugin, task.limit_key.as_ref(), self.now).await?;
        }
        batch.writer_state.observe_time(nanos(self.now));
        if let Some(request) = &self.request {
            let answer = post_event::kept_answer(self.event.task, self.now);
            idempotency::keep(connection, request, &[answer], self.now).await?;
        }
        Ok(Ok(PostOutcome::Posted { at: self.now, replayed: false }))
    }
}

/// Makes a suspended task of this plugin and limited key available.
pub(crate) async fn wake(
    batch: &mut Batch<'_>,
    seq: i64,
    plugin: &PluginName,
    limit_key: Option<&Arc<str>>,
    now: Timestamp,
) -> Result<()> {
    batch.connection.execute(WAKE, &[&seq, &nanos(now)]).await?;
    batch.record_move(plugin, limit_key, Some(TaskState::Suspended), Some(TaskState::Available));
    batch.effects.wait_for_ready = true;
    Ok(())
}

/// The task that gets an event.
struct Found {
    seq: i64,
    state: TaskState,
    plugin: PluginName,
    limit_key: Option<Arc<str>>,
    wake_on: WakeOn,
    events_posted: i64,
    /// How many events no run has taken for good.
    kept: u64,
}

impl Found {
    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            seq: get(row, 0)?,
            state: state(row, 1)?,
            plugin: parsed(row, 2)?,
            limit_key: limit_key(row, 3)?,
            wake_on: wake_on::read(get(row, 4)?),
            events_posted: get(row, 5)?,
            kept: number(row, 6)?,
        })
    }
}

/// Reads the oldest event that a run has not taken.
pub(crate) async fn next(connection: &Connection, claim: &Claim) -> Result<Option<PostedEvent>> {
    let (task, taken) = (claim.task_ref(), claim.events_taken().cast_signed());
    let found = connection
        .optional(NEXT, &[&seq(task), &uuid(claim.id), &claim.token(), &host(task), &taken])
        .await?;
    let Some(row) = found else { return Ok(None) };
    let payload = text(&row, 2)?.unwrap_or_default();
    Ok(Some(PostedEvent { number: number(&row, 0)?, name: optional(&row, 1)?, payload }))
}

/// Drops the events that a run has taken: what it saves knows of them.
pub(crate) async fn drop_taken(batch: &Batch<'_>, claim: &Claim) -> Result<()> {
    let taken = claim.events_taken().cast_signed();
    if taken > 0 {
        batch.connection.execute(DROP_TAKEN, &[&seq(claim.task_ref()), &taken]).await?;
    }
    Ok(())
}

/// Returns true if a task has events that no run has taken for good.
pub(crate) async fn has_any(batch: &Batch<'_>, seq: i64) -> Result<bool> {
    get(&batch.connection.one(HAS_ANY, &[&seq]).await?, 0)
}
