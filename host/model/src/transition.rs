//! The one table that moves a task from state to state, and the rule that picks the move.

use std::fmt;
use std::time::Duration;

use crate::{Backoff, Cause, Failure, Later, RetryOn, Timestamp};

/// How many host crashes during its runs a task survives before it fails for good.
///
/// A task that kills its host would otherwise kill every host that picks it up, for ever.
pub const HOST_CRASHES_MAX: u32 = 3;

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// Accepted, and not running: it waits for a slot, for its plugin or for its next attempt.
    Waiting,
    /// A guest runs it.
    Running,
    /// It has a result.
    Completed,
    /// It has none and will not be tried again.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl TaskState {
    /// Every state, in the order of a task's life.
    pub const ALL: [Self; 5] = [Self::Waiting, Self::Running, Self::Completed, Self::Failed, Self::Cancelled];

    /// Says whether a task in this state may move to `next`: the one transition table.
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Waiting => matches!(next, Self::Running | Self::Cancelled),
            Self::Running => next != Self::Running,
            Self::Completed | Self::Failed | Self::Cancelled => false,
        }
    }

    /// Says whether the task stays in this state for ever.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// Returns the word that machines read, such as `waiting`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The plugin answered.
    Completed(String),
    /// The plugin wants to go on later.
    Parked(Later),
    /// There is no answer, and this is why.
    Failed(Failure),
    /// The host stopped the run, because it shuts down or the task was asked to stop; the task is not to blame.
    Stopped,
    /// The host had no memory left for the run; the task is not to blame.
    CrowdedOut,
    /// The host died during the run.
    HostCrashed,
}

/// What a task has used up by the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempts {
    /// The number of the attempt that just ended; the first is 1.
    pub attempt: u32,
    /// How often a failure is attempted in all.
    pub attempts_max: u32,
    /// How many earlier attempts ended because the host died.
    pub host_crashes: u32,
    /// Which failures are attempted again.
    pub retry_on: RetryOn,
}

impl Attempts {
    /// Returns the number of the last attempt: as many as were asked for, and one more for each that a crash of the
    /// host ended.
    pub fn last(&self) -> u32 {
        self.attempts_max.saturating_add(self.host_crashes)
    }
}

/// The move that follows a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The task is completed with this result.
    Completed(String),
    /// The task has failed for good.
    Failed(Failure),
    /// The task waits until then and goes on with this state; the attempt is the same.
    ResumeAt(Timestamp, Vec<u8>),
    /// The task waits until then and runs again; this is why, if something went wrong.
    RetryAt(Timestamp, Failure),
    /// The task waits again as if this attempt had not been.
    Requeued,
    /// The task waits again at once; the attempt counts, and so does the crash.
    Recovered,
}

impl Next {
    /// Picks the move: a pure function of how the run ended and what was used up before.
    ///
    /// `dice` from 0 to 1 says how much of the jitter of the backoff is added to a wait.
    pub fn after(outcome: Outcome, used: Attempts, now: Timestamp, backoff: Backoff, dice: f64) -> Self {
        match outcome {
            Outcome::Completed(result) => Self::Completed(result),
            Outcome::Parked(Later { wait, state }) => Self::ResumeAt(later(now, wait), state),
            Outcome::Failed(failure) => {
                let failures = used.attempt.saturating_sub(used.host_crashes);
                if used.retry_on.contains(failure.cause) && failures < used.attempts_max {
                    Self::RetryAt(later(now, backoff.wait(failures, dice)), failure)
                } else {
                    Self::Failed(failure)
                }
            }
            Outcome::Stopped | Outcome::CrowdedOut => Self::Requeued,
            Outcome::HostCrashed if used.host_crashes + 1 < HOST_CRASHES_MAX => Self::Recovered,
            Outcome::HostCrashed => Self::Failed(Failure::new(
                Cause::HostCrash,
                format!("the host died {HOST_CRASHES_MAX} times while this task was running"),
            )),
        }
    }

