//! Executes a run: from its preparation to its stored outcome.
//!
//! Created by the dispatcher. Exactly one party ends the run, the worker or a canceller: after the guest is gone it
//! stores the outcome and releases the slot.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit};
use wasmill_model::{
    AttemptCounts, Cause, Failure, RetryOn, RunHost, RunOutcome, RunRequest, RunStep, Transition, fault_point,
};
use wasmill_store::{Claimed, Lease, StoreError};

use crate::guest::{Guest, GuestPoll, GuestResult, Kill};
use crate::run::Run;
use crate::shared::Shared;
use crate::task_host::TaskHost;
use crate::task_host::task_files::TaskFiles;

/// How long to wait before retrying to store an outcome.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// Attempts to store an outcome once the grace period of a drain has expired: a full disk must not keep the process
/// from exiting.
const FINAL_STORE_ATTEMPTS: u32 = 5;

/// The shortest wait of a deadline that stood still.
const FROZEN_WAIT_MIN: Duration = Duration::from_millis(100);

enum RunEnd {
    Returned(GuestResult),
    TimedOut,
    /// The guest was killed, and the worker ends the run.
    Killed,
    /// The guest was killed, and its killer ends the run.
    Gone,
}

impl Run {
    /// Prepares the run of a claimed task in this slot; nothing runs yet.
    pub(crate) fn new(shared: &Shared, claimed: Claimed, term: i64, slot: OwnedSemaphorePermit) -> Self {
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
            has_files,
            pass_results,
            files_from,
            checkpoint,
        } = claimed;
        let (store, clock) = (shared.store.clone(), Arc::clone(&shared.clock));
        claim.log().keep(shared.config.log_bytes);
        let (files, children) = (TaskFiles::new(has_files, files_from), Arc::clone(&shared.children));
        let host = Arc::new(TaskHost::new(store, clock, claim.clone(), checkpoint, files, children));
        let attempts = AttemptCounts { attempt, attempts_max, host_crashes, retry_on: RetryOn::default() };
        let run = RunRequest {
            task: claim.id,
            plugin: plugin.clone(),
            attempt,
            attempts_max: attempts.last(),
            input,
            host: Arc::clone(&host) as Arc<dyn RunHost>,
            pass_results,
            pass_files: files_from.is_some(),
        };
        Self {
            claim,
            plugin,
            attempts,
            timeout,
            backoff: backoff.unwrap_or(shared.config.backoff),
            guest: Guest::new(shared.runner.run(run)),
            term,
            host,
            slot: Mutex::new(Some(slot)),
            end_signal: Notify::new(),
            store_error: Mutex::default(),
            requeued: AtomicBool::new(false),
        }
    }

    /// Runs the guest to its end, stores the outcome and releases the slot.
    pub(crate) async fn execute(self: Arc<Self>, shared: Arc<Shared>) {
        let outcome = match self.run_guest(shared.store.lease()).await {
            RunEnd::Returned(_) if self.host.is_evicted() => RunOutcome::Evicted,
            // A guest that fails after a stop request has complied with it.
            RunEnd::Returned(Err(_)) if self.host.is_asked_to_stop() => RunOutcome::Stopped,
            RunEnd::Returned(Ok(RunStep::Done(result))) => RunOutcome::Completed(result),
            RunEnd::Returned(Ok(RunStep::Suspended(later))) => RunOutcome::Suspended(later),
            RunEnd::Returned(Err(failure)) => RunOutcome::Failed(failure),
            RunEnd::TimedOut => RunOutcome::Failed(timeout_failure(self.timeout)),
            RunEnd::Killed => return self.finish_killed(&shared).await,
            RunEnd::Gone => return,
        };
        self.record_end(
            &shared,
            match &outcome {
                RunOutcome::Completed(_) => "completed",
                RunOutcome::Suspended(_) => "suspended",
                RunOutcome::Failed(failure) => failure.cause.kind(),
                RunOutcome::Stopped => "interrupted",
                RunOutcome::Evicted => "evicted",
                RunOutcome::HostCrashed => "host-crash",
            },
        );
        fault_point!("guest done, not stored");
        self.store_outcome(&shared, outcome, false).await;
        fault_point!("outcome stored, slot taken");
        self.release(&shared);
    }

    /// Asks the guest to stop, gives it the grace period, then does what [`Run::stop`] does.
    pub(crate) async fn stop_within(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        grace: Duration,
    ) -> Result<(), StoreError> {
        if !grace.is_zero() {
            self.ask_to_stop();
            // An error means that the grace period is over.
            let _ = tokio::time::timeout(grace, self.wait_released()).await;
        }
        self.stop(shared).await
    }

    /// Kills the guest. On return the guest is gone, its end is stored and the slot is free.
    ///
    /// If the guest ended first, its outcome is stored, provided the store still accepts it.
    ///
    /// # Errors
    ///
    /// Fails as soon as the store fails to store the end of the run, for example on a full disk. Storing is retried
    /// until it succeeds, and the run keeps its slot until then.
    pub(crate) async fn stop(self: &Arc<Self>, shared: &Arc<Shared>) -> Result<(), StoreError> {
        if self.guest.kill(|| shared.runner.interrupt()) == Kill::Dead {
            let (run, shared) = (Arc::clone(self), Arc::clone(shared));
            // In a separate task, so that the end is stored even if the caller gives up.
            tokio::spawn(async move { run.finish_killed(&shared).await });
        }
        loop {
            let changed = self.end_signal.notified();
            if self.slot().is_none() {
                return Ok(());
            }
            if let Some(error) = self.store_error().clone() {
                return Err(error);
            }
            changed.await;
        }
    }

    /// Ends the run of a killed guest: the store cancels or removes the task if that was requested, and requeues it
    /// otherwise.
    async fn finish_killed(&self, shared: &Shared) {
        self.record_end(shared, "stopped");
        fault_point!("guest stopped, not stored");
        self.store_outcome(shared, RunOutcome::Stopped, true).await;
        self.release(shared);
    }

    /// Stores the outcome, retrying until it succeeds: an outcome is never dropped and holds its slot until then. Only
    /// a draining host gives up after a while; the task then runs again.
    async fn store_outcome(&self, shared: &Shared, outcome: RunOutcome, was_killed: bool) {
        let now = shared.clock.now();
        // Reads the retry rules now, so a change of the manifest applies to runs in progress.
        let attempts = AttemptCounts { retry_on: shared.runner.retry_on(&self.plugin), ..self.attempts };
        let next = Transition::after(outcome, attempts, now, self.backoff, rand::random());
        let log = self.claim.log().part();
        let used = self.claim.usage(now);
        tracing::debug!(task = %self.claim.id, state = %next.state(), ?used, "attempt ended");
        let is_runnable_again =
            matches!(next, Transition::Suspended(..) | Transition::RetryAt(..) | Transition::Requeued);
        let mut attempts_left = FINAL_STORE_ATTEMPTS;
        loop {
            // A cancel is durable before it kills the guest; a requeue by a drain becomes durable here.
            let is_stopped = was_killed && !shared.is_draining();
            let stored = if is_stopped {
                shared.store.finish_stopped(&self.claim, log.clone(), now).await
            } else {
                shared.store.finish(&self.claim, next.clone(), log.clone(), now).await
            };
            match stored {
                Ok(true) => {
                    let is_requeued = !is_stopped && matches!(next, Transition::Requeued);
                    self.requeued.store(is_requeued, Ordering::SeqCst);
                    break;
                }
                Ok(false) => {
                    // The stop request wins over whatever the guest returned.
                    tracing::debug!(task = %self.claim.id, "discarded the outcome: a stop was requested");
                    break;
                }
                Err(error @ StoreError::Closed) => {
                    tracing::error!(task = %self.claim.id, %error, "lost the outcome; the task will run again");
                    break;
                }
                Err(error) => {
                    // The store logs its outage once; one line per run would add nothing.
                    tracing::debug!(task = %self.claim.id, %error, "failed to store an outcome; retrying");
                    *self.store_error() = Some(error.clone());
                    self.end_signal.notify_waiters();
                    if shared.is_grace_expired() {
                        attempts_left -= 1;
                        if attempts_left == 0 {
                            tracing::error!(task = %self.claim.id, %error, "lost the outcome; the task will run again");
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

    /// Counts how the attempt ended and what it used.
    fn record_end(&self, shared: &Shared, outcome: &'static str) {
        shared.stats.ended(&self.plugin, outcome, &self.claim.usage(shared.clock.now()));
    }

    async fn run_guest(&self, lease: &Lease) -> RunEnd {
        tokio::select! {
            biased;
            answer = poll_fn(|context| self.guest.poll(context, !lease.is_valid(self.term))) => match answer {
                GuestPoll::Returned(answer) => RunEnd::Returned(answer),
                GuestPoll::Dropped => RunEnd::Killed,
                GuestPoll::Gone => RunEnd::Gone,
            },
            () = deadline(self.timeout, lease) => if self.guest.drop_future() { RunEnd::TimedOut } else { RunEnd::Gone },
        }
    }

    fn release(&self, shared: &Shared) {
        let slot = self.slot().take();
        if let Some(slot) = slot {
            shared.running().remove(self);
            drop(slot);
            // A free slot wakes a dispatcher that lacks one. A dispatcher that waits for this plugin's concurrency or
            // for memory needs this wake-up.
            if shared.is_memory_bound.load(Ordering::SeqCst)
                || shared.runner.concurrency(&self.plugin).is_some()
            {
                shared.wakeup.notify_one();
            }
            self.end_signal.notify_waiters();
        }
    }
}

/// Resolves when a run that begins now has had its time; it stands still while the guest is frozen.
async fn deadline(timeout: Duration, lease: &Lease) {
    let (mut wait, mut frozen) = (timeout, lease.frozen());
    loop {
        tokio::time::sleep(wait).await;
        let now_frozen = lease.frozen();
        if now_frozen == frozen {
            return;
        }
        (wait, frozen) = ((now_frozen - frozen).max(FROZEN_WAIT_MIN), now_frozen);
    }
}

fn timeout_failure(timeout: Duration) -> Failure {
    let message = format!("the attempt exceeded its timeout of {timeout:?}");
    Failure::new(Cause::Timeout, message)
}
