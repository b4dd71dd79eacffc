//! Decides which tasks run now, within the slots, and drives each run until its outcome is stored.
//!
//! The store is its only link to the rest of Wasmill: the API sends wake-ups, never tasks. It knows no SQL,
//! WebAssembly or HTTP; a [`wasmill_model::Runner`] executes guests.

mod cancel_many;
mod cluster;
mod dispatch;
mod execute;
mod guest;
mod inbox;
mod pause;
mod paused;
mod progress;
mod rates;
mod retention;
mod run;
mod running;
mod scheduler;
mod schedules;
mod shared;
mod stats;
mod task_host;

pub use inbox::{Accept, InboxRefusal, run_inbox};
pub use retention::Retention;
pub use run::RunInfo;
pub use scheduler::{DrainOutcome, Scheduler, Slots};
pub use schedules::{LATE_MAX, MISSED_MAX, Prepare, SCHEDULES_MAX, ScheduleStats, Schedules};
pub use shared::SchedulerConfig;
pub use stats::{AttemptStats, LatencyStats, SchedulerStats};
pub use task_host::children::AcceptChildren;