    /// Returns the state that this move leads to.
    pub fn state(&self) -> TaskState {
        match self {
            Self::Completed(_) => TaskState::Completed,
            Self::Failed(_) => TaskState::Failed,
            Self::ResumeAt(..) | Self::RetryAt(..) | Self::Requeued | Self::Recovered => TaskState::Waiting,
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

    fn now() -> Timestamp {
        chrono::Utc.timestamp_opt(1_000, 0).single().expect("in range")
    }

    fn next(outcome: Outcome, attempt: u32, attempts_max: u32, host_crashes: u32) -> Next {
        let used = Attempts { attempt, attempts_max, host_crashes, retry_on: RetryOn::default() };
        Next::after(outcome, used, now(), Backoff::default(), 0.0)
    }

    #[test]
    fn the_table_allows_exactly_these_moves() {
        use TaskState::{Cancelled, Completed, Failed, Running, Waiting};
        let allowed = [
            (Waiting, Running),
            (Waiting, Cancelled),
            (Running, Waiting),
            (Running, Completed),
            (Running, Failed),
            (Running, Cancelled),
        ];
        for from in TaskState::ALL {
            for to in TaskState::ALL {
                assert_eq!(from.may_become(to), allowed.contains(&(from, to)), "{from} to {to}");
            }
            let leaves = TaskState::ALL.into_iter().any(|to| from.may_become(to));
            assert_eq!(from.is_final(), !leaves, "{from}");
        }
    }

    #[test]
    fn every_move_after_a_run_is_in_the_table() {
        for outcome in [
            Outcome::Completed(String::new()),
            Outcome::Parked(Later { wait: Duration::from_secs(9), state: Vec::new() }),
            Outcome::Failed(Failure::new(Cause::Io, "")),
            Outcome::Stopped,
            Outcome::HostCrashed,
        ] {
            for (attempt, crashes) in [(1, 0), (3, 2), (9, 9)] {
                let to = next(outcome.clone(), attempt, 3, crashes).state();
                assert!(TaskState::Running.may_become(to), "{outcome:?}");
            }
        }
    }

    #[test]
    fn a_transient_failure_is_tried_again_until_its_attempts_are_used_up() {
        let failure = Failure::new(Cause::Io, "gone");
        let failed = || Outcome::Failed(failure.clone());
        let retry = |seconds| Next::RetryAt(now() + Duration::from_secs(seconds), failure.clone());
        assert_eq!(next(failed(), 1, 3, 0), retry(1));
        assert_eq!(next(failed(), 2, 3, 0), retry(2));
        assert_eq!(next(failed(), 3, 3, 0), Next::Failed(failure.clone()));
        assert_eq!(next(failed(), 1, 1, 0), Next::Failed(failure.clone()));
    }

    #[test]
    fn a_host_crash_uses_up_no_attempt_and_makes_no_wait_longer() {
        let failure = Failure::new(Cause::Io, "gone");
        let failed = || Outcome::Failed(failure.clone());
        let retry = |seconds| Next::RetryAt(now() + Duration::from_secs(seconds), failure.clone());
        assert_eq!(next(failed(), 2, 2, 1), retry(1));
        assert_eq!(next(failed(), 4, 3, 2), retry(2));
        assert_eq!(next(failed(), 3, 2, 1), Next::Failed(failure.clone()));
    }

    #[test]
    fn a_lasting_failure_is_never_tried_again() {
        let failure = Failure::new(Cause::InvalidInput, "no url");
        assert_eq!(next(Outcome::Failed(failure.clone()), 1, 9, 0), Next::Failed(failure));
    }

    #[test]
    fn a_plugin_says_which_failures_are_tried_again() {
        let retry_on = RetryOn::of(["memory-limit"]).expect("known");
        let used = Attempts { attempt: 1, attempts_max: 3, host_crashes: 0, retry_on };
        let next = |cause| {
            let outcome = Outcome::Failed(Failure::new(cause, ""));
            Next::after(outcome, used, now(), Backoff::default(), 0.0).state()
        };
        assert_eq!(next(Cause::MemoryLimit), TaskState::Waiting);
        assert_eq!(next(Cause::Io), TaskState::Failed);
    }

    #[test]
    fn a_parked_task_goes_on_at_its_time_whatever_its_attempts() {
        let state = vec![7];
        let parked = Outcome::Parked(Later { wait: Duration::from_secs(9), state: state.clone() });
        assert_eq!(next(parked, 3, 3, 2), Next::ResumeAt(now() + Duration::from_secs(9), state));
    }

    #[test]
    fn a_run_that_the_host_stopped_costs_nothing() {
        assert_eq!(next(Outcome::Stopped, 3, 3, 2), Next::Requeued);
    }

    #[test]
    fn a_host_crash_runs_the_task_again_whatever_its_attempts_until_the_third() {
        assert_eq!(next(Outcome::HostCrashed, 1, 1, 0), Next::Recovered);
        assert_eq!(next(Outcome::HostCrashed, 2, 1, 1), Next::Recovered);
        let Next::Failed(failure) = next(Outcome::HostCrashed, 3, 1, 2) else {
            panic!("the third crash is the last")
        };
        assert_eq!(failure.cause, Cause::HostCrash);
    }
}
