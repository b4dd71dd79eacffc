//! An earlier attempt of a task and how it ended.

use std::sync::Arc;

use wasmill_model::{Cause, Timestamp};

/// An attempt after which the task was retried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Attempt number, from 1.
    pub attempt: u32,
    /// Why it failed.
    pub cause: Cause,
    /// The failure message, cut to 1 KiB.
    pub message: Option<String>,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it ended; for a host crash, when the next host detected it.
    pub finished_at: Timestamp,
    /// SHA-256 of the plugin it ran, if known.
    pub plugin_digest: Option<Arc<str>>,
}
