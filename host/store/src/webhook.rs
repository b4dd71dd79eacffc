//! Webhook deliveries and their attempts. Plain data only.

use std::collections::HashSet;
use std::time::Duration;

use wasmill_model::{TaskId, TaskState, Timestamp};

use crate::TaskRef;

/// A webhook delivery of a finished task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The task.
    pub task: TaskId,
    /// Where the backend keeps the task.
    pub task_ref: TaskRef,
    /// URL of the receiver.
    pub url: String,
    /// Scheme, host and port of the URL.
    pub origin: String,
    /// Number of earlier attempts.
    pub attempts: u32,
    /// Attempts of earlier rounds, which do not count against the limit.
    pub attempts_before: u32,
    /// How often redelivery was requested.
    pub round: i64,
}

/// Selects due deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueQuery {
    /// The current time.
    pub now: Timestamp,
    /// Considers only origins after this one.
    pub after: Option<String>,
    /// Origins to leave out.
    pub busy_origins: HashSet<String>,
    /// Maximum deliveries per origin.
    pub per_origin: usize,
    /// Stops after this many deliveries over all origins.
    pub limit: usize,
}

/// Due deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueDeliveries {
    /// The deliveries; those of one origin in the order in which they became due.
    pub deliveries: Vec<Delivery>,
    /// When the next delivery of the considered origins becomes due.
    pub next_at: Option<Timestamp>,
    /// The last origin considered, if there may be more.
    pub stopped_at: Option<String>,
}

/// One attempt to deliver a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryAttempt {
    /// When it started.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// Status code of the response, if there was one.
    pub status: Option<u16>,
    /// What went wrong, unless the status code says it.
    pub error: Option<String>,
}

/// What follows a delivery attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The receiver confirmed the delivery.
    Delivered,
    /// The next attempt is due at this time.
    RetryAt(Timestamp),
    /// The maximum number of attempts is reached, or the receiver wants no more.
    GivenUp,
}

/// State of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// Nothing to deliver: the task has not finished, or in a state the webhook does not ask for.
    Idle,
    /// Waits for its first or next attempt.
    Pending,
    /// The receiver confirmed it.
    Delivered,
    /// No further attempt will be made.
    GivenUp,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Idle, Self::Pending, Self::Delivered, Self::GivenUp];

    /// Returns the name used in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::GivenUp => "given-up",
        }
    }
}

/// The webhook of a task and the state of its delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookStatus {
    /// URL of the receiver.
    pub url: String,
    /// Final states that trigger a delivery.
    pub on: Vec<TaskState>,
    /// State of the delivery.
    pub state: DeliveryState,
    /// Next attempt while it is pending; in the past if it is due.
    pub next_at: Option<Timestamp>,
    /// Number of attempts.
    pub attempts: u32,
    /// The newest attempts, oldest first.
    pub recent_attempts: Vec<DeliveryAttempt>,
}

/// How a redelivery request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redelivery {
    /// The task does not exist.
    NotFound,
    /// The task has no webhook.
    NoWebhook,
    /// There is nothing to deliver; the task is in this state.
    Idle(TaskState),
    /// The delivery is due now.
    Due,
}

/// Pending deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryBacklog {
    /// Number of pending deliveries, counted up to 100,000.
    pub pending: u64,
    /// When the oldest of them became pending.
    pub oldest: Option<Timestamp>,
}
