//! Durable state: every task with its input, result, log and checkpoint.
//!
//! [`Store`] is the handle that the scheduler and the API call; a [`Backend`] does the work in its database. This
//! crate has what all backends share, and knows no SQL: the types, the [`rules`] as pure functions, and the
//! [`live`] side in memory. A store never decides what runs, never runs anything and never reads the clock:
//! callers pass the time.

mod attempt;
mod backend;
mod claim;
pub mod commit;
mod counts;
mod dependency;
mod error;
mod event;
mod filter;
mod folder_lock;
mod host;
mod inbox;
mod lease;
pub mod live;
mod page;
mod plugin;
mod retention;
pub mod rules;
mod schedule;
mod store;
pub mod stored;
mod submit;
mod task_ref;
mod webhook;

pub use attempt::Attempt;
pub use backend::{
    Backend, Cluster, Deliveries, Inbox, Schedules, SharedPlugins, TaskQueue, TaskReads, Upkeep,
};
pub use claim::{CancelOutcome, Checkpoint, Claim, ClaimQuota, Claimed, Claims, RemoveOutcome};
pub use counts::{CommitStats, Counts, FinishedCounts, PluginCounts, Recovery, StoreStats};
pub use dependency::{Dependency, DependencyResults, DependencyStatus};
pub use error::StoreError;
pub use event::{Event, EventKind, EventPayload};
pub use filter::{CancelledMany, Filter, Stopping};
pub use folder_lock::{lock_file, locked_by_other};
pub use host::{Host, HostReport, OwnHost, SharedSettings, StopRequest, differing};
pub use inbox::{InboxBacklog, InboxOutcome, InboxRequest, InboxTask};
pub use lease::Lease;
pub use live::{EventSample, LiveLog, LogLines, LogPart, Received, RunLog, Subscriber, TaskSubscriber};
pub use page::{Cursor, InvalidCursor, ListQuery, Page};
pub use plugin::{PluginFiles, PublishedPlugin};
pub use retention::{Excess, Prunable, PruneCursor, PruneProgress, PruneStep, Pruned, RetentionBounds};
pub use schedule::{
    DueOutcome, DueRuns, LastRun, NewSchedule, PutOutcome, RemoveScheduleOutcome, RunNowOutcome, Schedule,
};
pub use store::Store;
pub use submit::{IdempotencyKey, StoredSteps, Submitted, SubmittedTask};
pub use task_ref::TaskRef;
pub use webhook::{
    AttemptOutcome, Delivery, DeliveryAttempt, DeliveryBacklog, DeliveryState, DueDeliveries, DueQuery,
    Redelivery, WebhookStatus,
};
