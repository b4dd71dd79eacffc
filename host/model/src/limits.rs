//! Resource limits of a run, which the runtime and the scheduler enforce, and limits of a key, which the store does.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::{FileLimits, shown_size};

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
    /// Limits of the files that come with a task, and of those that its run leaves.
    pub files: FileLimits,
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
            files: FileLimits::default(),
        }
    }
}

/// How much a key may have at once. Keys of one name, as those of a rotation, share their limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// Maximum waiting tasks.
    pub waiting_max: Option<u64>,
    /// Maximum running tasks.
    pub running_max: Option<u64>,
    /// Maximum bytes of the inputs and files of its tasks, and of the results and logs of those that have ended.
    pub stored_bytes_max: Option<u64>,
}

impl KeyLimits {
    /// Returns true if there is no limit.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Says what is limited, for people; empty without limits.
impl fmt::Display for KeyLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.waiting_max.map(|tasks| format!("{tasks} waiting")),
            self.running_max.map(|tasks| format!("{tasks} running")),
            self.stored_bytes_max.map(|bytes| format!("{} stored", shown_size(bytes))),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// A key whose limits count the tasks that it submits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitedKey {
    /// Its name.
    pub name: Arc<str>,
    /// Its limits.
    pub limits: KeyLimits,
}
