//! One run: owns its slot, its guest and its deadline, from claim to stored outcome.
//!
//! Made by the dispatcher. Whoever ends the run, the worker or a canceller, stores how it ended and gives the slot
//! back, exactly once, after the guest is gone.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit};
use wasmill_model::{
    Attempts, Backoff, Cause, Failure, Next, Outcome, PluginName, RetryOn, Run, RunHost, Step, TaskId,
    fault_point,
};
use wasmill_store::{Claim, Claimed, StoreError};

use crate::guest::{Answer, Guest, Kill, Polled};
use crate::scheduler::{RunInfo, Shared};
use crate::task_host::TaskHost;

/// How long to wait before an outcome that could not be stored is offered again.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// How often an outcome is offered once the grace of a drain is over: a disk that stays full must not
/// keep the process from ending.
const LAST_OFFERS: u32 = 5;

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
    /// Woken when the slot is free, or the store has refused the end.
    ended: Notify,
    refused: Mutex<Option<StoreError>>,
    /// Whether it was stopped and its task waits again.
    put_back: AtomicBool,
}

enum Ended {
    Answered(Answer),
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
        let attempts = Attempts { attempt, attempts_max, host_crashes, retry_on: RetryOn::default() };
        let run = Run {
            task: claim.id,
            plugin: plugin.clone(),
            attempt,
            attempts_max: attempts.last(),
            input,
            host: Arc::clone(&host) as Arc<dyn RunHost>,
            hand_over,
        };
        Self {
            claim,
            plugin,
            attempts,
            timeout,
            backoff: backoff.unwrap_or(shared.config.backoff),
            guest: Guest::new(shared.runner.run(run)),
            host,
            slot: Mutex::new(Some(slot)),
            ended: Notify::new(),
            refused: Mutex::default(),
            put_back: AtomicBool::new(false),
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
            attempts_max: self.attempts.last(),
            timeout: self.timeout,
            asked_to_stop: self.host.is_asked_to_stop(),
        }
    }

    /// Runs the guest to its end, stores the outcome and gives the slot back.
    pub(crate) async fn work(self: Arc<Self>, shared: Arc<Shared>) {
        let outcome = match self.answer_in_time().await {
            Ended::Answered(_) if self.host.is_crowded_out() => Outcome::CrowdedOut,
            // A guest that was asked to stop and gives up has done as it was told.
            Ended::Answered(Err(_)) if self.host.is_asked_to_stop() => Outcome::Stopped,
            Ended::Answered(Ok(Step::Done(result))) => Outcome::Completed(result),
            Ended::Answered(Ok(Step::Later(later))) => Outcome::Parked(later),
            Ended::Answered(Err(failure)) => Outcome::Failed(failure),
            Ended::TimedOut => Outcome::Failed(timed_out(self.timeout)),
            Ended::Killed => return self.end_stopped(&shared).await,
            Ended::Gone => return,
        };
        self.count(
            &shared,
            match &outcome {
                Outcome::Completed(_) => "completed",
                Outcome::Parked(_) => "parked",
                Outcome::Failed(failure) => failure.cause.kind(),
                Outcome::Stopped => "drained",
                Outcome::CrowdedOut => "crowded-out",
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
    pub(crate) async fn stop_within(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        grace: Duration,
    ) -> Result<(), StoreError> {
        if !grace.is_zero() {
            self.ask_to_stop();
            // An error means that the grace is over.
            let _ = tokio::time::timeout(grace, self.has_ended()).await;
        }
        self.stop(shared).await
    }

    /// Kills the guest; when this returns the guest is gone, its end is stored, and the slot is free.
    ///
    /// If the guest answered first, its outcome is stored, where the store still takes it.
    ///
    /// # Errors
    ///
    /// Fails once the store has refused the end of the run, as on a full disk. The end is stored as soon as the
    /// store takes it, and holds its slot until then.
    pub(crate) async fn stop(self: &Arc<Self>, shared: &Arc<Shared>) -> Result<(), StoreError> {
        if self.guest.kill(|| shared.runner.interrupt()) == Kill::Dead {
            let (run, shared) = (Arc::clone(self), Arc::clone(shared));
            // By itself: whoever waits for the end may give up, and the end is stored all the same.
            tokio::spawn(async move { run.end_stopped(&shared).await });
        }
        loop {
            let ended = self.ended.notified();
            if self.slot().is_none() {
                return Ok(());
            }
            if let Some(error) = self.refused().clone() {
                return Err(error);
            }
            ended.await;
        }
    }

    /// Says whether it was stopped and its task waits again.
    pub(crate) fn was_put_back(&self) -> bool {
        self.put_back.load(Ordering::SeqCst)
    }

    /// Ends the run after its guest was killed: the task is cancelled or removed if it was asked to stop, and else
    /// waits again.
    async fn end_stopped(&self, shared: &Shared) {
        self.count(shared, "stopped");
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
        let waits_again = matches!(next, Next::ResumeAt(..) | Next::RetryAt(..) | Next::Requeued);
        let mut offers_left = LAST_OFFERS;
        loop {
            // A cancel was durable before it killed the guest; what a drain puts back is made durable here.
            let stored = if was_killed && !shared.is_draining() {
                shared.store.finish_stopped(&self.claim, log.clone(), now).await
            } else {
                shared.store.finish(&self.claim, next.clone(), log.clone(), now).await
            };
            match stored {
                Ok(true) => {
                    self.put_back.store(was_killed, Ordering::SeqCst);
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
                    *self.refused() = Some(error.clone());
                    self.ended.notify_waiters();
                    if shared.is_impatient() {
                        offers_left -= 1;
                        if offers_left == 0 {
                            tracing::error!(task = %self.claim.id, %error, "outcome lost: the task runs again");
                            break;
                        }
                    }
                    tokio::time::sleep(STORE_RETRY).await;
                }
            }
        }
        if waits_again {
            shared.hint.notify_one();
        }
    }

    /// Counts how the attempt ended, and what it used.
    fn count(&self, shared: &Shared, how: &'static str) {
        shared.figures.ended(&self.plugin, how, &self.claim.usage(shared.clock.now()));
    }

    async fn answer_in_time(&self) -> Ended {
        let deadline = tokio::time::sleep(self.timeout);
        tokio::select! {
            biased;
            answer = poll_fn(|context| self.guest.poll(context)) => match answer {
                Polled::Answered(answer) => Ended::Answered(answer),
                Polled::Dropped => Ended::Killed,
                Polled::Gone => Ended::Gone,
            },
            () = deadline => if self.guest.end() { Ended::TimedOut } else { Ended::Gone },
        }
    }

    fn release(&self, shared: &Shared) {
        let slot = self.slot().take();
        if let Some(slot) = slot {
            shared.running().remove(self);
            drop(slot);
            // The slot wakes a dispatcher that has none; one that waits because this plugin ran as
            // often as it may, or for the memory of this run, is told here.
            if shared.lacks_room.load(Ordering::SeqCst) || shared.runner.concurrency(&self.plugin).is_some() {
                shared.hint.notify_one();
            }
            self.ended.notify_waiters();
        }
    }

    /// Waits until the slot is free, however long the store refuses the end of the run.
    pub(crate) async fn has_ended(&self) {
        loop {
            let ended = self.ended.notified();
            if self.slot().is_none() {
                return;
            }
            ended.await;
        }
    }

    /// Why the store has refused the end of the run, if it has.
    fn refused(&self) -> MutexGuard<'_, Option<StoreError>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn timed_out(timeout: Duration) -> Failure {
    let message = format!("the attempt took longer than its timeout of {timeout:?}");
    Failure::new(Cause::Timeout, message)
}
