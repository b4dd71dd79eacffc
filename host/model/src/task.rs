//! A task: what was asked for, and what has become of it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::{
    Backoff, Failure, Group, NewDependencies, PluginName, Priority, ScheduleName, Tag, TaskState, Timestamp,
    TraceContext, Unique, UniqueKey, Usage, Webhook,
};

/// Bytes of a UUID with hyphens.
const HYPHENATED_BYTES: usize = 36;

/// The id of a task: a UUIDv7, so ids sort by the time they were made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(Uuid);

impl TaskId {
    /// Makes a new id.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// Returns the 16 bytes of the id, as the store keeps them.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Rebuilds an id from its 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl Default for TaskId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for TaskId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.hyphenated().serialize(serializer)
    }
}

impl FromStr for TaskId {
    type Err = InvalidTaskId;

    fn from_str(text: &str) -> Result<Self, InvalidTaskId> {
        // Of the spellings of a UUID only that with hyphens, as ids are written everywhere.
        let hyphenated = Some(text).filter(|text| text.len() == HYPHENATED_BYTES);
        hyphenated.and_then(|text| Uuid::try_parse(text).ok()).map(Self).ok_or(InvalidTaskId)
    }
}

/// The text is no UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a task id is a UUID such as 0192f3c4-5d6e-7f80-9a0b-1c2d3e4f5061")]
pub struct InvalidTaskId;

/// A task that was checked and may be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTask {
    /// Its id.
    pub id: TaskId,
    /// The plugin that does it.
    pub plugin: PluginName,
    /// The JSON text handed to the plugin.
    pub input: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// The wall-clock time of one attempt.
    pub timeout: Duration,
    /// How often a failure is attempted in all, at least 1.
    pub attempts_max: u32,
    /// The waits between its attempts; `None` for those of the host.
    pub backoff: Option<Backoff>,
    /// When it may start; `None` for at once.
    pub run_at: Option<Timestamp>,
    /// Whether that was asked for as a delay, and not as a moment of the calendar: if the clock goes back, it waits
    /// no longer than the delay.
    pub is_delayed: bool,
    /// How far ahead of the others it stands.
    pub priority: Priority,
    /// By what it is found, at most [`TAGS_MAX`](crate::TAGS_MAX).
    pub tags: Vec<Tag>,
    /// The key that no other task may have while this one waits or runs.
    pub unique: Option<Unique>,
    /// The ended task that it does again.
    pub retry_of: Option<TaskId>,
    /// The schedule that asked for it.
    pub schedule: Option<ScheduleName>,
    /// The tasks that it waits for.
    pub dependencies: Option<NewDependencies>,
    /// Whom to tell of its end.
    pub webhook: Option<Webhook>,
    /// Where in which trace it was asked for.
    pub trace: Option<TraceContext>,
    /// Whose it is: the groups of its plugin take turns. `None` for the plugin's own.
    pub group: Option<Group>,
    /// How many tasks of its plugin may wait once it does; `None` if only all tasks together are bounded.
    pub waiting_max: Option<u64>,
}

impl NewTask {
    /// Makes a task of which nothing is said but who does it, when it was asked for and how long it may take:
    /// it is attempted once, at once.
    pub fn new(plugin: PluginName, created_at: Timestamp, timeout: Duration) -> Self {
        Self {
            id: TaskId::new(),
            plugin,
            input: None,
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
            webhook: None,
            trace: None,
            group: None,
            waiting_max: None,
        }
    }

    /// Returns when it may start, whatever it waits for besides.
    pub fn ready_at(&self) -> Timestamp {
        self.run_at.map_or(self.created_at, |run_at| run_at.max(self.created_at))
    }
}

