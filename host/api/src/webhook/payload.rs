//! The payload of a webhook: the finished task.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use wasmill_model::{Task, Timestamp};
use wasmill_webhooks::delivery_id;

use crate::openapi::Schemas;
use crate::view::task::{self as view, TaskView};
use crate::view::time::Rfc3339;

/// Maximum bytes of a result in the payload; a larger one must be fetched.
const RESULT_BYTES_MAX: usize = 64 << 10;

/// The payload of a webhook.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TaskFinished")]
struct Payload {
    /// Delivery id, the same in every attempt and in the header `webhook-id`.
    id: String,
    /// `task.completed`, `task.failed` or `task.cancelled`.
    r#type: String,
    /// When the task finished.
    time: Rfc3339,
    /// The task, without its log.
    task: TaskView,
    /// Path of the result if it is larger than 64 KiB, and so not in the task.
    result_path: Option<String>,
}

impl Payload {
    /// Creates the payload of a finished task.
    fn of(mut task: Task, now: Timestamp) -> Self {
        let is_large = task.result.as_ref().is_some_and(|result| result.len() > RESULT_BYTES_MAX);
        if is_large {
            task.result = None;
        }
        Self {
            id: delivery_id(task.id),
            r#type: format!("task.{}", task.state.as_str()),
            time: Rfc3339(task.finished_at.unwrap_or(now)),
            result_path: is_large.then(|| format!("/task/{}/result", task.id)),
            task: TaskView::new(task, now),
        }
    }
}

/// Serializes the payload of a finished task.
///
/// # Errors
///
/// Fails with a description if the task cannot be serialized.
pub fn payload(task: Task, now: Timestamp) -> Result<Vec<u8>, String> {
    serde_json::to_vec(&Payload::of(task, now)).map_err(|error| error.to_string())
}

/// Documents the webhook.
pub(crate) fn spec(schemas: &mut Schemas) -> Value {
    let mut task = view::example();
    task["state"] = "completed".into();
    task["status"] = "completed".into();
    task["result"] = "io work result = 1".into();
    task["finished_at"] = "2026-11-23T07:26:51.617291345Z".into();
    let id = task["id"].as_str().unwrap_or_default().to_owned();
    let example = json!({
        "id": format!("end-{id}"), "type": "task.completed", "time": task["finished_at"], "task": task,
        "result_path": null,
    });
    let header = |name: &str, description: &str, required: bool| json!({"name": name, "in": "header", "required": required, "description": description, "schema": {"type": "string"}});
    let schema = schemas.responses.subschema_for::<Payload>();
    json!({"taskEnded": {"post": {
        "operationId": "taskEnded", "tags": ["tasks"], "summary": "A task with a webhook has finished",
        "description": "Sent to the webhook of the task at least once, in the format of Standard Webhooks 1.0. Any response but 2xx is a failure and the delivery is repeated later; 410 stops it.",
        "parameters": [
            header("webhook-id", "Delivery id, the same in every attempt.", true),
            header("webhook-timestamp", "Time of this attempt, in seconds since 1970.", true),
            header("webhook-signature", "`v1,` and the base64 HMAC-SHA256 of id, timestamp and body joined by dots; one per secret, missing if the server has no secret.", false),
        ],
        "requestBody": {"required": true, "content": {"application/json": {"schema": schema, "example": example}}},
        "responses": {"2XX": {"description": "The receiver has accepted the delivery."}, "410": {"description": "The receiver wants no further attempts."}},
    }}})
}
