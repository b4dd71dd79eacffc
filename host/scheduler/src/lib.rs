//! Decides what runs now, within the slots, and carries each run to its stored end.
//!
//! It meets the rest of Wasmill in the store: the API hands it hints, never tasks. It knows no SQL,
//! no wasm and no HTTP; a [`wasmill_model::Runner`] does the running.

mod cancel_many;
mod dependency_results;
mod dispatch;
mod guest;
mod pause;
mod progress;
mod rates;
mod retention;
mod run;
mod running;
mod scheduler;
mod schedules;
mod stats;
mod task_host;

pub use retention::Retention;
pub use scheduler::{DrainOutcome, RunInfo, Scheduler, SchedulerConfig, Slots};
pub use schedules::{LATE_MAX, MISSED_MAX, Prepare, SCHEDULES_MAX, ScheduleStats, Schedules};
pub use stats::{AttemptStats, SchedulerStats};
