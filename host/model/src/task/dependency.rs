//! Dependencies between tasks: what a task depends on, what a failed dependency means for it, and the results
//! it gets.
//!
//! The API creates them, the store resolves them, the runtime passes the results.

use std::str::FromStr;

use crate::{TaskFile, TaskId, TaskResult, TaskState};

/// Maximum dependencies of a task.
pub const DEPENDENCIES_MAX: usize = 100;

/// Maximum bytes of all dependency results of a run.
///
/// A result may be larger, and a task may have a hundred dependencies: without a limit, one claim could fill
/// the memory of the host.
pub const DEPENDENCY_RESULTS_BYTES_MAX: u64 = 4 << 20;

/// Maximum files that the dependencies of a run pass to it together, however many a task may have: they are listed at once.
pub const DEPENDENCY_FILES_MAX: usize = 10_000;

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

/// From where a run gets files beside those that came with its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilesFrom {
    /// What the runs of its dependencies left, under the names that it has there.
    Dependencies,
    /// The same, in a folder for each dependency: the first of the request in `0`.
    DependencyFolders,
}

impl FilesFrom {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Dependencies, Self::DependencyFolders];

    /// Returns the name used in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dependencies => "dependencies",
            Self::DependencyFolders => "dependency-folders",
        }
    }
}

/// A text names no place from which files come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is neither dependencies nor dependency-folders")]
pub struct InvalidFilesFrom;

impl FromStr for FilesFrom {
    type Err = InvalidFilesFrom;

    fn from_str(text: &str) -> Result<Self, InvalidFilesFrom> {
        Self::ALL.into_iter().find(|from| from.as_str() == text).ok_or(InvalidFilesFrom)
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
    /// Whether the run gets the files that they leave.
    pub files_from: Option<FilesFrom>,
}

impl NewDependencies {
    /// Returns true if the run gets anything of its dependencies.
    pub fn passes_any(&self) -> bool {
        self.pass_results || self.files_from.is_some()
    }
}

/// What a dependency left, as passed to a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DependencyFiles {
    /// The dependency.
    pub id: TaskId,
    /// Its files; none unless it completed.
    pub files: Vec<TaskFile>,
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
