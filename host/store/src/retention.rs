//! Retention: which finished tasks are kept, and which are pruned. Plain data only.

use wasmill_model::Timestamp;

use crate::TaskRef;

/// Bounds of the finished tasks to keep. A task beyond either bound is pruned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionBounds {
    /// Keep tasks that finished at this time or later; `None` for all.
    pub ended_since: Option<Timestamp>,
    /// Keep this many of the newest; `None` for all.
    pub tasks_max: Option<u64>,
    /// Keep a task while its delivery is pending since this time or later; `None` for all.
    pub pending_since: Option<Timestamp>,
    /// Keep the tasks of this many of the newest pending deliveries; `None` for all.
    pub pending_max: Option<u64>,
}

/// Position in the finished tasks, oldest first. The default is the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PruneCursor(pub Option<PruneProgress>);

/// How far a scan has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PruneProgress {
    /// When the last scanned task finished.
    pub finished_at: Timestamp,
    /// The last scanned task.
    pub task: TaskRef,
    /// Kept tasks before this position.
    pub kept: u64,
    /// How many more pending deliveries exceed their bound and may be dropped.
    pub drops_left: u64,
}

/// Tasks to prune in one short transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneStep(pub Vec<Prunable>);

/// A task to prune.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prunable {
    /// The task.
    pub task: TaskRef,
    /// Whether to drop its pending delivery with it.
    pub drops_delivery: bool,
}

/// Tasks beyond the retention bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excess {
    /// What to prune.
    pub steps: Vec<PruneStep>,
    /// Where to continue.
    pub cursor: PruneCursor,
    /// Whether the scan reached the end.
    pub is_all: bool,
}

/// What was pruned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Number of tasks.
    pub tasks: u64,
    /// Number of pending deliveries dropped with them.
    pub deliveries: u64,
}

impl std::ops::AddAssign for Pruned {
    fn add_assign(&mut self, other: Self) {
        self.tasks += other.tasks;
        self.deliveries += other.deliveries;
    }
}
