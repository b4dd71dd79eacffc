//! The state that the scheduler shares with the dispatcher and the runs.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use wasmill_model::{Backoff, ChildBounds, Clock, Limits, Runner, SLOTS_DEFAULT};
use wasmill_store::Store;

use crate::paused::Paused;
use crate::rates::Rates;
use crate::running::Running;
use crate::stats::StatsRecorder;
use crate::task_host::children::ChildPolicy;

/// Settings of the scheduler.
#[derive(Clone, Debug)]
pub struct SchedulerConfig {
    /// Maximum number of tasks that run at the same time.
    pub slots: usize,
    /// Maximum number of tasks per claim, so that one claim never blocks the store for long.
    pub claim_max: usize,
    /// How long the dispatcher relies on wake-ups before it polls.
    pub poll: Duration,
    /// The backoff of tasks that set none.
    pub backoff: Backoff,
    /// Bytes of log kept per run, unless the plugin sets a limit.
    pub log_bytes: usize,
    /// How many children a task may have.
    pub children: ChildBounds,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            slots: SLOTS_DEFAULT as usize,
            claim_max: 1_000,
            poll: Duration::from_secs(1),
            backoff: Backoff::default(),
            log_bytes: Limits::default().log_bytes as usize,
            children: ChildBounds::default(),
        }
    }
}

pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) runner: Arc<dyn Runner>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: SchedulerConfig,
    pub(crate) children: Arc<ChildPolicy>,
    /// The executor of guests, separate so that they never delay the API.
    pub(crate) guests: Handle,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) wakeup: Notify,
    pub(crate) claiming: tokio::sync::Mutex<()>,
    /// Held by the dispatcher while it runs, then by one drain at a time.
    pub(crate) dispatching: tokio::sync::Mutex<()>,
    /// True while the next task in the queue waits for memory.
    pub(crate) is_memory_bound: AtomicBool,
    pub(crate) stats: StatsRecorder,
    running: Mutex<Running>,
    paused: Mutex<Paused>,
    rates: Mutex<Rates>,
    pub(crate) draining: watch::Sender<bool>,
    /// True once the grace period of a drain is over.
    pub(crate) grace_expired: watch::Sender<bool>,
    /// True once a drain is done.
    pub(crate) drained: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn new(
        config: SchedulerConfig,
        store: Store,
        runner: Arc<dyn Runner>,
        clock: Arc<dyn Clock>,
        guests: Handle,
    ) -> Self {
        Self {
            store,
            runner,
            clock,
            guests,
            slots: Arc::new(Semaphore::new(config.slots)),
            children: Arc::new(ChildPolicy::new(config.children)),
            config,
            wakeup: Notify::new(),
            claiming: tokio::sync::Mutex::new(()),
            dispatching: tokio::sync::Mutex::new(()),
            is_memory_bound: AtomicBool::new(false),
            stats: StatsRecorder::default(),
            running: Mutex::default(),
            paused: Mutex::default(),
            rates: Mutex::new(Rates::new(Instant::now())),
            draining: watch::Sender::new(false),
            grace_expired: watch::Sender::new(false),
            drained: watch::Sender::new(false),
        }
    }

    pub(crate) fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn paused(&self) -> MutexGuard<'_, Paused> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn rates(&self) -> MutexGuard<'_, Rates> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a drain starts.
    pub(crate) async fn draining(&self) {
        // The sender lives as long as `self`, so this returns only once the value is true.
        let _ = self.draining.subscribe().wait_for(|draining| *draining).await;
    }

    /// Waits until a drain is done.
    pub(crate) async fn drained(&self) {
        let _ = self.drained.subscribe().wait_for(|drained| *drained).await;
    }

    /// Returns true once a drain has started.
    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Returns true once the grace period of a drain is over.
    pub(crate) fn is_grace_expired(&self) -> bool {
        *self.grace_expired.borrow()
    }

    /// Waits until the grace period of a drain is over.
    pub(crate) async fn grace_expired(&self) {
        let _ = self.grace_expired.subscribe().wait_for(|grace_expired| *grace_expired).await;
    }
}
