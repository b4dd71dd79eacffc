//! Who is being told right now, kept apart by receiver. Plain data; it sends nothing.

use std::collections::{HashMap, HashSet};

use wasmill_model::TaskId;
use wasmill_store::Delivery;

/// How many deliveries are under way at the same time, in all and to one receiver.
pub(super) const ALL_MAX: usize = 256;
pub(super) const EACH_MAX: usize = 8;

/// How many receivers are remembered to have failed.
const FAILING_MAX: usize = 10_000;

/// Deliveries under way.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    flying: HashMap<String, HashSet<TaskId>>,
    total: usize,
    /// Receivers whose last delivery failed: they get one at a time, so that even hundreds of them leave room.
    failing: HashSet<String>,
}

impl Lanes {
    /// How many more may be under way in all.
    pub(super) fn free(&self) -> usize {
        ALL_MAX.saturating_sub(self.total)
    }

    /// Returns the receivers that get no more for now.
    pub(super) fn full(&self) -> HashSet<String> {
        self.flying.keys().filter(|origin| self.room(origin) == 0).cloned().collect()
    }

    /// Returns how many deliveries are under way.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Begins a delivery, if there is room and it is not under way.
    pub(super) fn begin(&mut self, delivery: &Delivery) -> bool {
        let is_flying = |flying: &HashSet<_>| flying.contains(&delivery.task);
        if self.free() == 0 || self.room(&delivery.origin) == 0 {
            return false;
        }
        if self.flying.get(&delivery.origin).is_some_and(is_flying) {
            return false;
        }
        self.flying.entry(delivery.origin.clone()).or_default().insert(delivery.task);
        self.total += 1;
        true
    }

    /// Ends a delivery, and remembers whether the receiver answered well.
    pub(super) fn end(&mut self, origin: &str, task: TaskId, went_well: bool) {
        if let Some(flying) = self.flying.get_mut(origin)
            && flying.remove(&task)
        {
            self.total -= 1;
            if flying.is_empty() {
                self.flying.remove(origin);
            }
        }
        if went_well {
            self.failing.remove(origin);
        } else {
            if self.failing.len() >= FAILING_MAX {
                // They are few as a rule; whoever fails again is soon remembered again.
                self.failing.clear();
            }
            self.failing.insert(origin.to_owned());
        }
    }

    fn room(&self, origin: &str) -> usize {
        let most = if self.failing.contains(origin) { 1 } else { EACH_MAX };
        most.saturating_sub(self.flying.get(origin).map_or(0, HashSet::len))
    }
}
