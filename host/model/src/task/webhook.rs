//! Webhooks of tasks.
//!
//! The API creates them, the store keeps them with the task; nothing here delivers them.

use crate::TaskState;

/// A webhook that is called when a task finishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// URL of the receiver.
    pub url: String,
    /// Scheme, host and port of the URL, which identify the receiver.
    pub origin: String,
    /// Final states that trigger the webhook, at least one.
    pub on: Vec<TaskState>,
}
