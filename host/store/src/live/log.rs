//! Logs: lines of runs, in memory while they run and in one row per task afterwards.

mod body;
mod live_log;
mod packed;
mod run_log;

pub use body::{Body, Damaged, LogPart};
pub use live_log::{LiveLog, LogLines};
pub(crate) use run_log::LogBudget;
pub use run_log::RunLog;
