//! One run: owns its slot, its guest and its deadline from the claim until the outcome is stored.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit};
use wasmill_model::{AttemptCounts, Backoff, PluginName, RunHost, TaskId};
use wasmill_store::{Claim, StoreError};

use crate::guest::Guest;
use crate::task_host::TaskHost;

/// One run with a slot, from its claim until its outcome is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunInfo {
    /// The task.
    pub task: TaskId,
    /// Its plugin.
    pub plugin: PluginName,
    /// Which attempt this is.
    pub attempt: u32,
    /// Maximum number of attempts, including the first, and one more for each host crash.
    pub attempts_max: u32,
    /// The timeout of the attempt.
    pub timeout: Duration,
    /// True if the guest was asked to stop, by a drain or by a cancel with a grace period.
    pub asked_to_stop: bool,
}

/// A claimed task with a slot.
pub(crate) struct Run {
    pub(crate) claim: Claim,
    pub(crate) plugin: PluginName,
    pub(crate) attempts: AttemptCounts,
    pub(crate) timeout: Duration,
    pub(crate) backoff: Backoff,
    pub(crate) guest: Guest,
    /// The term of the lease under which the task was claimed.
    pub(crate) term: i64,
    pub(crate) host: Arc<TaskHost>,
    pub(crate) slot: Mutex<Option<OwnedSemaphorePermit>>,
    /// Notified when the slot is released, and when the store has failed to store the end of the run.
    pub(crate) end_signal: Notify,
    /// Why the store last failed to store the end of the run.
    pub(crate) store_error: Mutex<Option<StoreError>>,
    /// True if the task was requeued without losing the attempt.
    pub(crate) requeued: AtomicBool,
}

impl Run {
    /// Returns the unique key of this run: its task and claim token.
    pub(crate) fn key(&self) -> (TaskId, i64) {
        (self.claim.id, self.claim.token())
    }

    /// Returns the public description of this run.
    pub(crate) fn info(&self) -> RunInfo {
        RunInfo {
            task: self.claim.id,
            plugin: self.plugin.clone(),
            attempt: self.attempts.attempt,
            attempts_max: self.attempts.last(),
            timeout: self.timeout,
            asked_to_stop: self.host.is_asked_to_stop(),
        }
    }

    /// Asks the guest to stop, so it can clean up before it is killed.
    pub(crate) fn ask_to_stop(&self) {
        self.host.ask_to_stop();
    }

    /// Returns true if the task was requeued without losing the attempt.
    pub(crate) fn was_requeued(&self) -> bool {
        self.requeued.load(Ordering::SeqCst)
    }

    /// Waits until the slot is released, however long the store fails to store the end of the run.
    pub(crate) async fn wait_released(&self) {
        loop {
            let changed = self.end_signal.notified();
            if self.slot().is_none() {
                return;
            }
            changed.await;
        }
    }

    pub(crate) fn store_error(&self) -> MutexGuard<'_, Option<StoreError>> {
        self.store_error.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn slot(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
