//! The handle of the store. It forwards to the backend and knows no SQL.

use std::path::Path;
use std::sync::Arc;

use wasmill_model::{
    NewTask, PluginName, Progress, ScheduleName, Task, TaskId, TaskState, Timestamp, Transition,
};

use crate::live_runs::LiveRuns;
use crate::sqlite::Sqlite;
use crate::{
    Attempt, AttemptOutcome, Backup, CancelOutcome, CancelledMany, Claim, ClaimQuota, Claims, CommitStats,
    Counts, Cursor, Delivery, DeliveryAttempt, DeliveryBacklog, DependencyResults, DependencyStatus,
    DueDeliveries, DueOutcome, DueQuery, DueRuns, Excess, Filter, IdempotencyKey, ListQuery, LockHolder,
    LogLines, LogPart, NewSchedule, Page, PluginCounts, PruneCursor, PruneStep, Pruned, PutOutcome, Recovery,
    Redelivery, RemoveOutcome, RemoveScheduleOutcome, RetentionBounds, RunNowOutcome, Schedule, StoreConfig,
    StoreError, StoreStats, StoredSteps, Submitted, Subscriber, TaskRef, TaskSubscriber, WebhookStatus,
};

/// Durable state. Cheap to clone; all clones are the same store.
///
/// Dropping the future of a write does not undo it: a queued write still happens as a whole.
///
/// # Errors
///
/// Every method may fail with [`StoreError::Unavailable`], [`StoreError::Corrupt`] or [`StoreError::Closed`];
/// later calls are tried all the same. A failed write changed nothing.
#[derive(Clone, Debug)]
pub struct Store {
    backend: Arc<Backend>,
}

/// The backend; another database adds a variant, and an arm to each method below.
#[derive(Debug)]
enum Backend {
    Sqlite(Sqlite),
}

impl Store {
    /// Opens the store in a data folder, creates the folder if it is missing, and recovers tasks that ran
    /// when the last host died. Blocks the thread.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] while another process has it open; [`StoreError::Foreign`],
    /// [`StoreError::Newer`] or [`StoreError::Corrupt`] if the database cannot be used.
    pub fn open(config: StoreConfig, now: Timestamp) -> Result<(Self, Recovery), StoreError> {
        let (sqlite, recovery) = Sqlite::open(config, now)?;
        Ok((Self { backend: Arc::new(Backend::Sqlite(sqlite)) }, recovery))
    }

    /// Stores new tasks, all or none; durable on return.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`] or [`StoreError::PluginFull`] if a limit of waiting tasks would be exceeded,
    /// [`StoreError::Duplicate`] if an id exists.
    pub async fn insert(&self, tasks: Vec<NewTask>) -> Result<(), StoreError> {
        self.submit(tasks, None).await.map(drop)
    }

