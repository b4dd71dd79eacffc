//! Resource limits of a run. The runtime enforces the sizes, the scheduler the timeout.

use std::time::Duration;

/// The number of slots, unless one is set or the machine affords fewer.
pub const SLOTS_DEFAULT: u32 = 1_000;

/// Resource limits of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum bytes of all linear memories and tables together.
    pub memory_bytes: u64,
    /// Wall-clock limit of an attempt.
    pub timeout: Duration,
    /// CPU time limit of an attempt; `None` if only the timeout bounds it.
    pub cpu: Option<Duration>,
    /// Maximum bytes of the result.
    pub result_bytes: u64,
    /// Bytes of log kept per attempt; the newest are kept.
    pub log_bytes: u64,
    /// Maximum bytes that a run may write to its folders.
    pub disk_bytes: u64,
    /// Maximum bytes of a checkpoint.
    pub checkpoint_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            timeout: Duration::from_secs(600),
            cpu: None,
            result_bytes: 1 << 20,
            log_bytes: 16 << 10,
            disk_bytes: 1 << 30,
            checkpoint_bytes: 1 << 20,
        }
    }
}
