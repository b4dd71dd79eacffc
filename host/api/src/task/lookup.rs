//! The task that a path names, and those that a request depends on.

use std::collections::HashMap;

use wasmill_access::{Identity, Scope};
use wasmill_model::{InvalidTaskId, NewTask, OnConflict, TaskId};
use wasmill_store::StoreError;

use crate::problem::Problem;
use crate::problem::field_errors::truncated_quote;
use crate::problem::kind;
use crate::problem::store::unknown_dependency;
use crate::state::Api;

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

/// Checks that a key which may not read all tasks gets no results by way of dependencies.
///
/// # Errors
///
/// A dependency whose results would be passed, and that another key has submitted, is unknown.
pub(crate) async fn check_dependencies(
    api: &Api,
    sender: &Identity,
    tasks: &[NewTask],
    pointer: impl Fn(usize, usize) -> String,
) -> Result<(), Problem> {
    if sender.may(Scope::Read) {
        return Ok(());
    }
    let new: HashMap<TaskId, &NewTask> = tasks.iter().map(|task| (task.id, task)).collect();
    for (index, task) in tasks.iter().enumerate() {
        let dependencies = task.dependencies.iter().filter(|dependencies| dependencies.pass_results);
        for (place, id) in dependencies.flat_map(|dependencies| &dependencies.on).enumerate() {
            let is_own = match new.get(id) {
                // The task that holds the unique key may be another's.
                Some(task) => {
                    task.unique.as_ref().is_none_or(|unique| unique.on_conflict != OnConflict::Return)
                }
                None => {
                    let task = api.store.get(*id).await?;
                    task.is_some_and(|task| sender.may_read(task.submitted_by.as_deref()))
                }
            };
            if !is_own {
                return Err(unknown_dependency(pointer(index, place), *id));
            }
        }
    }
    Ok(())
}
