//! What clients read: tasks, lists, logs and counts.

use std::collections::HashSet;

use wasmill_model::{NewTask, PluginName, Reach, Task, TaskId, TaskState, Timestamp};

use crate::{
    Attempt, Counts, CountsWithin, Cursor, DependencyStatus, Filter, ListQuery, LogLines, Page, PluginCounts,
    StoreError,
};

/// What clients read: tasks, lists, logs and counts. See [`Backend`](crate::Backend) for what holds for every method.
#[async_trait::async_trait]
pub trait TaskReads {
    /// Returns a task.
    async fn get(&self, id: TaskId) -> Result<Option<Task>, StoreError>;

    /// Returns a task once all events of its visible state are published.
    async fn get_after_events(&self, id: TaskId) -> Result<Option<Task>, StoreError>;

    /// Returns a page of tasks, newest first.
    async fn list(&self, query: ListQuery) -> Result<Page, StoreError>;

    /// Returns up to `limit` matching ids older than `before`, newest first, and the cursor of the next page.
    /// A page may be shorter, even empty, before the last.
    async fn find(
        &self,
        filter: Filter,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<TaskId>, Option<Cursor>), StoreError>;

    /// Returns those of these tasks that exist and are within this reach. Of a task outside no more is read than of one
    /// that does not exist.
    async fn within(&self, ids: Vec<TaskId>, reach: Reach) -> Result<HashSet<TaskId>, StoreError>;

    /// Counts the stored tasks within this reach by plugin and state. It looks at up to `rows_max` tasks, the newest of each
    /// group, to bound the cost.
    async fn counts_within(&self, reach: Reach, rows_max: usize) -> Result<CountsWithin, StoreError>;

    /// Returns the attempts of a task that were followed by another one, oldest first. The task itself tells
    /// how the last one ended.
    async fn attempts(&self, id: TaskId) -> Result<Vec<Attempt>, StoreError>;

    /// Returns the dependencies of a task; `None` if it has none or does not exist.
    async fn dependencies(&self, id: TaskId) -> Result<Option<DependencyStatus>, StoreError>;

    /// Returns a page of the tasks that depend on a task, newest first; finished ones are among them.
    async fn dependents(&self, id: TaskId, before: Option<Cursor>, limit: usize) -> Result<Page, StoreError>;

    /// Returns how many available tasks of the same plugin and group are claimed before this one, counted up to `limit`
    /// to bound the cost; `None` unless the task is available.
    async fn tasks_ahead(&self, id: TaskId, limit: usize) -> Result<Option<u64>, StoreError>;

    /// Returns the state of a task and a copy of it as a new task with id `new`, created at `now` and without
    /// its delay.
    async fn clone_for_retry(
        &self,
        id: TaskId,
        new: TaskId,
        now: Timestamp,
    ) -> Result<Option<(TaskState, NewTask)>, StoreError>;

    /// Returns the input of a task; `None` if the task does not exist, `Some(None)` if it has no input.
    async fn input(&self, id: TaskId) -> Result<Option<Option<String>>, StoreError>;

    /// Returns the newest checkpoint of a task; `None` if the task does not exist, `Some(None)` if it has none. It goes
    /// when the task finishes.
    async fn checkpoint(&self, id: TaskId) -> Result<Option<Option<Vec<u8>>>, StoreError>;

    /// Returns the log of the current or newest run as text; `None` if the task does not exist or has no log.
    async fn log(&self, id: TaskId) -> Result<Option<String>, StoreError>;

    /// Returns up to `lines_max` log lines of a task after line `after`, over all runs, oldest first; `None`
    /// if the task does not exist.
    async fn lines(&self, id: TaskId, after: u64, lines_max: usize) -> Result<Option<LogLines>, StoreError>;

    /// Returns the number of waiting and running tasks; cheap.
    async fn counts(&self) -> Result<Counts, StoreError>;

    /// Returns the number of waiting tasks of each plugin, in this order, each counted up to `limit` to bound
    /// the cost.
    async fn waiting(&self, plugins: Vec<PluginName>, limit: usize) -> Result<Vec<u64>, StoreError>;

    /// Returns how many finished tasks are stored; cheap.
    fn finished_count(&self) -> u64;

    /// Returns the task counts of every plugin; cheap.
    fn plugin_counts(&self) -> Vec<(PluginName, PluginCounts)>;

    /// Returns, for each plugin with waiting tasks, the earliest time at which one became or becomes
    /// available.
    async fn oldest_waiting(&self) -> Result<Vec<(PluginName, Timestamp)>, StoreError>;
}