    /// Stores new tasks like [`Store::insert`] and returns the outcome of each. A request with an idempotency
    /// key used in the last 24 hours gets its earlier answer and stores nothing.
    ///
    /// # Errors
    ///
    /// Those of [`Store::insert`]; [`StoreError::UnknownDependency`] if a dependency does not exist;
    /// [`StoreError::KeyReused`] if the idempotency key belongs to another request; [`StoreError::KeyTaken`]
    /// if a unique key is held and the task does not ask for its holder.
    pub async fn submit(
        &self,
        tasks: Vec<NewTask>,
        request: Option<(IdempotencyKey, Timestamp)>,
    ) -> Result<Submitted, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.submit(tasks, request).await,
        }
    }

    /// Returns the earlier answer to this request, if there is one. Does not wait for writes, so it may miss
    /// a concurrent request: only [`Store::submit`] is certain.
    ///
    /// # Errors
    ///
    /// [`StoreError::KeyReused`] if the idempotency key belongs to another request.
    pub async fn find_submitted(
        &self,
        request: IdempotencyKey,
        now: Timestamp,
    ) -> Result<Option<Submitted>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.find_submitted(request, now).await,
        }
    }

    /// Returns what the steps of a request stored: submits whose key is the key of the request, a line feed
    /// and the name of the step.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn steps(&self, request: IdempotencyKey, now: Timestamp) -> Result<StoredSteps, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.steps(request, now).await,
        }
    }

    /// Removes idempotency keys older than 24 hours, as many as fit into one short transaction; returns how
    /// many, 0 if none are left.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn prune_keys(&self, now: Timestamp) -> Result<u64, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.prune_keys(now).await,
        }
    }

    /// Claims up to `tasks_max` available tasks of these plugins, within the quota of each.
    ///
    /// The claim is fair: it serves plugins and their groups round robin, over all claims of this host.
    /// Within a group the task that has been available longest comes first, adjusted by priority.
    ///
    /// Not durable: a claim lost in a power cut only runs the task again. Tasks claimed for a dropped future
    /// are requeued.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn claim<P: Into<ClaimQuota> + Clone>(
        &self,
        quotas: &[P],
        tasks_max: usize,
        now: Timestamp,
    ) -> Result<Claims, StoreError> {
        self.claim_within(quotas, tasks_max, u64::MAX, now).await
    }

    /// Claims like [`Store::claim`], but stops at the first task that does not fit into `available_memory`;
    /// smaller tasks behind it must not overtake it, or it might wait forever.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn claim_within<P: Into<ClaimQuota> + Clone>(
        &self,
        quotas: &[P],
        tasks_max: usize,
        available_memory: u64,
        now: Timestamp,
    ) -> Result<Claims, StoreError> {
        let quotas = quotas.iter().cloned().map(Into::into).collect();
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.claim(quotas, tasks_max, available_memory, now).await,
        }
    }

    /// Applies this transition to a running attempt and stores its log; durable on return.
    ///
    /// Returns false if the transition was refused: the claim was revoked and nothing is written, or the task
    /// had a stop request and is now cancelled or removed. The [pinned](Store::pin) digest is stored. The log
    /// is appended to that of earlier runs.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn finish(
        &self,
        claim: &Claim,
        next: Transition,
        log: Option<LogPart>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.finish(claim, next, log, now).await,
        }
    }

    /// Finishes a run that was stopped and stores its log: the task is cancelled or removed if it had a stop
    /// request, and requeued without losing the attempt otherwise. Returns true if it was requeued.
    ///
    /// Not durable: after a power cut, recovery does it again.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn finish_stopped(
        &self,
        claim: &Claim,
        log: Option<LogPart>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.finish_stopped(claim, log, now).await,
        }
    }

    /// Cancels a task unless it has finished; durable on return. A waiting task is cancelled on return. A
    /// running one gets a stop request and becomes cancelled when its run ends, whatever the outcome. Its
    /// dependents are then cancelled or released as each of them asked, in this or a later batch, also after
    /// a crash.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn cancel(&self, id: TaskId, now: Timestamp) -> Result<CancelOutcome, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.cancel(id, now).await,
        }
    }

    /// Returns the unfinished tasks that match, waiting ones first. Does not wait for writes.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn find_open(&self, filter: Filter) -> Result<Vec<TaskRef>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.find_open(filter).await,
        }
    }

    /// Cancels these tasks like [`Store::cancel`], except those that have finished or no longer match the
    /// states of the filter; durable on return.
    ///
    /// This is one transaction that other writes wait for: cancel many tasks in steps.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn cancel_many(
        &self,
        found: Vec<TaskRef>,
        filter: Filter,
        now: Timestamp,
    ) -> Result<CancelledMany, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.cancel_many(found, filter, now).await,
        }
    }

    /// Removes a task with everything that belongs to it; durable on return. A running task gets a stop
    /// request and is removed when its run ends. To its dependents an unfinished task counts as cancelled.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn remove(&self, id: TaskId, now: Timestamp) -> Result<RemoveOutcome, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.remove(id, now).await,
        }
    }

    /// Replaces the checkpoint of the task; durable on return.
    ///
    /// Returns false if the claim was revoked; then nothing is written.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn save(&self, claim: &Claim, state: Vec<u8>) -> Result<bool, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.save(claim, state).await,
        }
    }

    /// Returns the latest checkpoint of the task, of this attempt or an earlier one; `None` if there is none
    /// or the claim was revoked.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn restore(&self, claim: &Claim) -> Result<Option<Vec<u8>>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.restore(claim).await,
        }
    }

    /// Sets the progress of a running attempt, in memory only. Has no effect once the claim has ended.
    pub fn progress(&self, claim: &Claim, progress: Progress) {
        claim.report.set_progress(progress);
    }

    /// Records the digest of the plugin that a task runs: in memory while it runs, stored when the attempt
    /// ends. Has no effect once the claim has ended.
    pub fn pin(&self, claim: &Claim, digest: Arc<str>) {
        claim.report.set_digest(digest);
    }

    /// Returns a task.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn get(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.get(id).await,
        }
    }

    /// Returns a page of tasks, newest first.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn list(&self, query: ListQuery) -> Result<Page, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.list(query).await,
        }
    }

    /// Returns up to `limit` matching ids older than `before`, newest first, and the cursor of the next page.
    /// A page may be shorter, even empty, before the last.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn find(
        &self,
        filter: Filter,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<TaskId>, Option<Cursor>), StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.find(filter, before, limit).await,
        }
    }

    /// Returns the attempts of a task that were followed by another one, oldest first. The task itself tells
    /// how the last one ended.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn attempts(&self, id: TaskId) -> Result<Vec<Attempt>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.attempts(id).await,
        }
    }

    /// Returns the dependencies of a task; `None` if it has none or does not exist.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn dependencies(&self, id: TaskId) -> Result<Option<DependencyStatus>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.dependencies(id).await,
        }
    }

    /// Returns the outcomes and results of the dependencies of a claimed task.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn dependency_results(&self, claim: &Claim) -> Result<DependencyResults, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.dependency_results(claim).await,
        }
    }

    /// Resolves when a dependency made tasks available since the last call.
    pub async fn wait_for_ready(&self) {
        self.live_runs().wait_for_ready.notified().await;
    }

    /// Returns when tasks of a plugin with a [rate limit](ClaimQuota::rate_span) were claimed and how many,
    /// oldest first. Starts older than the span may be missing.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn recent_starts(&self, plugin: PluginName) -> Result<Vec<(Timestamp, usize)>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.recent_starts(plugin).await,
        }
    }

    /// Stores whether a plugin, or everything for `None`, is paused; durable on return. The scheduler decides
    /// what a pause means.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn pause(&self, plugin: Option<PluginName>, paused: bool) -> Result<(), StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.pause(plugin, paused).await,
        }
    }

    /// Returns the paused plugins; `None` among them stands for everything.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn paused(&self) -> Result<Vec<Option<PluginName>>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.paused().await,
        }
    }

    /// Creates a schedule or replaces one of its name that is managed the same way; durable on return. There
    /// may be `limit` schedules. A replacement with the same timing stays due if the schedule was due.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn put_schedule(
        &self,
        new: NewSchedule,
        limit: u64,
        now: Timestamp,
    ) -> Result<PutOutcome, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.put_schedule(new, limit, now).await,
        }
    }

    /// Removes a schedule that is managed this way; durable on return. Its tasks stay.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn remove_schedule(
        &self,
        name: ScheduleName,
        from_manifest: bool,
    ) -> Result<RemoveScheduleOutcome, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.remove_schedule(name, from_manifest).await,
        }
    }

    /// Pauses or resumes a schedule; durable on return. Runs that were due during a pause are skipped.
    /// Returns the schedule, if it exists.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn pause_schedule(
        &self,
        name: ScheduleName,
        paused: bool,
        now: Timestamp,
    ) -> Result<Option<Schedule>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.pause_schedule(name, paused, now).await,
        }
    }

    /// Returns all schedules by name, without their task requests.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn schedules(&self) -> Result<Vec<Schedule>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.schedules().await,
        }
    }

    /// Returns a schedule.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn schedule(&self, name: ScheduleName) -> Result<Option<Schedule>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.schedule(name).await,
        }
    }

    /// Returns up to `limit` due schedules, longest due first, and when the next one becomes due.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn due_schedules(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<(Vec<ScheduleName>, Option<Timestamp>), StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.due_schedules(now, limit).await,
        }
    }

    /// Stores the tasks of due runs and advances their schedule, both or neither; durable on return.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn run_due(&self, run_due: DueRuns) -> Result<DueOutcome, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.run_due(run_due).await,
        }
    }

    /// Stores the task of a manual run; durable on return. A request with a known idempotency key starts
    /// nothing.
    ///
    /// # Errors
    ///
    /// Those of [`Store::submit`].
    pub async fn run_now(
        &self,
        name: ScheduleName,
        task: NewTask,
        request: Option<IdempotencyKey>,
        now: Timestamp,
    ) -> Result<RunNowOutcome, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.run_now(name, task, request, now).await,
        }
    }

    /// Records why a due schedule could not run, until it runs or changes. Not durable.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn record_schedule_error(&self, schedule: Schedule, error: String) -> Result<(), StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.record_schedule_error(schedule, error).await,
        }
    }

    /// Returns the state of a task and a copy of it as a new task with id `new`, created at `now` and without
    /// its delay.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn clone_for_retry(
        &self,
        id: TaskId,
        new: TaskId,
        now: Timestamp,
    ) -> Result<Option<(TaskState, NewTask)>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.clone_for_retry(id, new, now).await,
        }
    }

    /// Returns the input of a task; `None` if the task does not exist, `Some(None)` if it has no input.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn input(&self, id: TaskId) -> Result<Option<Option<String>>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.input(id).await,
        }
    }

    /// Returns the log of the current or newest run as text; `None` if the task does not exist or has no log.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn log(&self, id: TaskId) -> Result<Option<String>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.log(id).await,
        }
    }

    /// Returns up to `lines_max` log lines of a task after line `after`, over all runs, oldest first; `None`
    /// if the task does not exist.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn lines(
        &self,
        id: TaskId,
        after: u64,
        lines_max: usize,
    ) -> Result<Option<LogLines>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.lines(id, after, lines_max).await,
        }
    }

    /// Returns a task once all events of its visible state are published.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn get_after_events(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.get_after_events(id).await,
        }
    }

    /// Subscribes to the events of a task from now on. The task need not exist.
    pub fn subscribe(&self, id: TaskId) -> TaskSubscriber {
        self.live_runs().event_bus.subscribe(id)
    }

    /// Subscribes to the events of all tasks from now on.
    pub fn subscribe_all(&self) -> Subscriber {
        self.live_runs().event_bus.subscribe_all()
    }

    /// Resolves when there is unpublished progress.
    pub async fn wait_for_progress(&self) {
        self.live_runs().wait_for_progress().await;
    }

    /// Publishes pending progress, at most 1,000 tasks per call. The caller decides how often.
    pub fn publish_progress(&self, now: Timestamp) {
        self.live_runs().publish_progress(now);
    }

    fn live_runs(&self) -> &LiveRuns {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.live_runs(),
        }
    }

    /// Returns the number of waiting and running tasks; cheap.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => Ok(sqlite.counts()),
        }
    }

    /// Returns the number of waiting tasks of each plugin, in this order, each counted up to `limit` to bound
    /// the cost.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn waiting(&self, plugins: Vec<PluginName>, limit: usize) -> Result<Vec<u64>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.waiting(plugins, limit).await,
        }
    }

    /// Returns how many finished tasks are stored; cheap.
    pub fn finished_count(&self) -> u64 {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.finished_count(),
        }
    }

    /// Scans finished tasks, oldest first, until it has found about `tasks_max` tasks beyond the bounds, or
    /// for a bounded time. Does not wait for writes.
    ///
    /// Skips tasks whose result a dependent still needs and tasks kept by a pending delivery; both count as
    /// stored.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn excess(
        &self,
        keep: RetentionBounds,
        cursor: PruneCursor,
        tasks_max: usize,
    ) -> Result<Excess, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.excess(keep, cursor, tasks_max).await,
        }
    }

    /// Removes these tasks, except those that are needed since they were found.
    ///
    /// Not durable: after a power cut, what came back is pruned again.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn prune(&self, step: PruneStep) -> Result<Pruned, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.prune(step).await,
        }
    }

    /// Checks that the database is writable, by a small durable write.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn probe(&self) -> Result<(), StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.probe().await,
        }
    }

    /// Returns the process that has a data folder open, if any. Creates and writes nothing.
    pub fn holder(dir: &Path) -> Option<LockHolder> {
        crate::sqlite::holder(dir)
    }

    /// Checks the database of a data folder as [`Store::open`] does, and changes nothing. Returns `Ok` if there is
    /// no database or a host has it open. Blocks the thread; reads only parts of a large database.
    ///
    /// # Errors
    ///
    /// The errors of [`Store::open`] that concern the database.
    pub fn examine(dir: &Path) -> Result<(), StoreError> {
        crate::sqlite::examine(dir)
    }

    /// Copies the database of a data folder, which a host may be using, into a new file: a complete, checked
    /// and durable snapshot. Blocks the thread.
    ///
    /// The copy is renamed into place; an existing file is replaced only if `replace`. To restore it, put it
    /// into a data folder as `wasmill.db`.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] if there is no database or no folder for the copy, [`StoreError::NoBackup`] if
    /// the file exists, [`StoreError::Unavailable`] if it cannot be written; [`StoreError::Foreign`],
    /// [`StoreError::Newer`] or [`StoreError::Corrupt`] if the database cannot be used.
    pub fn backup(dir: &Path, file: &Path, replace: bool) -> Result<Backup, StoreError> {
        crate::sqlite::backup(dir, file, replace)
    }

    /// Returns write statistics since the store was opened.
    pub fn stats(&self) -> StoreStats {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.stats(),
        }
    }

    /// Returns the task counts of every plugin; cheap.
    pub fn plugin_counts(&self) -> Vec<(PluginName, PluginCounts)> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.plugin_counts(),
        }
    }

    /// Returns the distribution of commits since the store was opened; cheap.
    pub fn commit_stats(&self) -> CommitStats {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.commit_stats(),
        }
    }

    /// Returns, for each plugin with waiting tasks, the earliest time at which one became or becomes
    /// available.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn oldest_waiting(&self) -> Result<Vec<(PluginName, Timestamp)>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.oldest_waiting().await,
        }
    }

    /// Returns due deliveries, origin by origin. A delivery in flight is among them: it is due until its
    /// attempt is [recorded](Store::record_attempt).
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn due_deliveries(&self, query: DueQuery) -> Result<DueDeliveries, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.due_deliveries(query).await,
        }
    }

    /// Resolves on a hint that a delivery became due. Hints may be lost.
    pub async fn wait_for_delivery(&self) {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.wait_for_delivery().await,
        }
    }

    /// Records a delivery attempt and its outcome. Returns false, and records nothing, if the task is gone or
    /// the delivery was restarted since.
    ///
    /// Not durable: after a power cut the receiver may get the delivery again.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn record_attempt(
        &self,
        delivery: &Delivery,
        tried: DeliveryAttempt,
        after: AttemptOutcome,
    ) -> Result<bool, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.record_attempt(delivery.clone(), tried, after).await,
        }
    }

    /// Returns the webhook of a task: `None` if the task does not exist, `Some(None)` if it has no webhook.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn webhook(&self, task: TaskId) -> Result<Option<Option<WebhookStatus>>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.webhook(task).await,
        }
    }

    /// Makes the delivery of a finished task due again, whether it was delivered or given up; durable on
    /// return.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn redeliver(&self, task: TaskId, now: Timestamp) -> Result<Redelivery, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.redeliver(task, now).await,
        }
    }

    /// Returns how many deliveries are pending and since when the oldest is.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn delivery_backlog(&self) -> Result<DeliveryBacklog, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.delivery_backlog().await,
        }
    }

    /// Resolves when the store accepts no more writes: it is being closed, or its writer has died.
    pub async fn closed(&self) {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.closed().await,
        }
    }

    /// Finishes queued writes and releases the data folder. Later calls on any clone fail with
    /// [`StoreError::Closed`].
    ///
    /// Dropping the last clone does the same but blocks the thread.
    pub async fn close(&self) {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.close().await,
        }
    }
}
