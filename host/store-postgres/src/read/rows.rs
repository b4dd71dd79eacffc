//! Conversion between model types and columns. A value that does not fit is an error, never a guess.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;
use wasmill_model::{Backoff, Cause, Group, OnFailure, Priority, Tag, TaskId, TaskState, Timestamp, Usage};
use wasmill_store::TaskRef;
use wasmill_store::live::{Damaged, Traced};
use wasmill_store::stored::usage;

use crate::connection::fault::{Error, Result};

/// Reads a column.
pub(crate) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T> {
    row.try_get(column).map_err(|error| Error::Value(error.to_string()))
}

/// Reads a number that is not negative and fits.
pub(crate) fn number<T: TryFrom<i64>>(row: &Row, column: usize) -> Result<T> {
    let number: i64 = get(row, column)?;
    T::try_from(number).map_err(|_| Error::Value(format!("{number} is out of range")))
}

/// Reads a time.
pub(crate) fn time(row: &Row, column: usize) -> Result<Timestamp> {
    Ok(DateTime::from_timestamp_nanos(get(row, column)?))
}

/// Reads a time that may be missing.
pub(crate) fn optional_time(row: &Row, column: usize) -> Result<Option<Timestamp>> {
    Ok(get::<Option<i64>>(row, column)?.map(DateTime::from_timestamp_nanos))
}

/// Reads the id of a task.
pub(crate) fn task_id(row: &Row, column: usize) -> Result<TaskId> {
    Ok(TaskId::from_bytes(get::<Uuid>(row, column)?.into_bytes()))
}

/// Returns the id of a task in stored form.
pub(crate) fn uuid(id: TaskId) -> Uuid {
    Uuid::from_bytes(*id.as_bytes())
}

/// Reads bytes that are text.
pub(crate) fn text(row: &Row, column: usize) -> Result<Option<String>> {
    let bytes: Option<Vec<u8>> = get(row, column)?;
    bytes.map(|bytes| String::from_utf8(bytes).map_err(|error| Error::Value(error.to_string()))).transpose()
}

/// Parses a text.
pub(crate) fn parsed<T: FromStr<Err: std::fmt::Display>>(row: &Row, column: usize) -> Result<T> {
    let text: &str = get(row, column)?;
    text.parse().map_err(|error| Error::Value(format!("'{text}': {error}")))
}

/// Parses a text that may be missing.
pub(crate) fn optional<T: FromStr<Err: std::fmt::Display>>(row: &Row, column: usize) -> Result<Option<T>> {
    let text: Option<&str> = get(row, column)?;
    text.map(|_| parsed(row, column)).transpose()
}

/// Reads a state.
pub(crate) fn state(row: &Row, column: usize) -> Result<TaskState> {
    let found: &str = get(row, column)?;
    let state = TaskState::ALL.into_iter().find(|state| state.as_str() == found);
    state.ok_or_else(|| Error::Value(format!("'{found}' is no state of a task")))
}

/// Reads a state that may be missing.
pub(crate) fn optional_state(row: &Row, column: usize) -> Result<Option<TaskState>> {
    get::<Option<&str>>(row, column)?.map(|_| state(row, column)).transpose()
}

/// Returns the bit of a final state in `webhook_on`, and 0 for other states. It is part of the schema.
pub(crate) const fn outcome_bit(state: TaskState) -> i64 {
    match state {
        TaskState::Completed => 1,
        TaskState::Failed => 2,
        TaskState::Cancelled => 4,
        _ => 0,
    }
}

/// Reads a duration in milliseconds.
pub(crate) fn duration(row: &Row, column: usize) -> Result<Duration> {
    Ok(Duration::from_millis(number(row, column)?))
}

/// Reads a backoff from four columns: first wait, factor, longest wait and jitter.
pub(crate) fn backoff(row: &Row, column: usize) -> Result<Option<Backoff>> {
    let Some(factor) = get(row, column + 1)? else { return Ok(None) };
    let jitter = get(row, column + 3)?;
    Ok(Some(Backoff { first: duration(row, column)?, factor, max: duration(row, column + 2)?, jitter }))
}

