//! The handle: start, wake, cancel, remove, drain.
//!
//! The API and the binary hold it. What it wraps is shared with the dispatcher and the runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use wasmill_model::{Backoff, Clock, PluginName, Runner, TaskId, TaskState, fault_point};
use wasmill_store::{Cancelled, Removed, Store, StoreError};

use crate::dispatch::dispatch;
use crate::figures::{Figures, SchedulerFigures};
use crate::pause::Paused;
use crate::pulse::tell_progress;
use crate::rates::Rates;
use crate::running::Running;

/// How the scheduler behaves.
#[derive(Clone, Debug)]
pub struct SchedulerConfig {
    /// How many tasks run at the same time.
    pub slots: usize,
    /// The most tasks claimed in one step, so that one step never holds up the store.
    pub claim_max: usize,
    /// How long the dispatcher trusts its hints before it looks by itself.
    pub poll: Duration,
    /// The waits between the attempts of a task that has none of its own.
    pub backoff: Backoff,
    /// Bytes of log kept for each run, unless its plugin says otherwise.
    pub log_bytes: usize,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            slots: 1_000,
            claim_max: 1_000,
            poll: Duration::from_secs(1),
            backoff: Backoff::default(),
            log_bytes: 16 << 10,
        }
    }
}

/// How many slots there are, and how many are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    /// All slots.
    pub total: usize,
    /// Slots with a run in them.
    pub used: usize,
}

/// One run with a slot, from its claim until its outcome is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunInfo {
    /// The task.
    pub task: TaskId,
    /// Its plugin.
    pub plugin: PluginName,
    /// Which attempt this is.
    pub attempt: u32,
    /// How often a failure is attempted in all.
    pub attempts_max: u32,
    /// How long the attempt may take.
    pub timeout: Duration,
    /// Whether the guest was asked to stop, by a cancel with a grace or a drain.
    pub asked_to_stop: bool,
}

/// What a drain did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Runs that ended by themselves within the grace.
    pub ended: usize,
    /// Runs that were stopped; their tasks wait again and have lost no attempt.
    pub put_back: usize,
}

/// Runs the tasks of a store within its slots. Cheap to clone.
#[derive(Clone)]
pub struct Scheduler {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) runner: Arc<dyn Runner>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: SchedulerConfig,
    /// Where guests run: an executor of their own, so that they never hold up the API.
    pub(crate) guests: Handle,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) hint: Notify,
    pub(crate) claiming: tokio::sync::Mutex<()>,
    /// Held by the dispatcher as long as it runs, and then by one drain after the other.
    dispatching: tokio::sync::Mutex<()>,
    /// Whether the next task in the line waits for memory that others hold.
    pub(crate) lacks_room: AtomicBool,
    pub(crate) figures: Figures,
    running: Mutex<Running>,
    paused: Mutex<Paused>,
    rates: Mutex<Rates>,
    draining: watch::Sender<bool>,
    /// Whether the grace of a drain is over.
    impatient: watch::Sender<bool>,
    /// Whether a drain is done.
    drained: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn paused(&self) -> MutexGuard<'_, Paused> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn rates(&self) -> MutexGuard<'_, Rates> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the scheduler drains.
    pub(crate) async fn draining(&self) {
        // The sender lives as long as `self`, so this only returns when the value is true.
        let _ = self.draining.subscribe().wait_for(|draining| *draining).await;
    }

    /// Waits until a drain is done.
    pub(crate) async fn drained(&self) {
        let _ = self.drained.subscribe().wait_for(|drained| *drained).await;
    }

    /// Says whether the scheduler drains.
    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Says whether the grace of a drain is over.
    pub(crate) fn is_impatient(&self) -> bool {
        *self.impatient.borrow()
    }

    /// Waits until the grace of a drain is over.
    async fn out_of_patience(&self) {
        let _ = self.impatient.subscribe().wait_for(|impatient| *impatient).await;
    }
}

impl Scheduler {
    /// Makes a scheduler for the tasks of `store`. Nothing is claimed before [`Scheduler::run`]; guests run on
    /// `guests`.
    pub fn new(
        config: SchedulerConfig,
        store: Store,
        runner: Arc<dyn Runner>,
        clock: Arc<dyn Clock>,
        guests: Handle,
    ) -> Self {
        let shared = Arc::new(Shared {
            store,
            runner,
            clock,
            guests,
            slots: Arc::new(Semaphore::new(config.slots)),
            config,
            hint: Notify::new(),
            claiming: tokio::sync::Mutex::new(()),
            dispatching: tokio::sync::Mutex::new(()),
            lacks_room: AtomicBool::new(false),
            figures: Figures::default(),
            running: Mutex::default(),
            paused: Mutex::default(),
            rates: Mutex::new(Rates::new(Instant::now())),
            draining: watch::Sender::new(false),
            impatient: watch::Sender::new(false),
            drained: watch::Sender::new(false),
        });
        Self { shared }
    }

