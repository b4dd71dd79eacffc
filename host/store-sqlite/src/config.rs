//! How to open the database. Plain data only.

use std::path::PathBuf;

use wasmill_model::{TaskId, Tracer};

/// How to open the database.
#[derive(Clone, Debug)]
pub struct SqliteConfig {
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

impl SqliteConfig {
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
    /// What was copied of the files of these tasks, if they were to be copied.
    pub files: Option<CopiedFiles>,
}

/// The files of tasks in a backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopiedFiles {
    /// Number of files, each counted once however many tasks have it.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// How many of them do not exist, such as those of tasks that were deleted meanwhile.
    pub missing: u64,
}

/// What was found of the files of tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExaminedFiles {
    /// Number of files of tasks.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// How many have no bytes, or too few.
    pub missing: u64,
    /// The first of these.
    pub newest_missing: Option<MissingFile>,
}

/// A file of a task whose bytes are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingFile {
    /// The task.
    pub task: TaskId,
    /// The name of the file.
    pub name: String,
}
