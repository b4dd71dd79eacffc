//! The handle that everyone holds. It forwards to the backend and knows no SQL.

use std::path::Path;
use std::sync::Arc;

use wasmill_model::{NewTask, Next, PluginName, Progress, ScheduleName, Task, TaskId, TaskState, Timestamp};

use crate::report::ReportBoard;
use crate::sqlite::Sqlite;
use crate::{
    AfterTry, AllFollower, Attempt, Backlog, Backup, Cancelled, CancelledMany, Claim, Claims, CommitFigures,
    Counts, Cursor, Delivery, Depends, Due, DueQuery, Excess, Filter, Fire, Fired, Follower, Found, HandOver,
    Holder, Keep, Lines, ListQuery, LogPart, NewSchedule, Page, PruneCursor, PruneStep, Pruned, Put, RanNow,
    Recovery, Redelivery, Removed, RemovedSchedule, RequestKey, Schedule, Share, Steps, StoreConfig,
    StoreError, StoreStats, Submitted, Tally, Try, WebhookLog,
};

/// Durable state. Cheap to clone; all clones are the same store.
///
/// The future of a write may be dropped: what was queued by then still happens, as a whole.
///
/// # Errors
///
/// Every method may fail with [`StoreError::Unavailable`], [`StoreError::Corrupt`] or
/// [`StoreError::Closed`]; none of them stops the store from trying the next call. A write that
/// failed changed nothing.
#[derive(Clone, Debug)]
pub struct Store {
    backend: Arc<Backend>,
}

/// The seam for another database: it adds a variant, and an arm to each method below.
#[derive(Debug)]
enum Backend {
    Sqlite(Sqlite),
}

impl Store {
    /// Opens the store in a data folder, makes it if it is missing, and recovers tasks that were
    /// running when the last host died. Blocks the thread.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] while another process has it open; [`StoreError::Foreign`],
    /// [`StoreError::Newer`] or [`StoreError::Corrupt`] if the database cannot be used.
    pub fn open(config: StoreConfig, now: Timestamp) -> Result<(Self, Recovery), StoreError> {
        let (sqlite, recovery) = Sqlite::open(config, now)?;
        Ok((Self { backend: Arc::new(Backend::Sqlite(sqlite)) }, recovery))
    }

    /// Stores tasks as waiting, all of them or none; durable on return.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`] or [`StoreError::PluginFull`] if they would be too many waiting,
    /// [`StoreError::Duplicate`] if an id is taken.
    pub async fn insert(&self, tasks: Vec<NewTask>) -> Result<(), StoreError> {
        self.submit(tasks, None).await.map(drop)
    }

