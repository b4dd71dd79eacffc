//! Errors of the store, in kinds that callers match. They never name SQL.

use std::path::PathBuf;
use std::sync::Arc;

use wasmill_model::{PluginName, TaskId};

/// Why a store operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another process has this data folder open.
    #[error("data folder {} is in use by {}; stop it or choose another data folder", .path.display(), holder(*.pid))]
    Locked {
        /// The data folder.
        path: PathBuf,
        /// Process id of the holder, if it could be read.
        pid: Option<u32>,
    },
    /// The limit of waiting tasks would be exceeded.
    #[error("no room for more waiting tasks, {waiting_max} are the most; try again later")]
    Full {
        /// Maximum waiting tasks.
        waiting_max: u64,
    },
    /// The limit of waiting tasks of one plugin would be exceeded.
    #[error("no room for more waiting tasks of plugin {plugin}, {waiting_max} are the most; try again later")]
    PluginFull {
        /// Index of the first new task beyond the limit.
        index: usize,
        /// The plugin.
        plugin: PluginName,
        /// Maximum waiting tasks of the plugin.
        waiting_max: u64,
    },
    /// The limit of waiting tasks of the key would be exceeded.
    #[error(
        "no room for more waiting tasks of key {key}: {waiting} wait, {waiting_max} are the most; try again later"
    )]
    KeyQueueFull {
        /// Index of the first new task beyond the limit.
        index: usize,
        /// Name of the key.
        key: Arc<str>,
        /// How many of its tasks wait, without those of the request.
        waiting: u64,
        /// Maximum waiting tasks of the key.
        waiting_max: u64,
    },
    /// The limit of stored bytes of the key would be exceeded.
    #[error(
        "no room for more tasks of key {key}: {stored_bytes} bytes are stored, {stored_bytes_max} are the most; \
         delete some"
    )]
    KeyStorageFull {
        /// Index of the first new task beyond the limit.
        index: usize,
        /// Name of the key.
        key: Arc<str>,
        /// Bytes that its tasks take up, without those of the request.
        stored_bytes: u64,
        /// Maximum bytes of the key.
        stored_bytes_max: u64,
    },
    /// A task with this id already exists.
    #[error("task {id} is stored already")]
    Duplicate {
        /// The id that exists.
        id: TaskId,
    },
    /// Another unfinished task holds this unique key.
    #[error("task {holder} holds the unique key '{key}'")]
    KeyTaken {
        /// Index of the new task that asked for it.
        index: usize,
        /// The key.
        key: String,
        /// The task that holds it.
        holder: TaskId,
    },
    /// Two new tasks of one request have the same unique key.
    #[error("two new tasks have the unique key '{key}'")]
    KeyTwice {
        /// Index of the second of them.
        index: usize,
        /// Index of the first of them.
        earlier: usize,
        /// The key.
        key: String,
    },
    /// A dependency of a new task does not exist.
    #[error("there is no task {id} to wait for")]
    UnknownDependency {
        /// Index of the new task.
        index: usize,
        /// Index of the dependency within the task.
        dependency_index: usize,
        /// Id of the missing dependency.
        id: TaskId,
    },
    /// The idempotency key was used for another request.
    #[error("another request was made under the key '{key}'")]
    KeyReused {
        /// The key.
        key: String,
    },
    /// The database belongs to another program.
    #[error(
        "database {database} belongs to another program: application id {found:#x}, not {supported:#x}; \
         move it away or choose another data folder"
    )]
    Foreign {
        /// The file, or the address without its password.
        database: String,
        /// The application id in the file.
        found: i64,
        /// The application id of Wasmill.
        supported: i64,
    },
    /// The database was written before the first release of Wasmill, in a format that is no longer read.
    #[error(
        "database {database} was written by a wasmill from before version 0.1, whose format this version does not read; \
         finish its tasks with that wasmill, or move it away to start with an empty one"
    )]
    Outdated {
        /// The file, or the address without its password.
        database: String,
    },
    /// The database was written by a newer version of Wasmill.
    #[error(
        "database {database} has schema version {found}, this wasmill knows up to {supported}; \
         start a newer wasmill or choose another data folder"
    )]
    Newer {
        /// The file, or the address without its password.
        database: String,
        /// The schema version in the file.
        found: i64,
        /// The newest schema version this build supports.
        supported: i64,
    },
    /// The database is damaged, or the file is not a database.
    #[error("database {database} is damaged: {message}; restore a copy or choose another data folder")]
    Corrupt {
        /// The file, or the address without its password.
        database: String,
        /// What is damaged.
        message: String,
    },
    /// The database cannot be used as it is.
    #[error("{message}")]
    Refused {
        /// Why, and what to do.
        message: String,
    },
    /// An operation of the machine failed: the disk is full, or a file cannot be opened or written.
    #[error("store unavailable: {message}")]
    Unavailable {
        /// What failed.
        message: String,
    },
    /// The database to copy or the folder of the copy does not exist.
    #[error("{message}")]
    NotFound {
        /// What is missing and what to do.
        message: String,
    },
    /// The backup was not started: it would replace a file.
    #[error("{message}")]
    NoBackup {
        /// The obstacle and what to do.
        message: String,
    },
    /// The store is closed.
    #[error("store is closed")]
    Closed,
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
