//! The rule that picks the transition after a run.

use std::time::Duration;

use crate::retry::WAIT_MAX;
use crate::{Backoff, Cause, Failure, Retry, RetryOn, Suspension, TaskResult, TaskState, Timestamp};

/// Maximum host crashes during runs of a task; with the last one it fails.
///
/// Otherwise a task that kills its host would kill every host that picks it up, forever.
pub const HOST_CRASHES_MAX: u32 = 3;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    /// The plugin returned a result.
    Completed(TaskResult),
    /// The plugin suspended the task.
    Suspended(Suspension),
    /// The run failed.
    Failed(Failure),
    /// The host stopped the run, because of a drain or a stop request; the task is not to blame.
    Stopped,
    /// The host stopped the run for lack of memory; the task is not to blame.
    Evicted,
    /// The host crashed during the run.
    HostCrashed,
}

/// The attempts of a task at the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptCounts {
    /// Number of the attempt that ended, from 1.
    pub attempt: u32,
    /// Maximum attempts, the first included.
    pub attempts_max: u32,
    /// How many earlier attempts ended in a host crash.
    pub host_crashes: u32,
    /// Which failures are retried.
    pub retry_on: RetryOn,
}

impl AttemptCounts {
    /// Returns the number of the last attempt: the attempts requested, plus one for each attempt that a
    /// crash of the host ended.
    pub fn last(&self) -> u32 {
        self.attempts_max.saturating_add(self.host_crashes)
    }

    /// Returns the wait before the next attempt; `None` if this failure is not retried.
    ///
    /// A plugin can rule out a retry and choose its wait, but never ask for more attempts than the task has.
    /// `dice` from 0 to 1 is the share of the backoff jitter to add.
    pub fn wait_after(&self, failure: &Failure, backoff: Backoff, dice: f64) -> Option<Duration> {
        let failures = self.attempt.saturating_sub(self.host_crashes);
        if failures >= self.attempts_max || !self.retry_on.contains(failure.cause) {
            return None;
        }
        match failure.retry {
            None => Some(backoff.wait(failures, dice)),
            Some(Retry::After(wait)) => Some(wait.min(WAIT_MAX)),
            Some(Retry::Never) => None,
        }
    }
}

/// The transition of a task after a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Completed with this result.
    Completed(TaskResult),
    /// Failed for good.
    Failed(Failure),
    /// Suspended until this time or what wakes it; the attempt continues.
    Suspended(Timestamp, Suspension),
    /// Scheduled for its next attempt at this time, after this failure.
    RetryAt(Timestamp, Failure),
    /// Available again without losing the attempt.
    Requeued,
    /// Available again after a host crash; the attempt and the crash count.
    Recovered,
}

impl Transition {
    /// Picks the transition: a pure function of the outcome and the attempts.
    ///
    /// `dice` from 0 to 1 is the share of the backoff jitter to add.
    pub fn after(
        outcome: RunOutcome,
        used: AttemptCounts,
        now: Timestamp,
        backoff: Backoff,
        dice: f64,
    ) -> Self {
        match outcome {
            RunOutcome::Completed(result) => Self::Completed(result),
            RunOutcome::Suspended(suspension) => Self::Suspended(later(now, suspension.wait), suspension),
            RunOutcome::Failed(failure) => match used.wait_after(&failure, backoff, dice) {
                Some(wait) => Self::RetryAt(later(now, wait), failure),
                None => Self::Failed(failure),
            },
            RunOutcome::Stopped | RunOutcome::Evicted => Self::Requeued,
            RunOutcome::HostCrashed if used.host_crashes + 1 < HOST_CRASHES_MAX => Self::Recovered,
            RunOutcome::HostCrashed => Self::Failed(Failure::new(
                Cause::HostCrash,
                format!("the host died {HOST_CRASHES_MAX} times while this task was running"),
            )),
        }
    }

    /// Returns the state after this transition.
    pub fn state(&self) -> TaskState {
        match self {
            Self::Completed(_) => TaskState::Completed,
            Self::Failed(_) => TaskState::Failed,
            Self::Suspended(..) => TaskState::Suspended,
            Self::RetryAt(..) => TaskState::Scheduled,
            Self::Requeued | Self::Recovered => TaskState::Available,
        }
    }
}

