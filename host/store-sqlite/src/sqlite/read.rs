//! The queries of clients.

use std::collections::HashSet;

use async_trait::async_trait;
use rusqlite::Connection;
use wasmill_model::{NewTask, PluginName, Reach, Task, TaskId, TaskState, Timestamp};
use wasmill_store::{
    Attempt, Counts, CountsWithin, Cursor, DependencyStatus, Filter, ListQuery, LogLines, Page, PluginCounts,
    StoreError, TaskReads,
};

use crate::dependency::results;
use crate::read::{ahead, filtered_list, logs, queries};
use crate::sqlite::Sqlite;
use crate::writer::plugin_counts;

impl Sqlite {
    /// Reads the log of a task; `None` if the task does not exist.
    async fn read_log<T: Send + 'static>(
        &self,
        id: TaskId,
        read: impl Fn(logs::LogSource) -> rusqlite::Result<Option<T>> + Clone + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        for looks_left in (0..logs::LOOKS).rev() {
            let (live_runs, read) = (self.live_runs.clone(), read.clone());
            let look = move |connection: &Connection| match logs::find(connection, id, &live_runs)? {
                None => Ok(Some(None)),
                // The run started or ended a moment ago, and the live runs are not updated yet.
                Some(found) if found.is_between() && looks_left > 0 => Ok(None),
                Some(found) => read(found).map(Some),
            };
            if let Some(found) = self.readers.read(look).await? {
                return Ok(found);
            }
            self.live_runs.event_bus.wait_published().await;
        }
        Ok(None)
    }
}

#[async_trait]
impl TaskReads for Sqlite {
    async fn get(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        let live_runs = self.live_runs.clone();
        self.readers.read(move |connection| queries::task(connection, id, &live_runs)).await
    }

    async fn get_after_events(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        let task = self.get(id).await?;
        // Before taking a connection: this lasts as long as the fsync.
        self.live_runs.event_bus.wait_published().await;
        Ok(task)
    }

    async fn list(&self, query: ListQuery) -> Result<Page, StoreError> {
        let live_runs = self.live_runs.clone();
        let waiting = self.stats.counts().waiting;
        self.readers.read(move |connection| queries::page(connection, &query, waiting, &live_runs)).await
    }

    async fn find(
        &self,
        filter: Filter,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<TaskId>, Option<Cursor>), StoreError> {
        let waiting = self.stats.counts().waiting;
        self.readers.read(move |connection| queries::find(connection, &filter, before, limit, waiting)).await
    }

    async fn within(&self, ids: Vec<TaskId>, reach: Reach) -> Result<HashSet<TaskId>, StoreError> {
        self.readers.read(move |connection| queries::within(connection, &ids, &reach)).await
    }

    async fn counts_within(&self, reach: Reach, rows_max: usize) -> Result<CountsWithin, StoreError> {
        self.readers
            .read(move |connection| filtered_list::counts_within(connection, reach.clone(), rows_max))
            .await
    }

    async fn attempts(&self, id: TaskId) -> Result<Vec<Attempt>, StoreError> {
        self.readers.read(move |connection| queries::attempts(connection, id)).await
    }

    async fn dependencies(&self, id: TaskId) -> Result<Option<DependencyStatus>, StoreError> {
        self.readers.read(move |connection| results::dependencies(connection, id)).await
    }

    async fn dependents(&self, id: TaskId, before: Option<Cursor>, limit: usize) -> Result<Page, StoreError> {
        let live_runs = self.live_runs.clone();
        self.readers
            .read(move |connection| queries::dependents(connection, id, before, limit, &live_runs))
            .await
    }

    async fn tasks_ahead(&self, id: TaskId, limit: usize) -> Result<Option<u64>, StoreError> {
        self.readers.read(move |connection| ahead::tasks_ahead(connection, id, limit)).await
    }

    async fn clone_for_retry(
        &self,
        id: TaskId,
        new: TaskId,
        now: Timestamp,
    ) -> Result<Option<(TaskState, NewTask)>, StoreError> {
        self.readers.read(move |connection| queries::again(connection, id, new, now)).await
    }

    async fn input(&self, id: TaskId) -> Result<Option<Option<String>>, StoreError> {
        self.readers.read(move |connection| queries::input(connection, id)).await
    }

    async fn checkpoint(&self, id: TaskId) -> Result<Option<Option<Vec<u8>>>, StoreError> {
        self.readers.read(move |connection| queries::checkpoint_of(connection, id)).await
    }

    async fn log(&self, id: TaskId) -> Result<Option<String>, StoreError> {
        self.read_log(id, logs::LogSource::text).await
    }

    async fn lines(&self, id: TaskId, after: u64, lines_max: usize) -> Result<Option<LogLines>, StoreError> {
        self.read_log(id, move |found| found.lines(after, lines_max).map(Some)).await
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        Ok(self.stats.counts())
    }

    async fn waiting(&self, plugins: Vec<PluginName>, limit: usize) -> Result<Vec<u64>, StoreError> {
        self.readers.read(move |connection| queries::waiting(connection, &plugins, limit)).await
    }

    fn finished_count(&self) -> u64 {
        self.stats.plugin_counts().stored()
    }

    fn plugin_counts(&self) -> Vec<(PluginName, PluginCounts)> {
        self.stats.plugin_counts().all()
    }

    async fn oldest_waiting(&self) -> Result<Vec<(PluginName, Timestamp)>, StoreError> {
        let plugins = self.plugin_counts();
        self.readers.read(move |connection| plugin_counts::oldest(connection, &plugins)).await
    }
}
