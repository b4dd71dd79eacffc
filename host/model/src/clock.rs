//! Wall-clock time behind a trait, so that tests control it.

use chrono::{DateTime, Utc};

/// A time in UTC.
pub type Timestamp = DateTime<Utc>;

/// A signed difference of two times.
pub type TimeDelta = chrono::TimeDelta;

/// The wall clock; crates below the binary read the time through it alone.
pub trait Clock: Send + Sync + 'static {
    /// Returns the current time in UTC.
    fn now(&self) -> Timestamp;
}

/// The system clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    fn now(&self) -> Timestamp {
        Utc::now()
    }
}
