//! Open deliveries by receiver. Plain data without I/O.

use std::collections::{HashMap, HashSet};

use wasmill_model::TaskId;
use wasmill_store::Delivery;

/// Maximum number of open deliveries, in total and per receiver.
const IN_FLIGHT_MAX: usize = 256;
pub(crate) const PER_RECEIVER_MAX: usize = 8;

/// Maximum number of failing receivers remembered.
const FAILING_MAX: usize = 10_000;

/// Open deliveries.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    tasks: HashMap<String, HashSet<TaskId>>,
    total: usize,
    /// Receivers whose last delivery failed: limited to one open delivery each, so that even hundreds of them
    /// leave capacity.
    failing: HashSet<String>,
}

impl InFlight {
    /// Returns how many more deliveries may be opened.
    pub(crate) fn free(&self) -> usize {
        IN_FLIGHT_MAX.saturating_sub(self.total)
    }

    /// Returns the receivers without capacity.
    pub(crate) fn full(&self) -> HashSet<String> {
        self.tasks.keys().filter(|origin| self.capacity(origin) == 0).cloned().collect()
    }

    /// Returns the number of open deliveries.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// Opens a delivery if there is capacity and it is not open already.
    pub(crate) fn begin(&mut self, delivery: &Delivery) -> bool {
        let is_in_flight = |tasks: &HashSet<_>| tasks.contains(&delivery.task);
        if self.free() == 0 || self.capacity(&delivery.origin) == 0 {
            return false;
        }
        if self.tasks.get(&delivery.origin).is_some_and(is_in_flight) {
            return false;
        }
        self.tasks.entry(delivery.origin.clone()).or_default().insert(delivery.task);
        self.total += 1;
        true
    }

    /// Closes a delivery, and remembers whether it succeeded.
    pub(crate) fn end(&mut self, origin: &str, task: TaskId, succeeded: bool) {
        if let Some(tasks) = self.tasks.get_mut(origin)
            && tasks.remove(&task)
        {
            self.total -= 1;
            if tasks.is_empty() {
                self.tasks.remove(origin);
            }
        }
        if succeeded {
            self.failing.remove(origin);
        } else {
            if self.failing.len() >= FAILING_MAX {
                // Usually there are few; those that fail again are remembered again soon.
                self.failing.clear();
            }
            self.failing.insert(origin.to_owned());
        }
    }

    fn capacity(&self, origin: &str) -> usize {
        let max = if self.failing.contains(origin) { 1 } else { PER_RECEIVER_MAX };
        max.saturating_sub(self.tasks.get(origin).map_or(0, HashSet::len))
    }
}