    /// Does what [`Store::insert`] does, and says what became of each task. A request that has come
    /// before, with the same key at most 24 hours ago, gets the answer it got then and stores nothing.
    ///
    /// # Errors
    ///
    /// Those of [`Store::insert`]; [`StoreError::UnknownDependency`] if a task waits for one that is not there;
    /// [`StoreError::KeyReused`] if another request came under this key,
    /// [`StoreError::KeyTaken`] if a unique key is held and the task is not to be answered with its holder.
    pub async fn submit(
        &self,
        tasks: Vec<NewTask>,
        request: Option<(RequestKey, Timestamp)>,
    ) -> Result<Submitted, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.submit(tasks, request).await,
        }
    }

    /// Returns what was answered to this request if it has come before. Waits for no write, so one that
    /// comes at the same time may not be seen: only [`Store::submit`] is sure.
    ///
    /// # Errors
    ///
    /// [`StoreError::KeyReused`] if another request came under this key.
    pub async fn submitted(
        &self,
        request: RequestKey,
        now: Timestamp,
    ) -> Result<Option<Submitted>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.submitted(request, now).await,
        }
    }

    /// Returns what was stored in the steps of this request: those submits whose key is that of the request, a line
    /// feed, and a name.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn steps(&self, request: RequestKey, now: Timestamp) -> Result<Steps, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.steps(request, now).await,
        }
    }

    /// Forgets requests that came more than 24 hours ago, as many as one short write takes; returns how
    /// many, 0 if there are none left.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn prune_keys(&self, now: Timestamp) -> Result<u64, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.prune_keys(now).await,
        }
    }

    /// Makes up to `tasks_max` waiting tasks of these plugins running, and of no plugin more than its share.
    ///
    /// The tasks of a plugin without a group, and those of each of its groups, are a lane. In a lane the longest
    /// ready comes first, as their priorities have it; the lanes take turns, over all claims of this host.
    ///
    /// Not durable: a claim that is lost in a power cut only runs the task again. Tasks claimed for
    /// a future that was dropped wait again.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn claim<P: Into<Share> + Clone>(
        &self,
        shares: &[P],
        tasks_max: usize,
        now: Timestamp,
    ) -> Result<Claims, StoreError> {
        self.claim_within(shares, tasks_max, u64::MAX, now).await
    }

    /// Does what [`Store::claim`] does, but no further than the tasks have room together. The first in the
    /// line that has none ends the claim: were smaller ones let past it, it might wait for ever.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn claim_within<P: Into<Share> + Clone>(
        &self,
        shares: &[P],
        tasks_max: usize,
        room: u64,
        now: Timestamp,
    ) -> Result<Claims, StoreError> {
        let shares = shares.iter().cloned().map(Into::into).collect();
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.claim(shares, tasks_max, room, now).await,
        }
    }

    /// Ends an attempt with this move and keeps its log; durable on return.
    ///
    /// Returns false if the move was refused: the claim was lost, and nothing is written; or the task had been
    /// asked to stop, and is now cancelled or removed. What the claim was [pinned](Store::pin) to is kept. The
    /// log is kept behind those of earlier runs.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn finish(
        &self,
        claim: &Claim,
        next: Next,
        log: Option<LogPart>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.finish(claim, next, log, now).await,
        }
    }

    /// Ends an attempt whose guest was stopped, and keeps its log: the task is cancelled or removed if it was
    /// asked to stop, and else waits again as if the attempt had not been. Returns whether it waits again.
    ///
    /// Not durable: what a power cut takes back, the next opening does again.
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

    /// Cancels a task unless it has ended; durable on return. One that waits is cancelled by then; one that runs
    /// has been asked to stop, and the end of its run makes it cancelled, whatever its guest answers. Tasks that
    /// wait for it are cancelled or let go as each of them asked for once it has ended, or soon after, also after
    /// a crash.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn cancel(&self, id: TaskId, now: Timestamp) -> Result<Cancelled, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.cancel(id, now).await,
        }
    }

    /// Finds the tasks that wait or run and fit, those that wait first. Waits for no write.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn find_open(&self, filter: Filter) -> Result<Vec<Found>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.find_open(filter).await,
        }
    }

    /// Cancels these tasks as [`Store::cancel`] does, each unless it has ended or is in a state that is not meant
    /// any more; durable on return.
    ///
    /// All of it is one write, which others wait for: many tasks are better cancelled in steps.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn cancel_many(
        &self,
        found: Vec<Found>,
        filter: Filter,
        now: Timestamp,
    ) -> Result<CancelledMany, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.cancel_many(found, filter, now).await,
        }
    }

    /// Removes a task with all that belongs to it; durable on return. One that runs has been asked to stop, and the
    /// end of its run removes it. To those who wait for it, one that had not ended was cancelled.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn remove(&self, id: TaskId, now: Timestamp) -> Result<Removed, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.remove(id, now).await,
        }
    }

    /// Keeps a checkpoint in place of the one before; durable on return.
    ///
    /// Returns false if the claim was lost; then nothing is written.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn save(&self, claim: &Claim, state: Vec<u8>) -> Result<bool, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.save(claim, state).await,
        }
    }

    /// Returns the latest checkpoint of the task, of this attempt or an earlier one; `None` if
    /// there is none or the claim was lost.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn restore(&self, claim: &Claim) -> Result<Option<Vec<u8>>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.restore(claim).await,
        }
    }

    /// Keeps the latest progress of a running attempt, in memory only. Changes nothing once the
    /// claim is lost.
    pub fn progress(&self, claim: &Claim, progress: Progress) {
        claim.report.set_progress(progress);
    }

    /// Notes the digest of the plugin that a claimed task runs: in memory while it runs, durable
    /// with the end of the attempt. Changes nothing once the claim is lost.
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

    /// Returns a page of the tasks, the last accepted first.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn list(&self, query: ListQuery) -> Result<Page, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.list(query).await,
        }
    }

    /// Finds up to `most` tasks that fit, the last accepted first, of those before a place; and the place
    /// where to go on if there may be more. It may find fewer, even none, before that.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn find(
        &self,
        filter: Filter,
        before: Option<Cursor>,
        most: usize,
    ) -> Result<(Vec<TaskId>, Option<Cursor>), StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.find(filter, before, most).await,
        }
    }

    /// Returns how the attempts of a task ended after which it went on, the first one first. How the last
    /// one ended stands in the task itself.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn attempts(&self, id: TaskId) -> Result<Vec<Attempt>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.attempts(id).await,
        }
    }

    /// Returns what a task waits for, or waited for; `None` if it was never to wait for any, or is gone.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn depends(&self, id: TaskId) -> Result<Option<Depends>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.depends(id).await,
        }
    }

    /// Returns how the tasks ended that a claimed one waited for, and their results.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn handed(&self, claim: &Claim) -> Result<HandOver, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.handed(claim).await,
        }
    }

    /// Waits until tasks became ready that had waited for others, since this was last waited for.
    pub async fn readied(&self) {
        self.reports().readied.notified().await;
    }

    /// Returns when tasks of a plugin were claimed with a [share](Share) that has a rate, and how many, the earliest
    /// first; what is older than the span of that may be missing.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn starts(&self, plugin: PluginName) -> Result<Vec<(Timestamp, usize)>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.starts(plugin).await,
        }
    }

    /// Notes that a plugin, or with `None` everything, is paused or no longer is; durable on return. What
    /// that means is the scheduler's to say.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn pause(&self, plugin: Option<PluginName>, paused: bool) -> Result<(), StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.pause(plugin, paused).await,
        }
    }

    /// Returns what is paused; `None` among them stands for everything.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn paused(&self) -> Result<Vec<Option<PluginName>>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.paused().await,
        }
    }

    /// Makes a schedule, or puts it in place of one of its name that came the same way; durable on return.
    /// There are at most `most`. One that takes the place of another for the same times stays due if it was.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn put_schedule(&self, new: NewSchedule, most: u64, now: Timestamp) -> Result<Put, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.put_schedule(new, most, now).await,
        }
    }

    /// Removes a schedule that came this way; durable on return. Its tasks stay.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn remove_schedule(
        &self,
        name: ScheduleName,
        from_manifest: bool,
    ) -> Result<RemovedSchedule, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.remove_schedule(name, from_manifest).await,
        }
    }

    /// Holds a schedule back, or lets it go on from now, when what was due meanwhile is over; durable on
    /// return. Returns the schedule, if there is one.
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

    /// Returns all schedules in the order of their names, without what they ask for.
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

    /// Returns the schedules that are due, the longest due first and at most so many; and when the first of the
    /// others will be.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn due_schedules(
        &self,
        now: Timestamp,
        most: usize,
    ) -> Result<(Vec<ScheduleName>, Option<Timestamp>), StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.due_schedules(now, most).await,
        }
    }

    /// Stores the tasks of runs that are due and moves their schedule on, both or neither; durable on return.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn fire(&self, fire: Fire) -> Result<Fired, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.fire(fire).await,
        }
    }

    /// Stores the task of a run that is asked for by hand; durable on return. A request that has come before under
    /// its key starts nothing.
    ///
    /// # Errors
    ///
    /// Those of [`Store::submit`].
    pub async fn run_now(
        &self,
        name: ScheduleName,
        task: NewTask,
        request: Option<RequestKey>,
        now: Timestamp,
    ) -> Result<RanNow, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.run_now(name, task, request, now).await,
        }
    }

    /// Notes why a schedule is due and has not run, until it does or changes. Not durable.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn note_trouble(&self, schedule: Schedule, trouble: String) -> Result<(), StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.note_trouble(schedule, trouble).await,
        }
    }

    /// Returns the state of a task, and a new one with this id that does the same again: as it was asked
    /// for, but from `now` on, and without a delay.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn again(
        &self,
        id: TaskId,
        new: TaskId,
        now: Timestamp,
    ) -> Result<Option<(TaskState, NewTask)>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.again(id, new, now).await,
        }
    }

    /// Returns the input of a task, `None` within if it has none; `None` if there is no such task.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn input(&self, id: TaskId) -> Result<Option<Option<String>>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.input(id).await,
        }
    }

    /// Returns the log of the run, or of the newest run that has ended, as text: if the task exists and has
    /// one.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn log(&self, id: TaskId) -> Result<Option<String>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.log(id).await,
        }
    }

    /// Returns the lines of the log of a task behind the number `after`, of all its runs, the oldest first
    /// and as many as asked for; `None` if there is no such task.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn lines(&self, id: TaskId, after: u64, lines_max: usize) -> Result<Option<Lines>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.lines(id, after, lines_max).await,
        }
    }

    /// Returns a task, once the events of all that can be seen of it were told.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn get_settled(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.get_settled(id).await,
        }
    }

    /// Begins to follow what happens to a task, which need not be there, from now on.
    pub fn follow(&self, id: TaskId) -> Follower {
        self.reports().hub.follow(id)
    }

    /// Begins to follow what happens to all tasks, from now on.
    pub fn follow_all(&self) -> AllFollower {
        self.reports().hub.follow_all()
    }

    /// Waits until there is progress that followers were not told of.
    pub async fn progressed(&self) {
        self.reports().progressed().await;
    }

    /// Tells followers the latest progress of tasks of which they were not told, as many as is well at once.
    /// Whoever calls this decides how often they hear of it.
    pub fn tell_progress(&self, now: Timestamp) {
        self.reports().tell_progress(now);
    }

    fn reports(&self) -> &ReportBoard {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.reports(),
        }
    }

    /// Returns how many tasks wait and run; cheap.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => Ok(sqlite.counts()),
        }
    }

    /// Returns how many tasks of each of these plugins wait, in their order, each counted to at most
    /// `most`, which bounds the cost.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn waiting(&self, plugins: Vec<PluginName>, most: usize) -> Result<Vec<u64>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.waiting(plugins, most).await,
        }
    }

    /// Returns how many tasks that ended are stored; cheap.
    pub fn stored(&self) -> u64 {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.stored(),
        }
    }

    /// Walks on through the tasks that ended, the first that ended first, until about so many are found that are
    /// not kept; or for a while, though none is found. Waits for no write.
    ///
    /// Passed over are those whose result another task waits to be handed, and those whose delivery is pending
    /// and keeps them: they count among the tasks that are stored.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn excess(
        &self,
        keep: Keep,
        cursor: PruneCursor,
        tasks_max: usize,
    ) -> Result<Excess, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.excess(keep, cursor, tasks_max).await,
        }
    }

    /// Removes these tasks, but for those that somebody has come to need since they were found.
    ///
    /// Not durable: what a power cut brings back is pruned again.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn prune(&self, step: PruneStep) -> Result<Pruned, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.prune(step).await,
        }
    }

    /// Makes sure that the database can be written, by a small durable write.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn probe(&self) -> Result<(), StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.probe().await,
        }
    }

    /// Says which process has a data folder open, if one has. Makes and writes nothing.
    pub fn holder(dir: &Path) -> Option<Holder> {
        crate::sqlite::holder(dir)
    }

    /// Checks the database of a data folder as [`Store::open`] does, and changes nothing. Returns `Ok` if there is
    /// none, or if a host has it open. Blocks the thread; a large database is not read as a whole.
    ///
    /// # Errors
    ///
    /// Those with which an opening would fail because of the database.
    pub fn examine(dir: &Path) -> Result<(), StoreError> {
        crate::sqlite::examine(dir)
    }

    /// Copies the database of a data folder, which a host may be using, into a new file: complete,
    /// as it was at one moment after the call, checked and durable. Blocks the thread.
    ///
    /// The copy is put in its place in one step; an existing file is replaced only if `replace`.
    /// To restore, put it into a data folder under the name `wasmill.db`.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotThere`] if there is no database, or no folder for the copy;
    /// [`StoreError::NoBackup`] if the file exists, [`StoreError::Unavailable`] if it
    /// cannot be written;
    /// [`StoreError::Foreign`], [`StoreError::Newer`] or [`StoreError::Corrupt`] if the database
    /// cannot be used.
    pub fn backup(dir: &Path, file: &Path, replace: bool) -> Result<Backup, StoreError> {
        crate::sqlite::backup(dir, file, replace)
    }

    /// Returns what was written since the opening, for metrics.
    pub fn stats(&self) -> StoreStats {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.stats(),
        }
    }

    /// Returns how many tasks of each plugin wait and run, and how many ever ended, and how; cheap.
    pub fn tallies(&self) -> Vec<(PluginName, Tally)> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.tallies(),
        }
    }

    /// Returns how the writes since the opening were spread; cheap.
    pub fn commit_figures(&self) -> CommitFigures {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.commit_figures(),
        }
    }

    /// Returns, for each plugin of which tasks wait, when the first of them was ready, which may be later
    /// than now.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn oldest_waiting(&self) -> Result<Vec<(PluginName, Timestamp)>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.oldest_waiting().await,
        }
    }

    /// Finds deliveries that are due, origin by origin. What is under way is among them: it is due until
    /// its try is [noted](Store::tried).
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn due(&self, query: DueQuery) -> Result<Due, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.due(query).await,
        }
    }

    /// Waits for a hint that a delivery has become due. Hints may be lost.
    pub async fn delivery_due(&self) {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.delivery_due().await,
        }
    }

    /// Notes how a try to deliver went, and what comes next. Returns false, and notes nothing, if the task is
    /// gone or the try is not that of the delivery any more.
    ///
    /// Not durable: a receiver that was told before a power cut is told again.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn tried(&self, delivery: &Delivery, tried: Try, after: AfterTry) -> Result<bool, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.tried(delivery.clone(), tried, after).await,
        }
    }

    /// Returns what has become of the webhook of a task: `None` if there is no such task, and `Some(None)` if
    /// it has no webhook.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn webhook(&self, task: TaskId) -> Result<Option<Option<WebhookLog>>, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.webhook(task).await,
        }
    }

    /// Makes the delivery of a task that has ended due once more, delivered or given up as it may be; durable
    /// on return.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn redeliver(&self, task: TaskId, now: Timestamp) -> Result<Redelivery, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.redeliver(task, now).await,
        }
    }

    /// Returns how many deliveries are pending, and since when the oldest is.
    ///
    /// # Errors
    ///
    /// See [`Store`].
    pub async fn backlog(&self) -> Result<Backlog, StoreError> {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.backlog().await,
        }
    }

    /// Waits until nothing is written any more: the store is being closed, or its writer has died.
    pub async fn closed(&self) {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.closed().await,
        }
    }

    /// Finishes what is queued and gives the data folder free. Later calls, of every clone, fail
    /// with [`StoreError::Closed`].
    ///
    /// Dropping the last clone does the same, but blocks the thread for that long.
    pub async fn close(&self) {
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.close().await,
        }
    }
}
