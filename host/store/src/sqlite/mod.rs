//! The SQLite backend, in the file `wasmill.db` of the data folder.
//!
//! [`Store`](crate::Store) calls it. One thread writes, a few connections read; nothing else touches the
//! file.

mod abandoned_claims;
mod backup;
mod batch;
mod batcher;
mod cancel;
mod cancel_many;
mod check;
mod claim;
mod clock_skew;
mod connection;
mod dependency;
mod dependency_resolution;
mod dependency_results;
mod due_runs;
mod events;
mod examine;
mod fair_queue;
mod fault;
mod filtered_list;
mod finish;
mod home;
mod idempotency;
mod insert;
mod lock;
mod logs;
mod migrations;
mod outage_log;
mod pause;
mod plugin_counts;
mod probe;
mod promote;
mod prune;
mod quarantine;
mod queries;
mod readers;
mod recover;
mod remove;
mod rows;
mod save;
mod schedules;
mod starts;
mod task_row;
mod usage;
mod webhooks;
mod writer;
mod writer_state;
mod writer_stats;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rusqlite::Connection;
use wasmill_model::{NewTask, PluginName, ScheduleName, Task, TaskId, TaskState, Timestamp, Transition};

use self::abandoned_claims::AbandonedClaims;
pub(crate) use self::backup::backup;
use self::batcher::Batcher;
use self::cancel::Cancel;
use self::cancel_many::CancelMany;
use self::claim::ClaimReady;
use self::due_runs::{FireDue, RunNow};
pub(crate) use self::examine::examine;
use self::finish::{Finish, FinishStopped};
use self::home::Home;
use self::idempotency::PruneKeys;
use self::insert::Insert;
use self::lock::Lock;
pub(crate) use self::lock::holder;
use self::pause::Pause;
use self::probe::Probe;
use self::prune::Prune;
use self::readers::Readers;
use self::remove::Remove;
use self::save::Save;
use self::schedules::{PauseSchedule, PutSchedule, RecordScheduleError, RemoveSchedule};
use self::webhooks::{Redeliver, Tried};
use self::writer::Writer;
use self::writer_stats::WriterStats;
use crate::live_runs::LiveRuns;
use crate::plugin_counts::AllPluginCounts;
use crate::{
    Attempt, AttemptOutcome, CancelOutcome, CancelledMany, Claim, ClaimQuota, Claims, CommitStats, Counts,
    Cursor, Delivery, DeliveryAttempt, DeliveryBacklog, DependencyResults, DependencyStatus, DueDeliveries,
    DueOutcome, DueQuery, DueRuns, Excess, Filter, IdempotencyKey, ListQuery, LogLines, LogPart, NewSchedule,
    Page, PluginCounts, PruneCursor, PruneStep, Pruned, PutOutcome, Recovery, Redelivery, RemoveOutcome,
    RemoveScheduleOutcome, RetentionBounds, RunNowOutcome, Schedule, StoreConfig, StoreError, StoreStats,
    StoredSteps, Submitted, TaskRef, WebhookStatus,
};

/// An open database.
#[derive(Debug)]
pub(crate) struct Sqlite {
    readers: Arc<Readers>,
    // Dropped after the readers: closing the last connection empties the write-ahead log, and only this one
    // may write.
    writer: Writer,
    /// What the background check of a large database found.
    damage: Arc<OnceLock<StoreError>>,
    stats: Arc<WriterStats>,
    live_runs: Arc<LiveRuns>,
    abandoned: Arc<AbandonedClaims>,
    waiting_max: u64,
}

impl Sqlite {
    pub(crate) fn open(config: StoreConfig, now: Timestamp) -> Result<(Self, Recovery), StoreError> {
        let StoreConfig { dir, waiting_max, readers, log_bytes_max, tracer } = config;
        connection::create_dir(&dir)?;
        let lock = Lock::take(&dir)?;
        let path: Arc<Path> = dir.join("wasmill.db").into();
        let connection = connection::writer(&path)?;
        let home = Arc::new(Home::of(path.clone()));
        let whole = check::at_opening(&connection, &path)?;
        let faulty = |error| fault::fault(&path, &error);
        let (recovery, writer_state) = recover::recover(&connection, now, &tracer).map_err(faulty)?;
        let plugin_counts = AllPluginCounts::new(plugin_counts::load(&connection).map_err(faulty)?);
        let stats = Arc::new(WriterStats::new(writer_state, plugin_counts));
        let live_runs = Arc::new(LiveRuns::new(log_bytes_max, tracer));
        live_runs
            .event_bus
            .begin(events::first(writer_state.events_reserved), writer_state.events_reserved.unsigned_abs());
        let abandoned = Arc::new(AbandonedClaims::default());
        let batcher = Batcher::new(
            connection,
            home.clone(),
            writer_state,
            stats.clone(),
            live_runs.clone(),
            abandoned.clone(),
        );
        let writer = Writer::start(batcher, lock)?;
        let damage = Arc::new(OnceLock::new());
        if !whole {
            check_on(path.clone(), &damage);
        }
        let readers = Arc::new(Readers::new(home, readers));
        Ok((Self { writer, readers, damage, stats, live_runs, abandoned, waiting_max }, recovery))
    }

