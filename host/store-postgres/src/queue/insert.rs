//! Stores new tasks, all of a request or none.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use wasmill_model::{NewTask, ScheduleName, Tag, TaskId, TaskState, Timestamp, Unique};
use wasmill_store::commit::{WriterState, large};
use wasmill_store::rules::submit::{self, WaitingLimits};
use wasmill_store::{EventKind, EventPayload, IdempotencyKey, StoreError, Submitted, SubmittedTask};

use crate::connection::fault::Result;
use crate::delivery::deliveries;
use crate::dependency::record::{self, DependencyTarget};
use crate::queue::idempotency;
use crate::read::rows::{group_text, millis, nanos, optional_time, size, task_id, time, uuid};
use crate::writer::batch::{Batch, Operation};

const HOLDER: &str = "
    SELECT id, created_at, started_at FROM task WHERE unique_key = $1 AND finished_at IS NULL";
/// Stores nothing if the id exists.
const TASK: &str = "
    INSERT INTO task (id, plugin, state, created_at, ready_at, sort_key, wait_ns, attempts_max, timeout_ms,
        input_bytes, backoff_first_ms, backoff_factor, backoff_max_ms, backoff_jitter, priority, task_group,
        unique_key, tags, schedule, retry_of, pending_dependencies, webhook_on, trace)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)
    ON CONFLICT (id) DO NOTHING
    RETURNING seq";
const INPUT: &str = "INSERT INTO input (seq, body) VALUES ($1, $2)";
const TAGS: &str =
    "INSERT INTO tag (name, seq) SELECT DISTINCT name, $1::bigint FROM unnest($2::text[]) AS name";

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
        self.tasks.iter().map(|task| 1 + large(task.input.as_ref().map_or(0, String::len))).sum()
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
        if batch.writer_state.waiting.saturating_add(new) > waiting_max {
            return Ok(Err(StoreError::Full { waiting_max }));
        }
        // One task is stored by one statement, or not at all.
        let is_undoable = self.tasks.len() > 1 || self.tasks.iter().any(|task| task.dependencies.is_some());
        if is_undoable {
            batch.connection.batch("SAVEPOINT request").await?;
        }
        let (before, events_before) = (batch.writer_state, batch.effects.events.len());
        let tasks = match self.store(batch).await? {
            Ok(tasks) => tasks,
            Err(refusal) => {
                if is_undoable {
                    batch.connection.batch("ROLLBACK TO request").await?;
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
                batch.effects.record_move(&task.plugin, None, Some(task.first_state()));
            }
        }
        if let Some((request, now)) = &self.request {
            idempotency::keep(batch.connection, request, &tasks, *now).await?;
        }
        Ok(Ok(Submitted { tasks, replayed: false }))
    }
}

impl Insert {
    async fn store(&self, batch: &mut Batch<'_>) -> Result<Answer<Vec<SubmittedTask>>> {
        let mut tasks = Vec::with_capacity(self.tasks.len());
        // A dependency on one of these becomes a dependency on the holder of its key.
        let mut held = HashMap::new();
        let mut limits = WaitingLimits::of(&self.tasks);
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
        limits: &mut WaitingLimits<'a>,
        index: usize,
        task: &'a NewTask,
        held: &HashMap<TaskId, TaskId>,
    ) -> Result<Answer<SubmittedTask>> {
        if let Some(unique) = &task.unique
            && let Some(holder) = holder(batch, unique, task.created_at).await?
        {
            return Ok(submit::answer_held_key(unique, holder, &self.tasks[..index]));
        }
        if batch.writer_state.waiting >= self.waiting_max {
            return Ok(Err(StoreError::Full { waiting_max: self.waiting_max }));
        }
        let mut awaited = Vec::new();
        if let Some(dependencies) = &task.dependencies {
            match record::find(batch, index, dependencies, held).await? {
                Ok(found) => awaited = found,
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        if let Err(full) = limits.count(index, task, |plugin| batch.waiting(plugin)) {
            return Ok(Err(full));
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
    let Some(row) = batch.connection.optional(HOLDER, &[&unique.key.as_str()]).await? else {
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
    let (created_at, ready_at) = (nanos(task.created_at), nanos(task.ready_at()));
    let state = task.first_state();
    let tags: Vec<_> = task.tags.iter().map(Tag::as_str).collect();
    let row = batch
        .connection
        .optional(
            TASK,
            &[
                &uuid(task.id),
                &task.plugin.as_str(),
                &state.as_str(),
                &created_at,
                &ready_at,
                &ready_at.saturating_sub(task.priority.head_start_nanos()),
                &(task.is_delayed && ready_at > created_at).then(|| ready_at - created_at),
                &i64::from(task.attempts_max),
                &millis(task.timeout),
                &task.input.as_ref().map(|input| size(input.len())),
                &task.backoff.map(|backoff| millis(backoff.first)),
                &task.backoff.map(|backoff| backoff.factor),
                &task.backoff.map(|backoff| millis(backoff.max)),
                &task.backoff.map(|backoff| backoff.jitter),
                &i64::from(task.priority.get()),
                &group_text(task.group.as_ref()),
                &task.unique.as_ref().map(|unique| unique.key.as_str()),
                &(!tags.is_empty()).then_some(&tags),
                &task.schedule.as_ref().map(ScheduleName::as_str),
                &task.retry_of.map(uuid),
                &(!awaited.is_empty()).then_some(size(awaited.len())),
                &task.webhook.as_ref().map(deliveries::bits),
                &task.trace.as_ref().map(ToString::to_string),
            ],
        )
        .await?;
    let Some(row) = row else { return Ok(false) };
    let seq: i64 = row.get(0);
    if let Some(input) = &task.input {
        batch.connection.execute(INPUT, &[&seq, &input.as_bytes()]).await?;
    }
    if !tags.is_empty() {
        batch.connection.execute(TAGS, &[&seq, &tags]).await?;
    }
    if let Some(webhook) = &task.webhook {
        deliveries::add(batch, seq, webhook).await?;
    }
    if state == TaskState::Blocked {
        record::add(batch, seq, task, awaited).await?;
    }
    batch.writer_state.observe_time(created_at);
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
