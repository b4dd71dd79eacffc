//! How an earlier attempt of a task ended, as it is kept.

use std::sync::Arc;

use wasmill_model::{Cause, Timestamp};

/// An attempt after which the task went on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its number; the first is 1.
    pub attempt: u32,
    /// Why it gave no result.
    pub cause: Cause,
    /// What happened, cut to 1 KiB.
    pub message: Option<String>,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it ended; for a crash of the host, when the next host found that.
    pub finished_at: Timestamp,
    /// The SHA-256 of the plugin that it ran, if that is known.
    pub plugin_digest: Option<Arc<str>>,
}