    pub(crate) async fn submit(
        &self,
        tasks: Vec<NewTask>,
        request: Option<(IdempotencyKey, Timestamp)>,
    ) -> Result<Submitted, StoreError> {
        self.writer.write(Insert { tasks, waiting_max: self.waiting_max, request }).await?
    }

    pub(crate) async fn find_submitted(
        &self,
        request: IdempotencyKey,
        now: Timestamp,
    ) -> Result<Option<Submitted>, StoreError> {
        self.readers.read(move |connection| idempotency::find(connection, &request, now)).await?.transpose()
    }

    pub(crate) async fn steps(
        &self,
        request: IdempotencyKey,
        now: Timestamp,
    ) -> Result<StoredSteps, StoreError> {
        self.readers.read(move |connection| idempotency::steps(connection, &request, now)).await
    }

    pub(crate) async fn prune_keys(&self, now: Timestamp) -> Result<u64, StoreError> {
        // Usually nothing has expired: a read avoids a needless write.
        if !self.readers.read(move |connection| idempotency::any_over(connection, now)).await? {
            return Ok(0);
        }
        self.writer.write(PruneKeys { now }).await
    }

    pub(crate) async fn claim(
        &self,
        quotas: Vec<ClaimQuota>,
        tasks_max: usize,
        available_memory: u64,
        now: Timestamp,
    ) -> Result<Claims, StoreError> {
        let abandoned = self.abandoned.clone();
        let mut quotas = quotas;
        // A plugin may be listed twice.
        quotas.sort_unstable_by(|a, b| a.plugin.cmp(&b.plugin));
        quotas.dedup_by(|a, b| a.plugin == b.plugin);
        let claim = ClaimReady { quotas, tasks_max, available_memory, now, abandoned };
        Ok(self.writer.write(claim).await?.into_claims())
    }

    pub(crate) async fn finish(
        &self,
        claim: &Claim,
        next: Transition,
        log: Option<LogPart>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.writer.write(Finish { claim: claim.clone(), next, log, now }).await
    }

    pub(crate) async fn finish_stopped(
        &self,
        claim: &Claim,
        log: Option<LogPart>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let finish = Finish { claim: claim.clone(), next: Transition::Requeued, log, now };
        self.writer.write(FinishStopped(finish)).await
    }

    pub(crate) async fn cancel(&self, id: TaskId, now: Timestamp) -> Result<CancelOutcome, StoreError> {
        self.writer.write(Cancel { id, now }).await
    }

    pub(crate) async fn find_open(&self, filter: Filter) -> Result<Vec<TaskRef>, StoreError> {
        self.readers.read(move |connection| filtered_list::open(connection, &filter)).await
    }

    pub(crate) async fn cancel_many(
        &self,
        found: Vec<TaskRef>,
        filter: Filter,
        now: Timestamp,
    ) -> Result<CancelledMany, StoreError> {
        self.writer.write(CancelMany { found, filter, now }).await
    }

    pub(crate) fn finished_count(&self) -> u64 {
        self.stats.plugin_counts().stored()
    }

    pub(crate) async fn excess(
        &self,
        keep: RetentionBounds,
        cursor: PruneCursor,
        tasks_max: usize,
    ) -> Result<Excess, StoreError> {
        // Counted before the scan: tasks that finish in between are found by the next one.
        let stored = self.finished_count();
        self.stats.note_kept(keep.tasks_max);
        self.readers.read(move |connection| prune::excess(connection, &keep, cursor, stored, tasks_max)).await
    }

    pub(crate) async fn prune(&self, step: PruneStep) -> Result<Pruned, StoreError> {
        self.writer.write(Prune { step }).await
    }

    pub(crate) async fn probe(&self) -> Result<(), StoreError> {
        if let Some(damage) = self.damage.get() {
            return Err(damage.clone());
        }
        self.writer.write(Probe).await
    }