/// Reads a priority.
pub(crate) fn priority(row: &Row, column: usize) -> Result<Priority> {
    let number = get(row, column)?;
    Priority::of(number).ok_or_else(|| Error::Value(format!("{number} is no priority")))
}

/// Reads a group, which is empty if there is none.
pub(crate) fn group(row: &Row, column: usize) -> Result<Option<Group>> {
    let text: &str = get(row, column)?;
    if text.is_empty() { Ok(None) } else { parsed(row, column).map(Some) }
}

/// Reads the name of the key whose limits count a task.
pub(crate) fn limit_key(row: &Row, column: usize) -> Result<Option<Arc<str>>> {
    Ok(get::<Option<&str>>(row, column)?.map(Into::into))
}

/// Returns a group in stored form.
pub(crate) fn group_text(group: Option<&Group>) -> &str {
    group.map_or("", Group::as_str)
}

/// Reads tags.
pub(crate) fn tags(row: &Row, column: usize) -> Result<Vec<Tag>> {
    let texts: Option<Vec<&str>> = get(row, column)?;
    let parse = |text: &str| text.parse().map_err(|error| Error::Value(format!("'{text}': {error}")));
    texts.unwrap_or_default().into_iter().map(parse).collect()
}

/// Reads what happens to a dependent when a dependency does not complete.
pub(crate) fn on_failure(row: &Row, column: usize) -> Result<OnFailure> {
    Ok(if get(row, column)? { OnFailure::Run } else { OnFailure::Cancel })
}

/// Reads a usage.
pub(crate) fn used(row: &Row, column: usize) -> Result<Option<Usage>> {
    let Some(text) = get::<Option<&str>>(row, column)? else { return Ok(None) };
    usage::parse(text).map(Some).ok_or_else(|| Error::Value(format!("{text} is no usage")))
}

/// Reads a cause. One that only a later version knows becomes a host fault, and its text is returned too.
pub(crate) fn cause(row: &Row, column: usize) -> Result<(Cause, Option<String>)> {
    let text: &str = get(row, column)?;
    Ok(match text.parse() {
        Ok(cause) => (cause, None),
        Err(_) => (Cause::HostFault, Some(text.to_owned())),
    })
}

/// Reads what is known of a traced task from three columns: `trace`, `created_at` and `started_at`.
pub(crate) fn traced(row: &Row, column: usize) -> Result<Option<Arc<Traced>>> {
    let Some(caller) = optional(row, column)? else { return Ok(None) };
    let (created_at, started_at) = (time(row, column + 1)?, optional_time(row, column + 2)?);
    Ok(Some(Arc::new(Traced { caller, created_at, started_at })))
}

/// Returns a time in stored form. It covers 1677 to 2262; anything beyond is clamped.
pub(crate) fn nanos(at: Timestamp) -> i64 {
    at.timestamp_nanos_opt().unwrap_or(i64::MAX)
}

/// Returns a duration in stored form.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Returns a size in stored form.
pub(crate) fn size(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Builds the error of a log that cannot be decoded.
pub(crate) fn damaged(error: Damaged) -> Error {
    Error::Value(error.to_string())
}

/// Returns the reference of the task in this row.
pub(crate) fn task_ref(seq: i64) -> TaskRef {
    TaskRef(u128::from(seq.cast_unsigned()))
}

/// Returns the reference of the task in this row to a host that has claimed it.
pub(crate) fn claim_ref(seq: i64, host: i64) -> TaskRef {
    TaskRef(u128::from(host.cast_unsigned()) << 64 | task_ref(seq).0)
}

/// Returns the row of a task; of one that this backend never had, a row that does not exist.
pub(crate) fn seq(task: TaskRef) -> i64 {
    ((task.0 & u128::from(u64::MAX)) as u64).cast_signed()
}

/// Returns the host that has claimed the task.
pub(crate) fn host(task: TaskRef) -> i64 {
    ((task.0 >> 64) as u64).cast_signed()
}
