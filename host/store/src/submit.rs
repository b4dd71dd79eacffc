//! What the store says to new tasks, also when the request for them came before.

use std::time::Duration;

use wasmill_model::{TaskId, Timestamp};

/// Tells a request that is sent again from a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// What the client calls the request.
    pub key: String,
    /// The SHA-256 of what is asked for: under one key it has to stay the same.
    pub digest: [u8; 32],
}

/// What became of a request for new tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Submitted {
    /// One for each task that was asked for, in their order.
    pub tasks: Vec<SubmittedTask>,
    /// Whether this was the answer to the same request before, and nothing was stored now.
    pub replayed: bool,
}

/// A task that was stored, or the one that holds its unique key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubmittedTask {
    /// The task.
    pub id: TaskId,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// `None` if it is new; else how long the newest attempt of the holder had run.
    pub holder: Option<Duration>,
}

/// What was stored in the steps of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredSteps {
    /// Their names, sorted.
    pub names: Vec<String>,
    /// How many tasks were stored.
    pub stored: u64,
    /// For how many others the holder of their unique key was the answer.
    pub held: u64,
}
