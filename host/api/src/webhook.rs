//! `GET /task/{id}/webhook` and `POST /task/{id}/webhook/retry`: what has become of telling a receiver that a
//! task has ended, and once more.
//!
//! Below it is all of webhooks that is HTTP: the field of a request, what is told, and the deliveries. They are
//! part of the API since it alone knows HTTP, and the record of a task as it is told.

mod delivery;
mod in_flight;
mod payload;
mod post;
mod request;
mod sign;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use wasmill_model::{TaskId, TaskState};
use wasmill_store::{DeliveryAttempt, DeliveryState, Redelivery, WebhookStatus};

pub use self::delivery::{WebhookConfig, Webhooks};
pub(crate) use self::payload::about as about_told;
pub(crate) use self::request::{WebhookWish, read};
pub use self::sign::{InvalidSecret, SigningSecrets};
use crate::app::Api;
use crate::openapi::{Answer, Operation};
use crate::problem::Problem;
use crate::problem_kind as kind;
use crate::task_view::Rfc3339;

/// What has become of telling a receiver.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Delivery")]
struct View {
    /// The id of the delivery, as the receiver gets it with each try.
    id: String,
    url: String,
    /// Of which ends of the task the receiver is told.
    #[schemars(inner(regex(pattern = "^(completed|failed|cancelled)$")))]
    on: Vec<&'static str>,
    /// `idle` while there is nothing to deliver: the task has not ended, or in a way of which the receiver is not
    /// told.
    #[schemars(extend("enum" = DeliveryState::ALL.map(DeliveryState::as_str)))]
    state: &'static str,
    /// How often it was tried.
    attempt_count: u32,
    /// When it is tried next, while it is pending; in the past if that is now.
    next_attempt_at: Option<Rfc3339>,
    /// The newest 20 tries, the oldest of them first.
    attempts: Vec<DeliveryAttemptView>,
}

/// Who is told of the end of a task. Part of `GET /task/{id}`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Receiver")]
pub(crate) struct ReceiverView {
    url: String,
    /// Of which ends.
    #[schemars(inner(regex(pattern = "^(completed|failed|cancelled)$")))]
    on: Vec<&'static str>,
    /// Where the delivery stands.
    #[schemars(extend("enum" = DeliveryState::ALL.map(DeliveryState::as_str)))]
    state: &'static str,
}

impl From<WebhookStatus> for ReceiverView {
    fn from(log: WebhookStatus) -> Self {
        let on = log.on.into_iter().map(TaskState::as_str).collect();
        Self { url: log.url, on, state: log.state.as_str() }
    }
}

/// One try.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeliveryAttempt")]
struct DeliveryAttemptView {
    time: Rfc3339,
    duration_ms: u64,
    /// The status code of the answer; `null` if there was none.
    status: Option<u16>,
    /// What went wrong, where the status does not say it.
    error: Option<String>,
}

impl View {
    fn new(task: TaskId, log: WebhookStatus) -> Self {
        let WebhookStatus { url, on, state, next_at, attempts, recent_attempts } = log;
        Self {
            id: payload::delivery_id(task),
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
    let id = Api::task_id(&id)?;
    view(&api, id).await.map(Json)
}

pub(crate) async fn redeliver(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = Api::task_id(&id)?;
    match api.store.redeliver(id, api.clock.now()).await? {
        Redelivery::NotFound => Err(Problem::unknown_task(id)),
        Redelivery::NoWebhook => Err(Problem::no_webhook(id)),
        Redelivery::Idle(state) => Err(Problem::nothing_to_deliver(id, state)),
        Redelivery::Due => Ok((StatusCode::ACCEPTED, Json(view(&api, id).await?))),
    }
}

async fn view(api: &Api, id: TaskId) -> Result<View, Problem> {
    let log = Api::found(id, api.store.webhook(id).await)?;
    Ok(View::new(id, log.ok_or_else(|| Problem::no_webhook(id))?))
}

fn answer(about: &'static str) -> Answer {
    let task = "01a2074c-e503-703b-819d-4717c026346b";
    let example = json!({
        "id": format!("end-{task}"), "url": "https://example.com/hook", "on": ["completed", "failed", "cancelled"],
        "state": "pending", "attempt_count": 1, "next_attempt_at": "2026-11-23T07:26:56.617291345Z",
        "attempts": [{
            "time": "2026-11-23T07:26:51.617291345Z", "duration_ms": 12, "status": 503, "error": null,
        }],
    });
    Answer::json::<View>(about, example)
}

pub(crate) fn about_webhook() -> Operation {
    Operation::get("/task/{id}/webhook", "getTaskWebhook", "Show what has become of the webhook of a task")
        .answers(200, answer("Where its delivery stands, and how the newest tries went."))
        .problems(&[kind::NO_WEBHOOK])
        .problems(&kind::OF_TASK)
}

pub(crate) fn about_redeliver() -> Operation {
    let summary = "Tell the receiver of an ended task once more";
    Operation::post("/task/{id}/webhook/retry", "retryTaskWebhook", summary)
        .detail("Delivered or given up, it is tried now, with the same id. If that fails, it is tried on as ever.")
        .answers(202, answer("It is tried now."))
        .problems(&[kind::NO_WEBHOOK, kind::NOTHING_TO_DELIVER])
        .problems(&kind::OF_TASK)
}
