//! What the store reports about dependencies. Plain data only.

use wasmill_model::{DependencyFiles, DependencyResult, FilesFrom, OnFailure, TaskId, TaskState};

/// The dependencies of a stored task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DependencyStatus {
    /// The dependencies in the order of the request.
    pub on: Vec<Dependency>,
    /// What happens to the task when one of them does not complete.
    pub on_failure: OnFailure,
    /// Whether the run gets their results.
    pub pass_results: bool,
    /// Whether the run gets the files that they leave.
    pub files_from: Option<FilesFrom>,
}

/// A task that another one depends on. It may have been removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Its id.
    pub id: TaskId,
    /// How it finished; a task that was removed before it finished counts as cancelled. `None` while it has
    /// not finished, or if the dependent finished first.
    pub outcome: Option<TaskState>,
}

/// The results of the dependencies of a claimed task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DependencyResults {
    /// Outcome and result of each dependency.
    Results(Vec<DependencyResult>),
    /// This dependency completed but has been removed.
    Gone(TaskId),
    /// The results exceed the limit of one run.
    TooLarge {
        /// Their total size in bytes.
        bytes: u64,
    },
}

/// The files that the dependencies of a claimed task left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandedFiles {
    /// Those of each dependency, in the order of the request.
    Files(Vec<DependencyFiles>),
    /// This dependency completed but has been removed.
    Gone(TaskId),
    /// They are more than [`DEPENDENCY_FILES_MAX`](wasmill_model::DEPENDENCY_FILES_MAX).
    TooMany,
}
