//! Stores new tasks, all of one caller or none of them.

use rusqlite::ErrorCode::ConstraintViolation;
use rusqlite::{ffi, params};
use wasmill_model::{NewTask, TaskState};

use super::batch::{Batch, Operation};
use super::rows::{millis, nanos, size};
use crate::{Change, News, StoreError};

#[derive(Debug)]
pub(super) struct Insert {
    pub(super) tasks: Vec<NewTask>,
    pub(super) waiting_max: u64,
}

impl Operation for Insert {
    type Answer = Result<(), StoreError>;
    const DURABLE: bool = true;

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Self::Answer> {
        let waiting_max = self.waiting_max;
        if batch.line.waiting.saturating_add(self.tasks.len() as u64) > waiting_max {
            return Ok(Err(StoreError::Full { waiting_max }));
        }
        let (before, told) = (batch.line, batch.news.len());
        for task in &self.tasks {
            match insert(batch, task) {
                Err(error) if is_duplicate(&error) => {
                    let mut delete = batch.connection.prepare_cached("DELETE FROM task WHERE seq >= ?1")?;
                    delete.execute([before.seq_next])?;
                    batch.line = before;
                    batch.news.truncate(told);
                    return Ok(Err(StoreError::Duplicate { id: task.id }));
                }
                inserted => inserted?,
            }
        }
        // Not one by one: a duplicate takes those before it back.
        for task in &self.tasks {
            batch.moves.moved(&task.plugin, None, Some(TaskState::Waiting));
        }
        Ok(Ok(()))
    }
}

pub(super) const TASK: &str = "
    INSERT INTO task (seq, id, plugin, state, created_at, ready_at, attempts_max, timeout_ms, input_bytes,
        backoff_first_ms, backoff_factor, backoff_most_ms)
    VALUES (?1, ?2, ?3, 0, ?4, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

fn insert(batch: &mut Batch<'_>, task: &NewTask) -> rusqlite::Result<()> {
    let seq = batch.line.seq_next;
    batch.connection.prepare_cached(TASK)?.execute(params![
        seq,
        task.id.as_bytes(),
        task.plugin.as_str(),
        nanos(task.created_at),
        task.attempts_max,
        millis(task.timeout),
        task.input.as_ref().map(|input| size(input.len())),
        task.backoff.map(|backoff| millis(backoff.first)),
        task.backoff.map(|backoff| backoff.factor),
        task.backoff.map(|backoff| millis(backoff.most)),
    ])?;
    if let Some(input) = &task.input {
        let mut statement =
            batch.connection.prepare_cached("INSERT INTO input (seq, body) VALUES (?1, ?2)")?;
        statement.execute(params![seq, input])?;
    }
    batch.line.seq_next += 1;
    batch.line.newest = batch.line.newest.max(nanos(task.created_at));
    batch.line.moved(None, Some(TaskState::Waiting));
    batch.news.push(News {
        task: task.id,
        plugin: task.plugin.clone(),
        attempt: 0,
        time: task.created_at,
        change: Change::Created,
    });
    Ok(())
}

/// Says whether the id was taken; such an error ends the statement, not the transaction.
fn is_duplicate(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ConstraintViolation)
        && error.sqlite_extended_error_code() == Some(ffi::SQLITE_CONSTRAINT_UNIQUE)
}
