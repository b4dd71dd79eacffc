//! What the store tells of tasks that wait for others. Plain data only.

use wasmill_model::{DependencyResult, OnFailure, TaskId, TaskState};

/// What a stored task waits for, or waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DependencyStatus {
    /// Those tasks, in the order in which they were named.
    pub on: Vec<Dependency>,
    /// What becomes of it when one of them goes wrong.
    pub on_failure: OnFailure,
    /// Whether it is handed their results.
    pub pass_results: bool,
}

/// A task that another one waits for. It may be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// That task.
    pub id: TaskId,
    /// How it ended: one that was deleted before it had counts as cancelled. `None` while it has not, or if
    /// the task that waited ended first.
    pub outcome: Option<TaskState>,
}

/// What a run gets of the tasks that its own one waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DependencyResults {
    /// How each of them ended, and its result.
    Results(Vec<DependencyResult>),
    /// This one completed, but was deleted since.
    Gone(TaskId),
    /// The results are larger than a run is handed.
    TooLarge {
        /// How large they are together.
        bytes: u64,
    },
}
