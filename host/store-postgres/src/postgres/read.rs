//! The queries of clients.

use async_trait::async_trait;
use wasmill_model::{NewTask, PluginName, Task, TaskId, TaskState, Timestamp};
use wasmill_store::{
    Attempt, Counts, Cursor, DependencyStatus, Filter, ListQuery, LogLines, Page, PluginCounts, StoreError,
    TaskReads,
};

use std::sync::Arc;

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::dependency::results;
use crate::postgres::Postgres;
use crate::read::{logs, queries};
use crate::writer::plugin_counts;

impl Postgres {
    /// Reads the log of a task; `None` if the task does not exist.
    async fn read_log<T: Send + 'static>(
        &self,
        id: TaskId,
        read: impl Fn(logs::LogSource) -> Result<Option<T>> + Clone + Send + 'static,
    ) -> std::result::Result<Option<T>, StoreError> {
        for looks_left in (0..logs::LOOKS).rev() {
            let (live_runs, read) = (self.live_runs.clone(), read.clone());
            let host = self.others.lease.term();
            let look =
                async move |connection: Arc<Connection>| match logs::find(&connection, id, &live_runs, host)
                    .await?
                {
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
impl TaskReads for Postgres {
    async fn get(&self, id: TaskId) -> std::result::Result<Option<Task>, StoreError> {
        let live_runs = self.live_runs.clone();
        self.readers.read(async move |connection| queries::task(&connection, id, &live_runs).await).await
    }

    async fn get_after_events(&self, id: TaskId) -> std::result::Result<Option<Task>, StoreError> {
        let task = self.get(id).await?;
        if self.others.is_any() {
            self.writer.catch_up().await;
        }
        // Before taking a connection: this lasts as long as the fsync.
        self.live_runs.event_bus.wait_published().await;
        Ok(task)
    }

    async fn list(&self, query: ListQuery) -> std::result::Result<Page, StoreError> {
        let live_runs = self.live_runs.clone();
        let waiting = self.stats.counts().waiting;
        self.readers
            .read(async move |connection| queries::page(&connection, &query, waiting, &live_runs).await)
            .await
    }

    async fn find(
        &self,
        filter: Filter,
        before: Option<Cursor>,
        limit: usize,
    ) -> std::result::Result<(Vec<TaskId>, Option<Cursor>), StoreError> {
        let waiting = self.stats.counts().waiting;
        self.readers
            .read(async move |connection| queries::find(&connection, &filter, before, limit, waiting).await)
            .await
    }

    async fn attempts(&self, id: TaskId) -> std::result::Result<Vec<Attempt>, StoreError> {
        self.readers.read(async move |connection| queries::attempts(&connection, id).await).await
    }

    async fn dependencies(&self, id: TaskId) -> std::result::Result<Option<DependencyStatus>, StoreError> {
        self.readers.read(async move |connection| results::dependencies(&connection, id).await).await
    }

    async fn clone_for_retry(
        &self,
        id: TaskId,
        new: TaskId,
        now: Timestamp,
    ) -> std::result::Result<Option<(TaskState, NewTask)>, StoreError> {
        self.readers.read(async move |connection| queries::again(&connection, id, new, now).await).await
    }

    async fn input(&self, id: TaskId) -> std::result::Result<Option<Option<String>>, StoreError> {
        self.readers.read(async move |connection| queries::input(&connection, id).await).await
    }

    async fn log(&self, id: TaskId) -> std::result::Result<Option<String>, StoreError> {
        self.read_log(id, logs::LogSource::text).await
    }

    async fn lines(
        &self,
        id: TaskId,
        after: u64,
        lines_max: usize,
    ) -> std::result::Result<Option<LogLines>, StoreError> {
        self.read_log(id, move |found| found.lines(after, lines_max).map(Some)).await
    }

    async fn counts(&self) -> std::result::Result<Counts, StoreError> {
        Ok(self.stats.counts())
    }

    async fn waiting(
        &self,
        plugins: Vec<PluginName>,
        limit: usize,
    ) -> std::result::Result<Vec<u64>, StoreError> {
        self.readers.read(async move |connection| queries::waiting(&connection, &plugins, limit).await).await
    }

    fn finished_count(&self) -> u64 {
        self.stats.plugin_counts().stored()
    }

    fn plugin_counts(&self) -> Vec<(PluginName, PluginCounts)> {
        self.stats.plugin_counts().all()
    }

    async fn oldest_waiting(&self) -> std::result::Result<Vec<(PluginName, Timestamp)>, StoreError> {
        let plugins = self.plugin_counts();
        self.readers.read(async move |connection| plugin_counts::oldest(&connection, &plugins).await).await
    }
}
