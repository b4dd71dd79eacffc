//! Deliveries: what receivers are told when tasks end, and how each try went. Plain data only.

use std::collections::HashSet;
use std::time::Duration;

use wasmill_model::{TaskId, TaskState, Timestamp};

/// The end of a task that is to be told to its receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The task.
    pub task: TaskId,
    pub(crate) seq: i64,
    /// Where the receiver is told.
    pub url: String,
    /// Scheme, host and port of that.
    pub origin: String,
    /// How often it was tried before.
    pub attempts: u32,
    /// How many of those tries came before it was asked for once more: they do not count against the bound.
    pub attempts_before: u32,
    /// How often it was asked for once more.
    pub(crate) round: i64,
}

/// Which deliveries to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueQuery {
    /// What time it is.
    pub now: Timestamp,
    /// Looks at the origins behind this one only.
    pub after: Option<String>,
    /// Origins that get no more for now.
    pub busy_origins: HashSet<String>,
    /// The most of one origin.
    pub per_origin: usize,
    /// After how many of them, over all origins, to stop.
    pub limit: usize,
}

/// What is due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueDeliveries {
    /// The deliveries, those of one origin in the order in which they became due.
    pub deliveries: Vec<Delivery>,
    /// When the next one becomes due of the origins that were looked at.
    pub next_at: Option<Timestamp>,
    /// The last origin that was looked at, if there may be more behind it.
    pub stopped_at: Option<String>,
}

/// How one try went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryAttempt {
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// The status code of the answer, if there was one.
    pub status: Option<u16>,
    /// What went wrong, where the code does not say it.
    pub error: Option<String>,
}

/// What comes after a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// Nothing: the receiver knows.
    Delivered,
    /// It is tried again at this time.
    RetryAt(Timestamp),
    /// Nothing: it was tried often enough.
    GivenUp,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// There is nothing to deliver: the task has not ended, or in a way of which the receiver is not told.
    Idle,
    /// It waits for its first or next try.
    Pending,
    /// The receiver has said that it knows.
    Delivered,
    /// It will not be tried again.
    GivenUp,
}

impl DeliveryState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Idle, Self::Pending, Self::Delivered, Self::GivenUp];

    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::GivenUp => "given-up",
        }
    }
}

/// The webhook of a task, and what has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookStatus {
    /// Where the receiver is told.
    pub url: String,
    /// Of which ends it is told.
    pub on: Vec<TaskState>,
    /// Where the delivery stands.
    pub state: DeliveryState,
    /// When it is tried next, while it is pending; in the past if that is now.
    pub next_at: Option<Timestamp>,
    /// How often it was tried.
    pub attempts: u32,
    /// How the newest tries went, the oldest of them first.
    pub recent_attempts: Vec<DeliveryAttempt>,
}

/// What became of the wish to deliver once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redelivery {
    /// There is no such task.
    NotFound,
    /// The task has no webhook.
    NoWebhook,
    /// There is nothing to deliver.
    Idle(TaskState),
    /// It is due now.
    Due,
}

/// How much is pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryBacklog {
    /// Pending deliveries, counted to at most 100,000.
    pub pending: u64,
    /// Since when the one is pending that has been for longest.
    pub oldest: Option<Timestamp>,
}
