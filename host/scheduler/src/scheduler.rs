//! The scheduler handle: start, wake, cancel, remove, drain.
//!
//! Held by the API and the binary.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;
use wasmill_model::{BoxFuture, Clock, PluginName, Runner, TaskId, TaskState, fault_point};
use wasmill_store::{CancelOutcome, RemoveOutcome, Store, StoreError};

use crate::cluster::follow_cluster;
use crate::dispatch::dispatch;
use crate::progress::publish_progress;
use crate::run::RunInfo;
use crate::shared::{SchedulerConfig, Shared};
use crate::stats::{LatencyStats, SchedulerStats};
use crate::task_host::children::AcceptChildren;

/// How long to wait before asking whether another host has stopped a run, unless its event comes sooner. Most guests
/// end within milliseconds; from wait to wait it is half as much again, and at first not more than 8 ms.
const STOPPED_POLL_FIRST: Duration = Duration::from_millis(2);
const STOPPED_POLL_SOON: Duration = Duration::from_millis(8);
const STOPPED_POLL: Duration = Duration::from_millis(250);
/// When a guest that has not ended probably uses its grace.
const STOPPED_SOON: Duration = Duration::from_millis(250);

/// The number of slots, and how many are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    /// All slots.
    pub total: usize,
    /// Slots held by a run.
    pub used: usize,
}

/// What a drain did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainOutcome {
    /// Runs that ended with an outcome, or because their task was cancelled.
    pub ended: usize,
    /// Runs whose tasks were requeued without losing the attempt: stopped ones, and those whose guest did as it was
    /// asked.
    pub requeued: usize,
}

/// Runs the tasks of a store within its slots. Cheap to clone.
#[derive(Clone)]
pub struct Scheduler {
    pub(crate) shared: Arc<Shared>,
}

impl Scheduler {
    /// Creates a scheduler for the tasks of `store`. It claims nothing before [`Scheduler::run`]. Guests run on
    /// `guests`.
    pub fn new(
        config: SchedulerConfig,
        store: Store,
        runner: Arc<dyn Runner>,
        clock: Arc<dyn Clock>,
        guests: Handle,
    ) -> Self {
        let shared = Arc::new(Shared::new(config, store, runner, clock, guests));
        Self { shared }
    }

