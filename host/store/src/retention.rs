//! What retention asks for: which ended tasks are kept, and those that are not. Plain data only.

use wasmill_model::Timestamp;

/// Which ended tasks are kept. One goes if either bound says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionBounds {
    /// Those that ended at this moment or later; `None` for all.
    pub ended_since: Option<Timestamp>,
    /// So many, the newest; `None` for all.
    pub tasks_max: Option<u64>,
    /// What is pending keeps its task, if it has been since this moment or later; `None` for all.
    pub pending_since: Option<Timestamp>,
    /// So many deliveries that are pending keep their tasks, the newest; `None` for all.
    pub pending_max: Option<u64>,
}

/// Where a walk through the ended tasks goes on, the first that ended first. The default is the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PruneCursor(pub(crate) Option<PruneProgress>);

/// What a walk has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PruneProgress {
    pub(crate) finished_at: i64,
    pub(crate) seq: i64,
    /// Tasks behind it that something keeps.
    pub(crate) kept: u64,
    /// How many more pending deliveries may be dropped, as there are too many.
    pub(crate) drops_left: u64,
}

/// Tasks that are pruned in one short write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneStep(pub(crate) Vec<Prunable>);

/// A task that is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prunable {
    pub(crate) seq: i64,
    /// Whether it goes though its delivery is pending.
    pub(crate) drops_delivery: bool,
}

/// Tasks that are not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excess {
    /// What is to be pruned.
    pub steps: Vec<PruneStep>,
    /// Where to go on.
    pub cursor: PruneCursor,
    /// Whether there was no more to find.
    pub is_all: bool,
}

/// What was pruned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Tasks.
    pub tasks: u64,
    /// Deliveries of theirs that were pending, and are made no more.
    pub deliveries: u64,
}

impl std::ops::AddAssign for Pruned {
    fn add_assign(&mut self, other: Self) {
        self.tasks += other.tasks;
        self.deliveries += other.deliveries;
    }
}
