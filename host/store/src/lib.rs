//! Durable state: every task with its input, result, log and checkpoint.
//!
//! The scheduler and the API call it; it is the only crate that knows SQL. It never decides what runs, never
//! runs anything and never reads the clock: callers pass the time.

mod attempt;
mod claim;
mod config;
mod dependency;
mod error;
mod event;
mod event_bus;
mod filter;
mod live_runs;
mod log;
mod page;
mod plugin_counts;
mod retention;
mod run_ref;
mod schedule;
mod sqlite;
mod store;
mod submit;
mod task_spans;
mod webhook;

pub use attempt::Attempt;
pub use claim::{CancelOutcome, Checkpoint, Claim, ClaimQuota, Claimed, Claims, RemoveOutcome};
pub use config::{Backup, CommitStats, Counts, LockHolder, Recovery, StoreConfig, StoreStats};
pub use dependency::{Dependency, DependencyResults, DependencyStatus};
pub use error::StoreError;
pub use event::{Event, EventKind, EventPayload};
pub use event_bus::{Received, Subscriber, TaskSubscriber};
pub use filter::{CancelledMany, Filter, Stopping, TaskRef};
pub use log::{LiveLog, LogLines, LogPart, RunLog};
pub use page::{Cursor, InvalidCursor, ListQuery, Page};
pub use plugin_counts::{FinishedCounts, PluginCounts};
pub use retention::{Excess, PruneCursor, PruneStep, Pruned, RetentionBounds};
pub use schedule::{
    DueOutcome, DueRuns, LastRun, NewSchedule, PutOutcome, RemoveScheduleOutcome, RunNowOutcome, Schedule,
};
pub use store::Store;
pub use submit::{IdempotencyKey, StoredSteps, Submitted, SubmittedTask};
pub use webhook::{
    AttemptOutcome, Delivery, DeliveryAttempt, DeliveryBacklog, DeliveryState, DueDeliveries, DueQuery,
    Redelivery, WebhookStatus,
};
