//! The store on an embedded SQLite database, in the file `wasmill.db` of the data folder.
//!
//! [`Store`](crate::Store) calls it. One thread writes, a few connections read; nothing else
//! touches the file.

mod backup;
mod batch;
mod cancel;
mod cancel_many;
mod check;
mod claim;
mod connection;
mod depend;
mod events;
mod examine;
mod fault;
mod finish;
mod fire;
mod hand_over;
mod home;
mod insert;
mod keys;
mod lanes;
mod lock;
mod logs;
mod migrations;
mod pause;
mod probe;
mod prune;
mod quarantine;
mod queries;
mod readers;
mod recover;
mod remove;
mod returned;
mod rows;
mod save;
mod schedules;
mod starts;
mod tally;
mod trouble;
mod usage;
mod walk;
mod wall;
mod webhooks;
mod writer;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rusqlite::Connection;
use wasmill_model::{NewTask, Next, PluginName, ScheduleName, Task, TaskId, TaskState, Timestamp};

pub(crate) use self::backup::backup;
use self::batch::Batcher;
use self::cancel::Cancel;
use self::cancel_many::CancelMany;
use self::claim::ClaimReady;
pub(crate) use self::examine::examine;
use self::finish::{Finish, FinishStopped};
use self::fire::{FireDue, RunNow};
use self::home::Home;
use self::insert::Insert;
use self::keys::PruneKeys;
use self::lock::Lock;
pub(crate) use self::lock::holder;
use self::pause::Pause;
use self::probe::Probe;
use self::prune::Prune;
use self::readers::Readers;
use self::remove::Remove;
use self::returned::Returned;
use self::save::Save;
use self::schedules::{NoteTrouble, PauseSchedule, PutSchedule, RemoveSchedule};
use self::webhooks::{Redeliver, Tried};
use self::writer::{Figures, Writer};
use crate::report::ReportBoard;
use crate::tally::Tallies;
use crate::{
    AfterTry, Attempt, Backlog, Cancelled, CancelledMany, Claim, Claims, CommitFigures, Counts, Cursor,
    Delivery, Depends, Due, DueQuery, Excess, Filter, Fire, Fired, Found, HandOver, Keep, Lines, ListQuery,
    LogPart, NewSchedule, Page, PruneCursor, PruneStep, Pruned, Put, RanNow, Recovery, Redelivery, Removed,
    RemovedSchedule, RequestKey, Schedule, Share, Steps, StoreConfig, StoreError, StoreStats, Submitted,
    Tally, Try, WebhookLog,
};