    pub(crate) async fn remove(&self, id: TaskId, now: Timestamp) -> Result<RemoveOutcome, StoreError> {
        self.writer.write(Remove { id, now }).await
    }

    pub(crate) async fn save(&self, claim: &Claim, state: Vec<u8>) -> Result<bool, StoreError> {
        self.writer.write(Save { claim: claim.clone(), state }).await
    }

    pub(crate) async fn restore(&self, claim: &Claim) -> Result<Option<Vec<u8>>, StoreError> {
        let claim = claim.clone();
        self.readers.read(move |connection| queries::checkpoint(connection, &claim)).await
    }

    pub(crate) async fn get(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        let live_runs = self.live_runs.clone();
        self.readers.read(move |connection| queries::task(connection, id, &live_runs)).await
    }

    pub(crate) async fn list(&self, query: ListQuery) -> Result<Page, StoreError> {
        let live_runs = self.live_runs.clone();
        let waiting = self.counts().waiting;
        self.readers.read(move |connection| queries::page(connection, &query, waiting, &live_runs)).await
    }

    pub(crate) async fn find(
        &self,
        filter: Filter,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<TaskId>, Option<Cursor>), StoreError> {
        let waiting = self.counts().waiting;
        self.readers.read(move |connection| queries::find(connection, &filter, before, limit, waiting)).await
    }

    pub(crate) async fn attempts(&self, id: TaskId) -> Result<Vec<Attempt>, StoreError> {
        self.readers.read(move |connection| queries::attempts(connection, id)).await
    }

    pub(crate) async fn dependencies(&self, id: TaskId) -> Result<Option<DependencyStatus>, StoreError> {
        self.readers.read(move |connection| dependency_results::dependencies(connection, id)).await
    }

    pub(crate) async fn dependency_results(&self, claim: &Claim) -> Result<DependencyResults, StoreError> {
        let claim = claim.clone();
        self.readers.read(move |connection| dependency_results::dependency_results(connection, &claim)).await
    }

    pub(crate) async fn pause(&self, plugin: Option<PluginName>, paused: bool) -> Result<(), StoreError> {
        self.writer.write(Pause { plugin, paused }).await
    }

    pub(crate) async fn paused(&self) -> Result<Vec<Option<PluginName>>, StoreError> {
        self.readers.read(pause::paused).await
    }

    pub(crate) async fn recent_starts(
        &self,
        plugin: PluginName,
    ) -> Result<Vec<(Timestamp, usize)>, StoreError> {
        self.readers.read(move |connection| starts::starts(connection, &plugin)).await
    }

    pub(crate) async fn clone_for_retry(
        &self,
        id: TaskId,
        new: TaskId,
        now: Timestamp,
    ) -> Result<Option<(TaskState, NewTask)>, StoreError> {
        self.readers.read(move |connection| queries::again(connection, id, new, now)).await
    }

    pub(crate) async fn input(&self, id: TaskId) -> Result<Option<Option<String>>, StoreError> {
        self.readers.read(move |connection| queries::input(connection, id)).await
    }

    pub(crate) async fn log(&self, id: TaskId) -> Result<Option<String>, StoreError> {
        self.read_log(id, logs::LogSource::text).await
    }

    pub(crate) async fn lines(
        &self,
        id: TaskId,
        after: u64,
        lines_max: usize,
    ) -> Result<Option<LogLines>, StoreError> {
        self.read_log(id, move |found| found.lines(after, lines_max).map(Some)).await
    }

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

    pub(crate) async fn get_after_events(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        let task = self.get(id).await?;
        // Before taking a connection: this lasts as long as the fsync.
        self.live_runs.event_bus.wait_published().await;
        Ok(task)
    }

    pub(crate) fn live_runs(&self) -> &LiveRuns {
        &self.live_runs
    }

    pub(crate) async fn waiting(
        &self,
        plugins: Vec<PluginName>,
        limit: usize,
    ) -> Result<Vec<u64>, StoreError> {
        self.readers.read(move |connection| queries::waiting(connection, &plugins, limit)).await
    }

    pub(crate) fn counts(&self) -> Counts {
        self.stats.counts()
    }

    pub(crate) fn stats(&self) -> StoreStats {
        self.stats.stats()
    }

    pub(crate) fn plugin_counts(&self) -> Vec<(PluginName, PluginCounts)> {
        self.stats.plugin_counts().all()
    }

    pub(crate) fn commit_stats(&self) -> CommitStats {
        self.stats.commit_stats()
    }

    pub(crate) async fn oldest_waiting(&self) -> Result<Vec<(PluginName, Timestamp)>, StoreError> {
        let plugins = self.plugin_counts();
        self.readers.read(move |connection| plugin_counts::oldest(connection, &plugins)).await
    }

