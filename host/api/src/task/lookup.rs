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

/// Checks that a key learns nothing by way of dependencies: neither results and files of tasks that it may not read, nor
/// whether a task outside its reach exists.
///
/// # Errors
///
/// A dependency outside, or one whose results or files would be passed, and that another key has submitted, is unknown.
pub(crate) async fn check_dependencies(
    api: &Api,
    sender: &Identity,
    tasks: &[NewTask],
    pointer: impl Fn(usize, usize) -> String,
) -> Result<(), Problem> {
    let new: HashMap<TaskId, &NewTask> = tasks.iter().map(|task| (task.id, task)).collect();
    if sender.reach().is_bounded() {
        check_within(api, sender, tasks, &new, &pointer).await?;
    }
    if sender.may(Scope::Read) {
        return Ok(());
    }
    for (index, task) in tasks.iter().enumerate() {
        let dependencies = task.dependencies.iter().filter(|dependencies| dependencies.passes_any());
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

/// Checks that the dependencies of these tasks, which are `new` themselves or stored, are within the reach of the sender.
async fn check_within(
    api: &Api,
    sender: &Identity,
    tasks: &[NewTask],
    new: &HashMap<TaskId, &NewTask>,
    pointer: impl Fn(usize, usize) -> String,
) -> Result<(), Problem> {
    let on =
        |task: &NewTask| task.dependencies.iter().flat_map(|dependencies| dependencies.on.clone()).collect();
    let on: Vec<Vec<TaskId>> = tasks.iter().map(on).collect();
    let stored: Vec<_> = on.iter().flatten().filter(|id| !new.contains_key(id)).copied().collect();
    if stored.is_empty() {
        return Ok(());
    }
    let within = api.store.within(stored, sender.reach().clone()).await?;
    for (index, on) in on.iter().enumerate() {
        let outside = on.iter().position(|id| !new.contains_key(id) && !within.contains(id));
        if let Some(place) = outside {
            return Err(unknown_dependency(pointer(index, place), on[place]));
        }
    }
    Ok(())
}
