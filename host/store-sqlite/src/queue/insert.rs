//! Stores new tasks, all of a request or none.

use std::collections::HashMap;
use std::time::Duration;

use chrono::DateTime;
use rusqlite::OptionalExtension;
use wasmill_model::{NewTask, TaskId, TaskState, Timestamp, Unique};
use wasmill_store::commit::WriterState;
use wasmill_store::rules::submit::{self, SubmitLimits, input_bytes};
use wasmill_store::{EventKind, EventPayload, IdempotencyKey, StoreError, Submitted, SubmittedTask};

use crate::content::task_files;
use crate::dependency::record;
use crate::queue::idempotency;
use crate::queue::insert_rows::{NewRow, NewRows};
use crate::read::rows::nanos;
use crate::writer::batch::{Batch, Operation, large};

#[derive(Debug)]
pub(crate) struct Insert {
    pub(crate) tasks: Vec<NewTask>,
    pub(crate) waiting_max: u64,
    /// The idempotency key of the request and the current time.
    pub(crate) request: Option<(IdempotencyKey, Timestamp)>,
}

impl Operation for Insert {
    type Answer = Result<Submitted, StoreError>;
    const DURABLE: bool = true;

    fn cost(&self) -> u64 {
        Self::cost_of(&self.tasks)
    }

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Self::Answer> {
        if let Some((request, now)) = &self.request
            && let Some(answered) = idempotency::find(batch.connection, request, *now)?
        {
            return Ok(answered);
        }
        let waiting_max = self.waiting_max;
        // Tasks whose unique key is held would not be stored.
        let new = self.tasks.iter().filter(|task| task.unique.is_none()).count() as u64;
        if batch.writer_state.waiting.saturating_add(new) > waiting_max {
            return Ok(Err(StoreError::Full { waiting_max }));
        }
        let (before, events_before) = (batch.writer_state, batch.effects.events.len());
        let mut tasks = Vec::with_capacity(self.tasks.len());
        // A dependency on one of these becomes a dependency on the holder of its key.
        let mut held = HashMap::new();
        let mut limits = SubmitLimits::of(&self.tasks);
        let mut rows = NewRows::new(batch.connection);
        for (index, task) in self.tasks.iter().enumerate() {
            match self.take(batch, &mut rows, &mut limits, index, task, &held)? {
                Ok(taken) => {
                    if taken.id != task.id {
                        held.insert(task.id, taken.id);
                    }
                    tasks.push(taken);
                }
                Err(refusal) => return refuse(batch, before, events_before, refusal),
            }
        }
        if let Err(refusal) = rows.flush(batch)? {
            return refuse(batch, before, events_before, refusal);
        }
        // After the loop, not within: a refusal takes back the earlier tasks.
        for (task, taken) in self.tasks.iter().zip(&tasks) {
            if taken.holder.is_none() {
                let limit_key = task.limited_by.as_ref().map(|key| &key.name);
                batch.effects.record_move(&task.plugin, limit_key, None, Some(task.first_state()));
                if let Some(key) = limit_key {
                    batch.effects.key_delta.record_bytes(key, input_bytes(task).cast_signed());
                }
            }
        }
        if let Some((request, now)) = &self.request {
            idempotency::keep(batch.connection, request, &tasks, *now)?;
        }
        Ok(Ok(Submitted { tasks, replayed: false }))
    }
}

impl Insert {
    /// Returns the cost of these tasks.
    pub(crate) fn cost_of(tasks: &[NewTask]) -> u64 {
        let cost =
            |task: &NewTask| 1 + large(task.input.as_ref().map_or(0, String::len)) + task.files.len() as u64;
        tasks.iter().map(cost).sum()
    }

