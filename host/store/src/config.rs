//! Configuration of the store and its statistics. Plain data only.

use std::path::PathBuf;

use wasmill_model::{Histogram, Tracer};

/// How to open a store.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Data folder; created with access for its owner only if it is missing.
    pub dir: PathBuf,
    /// Maximum waiting tasks; further ones are refused. Retries and requeues are never refused.
    pub waiting_max: u64,
    /// Number of concurrent reads, each on its own connection; at least 1.
    pub readers: usize,
    /// Maximum bytes that the logs of all running tasks hold in memory; beyond it each run keeps 2 KiB.
    pub log_bytes_max: usize,
    /// Receives the spans of traced tasks.
    pub tracer: Tracer,
}

impl StoreConfig {
    /// Builds the default configuration for a data folder.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            waiting_max: 1_000_000,
            readers: 4,
            log_bytes_max: 64 << 20,
            tracer: Tracer::default(),
        }
    }
}

/// What opening the store recovered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Tasks that ran when the host died and were requeued.
    pub requeued: u64,
    /// Tasks that failed because they ran in too many host crashes.
    pub failed: u64,
    /// Tasks with a pending stop request when the host died; they are cancelled or removed.
    pub stopped: u64,
    /// All waiting tasks after recovery.
    pub waiting: u64,
    /// Waits that were shortened because the clock had been ahead.
    pub shortened: u64,
}

/// The process that has a data folder open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockHolder {
    /// Its process id, if it could be read.
    pub pid: Option<u32>,
}

/// What a backup contains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// Number of tasks.
    pub tasks: u64,
    /// File size in bytes.
    pub bytes: u64,
}

/// Number of tasks that are not finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Waiting tasks.
    pub waiting: u64,
    /// Running tasks.
    pub running: u64,
}

/// Write statistics since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Committed transactions.
    pub commits: u64,
    /// Commands in those transactions.
    pub commands: u64,
    /// Finished tasks beyond the number that retention keeps.
    pub excess: u64,
    /// Pending deliveries that retention dropped with their tasks.
    pub deliveries_dropped: u64,
}

/// Distribution of commits since the store was opened.
#[derive(Clone, Debug, PartialEq)]
pub struct CommitStats {
    /// Seconds per commit that waited for fsync.
    pub synced_seconds: Histogram,
    /// Seconds per commit that did not wait for fsync.
    pub unsynced_seconds: Histogram,
    /// Commands per transaction.
    pub commands: Histogram,
    /// Transactions that were rolled back, for example because the disk was full.
    pub failed: u64,
}
