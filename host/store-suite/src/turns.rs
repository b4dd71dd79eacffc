//! The rule of fairness: while a queue has an available task, no other queue is served twice.

use std::collections::BTreeSet;
use std::fmt::Debug;

/// Checks the turns of queues, such as plugins and their groups.
#[derive(Debug)]
pub struct Turns<Q> {
    /// Pairs of a queue that could have been served, and one that was served instead.
    passed_over: BTreeSet<(Q, Q)>,
}

impl<Q> Default for Turns<Q> {
    fn default() -> Self {
        Self { passed_over: BTreeSet::new() }
    }
}

impl<Q: Copy + Debug + Ord> Turns<Q> {
    /// Records that a queue was served while these, itself among them or not, had available tasks and could have
    /// been served.
    ///
    /// # Panics
    ///
    /// If one of them is passed over by this queue for the second time.
    pub fn serve(&mut self, served: Q, available: &BTreeSet<Q>) {
        self.passed_over.retain(|(other, _)| *other != served && available.contains(other));
        for other in available.iter().filter(|other| **other != served) {
            let is_first = self.passed_over.insert((*other, served));
            assert!(is_first, "{served:?} had a second turn before {other:?}");
        }
    }

    /// Forgets all turns, as a host that starts does.
    pub fn forget(&mut self) {
        self.passed_over.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_that_take_turns_pass() {
        let mut turns = Turns::default();
        let both = BTreeSet::from([1, 2]);
        for served in [1, 2, 1, 2] {
            turns.serve(served, &both);
        }
        turns.serve(2, &BTreeSet::from([2]));
        turns.serve(2, &BTreeSet::from([2]));
        turns.serve(2, &both);
    }

    #[test]
    #[should_panic(expected = "1 had a second turn before 2")]
    fn a_second_turn_before_another_queue_is_refused() {
        let mut turns = Turns::default();
        turns.serve(1, &BTreeSet::from([1, 2]));
        turns.serve(1, &BTreeSet::from([1, 2]));
    }
}
