//! Tasks that wait for other tasks: what they wait for, what becomes of them when one of those goes wrong,
//! and what they are handed of it.
//!
//! The API makes them, the store keeps them and counts, the runtime hands the results over.

use crate::{TaskId, TaskState};

/// The most tasks that one waits for.
pub const DEPENDENCIES_MAX: usize = 100;

/// Bytes of all results that one run is handed together.
///
/// A result may be larger, and a task may wait for a hundred: without a bound, one claim could fill the
/// memory of the host.
pub const DEPENDENCY_RESULTS_BYTES_MAX: u64 = 4 << 20;

/// What becomes of a task when one that it waits for fails, is cancelled or is deleted before it has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// It is cancelled at once.
    #[default]
    Cancel,
    /// It runs all the same, when the others have ended.
    Run,
}

impl OnFailure {
    /// Returns the word that machines read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Run => "run",
        }
    }
}

/// What a new task waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDependencies {
    /// The tasks, from 1 to [`DEPENDENCIES_MAX`]; each is stored already, or stands before the new one among
    /// those that are stored with it.
    pub on: Vec<TaskId>,
    /// What becomes of it when one of them goes wrong.
    pub on_failure: OnFailure,
    /// Whether it is handed their results.
    pub pass_results: bool,
}

/// What a run is handed of a task that it waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DependencyResult {
    /// That task.
    pub id: TaskId,
    /// How it ended.
    pub outcome: TaskState,
    /// What it answered; `None` unless it completed.
    pub result: Option<String>,
}
