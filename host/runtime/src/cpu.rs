//! Measures how long a guest has really computed, at next to no cost for the many that hardly do.
//!
//! Used by the runtime around each poll of a guest. It never ends a guest itself.
//!
//! The clock of a thread's CPU time costs a system call, twice a poll, which a guest that ends after
//! microseconds would feel. So a poll is first timed by the clock on the wall, which costs none; a
//! guest that was once polled for as long as a tick counts as one that computes, and from then on its
//! polls are timed by the CPU time of the thread. The wall clock also counts what others take while
//! the thread stands in line for a core, so what it says of one poll is cut at one tick.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::ticker::TICK;

/// How long one guest has computed.
#[derive(Debug, Default)]
pub(crate) struct CpuMeter {
    used: Duration,
    /// Whether it was ever polled long enough to be worth system calls.
    computes: bool,
}

impl CpuMeter {
    /// Returns the time so far.
    pub(crate) fn used(&self) -> Duration {
        self.used
    }

    /// Counts the time that `work` takes on this thread.
    pub(crate) fn measure<T>(&mut self, work: impl FnOnce() -> T) -> T {
        if self.computes {
            let start = thread_time();
            let result = work();
            self.used += thread_time().saturating_sub(start);
            return result;
        }
        let start = Instant::now();
        let result = work();
        let elapsed = start.elapsed();
        self.used += elapsed.min(TICK);
        // A poll may begin at any moment between two ticks, and the next one ends it.
        self.computes = elapsed >= TICK / 2;
        result
    }
}

/// Returns the CPU time of this thread.
fn thread_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compute(time: Duration) {
        let start = thread_time();
        while thread_time() - start < time {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn computing_is_counted_and_sleeping_is_not() {
        let mut meter = CpuMeter::default();
        for _ in 0..5 {
            meter.measure(|| compute(Duration::from_millis(10)));
            meter.measure(|| std::thread::sleep(Duration::from_millis(30)));
        }
        // The first poll of all is cut at a tick.
        assert!(meter.used() >= Duration::from_millis(40), "{meter:?}");
        assert!(meter.used() < Duration::from_millis(80), "{meter:?}");
    }

    #[test]
    fn one_long_poll_of_a_guest_that_never_computed_counts_as_a_tick() {
        let mut meter = CpuMeter::default();
        meter.measure(|| std::thread::sleep(5 * TICK));
        assert_eq!(meter.used(), TICK);
    }

    #[test]
    fn many_short_polls_add_up() {
        let mut meter = CpuMeter::default();
        for _ in 0..100 {
            meter.measure(|| compute(TICK / 10));
        }
        assert!(meter.used() >= 5 * TICK, "{meter:?}");
    }
}
