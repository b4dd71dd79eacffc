//! The parts of responses that commands use; missing keys are empty, unknown ones ignored.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wasmill_model::{Clock, SystemClock, Timestamp};

/// The shown parts of a task.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Task {
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) queue_state: Option<String>,
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
    pub(crate) exit_code: Option<i32>,
    pub(crate) error: Option<TaskError>,
    pub(crate) result: Option<String>,
    pub(crate) result_encoding: Option<String>,
    pub(crate) retry_of: Option<String>,
    pub(crate) priority: i64,
    pub(crate) tags: Vec<String>,
    pub(crate) group: Option<String>,
    pub(crate) usage: Option<serde_json::Map<String, serde_json::Value>>,
    pub(crate) pending_dependencies: u32,
    pub(crate) trace_id: Option<String>,
}

/// The progress that a guest reported.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Progress {
    pub(crate) fraction: f64,
    pub(crate) note: String,
}

impl Progress {
    /// Returns the progress in whole percent.
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
    /// Returns true if the task has finished.
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.state.as_str(), "completed" | "failed" | "cancelled")
    }

    /// Returns the state with what a waiting task waits for: `blocked`, `scheduled`, `suspended` or `available`.
    pub(crate) fn full_state(&self) -> &str {
        self.queue_state.as_deref().unwrap_or(&self.state)
    }

    /// Returns how long the newest attempt has run.
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_millis(self.duration_ms)
    }

    /// Describes the attempt that a retried task waits for.
    pub(crate) fn waiting_for(&self) -> Option<String> {
        let waits_again = self.state == "waiting" && self.attempt > 0;
        waits_again.then(|| format!("waits for attempt {} of {}", self.attempt + 1, self.last_attempt()))
    }

    /// Returns the number of the last attempt: `max_attempts`, plus one for each attempt that a host crash ended.
    pub(crate) fn last_attempt(&self) -> u32 {
        self.max_attempts.saturating_add(self.host_crashes)
    }

    /// Returns the time since the task was submitted, by this machine's clock.
    pub(crate) fn age(&self) -> Duration {
        elapsed_since(&self.created_at)
    }
}

/// Returns the time until a timestamp; zero if it is invalid or past.
pub(crate) fn time_until(moment: &str) -> Duration {
    let moment = moment.parse::<Timestamp>();
    moment.ok().and_then(|moment| (moment - SystemClock.now()).to_std().ok()).unwrap_or_default()
}

/// Returns the time since a timestamp; zero if it is invalid or in the future.
pub(crate) fn elapsed_since(moment: &str) -> Duration {
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
    /// True if the line was too long and continues in the next one of its stream.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) cut: bool,
}

/// Statistics of a server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Stats {
    pub(crate) waiting: u64,
    pub(crate) running: u64,
    /// `None` for a key that reaches a part of the tasks, as `memory`.
    pub(crate) slots: Option<Slots>,
    pub(crate) memory: Option<Memory>,
    pub(crate) draining: bool,
    pub(crate) stored: StateCounts,
    /// Whether the counts are lower bounds.
    pub(crate) is_at_least: bool,
    /// `None` if they are not counted.
    pub(crate) finished: Option<StateCounts>,
    pub(crate) plugins: BTreeMap<String, PluginStats>,
}

/// A host that shares the database.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Host {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) this: bool,
    #[serde(default)]
    pub(crate) on_duty: bool,
    #[serde(default)]
    pub(crate) lease_age_ms: u64,
    #[serde(default)]
    pub(crate) slots: Slots,
    #[serde(default)]
    pub(crate) memory_free_bytes: u64,
    #[serde(default)]
    pub(crate) other_settings: Vec<String>,
}

/// Tasks by state; of those that ever finished, only the final states.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StateCounts {
    pub(crate) waiting: u64,
    pub(crate) running: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PluginStats {
    pub(crate) stored: StateCounts,
    pub(crate) finished: Option<StateCounts>,
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
    pub(crate) blocks_queue: bool,
}
