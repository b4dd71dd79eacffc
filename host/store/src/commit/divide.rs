//! Divides queued commands into transactions of bounded cost.

use std::collections::VecDeque;

/// Maximum commands per transaction: enough to amortise the fsync, few enough that the first caller of a
/// batch does not wait long.
pub const BATCH_MAX: usize = 2_000;

/// Maximum cost of a transaction in rows, or 4 KiB of large values, unless one command costs more: about 20
/// ms.
const COST_MAX: u64 = 4_000;

/// Maximum cost of a small command, which no large one may delay twice.
const SMALL_MAX: u64 = 250;

/// Returns the extra cost in rows of a value of this size.
pub fn large(bytes: usize) -> u64 {
    bytes as u64 / 4_096
}

/// Returns true if a command of this cost may have to wait for smaller ones.
pub fn is_large(cost: u64) -> bool {
    cost > SMALL_MAX
}

/// Divides commands into transactions of bounded cost: first the small commands, filled up with large ones;
/// if none fits, the first large one runs in a transaction of its own.
///
/// So a small command waits for at most one large one, however many are queued, and none waits forever.
pub fn divide<J>(jobs: Vec<J>, large: &mut VecDeque<J>, cost_of: impl Fn(&J) -> u64) -> Vec<Vec<J>> {
    let (mut batches, mut batch, mut cost) = (Vec::new(), Vec::new(), 0);
    for job in jobs {
        if cost + cost_of(&job) > COST_MAX {
            batches.push(std::mem::take(&mut batch));
            cost = 0;
        }
        cost += cost_of(&job);
        batch.push(job);
    }
    let mut took = false;
    while let Some(job) = large.pop_front_if(|job| cost + cost_of(job) <= COST_MAX) {
        cost += cost_of(&job);
        batch.push(job);
        took = true;
    }
    // Even an empty one: there may be deferred work.
    batches.push(batch);
    if !took {
        batches.extend(large.pop_front().map(|job| vec![job]));
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divided(small: &[u64], large: &mut VecDeque<u64>) -> Vec<Vec<u64>> {
        divide(small.to_vec(), large, |cost| *cost)
    }

    #[test]
    fn a_transaction_has_a_bounded_cost() {
        let mut large = VecDeque::new();
        assert_eq!(divided(&[1; BATCH_MAX], &mut large), [vec![1; BATCH_MAX]]);
        let full = divided(&[SMALL_MAX; 100], &mut large);
        assert!(full.iter().all(|batch| batch.iter().sum::<u64>() <= COST_MAX), "{full:?}");
        assert_eq!(full.iter().flatten().sum::<u64>(), 100 * SMALL_MAX);
        large.extend([1_000; 6]);
        assert_eq!(divided(&[1], &mut large), [vec![1, 1_000, 1_000, 1_000]]);
        assert_eq!(divided(&[], &mut large), [vec![1_000, 1_000, 1_000]]);
        assert!(large.is_empty());
    }

    #[test]
    fn a_small_command_waits_for_at_most_one_large_one() {
        let mut large = VecDeque::from([10_000; 64]);
        for left in (0..64).rev() {
            assert_eq!(divided(&[1, 1], &mut large), [vec![1, 1], vec![10_000]]);
            assert_eq!(large.len(), left);
        }
        large.push_back(300);
        assert_eq!(divided(&[SMALL_MAX; 16], &mut large), [vec![SMALL_MAX; 16], vec![300]]);
    }
}