fn later(now: Timestamp, wait: Duration) -> Timestamp {
    chrono::Duration::from_std(wait).ok().and_then(|wait| now.checked_add_signed(wait)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;
    use crate::WakeOn;

    fn now() -> Timestamp {
        chrono::Utc.timestamp_opt(1_000, 0).single().expect("in range")
    }

    fn next(outcome: RunOutcome, attempt: u32, attempts_max: u32, host_crashes: u32) -> Transition {
        let used = AttemptCounts { attempt, attempts_max, host_crashes, retry_on: RetryOn::default() };
        Transition::after(outcome, used, now(), Backoff::default(), 0.0)
    }

    fn suspension() -> Suspension {
        let wake_on = WakeOn { event: true, ..WakeOn::default() };
        Suspension { wait: Duration::from_secs(9), wake_on, state: vec![7] }
    }

    #[test]
    fn every_transition_after_a_run_is_in_the_table() {
        for outcome in [
            RunOutcome::Completed(TaskResult::default()),
            RunOutcome::Suspended(suspension()),
            RunOutcome::Failed(Failure::new(Cause::Io, "")),
            RunOutcome::Stopped,
            RunOutcome::HostCrashed,
        ] {
            for (attempt, crashes) in [(1, 0), (3, 2), (9, 9)] {
                let to = next(outcome.clone(), attempt, 3, crashes).state();
                assert!(TaskState::Running.may_become(to), "{outcome:?}");
            }
        }
    }

    #[test]
    fn a_transient_failure_is_retried_until_no_attempts_are_left() {
        let failure = Failure::new(Cause::Io, "gone");
        let failed = || RunOutcome::Failed(failure.clone());
        let retry = |seconds| Transition::RetryAt(now() + Duration::from_secs(seconds), failure.clone());
        assert_eq!(next(failed(), 1, 3, 0), retry(1));
        assert_eq!(next(failed(), 2, 3, 0), retry(2));
        assert_eq!(next(failed(), 3, 3, 0), Transition::Failed(failure.clone()));
        assert_eq!(next(failed(), 1, 1, 0), Transition::Failed(failure.clone()));
    }

    #[test]
    fn a_host_crash_uses_no_attempt_and_lengthens_no_wait() {
        let failure = Failure::new(Cause::Io, "gone");
        let failed = || RunOutcome::Failed(failure.clone());
        let retry = |seconds| Transition::RetryAt(now() + Duration::from_secs(seconds), failure.clone());
        assert_eq!(next(failed(), 2, 2, 1), retry(1));
        assert_eq!(next(failed(), 4, 3, 2), retry(2));
        assert_eq!(next(failed(), 3, 2, 1), Transition::Failed(failure.clone()));
    }

    #[test]
    fn a_permanent_failure_is_never_retried() {
        let failure = Failure::new(Cause::InvalidInput, "no url");
        assert_eq!(next(RunOutcome::Failed(failure.clone()), 1, 9, 0), Transition::Failed(failure));
    }

    #[test]
    fn a_failure_that_the_plugin_calls_permanent_is_never_retried() {
        let failure = Failure { retry: Some(Retry::Never), ..Failure::new(Cause::Io, "410 Gone") };
        assert_eq!(next(RunOutcome::Failed(failure.clone()), 1, 9, 0), Transition::Failed(failure));
    }

    #[test]
    fn a_plugin_chooses_the_wait_within_its_bounds() {
        let after = |cause, wait| Failure { retry: Some(Retry::After(wait)), ..Failure::new(cause, "429") };
        let wait = |failure: &Failure, attempt| {
            let used =
                AttemptCounts { attempt, attempts_max: 3, host_crashes: 0, retry_on: RetryOn::default() };
            // With full jitter, which is for the backoff only.
            used.wait_after(failure, Backoff::default(), 1.0)
        };
        let (minute, week) = (Duration::from_secs(60), Duration::from_secs(7 * 86_400));
        for (asked, waited) in [(minute, minute), (Duration::ZERO, Duration::ZERO), (Duration::MAX, week)] {
            assert_eq!([1, 2].map(|attempt| wait(&after(Cause::Io, asked), attempt)), [Some(waited); 2]);
        }
        assert_eq!(wait(&after(Cause::Io, minute), 3), None, "no attempt is left");
        assert_eq!(wait(&after(Cause::InvalidInput, minute), 1), None, "it is not retried at all");
        let failed = RunOutcome::Failed(after(Cause::Io, minute));
        let Transition::RetryAt(at, _) = next(failed, 1, 3, 0) else { panic!("it is retried") };
        assert_eq!(at, now() + minute);
    }

    #[test]
    fn a_manifest_chooses_which_failures_are_retried() {
        let retry_on = RetryOn::of(["memory-limit"]).expect("known");
        let used = AttemptCounts { attempt: 1, attempts_max: 3, host_crashes: 0, retry_on };
        let next = |cause| {
            let outcome = RunOutcome::Failed(Failure::new(cause, ""));
            Transition::after(outcome, used, now(), Backoff::default(), 0.0).state()
        };
        assert_eq!(next(Cause::MemoryLimit), TaskState::Scheduled);
        assert_eq!(next(Cause::Io), TaskState::Failed);
    }

    #[test]
    fn a_suspended_task_resumes_at_its_time_whatever_its_attempts() {
        let suspended = RunOutcome::Suspended(suspension());
        let until = now() + Duration::from_secs(9);
        assert_eq!(next(suspended, 3, 3, 2), Transition::Suspended(until, suspension()));
    }

    #[test]
    fn a_run_stopped_by_the_host_uses_no_attempt() {
        assert_eq!(next(RunOutcome::Stopped, 3, 3, 2), Transition::Requeued);
    }

    #[test]
    fn a_host_crash_runs_the_task_again_whatever_its_attempts_until_the_third() {
        assert_eq!(next(RunOutcome::HostCrashed, 1, 1, 0), Transition::Recovered);
        assert_eq!(next(RunOutcome::HostCrashed, 2, 1, 1), Transition::Recovered);
        let Transition::Failed(failure) = next(RunOutcome::HostCrashed, 3, 1, 2) else {
            panic!("the third crash is the last")
        };
        assert_eq!(failure.cause, Cause::HostCrash);
    }
}
