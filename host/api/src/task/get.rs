//! `GET /task/{id}`: the whole task, with the tail of its log.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use wasmill_access::Identity;
use wasmill_model::Task;
use wasmill_store::DependencyStatus;

use crate::http::authorize::Sender;
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::kind;
use crate::state::Api;
use crate::task::lookup::{parse_task_id, require_task};
use crate::view::attempt::AttemptView;
use crate::view::dependency::DependenciesView;
use crate::view::file::FileView;
use crate::view::task::{self as view, TaskView, shown_to};
use crate::view::webhook::ReceiverView;

/// A task with the tail of its log, its attempts, dependencies and webhook.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TaskDetail")]
struct TaskDetailView {
    #[serde(flatten)]
    record: TaskView,
    /// Tail of the log of the newest finished attempt.
    log: Option<String>,
    /// All attempts, oldest first.
    attempts: Vec<AttemptView>,
    #[serde(flatten)]
    depends: DependenciesView,
    /// Its files: those that came with it, then those that it left.
    files: Vec<FileView>,
    /// Its webhook; `null` without one. `GET /task/{id}/webhook` lists the delivery attempts.
    webhook: Option<ReceiverView>,
}

pub(crate) async fn task(
    State(api): State<Api>,
    Sender(sender): Sender,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = parse_task_id(&id)?;
    let task = shown_to(&sender, require_task(id, api.store.get(id).await)?);
    let log = api.store.log(id).await?;
    let attempts = attempts(&api, &task).await?;
    // Most tasks have no dependencies, which saves a query.
    let depends = if task.pending_dependencies.is_some() { api.store.dependencies(id).await? } else { None };
    let depends =
        depends_within(&api, &sender, depends).await?.map(DependenciesView::from).unwrap_or_default();
    let webhook = if task.has_webhook { api.store.webhook(id).await?.flatten() } else { None };
    let webhook = webhook.map(ReceiverView::from);
    let files = if task.has_files { api.store.files(id).await?.unwrap_or_default() } else { Vec::new() };
    let files = files.into_iter().map(FileView::from).collect();
    let record = TaskView::new(task, api.clock.now());
    Ok(Json(TaskDetailView { record, log, attempts, depends, files, webhook }))
}

/// Leaves out dependencies that are not within the reach of the sender: a key that reaches more has made the task wait
/// for them.
pub(super) async fn depends_within(
    api: &Api,
    sender: &Identity,
    depends: Option<DependencyStatus>,
) -> Result<Option<DependencyStatus>, Problem> {
    let Some(mut depends) = depends else { return Ok(None) };
    if !sender.reach().is_bounded() {
        return Ok(Some(depends));
    }
    let ids = depends.on.iter().map(|on| on.id).collect();
    let within = api.store.within(ids, sender.reach().clone()).await?;
    depends.on.retain(|on| within.contains(&on.id));
    Ok(Some(depends))
}

/// Returns all attempts of a task: the stored ones, and the newest one, which is part of the task.
async fn attempts(api: &Api, task: &Task) -> Result<Vec<AttemptView>, Problem> {
    let newest = task.started_at.is_some();
    let earlier = task.attempt - u32::from(newest && task.attempt > 0);
    let mut attempts = Vec::new();
    if earlier > 0 {
        // The task may have started another attempt since it was read.
        let stored = api.store.attempts(task.id).await?.into_iter();
        attempts.extend(stored.filter(|stored| stored.attempt <= earlier).map(AttemptView::stored));
    }
    if newest {
        attempts.push(AttemptView::newest(task));
    }
    Ok(attempts)
}

pub(crate) fn spec() -> Operation {
    let mut example = view::example();
    example["log"] = "attempt 1 began\n".into();
    example["attempts"] = json!([{
        "attempt": 1, "outcome": null, "message": null, "started_at": "2026-11-23T07:26:49.604278581Z",
        "finished_at": null, "plugin_digest": null,
    }]);
    example["depends_on"] = json!([{"id": "01a2074c-d8a1-7c3e-9f6b-5b0c1f7f2a90", "outcome": "completed"}]);
    example["on_failure"] = "cancel".into();
    example["input_from"] = json!(null);
    example["files_from"] = json!(null);
    example["files"] = json!([FileView::example()]);
    example["webhook"] = json!({"url": "https://example.com/hook", "on": ["failed"], "state": "idle"});
    Operation::get("/task/{id}", "getTask", "Get a task")
        .responds(200, ResponseSpec::json::<TaskDetailView>("The task.", example))
        .problems(&kind::TASK_ACCESS)
}
