//! Conversion between model types and columns. A value that does not fit is an error, never a guess.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use rusqlite::Row;
use rusqlite::types::Type;
use wasmill_model::{Backoff, Cause, Group, OnFailure, Priority, Tag, TaskState, Timestamp};
use wasmill_store::TaskRef;
use wasmill_store::live::{Damaged, Traced};

/// The condition of the index `task_later`: waiting and not available. SQLite uses the index for it only in these words.
macro_rules! is_later {
    () => {
        "state = 'scheduled' OR state = 'suspended' OR state = 'blocked'"
    };
}
pub(crate) use is_later;

/// Reads a state from a column.
pub(crate) fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<TaskState> {
    let found = row.get_ref(column)?.as_str()?;
    TaskState::ALL.into_iter().find(|state| state.as_str() == found).ok_or_else(|| {
        let error = format!("'{found}' is no state of a task");
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
    })
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

/// Reads a timeout from a column.
pub(crate) fn timeout(row: &Row<'_>, column: usize) -> rusqlite::Result<Duration> {
    Ok(Duration::from_millis(row.get::<_, i64>(column)?.cast_unsigned()))
}

/// Reads a backoff from four columns: first wait, factor, longest wait and jitter.
pub(crate) fn backoff(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Backoff>> {
    let Some(factor) = row.get(column + 1)? else { return Ok(None) };
    let jitter = row.get(column + 3)?;
    Ok(Some(Backoff { first: timeout(row, column)?, factor, max: timeout(row, column + 2)?, jitter }))
}

/// Reads a priority from a column.
pub(crate) fn priority(row: &Row<'_>, column: usize) -> rusqlite::Result<Priority> {
    let number = row.get(column)?;
    Priority::of(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// Reads a group from a column.
pub(crate) fn group(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Group>> {
    row.get_ref(column)?.as_str_or_null()?.map(|_| parsed(row, column)).transpose()
}

/// Returns tags in stored form.
pub(crate) fn tags_text(tags: &[Tag]) -> Option<String> {
    let texts: Vec<_> = tags.iter().map(Tag::as_str).collect();
    (!texts.is_empty()).then(|| serde_json::json!(texts).to_string())
}

/// Reads tags from a column.
pub(crate) fn tags(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<Tag>> {
    let Some(text) = row.get_ref(column)?.as_str_or_null()? else { return Ok(Vec::new()) };
    let invalid = |error: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error)
    };
    let texts: Vec<String> = serde_json::from_str(text).map_err(|error| invalid(error.into()))?;
    texts.into_iter().map(|tag| tag.parse().map_err(|error| invalid(Box::from(error)))).collect()
}

/// Reads what is known of a traced task from three columns: `trace`, `created_at` and `started_at`.
pub(crate) fn traced(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Arc<Traced>>> {
    let Some(caller) = optional(row, column)? else { return Ok(None) };
    let created_at = DateTime::from_timestamp_nanos(row.get(column + 1)?);
    let started_at = row.get::<_, Option<_>>(column + 2)?.map(DateTime::from_timestamp_nanos);
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
pub(crate) fn damaged(error: Damaged) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, Box::new(error))
}

/// Reads a cause from a column. Causes are not part of the schema version: one that only a later version
/// knows becomes a host fault, and its text is returned too.
pub(crate) fn cause(row: &Row<'_>, column: usize) -> rusqlite::Result<(Cause, Option<String>)> {
    let word = row.get_ref(column)?.as_str()?;
    Ok(word.parse().map_or_else(|_| (Cause::HostFault, Some(word.to_owned())), |cause| (cause, None)))
}

/// Parses an optional text column.
pub(crate) fn optional<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    row.get_ref(column)?.as_str_or_null()?.map(|_| parsed(row, column)).transpose()
}

/// Parses a text column.
pub(crate) fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text = row.get_ref(column)?.as_str()?;
    text.parse()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

/// Returns the reference of the task in this row.
pub(crate) fn task_ref(seq: i64) -> TaskRef {
    TaskRef(u128::from(seq.cast_unsigned()))
}

/// Returns the row of a task; of one that this backend never had, a row that does not exist.
pub(crate) fn seq(task: TaskRef) -> i64 {
    i64::try_from(task.0).unwrap_or(-1)
}

/// Reads what happens to a dependent when a dependency does not complete.
pub(crate) fn on_failure(row: &Row<'_>, column: usize) -> rusqlite::Result<OnFailure> {
    Ok(if row.get(column)? { OnFailure::Run } else { OnFailure::Cancel })
}
