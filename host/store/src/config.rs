//! What the store is told at its opening, and the figures it gives back. Plain data only.

use std::path::PathBuf;

use wasmill_model::{Histogram, Tracer};

/// How to open a store.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The data folder; it is created, closed to other users, if it is missing.
    pub dir: PathBuf,
    /// The most tasks that may wait; more are refused. Retries and requeues are never refused.
    pub waiting_max: u64,
    /// How many reads run at the same time, each on a connection of its own; at least 1.
    pub readers: usize,
    /// Bytes that the logs of all running tasks hold in memory together; once they do, each keeps 2 KiB.
    pub log_bytes_max: usize,
    /// What takes the spans of tasks that are part of a trace.
    pub tracer: Tracer,
}

impl StoreConfig {
    /// Builds the default configuration for this data folder.
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

/// What the opening of a store found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Tasks that were running when the host died and wait again.
    pub requeued: u64,
    /// Tasks that were running when the host died once too often.
    pub failed: u64,
    /// Tasks that had been asked to stop and were running when the host died: they are cancelled or removed.
    pub stopped: u64,
    /// All tasks that wait now.
    pub waiting: u64,
    /// Waits between attempts that were too long, since the clock had been ahead, and were shortened.
    pub shortened: u64,
}

/// The process that has a data folder open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockHolder {
    /// Its number, if it left one.
    pub pid: Option<u32>,
}

/// What a backup holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// All tasks in it.
    pub tasks: u64,
    /// The size of the file.
    pub bytes: u64,
}

/// How many tasks are not final.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tasks that wait.
    pub waiting: u64,
    /// Tasks that run.
    pub running: u64,
}

/// What the store has written since its opening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Transactions that were committed.
    pub commits: u64,
    /// Commands in those transactions.
    pub commands: u64,
    /// Tasks that ended and are stored beyond the number that retention keeps.
    pub excess: u64,
    /// Pending deliveries that were dropped with their tasks by retention.
    pub deliveries_dropped: u64,
}

/// How the writes since the opening were spread.
#[derive(Clone, Debug, PartialEq)]
pub struct CommitStats {
    /// Seconds that commits took which waited for the disk.
    pub synced_seconds: Histogram,
    /// Seconds that the others took.
    pub unsynced_seconds: Histogram,
    /// Commands in one transaction.
    pub commands: Histogram,
    /// Transactions that were rolled back, since the disk was full, say.
    pub failed: u64,
}
