//! The thread that increments the engines' epoch while guests are being polled.
//!
//! Owned by the runtime. A computing guest checks the epoch and yields its thread on each tick. If no guest was
//! polled since the last tick, the ticker thread parks, so an idle server uses no CPU.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use crate::engine::engines::Engines;

/// The time slice of a computing guest.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// Increments the epoch from its own thread, which ends when this is dropped.
pub(crate) struct Ticker {
    activity: Arc<Activity>,
    thread: Option<JoinHandle<()>>,
    unparker: Thread,
}

/// Counts polls of guests. The two counters differ while one is being polled.
#[derive(Default)]
struct Activity {
    entered: AtomicU64,
    left: AtomicU64,
    parked: AtomicBool,
    stopped: AtomicBool,
}

/// A poll of a guest; ends on drop.
pub(crate) struct Poll<'a>(&'a Activity);

impl Ticker {
    /// Starts the thread. It calls `on_tick` after each tick, with true if it is the last one for now.
    pub(crate) fn start(engines: Engines, on_tick: impl Fn(bool) + Send + 'static) -> io::Result<Self> {
        let activity = Arc::new(Activity::default());
        let thread = thread::Builder::new().name("epoch-ticker".to_owned()).spawn({
            let activity = Arc::clone(&activity);
            move || tick(&engines, &activity, on_tick)
        })?;
        let unparker = thread.thread().clone();
        Ok(Self { activity, thread: Some(thread), unparker })
    }

    /// Marks the start of a poll, and wakes the thread if it is parked.
    pub(crate) fn enter(&self) -> Poll<'_> {
        self.activity.entered.fetch_add(1, SeqCst);
        // Both sides write first and then read the other's flag (sequentially consistent), so at least one of them
        // notices: either the thread sees this poll and does not park, or it is seen here to be parked.
        if self.activity.parked.load(SeqCst) && self.activity.parked.swap(false, SeqCst) {
            self.unparker.unpark();
        }
        Poll(&self.activity)
    }

    #[cfg(test)]
    fn is_parked(&self) -> bool {
        self.activity.parked.load(SeqCst)
    }
}

impl Drop for Poll<'_> {
    fn drop(&mut self) {
        self.0.left.fetch_add(1, SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.activity.stopped.store(true, SeqCst);
        self.unparker.unpark();
        if let Some(thread) = self.thread.take() {
            // This panics only if the engine does, and then there is nobody left to report to.
            let _ = thread.join();
        }
    }
}

fn tick(engines: &Engines, activity: &Activity, on_tick: impl Fn(bool)) {
    let mut seen = 0;
    while !activity.stopped.load(SeqCst) {
        let left = activity.left.load(SeqCst);
        let entered = activity.entered.load(SeqCst);
        if entered == left && entered == seen {
            on_tick(true);
            park(activity, seen);
        } else {
            seen = entered;
            thread::sleep(TICK);
            engines.increment_epoch();
            on_tick(false);
        }
    }
}

fn park(activity: &Activity, seen: u64) {
    activity.parked.store(true, SeqCst);
    if activity.entered.load(SeqCst) == seen && !activity.stopped.load(SeqCst) {
        // An unpark between the check above and this line is remembered, and `park` returns at once.
        thread::park();
    }
    activity.parked.store(false, SeqCst);
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use wasmill_model::Limits;

    use super::*;
    use crate::config::RuntimeConfig;

    fn ticker() -> Ticker {
        let config = RuntimeConfig { slots: 1, limits: Limits::default(), memory_total_bytes: None };
        Ticker::start(Engines::new(&config).expect("an engine"), |_| {}).expect("a thread")
    }

    fn wait_until(what: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !what() {
            assert!(Instant::now() < deadline, "timed out");
            thread::yield_now();
        }
    }

    #[test]
    fn it_parks_when_no_guest_is_polled_and_wakes_for_one() {
        let ticker = ticker();
        for _ in 0..100 {
            wait_until(|| ticker.is_parked());
            let poll = ticker.enter();
            wait_until(|| !ticker.is_parked());
            drop(poll);
        }
    }

    #[test]
    fn it_does_not_park_while_a_guest_is_polled() {
        let ticker = ticker();
        let poll = ticker.enter();
        wait_until(|| !ticker.is_parked());
        let until = Instant::now() + 20 * TICK;
        while Instant::now() < until {
            assert!(!ticker.is_parked());
        }
        drop(poll);
    }

    #[test]
    fn its_thread_ends_when_it_is_dropped() {
        for parked in [true, false] {
            let ticker = ticker();
            if parked {
                wait_until(|| ticker.is_parked());
            }
            let activity = Arc::downgrade(&ticker.activity);
            drop(ticker);
            assert_eq!(activity.strong_count(), 0, "the thread holds the other one");
        }
    }
}
