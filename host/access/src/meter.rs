//! Counts the requests of a key against its rate, exactly, however many come at once.
//!
//! It is a bucket that holds as many requests as a period may see, and refills evenly: the generic cell rate algorithm
//! (GCRA) of ITU-T I.371, which is one number.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use wasmill_model::Rate;

/// The use that a key has made of its rate.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// When the bucket is full again, in nanoseconds since the start of the process.
    full_at: AtomicU64,
    refused: AtomicU64,
}

/// A key that is over its rate has to wait this long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverRate {
    /// The rate.
    pub rate: Rate,
    /// Seconds until the same request may pass, at least one.
    pub retry_after_secs: u32,
}

impl Meter {
    /// Takes one request out of the bucket.
    ///
    /// # Errors
    ///
    /// Fails if it is empty.
    pub(crate) fn take(&self, rate: Rate) -> Result<(), OverRate> {
        self.take_at(elapsed_nanos(), rate, 1, false)
    }

    /// Takes as many requests more, all or none, after the one that brought them.
    ///
    /// Even more than it can hold are taken if it was full before that one; the next ones then wait for all of them.
    ///
    /// # Errors
    ///
    /// Fails if it holds too few.
    pub(crate) fn take_further(&self, rate: Rate, requests: u32) -> Result<(), OverRate> {
        self.take_at(elapsed_nanos(), rate, requests, true)
    }

    fn take_at(&self, now: u64, rate: Rate, requests: u32, is_further: bool) -> Result<(), OverRate> {
        let per = u64::try_from(rate.per.as_nanos()).unwrap_or(u64::MAX);
        let each = per.div_ceil(rate.starts.into()).max(1);
        let taken = each.saturating_mul(requests.into());
        // How much may be missing before, as the time that it takes to refill.
        let missing_max = each.saturating_mul(rate.starts.into()).saturating_sub(taken);
        let missing_max = if is_further { missing_max.max(each) } else { missing_max };
        let mut full_at = self.full_at.load(Relaxed);
        loop {
            let missing = full_at.saturating_sub(now);
            if missing > missing_max {
                self.refused.fetch_add(1, Relaxed);
                let seconds = (missing - missing_max).div_ceil(1_000_000_000);
                let retry_after_secs = u32::try_from(seconds).unwrap_or(u32::MAX).max(1);
                return Err(OverRate { rate, retry_after_secs });
            }
            let next = now.saturating_add(missing).saturating_add(taken);
            match self.full_at.compare_exchange_weak(full_at, next, Relaxed, Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => full_at = other,
            }
        }
    }

    /// Returns how many times it refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }
}

/// Returns the time since the first call. It never goes back, as the clock of the machine may.
fn elapsed_nanos() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    #[test]
    fn a_bucket_holds_one_period_and_refills_evenly() {
        let (meter, rate) = (Meter::default(), rate("10/10s"));
        let takes = |now, requests| meter.take_at(now, rate, requests, requests > 1);
        assert!((0..10).all(|_| takes(0, 1).is_ok()));
        assert_eq!(takes(0, 1), Err(OverRate { rate, retry_after_secs: 1 }));
        assert_eq!(takes(0, 5), Err(OverRate { rate, retry_after_secs: 5 }));
        assert!(takes(SECOND, 1).is_ok());
        assert!(takes(SECOND, 1).is_err());
        assert!(takes(6 * SECOND, 5).is_ok() && takes(6 * SECOND, 1).is_err());
        assert_eq!(meter.refused(), 4);
        // Unused time does not add up beyond a period.
        assert!((0..10).all(|_| takes(1_000 * SECOND, 1).is_ok()));
        assert!(takes(1_000 * SECOND, 1).is_err());
    }

    #[test]
    fn more_than_a_bucket_holds_pass_once_and_are_waited_for() {
        let (meter, rate) = (Meter::default(), rate("10/10s"));
        let takes = |now, requests| meter.take_at(now, rate, requests, requests > 1);
        assert!(takes(0, 1).is_ok() && takes(0, 99).is_ok(), "a batch of a hundred");
        assert!(takes(0, 99).is_err());
        assert_eq!(takes(0, 1).unwrap_err().retry_after_secs, 91);
        assert!(takes(91 * SECOND, 1).is_ok());
        assert!(takes(91 * SECOND, 10).is_err(), "the bucket was not full");
    }

    #[test]
    fn odd_rates_are_not_exceeded_either() {
        for (text, starts) in [("1/s", 1), ("3/10s", 3), ("70000/s", 70_000), ("99999/7s", 99_999)] {
            let (meter, rate) = (Meter::default(), rate(text));
            let passed = (0..starts + 10).filter(|_| meter.take_at(5, rate, 1, false).is_ok()).count();
            assert_eq!(passed, starts, "{text}");
            // Over a long time, no more than that in each period.
            let end = 5 + 20 * u64::try_from(rate.per.as_nanos()).unwrap();
            let step = u64::try_from(rate.per.as_nanos()).unwrap() / 3;
            let later: usize = (5..=end)
                .step_by(usize::try_from(step).unwrap())
                .map(|now| (0..starts).filter(|_| meter.take_at(now, rate, 1, false).is_ok()).count())
                .sum();
            assert!(later <= 20 * starts, "{text}: {later}");
        }
    }

    #[test]
    fn no_rate_is_exceeded_by_a_thousand_at_once() {
        let (meter, rate) = (Meter::default(), rate("100/d"));
        let passed = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        passed.fetch_add(meter.take(rate).is_ok().into(), Relaxed);
                    }
                });
            }
        });
        assert_eq!((passed.into_inner(), meter.refused()), (100, 900));
    }
}
