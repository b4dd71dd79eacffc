//! The task that a path names.

use wasmill_model::{InvalidTaskId, TaskId};
use wasmill_store::StoreError;

use crate::problem::Problem;
use crate::problem::field_errors::truncated_quote;
use crate::problem::kind;

pub(crate) fn parse_task_id(text: &str) -> Result<TaskId, Problem> {
    text.parse().map_err(|error| invalid_id(text, error))
}

/// Unwraps a lookup, or fails with `unknown-task`.
pub(crate) fn require_task<T>(id: TaskId, found: Result<Option<T>, StoreError>) -> Result<T, Problem> {
    found?.ok_or_else(|| unknown_task(id))
}

fn invalid_id(text: &str, error: InvalidTaskId) -> Problem {
    let detail = format!("'{}' is not a task id: {error}", truncated_quote(text));
    Problem::of(kind::INVALID_ID, detail)
}

pub(crate) fn unknown_task(id: TaskId) -> Problem {
    let detail = format!("task {id} does not exist; it was never created or has been deleted");
    Problem::of(kind::UNKNOWN_TASK, detail)
}
