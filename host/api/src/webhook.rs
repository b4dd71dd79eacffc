//! `GET /task/{id}/webhook` and `POST /task/{id}/webhook/retry`: the state of a webhook delivery, and a
//! redelivery.
//!
//! The submodules parse the request field and serialize the payload. `wasmill-webhooks` sends it.

mod payload;
mod request;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use wasmill_model::{TaskId, TaskState};
use wasmill_store::{DeliveryAttempt, DeliveryState, Redelivery, WebhookStatus};
use wasmill_webhooks::delivery_id;

pub use self::payload::payload;
pub(crate) use self::payload::spec as callback_spec;
pub(crate) use self::request::{WebhookRequest, read};
use crate::app::Api;
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem_kind as kind;
use crate::task_view::Rfc3339;

/// The delivery of a webhook.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Delivery")]
struct DeliveryView {
    /// Delivery id, the same in every attempt.
    id: String,
    url: String,
    /// Outcomes that are delivered.
    #[schemars(inner(regex(pattern = "^(completed|failed|cancelled)$")))]
    on: Vec<&'static str>,
    /// `idle` while there is nothing to deliver: the task has not finished, or with an outcome that is not
    /// selected.
    #[schemars(extend("enum" = DeliveryState::ALL.map(DeliveryState::as_str)))]
    state: &'static str,
    /// Number of delivery attempts.
    attempt_count: u32,
    /// Time of the next attempt while pending; in the past if it is due now.
    next_attempt_at: Option<Rfc3339>,
    /// The newest 20 attempts, oldest first.
    attempts: Vec<DeliveryAttemptView>,
}

/// The webhook of a task. Part of `GET /task/{id}`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TaskWebhook")]
pub(crate) struct ReceiverView {
    url: String,
    /// Outcomes that are delivered.
    #[schemars(inner(regex(pattern = "^(completed|failed|cancelled)$")))]
    on: Vec<&'static str>,
    /// State of the delivery.
    #[schemars(extend("enum" = DeliveryState::ALL.map(DeliveryState::as_str)))]
    state: &'static str,
}

impl From<WebhookStatus> for ReceiverView {
    fn from(log: WebhookStatus) -> Self {
        let on = log.on.into_iter().map(TaskState::as_str).collect();
        Self { url: log.url, on, state: log.state.as_str() }
    }
}

/// One delivery attempt.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeliveryAttempt")]
struct DeliveryAttemptView {
    time: Rfc3339,
    duration_ms: u64,
    /// Status code of the response; `null` without one.
    status: Option<u16>,
    /// What went wrong, if the status does not say it.
    error: Option<String>,
}

impl DeliveryView {
    fn new(task: TaskId, log: WebhookStatus) -> Self {
        let WebhookStatus { url, on, state, next_at, attempts, recent_attempts } = log;
        Self {
            id: delivery_id(task),
            url,
            on: on.into_iter().map(TaskState::as_str).collect(),
            state: state.as_str(),
            attempt_count: attempts,
            next_attempt_at: next_at.map(Rfc3339),
            attempts: recent_attempts.into_iter().map(DeliveryAttemptView::from).collect(),
        }
    }
}

impl From<DeliveryAttempt> for DeliveryAttemptView {
    fn from(DeliveryAttempt { at, took, status, error }: DeliveryAttempt) -> Self {
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Self { time: Rfc3339(at), duration_ms, status, error }
    }
}

pub(crate) async fn webhook(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = Api::parse_task_id(&id)?;
    view(&api, id).await.map(Json)
}

pub(crate) async fn redeliver(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = Api::parse_task_id(&id)?;
    match api.store.redeliver(id, api.clock.now()).await? {
        Redelivery::NotFound => Err(Problem::unknown_task(id)),
        Redelivery::NoWebhook => Err(Problem::no_webhook(id)),
        Redelivery::Idle(state) => Err(Problem::nothing_to_deliver(id, state)),
        Redelivery::Due => Ok((StatusCode::ACCEPTED, Json(view(&api, id).await?))),
    }
}

async fn view(api: &Api, id: TaskId) -> Result<DeliveryView, Problem> {
    let log = Api::require_task(id, api.store.webhook(id).await)?;
    Ok(DeliveryView::new(id, log.ok_or_else(|| Problem::no_webhook(id))?))
}

fn answer(description: &'static str) -> ResponseSpec {
    let task = "01a2074c-e503-703b-819d-4717c026346b";
    let example = json!({
        "id": format!("end-{task}"), "url": "https://example.com/hook", "on": ["completed", "failed", "cancelled"],
        "state": "pending", "attempt_count": 1, "next_attempt_at": "2026-11-23T07:26:56.617291345Z",
        "attempts": [{
            "time": "2026-11-23T07:26:51.617291345Z", "duration_ms": 12, "status": 503, "error": null,
        }],
    });
    ResponseSpec::json::<DeliveryView>(description, example)
}

pub(crate) fn webhook_spec() -> Operation {
    Operation::get("/task/{id}/webhook", "getTaskWebhook", "Get the webhook delivery of a task")
        .responds(200, answer("The state of the delivery, and its newest attempts."))
        .problems(&[kind::NO_WEBHOOK])
        .problems(&kind::TASK_ACCESS)
}

pub(crate) fn redeliver_spec() -> Operation {
    let summary = "Redeliver the webhook of a finished task";
    Operation::post("/task/{id}/webhook/retry", "retryTaskWebhook", summary)
        .detail(
            "Starts a new attempt now with the same delivery id, whether the webhook was delivered or \
                 given up. If it fails, further attempts follow as usual.",
        )
        .responds(202, answer("A new delivery attempt is due."))
        .problems(&[kind::NO_WEBHOOK, kind::NOTHING_TO_DELIVER])
        .problems(&kind::TASK_ACCESS)
}
