//! Which finished tasks a scan prunes, the oldest first, and in which steps.

use wasmill_model::Timestamp;

use crate::{Excess, Prunable, PruneCursor, PruneProgress, PruneStep, RetentionBounds, TaskRef};

/// Maximum tasks that one step removes: a few milliseconds that other writes wait for.
const ROWS_MAX: usize = 200;

/// Bytes after which a step ends early, as large results take longer to remove.
const BYTES_MAX: i64 = 4 << 20;

/// Maximum rows per scan, about 20 ms of a reader.
pub const LOOKS_MAX: usize = 20_000;

/// Maximum pending deliveries counted beyond their bound, and so dropped by one scan.
pub const DROPS_MAX: u64 = 100_000;

/// A finished task as a scan reads it.
#[derive(Debug)]
pub struct FinishedTask {
    /// The task.
    pub task: TaskRef,
    /// When it finished.
    pub finished_at: Timestamp,
    /// Bytes of its input, its result and its log.
    pub bytes: i64,
    /// Whether another task needs it.
    pub is_wanted: bool,
    /// Since when its delivery is pending, if it is.
    pub pending_since: Option<Timestamp>,
}

/// A scan of finished tasks in the order in which they finished.
///
/// The newest `tasks_max` of the bounds are kept: of the others, as many as exceed that number come first.
#[derive(Debug)]
pub struct PruneScan<'a> {
    bounds: &'a RetentionBounds,
    /// How far it has got.
    pub progress: PruneProgress,
    /// How many more tasks exceed the bound of their number.
    too_many: u64,
    /// How many tasks it has looked at.
    pub looked_at: usize,
    /// Maximum tasks to find.
    tasks_max: usize,
    found: usize,
    steps: Vec<PruneStep>,
    /// Bytes of the last step.
    bytes: i64,
}

impl<'a> PruneScan<'a> {
    /// Begins behind this position. `stored` is the recent number of finished tasks.
    pub fn new(bounds: &'a RetentionBounds, progress: PruneProgress, stored: u64, tasks_max: usize) -> Self {
        let too_many =
            bounds.tasks_max.map_or(0, |limit| stored.saturating_sub(limit).saturating_sub(progress.kept));
        Self { bounds, progress, too_many, looked_at: 0, tasks_max, found: 0, steps: Vec::new(), bytes: 0 }
    }

    /// Returns true once it has found as many tasks as it may.
    pub fn is_full(&self) -> bool {
        self.found == self.tasks_max
    }

    /// Looks at the next task; returns false if this one and all later ones are within the bounds.
    pub fn look(&mut self, next: &FinishedTask) -> bool {
        let is_old = self.bounds.ended_since.is_some_and(|since| next.finished_at < since);
        if self.looked_at as u64 >= self.too_many && !is_old {
            return false;
        }
        self.looked_at += 1;
        let progress = &mut self.progress;
        (progress.task, progress.finished_at) = (next.task, next.finished_at);
        let drops_delivery = next.pending_since.is_some_and(|since| {
            progress.drops_left > 0 || self.bounds.pending_since.is_some_and(|oldest| since < oldest)
        });
        if next.is_wanted || (next.pending_since.is_some() && !drops_delivery) {
            progress.kept += 1;
            return true;
        }
        if drops_delivery {
            progress.drops_left = progress.drops_left.saturating_sub(1);
        }
        self.add(Prunable { task: next.task, drops_delivery }, next.bytes);
        true
    }

    fn add(&mut self, task: Prunable, bytes: i64) {
        self.found += 1;
        match self.steps.last_mut() {
            Some(step) if step.0.len() < ROWS_MAX && self.bytes < BYTES_MAX => {
                step.0.push(task);
                self.bytes += bytes;
            }
            _ => {
                self.steps.push(PruneStep(vec![task]));
                self.bytes = bytes;
            }
        }
    }

    /// Returns what was found, and whether the scan reached the end.
    pub fn end(self, is_all: bool) -> Excess {
        Excess { steps: self.steps, cursor: PruneCursor(Some(self.progress)), is_all }
    }
}
