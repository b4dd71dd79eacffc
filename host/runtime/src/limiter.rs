//! Counts all memories and tables of one guest against its one limit, and against what all guests may use
//! together. Asked by wasmtime on each growth.

use std::sync::Arc;

use wasmtime::{ResourceLimiter, Result};

use crate::memory::Hold;

/// Bytes of one element of a table.
const ELEMENT_BYTES: usize = 8;

/// What a guest has taken of its memory limit.
pub(crate) struct Limiter {
    bytes_max: u64,
    bytes: u64,
    tables_bytes: u64,
    refused: bool,
    hold: Arc<Hold>,
}

impl Limiter {
    pub(crate) fn new(bytes_max: u64, hold: Arc<Hold>) -> Self {
        Self { bytes_max, bytes: 0, tables_bytes: 0, refused: false, hold }
    }

    /// Says whether the guest ever asked for more than its limit.
    pub(crate) fn has_refused(&self) -> bool {
        self.refused
    }

    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Returns what the guest holds of the memory of all.
    pub(crate) fn hold(&self) -> &Hold {
        &self.hold
    }

    fn grow(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
        unit_bytes: usize,
    ) -> Result<bool> {
        // Beyond its own declared maximum nothing grows, limit or not.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let more = desired.saturating_sub(current).saturating_mul(unit_bytes) as u64;
        let bytes = self.bytes.saturating_add(more);
        if bytes > self.bytes_max {
            self.refused = true;
            return Ok(false);
        }
        // Counted even if the host then has no memory for it, which only errs against the guest.
        self.hold.grow_to(bytes)?;
        self.bytes = bytes;
        Ok(true)
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        self.grow(current, desired, maximum, 1)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        let before = self.bytes;
        let grows = self.grow(current, desired, maximum, ELEMENT_BYTES)?;
        self.tables_bytes += self.bytes - before;
        self.hold.place().note_tables(self.tables_bytes);
        Ok(grows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Budget;

    fn limiter(bytes_max: u64) -> Limiter {
        Limiter::new(bytes_max, Arc::new(Arc::new(Budget::new(u64::MAX, Box::new(|| None))).hold(0, false)))
    }

    #[test]
    fn memories_and_tables_share_one_limit() {
        let mut limiter = limiter(1_000);
        assert!(limiter.grow(0, 400, None, 1).unwrap());
        assert!(limiter.grow(0, 400, None, 1).unwrap());
        assert!(limiter.grow(0, 25, None, ELEMENT_BYTES).unwrap());
        assert!(!limiter.has_refused());
        assert!(!limiter.grow(25, 26, None, ELEMENT_BYTES).unwrap());
        assert!(limiter.has_refused());
    }

    #[test]
    fn a_smaller_growth_may_follow_a_refused_one() {
        let mut limiter = limiter(1_000);
        assert!(!limiter.grow(0, 2_000, None, 1).unwrap());
        assert!(limiter.grow(0, 600, None, 1).unwrap());
        assert!(!limiter.grow(600, 1_100, None, 1).unwrap());
        assert!(limiter.grow(600, 1_000, None, 1).unwrap());
    }

    #[test]
    fn the_own_maximum_of_a_guest_is_no_refusal() {
        let mut limiter = limiter(1_000);
        assert!(!limiter.grow(0, 200, Some(100), 1).unwrap());
        assert!(!limiter.has_refused());
    }

    #[test]
    fn absurd_sizes_are_refused() {
        assert!(!limiter(u64::MAX - 1).grow(0, usize::MAX, None, ELEMENT_BYTES).unwrap());
    }
}
