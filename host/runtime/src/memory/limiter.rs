//! Counts the memories and tables of one guest against its limit, which also covers what the host keeps for it, and
//! against the shared budget. Called by wasmtime on each growth.

use std::sync::Arc;

use wasmtime::{ResourceLimiter, Result};

use crate::memory::Account;

/// Bytes of a table element.
pub(crate) const ELEMENT_BYTES: usize = 8;

/// The memory that a guest has allocated.
pub(crate) struct Limiter {
    account: Arc<Account>,
    tables_bytes: u64,
}

impl Limiter {
    pub(crate) fn new(account: &Arc<Account>) -> Self {
        Self { account: Arc::clone(account), tables_bytes: 0 }
    }

    fn grow(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
        unit_bytes: usize,
    ) -> Result<bool> {
        // A memory never grows beyond its own declared maximum; this is not a denial by the limit.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let more = desired.saturating_sub(current).saturating_mul(unit_bytes) as u64;
        let is_counted = self.account.grow(more)?;
        if is_counted && unit_bytes == ELEMENT_BYTES {
            self.tables_bytes += more;
            self.account.reservation().status().set_tables_bytes(self.tables_bytes);
        }
        Ok(is_counted)
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        self.grow(current, desired, maximum, 1)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        self.grow(current, desired, maximum, ELEMENT_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Budget;

    fn limiter(bytes_max: u64) -> Limiter {
        let reservation = Arc::new(Budget::new(u64::MAX, Box::new(|| None))).reserve(0, false);
        Limiter::new(&Arc::new(Account::new(bytes_max, 0, Arc::new(reservation))))
    }

    #[test]
    fn memories_and_tables_share_one_limit() {
        let mut limiter = limiter(1_000);
        assert!(limiter.grow(0, 400, None, 1).unwrap());
        assert!(limiter.grow(0, 400, None, 1).unwrap());
        assert!(limiter.grow(0, 25, None, ELEMENT_BYTES).unwrap());
        assert!(!limiter.account.has_refused());
        assert!(!limiter.grow(25, 26, None, ELEMENT_BYTES).unwrap());
        assert!(limiter.account.has_refused());
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
    fn the_declared_maximum_of_a_memory_is_not_a_denial() {
        let mut limiter = limiter(1_000);
        assert!(!limiter.grow(0, 200, Some(100), 1).unwrap());
        assert!(!limiter.account.has_refused());
    }

    #[test]
    fn absurd_sizes_are_refused() {
        assert!(!limiter(u64::MAX - 1).grow(0, usize::MAX, None, ELEMENT_BYTES).unwrap());
    }
}
