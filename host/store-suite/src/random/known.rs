//! What the model knows of a task.

use wasmill_model::{TaskId, TaskState, WakeOn};

/// What the model knows of a task.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    pub(super) seq: usize,
    pub(super) plugin: &'static str,
    pub(super) state: TaskState,
    pub(super) ready_at: i64,
    pub(super) attempt: u32,
    pub(super) host_crashes: u32,
    pub(super) claims: usize,
    /// The place of the host that claimed it last.
    pub(super) place: usize,
    pub(super) priority: i64,
    pub(super) tagged: bool,
    pub(super) key: Option<usize>,
    /// Its dependencies, with their outcomes as far as they are resolved.
    pub(super) on: Vec<(TaskId, Option<TaskState>)>,
    pub(super) runs: bool,
    pub(super) pass_results: bool,
    pub(super) result: Option<String>,
    pub(super) hooked: bool,
    /// When its delivery is due, while it is pending.
    pub(super) due_at: Option<i64>,
    pub(super) group: Option<usize>,
    /// Whether it was asked to stop while it runs, and whether it is to be removed then.
    pub(super) stop: Option<bool>,
    /// How often its attempt was suspended.
    pub(super) suspensions: u32,
    /// What resumes it early while it is suspended.
    pub(super) wakes: WakeOn,
    /// How many events were posted to it, and the numbers of those that no run has taken for good.
    pub(super) posted: u64,
    pub(super) events: Vec<u64>,
    /// The task that submitted it, and how many tasks are above it.
    pub(super) parent: Option<TaskId>,
    pub(super) depth: u32,
    /// What it has submitted: their names, and how those that have ended did.
    pub(super) children: Vec<(usize, TaskId, Option<TaskState>)>,
    /// How many of them had ended when its run began.
    pub(super) children_seen: usize,
}

/// A plugin and a group of it, or none: those take turns.
pub(super) type Queue = (&'static str, Option<usize>);

impl Known {
    /// How many of the tasks that it waits for have not ended.
    pub(super) fn pending_dependencies(&self) -> usize {
        if self.state != TaskState::Blocked {
            return 0;
        }
        self.on.iter().filter(|(_, outcome)| outcome.is_none()).count()
    }

    /// Returns true if it runs under its claim of this number.
    pub(super) fn is_run_by(&self, nth: usize) -> bool {
        self.state == TaskState::Running && self.claims == nth
    }

    pub(super) fn queue(&self) -> Queue {
        (self.plugin, self.group)
    }

    /// Where it stands in the line.
    pub(super) fn position(&self) -> (i64, usize) {
        (self.ready_at - 60 * self.priority, self.seq)
    }

    /// Makes its delivery due, if its webhook wants this end, and forgets its events.
    pub(super) fn end(&mut self, now: i64) {
        let is_wanted = matches!(self.state, TaskState::Completed | TaskState::Cancelled);
        self.due_at = (self.hooked && is_wanted).then_some(now);
        self.events.clear();
    }
}
