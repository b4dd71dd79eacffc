//! Runs due schedules, each run exactly once: sleeps until a schedule is due, creates its task, and stores the task in
//! the transaction that advances the schedule.
//!
//! The binary runs it beside the scheduler, whose pauses hold tasks but not schedules. It knows neither plugins nor
//! task requests: its caller passes a function that turns a request into a task.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use wasmill_model::{
    BoxFuture, Clock, Histogram, LATENCY_SECONDS, MissedPolicy, NewTask, ScheduleName, TaskId, TimeDelta,
    Timestamp, Timing,
};
use wasmill_store::{DueOutcome, DueRuns, IdempotencyKey, RunNowOutcome, Schedule, Store, StoreError};

use crate::scheduler::{Scheduler, run_detached};

/// Maximum number of schedules.
pub const SCHEDULES_MAX: usize = 1_000;

/// Maximum number of missed runs of one schedule that are made up, newest first.
pub const MISSED_MAX: usize = 1_000;

/// How late the newest run may be without counting as missed.
pub const LATE_MAX: Duration = Duration::from_secs(60);

/// How often to check even though nothing is due: the wall clock may have been set.
const POLL: Duration = Duration::from_secs(10);

/// How long to wait before retrying a run that could not start.
const RETRY: Duration = Duration::from_secs(2);

/// Maximum number of tasks stored in one write.
const BATCH_MAX: usize = 50;

/// Maximum number of schedules run concurrently; their writes share commits.
const CONCURRENT_MAX: usize = 16;

/// Bytes kept of the error of a run that could not start.
const ERROR_BYTES_MAX: usize = 1 << 10;

/// Creates a task of a schedule from its request as a submit at this moment would, or returns why it cannot.
pub type Prepare = Arc<dyn Fn(&ScheduleName, &str, Timestamp) -> Result<NewTask, String> + Send + Sync>;

/// The schedules of a store. Cheap to clone; all clones share their state.
#[derive(Clone)]
pub struct Schedules {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    clock: Arc<dyn Clock>,
    wakeup: Notify,
    stats: Mutex<ScheduleStats>,
}

/// Statistics of schedules since the start.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleStats {
    /// Runs started, manually or because they were due.
    pub started: u64,
    /// Runs skipped.
    pub skipped: u64,
    /// Seconds between the due time of runs and their start.
    pub late_seconds: Histogram,
}

/// The result of processing a due schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tick {
    /// It is no longer due.
    Done,
    /// It stays due and is retried.
    Retry,
    /// The store is closed.
    Closed,
}

/// What to do with the due runs of one schedule, or with a first batch of them.
#[derive(Debug, PartialEq, Eq)]
struct RunPlan {
    runs: Vec<Timestamp>,
    skipped: u64,
    evaluated_until: Timestamp,
    next_at: Option<Timestamp>,
}

impl Schedules {
    /// Creates a handle for the schedules of a store. Nothing starts before [`Schedules::run`].
    pub fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        let stats = ScheduleStats { started: 0, skipped: 0, late_seconds: Histogram::new(LATENCY_SECONDS) };
        let shared = Shared { store, clock, wakeup: Notify::new(), stats: Mutex::new(stats) };
        Self { shared: Arc::new(shared) }
    }

    /// Signals that schedules have changed, or that a run that could not start may start now.
    pub fn wake(&self) {
        self.shared.wakeup.notify_one();
    }

    /// Returns the statistics since the start.
    pub fn stats(&self) -> ScheduleStats {
        self.shared.stats().clone()
    }

    /// Starts a manual run. Durable on return.
    ///
    /// # Errors
    ///
    /// Those of [`run_now`](wasmill_store::Schedules::run_now).
    pub async fn run_now(
        &self,
        name: ScheduleName,
        task: NewTask,
        request: Option<IdempotencyKey>,
    ) -> Result<RunNowOutcome, StoreError> {
        let shared = Arc::clone(&self.shared);
        run_detached(async move {
            let task = NewTask { schedule: Some(name.clone()), ..task };
            let ran = shared.store.run_now(name, task, request, shared.clock.now()).await?;
            if let RunNowOutcome::Started(task) = &ran
                && task.holder.is_none()
            {
                shared.stats().started += 1;
            }
            Ok(ran)
        })
        .await
    }

    /// Starts due runs until a drain starts or the store is closed.
    pub fn run(self, scheduler: Scheduler, prepare: Prepare) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            loop {
                let wait = tokio::select! {
                    biased;
                    () = scheduler.draining() => return,
                    wait = self.tick(&scheduler, &prepare) => wait,
                };
                let Some(wait) = wait else { return };
                tokio::select! {
                    () = scheduler.draining() => return,
                    () = self.shared.wakeup.notified() => {}
                    () = tokio::time::sleep(wait) => {}
                }
            }
        })
    }

    /// Starts due runs and returns how long to sleep; `None` once the store is closed.
    async fn tick(&self, scheduler: &Scheduler, prepare: &Prepare) -> Option<Duration> {
        let shared = &self.shared;
        let (due, next) = match shared.store.due_schedules(shared.clock.now(), SCHEDULES_MAX).await {
            Ok(found) => found,
            Err(StoreError::Closed) => return None,
            // The store has logged it.
            Err(_) => return Some(RETRY),
        };
        let mut ticks = Vec::with_capacity(due.len());
        for names in due.chunks(CONCURRENT_MAX) {
            let mut starts = JoinSet::new();
            for name in names {
                starts.spawn(run_due(
                    Arc::clone(shared),
                    scheduler.clone(),
                    Arc::clone(prepare),
                    name.clone(),
                ));
            }
            ticks.extend(starts.join_all().await);
        }
        if ticks.contains(&Tick::Closed) {
            return None;
        }
        let wait_max = if ticks.contains(&Tick::Retry) { RETRY } else { POLL };
        // A schedule that just ran may be due again before the others.
        let next = if due.is_empty() { next } else { self.next().await };
        let until_next = next.map(|next| (next - shared.clock.now()).to_std().unwrap_or_default());
        Some(until_next.map_or(wait_max, |until_next| until_next.min(wait_max)))
    }

    async fn next(&self) -> Option<Timestamp> {
        let now = self.shared.clock.now();
        self.shared.store.due_schedules(now, 0).await.map_or(None, |(_, next)| next)
    }
}

