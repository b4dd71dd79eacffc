//! How posting an event ended.

use wasmill_model::{TaskState, Timestamp};

/// How posting an event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostOutcome {
    /// The event is stored.
    Posted {
        /// When it was.
        at: Timestamp,
        /// Whether this is the earlier answer to the same request; then nothing was stored.
        replayed: bool,
    },
    /// The task does not exist.
    NotFound,
    /// The task has finished in this state.
    AlreadyFinal(TaskState),
    /// The task has as many events as it may that no run has taken.
    Full,
}
