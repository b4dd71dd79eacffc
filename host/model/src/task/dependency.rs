//! Dependencies between tasks: what a task depends on, what a failed dependency means for it, and the results
//! it gets.
//!
//! The API creates them, the store resolves them, the runtime passes the results.

use crate::{TaskId, TaskResult, TaskState};

/// Maximum dependencies of a task.
pub const DEPENDENCIES_MAX: usize = 100;

/// Maximum bytes of all dependency results of a run.
///
/// A result may be larger, and a task may have a hundred dependencies: without a limit, one claim could fill
/// the memory of the host.
pub const DEPENDENCY_RESULTS_BYTES_MAX: u64 = 4 << 20;

/// What happens to a task when a dependency fails, is cancelled, or is removed before it finishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// It is cancelled at once.
    #[default]
    Cancel,
    /// It runs anyway, once the others have finished.
    Run,
}

impl OnFailure {
    /// Returns the name used in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Run => "run",
        }
    }
}

/// The dependencies of a new task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDependencies {
    /// The tasks, from 1 to [`DEPENDENCIES_MAX`]; each is stored already, or precedes the new one in the same
    /// batch.
    pub on: Vec<TaskId>,
    /// What happens to the task when one of them does not complete.
    pub on_failure: OnFailure,
    /// Whether the run gets their results.
    pub pass_results: bool,
}

/// The result of a dependency, as passed to a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DependencyResult {
    /// The dependency.
    pub id: TaskId,
    /// How it finished.
    pub outcome: TaskState,
    /// Its result; `None` unless it completed.
    pub result: Option<TaskResult>,
}
