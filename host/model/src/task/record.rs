//! Tasks: new ones as submitted, and stored ones with their state.

use std::sync::Arc;
use std::time::Duration;

use crate::{
    Backoff, ChildName, ChildOf, Failure, Group, LimitedKey, NewDependencies, PluginName, Priority,
    ResultType, ScheduleName, Tag, TaskFile, TaskId, TaskState, Timestamp, TraceContext, Unique, UniqueKey,
    Usage, WakeOn, Webhook,
};

/// A validated task to store.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTask {
    /// Task id.
    pub id: TaskId,
    /// The plugin that runs it.
    pub plugin: PluginName,
    /// Input as JSON text.
    pub input: Option<String>,
    /// The files that come with it.
    pub files: Vec<TaskFile>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Wall-clock limit of an attempt.
    pub timeout: Duration,
    /// Maximum attempts, the first included; at least 1.
    pub attempts_max: u32,
    /// Backoff between attempts; `None` for the default of the host.
    pub backoff: Option<Backoff>,
    /// When it may start; `None` for at once.
    pub run_at: Option<Timestamp>,
    /// Whether `run_at` comes from a delay rather than a calendar time: if the clock goes back, it waits no
    /// longer than the delay.
    pub is_delayed: bool,
    /// Its priority.
    pub priority: Priority,
    /// Its tags, at most [`TAGS_MAX`](crate::TAGS_MAX).
    pub tags: Vec<Tag>,
    /// A key that no other unfinished task may hold.
    pub unique: Option<Unique>,
    /// The finished task that this one retries.
    pub retry_of: Option<TaskId>,
    /// The schedule that created it.
    pub schedule: Option<ScheduleName>,
    /// The tasks it depends on.
    pub dependencies: Option<NewDependencies>,
    /// The task that submits it as its child.
    pub child_of: Option<ChildOf>,
    /// The webhook to call when it finishes.
    pub webhook: Option<Webhook>,
    /// The trace context of its request.
    pub trace: Option<TraceContext>,
    /// Its group within the plugin; groups are served round robin. `None` for no group.
    pub group: Option<Group>,
    /// The id of the key that submitted it; `None` without one, and for a schedule.
    pub submitted_by: Option<Arc<str>>,
    /// That key, if its limits count the task.
    pub limited_by: Option<Arc<LimitedKey>>,
    /// Maximum waiting tasks of its plugin, this one included; `None` if only the limit of all tasks applies.
    pub waiting_max: Option<u64>,
}

impl NewTask {
    /// Creates a task with defaults: one attempt, at once.
    pub fn new(plugin: PluginName, created_at: Timestamp, timeout: Duration) -> Self {
        Self {
            id: TaskId::new(),
            plugin,
            input: None,
            files: Vec::new(),
            created_at,
            timeout,
            attempts_max: 1,
            backoff: None,
            run_at: None,
            is_delayed: false,
            priority: Priority::default(),
            tags: Vec::new(),
            unique: None,
            retry_of: None,
            schedule: None,
            dependencies: None,
            child_of: None,
            webhook: None,
            trace: None,
            group: None,
            submitted_by: None,
            limited_by: None,
            waiting_max: None,
        }
    }

    /// Returns when it may start, regardless of dependencies.
    pub fn ready_at(&self) -> Timestamp {
        self.run_at.map_or(self.created_at, |run_at| run_at.max(self.created_at))
    }

    /// Returns the state in which it is stored.
    pub fn first_state(&self) -> TaskState {
        if self.dependencies.as_ref().is_some_and(|dependencies| !dependencies.on.is_empty()) {
            TaskState::Blocked
        } else if self.ready_at() > self.created_at {
            TaskState::Scheduled
        } else {
            TaskState::Available
        }
    }
}