    /// Stores a task, or returns the holder of its key, or the reason for a refusal.
    fn take<'a>(
        &self,
        batch: &mut Batch<'_>,
        rows: &mut NewRows<'_, 'a>,
        limits: &mut SubmitLimits<'a>,
        index: usize,
        task: &'a NewTask,
        held: &HashMap<TaskId, TaskId>,
    ) -> rusqlite::Result<Result<SubmittedTask, StoreError>> {
        // All three are looked for beside what earlier tasks of the request have.
        if (task.unique.is_some() || task.dependencies.is_some() || !task.files.is_empty())
            && let Err(refusal) = rows.flush(batch)?
        {
            return Ok(Err(refusal));
        }
        if let Some(unique) = &task.unique
            && let Some(holder) = holder(batch, unique, task.created_at)?
        {
            return Ok(submit::answer_held_key(unique, holder, &self.tasks[..index]));
        }
        if batch.writer_state.waiting >= self.waiting_max {
            return Ok(Err(StoreError::Full { waiting_max: self.waiting_max }));
        }
        let mut awaited = Vec::new();
        if let Some(dependencies) = &task.dependencies {
            match record::find(batch, index, dependencies, held)? {
                Ok(found) => awaited = found,
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        if let Err(full) = limits.count(index, task, batch) {
            return Ok(Err(full));
        }
        if !task_files::exist(batch, &task.files)? {
            return Ok(Err(submit::files_gone()));
        }
        let seq = assign(batch, task);
        let pushed = rows.push(batch, NewRow { seq, task, awaited })?;
        Ok(pushed.map(|()| SubmittedTask { id: task.id, created_at: task.created_at, holder: None }))
    }
}

pub(crate) const UNDO: &str = "DELETE FROM task WHERE seq >= ?1";
pub(crate) const HOLDER: &str = "
    SELECT id, created_at, started_at FROM task INDEXED BY task_unfinished_key
    WHERE unique_key = ?1 AND key_space = ?2 AND finished_at IS NULL";

/// Takes back what this request has stored, and refuses it.
fn refuse(
    batch: &mut Batch<'_>,
    before: WriterState,
    events_before: usize,
    refusal: StoreError,
) -> rusqlite::Result<Result<Submitted, StoreError>> {
    batch.connection.prepare_cached(UNDO)?.execute([before.seq_next])?;
    // An end may be recorded for one of them; its resolution finds no dependents and drops it.
    batch.writer_state =
        WriterState { has_unresolved_ends: batch.writer_state.has_unresolved_ends, ..before };
    batch.effects.events.truncate(events_before);
    Ok(Err(refusal))
}

/// Returns the unfinished task that holds this key.
fn holder(batch: &Batch<'_>, unique: &Unique, now: Timestamp) -> rusqlite::Result<Option<SubmittedTask>> {
    let mut statement = batch.connection.prepare_cached(HOLDER)?;
    let holder = statement.query_row([unique.key.as_str(), unique.space.as_str()], |row| {
        let started_at = row.get::<_, Option<i64>>(2)?.map(DateTime::from_timestamp_nanos);
        let ran = started_at.and_then(|started_at| (now - started_at).to_std().ok());
        Ok(SubmittedTask {
            id: TaskId::from_bytes(row.get(0)?),
            created_at: DateTime::from_timestamp_nanos(row.get(1)?),
            holder: Some(ran.unwrap_or(Duration::ZERO)),
        })
    });
    holder.optional()
}

/// Assigns the next row id to a task, and counts it.
fn assign(batch: &mut Batch<'_>, task: &NewTask) -> i64 {
    let seq = batch.writer_state.seq_next;
    let state = task.first_state();
    batch.writer_state.seq_next += 1;
    batch.writer_state.observe_time(nanos(task.created_at));
    if let Some(group) = &task.group
        && state == TaskState::Available
    {
        batch.fair_queue.add(&task.plugin, group);
    }
    batch.writer_state.record_move(None, Some(state));
    batch.effects.events.push(EventPayload {
        task: task.id,
        plugin: task.plugin.clone(),
        attempt: 0,
        time: task.created_at,
        kind: EventKind::Created,
    });
    seq
}