impl Shared {
    fn stats(&self) -> MutexGuard<'_, ScheduleStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records why a schedule stays due, unless that error is already recorded.
    async fn record_error(&self, schedule: Schedule, why: &str) -> Tick {
        let why = why[..why.floor_char_boundary(ERROR_BYTES_MAX)].to_owned();
        if schedule.last_error.as_deref() != Some(why.as_str()) {
            tracing::warn!(schedule = %schedule.name, why, "failed to start a due run; it will be retried");
            // Best effort: the next attempt records it again.
            let _ = self.store.record_schedule_error(schedule, why).await;
        }
        Tick::Retry
    }

    fn count(&self, schedule: &Schedule, started: &[(Timestamp, TaskId)], skipped: u64) {
        let now = self.clock.now();
        let mut stats = self.stats();
        stats.started += started.len() as u64;
        stats.skipped += skipped;
        for (due, task) in started {
            stats.late_seconds.observe_time((now - *due).to_std().unwrap_or_default());
            tracing::debug!(schedule = %schedule.name, %due, %task, "started a run");
        }
        drop(stats);
        if skipped > 0 {
            tracing::info!(schedule = %schedule.name, skipped, "skipped runs");
        }
    }
}

/// Starts all due runs of one schedule.
async fn run_due(shared: Arc<Shared>, scheduler: Scheduler, prepare: Prepare, name: ScheduleName) -> Tick {
    loop {
        match run_due_batch(&shared, &scheduler, &prepare, &name).await {
            Ok(Some(tick)) => return tick,
            Ok(None) => {}
            Err(StoreError::Closed) => return Tick::Closed,
            Err(error) => {
                tracing::debug!(schedule = %name, %error, "failed to start a run that is due");
                return Tick::Retry;
            }
        }
    }
}

/// Runs one batch; `None` if more may be due.
async fn run_due_batch(
    shared: &Shared,
    scheduler: &Scheduler,
    prepare: &Prepare,
    name: &ScheduleName,
) -> Result<Option<Tick>, StoreError> {
    let Some(schedule) = shared.store.schedule(name.clone()).await? else { return Ok(Some(Tick::Done)) };
    let now = shared.clock.now();
    let Some(first) = schedule.next_at.filter(|next_at| *next_at <= now && !schedule.paused) else {
        return Ok(Some(Tick::Done));
    };
    let timing = match schedule.timing() {
        Ok(timing) => timing,
        Err(error) => return Ok(Some(shared.record_error(schedule, &error.to_string()).await)),
    };
    let (missed, overlap) = (schedule.missed, schedule.overlap);
    // Counting the runs of a long outage takes time.
    let planned = tokio::task::spawn_blocking(move || plan(&timing, first, now, missed, overlap)).await;
    let Ok(RunPlan { runs, skipped, evaluated_until, next_at }) = planned else {
        return Ok(Some(Tick::Retry));
    };
    let mut tasks = Vec::with_capacity(runs.len());
    if !runs.is_empty() {
        let (prepare, request) = (Arc::clone(prepare), schedule.task.clone().unwrap_or_default());
        // Validating a large input takes time.
        let named = name.clone();
        let Ok(prepared) = tokio::task::spawn_blocking(move || prepare(&named, &request, now)).await else {
            return Ok(Some(Tick::Retry));
        };
        let task = match prepared {
            Ok(task) => NewTask { schedule: Some(name.clone()), ..task },
            Err(why) => return Ok(Some(shared.record_error(schedule, &why).await)),
        };
        tasks.extend(runs.into_iter().map(|due| (due, NewTask { id: TaskId::new(), ..task.clone() })));
    }
    let run_due = DueRuns {
        name: name.clone(),
        created_at: schedule.created_at,
        revision: schedule.revision,
        runs: tasks,
        skipped,
        evaluated_until,
        next_at,
        now,
    };
    match shared.store.run_due(run_due).await? {
        DueOutcome::Started { started, skipped } => {
            if !started.is_empty() {
                scheduler.wake();
            }
            shared.count(&schedule, &started, skipped);
            Ok(None)
        }
        DueOutcome::Changed => Ok(None),
        DueOutcome::Refused(why) => Ok(Some(shared.record_error(schedule, &queue_full_message(&why)).await)),
    }
}

