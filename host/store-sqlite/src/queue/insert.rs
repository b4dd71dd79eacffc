//! Stores new tasks, all of a request or none.

use std::collections::HashMap;
use std::time::Duration;

use chrono::DateTime;
use rusqlite::ErrorCode::ConstraintViolation;
use rusqlite::{CachedStatement, OptionalExtension, ffi, params};
use wasmill_model::{Group, NewTask, ScheduleName, TaskId, TaskState, Timestamp, Unique};
use wasmill_store::commit::WriterState;
use wasmill_store::rules::submit::{self, SubmitLimits, files_bytes, input_bytes};
use wasmill_store::{EventKind, EventPayload, IdempotencyKey, StoreError, Submitted, SubmittedTask};

use crate::content::task_files;
use crate::delivery::deliveries;
use crate::dependency::record::{self, DependencyTarget};
use crate::queue::idempotency;
use crate::read::rows::{millis, nanos, size, tags_text};
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
        let cost =
            |task: &NewTask| 1 + large(task.input.as_ref().map_or(0, String::len)) + task.files.len() as u64;
        self.tasks.iter().map(cost).sum()
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
        // Once for all: to look it up costs as much as a fortieth of a task.
        let mut statement = batch.connection.prepare_cached(TASK)?;
        for (index, task) in self.tasks.iter().enumerate() {
            match self.take(batch, &mut statement, &mut limits, index, task, &held)? {
                Ok(taken) => {
                    if taken.id != task.id {
                        held.insert(task.id, taken.id);
                    }
                    tasks.push(taken);
                }
                Err(refusal) => {
                    undo(batch, before)?;
                    batch.effects.events.truncate(events_before);
                    return Ok(Err(refusal));
                }
            }
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
    /// Stores a task, or returns the holder of its key, or the reason for a refusal.
    fn take<'a>(
        &self,
        batch: &mut Batch<'_>,
        statement: &mut CachedStatement<'_>,
        limits: &mut SubmitLimits<'a>,
        index: usize,
        task: &'a NewTask,
        held: &HashMap<TaskId, TaskId>,
    ) -> rusqlite::Result<Result<SubmittedTask, StoreError>> {
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
        match insert(batch, statement, task, &awaited) {
            Err(error) if is_duplicate(&error) => Ok(Err(StoreError::Duplicate { id: task.id })),
            Err(error) => Err(error),
            Ok(()) => Ok(Ok(SubmittedTask { id: task.id, created_at: task.created_at, holder: None })),
        }
    }
}

pub(crate) const UNDO: &str = "DELETE FROM task WHERE seq >= ?1";
pub(crate) const HOLDER: &str = "
    SELECT id, created_at, started_at FROM task INDEXED BY task_unfinished_key
    WHERE unique_key = ?1 AND key_space = ?2 AND finished_at IS NULL";
pub(crate) const TASK: &str = "
    INSERT INTO task (seq, id, plugin, state, created_at, ready_at, sort_key, wait_ns, attempts_max,
        timeout_ms, input_bytes, backoff_first_ms, backoff_factor, backoff_max_ms, backoff_jitter, priority,
        task_group, unique_key, tags, schedule, retry_of, pending_dependencies, webhook_on, trace, submitted_by,
        key_space, limit_key, files_in)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21,
        ?22, ?23, ?24, ?25, ?26, ?27, ?28)";
pub(crate) const INPUT: &str = "INSERT INTO input (seq, body) VALUES (?1, ?2)";
pub(crate) const TAG: &str = "INSERT OR IGNORE INTO tag (name, seq) VALUES (?1, ?2)";

/// Takes back what this request has stored.
fn undo(batch: &mut Batch<'_>, before: WriterState) -> rusqlite::Result<()> {
    batch.connection.prepare_cached(UNDO)?.execute([before.seq_next])?;
    // An end may be recorded for one of them; its resolution finds no dependents and drops it.
    batch.writer_state =
        WriterState { has_unresolved_ends: batch.writer_state.has_unresolved_ends, ..before };
    Ok(())
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

fn insert(
    batch: &mut Batch<'_>,
    statement: &mut CachedStatement<'_>,
    task: &NewTask,
    awaited: &[DependencyTarget],
) -> rusqlite::Result<()> {
    let seq = batch.writer_state.seq_next;
    let (created_at, ready_at) = (nanos(task.created_at), nanos(task.ready_at()));
    let state = task.first_state();
    statement.execute(params![
        seq,
        task.id.as_bytes(),
        task.plugin.as_str(),
        state.as_str(),
        created_at,
        ready_at,
        ready_at.saturating_sub(task.priority.head_start_nanos()),
        (task.is_delayed && ready_at > created_at).then(|| ready_at - created_at),
        task.attempts_max,
        millis(task.timeout),
        task.input.as_ref().map(|input| size(input.len())),
        task.backoff.map(|backoff| millis(backoff.first)),
        task.backoff.map(|backoff| backoff.factor),
        task.backoff.map(|backoff| millis(backoff.max)),
        task.backoff.map(|backoff| backoff.jitter),
        task.priority.get(),
        task.group.as_ref().map(Group::as_str),
        task.unique.as_ref().map(|unique| unique.key.as_str()),
        tags_text(&task.tags),
        task.schedule.as_ref().map(ScheduleName::as_str),
        task.retry_of.as_ref().map(TaskId::as_bytes),
        (!awaited.is_empty()).then_some(size(awaited.len())),
        task.webhook.as_ref().map(deliveries::bits),
        task.trace.as_ref().map(ToString::to_string),
        task.submitted_by,
        task.unique.as_ref().map_or("", |unique| unique.space.as_str()),
        task.limited_by.as_ref().map(|key| &*key.name),
        (!task.files.is_empty()).then(|| files_bytes(&task.files).cast_signed()),
    ])?;
    add_beside(batch, seq, task)?;
    if state == TaskState::Blocked {
        record::add(batch, seq, task, awaited)?;
    }
    batch.writer_state.seq_next += 1;
    batch.writer_state.observe_time(created_at);
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
    Ok(())
}

/// Stores what a task has beside its row.
fn add_beside(batch: &mut Batch<'_>, seq: i64, task: &NewTask) -> rusqlite::Result<()> {
    if let Some(input) = &task.input {
        batch.connection.prepare_cached(INPUT)?.execute(params![seq, input])?;
    }
    task_files::add(batch, seq, &task.files)?;
    for tag in &task.tags {
        batch.connection.prepare_cached(TAG)?.execute(params![tag.as_str(), seq])?;
    }
    if let Some(webhook) = &task.webhook {
        deliveries::add(batch, seq, webhook)?;
    }
    Ok(())
}

/// Returns true if the id exists; that error ends the statement, not the transaction.
fn is_duplicate(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ConstraintViolation)
        && error.sqlite_extended_error_code() == Some(ffi::SQLITE_CONSTRAINT_UNIQUE)
}