    /// Claims tasks and runs them until a drain is done. Call [`Scheduler::load_paused`] first.
    pub fn run(self) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let shared = &self.shared;
            let dispatch = async {
                let _dispatching = shared.dispatching.lock().await;
                dispatch(shared).await;
            };
            tokio::join!(dispatch, publish_progress(shared), follow_cluster(shared));
        })
    }

    /// Sets what checks the children that tasks submit; until then none can be submitted. The first one stays.
    pub fn accept_children(&self, accept: AcceptChildren) {
        self.shared.children.accept_by(accept);
    }

    /// Signals that tasks may be available. A lost wake-up costs at most one poll interval.
    pub fn wake(&self) {
        self.shared.wakeup.notify_one();
    }

    /// Returns the number of slots and how many are in use.
    pub fn slots(&self) -> Slots {
        Slots { total: self.shared.config.slots, used: self.shared.running().len() }
    }

    /// Returns all runs that hold a slot, in no particular order.
    pub fn runs(&self) -> Vec<RunInfo> {
        let runs = self.shared.running().all();
        runs.iter().map(|run| run.info()).collect()
    }

    /// Returns the run of a task that holds a slot of this host, the newest if one is still ending.
    pub fn run_of(&self, task: TaskId) -> Option<RunInfo> {
        let runs = self.shared.running().by_task(task);
        runs.iter().map(|run| run.info()).max_by_key(|run| run.attempt)
    }

    /// Returns how many tasks of a plugin are running.
    pub fn running(&self, plugin: &PluginName) -> usize {
        self.shared.running().count_by_plugin(plugin)
    }

    /// Returns the statistics since the start.
    pub fn stats(&self) -> SchedulerStats {
        self.shared.stats.read()
    }

    /// Returns how long tasks waited and ran since the start; cheap.
    pub fn latency_stats(&self) -> LatencyStats {
        self.shared.stats.latency()
    }

    /// Returns true while the next task in the queue waits for memory.
    pub fn is_memory_bound(&self) -> bool {
        self.shared.is_memory_bound.load(Ordering::Relaxed)
    }

    /// Returns true once a drain has started; no task starts after that.
    pub fn is_draining(&self) -> bool {
        self.shared.is_draining()
    }

    /// Waits until a drain starts. Tasks that wait then are left to the next host.
    pub async fn draining(&self) {
        self.shared.draining().await;
    }

    /// Waits until a drain is done: nothing runs and every outcome is stored.
    pub async fn drained(&self) {
        self.shared.drained().await;
    }

    /// Cancels a task and keeps it in the history. On return no guest runs it, its slot is free, and it can write
    /// nothing more. The operation completes even if the caller goes away.
    ///
    /// # Errors
    ///
    /// Fails if the store does. The task then keeps running, or, if only its end could not be stored, its guest is
    /// gone and the end is stored later.
    pub async fn cancel(&self, id: TaskId) -> Result<CancelOutcome, StoreError> {
        self.cancel_within(id, Duration::ZERO).await
    }

    /// Like [`Scheduler::cancel`], but asks the guest to stop first and kills it after the grace period. The request
    /// is durable at once, whatever the guest does; the task is cancelled when its guest is gone. Of several grace
    /// periods the earliest end counts.
    ///
    /// # Errors
    ///
    /// See [`Scheduler::cancel`].
    pub async fn cancel_within(&self, id: TaskId, grace: Duration) -> Result<CancelOutcome, StoreError> {
        let shared = Arc::clone(&self.shared);
        run_detached(async move {
            let start = Instant::now();
            let cancelled = shared.store.cancel(id, grace, shared.clock.now()).await?;
            fault_point!("cancel stored, guest alive");
            let token = if let CancelOutcome::Stopping { token } = cancelled { Some(token) } else { None };
            shared.stop_within(id, token, grace).await?;
            if token.is_none() {
                return Ok(cancelled);
            }
            if grace.is_zero() {
                shared.stats.cancelled(start.elapsed());
            }
            Ok(CancelOutcome::Cancelled { was: TaskState::Running })
        })
        .await
    }

    /// Cancels a task if it is unfinished, and deletes it. Returns the state it had, or `None` if there is no such
    /// task. Gives the guarantees of [`Scheduler::cancel`].
    ///
    /// # Errors
    ///
    /// Fails if the store does; the task then still exists.
    pub async fn remove(&self, id: TaskId) -> Result<Option<TaskState>, StoreError> {
        self.remove_within(id, Duration::ZERO).await
    }

    /// Like [`Scheduler::remove`], with the grace period of [`Scheduler::cancel_within`].
    ///
    /// # Errors
    ///
    /// See [`Scheduler::remove`].
    pub async fn remove_within(&self, id: TaskId, grace: Duration) -> Result<Option<TaskState>, StoreError> {
        let shared = Arc::clone(&self.shared);
        run_detached(async move {
            let start = Instant::now();
            let removed = shared.store.remove(id, grace, shared.clock.now()).await?;
            fault_point!("removal stored, guest alive");
            let token = if let RemoveOutcome::Stopping { token } = removed { Some(token) } else { None };
            shared.stop_within(id, token, grace).await?;
            if grace.is_zero() && token.is_some() {
                shared.stats.cancelled(start.elapsed());
            }
            Ok(match removed {
                RemoveOutcome::NotFound => None,
                RemoveOutcome::Removed { was } => Some(was),
                RemoveOutcome::Stopping { .. } => Some(TaskState::Running),
            })
        })
        .await
    }

    /// Starts no more tasks, asks running guests to stop, and waits for them until `grace` completes; then kills the
    /// rest and requeues their tasks without counting the attempt.
    ///
    /// On return nothing runs and every outcome is stored. Of concurrent drains the shortest grace period counts; a
    /// later drain returns at once.
    pub async fn drain(&self, grace: impl Future<Output = ()>) -> DrainOutcome {
        self.shared.draining.send_replace(true);
        let grace = async {
            grace.await;
            self.shared.grace_expired.send_replace(true);
            std::future::pending().await
        };
        tokio::select! {
            biased;
            drained = self.drain_exclusively() => drained,
            never = grace => never,
        }
    }

    /// Starts a drain in the background; returns false if one was already started.
    pub fn start_drain(&self, grace: Duration) -> bool {
        if self.shared.draining.send_replace(true) {
            return false;
        }
        let scheduler = self.clone();
        tokio::spawn(async move {
            let drained = scheduler.drain(tokio::time::sleep(grace)).await;
            tracing::info!(ended = drained.ended, requeued = drained.requeued, "drained");
        });
        true
    }

    async fn drain_exclusively(&self) -> DrainOutcome {
        let _dispatching = self.shared.dispatching.lock().await;
        let runs = self.shared.running().all();
        for run in &runs {
            run.ask_to_stop();
        }
        tokio::select! {
            () = self.shared.all_slots_free() => {}
            () = self.shared.grace_expired() => {}
        }
        let left = self.shared.running().all();
        let stops: Vec<_> = left
            .into_iter()
            .map(|run| {
                let shared = Arc::clone(&self.shared);
                tokio::spawn(async move {
                    if run.stop(&shared).await.is_err() {
                        // The run retries a few more times.
                        run.wait_released().await;
                    }
                })
            })
            .collect();
        for stop in stops {
            if let Err(error) = stop.await {
                tracing::error!(%error, "failed to requeue a task; it will run again after the restart");
            }
        }
        let requeued = runs.iter().filter(|run| run.was_requeued()).count();
        self.shared.drained.send_replace(true);
        DrainOutcome { ended: runs.len() - requeued, requeued }
    }
}

