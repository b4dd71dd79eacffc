//! The inbox: tasks that clients of the database submit within their own transactions. Plain data only.

use std::time::Duration;

use wasmill_model::{NewTask, TaskId};

/// A row of the inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxRequest {
    /// Its number, in the order of inserts.
    pub seq: i64,
    /// The id of the task.
    pub id: TaskId,
    /// The name of the plugin.
    pub plugin: String,
    /// The input, as JSON text.
    pub input: Option<String>,
    /// The other fields of a task request, as the text of a JSON object.
    pub options: String,
    /// How long ago it was inserted.
    pub waited: Duration,
}

/// A task that takes the place of a row.
#[derive(Clone, Debug)]
pub struct InboxTask {
    /// The number of the row.
    pub seq: i64,
    /// The task.
    pub task: NewTask,
    /// What is wrong with the row; the task then has failed already.
    pub refused: Option<String>,
}

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InboxOutcome {
    /// It is a task.
    Stored,
    /// It is a task that has failed, since something is wrong with the row.
    Refused(String),
    /// It asked for the task that holds its unique key, if there is one.
    Held(TaskId),
    /// There is no room for it; it stays.
    Full,
    /// Another host took it, or it was deleted.
    Gone,
}

/// What waits in the inbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InboxBacklog {
    /// The number of rows, counted up to 10,000.
    pub rows: u64,
    /// How long the oldest has waited.
    pub oldest: Duration,
}
