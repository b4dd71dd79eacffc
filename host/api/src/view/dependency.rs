//! The dependencies of a task. Part of `GET /task/{id}`.

use schemars::JsonSchema;
use serde::Serialize;
use wasmill_model::{DEPENDENCIES_MAX, FilesFrom, TaskId};
use wasmill_store::DependencyStatus;

use crate::openapi::schema::{FilesFromSchema, IdSchema, InputFromSchema, OnFailureSchema, StateSchema};

/// The dependencies of a task.
#[derive(Default, Serialize, JsonSchema)]
pub(crate) struct DependenciesView {
    /// The dependencies, finished ones included.
    #[schemars(length(max = DEPENDENCIES_MAX))]
    depends_on: Vec<DependencyView>,
    /// What happens when a dependency fails, is cancelled or is deleted; `null` without dependencies.
    #[schemars(with = "Option<OnFailureSchema>")]
    on_failure: Option<&'static str>,
    /// `dependencies` if the task gets their results.
    #[schemars(with = "Option<InputFromSchema>")]
    input_from: Option<&'static str>,
    /// How the task gets the files that they left.
    #[schemars(with = "Option<FilesFromSchema>")]
    files_from: Option<&'static str>,
}

/// A dependency.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Dependency")]
struct DependencyView {
    #[schemars(with = "IdSchema")]
    id: TaskId,
    /// `completed`, `failed` or `cancelled`; `null` while it is unfinished.
    #[schemars(with = "Option<StateSchema>")]
    outcome: Option<&'static str>,
}

impl From<DependencyStatus> for DependenciesView {
    fn from(depends: DependencyStatus) -> Self {
        let view = |on: wasmill_store::Dependency| DependencyView {
            id: on.id,
            outcome: on.outcome.map(wasmill_model::TaskState::as_str),
        };
        Self {
            depends_on: depends.on.into_iter().map(view).collect(),
            on_failure: Some(depends.on_failure.as_str()),
            input_from: depends.pass_results.then_some("dependencies"),
            files_from: depends.files_from.map(FilesFrom::as_str),
        }
    }
}