    /// Claims tasks and runs them until a drain is done. What is paused has to be known by then, see
    /// [`Scheduler::load_paused`].
    pub async fn run(self) {
        let shared = &self.shared;
        let dispatch = async {
            let _dispatching = shared.dispatching.lock().await;
            dispatch(shared).await;
        };
        tokio::join!(dispatch, tell_progress(shared));
    }

    /// Hints that there may be something to run. Losing a hint costs at most one poll interval.
    pub fn wake(&self) {
        self.shared.hint.notify_one();
    }

    /// Returns how many slots there are and how many are taken.
    pub fn slots(&self) -> Slots {
        Slots { total: self.shared.config.slots, used: self.shared.running().len() }
    }

    /// Returns all runs with a slot, in no order.
    pub fn runs(&self) -> Vec<RunInfo> {
        let runs = self.shared.running().all();
        runs.iter().map(|run| run.info()).collect()
    }

    /// Returns how many tasks of a plugin run now.
    pub fn running(&self, plugin: &PluginName) -> usize {
        self.shared.running().of_plugin(plugin)
    }

    /// Returns what was done since the start, in figures.
    pub fn figures(&self) -> SchedulerFigures {
        self.shared.figures.read()
    }

    /// Says whether the next task in the line waits for memory that running tasks hold.
    pub fn lacks_room(&self) -> bool {
        self.shared.lacks_room.load(Ordering::Relaxed)
    }

    /// Says whether the scheduler drains: nothing is started any more.
    pub fn is_draining(&self) -> bool {
        self.shared.is_draining()
    }

    /// Waits until the scheduler drains. What waits then is started by the next host, if at all.
    pub async fn draining(&self) {
        self.shared.draining().await;
    }

    /// Waits until a drain is done: nothing runs any more, and every outcome is stored.
    pub async fn drained(&self) {
        self.shared.drained().await;
    }

    /// Cancels a task and keeps it as history. When this returns, no guest runs it, its slot is
    /// free, and nothing of it can write any more. It is carried out even if the caller goes away.
    ///
    /// # Errors
    ///
    /// Fails if the store does; the task then runs on.
    pub async fn cancel(&self, id: TaskId) -> Result<Cancelled, StoreError> {
        self.cancel_within(id, Duration::ZERO).await
    }

    /// Does what [`Scheduler::cancel`] does, but asks the guest to stop first and lets it put things in
    /// order for so long. The wish is durable at once, whatever the guest answers; the task is cancelled when its
    /// guest is gone. Of several graces the one that ends first counts.
    ///
    /// # Errors
    ///
    /// See [`Scheduler::cancel`].
    pub async fn cancel_within(&self, id: TaskId, grace: Duration) -> Result<Cancelled, StoreError> {
        let shared = Arc::clone(&self.shared);
        carry_out(async move {
            let start = Instant::now();
            let cancelled = shared.store.cancel(id, shared.clock.now()).await?;
            fault_point!("cancel stored, guest alive");
            let token = if let Cancelled::Stopping { token } = cancelled { Some(token) } else { None };
            shared.stop_within(id, token, grace).await?;
            if token.is_none() {
                return Ok(cancelled);
            }
            if grace.is_zero() {
                shared.figures.cancelled(start.elapsed());
            }
            Ok(Cancelled::Cancelled { was: TaskState::Running })
        })
        .await
    }

    /// Cancels a task if it waits or runs, and forgets it; returns the state it had, or `None` if
    /// there is no such task. Promises what [`Scheduler::cancel`] does.
    ///
    /// # Errors
    ///
    /// Fails if the store does; the task is then still there.
    pub async fn remove(&self, id: TaskId) -> Result<Option<TaskState>, StoreError> {
        self.remove_within(id, Duration::ZERO).await
    }

