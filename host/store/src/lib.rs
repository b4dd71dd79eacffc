//! Durable state: every task with its input, result, log and checkpoint.
//!
//! [`Store`] is the handle that the scheduler and the API call; a [`Backend`] does the work in its database. This
//! crate has what all backends share, and knows no SQL: the types, the [`rules`] as pure functions, and the
//! [`live`] side in memory. A store never decides what runs, never runs anything and never reads the clock:
//! callers pass the time.

mod backend;
mod cluster;
pub mod commit;
mod counts;
mod error;
mod event;
mod files;
mod folder_lock;
pub mod live;
mod retention;
pub mod rules;
mod schedule;
mod store;
pub mod stored;
mod task;
mod webhook;

pub use backend::{
    Backend, Children, Cluster, Deliveries, Files, Inbox, PostedEvents, Schedules, SharedPlugins, TaskQueue,
    TaskReads, Upkeep,
};
pub use cluster::{
    HeldSnapshot, Host, HostReport, InboxBacklog, InboxOutcome, InboxRequest, InboxTask, Lease, OwnHost,
    PluginFiles, PluginSignatures, PublishedPlugin, SharedSettings, StopRequest, differing,
};
pub use counts::{CommitStats, Counts, CountsWithin, FinishedCounts, PluginCounts, Recovery, StoreStats};
pub use error::StoreError;
pub use event::{Event, EventKind, EventPayload};
pub use files::{PART_BYTES, Staged, Staging};
pub use folder_lock::{lock_file, locked_by_other};
pub use live::{EventSample, LiveLog, LogLines, LogPart, Received, RunLog, Subscriber, TaskSubscriber};
pub use retention::{Excess, Prunable, PruneCursor, PruneProgress, PruneStep, Pruned, RetentionBounds};
pub use schedule::{
    DueOutcome, DueRuns, LastRun, NewSchedule, PutOutcome, RemoveScheduleOutcome, RunNowOutcome, SPACE_SHARE,
    Schedule,
};
pub use store::Store;
pub use task::{
    Attempt, CancelOutcome, CancelledMany, Checkpoint, ChildrenOutcome, Claim, ClaimQuota, Claimed, Claims,
    Cursor, Dependency, DependencyResults, DependencyStatus, Filter, HandedFiles, IdempotencyKey,
    InvalidCursor, ListQuery, Page, PostOutcome, RemoveOutcome, Stopping, StoredSteps, Submitted,
    SubmittedTask, TaskRef,
};
pub use webhook::{
    AttemptOutcome, Delivery, DeliveryAttempt, DeliveryBacklog, DeliveryState, DueDeliveries, DueQuery,
    Redelivery, WebhookStatus,
};
