//! What can go wrong with the store, in kinds that callers match. It never names SQL.

use std::path::PathBuf;

use wasmill_model::{PluginName, TaskId};

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another process has this data folder open.
    #[error("data folder {} is in use by {}; stop it or choose another data folder", .path.display(), holder(*.pid))]
    Locked {
        /// The data folder.
        path: PathBuf,
        /// The process that holds it, if it could be read.
        pid: Option<u32>,
    },
    /// So many tasks wait already that these would exceed the bound.
    #[error("no room for more waiting tasks, {waiting_max} are the most; try again later")]
    Full {
        /// The most tasks that may wait.
        waiting_max: u64,
    },
    /// So many tasks of this plugin wait already that these would exceed its bound.
    #[error("no room for more waiting tasks of plugin {plugin}, {waiting_max} are the most; try again later")]
    PluginFull {
        /// Which of the new tasks had no room; the first is 0.
        index: usize,
        /// The plugin.
        plugin: PluginName,
        /// The most of its tasks that may wait.
        waiting_max: u64,
    },
    /// A task with this id is stored already.
    #[error("task {id} is stored already")]
    Duplicate {
        /// The id that is taken.
        id: TaskId,
    },
    /// Another task, which waits or runs, holds this unique key.
    #[error("task {holder} holds the unique key '{key}'")]
    KeyTaken {
        /// Which of the new tasks asked for it; the first is 0.
        index: usize,
        /// The key.
        key: String,
        /// The task that holds it.
        holder: TaskId,
    },
    /// Two tasks of one caller have the same unique key.
    #[error("two new tasks have the unique key '{key}'")]
    KeyTwice {
        /// Which of the new tasks has it again; the first is 0.
        index: usize,
        /// Which of them has it already.
        earlier: usize,
        /// The key.
        key: String,
    },
    /// A new task is to wait for one that is not there.
    #[error("there is no task {id} to wait for")]
    UnknownDependency {
        /// Which of the new tasks it is; the first is 0.
        index: usize,
        /// Which of the tasks that it waits for; the first is 0.
        place: usize,
        /// The task that is not there.
        id: TaskId,
    },
    /// Something else was asked for under this key before.
    #[error("another request was made under the key '{key}'")]
    KeyReused {
        /// The key.
        key: String,
    },
    /// The database was made by another program.
    #[error(
        "database {} belongs to another program: application id {found:#x}, not {supported:#x}; \
         move it away or choose another data folder", .path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The application id in the file.
        found: i64,
        /// The application id of Wasmill.
        supported: i64,
    },
    /// The database was made by a later version of Wasmill.
    #[error(
        "database {} has schema version {found}, this wasmill knows up to {supported}; \
         start a newer wasmill or choose another data folder", .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema version in the file.
        found: i64,
        /// The newest schema version that is known here.
        supported: i64,
    },
    /// The database is damaged, or no database at all.
    #[error("database {} is damaged: {message}; restore a copy or choose another data folder", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        message: String,
    },
    /// The machine did not do its part: the disk is full, a file cannot be opened or written.
    #[error("store unavailable: {message}")]
    Unavailable {
        /// What failed.
        message: String,
    },
    /// There is no database to copy, or no folder for the copy.
    #[error("{message}")]
    NotThere {
        /// What is not there, and what to do.
        message: String,
    },
    /// A backup was not begun: it would replace a file.
    #[error("{message}")]
    NoBackup {
        /// What is in the way, and what to do.
        message: String,
    },
    /// The store was closed.
    #[error("store is closed")]
    Closed,
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