/// A stored task, as everyone reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// The plugin that does it.
    pub plugin: PluginName,
    /// Where it stands.
    pub state: TaskState,
    /// The SHA-256, in hexadecimal, of the plugin that its newest attempt ran; `None` while it never
    /// ran. A crash of the host forgets that of the attempt it ended.
    pub plugin_digest: Option<Arc<str>>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it may start; later than `created_at` if it was put off, and between attempts.
    pub ready_at: Timestamp,
    /// When its newest attempt started; `None` while it waits, unless it is suspended.
    pub started_at: Option<Timestamp>,
    /// When it was asked to stop while it ran: it is cancelled once its guest is gone, and runs until then.
    pub stop_requested_at: Option<Timestamp>,
    /// When it reached its final state.
    pub finished_at: Option<Timestamp>,
    /// How many attempts were started; one that a drain ended is not counted.
    pub attempt: u32,
    /// How often a failure is attempted in all.
    pub attempts_max: u32,
    /// How many attempts ended because the host died.
    pub host_crashes: u32,
    /// The wall-clock time of one attempt.
    pub timeout: Duration,
    /// The waits between its attempts, if it has its own.
    pub backoff: Option<Backoff>,
    /// Bytes of its input; 0 without one.
    pub input_bytes: u64,
    /// How far ahead of the others it stands in the line.
    pub priority: Priority,
    /// By what it is found.
    pub tags: Vec<Tag>,
    /// The key that no other task may have while this one waits or runs.
    pub unique_key: Option<UniqueKey>,
    /// The ended task that it does again.
    pub retry_of: Option<TaskId>,
    /// How often its newest attempt was suspended.
    pub suspensions: u32,
    /// What the plugin answered, once completed.
    pub result: Option<String>,
    /// Why the newest ended attempt failed, or which task that it waited for had it cancelled.
    pub failure: Option<Failure>,
    /// The latest the guest said of its progress, while running.
    pub progress: Option<Progress>,
    /// What its newest attempt has used, so far if it still runs; `None` while it never ran. That of an
    /// attempt that a drain or a crash of the host ended is not kept.
    pub usage: Option<Usage>,
    /// The schedule that asked for it, which may be gone.
    pub schedule: Option<ScheduleName>,
    /// How many of the tasks that it waits for have not ended; `None` if it was never to wait for any.
    pub pending_dependencies: Option<u32>,
    /// Where in which trace it was asked for.
    pub trace: Option<TraceContext>,
    /// Whose it is.
    pub group: Option<Group>,
    /// Whether somebody is told of its end.
    pub has_webhook: bool,
}

impl Task {
    /// Returns how long the newest attempt has run by `now`: zero while the task waits or when it
    /// was cancelled before it started, frozen once it has ended.
    pub fn duration(&self, now: Timestamp) -> Duration {
        let Some(started_at) = self.started_at else { return Duration::ZERO };
        let until = self.finished_at.unwrap_or(now);
        (until - started_at).to_std().unwrap_or(Duration::ZERO)
    }
}

/// How far a running guest says it has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// From 0.0 to 1.0.
    pub fraction: f64,
    /// What is being done.
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
            state: TaskState::Waiting,
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
            failure: None,
            progress: None,
            usage: None,
            suspensions: 0,
            schedule: None,
            pending_dependencies: None,
            trace: None,
            group: None,
            has_webhook: false,
        }
    }

    #[test]
    fn duration_is_zero_then_counts_then_freezes() {
        assert_eq!(task(None, None).duration(at(9)).as_secs(), 0);
        assert_eq!(task(Some(5), None).duration(at(9)).as_secs(), 4);
        assert_eq!(task(Some(5), Some(7)).duration(at(9)).as_secs(), 2);
        assert_eq!(task(None, Some(7)).duration(at(9)).as_secs(), 0);
    }

    #[test]
    fn duration_survives_a_clock_that_jumps_back() {
        assert_eq!(task(Some(5), None).duration(at(1)), Duration::ZERO);
    }

    #[test]
    fn an_id_is_read_with_hyphens_alone() {
        let id = "0192f3c4-5d6e-7f80-9a0b-1c2d3e4f5061";
        assert_eq!(id.parse::<TaskId>().map(|id| id.to_string()).as_deref(), Ok(id));
        assert!(id.to_uppercase().parse::<TaskId>().is_ok());
        let others = [id.replace('-', ""), format!("{{{id}}}"), format!("urn:uuid:{id}"), format!("{id} ")];
        assert!(others.iter().all(|other| other.parse::<TaskId>().is_err()));
    }

    #[test]
    fn ids_sort_by_the_time_they_were_made() {
        let ids: Vec<_> = (0..1_000).map(|_| TaskId::new()).collect();
        assert!(ids.is_sorted());
    }
}
