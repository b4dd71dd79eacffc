//! Measures the CPU time of a guest, at almost no cost for guests that hardly compute.
//!
//! Used by the runtime around each poll of a guest. It never ends a guest.
//!
//! Reading the thread's CPU clock costs a system call, twice per poll, which is noticeable for guests that run for
//! microseconds. So polls are timed by the wall clock first, which needs no system call. Once a poll took as long
//! as a tick, the guest counts as computing, and its polls are timed by CPU time. The wall clock also counts time
//! in which the thread waits for a core, so it is capped at one tick per poll.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::engine::ticker::TICK;

/// The CPU time of one guest.
#[derive(Debug, Default)]
pub(crate) struct CpuMeter {
    used: Duration,
    /// Whether a poll was ever long enough to be worth the system calls.
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
        // A poll can start at any moment between two ticks, and the next tick ends it.
        self.computes = elapsed >= TICK / 2;
        result
    }
}

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
        // The first poll is capped at a tick.
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
