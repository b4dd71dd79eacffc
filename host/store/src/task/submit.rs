//! The outcome of a submit, and idempotent requests.

use std::time::Duration;

use wasmill_model::{KeySpace, TaskId, Timestamp};

/// Identifies a request that may be sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The key that the client chose, behind the space in which it is unique.
    pub key: String,
    /// SHA-256 of the request; a key must not be used for another one.
    pub digest: [u8; 32],
}

impl IdempotencyKey {
    /// Creates the key of a request, of visible ASCII characters. Keys of different spaces never meet.
    pub fn new(space: &KeySpace, key: &str, digest: [u8; 32]) -> Self {
        let key = match space.as_str() {
            "" => key.to_owned(),
            space => format!("{space} {key}"),
        };
        Self { key, digest }
    }

    /// Returns the key that the client chose.
    pub fn as_chosen(&self) -> &str {
        // The name of a step, which follows in a line of its own, may have spaces.
        let within = self.key.split_once(' ').filter(|(space, _)| !space.contains('\n'));
        within.map_or(&self.key, |(_, key)| key)
    }
}

/// The outcome of a submit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Submitted {
    /// One per submitted task, in order.
    pub tasks: Vec<SubmittedTask>,
    /// Whether this is the earlier answer to the same request; then nothing was stored.
    pub replayed: bool,
}

/// A stored task, or the holder of its unique key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubmittedTask {
    /// The task.
    pub id: TaskId,
    /// When it was created.
    pub created_at: Timestamp,
    /// `None` for a new task; otherwise how long the newest attempt of the holder has run.
    pub holder: Option<Duration>,
}

/// What the steps of one request stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredSteps {
    /// Their names, sorted.
    pub names: Vec<String>,
    /// Number of tasks stored.
    pub stored: u64,
    /// Number of tasks answered with the holder of their unique key.
    pub held: u64,
}
