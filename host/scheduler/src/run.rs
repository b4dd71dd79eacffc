//! One run: owns its slot, its guest and its deadline, from claim to stored outcome.
//!
//! Made by the dispatcher. Whoever ends the run, the worker or a canceller, stores how it ended and gives the slot
//! back, exactly once, after the guest is gone.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit};
use wasmill_model::{
    Attempts, Backoff, Cause, Failure, Next, Outcome, PluginName, RetryOn, Run, RunHost, RunStep, TaskId,
    fault_point,
};
use wasmill_store::{Claim, Claimed, StoreError};

use crate::guest::{Guest, GuestPoll, GuestResult, Kill};
use crate::scheduler::{RunInfo, Shared};
use crate::task_host::TaskHost;

/// How long to wait before an outcome that could not be stored is offered again.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// How often an outcome is offered once the grace of a drain is over: a disk that stays full must not
/// keep the process from ending.
const FINAL_STORE_ATTEMPTS: u32 = 5;

/// A claimed task with a slot.
pub(crate) struct ActiveRun {
    pub(crate) claim: Claim,
    pub(crate) plugin: PluginName,
    attempts: Attempts,
    timeout: Duration,
    backoff: Backoff,
    guest: Guest,
    host: Arc<TaskHost>,
    slot: Mutex<Option<OwnedSemaphorePermit>>,
    released: Notify,
    /// Whether it was stopped and its task waits again.
    requeued: AtomicBool,
}

enum RunEnd {
    Returned(GuestResult),
    TimedOut,
    /// It was killed, and its end is left to the worker.
    Killed,
    /// It was killed, and whoever did that sees to the rest.
    Gone,
}

impl ActiveRun {
    /// Prepares the run of a claimed task in this slot; nothing runs yet.
    pub(crate) fn new(shared: &Shared, claimed: Claimed, slot: OwnedSemaphorePermit) -> Self {
        let Claimed {
            claim,
            plugin,
            queue: _,
            attempt,
            attempts_max,
            host_crashes,
            timeout,
            backoff,
            input,
            hand_over,
            saved,
        } = claimed;
        let (store, clock) = (shared.store.clone(), Arc::clone(&shared.clock));
        let host = Arc::new(TaskHost::new(store, clock, claim.clone(), saved, shared.config.log_bytes));
        let run = Run {
            task: claim.id,
            plugin: plugin.clone(),
            attempt,
            // Those that a crash of the host ended come on top, so that the last one is the last.
            attempts_max: attempts_max.saturating_add(host_crashes),
            input,
            host: Arc::clone(&host) as Arc<dyn RunHost>,
            hand_over,
        };
        Self {
            claim,
            plugin,
            attempts: Attempts { attempt, attempts_max, host_crashes, retry_on: RetryOn::default() },
            timeout,
            backoff: backoff.unwrap_or(shared.config.backoff),
            guest: Guest::new(shared.runner.run(run)),
            host,
            slot: Mutex::new(Some(slot)),
            released: Notify::new(),
            requeued: AtomicBool::new(false),
        }
    }

    /// Returns what no other run has: its task and the token of its claim.
    pub(crate) fn key(&self) -> (TaskId, i64) {
        (self.claim.id, self.claim.token())
    }

    /// Returns what is known of the run from outside.
    pub(crate) fn info(&self) -> RunInfo {
        RunInfo {
            task: self.claim.id,
            plugin: self.plugin.clone(),
            attempt: self.attempts.attempt,
            attempts_max: self.attempts.attempts_max,
            timeout: self.timeout,
            asked_to_stop: self.host.is_asked_to_stop(),
        }
    }

    /// Runs the guest to its end, stores the outcome and gives the slot back.
    pub(crate) async fn execute(self: Arc<Self>, shared: Arc<Shared>) {
        let outcome = match self.run_guest().await {
            RunEnd::Returned(_) if self.host.is_evicted() => Outcome::Evicted,
            // A guest that was asked to stop and gives up has done as it was told.
            RunEnd::Returned(Err(_)) if self.host.is_asked_to_stop() => Outcome::Stopped,
            RunEnd::Returned(Ok(RunStep::Done(result))) => Outcome::Completed(result),
            RunEnd::Returned(Ok(RunStep::Suspended(later))) => Outcome::Suspended(later),
            RunEnd::Returned(Err(failure)) => Outcome::Failed(failure),
            RunEnd::TimedOut => Outcome::Failed(timeout_failure(self.timeout)),
            RunEnd::Killed => return self.finish_killed(&shared).await,
            RunEnd::Gone => return,
        };
        self.record_end(
            &shared,
            match &outcome {
                Outcome::Completed(_) => "completed",
                Outcome::Suspended(_) => "suspended",
                Outcome::Failed(failure) => failure.cause.kind(),
                Outcome::Stopped => "interrupted",
                Outcome::Evicted => "evicted",
                Outcome::HostCrashed => "host-crash",
            },
        );
        fault_point!("guest done, not stored");
        self.store_outcome(&shared, outcome, false).await;
        fault_point!("outcome stored, slot taken");
        self.release(&shared);
    }

    /// Asks the guest to stop; it may put things in order before it is stopped.
    pub(crate) fn ask_to_stop(&self) {
        self.host.ask_to_stop();
    }

