//! Stores new tasks, all of a request or none.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use wasmill_model::{NewTask, TaskId, TaskState, Timestamp, Unique};
use wasmill_store::commit::{WriterState, large};
use wasmill_store::rules::submit::{self, SubmitLimits, input_bytes};
use wasmill_store::{EventKind, EventPayload, IdempotencyKey, StoreError, Submitted, SubmittedTask};

use crate::connection::fault::Result;
use crate::content::task_files;
use crate::delivery::deliveries;
use crate::dependency::record::{self, DependencyTarget};
use crate::queue::idempotency;
use crate::queue::new_rows::NewRows;
use crate::read::rows::{nanos, optional_time, size, task_id, time};
use crate::writer::batch::{Batch, Operation};
use crate::writer::gathered::Gathered;

const HOLDER: &str = "
    SELECT id, created_at, started_at FROM task WHERE unique_key = $1 AND key_space = $2 AND finished_at IS NULL";
#[derive(Debug)]
pub(crate) struct Insert {
    pub(crate) tasks: Vec<NewTask>,
    pub(crate) waiting_max: u64,
    /// The idempotency key of the request and the current time.
    pub(crate) request: Option<(IdempotencyKey, Timestamp)>,
}

type Answer<T> = std::result::Result<T, StoreError>;

#[async_trait]
impl Operation for Insert {
    type Answer = Answer<Submitted>;
    const DURABLE: bool = true;

    fn cost(&self) -> u64 {
        Self::cost_of(&self.tasks)
    }

    fn gather<'a>(&'a self, rows: &mut Gathered<'a>) {
        if let [task] = &*self.tasks
            && self.request.is_none()
            && is_plain(task)
        {
            rows.push_new(task, task.webhook.as_ref().map(deliveries::bits), self.waiting_max);
        }
    }

    async fn run(&self, batch: &mut Batch<'_>) -> Result<Self::Answer> {
        if let Some((request, now)) = &self.request
            && let Some(answered) = idempotency::find(batch.connection, request, *now).await?
        {
            return Ok(answered);
        }
        let waiting_max = self.waiting_max;
        // Tasks whose unique key is held would not be stored.
        let new = self.tasks.iter().filter(|task| task.unique.is_none()).count() as u64;
        let is_written = |task: &NewTask| batch.written.new.contains_key(&task.id);
        if !self.tasks.iter().all(is_written) && waiting(batch).saturating_add(new) > waiting_max {
            return Ok(Err(StoreError::Full { waiting_max }));
        }
        // One task is stored by one statement, or not at all.
        let is_undoable = self.tasks.len() > 1 || self.tasks.iter().any(|task| task.dependencies.is_some());
        if is_undoable {
            batch.connection.batch("SAVEPOINT request").await?;
        }
        let (before, events_before) = (batch.writer_state, batch.effects.events.len());
        if self.tasks.len() > 1 && self.tasks.iter().all(is_plain) {
            let mut rows = NewRows::default();
            for task in &self.tasks {
                rows.push(task, None, task.webhook.as_ref().map(deliveries::bits));
            }
            batch.written.new.extend(rows.insert(batch.connection).await?);
        }
        let tasks = match self.store(batch).await? {
            Ok(tasks) => tasks,
            Err(refusal) => {
                if is_undoable {
                    batch.connection.batch("ROLLBACK TO request").await?;
                    for task in &self.tasks {
                        batch.written.new.remove(&task.id);
                    }
                }
                // An end may have been recorded before.
                let has_unresolved_ends = batch.writer_state.has_unresolved_ends;
                batch.writer_state = WriterState { has_unresolved_ends, ..before };
                batch.effects.events.truncate(events_before);
                return Ok(Err(refusal));
            }
        };
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
            idempotency::keep(batch.connection, request, &tasks, *now).await?;
        }
        Ok(Ok(Submitted { tasks, replayed: false }))
    }
}

/// Returns true if nothing that is stored decides whether the task is.
pub(crate) fn is_plain(task: &NewTask) -> bool {
    task.unique.is_none()
        && task.dependencies.is_none()
        && task.waiting_max.is_none()
        && task.limited_by.is_none()
        && task.files.is_empty()
}

/// Returns the number of waiting tasks, including those that are written and not counted yet.
fn waiting(batch: &Batch<'_>) -> u64 {
    batch.writer_state.waiting.saturating_add(batch.written.new.len() as u64)
}

