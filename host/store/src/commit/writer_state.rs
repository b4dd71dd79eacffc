//! What the writer knows without a query.

use wasmill_model::{TaskPhase, TaskState};

/// What the writer keeps in memory: counts of unfinished tasks, the next row id, and clock observations.
///
/// Row ids are never reused while the store is open, not even that of a removed newest task, so progress of a
/// removed task can never show up at another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterState {
    /// Waiting tasks.
    pub waiting: u64,
    /// Running tasks.
    pub running: u64,
    /// The next row id, if the writer assigns them.
    pub seq_next: i64,
    /// Time of the last claim.
    pub claimed_at: i64,
    /// Latest time at which a task was accepted, started or finished.
    pub latest: i64,
    /// The stored value of `latest`, at most a second behind.
    pub latest_stored: i64,
    /// Event numbers from here on are not reserved.
    pub events_reserved: i64,
    /// Whether there may be tasks with dependents; once set it stays so. Spares all others the queries.
    pub has_dependents: bool,
    /// Whether there may be checkpoints or posted events, if the writer looks for them; once set it stays so. Spares
    /// the end of every other task two statements.
    pub has_leftovers: bool,
    /// Set while `dependency_end` may hold unprocessed rows.
    pub has_unresolved_ends: bool,
}

impl WriterState {
    /// Records a time at which a task was accepted, started or finished.
    pub fn observe_time(&mut self, now: i64) {
        self.latest = self.latest.max(now);
    }

    /// Records a transition; `None` stands for a task that is created or removed.
    pub fn record_move(&mut self, from: Option<TaskState>, to: Option<TaskState>) {
        match from.map(TaskState::phase) {
            Some(TaskPhase::Waiting) => decrement(&mut self.waiting, "waiting"),
            Some(TaskPhase::Running) => decrement(&mut self.running, "running"),
            _ => {}
        }
        match to.map(TaskState::phase) {
            Some(TaskPhase::Waiting) => self.waiting += 1,
            Some(TaskPhase::Running) => self.running += 1,
            _ => {}
        }
    }
}

/// Decrements a count. At 0 this is a bug; wrapping around would refuse every new task from then on.
fn decrement(count: &mut u64, what: &'static str) {
    match count.checked_sub(1) {
        Some(rest) => *count = rest,
        None => tracing::error!(what, "bug: a task left a state in which none was counted"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_never_wraps() {
        let mut writer_state = WriterState { waiting: 1, ..WriterState::default() };
        for _ in 0..3 {
            writer_state.record_move(Some(TaskState::Available), Some(TaskState::Running));
        }
        assert_eq!((writer_state.waiting, writer_state.running), (0, 3));
        for _ in 0..5 {
            writer_state.record_move(Some(TaskState::Running), None);
        }
        assert_eq!((writer_state.waiting, writer_state.running), (0, 0));
    }
}
