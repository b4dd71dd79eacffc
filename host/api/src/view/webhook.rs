//! Webhooks and their deliveries.

use schemars::JsonSchema;
use serde::Serialize;
use wasmill_model::{TaskId, TaskState};
use wasmill_store::{DeliveryAttempt, DeliveryState, WebhookStatus};
use wasmill_webhooks::delivery_id;

use super::time::Rfc3339;

/// The delivery of a webhook.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Delivery")]
pub(crate) struct DeliveryView {
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
    pub(crate) fn new(task: TaskId, log: WebhookStatus) -> Self {
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