impl Insert {
    /// Returns the cost of these tasks.
    pub(crate) fn cost_of(tasks: &[NewTask]) -> u64 {
        let cost =
            |task: &NewTask| 1 + large(task.input.as_ref().map_or(0, String::len)) + task.files.len() as u64;
        tasks.iter().map(cost).sum()
    }

    async fn store(&self, batch: &mut Batch<'_>) -> Result<Answer<Vec<SubmittedTask>>> {
        let mut tasks = Vec::with_capacity(self.tasks.len());
        // A dependency on one of these becomes a dependency on the holder of its key.
        let mut held = HashMap::new();
        let mut limits = SubmitLimits::of(&self.tasks);
        for (index, task) in self.tasks.iter().enumerate() {
            match self.take(batch, &mut limits, index, task, &held).await? {
                Ok(taken) => {
                    if taken.id != task.id {
                        held.insert(task.id, taken.id);
                    }
                    tasks.push(taken);
                }
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        Ok(Ok(tasks))
    }

    /// Stores a task, or returns the holder of its key, or the reason for a refusal.
    async fn take<'a>(
        &'a self,
        batch: &mut Batch<'_>,
        limits: &mut SubmitLimits<'a>,
        index: usize,
        task: &'a NewTask,
        held: &HashMap<TaskId, TaskId>,
    ) -> Result<Answer<SubmittedTask>> {
        if let Some(unique) = &task.unique
            && let Some(holder) = holder(batch, unique, task.created_at).await?
        {
            return Ok(submit::answer_held_key(unique, holder, &self.tasks[..index]));
        }
        if !batch.written.new.contains_key(&task.id) && waiting(batch) >= self.waiting_max {
            return Ok(Err(StoreError::Full { waiting_max: self.waiting_max }));
        }
        let mut awaited = Vec::new();
        if let Some(dependencies) = &task.dependencies {
            match record::find(batch, index, dependencies, held).await? {
                Ok(found) => awaited = found,
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        if let Err(full) = limits.count(index, task, batch) {
            return Ok(Err(full));
        }
        if !task_files::exist(batch, &task.files).await? {
            return Ok(Err(submit::files_gone()));
        }
        if insert(batch, task, &awaited).await? {
            Ok(Ok(SubmittedTask { id: task.id, created_at: task.created_at, holder: None }))
        } else {
            Ok(Err(StoreError::Duplicate { id: task.id }))
        }
    }
}

/// Returns the unfinished task that holds this key.
async fn holder(batch: &Batch<'_>, unique: &Unique, now: Timestamp) -> Result<Option<SubmittedTask>> {
    let Some(row) =
        batch.connection.optional(HOLDER, &[&unique.key.as_str(), &unique.space.as_str()]).await?
    else {
        return Ok(None);
    };
    let ran = optional_time(&row, 2)?.and_then(|started_at| (now - started_at).to_std().ok());
    Ok(Some(SubmittedTask {
        id: task_id(&row, 0)?,
        created_at: time(&row, 1)?,
        holder: Some(ran.unwrap_or(Duration::ZERO)),
    }))
}

/// Stores a task; false if its id exists.
async fn insert(batch: &mut Batch<'_>, task: &NewTask, awaited: &[DependencyTarget]) -> Result<bool> {
    let seq = match batch.written.new.remove(&task.id) {
        Some(seq) => seq,
        None => {
            let mut rows = NewRows::default();
            let pending = (!awaited.is_empty()).then_some(size(awaited.len()));
            rows.push(task, pending, task.webhook.as_ref().map(deliveries::bits));
            let Some(seq) = rows.insert(batch.connection).await?.remove(&task.id) else { return Ok(false) };
            seq
        }
    };
    let state = task.first_state();
    task_files::add(batch, seq, &task.files).await?;
    if let Some(webhook) = &task.webhook {
        deliveries::add(batch, seq, webhook).await?;
    }
    if state == TaskState::Blocked {
        record::add(batch, seq, task, awaited).await?;
    }
    batch.writer_state.observe_time(nanos(task.created_at));
    batch.writer_state.record_move(None, Some(state));
    batch.effects.events.push(EventPayload {
        task: task.id,
        plugin: task.plugin.clone(),
        attempt: 0,
        time: task.created_at,
        kind: EventKind::Created,
    });
    Ok(true)
}