    /// Does what [`Scheduler::remove`] does, with the grace of [`Scheduler::cancel_within`].
    ///
    /// # Errors
    ///
    /// See [`Scheduler::remove`].
    pub async fn remove_within(&self, id: TaskId, grace: Duration) -> Result<Option<TaskState>, StoreError> {
        let shared = Arc::clone(&self.shared);
        carry_out(async move {
            let start = Instant::now();
            let removed = shared.store.remove(id, shared.clock.now()).await?;
            fault_point!("removal stored, guest alive");
            let token = if let Removed::Stopping { token } = removed { Some(token) } else { None };
            shared.stop_within(id, token, grace).await?;
            if grace.is_zero() && token.is_some() {
                shared.figures.cancelled(start.elapsed());
            }
            Ok(match removed {
                Removed::NotFound => None,
                Removed::Removed { was } => Some(was),
                Removed::Stopping { .. } => Some(TaskState::Running),
            })
        })
        .await
    }

    /// Starts nothing more, asks running guests to stop, and lets them end until `grace` is ready; then
    /// stops those left and puts them back to waiting without counting the attempt.
    ///
    /// When this returns, nothing runs and every outcome is stored. Of drains at the same time the
    /// shortest grace counts; one that comes later returns at once.
    pub async fn drain(&self, grace: impl Future<Output = ()>) -> Drained {
        self.shared.draining.send_replace(true);
        let grace = async {
            grace.await;
            self.shared.impatient.send_replace(true);
            std::future::pending().await
        };
        tokio::select! {
            biased;
            drained = self.drain_in_turn() => drained,
            never = grace => never,
        }
    }

    /// Starts to drain with this grace and returns at once; says whether nobody had before.
    pub fn begin_drain(&self, grace: Duration) -> bool {
        if self.shared.draining.send_replace(true) {
            return false;
        }
        let scheduler = self.clone();
        tokio::spawn(async move {
            let drained = scheduler.drain(tokio::time::sleep(grace)).await;
            tracing::info!(
                ended = drained.ended,
                put_back = drained.put_back,
                "drained: nothing runs any more"
            );
        });
        true
    }

    async fn drain_in_turn(&self) -> Drained {
        let _dispatching = self.shared.dispatching.lock().await;
        for run in self.shared.running().all() {
            run.ask_to_stop();
        }
        let before = self.slots().used;
        tokio::select! {
            () = self.shared.all_slots_free() => {}
            () = self.shared.out_of_patience() => {}
        }
        let left = self.shared.running().all();
        let stops: Vec<_> = left
            .into_iter()
            .map(|run| {
                let shared = Arc::clone(&self.shared);
                tokio::spawn(async move {
                    if run.stop(&shared).await.is_err() {
                        // It is offered to the store a few times more.
                        run.has_ended().await;
                    }
                    run.was_put_back()
                })
            })
            .collect();
        let mut put_back = 0;
        for stop in stops {
            match stop.await {
                Ok(was_put_back) => put_back += usize::from(was_put_back),
                Err(error) => {
                    tracing::error!(%error, "failed to put a task back; it runs again after the restart");
                }
            }
        }
        self.shared.drained.send_replace(true);
        Drained { ended: before.saturating_sub(put_back), put_back }
    }
}

impl Shared {
    /// Kills every run of a task that can be claimed no more, after they had so long to end by themselves, and
    /// waits for their ends: when this returns there is none, and none comes.
    ///
    /// `newest` is the token of the claim under which the task was found running. What runs under a claim that has
    /// ended is registered, if it ever was to run.
    ///
    /// # Errors
    ///
    /// Fails if the store has refused the end of a run: no guest of the task is left, and its end is stored later.
    pub(crate) async fn stop_within(
        self: &Arc<Self>,
        id: TaskId,
        newest: Option<i64>,
        grace: Duration,
    ) -> Result<(), StoreError> {
        let until = Instant::now() + grace;
        let mut runs = self.running().of_task(id);
        if newest.is_some_and(|newest| runs.last().is_none_or(|run| run.key().1 < newest)) {
            // Claimed and not registered, or over by now: whoever claims holds this until all are registered.
            drop(self.claiming.lock().await);
            runs = self.running().of_task(id);
        }
        let mut stopped = Ok(());
        for run in runs {
            stopped =
                stopped.and(run.stop_within(self, until.saturating_duration_since(Instant::now())).await);
        }
        stopped
    }

    async fn all_slots_free(&self) {
        let all = u32::try_from(self.config.slots).unwrap_or(u32::MAX);
        // The semaphore is never closed; were it, there would be nothing to wait for either.
        let _ = self.slots.acquire_many(all).await;
    }
}

/// Runs the future to its end even if the caller stops waiting for it.
pub(crate) async fn carry_out<T: Send + 'static>(
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
