//! What commands read of the answers; keys that an older server lacks are empty, further ones ignored.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wasmill_model::{Clock, SystemClock, Timestamp};

/// A task, as far as its record is shown.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Task {
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) status: String,
    pub(crate) plugin: String,
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    pub(crate) host_crashes: u32,
    pub(crate) timeout_ms: u64,
    pub(crate) duration_ms: u64,
    pub(crate) created_at: String,
    pub(crate) ready_at: String,
    pub(crate) started_at: Option<String>,
    pub(crate) finished_at: Option<String>,
    pub(crate) progress: Option<Progress>,
    pub(crate) error: Option<TaskError>,
    pub(crate) result: Option<String>,
    pub(crate) retry_of: Option<String>,
    pub(crate) priority: i64,
    pub(crate) tags: Vec<String>,
    pub(crate) group: Option<String>,
    pub(crate) usage: Option<serde_json::Map<String, serde_json::Value>>,
    pub(crate) waits_for: u32,
    pub(crate) trace_id: Option<String>,
}

/// How far a guest says it has come.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Progress {
    pub(crate) fraction: f64,
    pub(crate) note: String,
}

impl Progress {
    /// Returns how much is done, in whole percent.
    pub(crate) fn percent(&self) -> f64 {
        (self.fraction * 100.0).floor()
    }
}

/// Why the newest attempt failed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TaskError {
    pub(crate) cause: String,
    pub(crate) message: String,
}

impl Task {
    /// Says whether the task is over.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state.as_str(), "completed" | "failed" | "cancelled")
    }

    /// Returns how long the newest attempt has run.
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_millis(self.duration_ms)
    }

    /// Says which attempt a task waits for that has had one.
    pub(crate) fn next_attempt(&self) -> Option<String> {
        let waits_again = self.state == "waiting" && self.attempt > 0;
        waits_again.then(|| format!("waits for attempt {} of {}", self.attempt + 1, self.last_attempt()))
    }

    /// Returns the number of the last attempt: as many as were asked for, and one more for each that a crash of the
    /// host ended.
    pub(crate) fn last_attempt(&self) -> u32 {
        self.max_attempts.saturating_add(self.host_crashes)
    }

    /// Returns how long ago the task was submitted, by the clock of this machine.
    pub(crate) fn age(&self) -> Duration {
        since(&self.created_at)
    }
}

/// Returns how far ahead a moment is; zero for one that is no moment, or has come by this clock.
pub(crate) fn until(moment: &str) -> Duration {
    let moment = moment.parse::<Timestamp>();
    moment.ok().and_then(|moment| (moment - SystemClock.now()).to_std().ok()).unwrap_or_default()
}

/// Returns how long ago a moment was; zero for one that is no moment, or ahead of this clock.
pub(crate) fn since(moment: &str) -> Duration {
    let moment = moment.parse::<Timestamp>();
    moment.ok().and_then(|moment| (SystemClock.now() - moment).to_std().ok()).unwrap_or_default()
}

/// One line of a task's log.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct LogLine {
    pub(crate) seq: u64,
    pub(crate) time: String,
    pub(crate) attempt: u32,
    pub(crate) stream: String,
    pub(crate) text: String,
    /// Whether the line was too long and goes on in the next of its stream.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) cut: bool,
}

/// How busy a server is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Stats {
    pub(crate) waiting: u64,
    pub(crate) running: u64,
    pub(crate) slots: Slots,
    pub(crate) memory: Memory,
    pub(crate) draining: bool,
    pub(crate) stored: ByState,
    pub(crate) ended: ByState,
    pub(crate) plugins: BTreeMap<String, OfPlugin>,
}

/// How many tasks there are of each state; of what ever ended, only those that are final.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ByState {
    pub(crate) waiting: u64,
    pub(crate) running: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct OfPlugin {
    pub(crate) stored: ByState,
    pub(crate) ended: ByState,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Slots {
    pub(crate) total: u64,
    pub(crate) used: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Memory {
    pub(crate) total_bytes: u64,
    pub(crate) used_bytes: u64,
    pub(crate) holds_tasks_back: bool,
}