/// Returns which limit the queue of a due run exceeds.
fn queue_full_message(why: &StoreError) -> String {
    match why {
        StoreError::Full { waiting_max } => {
            format!("the queue is full: {waiting_max} tasks are waiting")
        }
        StoreError::PluginFull { plugin, waiting_max, .. } => {
            format!("the queue of plugin '{plugin}' is full: {waiting_max} tasks are waiting")
        }
        other => other.to_string(),
    }
}

/// Decides what to do with the runs that were due from `first` until `now`.
fn plan(timing: &Timing, first: Timestamp, now: Timestamp, missed: MissedPolicy, overlap: bool) -> RunPlan {
    let newest_max = if missed == MissedPolicy::All && overlap { MISSED_MAX } else { 1 };
    let due = timing.due(first, now, newest_max);
    let (mut runs, mut skipped) = (due.newest, due.older);
    let newest = runs.last().copied().unwrap_or(first);
    let late_max = TimeDelta::from_std(LATE_MAX).unwrap_or_default();
    if missed == MissedPolicy::Skip && now - newest > late_max {
        skipped += runs.len() as u64;
        runs.clear();
    }
    let (mut evaluated_until, mut next_at) = (newest, timing.next_after(newest));
    if let Some(later) = runs.get(BATCH_MAX).copied() {
        runs.truncate(BATCH_MAX);
        (evaluated_until, next_at) = (runs[BATCH_MAX - 1], Some(later));
    }
    RunPlan { runs, skipped, evaluated_until, next_at }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn planned(missed: MissedPolicy, overlap: bool, now: &str) -> (usize, u64, String, String) {
        let timing = Timing::of("*/10 * * * *", "UTC").expect("valid");
        let plan = plan(&timing, at("2026-01-01T00:10:00Z"), at(now), missed, overlap);
        let shown = |moment: Timestamp| timing.local(moment)[11..16].to_owned();
        (
            plan.runs.len(),
            plan.skipped,
            shown(plan.evaluated_until),
            plan.next_at.map(shown).expect("there is always a next"),
        )
    }

    #[test]
    fn a_run_that_is_not_late_starts_under_every_policy() {
        for missed in MissedPolicy::ALL {
            let plan = planned(missed, true, "2026-01-01T00:10:59Z");
            assert_eq!(plan, (1, 0, "00:10".to_owned(), "00:20".to_owned()), "{missed:?}");
        }
    }

    #[test]
    fn missed_runs_are_skipped_made_up_once_or_all_made_up() {
        let plan = |missed, overlap| planned(missed, overlap, "2026-01-01T01:05:00Z");
        let (evaluated_until, next) = ("01:00".to_owned(), "01:10".to_owned());
        assert_eq!(plan(MissedPolicy::Skip, true), (0, 6, evaluated_until.clone(), next.clone()));
        assert_eq!(plan(MissedPolicy::One, true), (1, 5, evaluated_until.clone(), next.clone()));
        assert_eq!(plan(MissedPolicy::All, true), (6, 0, evaluated_until.clone(), next.clone()));
        assert_eq!(plan(MissedPolicy::All, false), (1, 5, evaluated_until, next));
    }

    #[test]
    fn missed_runs_start_in_batches_up_to_the_limit() {
        let (runs, skipped, _, next) = planned(MissedPolicy::All, true, "2026-01-01T10:00:00Z");
        assert_eq!((runs, skipped, next.as_str()), (50, 0, "08:30"));
        let (runs, skipped, ..) = planned(MissedPolicy::All, true, "2026-01-11T00:00:00Z");
        assert_eq!((runs, skipped), (50, 440));
    }
}