impl Shared {
    /// Kills every run of a task that can no longer be claimed, after the grace period, and waits until they have
    /// ended: on return the task has no run and gets none.
    ///
    /// `newest` is the token of the claim under which the task was found running. Runs of earlier claims are
    /// registered, if they were ever to run.
    ///
    /// # Errors
    ///
    /// Fails if the store fails to store the end of a run. No guest of the task is left, and the end is stored later.
    pub(crate) async fn stop_within(
        self: &Arc<Self>,
        id: TaskId,
        newest: Option<i64>,
        grace: Duration,
    ) -> Result<(), StoreError> {
        match newest {
            Some(newest) if !self.stop_here(id, Some(newest), grace).await? => {
                self.wait_stopped(id, newest).await
            }
            Some(_) => Ok(()),
            None => self.stop_here(id, None, grace).await.map(drop),
        }
    }

    /// Like [`Shared::stop_within`] for the runs of this host; returns false if the newest claim has none here.
    pub(crate) async fn stop_here(
        self: &Arc<Self>,
        id: TaskId,
        newest: Option<i64>,
        grace: Duration,
    ) -> Result<bool, StoreError> {
        let until = Instant::now() + grace;
        let mut runs = self.running().by_task(id);
        if newest.is_some_and(|newest| runs.last().is_none_or(|run| run.key().1 < newest)) {
            // The newest claim has no registered run yet, or its run has ended. A claim holds this lock until all its
            // runs are registered.
            drop(self.claiming.lock().await);
            runs = self.running().by_task(id);
        }
        let is_here = newest.is_none_or(|newest| runs.last().is_some_and(|run| run.key().1 >= newest));
        let mut stopped = Ok(());
        for run in runs {
            stopped =
                stopped.and(run.stop_within(self, until.saturating_duration_since(Instant::now())).await);
        }
        stopped.map(|()| is_here)
    }

    /// Waits until a claim has ended whose run is not here: another host runs it, and sees the request to stop it.
    async fn wait_stopped(&self, id: TaskId, token: i64) -> Result<(), StoreError> {
        let mut subscriber = self.store.subscribe(id);
        let (began, mut poll) = (Instant::now(), STOPPED_POLL_FIRST);
        while self.store.is_claimed(id, token).await? {
            tokio::select! {
                () = subscriber.wait_for_move() => {}
                () = tokio::time::sleep(poll) => {}
            }
            let poll_max = if began.elapsed() < STOPPED_SOON { STOPPED_POLL_SOON } else { STOPPED_POLL };
            poll = (poll + poll / 2).min(poll_max);
        }
        Ok(())
    }

    async fn all_slots_free(&self) {
        let all = u32::try_from(self.config.slots).unwrap_or(u32::MAX);
        // The semaphore is never closed; if it were, there would be nothing to wait for.
        let _ = self.slots.acquire_many(all).await;
    }
}

/// Runs the future to completion even if the caller stops waiting for it.
pub(crate) async fn run_detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StoreError::Closed),
        },
    }
}
