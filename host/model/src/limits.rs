//! What one run may use. The runtime enforces the sizes, the scheduler the time.

use std::time::Duration;

/// The bounds of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all linear memories and tables of the instance together.
    pub memory_bytes: u64,
    /// Wall-clock time of one attempt.
    pub timeout: Duration,
    /// Time that one attempt may really compute; `None` if only its timeout bounds it.
    pub cpu: Option<Duration>,
    /// Bytes of the result.
    pub output_bytes: u64,
    /// Bytes of log kept per attempt; the newest are kept.
    pub log_bytes: u64,
    /// Bytes that one run may write to its folders.
    pub disk_bytes: u64,
    /// Bytes of one checkpoint.
    pub checkpoint_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            timeout: Duration::from_secs(600),
            cpu: None,
            output_bytes: 1 << 20,
            log_bytes: 16 << 10,
            disk_bytes: 1 << 30,
            checkpoint_bytes: 1 << 20,
        }
    }
}