/// An open database.
#[derive(Debug)]
pub(crate) struct Sqlite {
    readers: Arc<Readers>,
    // Dropped after the readers: the last connection to close empties the write-ahead log, and only
    // this one may write.
    writer: Writer,
    /// What the check of a large database has found after its opening.
    damage: Arc<OnceLock<StoreError>>,
    figures: Arc<Figures>,
    reports: Arc<ReportBoard>,
    returned: Arc<Returned>,
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
        let (recovery, line) = recover::recover(&connection, now, &tracer).map_err(faulty)?;
        let tallies = Tallies::new(tally::load(&connection).map_err(faulty)?);
        let figures = Arc::new(Figures::new(line, tallies));
        let reports = Arc::new(ReportBoard::new(log_bytes_max, tracer));
        reports.hub.begin(events::first(line.events_reserved), line.events_reserved.unsigned_abs());
        let returned = Arc::new(Returned::default());
        let batcher =
            Batcher::new(connection, home.clone(), line, figures.clone(), reports.clone(), returned.clone());
        let writer = Writer::start(batcher, lock)?;
        let damage = Arc::new(OnceLock::new());
        if !whole {
            check_on(path.clone(), &damage);
        }
        let readers = Arc::new(Readers::new(home, readers));
        Ok((Self { writer, readers, damage, figures, reports, returned, waiting_max }, recovery))
    }

    pub(crate) async fn submit(
        &self,
        tasks: Vec<NewTask>,
        request: Option<(RequestKey, Timestamp)>,
    ) -> Result<Submitted, StoreError> {
        self.writer.write(Insert { tasks, waiting_max: self.waiting_max, request }).await?
    }

    pub(crate) async fn submitted(
        &self,
        request: RequestKey,
        now: Timestamp,
    ) -> Result<Option<Submitted>, StoreError> {
        self.readers.read(move |connection| keys::find(connection, &request, now)).await?.transpose()
    }

    pub(crate) async fn steps(&self, request: RequestKey, now: Timestamp) -> Result<Steps, StoreError> {
        self.readers.read(move |connection| keys::steps(connection, &request, now)).await
    }

    pub(crate) async fn prune_keys(&self, now: Timestamp) -> Result<u64, StoreError> {
        // Most looks find nothing: a read, which nobody waits for.
        if !self.readers.read(move |connection| keys::any_over(connection, now)).await? {
            return Ok(0);
        }
        self.writer.write(PruneKeys { now }).await
    }

    pub(crate) async fn claim(
        &self,
        shares: Vec<Share>,
        tasks_max: usize,
        room: u64,
        now: Timestamp,
    ) -> Result<Claims, StoreError> {
        let returned = self.returned.clone();
        let mut shares = shares;
        // A plugin may be named twice.
        shares.sort_unstable_by(|a, b| a.plugin.cmp(&b.plugin));
        shares.dedup_by(|a, b| a.plugin == b.plugin);
        let claim = ClaimReady { shares, tasks_max, room, now, returned };
        Ok(self.writer.write(claim).await?.accept())
    }

    pub(crate) async fn finish(
        &self,
        claim: &Claim,
        next: Next,
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
        let finish = Finish { claim: claim.clone(), next: Next::Requeued, log, now };
        self.writer.write(FinishStopped(finish)).await
    }

    pub(crate) async fn cancel(&self, id: TaskId, now: Timestamp) -> Result<Cancelled, StoreError> {
        self.writer.write(Cancel { id, now }).await
    }

    pub(crate) async fn find_open(&self, filter: Filter) -> Result<Vec<Found>, StoreError> {
        self.readers.read(move |connection| walk::open(connection, &filter)).await
    }

    pub(crate) async fn cancel_many(
        &self,
        found: Vec<Found>,
        filter: Filter,
        now: Timestamp,
    ) -> Result<CancelledMany, StoreError> {
        self.writer.write(CancelMany { found, filter, now }).await
    }

    pub(crate) fn stored(&self) -> u64 {
        self.figures.tallies().stored()
    }

    pub(crate) async fn excess(
        &self,
        keep: Keep,
        cursor: PruneCursor,
        tasks_max: usize,
    ) -> Result<Excess, StoreError> {
        // Before the look: what ends in between is looked at the next time.
        let stored = self.stored();
        self.figures.note_kept(keep.tasks_max);
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

    pub(crate) async fn remove(&self, id: TaskId, now: Timestamp) -> Result<Removed, StoreError> {
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
        let reports = self.reports.clone();
        self.readers.read(move |connection| queries::task(connection, id, &reports)).await
    }

    pub(crate) async fn list(&self, query: ListQuery) -> Result<Page, StoreError> {
        let reports = self.reports.clone();
        let waiting = self.counts().waiting;
        self.readers.read(move |connection| queries::page(connection, &query, waiting, &reports)).await
    }

    pub(crate) async fn find(
        &self,
        filter: Filter,
        before: Option<Cursor>,
        most: usize,
    ) -> Result<(Vec<TaskId>, Option<Cursor>), StoreError> {
        let waiting = self.counts().waiting;
        self.readers.read(move |connection| queries::find(connection, &filter, before, most, waiting)).await
    }

    pub(crate) async fn attempts(&self, id: TaskId) -> Result<Vec<Attempt>, StoreError> {
        self.readers.read(move |connection| queries::attempts(connection, id)).await
    }

    pub(crate) async fn depends(&self, id: TaskId) -> Result<Option<Depends>, StoreError> {
        self.readers.read(move |connection| hand_over::depends(connection, id)).await
    }

    pub(crate) async fn handed(&self, claim: &Claim) -> Result<HandOver, StoreError> {
        let claim = claim.clone();
        self.readers.read(move |connection| hand_over::handed(connection, &claim)).await
    }

    pub(crate) async fn pause(&self, plugin: Option<PluginName>, paused: bool) -> Result<(), StoreError> {
        self.writer.write(Pause { plugin, paused }).await
    }

    pub(crate) async fn paused(&self) -> Result<Vec<Option<PluginName>>, StoreError> {
        self.readers.read(pause::paused).await
    }

    pub(crate) async fn starts(&self, plugin: PluginName) -> Result<Vec<(Timestamp, usize)>, StoreError> {
        self.readers.read(move |connection| starts::starts(connection, &plugin)).await
    }

    pub(crate) async fn again(
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
        self.read_log(id, logs::Found::text).await
    }

    pub(crate) async fn lines(
        &self,
        id: TaskId,
        after: u64,
        lines_max: usize,
    ) -> Result<Option<Lines>, StoreError> {
        self.read_log(id, move |found| found.lines(after, lines_max).map(Some)).await
    }

    /// Reads of the log of a task; `None` if there is no such task.
    async fn read_log<T: Send + 'static>(
        &self,
        id: TaskId,
        read: impl Fn(logs::Found) -> rusqlite::Result<Option<T>> + Clone + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        for looks_left in (0..logs::LOOKS).rev() {
            let (reports, read) = (self.reports.clone(), read.clone());
            let look = move |connection: &Connection| match logs::find(connection, id, &reports)? {
                None => Ok(Some(None)),
                // It started or ended a moment ago, and the board does not show it yet or no more.
                Some(found) if found.is_between() && looks_left > 0 => Ok(None),
                Some(found) => read(found).map(Some),
            };
            if let Some(found) = self.readers.read(look).await? {
                return Ok(found);
            }
            self.reports.hub.settle().await;
        }
        Ok(None)
    }

    pub(crate) async fn get_settled(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        let task = self.get(id).await?;
        // Without a connection: it takes as long as the disk does.
        self.reports.hub.settle().await;
        Ok(task)
    }

    pub(crate) fn reports(&self) -> &ReportBoard {
        &self.reports
    }

    pub(crate) async fn waiting(
        &self,
        plugins: Vec<PluginName>,
        most: usize,
    ) -> Result<Vec<u64>, StoreError> {
        self.readers.read(move |connection| queries::waiting(connection, &plugins, most)).await
    }

    pub(crate) fn counts(&self) -> Counts {
        self.figures.counts()
    }

    pub(crate) fn stats(&self) -> StoreStats {
        self.figures.stats()
    }

    pub(crate) fn tallies(&self) -> Vec<(PluginName, Tally)> {
        self.figures.tallies().all()
    }

    pub(crate) fn commit_figures(&self) -> CommitFigures {
        self.figures.commit_figures()
    }

    pub(crate) async fn oldest_waiting(&self) -> Result<Vec<(PluginName, Timestamp)>, StoreError> {
        let plugins = self.tallies();
        self.readers.read(move |connection| tally::oldest(connection, &plugins)).await
    }

    pub(crate) async fn put_schedule(
        &self,
        new: NewSchedule,
        most: u64,
        now: Timestamp,
    ) -> Result<Put, StoreError> {
        self.writer.write(PutSchedule { new, most, now }).await
    }

    pub(crate) async fn remove_schedule(
        &self,
        name: ScheduleName,
        from_manifest: bool,
    ) -> Result<RemovedSchedule, StoreError> {
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
        most: usize,
    ) -> Result<(Vec<ScheduleName>, Option<Timestamp>), StoreError> {
        self.readers.read(move |connection| schedules::due(connection, now, most)).await
    }

    pub(crate) async fn fire(&self, fire: Fire) -> Result<Fired, StoreError> {
        self.writer.write(FireDue { fire, waiting_max: self.waiting_max }).await
    }

    pub(crate) async fn run_now(
        &self,
        name: ScheduleName,
        task: NewTask,
        request: Option<RequestKey>,
        now: Timestamp,
    ) -> Result<RanNow, StoreError> {
        self.writer.write(RunNow { name, task, request, waiting_max: self.waiting_max, now }).await?
    }

    pub(crate) async fn note_trouble(&self, schedule: Schedule, trouble: String) -> Result<(), StoreError> {
        self.writer.write(NoteTrouble { schedule, trouble }).await
    }

    pub(crate) async fn due(&self, query: DueQuery) -> Result<Due, StoreError> {
        self.readers.read(move |connection| webhooks::due(connection, &query)).await
    }

    pub(crate) async fn delivery_due(&self) {
        self.figures.delivery_due.notified().await;
    }

    pub(crate) async fn tried(
        &self,
        delivery: Delivery,
        tried: Try,
        after: AfterTry,
    ) -> Result<bool, StoreError> {
        self.writer.write(Tried { delivery, tried, after }).await
    }

    pub(crate) async fn webhook(&self, task: TaskId) -> Result<Option<Option<WebhookLog>>, StoreError> {
        self.readers.read(move |connection| webhooks::log(connection, task)).await
    }

    pub(crate) async fn redeliver(&self, task: TaskId, now: Timestamp) -> Result<Redelivery, StoreError> {
        self.writer.write(Redeliver { task, now }).await
    }

    pub(crate) async fn backlog(&self) -> Result<Backlog, StoreError> {
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

/// How much nicer the check of a large database is than the rest, on the scale of nice(2).
#[cfg(target_os = "linux")]
const CHECK_NICENESS: i32 = 10;

/// Checks a large database while it is in use, on a thread of its own that nobody waits for.
fn check_on(path: Arc<Path>, damage: &Arc<OnceLock<StoreError>>) {
    let damage = Arc::clone(damage);
    let check = move || {
        // Of the thread, not of the process, on Linux. Tasks and requests come first.
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::process::nice(CHECK_NICENESS) {
            tracing::debug!(%error, "failed to lower the priority of the check");
        }
        let checked = connection::reader(&path)
            .map_err(|error| fault::fault(&path, &error))
            .and_then(|connection| check::whole(&connection, &path));
        if let Err(error) = checked {
            tracing::error!(%error, "the database was checked; tasks go on, but stop the host and restore soon");
            // Nobody else sets it.
            let _ = damage.set(error);
        }
    };
    if let Err(error) = std::thread::Builder::new().name("store-check".to_owned()).spawn(check) {
        tracing::warn!(%error, "the database is not checked");
    }
}

#[cfg(test)]
mod budget;
#[cfg(test)]
mod plans;
