//! What the end of a dependency means for its dependents.

use wasmill_model::{OnFailure, TaskId, TaskState, Timestamp};

/// Returns true if a dependent is cancelled because a dependency ended in this state.
pub fn cancels(end: TaskState, on_failure: OnFailure) -> bool {
    end != TaskState::Completed && on_failure == OnFailure::Cancel
}

/// Returns the message of a dependent that was cancelled because this dependency ended in this state.
pub fn cancel_message(on: TaskId, end: TaskState) -> String {
    let how = if end == TaskState::Failed { "failed" } else { "was cancelled" };
    format!("it depends on task {on}, which {how}")
}

/// Returns the state of a dependent whose last dependency ended at `at`, and since when or until when it is in
/// it: it is available, or scheduled if it has a start time that is still to come.
pub fn released(run_at: Option<Timestamp>, at: Timestamp) -> (TaskState, Timestamp) {
    match run_at {
        Some(run_at) if run_at > at => (TaskState::Scheduled, run_at),
        _ => (TaskState::Available, at),
    }
}

/// Returns true if a dependency that ended in this state is kept for its dependent, which gets its result or its files: only
/// a completed one has any.
pub fn is_kept(end: TaskState, passes_any: bool) -> bool {
    passes_any && end == TaskState::Completed
}

/// Returns true if the retry of a task depends on this task again.
///
/// A removed task cannot be a dependency. It is left out if it had ended as required and neither its result nor
/// its files are needed; otherwise it stays, and the retry is refused for it.
pub fn stays_in_retry(exists: bool, end: Option<TaskState>, on_failure: OnFailure, passes_any: bool) -> bool {
    let ended_well = end.is_some_and(|end| !cancels(end, on_failure));
    exists || passes_any || !ended_well
}

#[cfg(test)]
mod tests {
    use wasmill_model::{Clock, SystemClock};

    use super::*;

    #[test]
    fn a_dependent_is_cancelled_by_a_bad_end_unless_it_runs_anyway() {
        use TaskState::{Cancelled, Completed, Failed};
        for (end, on_failure, expected) in [
            (Completed, OnFailure::Cancel, false),
            (Completed, OnFailure::Run, false),
            (Failed, OnFailure::Cancel, true),
            (Cancelled, OnFailure::Cancel, true),
            (Failed, OnFailure::Run, false),
        ] {
            assert_eq!(cancels(end, on_failure), expected, "{end:?}, {on_failure:?}");
        }
    }

    #[test]
    fn a_released_dependent_waits_for_its_start_time_only_if_that_is_to_come() {
        let at = SystemClock.now();
        let later = at + chrono::TimeDelta::seconds(1);
        assert_eq!(released(None, at), (TaskState::Available, at));
        assert_eq!(released(Some(at), at), (TaskState::Available, at));
        assert_eq!(released(Some(later), at), (TaskState::Scheduled, later));
    }

    #[test]
    fn a_retry_leaves_out_removed_dependencies_that_it_does_not_need() {
        let completed = Some(TaskState::Completed);
        assert!(!stays_in_retry(false, completed, OnFailure::Cancel, false));
        assert!(!stays_in_retry(false, Some(TaskState::Failed), OnFailure::Run, false));
        assert!(stays_in_retry(false, Some(TaskState::Failed), OnFailure::Cancel, false));
        assert!(stays_in_retry(false, completed, OnFailure::Cancel, true));
        assert!(stays_in_retry(false, None, OnFailure::Run, false));
        assert!(stays_in_retry(true, completed, OnFailure::Cancel, false));
    }
}
