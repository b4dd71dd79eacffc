//! Whom to tell when a task ends.
//!
//! The API makes it, the store keeps it with the task; it says nothing of how anyone is told.

use crate::TaskState;

/// A receiver that is told when a task ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Where it is told.
    pub url: String,
    /// Scheme, host and port of that, by which receivers are told apart.
    pub origin: String,
    /// Of which ends it is told, at least one.
    pub on: Vec<TaskState>,
}