    /// Does what [`ActiveRun::stop`] does, after the guest was asked to stop and had so long to do so.
    pub(crate) async fn stop_within(&self, shared: &Shared, grace: Duration) {
        if !grace.is_zero() {
            self.ask_to_stop();
            // An error means that the grace is over.
            let _ = tokio::time::timeout(grace, self.wait_released()).await;
        }
        self.stop(shared).await;
    }

    /// Kills the guest; when this returns the guest is gone, its end is stored, and the slot is free.
    ///
    /// If the guest answered first, its outcome is stored, where the store still takes it.
    pub(crate) async fn stop(&self, shared: &Shared) {
        if self.guest.kill(|| shared.runner.interrupt()) == Kill::Dead {
            self.finish_killed(shared).await;
        }
        self.wait_released().await;
    }

    /// Says whether it was stopped and its task waits again.
    pub(crate) fn was_requeued(&self) -> bool {
        self.requeued.load(Ordering::SeqCst)
    }

    /// Ends the run after its guest was killed: the task is cancelled or removed if it was asked to stop, and else
    /// waits again.
    async fn finish_killed(&self, shared: &Shared) {
        self.record_end(shared, "stopped");
        fault_point!("guest stopped, not stored");
        self.store_outcome(shared, Outcome::Stopped, true).await;
        self.release(shared);
    }

    /// Stores how the run ended, as often as it takes: an outcome is never dropped, and holds its slot
    /// until it is stored. Only a host that stops gives up after a while; then the task runs again.
    async fn store_outcome(&self, shared: &Shared, outcome: Outcome, was_killed: bool) {
        let now = shared.clock.now();
        // As the manifest has it now: whoever changes it means what comes.
        let attempts = Attempts { retry_on: shared.runner.retry_on(&self.plugin), ..self.attempts };
        let next = Next::after(outcome, attempts, now, self.backoff, rand::random());
        let log = self.claim.log().part();
        let used = self.claim.usage(now);
        tracing::debug!(task = %self.claim.id, state = %next.state(), ?used, "an attempt is over");
        let is_runnable_again = matches!(next, Next::Suspended(..) | Next::RetryAt(..) | Next::Requeued);
        let mut attempts_left = FINAL_STORE_ATTEMPTS;
        loop {
            // A cancel was durable before it killed the guest; what a drain puts back is made durable here.
            let stored = if was_killed && !shared.is_draining() {
                shared.store.finish_stopped(&self.claim, log.clone(), now).await
            } else {
                shared.store.finish(&self.claim, next.clone(), log.clone(), now).await
            };
            match stored {
                Ok(true) => {
                    self.requeued.store(was_killed, Ordering::SeqCst);
                    break;
                }
                Ok(false) => {
                    // Whoever asked it to stop has the last word, whatever the guest has answered.
                    tracing::debug!(task = %self.claim.id, "outcome refused: the task was asked to stop");
                    break;
                }
                Err(error @ StoreError::Closed) => {
                    tracing::error!(task = %self.claim.id, %error, "outcome lost: the task runs again");
                    break;
                }
                Err(error) => {
                    // The store tells of its trouble once; a line for each run would say no more.
                    tracing::debug!(task = %self.claim.id, %error, "failed to store an outcome, trying on");
                    if shared.is_grace_expired() {
                        attempts_left -= 1;
                        if attempts_left == 0 {
                            tracing::error!(task = %self.claim.id, %error, "outcome lost: the task runs again");
                            break;
                        }
                    }
                    tokio::time::sleep(STORE_RETRY).await;
                }
            }
        }
        if is_runnable_again {
            shared.wakeup.notify_one();
        }
    }

    /// Counts how the attempt ended, and what it used.
    fn record_end(&self, shared: &Shared, outcome: &'static str) {
        shared.stats.ended(&self.plugin, outcome, &self.claim.usage(shared.clock.now()));
    }

    async fn run_guest(&self) -> RunEnd {
        let deadline = tokio::time::sleep(self.timeout);
        tokio::select! {
            biased;
            answer = poll_fn(|context| self.guest.poll(context)) => match answer {
                GuestPoll::Returned(answer) => RunEnd::Returned(answer),
                GuestPoll::Dropped => RunEnd::Killed,
                GuestPoll::Gone => RunEnd::Gone,
            },
            () = deadline => if self.guest.drop_future() { RunEnd::TimedOut } else { RunEnd::Gone },
        }
    }

    fn release(&self, shared: &Shared) {
        let slot = self.slot().take();
        if let Some(slot) = slot {
            shared.running().remove(self);
            drop(slot);
            // The slot wakes a dispatcher that has none; one that waits because this plugin ran as
            // often as it may, or for the memory of this run, is told here.
            if shared.is_memory_bound.load(Ordering::SeqCst)
                || shared.runner.concurrency(&self.plugin).is_some()
            {
                shared.wakeup.notify_one();
            }
            self.released.notify_waiters();
        }
    }

    async fn wait_released(&self) {
        loop {
            let released = self.released.notified();
            if self.slot().is_none() {
                return;
            }
            released.await;
        }
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn timeout_failure(timeout: Duration) -> Failure {
    let message = format!("the attempt took longer than its timeout of {timeout:?}");
    Failure::new(Cause::Timeout, message)
}
