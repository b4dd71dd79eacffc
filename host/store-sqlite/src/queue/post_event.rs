//! Posts an event to a task, and drops those that a run has taken for good.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};
use wasmill_model::{EventName, Group, NewEvent, PluginName, PostedEvent, TaskState, Timestamp, WakeOn};
use wasmill_store::commit::large;
use wasmill_store::rules::post_event;
use wasmill_store::stored::wake_on;
use wasmill_store::{Claim, IdempotencyKey, PostOutcome, StoreError};

use crate::queue::idempotency;
use crate::read::rows::{group, nanos, optional, parsed, seq, state};
use crate::writer::batch::{Batch, Operation};

pub(crate) const FIND: &str = "
    SELECT seq, state, plugin, task_group, limit_key, wake_on, events_posted FROM task WHERE id = ?1";
pub(crate) const KEPT: &str = "SELECT count(*) FROM posted_event WHERE seq = ?1";
pub(crate) const ADD: &str = "INSERT INTO posted_event (seq, number, name, payload) VALUES (?1, ?2, ?3, ?4)";
pub(crate) const NUMBER: &str = "UPDATE task SET events_posted = ?2 WHERE seq = ?1";
pub(crate) const WAKE: &str = "
    UPDATE task SET state = 'available', sort_key = sort_key + min(ready_at, ?2) - ready_at,
        ready_at = min(ready_at, ?2), wait_ns = NULL
    WHERE seq = ?1";
pub(crate) const NEXT: &str = "
    SELECT posted_event.number, posted_event.name, posted_event.payload
    FROM task JOIN posted_event USING (seq)
    WHERE task.seq = ?1 AND task.id = ?2 AND task.claim_token = ?3 AND task.state = 'running'
        AND posted_event.number > ?4
    ORDER BY posted_event.number LIMIT 1";
pub(crate) const DROP_TAKEN: &str = "DELETE FROM posted_event WHERE seq = ?1 AND number <= ?2";
pub(crate) const DROP_ALL: &str = "DELETE FROM posted_event WHERE seq = ?1";
pub(crate) const HAS_ANY: &str = "SELECT EXISTS (SELECT 1 FROM posted_event WHERE seq = ?1)";

#[derive(Debug)]
pub(crate) struct PostEvent {
    pub(crate) event: NewEvent,
    pub(crate) request: Option<IdempotencyKey>,
    pub(crate) now: Timestamp,
}

impl Operation for PostEvent {
    type Answer = Result<PostOutcome, StoreError>;
    const DURABLE: bool = true;

    fn cost(&self) -> u64 {
        1 + large(self.event.payload.len())
    }

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Self::Answer> {
        let connection = batch.connection;
        if let Some(request) = &self.request
            && let Some(earlier) = idempotency::find(connection, request, self.now)?
        {
            return Ok(earlier.map(|earlier| post_event::replayed(&earlier.tasks, self.now)));
        }
        let mut find = connection.prepare_cached(FIND)?;
        let Some(task) = find.query_row([self.event.task.as_bytes()], Found::read).optional()? else {
            return Ok(Ok(PostOutcome::NotFound));
        };
        let kept: i64 = connection.prepare_cached(KEPT)?.query_one([task.seq], |row| row.get(0))?;
        if let Some(refused) = post_event::refusal(task.state, kept.unsigned_abs()) {
            return Ok(Ok(refused));
        }
        let number = task.events_posted + 1;
        let NewEvent { name, payload, .. } = &self.event;
        let name = name.as_ref().map(EventName::as_str);
        connection.prepare_cached(ADD)?.execute(params![task.seq, number, name, payload])?;
        connection.prepare_cached(NUMBER)?.execute([task.seq, number])?;
        batch.writer_state.has_leftovers = true;
        if post_event::wakes(task.state, task.wake_on) {
            let Found { seq, plugin, group, limit_key, .. } = task;
            wake(batch, &SuspendedTask { seq, plugin, group, limit_key }, self.now)?;
        }
        batch.writer_state.observe_time(nanos(self.now));
        if let Some(request) = &self.request {
            let answer = post_event::kept_answer(self.event.task, self.now);
            idempotency::keep(connection, request, &[answer], self.now)?;
        }
        Ok(Ok(PostOutcome::Posted { at: self.now, replayed: false }))
    }
}

/// A suspended task that is to be resumed.
pub(crate) struct SuspendedTask {
    pub(crate) seq: i64,
    pub(crate) plugin: PluginName,
    pub(crate) group: Option<Group>,
    pub(crate) limit_key: Option<Arc<str>>,
}

/// Makes a suspended task available.
pub(crate) fn wake(batch: &mut Batch<'_>, task: &SuspendedTask, now: Timestamp) -> rusqlite::Result<()> {
    batch.connection.prepare_cached(WAKE)?.execute([task.seq, nanos(now)])?;
    if let Some(group) = &task.group {
        batch.fair_queue.add(&task.plugin, group);
    }
    let limit_key = task.limit_key.as_ref();
    batch.record_move(&task.plugin, limit_key, Some(TaskState::Suspended), Some(TaskState::Available));
    batch.effects.wait_for_ready = true;
    Ok(())
}

/// The task that gets an event.
struct Found {
    seq: i64,
    state: TaskState,
    plugin: PluginName,
    group: Option<Group>,
    limit_key: Option<Arc<str>>,
    wake_on: WakeOn,
    events_posted: i64,
}

impl Found {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get(0)?,
            state: state(row, 1)?,
            plugin: parsed(row, 2)?,
            group: group(row, 3)?,
            limit_key: row.get(4)?,
            wake_on: wake_on::read(row.get(5)?),
            events_posted: row.get(6)?,
        })
    }
}

/// Reads the oldest event that a run has not taken.
pub(crate) fn next(connection: &Connection, claim: &Claim) -> rusqlite::Result<Option<PostedEvent>> {
    let mut next = connection.prepare_cached(NEXT)?;
    let taken = claim.events_taken().cast_signed();
    let values = params![seq(claim.task_ref()), claim.id.as_bytes(), claim.token(), taken];
    let event = next.query_row(values, |row| {
        let number = row.get::<_, i64>(0)?.unsigned_abs();
        Ok(PostedEvent { number, name: optional(row, 1)?, payload: row.get(2)? })
    });
    event.optional()
}

/// Drops the events that a run has taken: what it saves knows of them.
pub(crate) fn drop_taken(batch: &Batch<'_>, claim: &Claim) -> rusqlite::Result<()> {
    let taken = claim.events_taken().cast_signed();
    if taken > 0 {
        batch.connection.prepare_cached(DROP_TAKEN)?.execute([seq(claim.task_ref()), taken])?;
    }
    Ok(())
}

/// Returns true if a task has events that no run has taken for good.
pub(crate) fn has_any(batch: &Batch<'_>, seq: i64) -> rusqlite::Result<bool> {
    batch.connection.prepare_cached(HAS_ANY)?.query_one([seq], |row| row.get(0))
}
