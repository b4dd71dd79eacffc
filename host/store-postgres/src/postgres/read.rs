//! The queries of clients.

use async_trait::async_trait;
use wasmill_model::{NewTask, PluginName, Reach, Task, TaskId, TaskState, Timestamp};
use wasmill_store::live::RunRef;
use wasmill_store::{
    Attempt, Counts, CountsWithin, Cursor, DependencyStatus, Filter, ListQuery, LogLines, Page, PluginCounts,
    StoreError, TaskReads,
};

use std::collections::HashSet;
use std::sync::Arc;

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::dependency::results;
use crate::live::reports::AllReports;
use crate::postgres::Postgres;
use crate::read::{ahead, filtered_list, logs, queries};
use crate::writer::plugin_counts;

impl Postgres {
    /// Reads the log of a task; `None` if the task does not exist.
    async fn read_log<T: Send + 'static>(
        &self,
        id: TaskId,
        read: impl Fn(logs::LogSource) -> Result<Option<T>> + Clone + Send + 'static,
    ) -> std::result::Result<Option<T>, StoreError> {
        let mut given = None;
        for looks_left in (0..logs::LOOKS).rev() {
            let (live_runs, read, given_now) = (self.live_runs.clone(), read.clone(), given.clone());
            let own = self.others.lease.term();
            let look = async move |connection: Arc<Connection>| {
                let found = logs::find(&connection, id, &live_runs, given_now.as_ref(), own).await?;
                Ok(match found {
                    None => Look::Done(None),
                    // The run started or ended a moment ago, and the live runs are not updated yet.
                    Some(found) if found.is_between() && looks_left > 0 => Look::Between,
                    Some(found) => match found.elsewhere() {
                        Some((run, host)) if looks_left > 0 => Look::Elsewhere(run, host),
                        _ => Look::Done(read(found)?),
                    },
                })
            };
            match self.readers.read(look).await? {
                Look::Done(found) => return Ok(found),
                Look::Between => self.live_runs.event_bus.wait_published().await,
                Look::Elsewhere(run, host) => given = self.watched.run(run, host, &self.live_runs).await,
            }
        }
        Ok(None)
    }

    fn reports(&self) -> AllReports {
        AllReports { live_runs: self.live_runs.clone(), has_others: self.others.is_any() }
    }
}

/// What one look at a log has found.
enum Look<T> {
    Done(Option<T>),
    /// The live runs are not updated yet.
    Between,
    /// This host runs it.
    Elsewhere(RunRef, i64),
}

#[async_trait]
impl TaskReads for Postgres {
    async fn get(&self, id: TaskId) -> std::result::Result<Option<Task>, StoreError> {
        let reports = self.reports();
        self.readers.read(async move |connection| queries::task(&connection, id, &reports).await).await
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
        let reports = self.reports();
        let waiting = self.stats.counts().waiting;
        self.readers
            .read(async move |connection| queries::page(&connection, &query, waiting, &reports).await)
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

    async fn within(
        &self,
        ids: Vec<TaskId>,
        reach: Reach,
    ) -> std::result::Result<HashSet<TaskId>, StoreError> {
        self.readers.read(async move |connection| queries::within(&connection, &ids, &reach).await).await
    }

    async fn counts_within(
        &self,
        reach: Reach,
        rows_max: usize,
    ) -> std::result::Result<CountsWithin, StoreError> {
        self.readers
            .read(async move |connection| {
                filtered_list::counts_within(&connection, reach.clone(), rows_max).await
            })
            .await
    }

    async fn attempts(&self, id: TaskId) -> std::result::Result<Vec<Attempt>, StoreError> {
        self.readers.read(async move |connection| queries::attempts(&connection, id).await).await
    }

    async fn dependencies(&self, id: TaskId) -> std::result::Result<Option<DependencyStatus>, StoreError> {
        self.readers.read(async move |connection| results::dependencies(&connection, id).await).await
    }

    async fn dependents(
        &self,
        id: TaskId,
        before: Option<Cursor>,
        limit: usize,
    ) -> std::result::Result<Page, StoreError> {
        let reports = self.reports();
        self.readers
            .read(async move |connection| queries::dependents(&connection, id, before, limit, &reports).await)
            .await
    }

    async fn tasks_ahead(&self, id: TaskId, limit: usize) -> std::result::Result<Option<u64>, StoreError> {
        self.readers.read(async move |connection| ahead::tasks_ahead(&connection, id, limit).await).await
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

    async fn checkpoint(&self, id: TaskId) -> std::result::Result<Option<Option<Vec<u8>>>, StoreError> {
        self.readers.read(async move |connection| queries::checkpoint_of(&connection, id).await).await
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