/// A stored task.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Task id.
    pub id: TaskId,
    /// The plugin that runs it.
    pub plugin: PluginName,
    /// Its state.
    pub state: TaskState,
    /// SHA-256, in hexadecimal, of the plugin of its newest attempt; `None` while it never ran. A host crash
    /// loses that of the attempt it ended.
    pub plugin_digest: Option<Arc<str>>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it may start; later than `created_at` if it was scheduled, suspended or retried.
    pub ready_at: Timestamp,
    /// When its newest attempt started; `None` while it waits, unless it is suspended.
    pub started_at: Option<Timestamp>,
    /// When a stop was requested while it ran: it is cancelled once its run has ended.
    pub stop_requested_at: Option<Timestamp>,
    /// When it reached its final state.
    pub finished_at: Option<Timestamp>,
    /// Number of started attempts, without those that were requeued.
    pub attempt: u32,
    /// Maximum attempts, the first included.
    pub attempts_max: u32,
    /// How many attempts ended in a host crash.
    pub host_crashes: u32,
    /// Wall-clock limit of an attempt.
    pub timeout: Duration,
    /// Backoff between attempts, if it has its own.
    pub backoff: Option<Backoff>,
    /// Bytes of its input; 0 without one.
    pub input_bytes: u64,
    /// Its priority.
    pub priority: Priority,
    /// Its tags.
    pub tags: Vec<Tag>,
    /// The key that no other unfinished task may hold.
    pub unique_key: Option<UniqueKey>,
    /// The finished task that this one retries.
    pub retry_of: Option<TaskId>,
    /// How often its newest attempt was suspended.
    pub suspensions: u32,
    /// What resumes it before `ready_at`; nothing unless it is suspended.
    pub wake_on: WakeOn,
    /// How many events were ever posted to it.
    pub events_posted: u64,
    /// The task that submitted it as its child, which may be gone.
    pub parent: Option<TaskId>,
    /// Its name among the children of that task.
    pub child_name: Option<ChildName>,
    /// How many tasks are above it.
    pub depth: u32,
    /// How many children it has submitted.
    pub children: u64,
    /// How many of them have ended.
    pub children_ended: u64,
    /// The result, once completed.
    pub result: Option<String>,
    /// What the result is; `None` without one, and for text of a plugin that declares nothing.
    pub result_type: Option<ResultType>,
    /// The failure of the newest ended attempt, or the dependency that had it cancelled.
    pub failure: Option<Failure>,
    /// Latest progress, while running.
    pub progress: Option<Progress>,
    /// Usage of its newest attempt, so far if it is running; `None` while it never ran. That of a requeued
    /// attempt and of one that a host crash ended is lost.
    pub usage: Option<Usage>,
    /// The schedule that created it, which may have been removed.
    pub schedule: Option<ScheduleName>,
    /// Number of unfinished dependencies; `None` if it has no dependencies.
    pub pending_dependencies: Option<u32>,
    /// The trace context of its request.
    pub trace: Option<TraceContext>,
    /// Its group.
    pub group: Option<Group>,
    /// The id of the key that submitted it.
    pub submitted_by: Option<Arc<str>>,
    /// Whether it has a webhook.
    pub has_webhook: bool,
    /// Whether it has files.
    pub has_files: bool,
}

impl Task {
    /// Returns how long the newest attempt has run by `now`: zero while the task waits or if it was cancelled
    /// before it started, constant once it has finished.
    pub fn duration(&self, now: Timestamp) -> Duration {
        let Some(started_at) = self.started_at else { return Duration::ZERO };
        let until = self.finished_at.unwrap_or(now);
        (until - started_at).to_std().unwrap_or(Duration::ZERO)
    }
}

/// Progress of a running guest.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// From 0.0 to 1.0.
    pub fraction: f64,
    /// What the guest is doing.
    pub note: String,
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        chrono::Utc.timestamp_opt(seconds, 0).single().expect("in range")
    }

    fn task(started: Option<i64>, finished: Option<i64>) -> Task {
        Task {
            id: TaskId::new(),
            plugin: "io-stub".parse().expect("valid"),
            state: TaskState::Available,
            plugin_digest: None,
            created_at: at(0),
            ready_at: at(0),
            started_at: started.map(at),
            stop_requested_at: None,
            finished_at: finished.map(at),
            attempt: 0,
            attempts_max: 1,
            host_crashes: 0,
            timeout: Duration::from_secs(600),
            backoff: None,
            input_bytes: 0,
            priority: Priority::default(),
            tags: Vec::new(),
            unique_key: None,
            retry_of: None,
            result: None,
            result_type: None,
            failure: None,
            progress: None,
            usage: None,
            suspensions: 0,
            wake_on: WakeOn::default(),
            events_posted: 0,
            parent: None,
            child_name: None,
            depth: 0,
            children: 0,
            children_ended: 0,
            schedule: None,
            pending_dependencies: None,
            trace: None,
            group: None,
            submitted_by: None,
            has_webhook: false,
            has_files: false,
        }
    }

    #[test]
    fn duration_is_zero_then_grows_then_stays() {
        assert_eq!(task(None, None).duration(at(9)).as_secs(), 0);
        assert_eq!(task(Some(5), None).duration(at(9)).as_secs(), 4);
        assert_eq!(task(Some(5), Some(7)).duration(at(9)).as_secs(), 2);
        assert_eq!(task(None, Some(7)).duration(at(9)).as_secs(), 0);
    }

    #[test]
    fn duration_survives_a_clock_that_jumps_back() {
        assert_eq!(task(Some(5), None).duration(at(1)), Duration::ZERO);
    }
}
