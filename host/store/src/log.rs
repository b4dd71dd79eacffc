//! Logs: lines of runs, in memory while they run and in one row per task afterwards.

mod body;
mod packed;
mod run_log;

pub(crate) use body::{Body, Damaged};
pub use body::{LogLines, LogPart};
pub(crate) use run_log::LogBudget;
pub use run_log::{LiveLog, RunLog};
