//! `GET /task/{id}`: the whole record, with the newest lines of its log.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::app::Api;
use crate::attempts::{AttemptView, attempts};
use crate::dependencies::DependsView;
use crate::openapi::{Answer, Operation};
use crate::problem::Problem;
use crate::problem_kind as kind;
use crate::task_view::{self, Record};
use crate::webhook::ReceiverView;

/// The whole record of a task, with the newest lines of its log.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RecordWithLog")]
struct WithLog {
    #[serde(flatten)]
    record: Record,
    /// What the newest ended attempt wrote to stdout and stderr.
    log: Option<String>,
    /// Every attempt that counts, the first one first.
    attempts: Vec<AttemptView>,
    #[serde(flatten)]
    depends: DependsView,
    /// Who is told of its end; `null` if nobody is. `GET /task/{id}/webhook` shows each try.
    webhook: Option<ReceiverView>,
}

pub(crate) async fn task(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = Api::task_id(&id)?;
    let task = Api::found(id, api.store.get(id).await)?;
    let log = api.store.log(id).await?;
    let attempts = attempts(&api, &task).await?;
    // Most tasks wait for none, and are not asked.
    let depends = if task.pending_dependencies.is_some() { api.store.dependencies(id).await? } else { None };
    let depends = depends.map(DependsView::from).unwrap_or_default();
    let webhook = if task.has_webhook { api.store.webhook(id).await?.flatten() } else { None };
    let webhook = webhook.map(ReceiverView::from);
    Ok(Json(WithLog { record: Record::new(task, api.clock.now()), log, attempts, depends, webhook }))
}

pub(crate) fn about() -> Operation {
    let mut example = task_view::example();
    example["log"] = "attempt 1 began\n".into();
    example["attempts"] = json!([{
        "attempt": 1, "outcome": null, "message": null, "started_at": "2026-11-23T07:26:49.604278581Z",
        "finished_at": null, "plugin_digest": null,
    }]);
    example["depends_on"] = json!([{"id": "01a2074c-d8a1-7c3e-9f6b-5b0c1f7f2a90", "outcome": "completed"}]);
    example["on_failure"] = "cancel".into();
    example["input_from"] = json!(null);
    example["webhook"] = json!({"url": "https://example.com/hook", "on": ["failed"], "state": "idle"});
    Operation::get("/task/{id}", "getTask", "Show the whole record of a task")
        .answers(200, Answer::json::<WithLog>("Its record.", example))
        .problems(&kind::OF_TASK)
}
