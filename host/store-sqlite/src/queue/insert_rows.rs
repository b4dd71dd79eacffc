//! Inserts the rows of new tasks, many by one statement. [`Insert`](crate::queue::insert::Insert) calls it.
//!
//! A statement opens the table and its twelve indexes each time it runs, which is a quarter of what a row costs, and looks
//! for the place in each index from its root, unless it has just inserted the row before.

use std::sync::LazyLock;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{CachedStatement, Connection, ErrorCode::ConstraintViolation, ToSql, ffi};
use wasmill_model::{Group, NewTask, ScheduleName, TaskId, TaskState};
use wasmill_store::StoreError;
use wasmill_store::rules::submit::files_bytes;

use crate::content::task_files;
use crate::delivery::deliveries;
use crate::dependency::record::{self, DependencyTarget};
use crate::read::rows::{millis, nanos, size, tags_text};
use crate::writer::batch::Batch;

/// Rows of a full statement. Beyond that little is gained.
pub(crate) const ROWS: usize = 32;

const COLUMNS: usize = 31;

pub(crate) const TASK: &str = "
    INSERT INTO task (seq, id, plugin, state, created_at, ready_at, sort_key, wait_ns, attempts_max,
        timeout_ms, input_bytes, backoff_first_ms, backoff_factor, backoff_max_ms, backoff_jitter, priority,
        task_group, unique_key, tags, schedule, retry_of, pending_dependencies, webhook_on, trace, submitted_by,
        key_space, limit_key, files_in, parent, child_name, depth)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21,
        ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31)";
/// [`TASK`] with [`ROWS`] rows.
pub(crate) static TASKS: LazyLock<String> = LazyLock::new(|| {
    let row = format!(", ({})", ["?"; COLUMNS].join(", "));
    format!("{TASK}{}", row.repeat(ROWS - 1))
});
pub(crate) const INPUT: &str = "INSERT INTO input (seq, body) VALUES (?1, ?2)";
pub(crate) const TAG: &str = "INSERT OR IGNORE INTO tag (name, seq) VALUES (?1, ?2)";

/// A new task that has a row id.
pub(crate) struct NewRow<'a> {
    pub(crate) seq: i64,
    pub(crate) task: &'a NewTask,
    pub(crate) awaited: Vec<DependencyTarget>,
}

/// Rows that wait to be inserted together, and the statements for it.
pub(crate) struct NewRows<'c, 'a> {
    connection: &'c Connection,
    pending: Vec<NewRow<'a>>,
    one: Option<Insertion<'c>>,
    many: Option<Insertion<'c>>,
}

impl<'c, 'a> NewRows<'c, 'a> {
    pub(crate) fn new(connection: &'c Connection) -> Self {
        Self { connection, pending: Vec::new(), one: None, many: None }
    }

    /// Adds a row. With it the rows may be inserted, so the result is that of [`flush`](Self::flush).
    pub(crate) fn push(
        &mut self,
        batch: &mut Batch<'_>,
        row: NewRow<'a>,
    ) -> rusqlite::Result<Result<(), StoreError>> {
        self.pending.push(row);
        if self.pending.len() < ROWS { Ok(Ok(())) } else { self.flush(batch) }
    }

    /// Inserts all rows that wait for it, or returns why not; then some of them may be there.
    pub(crate) fn flush(&mut self, batch: &mut Batch<'_>) -> rusqlite::Result<Result<(), StoreError>> {
        let rows = std::mem::take(&mut self.pending);
        if let Err(duplicate) = self.insert(&rows)? {
            return Ok(Err(duplicate));
        }
        for row in &rows {
            insert_beside(batch, row)?;
        }
        Ok(Ok(()))
    }

    fn insert(&mut self, rows: &[NewRow<'_>]) -> rusqlite::Result<Result<(), StoreError>> {
        let connection = self.connection;
        if rows.len() == ROWS {
            match Insertion::get(&mut self.many, connection, &TASKS)?.run(rows) {
                // It has left no row. Which of them it was is found one by one.
                Err(error) if is_duplicate(&error) => {}
                done => return done.map(Ok),
            }
        }
        for row in rows {
            match Insertion::get(&mut self.one, connection, TASK)?.run(std::slice::from_ref(row)) {
                Err(error) if is_duplicate(&error) => {
                    return Ok(Err(StoreError::Duplicate { id: row.task.id }));
                }
                done => done?,
            }
        }
        Ok(Ok(()))
    }
}

/// A statement that inserts a fixed number of rows.
struct Insertion<'c> {
    statement: CachedStatement<'c>,
    /// Which parameters have a value from an earlier run: the others are NULL, as most options are, and need no call.
    bound: Vec<bool>,
}

