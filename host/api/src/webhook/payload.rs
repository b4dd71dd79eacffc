//! What a receiver is told: which task ended, how, and its record.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use wasmill_model::{Task, TaskId, Timestamp};

use crate::openapi::operation::Schemas;
use crate::task_view::{self, Record, Rfc3339};

/// Bytes of the largest result that is told with the end of a task; a larger one has to be fetched.
const RESULT_BYTES_MAX: usize = 64 << 10;

/// What a receiver is told when a task has ended.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TaskEnded")]
pub(super) struct Told {
    /// The id of the delivery, the same in each try, as in the header `webhook-id`.
    id: String,
    /// `task.completed`, `task.failed` or `task.cancelled`.
    r#type: String,
    /// When the task ended.
    time: Rfc3339,
    /// Its record, without its log.
    task: Record,
    /// Where its result is, if that is too large to be in the record: over 64 KiB.
    result_path: Option<String>,
}

impl Told {
    /// Tells of a task that has ended.
    pub(super) fn of(mut task: Task, now: Timestamp) -> Self {
        let is_large = task.result.as_ref().is_some_and(|result| result.len() > RESULT_BYTES_MAX);
        if is_large {
            task.result = None;
        }
        Self {
            id: delivery_id(task.id),
            r#type: format!("task.{}", task.state.as_str()),
            time: Rfc3339(task.finished_at.unwrap_or(now)),
            result_path: is_large.then(|| format!("/task/{}/result", task.id)),
            task: Record::new(task, now),
        }
    }
}

/// Returns the id of the delivery of a task: a task ends once, so it follows from its own.
pub(super) fn delivery_id(task: TaskId) -> String {
    format!("end-{task}")
}

/// Describes, for the API document, what receivers are sent.
pub(crate) fn about(schemas: &mut Schemas) -> Value {
    let mut task = task_view::example();
    task["state"] = "completed".into();
    task["status"] = "completed".into();
    task["result"] = "io work result = 1".into();
    task["finished_at"] = "2026-11-23T07:26:51.617291345Z".into();
    let id = task["id"].as_str().unwrap_or_default().to_owned();
    let example = json!({
        "id": format!("end-{id}"), "type": "task.completed", "time": task["finished_at"], "task": task,
        "result_path": null,
    });
    let header = |name: &str, about: &str, required: bool| json!({"name": name, "in": "header", "required": required, "description": about, "schema": {"type": "string"}});
    let schema = schemas.answers.subschema_for::<Told>();
    json!({"taskEnded": {"post": {
        "operationId": "taskEnded", "tags": ["tasks"], "summary": "A task with a webhook has ended",
        "description": "Sent to the webhook of the task, at least once, in the form of Standard Webhooks 1.0. \
            An answer that is no 2xx is a failure, and it is sent again later; 410 ends that.",
        "parameters": [
            header("webhook-id", "The id of the delivery, the same in each try.", true),
            header("webhook-timestamp", "When this try began, in seconds since 1970.", true),
            header("webhook-signature", "`v1,` and the HMAC-SHA256 in base64 of id, timestamp and body with \
                dots between them; one for each secret, and missing if the server has none.", false),
        ],
        "requestBody": {"required": true, "content": {"application/json": {"schema": schema, "example": example}}},
        "responses": {"2XX": {"description": "The receiver knows."}, "410": {"description": "It wants no more of this."}},
    }}})
}
