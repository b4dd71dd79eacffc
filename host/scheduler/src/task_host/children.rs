//! The children that runs submit.
//!
//! The API checks them as it does the tasks of requests; it is known once the server has started.

use std::sync::{Arc, OnceLock};

use tokio::sync::Semaphore;
use wasmill_model::{ChildBounds, ChildrenError, Clock, NewChild, NewTask, Task, TaskId, Timestamp};
use wasmill_store::{ChildrenOutcome, Claim, Store};

/// Creates the children of the first task as a submit at this moment would. The second one, which may be the same, names
/// the key or the schedule whose rights it has.
pub type AcceptChildren =
    Arc<dyn Fn(&Task, &Task, Vec<NewChild>, Timestamp) -> Result<Vec<NewTask>, ChildrenError> + Send + Sync>;

/// Calls that are checked at once, with a copy of what each submits; further ones wait.
const CALLS_MAX: usize = 4;

/// What all runs share of it.
pub(crate) struct ChildPolicy {
    bounds: ChildBounds,
    accept: OnceLock<AcceptChildren>,
    turns: Semaphore,
}

impl ChildPolicy {
    pub(crate) fn new(bounds: ChildBounds) -> Self {
        Self { bounds, accept: OnceLock::new(), turns: Semaphore::new(CALLS_MAX) }
    }

    /// Sets what checks children; the first one stays.
    pub(crate) fn accept_by(&self, accept: AcceptChildren) {
        let _ = self.accept.set(accept);
    }

    /// Submits children of a claimed task.
    pub(crate) async fn submit(
        &self,
        store: &Store,
        claim: &Claim,
        clock: &dyn Clock,
        children: Vec<NewChild>,
    ) -> Result<Vec<TaskId>, ChildrenError> {
        let most = self.bounds.children_max;
        if children.len() > most as usize {
            return Err(too_many(children.len() as u64, most));
        }
        let Some(accept) = self.accept.get().cloned() else {
            return Err(ChildrenError::Unavailable("the host is starting".to_owned()));
        };
        // It is never closed.
        let _turn = self.turns.acquire().await;
        let parent = store.get(claim.id).await.map_err(|error| unavailable(&error))?;
        let Some(parent) = parent else { return Err(revoked()) };
        let origin = origin(store, &parent).await?;
        let now = clock.now();
        // Checking ten thousand of them takes long.
        let checked = tokio::task::spawn_blocking(move || accept(&parent, &origin, children, now)).await;
        let tasks = checked.map_err(|error| unavailable(&error))??;
        match store.submit_children(claim, tasks, self.bounds).await {
            Ok(ChildrenOutcome::Submitted(ids)) => Ok(ids),
            Ok(ChildrenOutcome::Revoked) => Err(revoked()),
            Ok(ChildrenOutcome::TooMany { all }) => Err(too_many(all, most)),
            Ok(ChildrenOutcome::TooDeep) => Err(ChildrenError::Refused(format!(
                "as many tasks are above this one as may be, {} (--children-depth)",
                self.bounds.depth_max
            ))),
            Err(error) => Err(unavailable(&error)),
        }
    }
}

/// Returns the task that names the key or the schedule which answers for this one: itself, or one above it.
async fn origin(store: &Store, task: &Task) -> Result<Task, ChildrenError> {
    let mut origin = task.clone();
    while origin.submitted_by.is_none()
        && origin.schedule.is_none()
        && let Some(parent) = origin.parent
    {
        // Without it, this one is about to be cancelled.
        let above = store.get(parent).await.map_err(|error| unavailable(&error))?;
        origin = above.ok_or_else(revoked)?;
    }
    Ok(origin)
}

fn too_many(all: u64, most: u32) -> ChildrenError {
    let why = format!("the task would have {all} children, {most} are the most (--children-max)");
    ChildrenError::Refused(why)
}

fn revoked() -> ChildrenError {
    ChildrenError::Unavailable("the run has lost its claim on the task, or is to stop".to_owned())
}

fn unavailable(error: &dyn std::fmt::Display) -> ChildrenError {
    ChildrenError::Unavailable(error.to_string())
}