    pub(crate) async fn put_schedule(
        &self,
        new: NewSchedule,
        limit: u64,
        now: Timestamp,
    ) -> Result<PutOutcome, StoreError> {
        self.writer.write(PutSchedule { new, limit, now }).await
    }

    pub(crate) async fn remove_schedule(
        &self,
        name: ScheduleName,
        from_manifest: bool,
    ) -> Result<RemoveScheduleOutcome, StoreError> {
        self.writer.write(RemoveSchedule { name, from_manifest }).await
    }

    pub(crate) async fn pause_schedule(
        &self,
        name: ScheduleName,
        paused: bool,
        now: Timestamp,
    ) -> Result<Option<Schedule>, StoreError> {
        self.writer.write(PauseSchedule { name, paused, now }).await
    }

    pub(crate) async fn schedules(&self) -> Result<Vec<Schedule>, StoreError> {
        self.readers.read(schedules::all).await
    }

    pub(crate) async fn schedule(&self, name: ScheduleName) -> Result<Option<Schedule>, StoreError> {
        self.readers.read(move |connection| schedules::one(connection, &name)).await
    }

    pub(crate) async fn due_schedules(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<(Vec<ScheduleName>, Option<Timestamp>), StoreError> {
        self.readers.read(move |connection| schedules::due(connection, now, limit)).await
    }

    pub(crate) async fn run_due(&self, run_due: DueRuns) -> Result<DueOutcome, StoreError> {
        self.writer.write(FireDue { run_due, waiting_max: self.waiting_max }).await
    }

    pub(crate) async fn run_now(
        &self,
        name: ScheduleName,
        task: NewTask,
        request: Option<IdempotencyKey>,
        now: Timestamp,
    ) -> Result<RunNowOutcome, StoreError> {
        self.writer.write(RunNow { name, task, request, waiting_max: self.waiting_max, now }).await?
    }

    pub(crate) async fn record_schedule_error(
        &self,
        schedule: Schedule,
        error: String,
    ) -> Result<(), StoreError> {
        self.writer.write(RecordScheduleError { schedule, error }).await
    }

    pub(crate) async fn due_deliveries(&self, query: DueQuery) -> Result<DueDeliveries, StoreError> {
        self.readers.read(move |connection| webhooks::due(connection, &query)).await
    }

    pub(crate) async fn wait_for_delivery(&self) {
        self.stats.wait_for_delivery.notified().await;
    }

    pub(crate) async fn record_attempt(
        &self,
        delivery: Delivery,
        tried: DeliveryAttempt,
        after: AttemptOutcome,
    ) -> Result<bool, StoreError> {
        self.writer.write(Tried { delivery, tried, after }).await
    }

    pub(crate) async fn webhook(&self, task: TaskId) -> Result<Option<Option<WebhookStatus>>, StoreError> {
        self.readers.read(move |connection| webhooks::log(connection, task)).await
    }

    pub(crate) async fn redeliver(&self, task: TaskId, now: Timestamp) -> Result<Redelivery, StoreError> {
        self.writer.write(Redeliver { task, now }).await
    }

    pub(crate) async fn delivery_backlog(&self) -> Result<DeliveryBacklog, StoreError> {
        self.readers.read(webhooks::backlog).await
    }

    pub(crate) async fn closed(&self) {
        self.writer.closed().await;
    }

    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Added to the thread's nice value so the check yields to requests.
#[cfg(target_os = "linux")]
const CHECK_NICENESS: i32 = 10;

/// Checks a large database in use, on a detached thread.
fn check_on(path: Arc<Path>, damage: &Arc<OnceLock<StoreError>>) {
    let damage = Arc::clone(damage);
    let check = move || {
        // On Linux this applies to the thread only. Tasks and requests come first.
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::process::nice(CHECK_NICENESS) {
            tracing::debug!(%error, "failed to lower the priority of the check");
        }
        let checked = connection::reader(&path)
            .map_err(|error| fault::fault(&path, &error))
            .and_then(|connection| check::whole(&connection, &path));
        if let Err(error) = checked {
            tracing::error!(%error, "the database is damaged; tasks continue, but stop the host and restore a backup soon");
            // Set here only.
            let _ = damage.set(error);
        }
    };
    if let Err(error) = std::thread::Builder::new().name("store-check".to_owned()).spawn(check) {
        tracing::warn!(%error, "the database could not be checked");
    }
}

#[cfg(test)]
mod budget;
#[cfg(test)]
mod plans;
