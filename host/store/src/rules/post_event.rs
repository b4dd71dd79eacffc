//! What becomes of an event that is posted to a task.

use wasmill_model::{POSTED_EVENTS_MAX, TaskId, TaskState, Timestamp, WakeOn};

use crate::{PostOutcome, SubmittedTask};

/// Returns the outcome if a task in this state, with this many events that no run has taken for good, takes none.
pub fn refusal(state: TaskState, kept: u64) -> Option<PostOutcome> {
    if state.is_final() {
        return Some(PostOutcome::AlreadyFinal(state));
    }
    (kept >= POSTED_EVENTS_MAX as u64).then_some(PostOutcome::Full)
}

/// Returns true if an event resumes a task in this state.
pub fn wakes(state: TaskState, wake_on: WakeOn) -> bool {
    state == TaskState::Suspended && wake_on.event
}

/// Returns what is kept under the idempotency key of a request: the task, with the time of its event.
pub fn kept_answer(task: TaskId, now: Timestamp) -> SubmittedTask {
    SubmittedTask { id: task, created_at: now, holder: None }
}

/// Returns the outcome of a repeated request from what [`kept_answer`] returned for the first one.
pub fn replayed(kept: &[SubmittedTask], now: Timestamp) -> PostOutcome {
    PostOutcome::Posted { at: kept.first().map_or(now, |kept| kept.created_at), replayed: true }
}