impl<'c> Insertion<'c> {
    /// Looked up once for a request: to do so costs as much as a fortieth of a task.
    fn get<'s>(
        slot: &'s mut Option<Self>,
        connection: &'c Connection,
        sql: &str,
    ) -> rusqlite::Result<&'s mut Self> {
        if slot.is_none() {
            let statement = connection.prepare_cached(sql)?;
            let bound = vec![false; statement.parameter_count()];
            *slot = Some(Self { statement, bound });
        }
        Ok(slot.as_mut().expect("it was just made"))
    }

    fn run(&mut self, rows: &[NewRow<'_>]) -> rusqlite::Result<()> {
        for (place, row) in rows.iter().enumerate() {
            self.bind(place * COLUMNS, row)?;
        }
        self.statement.raw_execute()?;
        Ok(())
    }

    /// Binds the values of a row behind so many others.
    fn bind(&mut self, behind: usize, row: &NewRow<'_>) -> rusqlite::Result<()> {
        let NewRow { seq, task, awaited } = row;
        let (created_at, ready_at) = (nanos(task.created_at), nanos(task.ready_at()));
        let (unique, child_of) = (task.unique.as_ref(), task.child_of.as_ref());
        let mut index = behind;
        let mut next = |value: &dyn ToSql| {
            index += 1;
            self.put(index, value)
        };
        next(seq)?;
        next(task.id.as_bytes())?;
        next(&task.plugin.as_str())?;
        next(&task.first_state().as_str())?;
        next(&created_at)?;
        next(&ready_at)?;
        next(&ready_at.saturating_sub(task.priority.head_start_nanos()))?;
        next(&(task.is_delayed && ready_at > created_at).then(|| ready_at - created_at))?;
        next(&task.attempts_max)?;
        next(&millis(task.timeout))?;
        next(&task.input.as_ref().map(|input| size(input.len())))?;
        next(&task.backoff.map(|backoff| millis(backoff.first)))?;
        next(&task.backoff.map(|backoff| backoff.factor))?;
        next(&task.backoff.map(|backoff| millis(backoff.max)))?;
        next(&task.backoff.map(|backoff| backoff.jitter))?;
        next(&task.priority.get())?;
        next(&task.group.as_ref().map(Group::as_str))?;
        next(&unique.map(|unique| unique.key.as_str()))?;
        next(&tags_text(&task.tags))?;
        next(&task.schedule.as_ref().map(ScheduleName::as_str))?;
        next(&task.retry_of.as_ref().map(TaskId::as_bytes))?;
        next(&(!awaited.is_empty()).then_some(size(awaited.len())))?;
        next(&task.webhook.as_ref().map(deliveries::bits))?;
        next(&task.trace.as_ref().map(ToString::to_string))?;
        next(&task.submitted_by)?;
        next(&unique.map_or("", |unique| unique.space.as_str()))?;
        next(&task.limited_by.as_ref().map(|key| &*key.name))?;
        next(&(!task.files.is_empty()).then(|| files_bytes(&task.files).cast_signed()))?;
        next(&child_of.map(|of| of.parent.as_bytes()))?;
        next(&child_of.map(|of| of.name.as_str()))?;
        next(&child_of.map(|of| of.depth))
    }

    fn put(&mut self, index: usize, value: &dyn ToSql) -> rusqlite::Result<()> {
        let value = value.to_sql()?;
        let is_null =
            matches!(value, ToSqlOutput::Borrowed(ValueRef::Null) | ToSqlOutput::Owned(Value::Null));
        if is_null && !self.bound[index - 1] {
            return Ok(());
        }
        self.bound[index - 1] = !is_null;
        self.statement.raw_bind_parameter(index, value)
    }
}

/// Inserts what stands beside the row of a new task.
fn insert_beside(batch: &mut Batch<'_>, row: &NewRow<'_>) -> rusqlite::Result<()> {
    let NewRow { seq, task, awaited } = row;
    if let Some(input) = &task.input {
        batch.connection.prepare_cached(INPUT)?.execute(rusqlite::params![seq, input])?;
    }
    task_files::add(batch, *seq, &task.files)?;
    for tag in &task.tags {
        batch.connection.prepare_cached(TAG)?.execute(rusqlite::params![tag.as_str(), seq])?;
    }
    if let Some(webhook) = &task.webhook {
        deliveries::add(batch, *seq, webhook)?;
    }
    if task.first_state() == TaskState::Blocked {
        record::add(batch, *seq, task, awaited)?;
    }
    Ok(())
}

/// Returns true if the id exists; that error ends the statement, not the transaction.
fn is_duplicate(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ConstraintViolation)
        && error.sqlite_extended_error_code() == Some(ffi::SQLITE_CONSTRAINT_UNIQUE)
}
